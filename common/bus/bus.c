#include "common/bus/internal.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define SOCKETS_MAX 4096

/* "swarm-manager-raft" gives "swarm_manager_raft_bus_<what>". */
static double *metric(struct bus *bus, const char *what, const char *labels, const char *help)
{
    const char *program = program_invocation_short_name;
    SW_AUTO(sw_free) char *name = sw_strf("%s%s_bus_%s", strncmp(program, "swarm", 5) == 0 ? "" : "swarm_", program, what);
    for (char *p = name; *p != '\0'; p++)
        if (!isalnum((unsigned char)*p))
            *p = '_';
    return svc_metric(svc_metrics(bus->svc), SVC_COUNTER, name, labels, help);
}

static void metrics_init(struct bus *bus)
{
    static const char help[] = "Messages turned away, by reason.";
    bus->received = metric(bus, "received_total", "", "Messages received.");
    bus->sent = metric(bus, "sent_total", "", "Messages sent.");
    for (int code = SW_OK + 1; code <= SW_CODE_MAX; code++) {
        char label[64];
        (void)snprintf(label, sizeof label, "reason=\"%s\"", sw_code_name(code));
        bus->refused[code] = metric(bus, "refused_total", label, help);
    }
    bus->refused[SW_OK] = bus->refused[SW_CORRUPT];
    bus->handshakes_refused = metric(bus, "refused_total", "reason=\"handshake\"", help);
}

int bus_new(struct svc *svc, struct bus **ret_bus, struct sw_err *err)
{
    struct bus *bus = sw_alloc0(sizeof *bus);
    bus->svc = svc;
    bus->context = zmq_ctx_new();
    if (bus->context == NULL) {
        free(bus);
        return sw_fail(err, SW_NOMEM, "start ZeroMQ: %s", zmq_strerror(errno));
    }
    (void)zmq_ctx_set(bus->context, ZMQ_MAX_SOCKETS, SOCKETS_MAX);
    metrics_init(bus);
    if (zap_open(bus, err) < 0) {
        bus_free(bus);
        return sw_wrap(err, "start ZeroMQ");
    }
    *ret_bus = bus;
    return 0;
}

void bus_free(struct bus *bus)
{
    if (bus == NULL)
        return;
    while (bus->clients != NULL)
        bus_client_close(bus->clients);
    while (bus->servers != NULL)
        bus_server_close(bus->servers);
    zap_close(bus);
    while (zmq_ctx_term(bus->context) != 0 && errno == EINTR)
        continue;
    free(bus);
}

void bus_watch(struct bus *bus, void *socket, zloop_fn *fn, void *arg)
{
    zmq_pollitem_t item = { .socket = socket, .events = ZMQ_POLLIN };
    if (zloop_poller(svc_loop(bus->svc), &item, fn, arg) != 0)
        abort();
}

void bus_unwatch(struct bus *bus, void *socket)
{
    zmq_pollitem_t item = { .socket = socket };
    zloop_poller_end(svc_loop(bus->svc), &item);
}

void bus_refused(struct bus *bus, const struct sw_err *err, const char *from)
{
    (*bus->refused[err->code])++;
    if (svc_log_on(SVC_DEBUG))
        svc_log(SVC_DEBUG, "message refused", "from=%s err=\"%s\"", from[0] != '\0' ? from : "-", err->text);
}
