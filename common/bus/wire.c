#include "common/bus/wire.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- table ---- */

static int row_order(const void *a, const void *b)
{
    const struct bus_spec *const *x = a;
    const struct bus_spec *const *y = b;
    return strcmp((*x)->type->name, (*y)->type->name);
}

void wire_table_init(struct wire_table *table, const struct bus_spec *specs, size_t count)
{
    *table = (struct wire_table) { .rows = sw_realloc_array(NULL, count + 1, sizeof *table->rows), .count = count };
    for (size_t i = 0; i < count; i++) {
        assert(specs[i].type != NULL && specs[i].size_max <= BUS_SIZE_MAX);
        table->rows[i] = &specs[i];
        if (specs[i].size_max > table->size_max)
            table->size_max = specs[i].size_max;
    }
    qsort(table->rows, count, sizeof *table->rows, row_order);
    for (size_t i = 1; i < count; i++)
        assert(row_order(&table->rows[i - 1], &table->rows[i]) < 0);
}

void wire_table_deinit(struct wire_table *table)
{
    free(table->rows);
    *table = (struct wire_table) { 0 };
}

static int row_match(const void *name, const void *row)
{
    return strcmp(name, (*(const struct bus_spec *const *)row)->type->name);
}

const struct bus_spec *wire_table_find(const struct wire_table *table, const char *name)
{
    if (table->count == 0)
        return NULL;
    const struct bus_spec *const *row = bsearch(name, table->rows, table->count, sizeof *table->rows, row_match);
    return row != NULL ? *row : NULL;
}

Swarm__Envelope *wire_head(const void *data, size_t size, struct sw_err *err)
{
    return sw_pb_unpack(&swarm__envelope__descriptor, data, size, WIRE_HEAD_MAX, err);
}

int wire_check(const struct wire_table *table, unsigned role, const char *name, const void *data, size_t size,
               const struct bus_spec **ret_spec, void **ret_body, struct sw_err *err)
{
    const struct bus_spec *spec = wire_table_find(table, name);
    if (spec == NULL)
        return sw_fail(err, SW_DENIED, "message '%.64s' is not known here", name);
    if (role != 0 && (spec->senders & role) == 0)
        return sw_fail(err, SW_DENIED, "message '%.64s' is not accepted from this identity", name);
    void *body = sw_pb_unpack(spec->type, data, size, spec->size_max, err);
    if (body == NULL)
        return -(int)err->code;
    *ret_spec = spec;
    *ret_body = body;
    return 0;
}

void wire_head_error(const Swarm__Envelope *head, struct sw_err *err)
{
    enum sw_code code = head->code > 0 && head->code <= SW_CODE_MAX ? (enum sw_code)head->code : SW_CORRUPT;
    (void)sw_fail(err, code, "%s", head->error != NULL && head->error[0] != '\0' ? head->error : sw_code_name(head->code));
}

/* ---- frames ---- */

bool wire_recv(void *socket, struct wire_in *in)
{
    in->count = 0;
    for (bool more = true; more; in->count++) {
        zmq_msg_t extra;
        zmq_msg_t *frame = in->count < 3 ? &in->frames[in->count] : &extra;
        (void)zmq_msg_init(frame);
        int size;
        do
            size = zmq_msg_recv(frame, socket, ZMQ_DONTWAIT);
        while (size < 0 && errno == EINTR);
        if (size < 0) {
            (void)zmq_msg_close(frame);
            assert(in->count == 0); /* libzmq hands out whole messages only */
            return false;
        }
        more = zmq_msg_more(frame) != 0;
        if (frame == &extra)
            (void)zmq_msg_close(frame);
    }
    return true;
}

void wire_in_deinit(struct wire_in *in)
{
    for (unsigned i = 0; i < in->count && i < 3; i++)
        (void)zmq_msg_close(&in->frames[i]);
    in->count = 0;
}

/* Takes the message, sent or not. */
static int send_frame(void *socket, zmq_msg_t *frame, int flags)
{
    if (zmq_msg_send(frame, socket, ZMQ_DONTWAIT | flags) >= 0)
        return 0;
    int error = errno;
    if (error == EAGAIN) { /* room or a new connection may be known only after pending commands are run: asking does that */
        int events = 0;
        size_t size = sizeof events;
        (void)zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size);
        if (zmq_msg_send(frame, socket, ZMQ_DONTWAIT | flags) >= 0)
            return 0;
    }
    (void)zmq_msg_close(frame);
    return -SW_UNAVAILABLE;
}

static void pack_frame(zmq_msg_t *frame, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (zmq_msg_init_size(frame, size) != 0)
        abort();
    size_t wrote = protobuf_c_message_pack(message, zmq_msg_data(frame));
    assert(wrote == size);
}

static void pack_head(zmq_msg_t *frame, const struct wire_out *out)
{
    Swarm__Envelope head = SWARM__ENVELOPE__INIT;
    char text[SW_ERR_TEXT_MAX];
    const ProtobufCMessage *body = out->body;
    head.version = WIRE_VERSION;
    head.name = (char *)(body != NULL ? body->descriptor->name : swarm__empty__descriptor.name);
    head.seq = out->seq;
    head.has_more = out->more;
    head.more = out->more;
    if (out->failure != NULL) {
        (void)snprintf(text, sizeof text, "%s", out->failure->text);
        sw_pb_text_clean(text);
        head.has_code = 1;
        head.code = out->failure->code;
        head.error = text;
    }
    pack_frame(frame, &head.base);
}

int wire_send(void *socket, const struct wire_out *out)
{
    assert((out->body == NULL) == (out->failure != NULL));
    if (out->body != NULL && protobuf_c_message_get_packed_size(out->body) > BUS_SIZE_MAX)
        return -SW_LIMIT;

    zmq_msg_t frame;
    if (out->route != NULL) {
        if (zmq_msg_init_size(&frame, out->route_len) != 0)
            abort();
        memcpy(zmq_msg_data(&frame), out->route, out->route_len);
        if (send_frame(socket, &frame, ZMQ_SNDMORE) < 0)
            return -SW_UNAVAILABLE;
    }
    pack_head(&frame, out);
    if (send_frame(socket, &frame, ZMQ_SNDMORE) < 0)
        return -SW_UNAVAILABLE;
    if (out->body != NULL)
        pack_frame(&frame, out->body);
    else
        (void)zmq_msg_init(&frame);
    return send_frame(socket, &frame, 0);
}

/* ---- sockets ---- */

static int set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value);
}

void *wire_socket(void *context, int type, size_t size_max, struct sw_err *err)
{
    void *socket = zmq_socket(context, type);
    if (socket == NULL) {
        (void)sw_fail(err, SW_LIMIT, "new socket: %s", zmq_strerror(errno));
        return NULL;
    }
    /* Twice the largest row, so that a message somewhat too big still gets an answer instead of a cut connection. */
    int64_t frame_max = size_max > BUS_SIZE_MAX / 2 ? BUS_SIZE_MAX : (int64_t)size_max * 2;
    if (frame_max < 64 << 10)
        frame_max = 64 << 10;
    int rc = zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max);
    static const struct {
        int option, value;
    } options[] = {
        { ZMQ_LINGER, 0 },
        { ZMQ_SNDHWM, WIRE_HWM },
        { ZMQ_RCVHWM, WIRE_HWM },
        { ZMQ_BACKLOG, 4096 },
        { ZMQ_HANDSHAKE_IVL, WIRE_HANDSHAKE_MS },
        { ZMQ_HEARTBEAT_IVL, 5000 },
        { ZMQ_HEARTBEAT_TIMEOUT, 15000 },
        { ZMQ_HEARTBEAT_TTL, 20000 },
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        rc |= set_int(socket, options[i].option, options[i].value);
    if (type == ZMQ_ROUTER)
        rc |= set_int(socket, ZMQ_ROUTER_MANDATORY, 1) | set_int(socket, ZMQ_ROUTER_HANDOVER, 1);
    assert(rc == 0);
    return socket;
}

void wire_close(void *socket)
{
    if (socket != NULL)
        (void)zmq_close(socket);
}

int wire_socket_client(void *socket, const struct bus_client_spec *spec, struct sw_err *err)
{
    if (spec->keys == NULL && wire_ipc_path(spec->endpoint) == NULL)
        return sw_fail(err, SW_INVALID, "connect to '%s': a socket without keys must be ipc://", spec->endpoint);
    if (spec->keys != NULL && spec->server_key == NULL)
        return sw_fail(err, SW_INVALID, "connect to '%s': the server's key is needed", spec->endpoint);

    uint8_t route[16];
    wire_random(route, sizeof route);
    route[0] |= 1; /* ids that begin with a zero byte are libzmq's own */
    int rc = zmq_setsockopt(socket, ZMQ_ROUTING_ID, route, sizeof route);
    rc |= set_int(socket, ZMQ_IMMEDIATE, 1);
    if (strchr(spec->endpoint, '[') != NULL)
        rc |= set_int(socket, ZMQ_IPV6, 1);
    if (spec->keys != NULL) {
        rc |= zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, spec->server_key, 32);
        rc |= zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, spec->keys->public_key, 32);
        rc |= zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, spec->keys->secret_key, 32);
    }
    if (rc != 0)
        return sw_fail(err, SW_INVALID, "connect to '%s': %s", spec->endpoint, zmq_strerror(errno));
    return 0;
}

void *wire_monitor(void *context, void *socket, struct sw_err *err)
{
    char name[64];
    uint64_t id;
    wire_random(&id, sizeof id);
    (void)snprintf(name, sizeof name, "inproc://monitor-%016llx", (unsigned long long)id);
    void *monitor = zmq_socket(context, ZMQ_PAIR);
    if (monitor == NULL || zmq_socket_monitor(socket, name, WIRE_EVENTS) != 0 || set_int(monitor, ZMQ_LINGER, 0) != 0 ||
        zmq_connect(monitor, name) != 0) {
        (void)sw_fail(err, SW_LIMIT, "watch a socket: %s", zmq_strerror(errno));
        wire_close(monitor);
        return NULL;
    }
    return monitor;
}

unsigned wire_monitor_next(void *monitor)
{
    struct wire_in in;
    if (!wire_recv(monitor, &in))
        return 0;
    uint16_t event = 0;
    if (zmq_msg_size(&in.frames[0]) >= sizeof event)
        memcpy(&event, zmq_msg_data(&in.frames[0]), sizeof event);
    wire_in_deinit(&in);
    return event;
}

bool wire_is_tcp(const char *endpoint)
{
    return strncmp(endpoint, "tcp://", 6) == 0;
}

const char *wire_ipc_path(const char *endpoint)
{
    return strncmp(endpoint, "ipc://", 6) == 0 ? endpoint + 6 : NULL;
}

void wire_random(void *ret, size_t len)
{
    assert(len <= 256); /* so getrandom() gives all of it at once */
    if (getrandom(ret, len, 0) != (ssize_t)len)
        abort();
}
