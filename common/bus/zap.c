/* The process's ZAP handler (RFC 27): asks the server that a connection is for whether it admits the key. The key itself
 * becomes the connection's User-Id, so that every later message can be checked against what is true then. */
#include "common/bus/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

enum { ZAP_VERSION, ZAP_REQUEST, ZAP_DOMAIN, ZAP_ADDRESS, ZAP_ROUTE, ZAP_MECHANISM, ZAP_KEY, ZAP_FRAMES };

static bool frame_is(zmq_msg_t *frame, const char *text)
{
    return zmq_msg_size(frame) == strlen(text) && memcmp(zmq_msg_data(frame), text, strlen(text)) == 0;
}

static bool admitted(struct bus *bus, zmq_msg_t frames[ZAP_FRAMES])
{
    if (!frame_is(&frames[ZAP_VERSION], "1.0") || !frame_is(&frames[ZAP_MECHANISM], "CURVE") ||
        zmq_msg_size(&frames[ZAP_KEY]) != 32)
        return false;
    struct bus_server *server;
    DL_FOREACH(bus->servers, server)
    if (server->admit != NULL && frame_is(&frames[ZAP_DOMAIN], server->domain))
        return server->admit(server->admit_arg, zmq_msg_data(&frames[ZAP_KEY])).role != BUS_NOBODY;
    return false;
}

static void send_text(void *socket, const char *text, int flags)
{
    (void)zmq_send(socket, text, strlen(text), flags | ZMQ_DONTWAIT);
}

static void answer(struct bus *bus, zmq_msg_t frames[ZAP_FRAMES], bool complete)
{
    bool yes = complete && admitted(bus, frames);
    char user[65] = "";
    if (yes) {
        const uint8_t *key = zmq_msg_data(&frames[ZAP_KEY]);
        for (size_t i = 0; i < 32; i++)
            (void)snprintf(user + 2 * i, 3, "%02x", key[i]);
    } else {
        (*bus->handshakes_refused)++;
    }
    send_text(bus->zap, "1.0", ZMQ_SNDMORE);
    (void)zmq_send(bus->zap, zmq_msg_data(&frames[ZAP_REQUEST]), zmq_msg_size(&frames[ZAP_REQUEST]), ZMQ_SNDMORE | ZMQ_DONTWAIT);
    send_text(bus->zap, yes ? "200" : "400", ZMQ_SNDMORE);
    send_text(bus->zap, yes ? "OK" : "key not accepted", ZMQ_SNDMORE);
    send_text(bus->zap, user, ZMQ_SNDMORE);
    send_text(bus->zap, "", 0);
}

static int receive(void *socket, zmq_msg_t *frame)
{
    int size;
    do
        size = zmq_msg_recv(frame, socket, ZMQ_DONTWAIT);
    while (size < 0 && errno == EINTR);
    return size;
}

/* One request; false when there is none. They come from libzmq itself, but a count that is off must not wedge the REP. */
static bool serve_one(struct bus *bus)
{
    zmq_msg_t frames[ZAP_FRAMES];
    size_t count = 0;
    for (size_t i = 0; i < ZAP_FRAMES; i++)
        (void)zmq_msg_init(&frames[i]);
    bool more = true;
    while (more && count < ZAP_FRAMES) {
        if (receive(bus->zap, &frames[count]) < 0)
            break;
        more = zmq_msg_more(&frames[count++]) != 0;
    }
    bool got = count > 0;
    if (got) {
        zmq_msg_t extra;
        bool complete = count == ZAP_FRAMES && !more;
        (void)zmq_msg_init(&extra);
        while (more && receive(bus->zap, &extra) >= 0)
            more = zmq_msg_more(&extra) != 0;
        (void)zmq_msg_close(&extra);
        answer(bus, frames, complete);
    }
    for (size_t i = 0; i < ZAP_FRAMES; i++)
        (void)zmq_msg_close(&frames[i]);
    return got;
}

static int on_request(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    (void)loop;
    (void)item;
    for (unsigned i = 0; i < BUS_TURN_MAX && serve_one(arg); i++)
        continue;
    return 0;
}

int zap_open(struct bus *bus, struct sw_err *err)
{
    int none = 0;
    bus->zap = zmq_socket(bus->context, ZMQ_REP);
    if (bus->zap == NULL)
        return sw_fail(err, SW_LIMIT, "ZAP handler: %s", zmq_strerror(errno));
    (void)zmq_setsockopt(bus->zap, ZMQ_LINGER, &none, sizeof none);
    if (zmq_bind(bus->zap, "inproc://zeromq.zap.01") != 0)
        return sw_fail(err, SW_EXISTS, "ZAP handler: %s", zmq_strerror(errno));
    bus_watch(bus, bus->zap, on_request, bus);
    return 0;
}

void zap_close(struct bus *bus)
{
    if (bus->zap == NULL)
        return;
    bus_unwatch(bus, bus->zap);
    wire_close(bus->zap);
    bus->zap = NULL;
}
