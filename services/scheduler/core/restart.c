#include "services/scheduler/core/restart.h"

#include <assert.h>

static const Swarm__RestartPolicy default_policy = SWARM__RESTART_POLICY__INIT;

static const Swarm__RestartPolicy *policy_of(const Swarm__Task *task)
{
    return task->spec->restart != NULL ? task->spec->restart : &default_policy;
}

static int64_t delay_ns(const Swarm__Task *task)
{
    const Swarm__RestartPolicy *policy = policy_of(task);
    return policy->has_delay_ns ? policy->delay_ns : TASK_RESTART_DELAY_NS;
}

/* Restarts of this version in the slot: all of its tasks but the first; with a window, those made in the window before `until`.
 */
static uint64_t attempts(const struct slot *slot, uint64_t version, int64_t window_ns, int64_t until_ns)
{
    uint64_t count = 0;
    bool first = true;
    for (size_t i = 0; i < slot->count; i++) {
        const Swarm__Task *task = slot->tasks[i];
        if (task->spec_version != version)
            continue;
        bool counts =
            !first && (window_ns == 0 || (task->meta->created_ns > until_ns - window_ns && task->meta->created_ns < until_ns));
        count += counts ? 1 : 0;
        first = false;
    }
    return count;
}

bool restart_wanted(const Swarm__Service *service, const struct slot *slot, const Swarm__Task *task)
{
    const Swarm__RestartPolicy *policy = policy_of(task);
    switch (policy->condition) {
    case SWARM__RESTART_CONDITION__RESTART_NONE:
        return false;
    case SWARM__RESTART_CONDITION__RESTART_ON_FAILURE:
        if (task->status->state == SWARM__TASK_STATE__TASK_COMPLETE)
            return false;
        break;
    case SWARM__RESTART_CONDITION__RESTART_ANY:
    case _SWARM__RESTART_CONDITION_IS_INT_SIZE:
        break;
    }
    if (policy->max_attempts == 0)
        return true;
    return attempts(slot, service->spec_version, policy->window_ns, task_since_ns(task)) < policy->max_attempts;
}

bool restart_settled(const Swarm__Service *service, const struct slot *slot)
{
    if (slot_live(slot))
        return false;
    const Swarm__Task *newest = slot_newest(slot);
    return newest->desired_state == SWARM__TASK_STATE__TASK_SHUTDOWN && task_dead(newest) &&
           !restart_wanted(service, slot, newest);
}

/* The task made before this one in the slot, or NULL. */
static const Swarm__Task *before(const struct slot *slot, const Swarm__Task *task)
{
    const Swarm__Task *found = NULL;
    for (size_t i = 0; i < slot->count && slot->tasks[i] != task; i++)
        found = slot->tasks[i];
    return found;
}

static bool drained(const struct world *world, const Swarm__Task *task)
{
    const Swarm__Node *node = task->node_id != NULL ? mirror_node(world->mirror, task->node_id) : NULL;
    return node != NULL && node->spec->availability == SWARM__NODE_AVAILABILITY__NODE_DRAIN;
}

static int64_t starts_at_ns(const struct world *world, const struct slot *slot, const Swarm__Task *task)
{
    const Swarm__Task *old = before(slot, task);
    bool restart = old != NULL && old->spec_version == task->spec_version && !drained(world, old);
    return task->meta->created_ns + (restart ? delay_ns(old) : 0);
}

/* Another live task takes this one's part. During a start-first update the old version does not take the part of the new one. */
static bool fit_task_besides(const struct world *world, const Swarm__Service *service, const struct slot *slot,
                             const Swarm__Task *task)
{
    for (size_t i = 0; i < slot->count; i++) {
        const Swarm__Task *other = slot->tasks[i];
        bool same_part = other->spec_version == service->spec_version || task->spec_version != service->spec_version;
        if (other != task && same_part && task_live(other) && !task_dead(other) && !world_node_unfit(world, other->node_id))
            return true;
    }
    return false;
}

/* Until when to believe that the node, which shut this task down unasked, is about to go. A global service has nowhere else to
 * run: it waits as long as other tasks of the node are still being stopped. */
static int64_t leaving_until_ns(const struct world *world, const struct slot *slot, const Swarm__Task *task)
{
    int64_t until_ns = task_since_ns(task) + RESTART_LEAVE_NS;
    struct mirror_tasks tasks = mirror_tasks_of_node(world->mirror, task->node_id);
    for (size_t i = 0; i < tasks.count; i++) {
        const Swarm__Task *other = tasks.items[i];
        bool stopped = other->status->state == SWARM__TASK_STATE__TASK_SHUTDOWN;
        int64_t other_ns = 0;
        if (task_live(other) && stopped)
            other_ns = task_since_ns(other) + RESTART_LEAVE_NS;
        else if (slot->number == 0 && nodes_task_active(other))
            other_ns = task_since_ns(task) + RESTART_LEAVE_LONG_NS;
        until_ns = other_ns > until_ns ? other_ns : until_ns;
    }
    return until_ns;
}

/* The task's node seems to be leaving the cluster: replacing the task would only give it another. */
static bool node_leaving(struct world *world, const Swarm__Service *service, const struct slot *slot, const Swarm__Task *task)
{
    if (task->node_id == NULL || task->status->state != SWARM__TASK_STATE__TASK_SHUTDOWN ||
        world_node_unfit(world, task->node_id))
        return false;
    int64_t at_ns = leaving_until_ns(world, slot, task);
    if (world->now_ns < at_ns)
        world_wake_service(world, service->id, at_ns);
    return world->now_ns < at_ns;
}

void restart_slot(struct world *world, const Swarm__Service *service, struct slot *slot, bool here)
{
    size_t count = slot->count;
    for (size_t i = 0; i < count; i++) {
        const Swarm__Task *task = slot->tasks[i];
        if (!task_live(task) || (!task_dead(task) && !world_node_unfit(world, task->node_id)))
            continue;
        if (node_leaving(world, service, slot, task))
            continue;
        int64_t at_ns = starts_at_ns(world, slot, task);
        if (here && task->desired_state == SWARM__TASK_STATE__TASK_READY && task_dead(task) && world->now_ns < at_ns) {
            world_wake_service(world, service->id, at_ns); /* it died before its turn came: no faster than the delay */
            continue;
        }
        bool again = here && !fit_task_besides(world, service, slot, task) && restart_wanted(service, slot, task);
        plan_txn(&world->plan);
        slot->tasks[i] = task_want(world, task, SWARM__TASK_STATE__TASK_SHUTDOWN);
        if (again)
            slot_add(slot, task_create(world, service, slot->number, slot->number == 0 ? slot->tasks[i]->node_id : NULL,
                                       SWARM__TASK_STATE__TASK_READY));
    }
}

/* A task of the slot is being stopped and may still run. */
static bool old_still_there(const struct world *world, const struct slot *slot, const Swarm__Task *task, int64_t *wait_ns)
{
    bool there = false;
    for (size_t i = 0; i < slot->count; i++) {
        const Swarm__Task *old = slot->tasks[i];
        if (old == task || task_live(old) || !nodes_task_holds(old) || world_node_lost(world, old->node_id))
            continue;
        const Swarm__ContainerSpec *spec = old->spec->container;
        int64_t grace_ns = (spec->has_stop_grace_ns ? spec->stop_grace_ns : TASK_STOP_GRACE_NS) + TASK_STOP_GRACE_NS;
        *wait_ns = grace_ns > *wait_ns ? grace_ns : *wait_ns;
        there = true;
    }
    return there;
}

void restart_promote(struct world *world, const Swarm__Service *service, struct slot *slot)
{
    for (size_t i = 0; i < slot->count; i++) {
        const Swarm__Task *task = slot->tasks[i];
        if (task->desired_state != SWARM__TASK_STATE__TASK_READY || task_dead(task))
            continue;
        int64_t at_ns = starts_at_ns(world, slot, task);
        int64_t wait_ns = TASK_OLD_WAIT_NS;
        if (world->now_ns >= at_ns && old_still_there(world, slot, task, &wait_ns))
            at_ns = task->meta->created_ns + wait_ns > at_ns ? task->meta->created_ns + wait_ns : at_ns;
        if (world->now_ns < at_ns) {
            world_wake_service(world, service->id, at_ns);
            continue;
        }
        plan_txn(&world->plan);
        slot->tasks[i] = task_want(world, task, SWARM__TASK_STATE__TASK_RUNNING);
    }
}
