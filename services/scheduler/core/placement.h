/* placement - which node runs a task: PENDING -> ASSIGNED, or the reason why not. Source: semantics 4.4.
 *
 * Groups   tasks of one service and spec version are placed together, in the order they began to wait.
 * Order    better nodes first: fewer recent failures (when either has FAILURES_MANY), fewer tasks of this service, fewer tasks
 *          in all; ties by a hash of service and node. Nodes are kept in a heap, so a group costs O(nodes + tasks log nodes).
 * Waiting  a task that fits nowhere keeps PENDING, its err says what stands in the way on how many nodes, and it is tried again
 *          when a node changes or something is freed. The same reason is not written twice.
 * Tasks made for a node (global services) are checked against that node alone.
 */
#ifndef SCHED_PLACEMENT_H
#define SCHED_PLACEMENT_H

#include "services/scheduler/core/world.h"

void placement_step(struct world *world);

#endif
