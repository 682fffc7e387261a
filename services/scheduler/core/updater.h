/* updater - brings the tasks of a service to its present spec, a few slots at a time. Source: semantics 3.5.
 *
 * Owns     Service.update_status; the replacement of dirty tasks; on failure with action rollback, the service's spec.
 * Slots    parallelism slots are under way at once (0 = all): a slot is under way until its new task runs, plus the delay.
 *          stop-first: the old task is asked to stop, the new one waits for it (restart.h starts it). start-first: the new one
 *          starts, and the old one is asked to stop when the new one runs.
 * Failure  the first task of the new version in a slot died before it had run for `monitor`, or did not run within
 *          UPDATER_PROGRESS_NS. More than max_failure_ppm of the slots: pause, go on, or roll back; a failed rollback pauses.
 *          Work that ends well (COMPLETE, and the policy does not restart it) is no failure.
 * Memory   when tasks began to run (world.running), while they do: what else there is to know is in the tasks and in
 *          update_status. A new leader takes it from the status of running tasks.
 */
#ifndef SCHED_UPDATER_H
#define SCHED_UPDATER_H

#include "services/scheduler/core/spec.h"
#include "services/scheduler/core/tasks.h"

#define UPDATER_PROGRESS_NS (INT64_C(600) * 1000000000)
#define UPDATER_MONITOR_NS (INT64_C(5) * 1000000000)

/* slots: those that take part; a count of 0 is fine. Returns the service as it is now. */
const Swarm__Service *updater_step(struct world *world, struct spec_check *check, struct slot *const *slots, size_t count);
bool updater_rolling_back(const Swarm__Service *service);

#endif
