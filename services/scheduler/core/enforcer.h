/* enforcer - tasks whose node no longer meets their service's needs. Source: semantics 3.6.
 *
 * Reads    an active node and its tasks; constraints from the service as it is now, reservations against what the node reports.
 * Owns     such tasks -> REJECTED; the orchestrators replace them under their policy. When a node shrank, the largest
 *          reservations go first, until the rest fits.
 */
#ifndef SCHED_ENFORCER_H
#define SCHED_ENFORCER_H

#include "services/scheduler/core/world.h"

void enforcer_node(struct world *world, const struct node_info *info);

#endif
