#include "common/sim/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_NS (10 * SIM_S)
#define REPORT_NS (20 * SIM_S)
#define BACKOFF_MAX_MS 8000

const char *agent_node_id(size_t node)
{
    static const char *const ids[SIM_NODES] = { "node0", "node1", "node2", "node3", "node4" };
    return ids[node];
}

const struct sw_idmap *agent_containers(const struct sim *sim, size_t node)
{
    return &sim->agents[node]->containers;
}

/* ---- the core and its effects ---- */

static void ask(struct sim *sim, struct sim_agent *agent, enum question kind, void *message, int64_t timeout_ns);
static void session_drop(struct sim *sim, struct sim_agent *agent, bool tell);
static void session_later(struct sim *sim, struct sim_agent *agent);

static void keep_records(struct sim_agent *agent, const struct worker_effect *effects, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (effects[i].type == WORKER_SAVE) {
            sw_pb_free(sw_idmap_get(&agent->records, effects[i].task->id));
            sw_idmap_put(&agent->records, effects[i].task->id, sw_pb_clone(effects[i].task));
        } else if (effects[i].type == WORKER_FORGET) {
            sw_pb_free(sw_idmap_remove(&agent->records, effects[i].task_id));
        }
    }
}

static void on_table_ack(struct sim *sim, struct sim_event *event)
{
    agent_step(sim, sim->agents[event->node], (struct worker_event) { .type = WORKER_EV_TABLE_ACKED, .generation = event->tag });
}

/* False: a report that could not be sent. */
static bool perform(struct sim *sim, struct sim_agent *agent, const struct worker_effect *effect)
{
    switch (effect->type) {
    case WORKER_SAVE:
    case WORKER_FORGET:
    case WORKER_EMPTY: /* nobody leaves */
        return true;
    case WORKER_PREPARE:
        container_prepare(sim, agent, effect->task);
        return true;
    case WORKER_START:
        container_start(sim, agent, effect->task_id);
        return true;
    case WORKER_SIGNAL:
        container_signal(sim, agent, effect->task_id, false);
        return true;
    case WORKER_KILL:
        container_signal(sim, agent, effect->task_id, true);
        return true;
    case WORKER_REMOVE:
        container_remove(sim, agent, effect->task_id);
        return true;
    case WORKER_REPORT:
        if (agent->session == NULL || !agent->connected)
            return false;
        ask(sim, agent, ASK_REPORT, sw_pb_clone(effect->reports), REPORT_NS);
        return true;
    case WORKER_TABLE:
        if (!sim_chance(sim, 20))
            sim_post(sim, sim_delay_ns(sim),
                     (struct sim_event) {
                         .fn = on_table_ack, .life = &agent->life, .node = agent->node, .tag = effect->table->generation });
        return true;
    case WORKER_RESYNC:
        sim_note(sim, "%s: assignments missed", agent_node_id(agent->node));
        session_drop(sim, agent, false);
        session_later(sim, agent);
        return true;
    }
    return true;
}

static void on_tick(struct sim *sim, struct sim_event *event)
{
    struct sim_agent *agent = sim->agents[event->node];
    if (event->tag == agent->timer)
        agent_step(sim, agent, (struct worker_event) { .type = WORKER_EV_TICK });
}

void agent_step(struct sim *sim, struct sim_agent *agent, struct worker_event event)
{
    struct worker_update update;
    bool unsent = false;
    event.now_ms = (uint64_t)(sim->now_ns / SIM_MS);
    event.wall_ns = SIM_EPOCH_NS + sim->now_ns + agent->skew_ns;
    worker_step(agent->core, &event, &update);
    keep_records(agent, update.effects, update.count);
    for (size_t i = 0; i < update.count; i++)
        unsent |= !perform(sim, agent, &update.effects[i]);
    agent->timer++;
    if (update.deadline_ms != UINT64_MAX)
        sim_post(sim, (int64_t)update.deadline_ms * SIM_MS - sim->now_ns,
                 (struct sim_event) { .fn = on_tick, .life = &agent->life, .node = agent->node, .tag = agent->timer });
    if (unsent)
        agent_step(sim, agent, (struct worker_event) { .type = WORKER_EV_REPORTED, .ok = false });
}

/* ---- questions ---- */

static void failed(struct sim *sim, struct sim_agent *agent, enum question kind, int code);

static void on_timeout(struct sim *sim, struct sim_event *event)
{
    struct sim_agent *agent = sim->agents[event->node];
    if (agent->waiting[event->kind] != event->tag)
        return;
    agent->waiting[event->kind] = 0;
    failed(sim, agent, (enum question)event->kind, SW_TIMEOUT);
}

static void ask(struct sim *sim, struct sim_agent *agent, enum question kind, void *message, int64_t timeout_ns)
{
    uint64_t tag = ++agent->asked;
    agent->waiting[kind] = tag;
    sim_post(sim, timeout_ns,
             (struct sim_event) { .fn = on_timeout, .life = &agent->life, .node = agent->node, .kind = (int)kind, .tag = tag });
    if (agent->cut || sim_chance(sim, 5))
        sw_pb_free(message);
    else
        dispatcher_ask(sim, agent->node, agent->conn, (int)kind, tag, message, sim_link_delay_ns(sim, &agent->up_ns));
}

/* ---- the session: as the agent's shell keeps it ---- */

static void on_again(struct sim *sim, struct sim_event *event);

static void session_later(struct sim *sim, struct sim_agent *agent)
{
    int64_t b = 100 + 2 * agent->backoff_ms;
    agent->backoff_ms = b < BACKOFF_MAX_MS ? b : BACKOFF_MAX_MS;
    sim_post(sim, (int64_t)sim_below(sim, (uint64_t)agent->backoff_ms) * SIM_MS,
             (struct sim_event) { .fn = on_again, .life = &agent->life, .node = agent->node, .tag = ++agent->again });
}

static void session_drop(struct sim *sim, struct sim_agent *agent, bool tell)
{
    if (agent->session == NULL)
        return;
    free(agent->session);
    agent->session = NULL;
    agent->beat++;
    if (tell)
        agent_step(sim, agent, (struct worker_event) { .type = WORKER_EV_SESSION_DOWN });
}

static void session_lost(struct sim *sim, struct sim_agent *agent)
{
    session_drop(sim, agent, true);
    if (agent->connected)
        session_later(sim, agent);
}

static void session_request(struct sim *sim, struct sim_agent *agent)
{
    if (agent->waiting[ASK_SESSION] != 0 || agent->session != NULL || !agent->connected)
        return;
    Swarm__SessionRequest request = SWARM__SESSION_REQUEST__INIT;
    Swarm__NodeDescription about = SWARM__NODE_DESCRIPTION__INIT;
    Swarm__Resources resources = SWARM__RESOURCES__INIT;
    resources.has_nano_cpus = resources.has_memory_bytes = true;
    resources.nano_cpus = 4000000000;
    resources.memory_bytes = INT64_C(8) << 30;
    about.hostname = (char *)(uintptr_t)agent_node_id(agent->node);
    about.resources = &resources;
    request.description = &about;
    ask(sim, agent, ASK_SESSION, sw_pb_clone(&request), ANSWER_NS);
}

static void on_again(struct sim *sim, struct sim_event *event)
{
    struct sim_agent *agent = sim->agents[event->node];
    if (event->tag == agent->again)
        session_request(sim, agent);
}

static void on_beat(struct sim *sim, struct sim_event *event)
{
    struct sim_agent *agent = sim->agents[event->node];
    if (event->tag != agent->beat)
        return;
    Swarm__Heartbeat beat = SWARM__HEARTBEAT__INIT;
    beat.session = agent->session;
    sim_post(sim, agent->beat_ns,
             (struct sim_event) { .fn = on_beat, .life = &agent->life, .node = agent->node, .tag = agent->beat });
    ask(sim, agent, ASK_BEAT, sw_pb_clone(&beat), 2 * agent->beat_ns + SIM_S);
}

static void session_opened(struct sim *sim, struct sim_agent *agent, const Swarm__SessionReply *reply)
{
    agent->backoff_ms = 0;
    agent->beat_ns = reply->heartbeat_ns;
    free(agent->session);
    agent->session = sw_strdup(reply->session);
    sim_post(sim, agent->beat_ns,
             (struct sim_event) { .fn = on_beat, .life = &agent->life, .node = agent->node, .tag = ++agent->beat });
    agent_step(sim, agent, (struct worker_event) { .type = WORKER_EV_SESSION_UP, .text = agent->session });
}

static void failed(struct sim *sim, struct sim_agent *agent, enum question kind, int code)
{
    switch (kind) {
    case ASK_SESSION:
        if (agent->connected)
            session_later(sim, agent);
        return;
    case ASK_BEAT:
        session_lost(sim, agent);
        return;
    case ASK_REPORT:
        agent_step(sim, agent, (struct worker_event) { .type = WORKER_EV_REPORTED, .ok = false });
        if (code == SW_PRECONDITION)
            session_lost(sim, agent);
        return;
    case ASK_COUNT:
        return;
    }
}

static void answered(struct sim *sim, struct sim_agent *agent, enum question kind, const void *message)
{
    switch (kind) {
    case ASK_SESSION:
        session_opened(sim, agent, message);
        return;
    case ASK_BEAT:
        agent->beat_ns = ((const Swarm__HeartbeatReply *)message)->heartbeat_ns;
        return;
    case ASK_REPORT:
        agent_step(sim, agent, (struct worker_event) { .type = WORKER_EV_REPORTED, .ok = true });
        return;
    case ASK_COUNT:
        return;
    }
}

static void on_answer(struct sim *sim, struct sim_event *event)
{
    struct sim_agent *agent = sim->agents[event->node];
    enum question kind = (enum question)(event->kind % ASK_COUNT);
    int code = event->kind / ASK_COUNT;
    if (!agent->connected || event->conn != agent->conn || agent->cut || agent->waiting[kind] != event->tag)
        return;
    agent->waiting[kind] = 0;
    if (event->message != NULL)
        answered(sim, agent, kind, event->message);
    else
        failed(sim, agent, kind, code);
}

bool agent_answer(struct sim *sim, size_t node, unsigned conn, int kind, uint64_t tag, void *message, int code)
{
    struct sim_agent *agent = sim->agents[node];
    if (agent->conn != conn || !agent->life.up || sim_chance(sim, 5)) {
        sw_pb_free(message);
        return agent->conn == conn;
    }
    sim_post(sim, sim_link_delay_ns(sim, &agent->down_ns),
             (struct sim_event) { .fn = on_answer,
                                  .life = &agent->life,
                                  .node = node,
                                  .conn = conn,
                                  .kind = kind + ASK_COUNT * code,
                                  .tag = tag,
                                  .message = message });
    return true;
}

static void on_event(struct sim *sim, struct sim_event *event)
{
    struct sim_agent *agent = sim->agents[event->node];
    const ProtobufCMessage *message = event->message;
    agent->missed |= agent->cut;
    if (!agent->connected || event->conn != agent->conn || agent->cut)
        return;
    if (message->descriptor == &swarm__assignments__descriptor)
        agent_step(sim, agent, (struct worker_event) { .type = WORKER_EV_ASSIGNMENTS, .assignments = event->message });
}

bool agent_event(struct sim *sim, size_t node, unsigned conn, void *message)
{
    struct sim_agent *agent = sim->agents[node];
    if (agent->conn != conn || !agent->connected) {
        sw_pb_free(message);
        return false;
    }
    sim_post(sim, sim_link_delay_ns(sim, &agent->down_ns),
             (struct sim_event) { .fn = on_event, .life = &agent->life, .node = node, .conn = conn, .message = message });
    return true;
}

/* ---- the connection ---- */

static void on_connect(struct sim *sim, struct sim_event *event);

static void connect_later(struct sim *sim, struct sim_agent *agent)
{
    sim_post(sim, (int64_t)(20 + sim_below(sim, 200)) * SIM_MS,
             (struct sim_event) { .fn = on_connect, .life = &agent->life, .node = agent->node });
}

static void on_connect(struct sim *sim, struct sim_event *event)
{
    struct sim_agent *agent = sim->agents[event->node];
    if (agent->connected)
        return;
    if (agent->cut || !dispatcher_up(sim)) {
        connect_later(sim, agent);
        return;
    }
    agent->connected = true;
    agent->conn++;
    agent->backoff_ms = 0;
    session_request(sim, agent);
}

static void on_notice(struct sim *sim, struct sim_event *event)
{
    struct sim_agent *agent = sim->agents[event->node];
    if (!agent->connected || event->conn != agent->conn)
        return;
    agent->connected = false;
    agent->conn++;
    for (int kind = 0; kind < ASK_COUNT; kind++) {
        bool waits = agent->waiting[kind] != 0;
        agent->waiting[kind] = 0;
        if (waits)
            failed(sim, agent, (enum question)kind, SW_UNAVAILABLE);
    }
    session_drop(sim, agent, true);
    connect_later(sim, agent);
}

void agent_lose_connection(struct sim *sim, size_t node)
{
    struct sim_agent *agent = sim->agents[node];
    if (agent != NULL && agent->connected)
        sim_post(sim, (int64_t)sim_below(sim, 1500) * SIM_MS,
                 (struct sim_event) { .fn = on_notice, .life = &agent->life, .node = node, .conn = agent->conn });
}

void agent_cut(struct sim *sim, size_t node, bool cut)
{
    struct sim_agent *agent = sim->agents[node];
    if (agent->cut == cut)
        return;
    sim_note(sim, "%s: link %s", agent_node_id(node), cut ? "cut" : "healed");
    agent->cut = cut;
    if (cut)
        agent->missed = sim_below(sim, 2) == 0;
    if (agent->missed)
        agent_lose_connection(sim, node); /* a stream does not go on after a hole; before that, only silence tells */
}

/* ---- life ---- */

static void on_start(struct sim *sim, struct sim_event *event)
{
    struct sim_agent *agent = sim->agents[event->node];
    agent->life.up = true;
    agent->generation += 1000000; /* as the records promise: above any told before */
    const struct worker_config config = { .seed = sim_below(sim, UINT64_MAX), .drain_ms = 300, .generation = agent->generation };
    agent->core = worker_new(&config);
    for (size_t i = 0; i < agent->records.count; i++)
        agent_step(sim, agent, (struct worker_event) { .type = WORKER_EV_LOADED, .task = agent->records.rows[i].value });
    containers_found(sim, agent);
    agent_step(sim, agent, (struct worker_event) { .type = WORKER_EV_RECOVERED });
    agent_step(sim, agent, (struct worker_event) { .type = WORKER_EV_TABLE_UP });
    connect_later(sim, agent);
}

void agent_crash(struct sim *sim, size_t node, bool machine)
{
    struct sim_agent *agent = sim->agents[node];
    if (!agent->life.up)
        return;
    sim_note(sim, "%s: %s crashes", agent_node_id(node), machine ? "machine" : "agent");
    agent->life.up = false;
    agent->life.number++;
    worker_free(agent->core);
    agent->core = NULL;
    free(agent->session);
    agent->session = NULL;
    agent->connected = false;
    agent->conn++;
    memset(agent->waiting, 0, sizeof agent->waiting);
    if (machine)
        containers_lost(agent);
    sim_post(sim, (int64_t)(50 + sim_below(sim, 8000)) * SIM_MS, (struct sim_event) { .fn = on_start, .node = node });
}

void agent_open(struct sim *sim, size_t node)
{
    struct sim_agent *agent = sw_alloc0(sizeof *agent);
    sim->agents[node] = agent;
    agent->node = node;
    agent->skew_ns = ((int64_t)sim_below(sim, 400) - 200) * SIM_MS;
    Swarm__Node *object = sw_alloc0(sizeof *object);
    swarm__node__init(object);
    object->id = sw_strdup(agent_node_id(node));
    object->meta = sw_alloc0(sizeof *object->meta);
    swarm__meta__init(object->meta);
    object->spec = sw_alloc0(sizeof *object->spec);
    swarm__node_spec__init(object->spec);
    object->status = sw_alloc0(sizeof *object->status);
    swarm__node_status__init(object->status);
    store_write(sim, SWARM__ACTION_KIND__ACTION_CREATE, SWARM__TABLE__TABLE_NODE, agent_node_id(node), object);
    struct sim_event start = { .node = node };
    on_start(sim, &start);
}

void agent_close(struct sim *sim, size_t node)
{
    struct sim_agent *agent = sim->agents[node];
    worker_free(agent->core);
    for (size_t i = 0; i < agent->records.count; i++)
        sw_pb_free(agent->records.rows[i].value);
    sw_idmap_deinit(&agent->records);
    containers_free(agent);
    free(agent->session);
    free(agent);
}
