/* allocator - the numbers a service needs before its tasks can be placed: published ports. Source: semantics 5.1, 5.4.
 *
 * Owns     Service.endpoint (written), Task.endpoint (a copy) and the transition NEW -> PENDING.
 * Ports    INGRESS ports are reserved in the whole cluster, by protocol. 0 becomes the first free of 30000..32767; a number once
 *          given sticks to the same (name, protocol, target port). HOST ports are left to placement.
 * Waiting  A service whose port is taken stays unallocated; its tasks stay NEW and say why, and it is tried again as soon as
 *          any service frees a port.
 * Seam     addresses and virtual IPs join here: allocator_service() decides when all of a service is there, and
 *          allocator_task() adds what belongs to one task.
 */
#ifndef SCHED_ALLOCATOR_H
#define SCHED_ALLOCATOR_H

#include "services/scheduler/core/world.h"

#define ALLOCATOR_PORT_FIRST 30000
#define ALLOCATOR_PORT_LAST 32767

struct ports *ports_new(void);
void ports_free(struct ports *ports);

/* Bring Service.endpoint in line with its spec; returns the service as it is now. */
const Swarm__Service *allocator_service(struct world *world, const Swarm__Service *service);
/* A task that is being made: PENDING with its endpoint, or NEW with the reason. */
void allocator_task(struct world *world, const Swarm__Service *service, Swarm__Task *task);
/* Its tasks that are still NEW: try again. */
void allocator_tasks(struct world *world, const Swarm__Service *service);

#endif
