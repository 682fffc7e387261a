#include "common/bus/wire.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_MS 3000
#define SLICE_MS 250 /* an interrupt that comes just before a wait is seen this late */

struct bus_sync {
    void *context, *socket, *monitor;
    char *endpoint;
    struct wire_table table;
    uint64_t seq;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* A program that has its own handlers keeps them. */
static void catch_signal(int number)
{
    struct sigaction now;
    struct sigaction ours = { .sa_handler = on_signal };
    if (sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        (void)sigaction(number, &ours, NULL);
}

bool bus_sync_interrupted(void)
{
    return interrupted != 0;
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Until something can be read from either socket (0), the deadline (UINT64_MAX = none) or an interrupt. */
static int wait_readable(struct bus_sync *sync, uint64_t deadline_ms, struct sw_err *err)
{
    zmq_pollitem_t items[] = { { .socket = sync->socket, .events = ZMQ_POLLIN },
                               { .socket = sync->monitor, .events = ZMQ_POLLIN } };
    for (;;) {
        if (interrupted)
            return sw_fail(err, SW_TIMEOUT, "interrupted");
        uint64_t now = now_ms();
        if (now >= deadline_ms)
            return sw_fail(err, SW_TIMEOUT, "no answer from %s in time", sync->endpoint);
        uint64_t left_ms = deadline_ms - now;
        if (zmq_poll(items, 2, left_ms < SLICE_MS ? (long)left_ms : SLICE_MS) > 0)
            return 0;
    }
}

static int denied(const struct bus_sync *sync, struct sw_err *err)
{
    return sw_fail(err, SW_DENIED, "%s does not accept this identity", sync->endpoint);
}

static int sync_handshake(struct bus_sync *sync, struct sw_err *err)
{
    uint64_t deadline_ms = now_ms() + CONNECT_MS;
    while (wait_readable(sync, deadline_ms, err) == 0)
        for (unsigned event; (event = wire_monitor_next(sync->monitor)) != 0;) {
            if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
                return 0;
            if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
                return denied(sync, err);
        }
    if (interrupted)
        return -(int)err->code;
    return sw_fail(err, SW_UNAVAILABLE, "cannot connect to %s within %d s: is the daemon running, and is it the right cluster?",
                   sync->endpoint, CONNECT_MS / 1000);
}

static int sync_connect(struct bus_sync *sync, const struct bus_client_spec *spec, struct sw_err *err)
{
    int retry_ms = 20;
    int retry_max_ms = 200;
    const char *path = wire_ipc_path(spec->endpoint);
    if (path != NULL && access(path, F_OK) != 0)
        return sw_fail(err, SW_UNAVAILABLE, "cannot connect to %s: %s (is the daemon running?)", spec->endpoint, strerror(errno));
    sync->context = zmq_ctx_new();
    if (sync->context == NULL)
        return sw_fail(err, SW_NOMEM, "start ZeroMQ: %s", zmq_strerror(errno));
    sync->socket = wire_socket(sync->context, ZMQ_DEALER, BUS_SIZE_MAX, err);
    if (sync->socket == NULL || wire_socket_client(sync->socket, spec, err) < 0)
        return -(int)err->code;
    (void)zmq_setsockopt(sync->socket, ZMQ_RECONNECT_IVL, &retry_ms, sizeof retry_ms);
    (void)zmq_setsockopt(sync->socket, ZMQ_RECONNECT_IVL_MAX, &retry_max_ms, sizeof retry_max_ms);
    sync->monitor = wire_monitor(sync->context, sync->socket, err);
    if (sync->monitor == NULL)
        return -(int)err->code;
    if (zmq_connect(sync->socket, spec->endpoint) != 0)
        return sw_fail(err, SW_INVALID, "connect to '%s': %s", spec->endpoint, zmq_strerror(errno));
    return sync_handshake(sync, err);
}

int bus_sync_open(const struct bus_client_spec *spec, struct bus_sync **ret, struct sw_err *err)
{
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
    struct bus_sync *sync = sw_alloc0(sizeof *sync);
    sync->endpoint = sw_strdup(spec->endpoint);
    wire_table_init(&sync->table, spec->specs, spec->spec_count);
    if (sync_connect(sync, spec, err) < 0) {
        bus_sync_close(sync);
        return -(int)err->code;
    }
    *ret = sync;
    return 0;
}

void bus_sync_close(struct bus_sync *sync)
{
    if (sync == NULL)
        return;
    wire_close(sync->monitor);
    wire_close(sync->socket);
    if (sync->context != NULL)
        while (zmq_ctx_term(sync->context) != 0 && errno == EINTR)
            continue;
    wire_table_deinit(&sync->table);
    free(sync->endpoint);
    free(sync);
}

/* The body of an answer to the last question; 1 = some other message. */
static int sync_take(struct bus_sync *sync, struct wire_in *in, void **ret_body, bool *ret_more, struct sw_err *err)
{
    if (in->count != 2)
        return sw_fail(err, SW_CORRUPT, "answer from %s has %u frames", sync->endpoint, in->count);
    const void *data = zmq_msg_data(&in->frames[1]);
    size_t size = zmq_msg_size(&in->frames[1]);
    SW_AUTO(sw_pb_free) Swarm__Envelope *head = wire_head(zmq_msg_data(&in->frames[0]), zmq_msg_size(&in->frames[0]), err);
    if (head == NULL)
        return -(int)err->code;
    if (head->version != WIRE_VERSION)
        return sw_fail(err, SW_UNSUPPORTED, "%s speaks protocol version %u, not %d", sync->endpoint, head->version, WIRE_VERSION);
    if (head->seq != sync->seq || sync->seq == 0)
        return 1;
    *ret_more = head->more;
    if (head->code != 0) {
        wire_head_error(head, err);
        return -(int)err->code;
    }
    if (strcmp(head->name, swarm__empty__descriptor.name) == 0) {
        *ret_body = sw_pb_unpack(&swarm__empty__descriptor, data, size, 0, err);
        return *ret_body != NULL ? 0 : -(int)err->code;
    }
    const struct bus_spec *spec = NULL;
    return wire_check(&sync->table, 0, head->name, data, size, &spec, ret_body, err);
}

int bus_sync_next(struct bus_sync *sync, uint64_t timeout_ms, void **ret_body, bool *ret_more, struct sw_err *err)
{
    uint64_t deadline_ms = timeout_ms != 0 ? now_ms() + timeout_ms : UINT64_MAX;
    for (bool lost = false;;) {
        struct wire_in in;
        while (wire_recv(sync->socket, &in)) {
            int rc = sync_take(sync, &in, ret_body, ret_more, err);
            wire_in_deinit(&in);
            if (rc <= 0)
                return rc;
        }
        if (lost)
            return sw_fail(err, SW_UNAVAILABLE, "connection to %s lost", sync->endpoint);
        if (wait_readable(sync, deadline_ms, err) < 0)
            return -(int)err->code;
        for (unsigned event; (event = wire_monitor_next(sync->monitor)) != 0;) {
            if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
                return denied(sync, err);
            lost = lost || event == ZMQ_EVENT_DISCONNECTED; /* what came before is still read above */
        }
    }
}

int bus_sync_ask(struct bus_sync *sync, const void *body, uint64_t timeout_ms, void **ret_body, bool *ret_more,
                 struct sw_err *err)
{
    struct wire_out out = { .seq = ++sync->seq, .body = body };
    int rc = wire_send(sync->socket, &out);
    if (rc == -SW_LIMIT)
        return sw_fail(err, SW_LIMIT, "the request has more than %u bytes", BUS_SIZE_MAX);
    if (rc < 0)
        return sw_fail(err, SW_UNAVAILABLE, "connection to %s lost", sync->endpoint);
    return bus_sync_next(sync, timeout_ms, ret_body, ret_more, err);
}

uint64_t bus_sync_seq(const struct bus_sync *sync)
{
    return sync->seq;
}
