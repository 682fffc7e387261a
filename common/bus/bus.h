/* bus - messages between processes: sockets with CURVE, admission by key (ZAP), one table of messages a socket.
 *
 * A message is two frames, Envelope and body (proto/envelope.proto). All checks sit here, in this order: head parses,
 * name is in the table, the sender's role may send it, the body is small enough, the body parses and is clean. A handler
 * never sees a message that failed one; the sender gets the failure as the answer.
 *
 * Threads  one: call everything from the svc loop's thread.
 * Memory   bodies given to handlers die when the handler returns. Bodies given to send functions are packed at once.
 * Limits   BUS_SIZE_MAX a body; a table row may ask for less. At most 256 messages a socket are handled a turn.
 *          Sends never block: a full queue or a vanished peer is -SW_UNAVAILABLE.
 */
#ifndef BUS_H
#define BUS_H

#include "common/base/err.h"
#include "common/base/pb.h"
#include "common/bus/role.h"
#include "common/service/svc.h"

#define BUS_SIZE_MAX (16u << 20)
#define BUS_ID_MAX 64

struct bus; /* the process's ZeroMQ context use: ZAP handler; one a process */
struct bus_server;
struct bus_client;

int bus_new(struct svc *svc, struct bus **ret_bus, struct sw_err *err);
void bus_free(struct bus *bus); /* closes what is still open: servers, clients and senders are gone after it */

/* ---- who is there ---- */
struct bus_peer_info {
    enum bus_role role;  /* BUS_NOBODY = turn away */
    char id[BUS_ID_MAX]; /* node id, or "admin"; becomes bus_sender.id */
};
/* Asked at each handshake and again for each message (cheap look-up please): revocation is effective at once. */
typedef struct bus_peer_info bus_admit_fn(void *arg, const uint8_t curve_key[32]);

/* Who sent a message and where the answer goes. Copyable; may be kept to answer or stream later, until its server is closed. */
struct bus_sender {
    struct bus_server *server;
    enum bus_role role;
    char id[BUS_ID_MAX];   /* from the key; "" on local sockets */
    uint8_t curve_key[32]; /* zero on local sockets */
    uint8_t route[32];     /* opaque */
    uint8_t route_len;
    uint64_t seq; /* 0: no answer is waited for */
};

/* Return 0 after answering (or keeping the sender to answer later), or a failure that the bus sends back as the answer. */
typedef int bus_handler_fn(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err);
struct bus_spec {
    const ProtobufCMessageDescriptor *type;
    unsigned senders; /* set of enum bus_role */
    size_t size_max;
    bus_handler_fn *handle;
};

struct bus_keys {
    uint8_t public_key[32];
    uint8_t secret_key[32];
};
struct bus_server_spec {
    const char *const *endpoints; /* "tcp://IP:PORT" (port * or 0 = any), "ipc://PATH"; NULL-terminated */
    const struct bus_keys *keys;  /* NULL: plain, only allowed for ipc:// ; every sender then is BUS_LOCAL */
    const struct bus_spec *specs;
    size_t spec_count;
    void *self;
    bus_admit_fn *admit; /* required with keys */
    void *admit_arg;
    unsigned rate_joiner; /* messages a second from BUS_JOINER peers taken together; 0 = no limit */
};
int bus_server_open(struct bus *bus, const struct bus_server_spec *spec, struct bus_server **ret_server, struct sw_err *err);
void bus_server_close(struct bus_server *server); /* NULL is fine */
/* The port really bound by endpoint i. */
unsigned bus_server_port(const struct bus_server *server, size_t i);

int bus_reply(const struct bus_sender *to, const void *body);      /* the last answer */
int bus_reply_more(const struct bus_sender *to, const void *body); /* one of a stream; more will follow */
int bus_reply_error(const struct bus_sender *to, const struct sw_err *err);
/* An event (seq 0) to a peer that has sent something on this socket before. Events and streams are SW_UNAVAILABLE, too, once the
 * peer's key is not admitted any more: then forget the sender. */
int bus_event(const struct bus_sender *to, const void *body);

/* ---- asking ---- */
/* Called once a question: body is NULL and *err says why on failure (also SW_TIMEOUT, SW_UNAVAILABLE). With streams it is called
 * for each answer, `more` telling whether another follows. body may be any message of the client's answer table. */
typedef void bus_answer_fn(void *arg, const void *body, bool more, const struct sw_err *err);

struct bus_client_spec {
    const char *endpoint;
    const struct bus_keys *keys;  /* ours; NULL for plain ipc */
    const uint8_t *server_key;    /* 32 bytes; required with keys */
    const struct bus_spec *specs; /* answers and events that may come: senders is ignored; handle is for events (seq 0) */
    size_t spec_count;
    void *self;
    /* up = connected and through the handshake; down = lost (it reconnects by itself with random growing delay, 20 ms to 2 s);
     * denied = the server's ZAP turned the key away (also retried, slowly). All open questions have failed before down is told.
     */
    void (*state)(void *self, bool up, bool denied);
};
int bus_client_open(struct bus *bus, const struct bus_client_spec *spec, struct bus_client **ret_client, struct sw_err *err);
void bus_client_close(struct bus_client *client); /* NULL is fine; open questions are dropped without a call */
bool bus_client_up(const struct bus_client *client);

/* Ask. timeout_ms 0 = wait for ever (streams). Returns the seq, or 0 if it could not be sent (then fn was not called). */
uint64_t bus_ask(struct bus_client *client, const void *body, uint64_t timeout_ms, bus_answer_fn *fn, void *arg);
void bus_forget(struct bus_client *client, uint64_t seq);  /* no further call for this question */
int bus_tell(struct bus_client *client, const void *body); /* no answer wanted */

/* ---- for programs without a loop (swarm-cli): one blocking question ---- */
struct bus_sync; /* own context, one DEALER */
int bus_sync_open(const struct bus_client_spec *spec, struct bus_sync **ret, struct sw_err *err);
/* The next message that answers `seq` (or the question just asked); *ret_body by sw_pb_free. 0 on success. Ctrl-C = -SW_TIMEOUT
 * with *interrupted set in bus_sync_interrupted(). */
int bus_sync_ask(struct bus_sync *sync, const void *body, uint64_t timeout_ms, void **ret_body, bool *ret_more,
                 struct sw_err *err);
int bus_sync_next(struct bus_sync *sync, uint64_t timeout_ms, void **ret_body, bool *ret_more, struct sw_err *err);
uint64_t bus_sync_seq(const struct bus_sync *sync); /* of the last question */
void bus_sync_close(struct bus_sync *sync);
bool bus_sync_interrupted(void); /* Ctrl-C (or SIGTERM) came since the first bus_sync_open(); handlers are set there if unset */

/* Metrics swarm_<process>_bus_{received,sent,refused}_total are kept by the bus. */
#endif
