/* wire - one message on a ZeroMQ socket: frames, head, table check, socket options. Inside common/bus (and its fuzz target) only.
 *
 * Errors   nothing a peer sends can do more than fail one of these functions.
 * Limits   a head has at most WIRE_HEAD_MAX bytes; a message two frames (three with the route in front).
 */
#ifndef BUS_WIRE_H
#define BUS_WIRE_H

#include "common/base/err.h"
#include "common/bus/bus.h"
#include "proto/envelope.pb-c.h"

#include <zmq.h>

#define WIRE_VERSION 1
#define WIRE_HEAD_MAX 2048
#define WIRE_HWM 4096
#define WIRE_HANDSHAKE_MS 10000

/* ---- table ---- */
struct wire_table {
    const struct bus_spec **rows; /* sorted by name */
    size_t count;
    size_t size_max; /* of the largest row */
};
void wire_table_init(struct wire_table *table, const struct bus_spec *specs, size_t count);
void wire_table_deinit(struct wire_table *table);
const struct bus_spec *wire_table_find(const struct wire_table *table, const char *name);

/* Parse and check a head: version, sizes. Heap (sw_pb_free) or NULL. */
Swarm__Envelope *wire_head(const void *data, size_t size, struct sw_err *err);
/* What a table says of a message: known, allowed for `role` (0 = whoever), small enough, parses. *ret_body by sw_pb_free(). */
int wire_check(const struct wire_table *table, unsigned role, const char *name, const void *data, size_t size,
               const struct bus_spec **ret_spec, void **ret_body, struct sw_err *err);
/* The failure that a head carries (code not 0). */
void wire_head_error(const Swarm__Envelope *head, struct sw_err *err);

/* ---- frames ---- */
struct wire_in {
    zmq_msg_t frames[3];
    unsigned count; /* frames that came; only the first three are kept */
};
/* One whole message, without blocking; false if there is none. wire_in_deinit() only after true. */
bool wire_recv(void *socket, struct wire_in *in);
void wire_in_deinit(struct wire_in *in);

struct wire_out {
    const void *route; /* NULL for a DEALER */
    size_t route_len;
    uint64_t seq;
    bool more;
    const void *body; /* message, or NULL with failure */
    const struct sw_err *failure;
};
/* Never blocks: SW_UNAVAILABLE when the peer is gone or its queue is full, SW_LIMIT when the body is too big. */
int wire_send(void *socket, const struct wire_out *out);

/* ---- sockets ---- */
/* A ROUTER or DEALER with limits and heartbeats set. Closed by wire_close(). */
void *wire_socket(void *context, int type, size_t size_max, struct sw_err *err);
void wire_close(void *socket); /* NULL is fine */
/* DEALER: our keys and the server's (NULL for plain), a fresh random route. */
int wire_socket_client(void *socket, const struct bus_client_spec *spec, struct sw_err *err);
/* A PAIR that reads the connection events of a DEALER. */
void *wire_monitor(void *context, void *socket, struct sw_err *err);
/* Next connection event (ZMQ_EVENT_...), 0 when there is none. */
unsigned wire_monitor_next(void *monitor);
#define WIRE_EVENTS                                                                                                              \
    (ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |                    \
     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED)

bool wire_is_tcp(const char *endpoint);
const char *wire_ipc_path(const char *endpoint); /* NULL unless ipc:// */
void wire_random(void *ret, size_t len);

#endif
