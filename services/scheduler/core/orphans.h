/* orphans - tasks nobody will ever hear of again. Source: semantics 2.1, 6.1.
 *
 * Owns     ASSIGNED..RUNNING -> ORPHANED: at once when the node was removed, after ORPHANS_DOWN_NS when it is down. Counted from
 *          the time the node's status tells, so a new leader does not begin anew.
 */
#ifndef SCHED_ORPHANS_H
#define SCHED_ORPHANS_H

#include "services/scheduler/core/world.h"

#define ORPHANS_DOWN_NS (INT64_C(24) * 3600 * 1000000000)

/* node_id may name a node that is gone. */
void orphans_node(struct world *world, const char *node_id);

#endif
