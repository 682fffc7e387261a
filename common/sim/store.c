#include "common/sim/parts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct client {
    const struct sim_life *life; /* NULL: not subscribed */
    sim_fn *fn;
    unsigned conn;
    int64_t in_ns, out_ns; /* the link keeps order */
    bool commit;           /* one is not answered yet */
};
struct sim_store {
    struct sim_life life;
    struct mirror *mirror;
    uint64_t index, term;
    bool leader;
    struct client clients[2];
    struct sw_idmap given_up; /* tasks whose node was declared down while they were there */
};

const struct mirror *store_mirror(const struct sim *sim)
{
    return sim->store->mirror;
}

size_t store_task_count(const struct sim *sim)
{
    return mirror_count(sim->store->mirror, SWARM__TABLE__TABLE_TASK);
}

void store_close(struct sim *sim)
{
    mirror_free(sim->store->mirror);
    sw_idmap_deinit(&sim->store->given_up);
    free(sim->store);
}

/* ---- to clients ---- */

static void answer(struct sim *sim, struct client *client, enum sim_answer kind, void *message)
{
    if (client->life == NULL || !client->life->up) {
        sw_pb_free(message);
        return;
    }
    sim_post(
        sim, sim_link_delay_ns(sim, &client->out_ns),
        (struct sim_event) { .fn = client->fn, .life = client->life, .conn = client->conn, .kind = kind, .message = message });
}

static ProtobufCBinaryData encoded(const void *object)
{
    SW_AUTO_BUF buf = { 0 };
    sw_pb_pack(object, &buf);
    return sw_pb_bytes(buf.data, buf.len);
}

static Swarm__FeedChanges *news(const struct sim_store *store, const struct apply_result *result)
{
    Swarm__FeedChanges *changes = sw_alloc0(sizeof *changes);
    swarm__feed_changes__init(changes);
    changes->version = store->index;
    changes->term = store->term;
    changes->leader = store->leader;
    changes->n_changes = result != NULL ? result->change_count : 0;
    changes->changes = sw_alloc0(changes->n_changes * sizeof *changes->changes);
    for (size_t i = 0; i < changes->n_changes; i++) {
        Swarm__FeedChange *change = sw_alloc0(sizeof *change);
        swarm__feed_change__init(change);
        change->kind = result->changes[i].kind;
        change->table = result->changes[i].table;
        change->id = sw_strdup(result->changes[i].id);
        change->has_record = result->changes[i].object != NULL;
        if (change->has_record)
            change->record = encoded(result->changes[i].object);
        changes->changes[i] = change;
    }
    return changes;
}

static void broadcast(struct sim *sim, const struct apply_result *result)
{
    for (size_t i = 0; i < 2; i++)
        if (sim->store->clients[i].life != NULL)
            answer(sim, &sim->store->clients[i], ANSWER_CHANGES, news(sim->store, result));
}

static void snapshot_table(const struct sim_store *store, Swarm__FeedSnapshot *snapshot, Swarm__Table table)
{
    for (const void *o = mirror_first(store->mirror, table); o != NULL; o = mirror_next(store->mirror, table, o)) {
        Swarm__FeedObject *object = sw_alloc0(sizeof *object);
        swarm__feed_object__init(object);
        object->table = table;
        object->record = encoded(o);
        snapshot->objects = sw_realloc_array(snapshot->objects, snapshot->n_objects + 1, sizeof *snapshot->objects);
        snapshot->objects[snapshot->n_objects++] = object;
    }
}

static void on_subscribe(struct sim *sim, struct sim_event *event)
{
    struct sim_store *store = sim->store;
    struct client *client = &store->clients[event->kind];
    client->conn = event->conn;
    Swarm__FeedSnapshot *snapshot = sw_alloc0(sizeof *snapshot);
    swarm__feed_snapshot__init(snapshot);
    snapshot->version = store->index;
    snapshot->term = store->term;
    snapshot->leader = store->leader;
    snapshot->done = true;
    for (int table = SWARM__TABLE__TABLE_CLUSTER; table <= SWARM__TABLE__TABLE_TASK; table++)
        snapshot_table(store, snapshot, (Swarm__Table)table);
    answer(sim, client, ANSWER_SNAPSHOT, snapshot);
}

void store_subscribe(struct sim *sim, enum sim_client client, const struct sim_life *life, sim_fn *fn, unsigned conn)
{
    struct client *c = &sim->store->clients[client];
    *c = (struct client) { .life = life, .fn = fn, .conn = conn, .in_ns = c->in_ns, .out_ns = sim->now_ns };
    sim_post(sim, sim_link_delay_ns(sim, &c->in_ns),
             (struct sim_event) { .fn = on_subscribe, .life = &sim->store->life, .conn = conn, .kind = (int)client });
}

/* ---- applying ---- */

/* A replacement may start at once, wherever the old one is by now. */
static void give_up(struct sim_store *store, const char *node_id)
{
    struct mirror_tasks tasks = mirror_tasks_of_node(store->mirror, node_id);
    for (size_t i = 0; i < tasks.count; i++)
        sw_idmap_put(&store->given_up, tasks.items[i]->id, NULL);
}

bool store_gave_up(const struct sim *sim, const char *task_id)
{
    return sw_idmap_has(&sim->store->given_up, task_id);
}

static void check_changes(struct sim *sim, const struct apply_result *result, const struct check_facts *old, size_t count)
{
    for (size_t i = 0; i < result->change_count; i++) {
        const struct apply_change *change = &result->changes[i];
        const Swarm__Node *node = change->object;
        if (change->table == SWARM__TABLE__TABLE_NODE && node != NULL && node->status->state == SWARM__NODE_STATE__NODE_DOWN)
            give_up(sim->store, node->id);
        if (change->table != SWARM__TABLE__TABLE_TASK || change->object == NULL)
            continue;
        const struct check_facts *was = NULL;
        for (size_t k = 0; k < count && was == NULL; k++)
            if (strcmp(old[k].id, change->id) == 0)
                was = &old[k];
        check_task(sim, was, change->object);
        check_slots(sim, ((const Swarm__Task *)change->object)->service_id);
    }
}

static void apply(struct sim *sim, const Swarm__StoreBatch *batch, struct apply_result *ret)
{
    struct sim_store *store = sim->store;
    struct check_facts *old = NULL;
    size_t count = 0;
    for (size_t i = 0; i < batch->n_txns; i++)
        for (size_t k = 0; k < batch->txns[i]->n_actions; k++) {
            const Swarm__Task *task = mirror_task(store->mirror, batch->txns[i]->actions[k]->id);
            if (task == NULL)
                continue;
            old = sw_realloc_array(old, count + 1, sizeof *old);
            old[count++] = check_facts(task);
        }
    apply_batch(store->mirror, ++store->index, store->term, batch, ret);
    check_changes(sim, ret, old, count);
    free(old);
    broadcast(sim, ret);
}

static void on_commit(struct sim *sim, struct sim_event *event)
{
    struct sim_store *store = sim->store;
    struct client *client = &store->clients[event->kind];
    const Swarm__StoreBatch *batch = event->message;
    if (client->life == NULL || event->conn != client->conn)
        return;
    client->commit = false;
    if (!store->leader || batch->term != store->term) {
        answer(sim, client, ANSWER_FAILED, NULL);
        return;
    }
    struct apply_result result;
    apply(sim, batch, &result);
    Swarm__CommitReply reply = SWARM__COMMIT_REPLY__INIT;
    reply.version = store->index;
    reply.results = result.results;
    reply.n_results = result.result_count;
    answer(sim, client, ANSWER_REPLY, sw_pb_clone(&reply));
    apply_result_deinit(&result);
}

void store_commit(struct sim *sim, enum sim_client client, const Swarm__StoreBatch *batch)
{
    struct client *c = &sim->store->clients[client];
    c->commit = true;
    int64_t sync_ns = (int64_t)sim_below(sim, sim_chance(sim, 200) ? 500 : 3) * SIM_MS; /* now and then the disk is slow */
    int64_t delay_ns = sim_link_delay_ns(sim, &c->in_ns) + sync_ns;
    c->in_ns = sim->now_ns + delay_ns;
    sim_post(
        sim, delay_ns,
        (struct sim_event) {
            .fn = on_commit, .life = &sim->store->life, .conn = c->conn, .kind = (int)client, .message = sw_pb_clone(batch) });
}

void store_write(struct sim *sim, Swarm__ActionKind kind, Swarm__Table table, const char *id, void *object)
{
    Swarm__StoreBatch *batch = store_batch_new(SIM_EPOCH_NS + sim->now_ns);
    store_txn_add(store_batch_txn(batch), store_action_new(kind, table, id, 0, object));
    struct apply_result result;
    apply(sim, batch, &result);
    if (result.results[0]->code != 0)
        sim_broken(sim, SIM_UNSAFE, "write of %s refused: %s", id, result.results[0]->error);
    apply_result_deinit(&result);
    sw_pb_free(batch);
    sw_pb_free(object);
}

/* ---- faults ---- */

void store_crash(struct sim *sim)
{
    sim_note(sim, "manager-raft crashes");
    sim->store->life.number++; /* what was on its way to it is lost */
    for (size_t i = 0; i < 2; i++) {
        struct client *client = &sim->store->clients[i];
        if (client->life == NULL)
            continue;
        if (client->commit)
            answer(sim, client, ANSWER_FAILED, NULL);
        client->commit = false;
        answer(sim, client, ANSWER_LOST, NULL);
        client->life = NULL;
    }
}

static void on_elected(struct sim *sim, struct sim_event *event)
{
    (void)event;
    sim->store->leader = true;
    broadcast(sim, NULL);
}

void store_elect(struct sim *sim)
{
    sim_note(sim, "term %llu ends", (unsigned long long)sim->store->term);
    bool had = sim->store->leader;
    sim->store->leader = false;
    sim->store->term++;
    broadcast(sim, NULL);
    if (had)
        sim_post(sim, (int64_t)(100 + sim_below(sim, 2000)) * SIM_MS, (struct sim_event) { .fn = on_elected });
}

void store_open(struct sim *sim)
{
    sim->store = sw_alloc0(sizeof *sim->store);
    sim->store->life = (struct sim_life) { .up = true };
    sim->store->mirror = mirror_new();
    sim->store->term = 1;
    sim->store->leader = true;
}
