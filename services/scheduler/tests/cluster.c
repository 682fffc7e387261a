#include "services/scheduler/tests/cluster.h"

#include "common/base/names.h"
#include "common/base/units.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct names {
    UT_hash_handle hh;
    char id[SW_ID_SIZE];
    char name[128];
};

static void tick(struct cluster *cluster);

void cluster_init(struct cluster *cluster, uint64_t seed)
{
    *cluster = (struct cluster) { .store = mirror_new(), .scheduler = scheduler_new(seed), .term = 1 };
    cluster->now_ns = SW_NS_PER_S * 1000;
    cluster_resubscribe(cluster, true);
}

void cluster_deinit(struct cluster *cluster)
{
    struct names *name = NULL;
    struct names *next = NULL;
    HASH_ITER(hh, cluster->names, name, next)
    {
        HASH_DEL(cluster->names, name);
        free(name);
    }
    scheduler_free(cluster->scheduler);
    mirror_free(cluster->store);
    sw_buf_deinit(&cluster->log);
}

const char *cluster_task_name(struct cluster *cluster, const Swarm__Task *task)
{
    struct names *found = NULL;
    HASH_FIND_STR(cluster->names, task->id, found);
    if (found != NULL)
        return found->name;
    char head[64];
    if (task->slot != 0)
        (void)snprintf(head, sizeof head, "%.30s.%llu#", task->service_name, (unsigned long long)task->slot);
    else
        (void)snprintf(head, sizeof head, "%.30s.%.30s#", task->service_name, task->node_id != NULL ? task->node_id : "?");
    unsigned nth = 1;
    for (struct names *n = cluster->names; n != NULL; n = n->hh.next)
        nth += strncmp(n->name, head, strlen(head)) == 0 ? 1 : 0;
    found = calloc(1, sizeof *found);
    assert(found != NULL);
    (void)snprintf(found->id, sizeof found->id, "%s", task->id);
    (void)snprintf(found->name, sizeof found->name, "%s%u", head, nth);
    HASH_ADD_STR(cluster->names, id, found);
    return found->name;
}

const Swarm__Task *cluster_task_by_name(struct cluster *cluster, const char *name)
{
    for (struct names *n = cluster->names; n != NULL; n = n->hh.next)
        if (strcmp(n->name, name) == 0)
            return mirror_task(cluster->store, n->id);
    return NULL;
}

/* ---- what a commit changes, as text ---- */

static const char *state_name(Swarm__TaskState state)
{
    return sw_task_state_name(state);
}

static void log_task(struct cluster *cluster, const Swarm__Task *old, const Swarm__Task *task)
{
    struct sw_buf *log = &cluster->log;
    sw_buf_addf(log, "  %s %s", old == NULL ? "new task" : "task", cluster_task_name(cluster, task));
    if (old == NULL)
        sw_buf_addf(log, " wants %s, is %s", state_name(task->desired_state), state_name(task->status->state));
    else if (old->desired_state != task->desired_state)
        sw_buf_addf(log, " wants %s", state_name(task->desired_state));
    if (old != NULL && old->status->state != task->status->state)
        sw_buf_addf(log, " is %s", state_name(task->status->state));
    if (task->node_id != NULL && (old == NULL || old->node_id == NULL))
        sw_buf_addf(log, " on %s", task->node_id);
    const char *err = task->status->err != NULL ? task->status->err : "";
    const char *before = old != NULL && old->status->err != NULL ? old->status->err : "";
    if (strcmp(err, before) != 0)
        sw_buf_addf(log, ": %s", err[0] != '\0' ? err : "no error any more");
    sw_buf_adds(log, "\n");
}

static void log_service(struct cluster *cluster, const Swarm__Service *old, const Swarm__Service *service)
{
    struct sw_buf *log = &cluster->log;
    sw_buf_addf(log, "  service %s", service->spec->name);
    for (size_t i = 0;
         service->endpoint != NULL && !sw_pb_equal(old->endpoint, service->endpoint) && i < service->endpoint->n_ports; i++)
        sw_buf_addf(log, " port %u:%u/%s", service->endpoint->ports[i]->published_port, service->endpoint->ports[i]->target_port,
                    sw_protocol_name(service->endpoint->ports[i]->protocol));
    if (service->update_status != NULL && !sw_pb_equal(old->update_status, service->update_status))
        sw_buf_addf(log, " update: %.40s", service->update_status->message);
    if (!sw_pb_equal(old->spec, service->spec))
        sw_buf_adds(log, " spec taken back");
    sw_buf_adds(log, "\n");
}

static void log_action(struct cluster *cluster, const Swarm__StoreAction *action)
{
    const void *old = mirror_get(cluster->store, action->table, action->id);
    if (action->kind == SWARM__ACTION_KIND__ACTION_REMOVE) {
        bool task = action->table == SWARM__TABLE__TABLE_TASK && old != NULL;
        sw_buf_addf(&cluster->log, "  delete %s %s\n", store_table_of(action->table)->word,
                    task ? cluster_task_name(cluster, old) : action->id);
        return;
    }
    void *object =
        sw_pb_unpack(store_table_of(action->table)->type, action->record.data, action->record.len, STORE_RECORD_MAX, NULL);
    assert(object != NULL);
    if (action->table == SWARM__TABLE__TABLE_TASK)
        log_task(cluster, old, object);
    else
        log_service(cluster, old, object);
    sw_pb_free(object);
}

static void log_batch(struct cluster *cluster, const Swarm__StoreBatch *batch)
{
    for (size_t i = 0; i < batch->n_txns; i++) {
        if (i != 0 && batch->txns[i]->n_actions + batch->txns[i - 1]->n_actions > 2)
            sw_buf_adds(&cluster->log, "  ;\n");
        for (size_t j = 0; j < batch->txns[i]->n_actions; j++)
            log_action(cluster, batch->txns[i]->actions[j]);
    }
}

/* ---- the store and its feed ---- */

static Swarm__FeedChange *feed_change(const struct apply_change *from)
{
    Swarm__FeedChange *change = sw_alloc0(sizeof *change);
    swarm__feed_change__init(change);
    change->kind = from->kind;
    change->table = from->table;
    change->id = sw_strdup(from->id);
    if (from->object != NULL) {
        SW_AUTO_BUF buf = { 0 };
        sw_pb_pack(from->object, &buf);
        change->has_record = true;
        change->record = sw_pb_bytes(buf.data, buf.len);
    }
    return change;
}

/* Apply, feed; results are the caller's to free (inside *ret). */
static void apply(struct cluster *cluster, const Swarm__StoreBatch *batch, struct apply_result *ret)
{
    apply_batch(cluster->store, ++cluster->index, cluster->term, batch, ret);
    Swarm__FeedChanges *changes = sw_alloc0(sizeof *changes);
    swarm__feed_changes__init(changes);
    changes->version = cluster->index;
    changes->term = cluster->term;
    changes->leader = cluster->leader;
    changes->n_changes = ret->change_count;
    changes->changes = sw_alloc0(ret->change_count * sizeof *changes->changes);
    for (size_t i = 0; i < ret->change_count; i++)
        changes->changes[i] = feed_change(&ret->changes[i]);
    struct sched_event event = { .type = SCHED_CHANGES, .now_ns = cluster->now_ns, .changes = changes };
    struct sched_update update;
    assert(scheduler_step(cluster->scheduler, &event, &update) == SCHED_OK);
    assert(update.commit == NULL);
    cluster->deadline_ns = update.deadline_ns;
    sw_pb_free(changes);
}

/* The batch as it is, or with its first transaction made to fail by a version nobody has. */
static Swarm__StoreBatch *spoilt(struct cluster *cluster, const Swarm__StoreBatch *batch)
{
    Swarm__StoreBatch *copy = sw_pb_clone(batch);
    if (cluster->refuse == 0)
        return copy;
    cluster->refuse--;
    Swarm__StoreAction *action = copy->txns[0]->actions[0];
    if (action->kind == SWARM__ACTION_KIND__ACTION_CREATE)
        action->kind = SWARM__ACTION_KIND__ACTION_UPDATE;
    action->has_version = true;
    action->version = UINT64_MAX;
    return copy;
}

static void commit(struct cluster *cluster, const Swarm__StoreBatch *batch, struct sched_update *ret_update)
{
    Swarm__StoreBatch *copy = spoilt(cluster, batch);
    if (cluster->check != NULL)
        cluster->check(cluster->check_arg, copy);
    log_batch(cluster, batch);
    struct apply_result result;
    apply(cluster, copy, &result);
    Swarm__CommitReply reply = SWARM__COMMIT_REPLY__INIT;
    reply.version = cluster->index;
    reply.results = result.results;
    reply.n_results = result.result_count;
    for (size_t i = 0; i < reply.n_results; i++)
        if (reply.results[i]->code != 0)
            sw_buf_addf(&cluster->log, "  refused: transaction %zu\n", i);
    struct sched_event event = { .type = SCHED_RESULT, .now_ns = cluster->now_ns, .reply = &reply };
    assert(scheduler_step(cluster->scheduler, &event, ret_update) == SCHED_OK);
    apply_result_deinit(&result);
    sw_pb_free(copy);
}

static void tick(struct cluster *cluster)
{
    struct sched_event event = { .type = SCHED_TICK, .now_ns = cluster->now_ns };
    struct sched_update update;
    assert(scheduler_step(cluster->scheduler, &event, &update) == SCHED_OK);
    while (update.commit != NULL)
        commit(cluster, update.commit, &update);
    cluster->deadline_ns = update.deadline_ns;
}

void cluster_settle(struct cluster *cluster)
{
    for (int round = 0; cluster->deadline_ns <= cluster->now_ns; round++) {
        assert(round < 100); /* it would go round for ever */
        tick(cluster);
    }
}

void cluster_wait(struct cluster *cluster, int64_t ns)
{
    int64_t end_ns = cluster->now_ns + ns;
    cluster_settle(cluster);
    while (cluster->deadline_ns <= end_ns) {
        cluster->now_ns = cluster->deadline_ns;
        cluster_settle(cluster);
    }
    cluster->now_ns = end_ns;
}

void cluster_write(struct cluster *cluster, Swarm__ActionKind kind, Swarm__Table table, const char *id, void *object)
{
    Swarm__StoreBatch *batch = store_batch_new(cluster->now_ns);
    store_txn_add(store_batch_txn(batch), store_action_new(kind, table, id, 0, object));
    struct apply_result result;
    apply(cluster, batch, &result);
    if (result.results[0]->code == SW_INVALID) {
        sw_buf_addf(&cluster->log, "  refused: %s\n", result.results[0]->error);
    } else if (result.results[0]->code != 0) {
        (void)fprintf(stderr, "write of %s: %s\n", id, result.results[0]->error);
        abort();
    }
    apply_result_deinit(&result);
    sw_pb_free(batch);
    sw_pb_free(object);
}

static void snapshot_table(struct cluster *cluster, Swarm__FeedSnapshot *snapshot, Swarm__Table table)
{
    for (const void *o = mirror_first(cluster->store, table); o != NULL; o = mirror_next(cluster->store, table, o)) {
        Swarm__FeedObject *object = sw_alloc0(sizeof *object);
        swarm__feed_object__init(object);
        object->table = table;
        SW_AUTO_BUF buf = { 0 };
        sw_pb_pack(o, &buf);
        object->record = sw_pb_bytes(buf.data, buf.len);
        snapshot->objects = sw_realloc_array(snapshot->objects, snapshot->n_objects + 1, sizeof *snapshot->objects);
        snapshot->objects[snapshot->n_objects++] = object;
    }
}

void cluster_resubscribe(struct cluster *cluster, bool leader)
{
    struct sched_update update;
    struct sched_event lost = { .type = SCHED_LOST, .now_ns = cluster->now_ns };
    assert(scheduler_step(cluster->scheduler, &lost, &update) == SCHED_OK);
    cluster->leader = leader;
    Swarm__FeedSnapshot *snapshot = sw_alloc0(sizeof *snapshot);
    swarm__feed_snapshot__init(snapshot);
    snapshot->version = cluster->index;
    snapshot->term = cluster->term;
    snapshot->leader = leader;
    snapshot->done = true;
    for (int table = 0; table < STORE_TABLES; table++)
        snapshot_table(cluster, snapshot, (Swarm__Table)table);
    struct sched_event event = { .type = SCHED_SNAPSHOT, .now_ns = cluster->now_ns, .snapshot = snapshot };
    assert(scheduler_step(cluster->scheduler, &event, &update) == SCHED_OK);
    cluster->deadline_ns = update.deadline_ns;
    sw_pb_free(snapshot);
}

/* ---- agents ---- */

void cluster_report(struct cluster *cluster, const Swarm__Task *task, Swarm__TaskState state, const char *err)
{
    Swarm__Task *report = sw_pb_clone(task);
    report->status->has_state = true;
    report->status->state = state;
    report->status->has_timestamp_ns = true;
    report->status->timestamp_ns = cluster->now_ns;
    report->status->has_applied_ns = true;
    report->status->applied_ns = cluster->now_ns;
    sw_pb_set(&report->status->message, sw_task_state_name(state));
    sw_pb_set(&report->status->err, err);
    cluster_write(cluster, SWARM__ACTION_KIND__ACTION_TASK_STATUS, SWARM__TABLE__TABLE_TASK, task->id, report);
}

static bool node_up(const struct cluster *cluster, const char *id)
{
    const Swarm__Node *node = id != NULL ? mirror_node(cluster->store, id) : NULL;
    return node != NULL && node->status != NULL && node->status->state == SWARM__NODE_STATE__NODE_READY;
}

static Swarm__TaskState next_state(const Swarm__Task *task, bool stop, bool start)
{
    Swarm__TaskState state = task->status->state;
    if (state < SWARM__TASK_STATE__TASK_ASSIGNED || state > SWARM__TASK_STATE__TASK_RUNNING)
        return state;
    if (task->desired_state >= SWARM__TASK_STATE__TASK_SHUTDOWN)
        return stop ? SWARM__TASK_STATE__TASK_SHUTDOWN : state;
    if (!start || state >= task->desired_state)
        return state;
    return task->desired_state == SWARM__TASK_STATE__TASK_READY ? SWARM__TASK_STATE__TASK_READY : SWARM__TASK_STATE__TASK_RUNNING;
}

bool cluster_agents(struct cluster *cluster, bool stop, bool start)
{
    size_t count = mirror_count(cluster->store, SWARM__TABLE__TABLE_TASK);
    SW_AUTO(sw_free) char(*ids)[SW_ID_SIZE] = calloc(count + 1, sizeof *ids);
    size_t n = 0;
    for (const Swarm__Task *t = mirror_first(cluster->store, SWARM__TABLE__TABLE_TASK); t != NULL;
         t = mirror_next(cluster->store, SWARM__TABLE__TABLE_TASK, t))
        if (node_up(cluster, t->node_id) && next_state(t, stop, start) != t->status->state)
            (void)snprintf(ids[n++], SW_ID_SIZE, "%s", t->id);
    for (size_t i = 0; i < n; i++) {
        const Swarm__Task *task = mirror_task(cluster->store, ids[i]);
        cluster_report(cluster, task, next_state(task, stop, start), NULL);
    }
    return n > 0;
}

void cluster_show(struct cluster *cluster, struct sw_buf *text)
{
    for (const Swarm__Service *s = mirror_first(cluster->store, SWARM__TABLE__TABLE_SERVICE); s != NULL;
         s = mirror_next(cluster->store, SWARM__TABLE__TABLE_SERVICE, s)) {
        struct mirror_tasks tasks = mirror_tasks_of_service(cluster->store, s->id);
        if (s->update_status != NULL)
            sw_buf_addf(text, "  %s: %s\n", s->spec->name, s->update_status->message);
        for (size_t i = 0; i < tasks.count; i++)
            sw_buf_addf(text, "  %s %s wants %s is %s on %s\n", cluster_task_name(cluster, tasks.items[i]),
                        tasks.items[i]->spec->container->image, state_name(tasks.items[i]->desired_state),
                        state_name(tasks.items[i]->status->state),
                        tasks.items[i]->node_id != NULL ? tasks.items[i]->node_id : "-");
    }
}
