#include "services/scheduler/core/reaper.h"

#include <string.h>

/* Nothing of it runs, now or ever. */
static bool over(const Swarm__Task *task)
{
    return task_dead(task) || (task->status->state < SWARM__TASK_STATE__TASK_ASSIGNED && !task_live(task));
}

static void delete (struct world *world, const Swarm__Task *task)
{
    plan_txn(&world->plan);
    world_remove(world, SWARM__TABLE__TABLE_TASK, task->id);
}

static int64_t limit_of(const struct world *world, const Swarm__Service *service)
{
    const Swarm__RestartPolicy *policy = service->spec->task->restart;
    if (policy != NULL && policy->max_attempts > 0)
        return policy->max_attempts < INT64_MAX ? (int64_t)policy->max_attempts + 1 : INT64_MAX;
    const Swarm__Cluster *cluster = mirror_cluster(world->mirror);
    Swarm__ClusterSpec defaults = SWARM__CLUSTER_SPEC__INIT;
    return cluster != NULL ? cluster->spec->task_history_limit : defaults.task_history_limit;
}

/* The newest task says how the slot ended; the one before a waiting replacement says how long to wait. */
static size_t keep_last(const struct slot *slot)
{
    return slot_newest(slot)->desired_state == SWARM__TASK_STATE__TASK_READY ? 2 : 1;
}

void reaper_slot(struct world *world, const Swarm__Service *service, struct slot *slot)
{
    int64_t limit = limit_of(world, service);
    size_t left = slot->count;
    size_t keep = keep_last(slot);
    for (size_t i = 0; i < slot->count; i++) {
        const Swarm__Task *task = slot->tasks[i];
        bool removed = task->desired_state == SWARM__TASK_STATE__TASK_REMOVE;
        bool old = limit >= 0 && left > (size_t)limit && i + keep < slot->count;
        if (!over(task) || task_live(task) || (!removed && !old))
            continue;
        delete (world, task);
        left--;
    }
    slot->count = 0;
}

/* Deletes or marks every task; true if some are left that must still be waited for. */
static bool tasks_left(struct world *world, const char *service_id)
{
    struct mirror_tasks now = mirror_tasks_of_service(world->mirror, service_id);
    SW_AUTO(sw_free) const Swarm__Task **tasks = sw_realloc_array(NULL, now.count, sizeof *tasks);
    size_t count = now.count;
    if (count != 0)
        memcpy((void *)tasks, (const void *)now.items, count * sizeof *tasks);
    bool left = false;
    for (size_t i = 0; i < count; i++) {
        if (over(tasks[i]) || tasks[i]->status->state < SWARM__TASK_STATE__TASK_ASSIGNED) {
            delete (world, tasks[i]);
            continue;
        }
        plan_txn(&world->plan);
        const Swarm__Task *task = task_want(world, tasks[i], SWARM__TASK_STATE__TASK_REMOVE);
        left |= !world_node_lost(world, task->node_id);
    }
    return left;
}

/* Its ports are free when the last of its tasks has stopped: those who wait for them try again. */
static void service_gone(struct world *world, const char *service_id, bool left)
{
    if (left) {
        (void)idset_add(&world->gone, service_id, 0);
        return;
    }
    idset_del(&world->gone, service_id);
    for (const struct idset_row *row = world->unallocated.first; row != NULL; row = idset_next(row))
        (void)idset_add(&world->dirty_services, idset_id(row), 0);
}

void reaper_service(struct world *world, const char *service_id)
{
    bool left = tasks_left(world, service_id);
    if (mirror_service(world->mirror, service_id) == NULL) {
        service_gone(world, service_id, left);
        return;
    }
    if (left)
        return;
    plan_txn(&world->plan);
    world_remove(world, SWARM__TABLE__TABLE_SERVICE, service_id);
}
