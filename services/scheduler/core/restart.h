/* restart - the restart supervisor: what happens when a task died, or sits where it cannot stay. Source: semantics 3.4, 3.6.
 *
 * Owns     live task -> desired SHUTDOWN with a replacement in its slot (desired READY), and READY -> RUNNING later.
 * Memory   none: attempts are counted and delays measured from the tasks that the history keeps, so a new leader goes on
 *          where the old one was.
 * Leaving  a node that leaves shuts its tasks down itself before it says goodbye: they are replaced when it is gone, so that no
 *          replacement is given to it. One that stays gets its tasks back after RESTART_LEAVE_NS.
 * Delay    a replacement starts when its delay has passed and the old task has stopped, or its node is lost, or 60 s (or its
 *          grace period and 10 s, if that is longer) went by. No delay when the old node is drained or the spec is new.
 */
#ifndef SCHED_RESTART_H
#define SCHED_RESTART_H

#include "services/scheduler/core/tasks.h"

#define RESTART_LEAVE_NS (INT64_C(3) * 1000000000)       /* how long its goodbye may take after its last task */
#define RESTART_LEAVE_LONG_NS (INT64_C(65) * 1000000000) /* agents give their tasks 60 s */

/* The policy wants a replacement for this task of the slot. */
bool restart_wanted(const Swarm__Service *service, const struct slot *slot, const Swarm__Task *task);
/* No live task, and none wanted: the newest one is done for good. */
bool restart_settled(const Swarm__Service *service, const struct slot *slot);

/* Replace tasks of the slot that died or whose node is unfit. `here`: a replacement may run in this slot at all (global
 * services: the node still takes tasks); without it dead tasks are only shut down. */
void restart_slot(struct world *world, const Swarm__Service *service, struct slot *slot, bool here);
/* Start replacements whose time has come; the others set a wake. */
void restart_promote(struct world *world, const Swarm__Service *service, struct slot *slot);

#endif
