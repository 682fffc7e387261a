#include "common/sim/parts.h"

#include "services/dispatcher/core/dispatch.h"

#include <stdlib.h>
#include <string.h>

#define CLOCK_SKEW_NS (250 * SIM_MS) /* the wall clock of this process is that much ahead */

struct sim_dispatcher {
    struct sim_life life;
    struct dispatch *core;
    unsigned conn;
    uint64_t timer;
};
/* Our bytes in a struct dispatch_peer. */
struct peer {
    size_t node;
    unsigned conn;
    int kind;
    uint64_t tag;
};

static void step(struct sim *sim, struct dispatch_event event);

bool dispatcher_up(const struct sim *sim)
{
    return sim->dispatcher->life.up;
}

static struct peer peer_of(const struct dispatch_peer *from)
{
    struct peer peer;
    memcpy(&peer, from->opaque, sizeof peer);
    return peer;
}

static void on_tick(struct sim *sim, struct sim_event *event)
{
    if (event->tag == sim->dispatcher->timer)
        step(sim, (struct dispatch_event) { .type = DISPATCH_EV_TICK });
}

struct failed {
    char node_id[SW_ID_SIZE];
    struct dispatch_peer peer;
};

/* False: the peer of a DISPATCH_SEND is gone. */
static bool perform(struct sim *sim, const struct dispatch_effect *effect)
{
    struct peer peer = effect->peer != NULL ? peer_of(effect->peer) : (struct peer) { 0 };
    switch (effect->type) {
    case DISPATCH_REPLY:
        (void)agent_answer(sim, peer.node, peer.conn, peer.kind, peer.tag, sw_pb_clone(effect->message), 0);
        return true;
    case DISPATCH_REFUSE:
        (void)agent_answer(sim, peer.node, peer.conn, peer.kind, peer.tag, NULL, (int)effect->code);
        return true;
    case DISPATCH_SEND:
        return agent_event(sim, peer.node, peer.conn, sw_pb_clone(effect->message));
    case DISPATCH_COMMIT:
        store_commit(sim, SIM_DISPATCHER, effect->message);
        return true;
    case DISPATCH_LOG_UP: /* nobody here reads logs */
        return true;
    case DISPATCH_NOTE:
        sim_note(sim, "dispatcher: %s %s", effect->node_id, effect->text);
        return true;
    }
    return true;
}

static void step(struct sim *sim, struct dispatch_event event)
{
    struct sim_dispatcher *self = sim->dispatcher;
    struct dispatch_update update;
    event.now_ms = (uint64_t)(sim->now_ns / SIM_MS);
    event.wall_ns = SIM_EPOCH_NS + sim->now_ns + CLOCK_SKEW_NS;
    dispatch_step(self->core, &event, &update);
    struct failed failed[SIM_NODES * 4];
    size_t count = 0;
    for (size_t i = 0; i < update.count; i++)
        if (!perform(sim, &update.effects[i]) && count < sizeof failed / sizeof *failed) {
            failed[count].peer = *update.effects[i].peer;
            (void)strncpy(failed[count].node_id, update.effects[i].node_id, SW_ID_SIZE - 1);
            failed[count++].node_id[SW_ID_SIZE - 1] = '\0';
        }
    self->timer++;
    if (update.deadline_ms != UINT64_MAX)
        sim_post(sim, (int64_t)update.deadline_ms * SIM_MS - sim->now_ns,
                 (struct sim_event) { .fn = on_tick, .life = &self->life, .tag = self->timer });
    for (size_t i = 0; i < count; i++)
        step(sim,
             (struct dispatch_event) { .type = DISPATCH_EV_SEND_FAILED, .node_id = failed[i].node_id, .peer = &failed[i].peer });
}

/* ---- the store ---- */

static void on_store(struct sim *sim, struct sim_event *event);

static void subscribe(struct sim *sim)
{
    store_subscribe(sim, SIM_DISPATCHER, &sim->dispatcher->life, on_store, ++sim->dispatcher->conn);
}

static void commit_failed(struct sim *sim)
{
    struct sw_err err;
    (void)sw_fail(&err, SW_UNAVAILABLE, "the manager's store is not reachable");
    step(sim, (struct dispatch_event) { .type = DISPATCH_EV_COMMITTED, .err = &err });
}

static void on_store(struct sim *sim, struct sim_event *event)
{
    if (event->conn != sim->dispatcher->conn)
        return;
    switch ((enum sim_answer)event->kind) {
    case ANSWER_SNAPSHOT:
        step(sim, (struct dispatch_event) { .type = DISPATCH_EV_SNAPSHOT, .body = event->message });
        return;
    case ANSWER_CHANGES:
        step(sim, (struct dispatch_event) { .type = DISPATCH_EV_CHANGES, .body = event->message });
        return;
    case ANSWER_REPLY:
        step(sim, (struct dispatch_event) { .type = DISPATCH_EV_COMMITTED, .body = event->message });
        return;
    case ANSWER_FAILED:
        commit_failed(sim);
        return;
    case ANSWER_LOST:
        step(sim, (struct dispatch_event) { .type = DISPATCH_EV_FEED_LOST });
        subscribe(sim);
        return;
    }
}

/* ---- agents ---- */

static enum dispatch_event_type type_of(const ProtobufCMessage *message)
{
    if (message->descriptor == &swarm__session_request__descriptor)
        return DISPATCH_EV_SESSION;
    if (message->descriptor == &swarm__heartbeat__descriptor)
        return DISPATCH_EV_HEARTBEAT;
    return DISPATCH_EV_REPORTS;
}

static void on_ask(struct sim *sim, struct sim_event *event)
{
    struct peer peer = { event->node, event->conn, event->kind, event->tag };
    struct dispatch_peer opaque = { { 0 } };
    _Static_assert(sizeof peer <= DISPATCH_PEER_SIZE, "a peer fits");
    memcpy(opaque.opaque, &peer, sizeof peer);
    step(sim,
         (struct dispatch_event) {
             .type = type_of(event->message), .node_id = agent_node_id(event->node), .peer = &opaque, .body = event->message });
}

void dispatcher_ask(struct sim *sim, size_t node, unsigned conn, int kind, uint64_t tag, void *message, int64_t delay_ns)
{
    sim_post(sim, delay_ns,
             (struct sim_event) { .fn = on_ask,
                                  .life = &sim->dispatcher->life,
                                  .node = node,
                                  .conn = conn,
                                  .kind = kind,
                                  .tag = tag,
                                  .message = message });
}

/* ---- life ---- */

static void on_start(struct sim *sim, struct sim_event *event)
{
    (void)event;
    sim->dispatcher->life.up = true;
    sim->dispatcher->core = dispatch_new("manager", sim_below(sim, UINT64_MAX));
    subscribe(sim);
}

void dispatcher_crash(struct sim *sim)
{
    struct sim_dispatcher *self = sim->dispatcher;
    if (!self->life.up)
        return;
    sim_note(sim, "dispatcher crashes");
    self->life.up = false;
    self->life.number++;
    dispatch_free(self->core);
    self->core = NULL;
    for (size_t i = 0; i < SIM_NODES; i++)
        agent_lose_connection(sim, i);
    sim_post(sim, (int64_t)(20 + sim_below(sim, 4000)) * SIM_MS, (struct sim_event) { .fn = on_start });
}

void dispatcher_open(struct sim *sim)
{
    sim->dispatcher = sw_alloc0(sizeof *sim->dispatcher);
    on_start(sim, NULL);
}

void dispatcher_close(struct sim *sim)
{
    dispatch_free(sim->dispatcher->core);
    free(sim->dispatcher);
}
