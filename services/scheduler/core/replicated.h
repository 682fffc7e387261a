/* replicated - as many live slots as replicas are asked for. Source: semantics 3.1.
 *
 * Reads    a service, its tasks, the nodes they are on. Owns the making of slots and their end (desired REMOVE).
 * Slots    a slot is live when a task in it is wanted, or when its newest task is done and its policy wants no other
 *          (not while rolling back: then all replicas have to come). New slots take the lowest free numbers whose old
 *          tasks have stopped.
 * Down     slots that go first: without a placed task or with several, then those on the most crowded nodes; on one node
 *          those not running, then high numbers.
 */
#ifndef SCHED_REPLICATED_H
#define SCHED_REPLICATED_H

#include "services/scheduler/core/tasks.h"

void replicated_step(struct world *world, const Swarm__Service *service);

#endif
