/* internal - what the files of common/bus share: the process's ZeroMQ context with its ZAP handler, and the metrics. */
#ifndef BUS_INTERNAL_H
#define BUS_INTERNAL_H

#include "common/bus/wire.h"

#define BUS_TURN_MAX 256 /* messages of one socket before the others get their turn */

struct bus {
    struct svc *svc;
    void *context;
    void *zap; /* REP on inproc://zeromq.zap.01 */
    struct bus_server *servers;
    struct bus_client *clients;
    unsigned domains; /* last ZAP domain given out */
    double *received, *sent;
    double *refused[SW_CODE_MAX + 1]; /* by enum sw_code */
    double *handshakes_refused;
};

struct bus_server {
    struct bus *bus;
    void *socket; /* NULL once closed */
    struct wire_table table;
    void *self;
    bus_admit_fn *admit; /* NULL: plain, everybody is BUS_LOCAL */
    void *admit_arg;
    char domain[16]; /* of ZAP */
    unsigned *ports; /* by endpoint; 0 for ipc */
    size_t port_count;
    unsigned rate_joiner;
    uint64_t joiner_tokens, joiner_filled_ms; /* thousandths of a message */
    unsigned busy;                            /* callbacks that are on the stack */
    struct bus_server *prev, *next;
};

int zap_open(struct bus *bus, struct sw_err *err);
void zap_close(struct bus *bus);

/* A ZeroMQ socket as a reader of the loop (level-triggered: zmq_poll looks at ZMQ_EVENTS). */
void bus_watch(struct bus *bus, void *socket, zloop_fn *fn, void *arg);
void bus_unwatch(struct bus *bus, void *socket);
/* Count a message turned away; the reason goes to the debug log. */
void bus_refused(struct bus *bus, const struct sw_err *err, const char *from);

#endif
