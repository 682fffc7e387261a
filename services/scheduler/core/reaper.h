/* reaper - takes away what nobody needs any more. Source: semantics 2.4.
 *
 * Owns     deletion of tasks: those wanted REMOVE once nothing of them runs, and all beyond the history limit of their slot;
 *          and deletion of a service whose removal was asked for, when its last task is gone (or only on nodes that are down).
 * History  cluster limit (default 5) tasks a slot, live ones included, oldest go first; with max_attempts set, one more than
 *          that instead, because attempts are counted from history. Negative = keep all.
 */
#ifndef SCHED_REAPER_H
#define SCHED_REAPER_H

#include "services/scheduler/core/tasks.h"

/* Delete what of the slot may go. The slot's task pointers are dead after. */
void reaper_slot(struct world *world, const Swarm__Service *service, struct slot *slot);
/* All tasks of a service that is gone or going: ask for removal, delete those that may go, then the service. */
void reaper_service(struct world *world, const char *service_id);

#endif
