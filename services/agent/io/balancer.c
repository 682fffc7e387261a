#include "services/agent/io/agent.h"

#include <stdlib.h>

#define ACK_TIMEOUT_MS 10000
#define RETRY_MS 500

struct balancer {
    struct agent *agent;
    struct bus_client *client;
    struct svc_timer *timer;
};

static const struct bus_spec specs[] = {
    { &swarm__endpoint_table_ack__descriptor, 0, 64, NULL },
};

static void retry(void *arg)
{
    struct balancer *balancer = arg;
    if (bus_client_up(balancer->client))
        agent_step(balancer->agent, (struct worker_event) { .type = WORKER_EV_TABLE_UP });
}

static void on_ack(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct balancer *balancer = arg;
    (void)more;
    if (body != NULL && ((const ProtobufCMessage *)body)->descriptor == &swarm__endpoint_table_ack__descriptor) {
        const Swarm__EndpointTableAck *ack = body;
        agent_step(balancer->agent, (struct worker_event) { .type = WORKER_EV_TABLE_ACKED, .generation = ack->generation });
        return;
    }
    if (!bus_client_up(balancer->client))
        return; /* on_state() tells */
    svc_log(SVC_WARN, "ingress-lb refused the endpoint table", "err=\"%s\"", err != NULL ? err->text : "unknown answer");
    svc_timer_at(balancer->timer, svc_mono_ms() + RETRY_MS);
}

static void on_state(void *self, bool up, bool denied)
{
    struct balancer *balancer = self;
    (void)denied;
    svc_log(SVC_INFO, up ? "connected to ingress-lb" : "no connection to ingress-lb", NULL);
    agent_step(balancer->agent, (struct worker_event) { .type = up ? WORKER_EV_TABLE_UP : WORKER_EV_TABLE_DOWN });
}

int balancer_open(struct agent *agent, struct balancer **ret_balancer, struct sw_err *err)
{
    struct balancer *balancer = sw_alloc0(sizeof *balancer);
    balancer->agent = agent;
    balancer->timer = svc_timer_new(agent->svc, retry, balancer);
    SW_AUTO(sw_free) char *endpoint = sw_strf("ipc://%s/ingress.sock", svc_run_dir(agent->svc));
    const struct bus_client_spec spec = {
        .endpoint = endpoint,
        .specs = specs,
        .spec_count = sizeof specs / sizeof specs[0],
        .self = balancer,
        .state = on_state,
    };
    *ret_balancer = balancer;
    return bus_client_open(agent->bus, &spec, &balancer->client, err);
}

void balancer_close(struct balancer *balancer)
{
    if (balancer == NULL)
        return;
    bus_client_close(balancer->client);
    svc_timer_free(balancer->timer);
    free(balancer);
}

void balancer_send(struct balancer *balancer, const Swarm__EndpointTable *table)
{
    if (bus_ask(balancer->client, table, ACK_TIMEOUT_MS, on_ack, balancer) == 0)
        svc_timer_at(balancer->timer, svc_mono_ms() + RETRY_MS);
}
