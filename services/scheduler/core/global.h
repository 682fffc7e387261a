/* global - one task on each node that fits. Source: semantics 3.2.
 *
 * Reads    a service, its tasks, all nodes. Owns the tasks of global services: made for a node from the start.
 * Nodes    fit = not down, not drained, constraints and platforms match. A paused node keeps what it has, gets nothing new
 *          and nothing again. Tasks on nodes that do not fit are asked to stop; those of removed nodes go altogether.
 */
#ifndef SCHED_GLOBAL_H
#define SCHED_GLOBAL_H

#include "services/scheduler/core/tasks.h"

void global_step(struct world *world, const Swarm__Service *service);

#endif
