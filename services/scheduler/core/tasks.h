/* tasks - making tasks, asking them to stop, and a service's tasks sorted into slots. Source: semantics 1.5, 2.2, 2.3.
 *
 * Owns     the transition nothing -> NEW (PENDING when the allocator has nothing to wait for), and desired states.
 *          A desired state never goes back. A task that was never placed has nobody to stop it: it becomes SHUTDOWN here.
 */
#ifndef SCHED_TASKS_H
#define SCHED_TASKS_H

#include "services/scheduler/core/world.h"

#define TASK_RESTART_DELAY_NS (INT64_C(5) * 1000000000)
#define TASK_OLD_WAIT_NS (INT64_C(60) * 1000000000) /* a replacement waits no longer for the old task to stop */
#define TASK_STOP_GRACE_NS (INT64_C(10) * 1000000000)

/* One slot of a service: by number, or by node for a global service. Tasks in order of creation. */
struct slot {
    uint64_t number;
    const Swarm__Task **tasks;
    size_t count, room;
};
struct slots {
    struct slot *items;
    size_t count;
    const Swarm__Task **memory;
};
/* Room for two more tasks a slot: a round adds at most a restart and an update. */
void slots_build(const struct world *world, const Swarm__Service *service, struct slots *ret);
void slots_deinit(struct slots *slots);
void slot_add(struct slot *slot, const Swarm__Task *task);
const Swarm__Task *slot_newest(const struct slot *slot);

static inline bool task_live(const Swarm__Task *task) /* wanted to run, now or later */
{
    return task->desired_state <= SWARM__TASK_STATE__TASK_RUNNING;
}
static inline bool task_dead(const Swarm__Task *task)
{
    return task->status->state > SWARM__TASK_STATE__TASK_RUNNING;
}
bool slot_live(const struct slot *slot);

/* A new task of the service in the mirror. node_id NULL: to be placed. */
const Swarm__Task *task_create(struct world *world, const Swarm__Service *service, uint64_t slot, const char *node_id,
                               Swarm__TaskState desired);
/* Raise the desired state (no-op if it is there already); returns the task as it is now. */
const Swarm__Task *task_want(struct world *world, const Swarm__Task *task, Swarm__TaskState desired);
/* Set the observed state with a message and an error (may be NULL). */
const Swarm__Task *task_observe(struct world *world, const Swarm__Task *task, Swarm__TaskState state, const char *message,
                                const char *why);
/* Set err alone, if it differs. */
void task_explain(struct world *world, const Swarm__Task *task, const char *why);

/* When its last state was reached: the manager's clock if it has it, else the node's. */
int64_t task_since_ns(const Swarm__Task *task);

#endif
