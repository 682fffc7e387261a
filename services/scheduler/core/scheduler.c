#include "services/scheduler/core/scheduler.h"

#include "services/scheduler/core/allocator.h"
#include "services/scheduler/core/enforcer.h"
#include "services/scheduler/core/global.h"
#include "services/scheduler/core/orphans.h"
#include "services/scheduler/core/placement.h"
#include "services/scheduler/core/reaper.h"
#include "services/scheduler/core/replicated.h"

#include <assert.h>
#include <stdlib.h>

struct scheduler {
    struct world world;
    uint64_t term;
    bool leader, synced;
    bool busy; /* a batch is under way */
    uint64_t commits, conflicts, rounds;
};

struct scheduler *scheduler_new(uint64_t seed)
{
    struct scheduler *scheduler = sw_alloc0(sizeof *scheduler);
    world_init(&scheduler->world, seed);
    return scheduler;
}

void scheduler_free(struct scheduler *scheduler)
{
    if (scheduler == NULL)
        return;
    world_deinit(&scheduler->world);
    free(scheduler);
}

/* ---- deciding ---- */

static void step_node(struct world *world, const char *id)
{
    orphans_node(world, id);
    const struct node_info *info = nodes_get(&world->nodes, id);
    if (info != NULL && info->node != NULL)
        enforcer_node(world, info);
    struct mirror_tasks tasks = mirror_tasks_of_node(world->mirror, id);
    for (size_t i = 0; i < tasks.count; i++)
        (void)idset_add(&world->dirty_services, tasks.items[i]->service_id, 0);
}

static void step_nodes(struct world *world)
{
    struct idset dirty = idset_take(&world->dirty_nodes);
    for (const struct idset_row *row = dirty.first; row != NULL; row = idset_next(row))
        step_node(world, idset_id(row));
    bool any = dirty.first != NULL;
    idset_clear(&dirty);
    for (const Swarm__Service *s = any ? mirror_first(world->mirror, SWARM__TABLE__TABLE_SERVICE) : NULL; s != NULL;
         s = mirror_next(world->mirror, SWARM__TABLE__TABLE_SERVICE, s))
        if (s->spec->mode->kind == SWARM__SERVICE_MODE_KIND__MODE_GLOBAL)
            (void)idset_add(&world->dirty_services, s->id, 0);
}

static void step_service(struct world *world, const char *id)
{
    const Swarm__Service *service = mirror_service(world->mirror, id);
    if (service == NULL || service->pending_delete) {
        reaper_service(world, id);
        return;
    }
    service = allocator_service(world, service);
    allocator_tasks(world, service);
    switch (service->spec->mode->kind) {
    case SWARM__SERVICE_MODE_KIND__MODE_REPLICATED:
        replicated_step(world, service);
        break;
    case SWARM__SERVICE_MODE_KIND__MODE_GLOBAL:
        global_step(world, service);
        break;
    case SWARM__SERVICE_MODE_KIND__MODE_REPLICATED_JOB:
    case SWARM__SERVICE_MODE_KIND__MODE_GLOBAL_JOB: /* no loop of this process owns jobs: it makes no task of theirs */
    case _SWARM__SERVICE_MODE_KIND_IS_INT_SIZE:
        break;
    }
}

static void step_services(struct world *world)
{
    struct idset dirty = idset_take(&world->dirty_services); /* what its own edits mark is looked at in the next round */
    for (const struct idset_row *row = dirty.first; row != NULL; row = idset_next(row)) {
        idset_del(&world->service_wakes, idset_id(row));
        step_service(world, idset_id(row));
    }
    idset_clear(&dirty);
}

static void send_next(struct scheduler *scheduler, struct sched_update *update)
{
    update->commit = plan_next(&scheduler->world.plan, scheduler->world.mirror, scheduler->world.now_ns, scheduler->term);
    scheduler->busy = update->commit != NULL;
    scheduler->commits += scheduler->busy ? 1 : 0;
}

static bool may_decide(const struct scheduler *scheduler)
{
    return scheduler->leader && scheduler->synced && !scheduler->busy;
}

static bool has_work(const struct world *world)
{
    return world->dirty_services.first != NULL || world->dirty_nodes.first != NULL || world->fresh.first != NULL ||
           (world->retry_parked && world->parked.first != NULL);
}

static void on_tick(struct scheduler *scheduler, struct sched_update *update)
{
    struct world *world = &scheduler->world;
    if (!may_decide(scheduler))
        return;
    world_wake_due(world);
    if (!has_work(world))
        return;
    scheduler->rounds++;
    step_nodes(world);
    step_services(world);
    placement_step(world);
    send_next(scheduler, update);
}

/* ---- the feed ---- */

static void set_leader(struct scheduler *scheduler, uint64_t term, bool leader)
{
    bool anew = leader && (!scheduler->leader || scheduler->term != term);
    scheduler->term = term;
    scheduler->leader = leader;
    if (anew && scheduler->synced)
        world_mark_all(&scheduler->world);
}

static bool put_record(struct world *world, Swarm__Table table, ProtobufCBinaryData record)
{
    const struct store_table *row = store_table_of(table);
    if (row == NULL)
        return false;
    void *object = sw_pb_unpack(row->type, record.data, record.len, STORE_RECORD_MAX, NULL);
    if (object == NULL)
        return false;
    plan_overtaken(&world->plan, table, store_object_id(object));
    world_put(world, table, object);
    return true;
}

static enum sched_result on_snapshot(struct scheduler *scheduler, const Swarm__FeedSnapshot *snapshot)
{
    if (scheduler->synced)
        return SCHED_CORRUPT;
    for (size_t i = 0; i < snapshot->n_objects; i++)
        if (!put_record(&scheduler->world, snapshot->objects[i]->table, snapshot->objects[i]->record))
            return SCHED_CORRUPT;
    if (snapshot->done) {
        mirror_set_version(scheduler->world.mirror, snapshot->version);
        scheduler->synced = true;
        scheduler->leader = false;
        set_leader(scheduler, snapshot->term, snapshot->leader);
    }
    return SCHED_OK;
}

static bool apply_change(struct world *world, const Swarm__FeedChange *change)
{
    switch (change->kind) {
    case SWARM__ACTION_KIND__ACTION_CREATE:
    case SWARM__ACTION_KIND__ACTION_UPDATE:
        return put_record(world, change->table, change->record);
    case SWARM__ACTION_KIND__ACTION_REMOVE:
        plan_overtaken(&world->plan, change->table, change->id);
        world_drop(world, change->table, change->id);
        return store_table_of(change->table) != NULL;
    case SWARM__ACTION_KIND__ACTION_TASK_STATUS:
    case SWARM__ACTION_KIND__ACTION_NODE_STATUS:
    case _SWARM__ACTION_KIND_IS_INT_SIZE:
        return false;
    }
    return false;
}

static enum sched_result on_changes(struct scheduler *scheduler, const Swarm__FeedChanges *changes)
{
    if (!scheduler->synced)
        return SCHED_CORRUPT;
    for (size_t i = 0; i < changes->n_changes; i++)
        if (!apply_change(&scheduler->world, changes->changes[i]))
            return SCHED_CORRUPT;
    mirror_set_version(scheduler->world.mirror, changes->version);
    set_leader(scheduler, changes->term, changes->leader);
    return SCHED_OK;
}

/* ---- the commit's answer ---- */

struct outcome_arg {
    struct scheduler *scheduler;
    uint64_t version;
};

/* A refused object goes back to what it was. What it belongs to is looked at again in any case. */
static void take_back(struct world *world, const struct plan_outcome *outcome)
{
    const struct store_table *row = store_table_of(outcome->table);
    if (!outcome->overtaken && outcome->undo->len == 0) {
        world_drop(world, outcome->table, outcome->id);
    } else if (!outcome->overtaken) {
        void *object = sw_pb_unpack(row->type, outcome->undo->data, outcome->undo->len, STORE_RECORD_MAX, NULL);
        assert(object != NULL);
        world_put(world, outcome->table, object);
    }
    const Swarm__Task *task = outcome->table == SWARM__TABLE__TABLE_TASK ? mirror_task(world->mirror, outcome->id) : NULL;
    if (task != NULL)
        (void)idset_add(&world->dirty_services, task->service_id, 0);
    else if (outcome->table == SWARM__TABLE__TABLE_SERVICE)
        (void)idset_add(&world->dirty_services, outcome->id, 0);
}

static void on_outcome(void *arg, const struct plan_outcome *outcome)
{
    struct outcome_arg *a = arg;
    struct world *world = &a->scheduler->world;
    if (outcome->refused) {
        take_back(world, outcome);
        return;
    }
    /* Should the answer overtake the feed, later edits still have to name the right version. */
    void *object = (void *)(uintptr_t)mirror_get(world->mirror, outcome->table, outcome->id);
    if (!outcome->overtaken && object != NULL)
        store_object_meta(object)->version = a->version;
}

static enum sched_result on_result(struct scheduler *scheduler, const Swarm__CommitReply *reply, struct sched_update *update)
{
    if (!scheduler->busy)
        return SCHED_OK; /* of before the feed was lost */
    if (reply->n_results != scheduler->world.plan.batch->n_txns)
        return SCHED_CORRUPT;
    for (size_t i = 0; i < reply->n_results; i++) {
        if (reply->results[i]->code == SW_FENCED)
            return SCHED_CORRUPT; /* another leader: start from its snapshot */
        scheduler->conflicts += reply->results[i]->code != 0 ? 1 : 0;
    }
    struct outcome_arg arg = { scheduler, reply->version };
    plan_result(&scheduler->world.plan, reply, on_outcome, &arg);
    send_next(scheduler, update);
    return SCHED_OK;
}

static void forget(struct scheduler *scheduler)
{
    world_forget(&scheduler->world);
    scheduler->leader = false;
    scheduler->synced = false;
    scheduler->busy = false;
}

static enum sched_result dispatch(struct scheduler *scheduler, const struct sched_event *event, struct sched_update *update)
{
    switch (event->type) {
    case SCHED_TICK:
        on_tick(scheduler, update);
        return SCHED_OK;
    case SCHED_SNAPSHOT:
        return on_snapshot(scheduler, event->snapshot);
    case SCHED_CHANGES:
        return on_changes(scheduler, event->changes);
    case SCHED_RESULT:
        return on_result(scheduler, event->reply, update);
    case SCHED_LOST:
        forget(scheduler);
        return SCHED_OK;
    }
    abort();
}

static int64_t deadline_ns(const struct scheduler *scheduler)
{
    if (!may_decide(scheduler))
        return SCHED_NEVER;
    return has_work(&scheduler->world) ? scheduler->world.now_ns : world_next_wake(&scheduler->world);
}

enum sched_result scheduler_step(struct scheduler *scheduler, const struct sched_event *event, struct sched_update *ret_update)
{
    assert(event->now_ns >= scheduler->world.now_ns);
    scheduler->world.now_ns = event->now_ns;
    *ret_update = (struct sched_update) { 0 };
    enum sched_result result = dispatch(scheduler, event, ret_update);
    if (result != SCHED_OK)
        forget(scheduler);
    ret_update->deadline_ns = deadline_ns(scheduler);
    return result;
}

struct sched_stats scheduler_stats(const struct scheduler *scheduler)
{
    const struct world *world = &scheduler->world;
    return (struct sched_stats) {
        .decisions = world->decisions,
        .placed = world->placed,
        .commits = scheduler->commits,
        .conflicts = scheduler->conflicts,
        .rounds = scheduler->rounds,
        .waiting = idset_count(&world->fresh) + idset_count(&world->parked),
        .leader = scheduler->leader,
        .synced = scheduler->synced,
        .busy = scheduler->busy,
        .version = mirror_version(world->mirror),
    };
}
