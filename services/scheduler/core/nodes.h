/* nodes - what the tasks in the mirror take from each node: reservations, task counts, host ports. Source: semantics 4.1.
 *
 * Reads    nodes and tasks as they enter and leave the mirror. Writes nothing to the store.
 * Rules    A task holds its reservation and host ports while ASSIGNED <= observed <= RUNNING, whatever is desired of it; it
 *          counts as active only while it is also wanted to run. Free = reported total - held; it may be negative.
 * Memory   one struct node_info a node, kept while the node exists or a task names it. Iterated in order of arrival.
 */
#ifndef SCHED_NODES_H
#define SCHED_NODES_H

#include "proto/types.pb-c.h"
#include "services/scheduler/core/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node_port {
    uint32_t port;
    Swarm__PortProtocol protocol;
    unsigned users; /* a counter, so that one of two holders leaving does not free it */
};
struct node_info {
    UT_hash_handle hh;
    const Swarm__Node *node; /* NULL: tasks name a node that is gone */
    int64_t cpus_held, memory_held;
    uint64_t active; /* tasks wanted to run here */
    size_t tasks;    /* tasks that name this node at all */
    struct node_port *ports;
    size_t port_count;
    uint64_t mark;     /* placement, scale-down: tasks of the service at hand */
    uint64_t failures; /* placement: recent failures of the service at hand */
    char id[];
};
struct nodes {
    struct node_info *first;
};

void nodes_clear(struct nodes *nodes);
struct node_info *nodes_get(const struct nodes *nodes, const char *id); /* NULL if there is none */
struct node_info *nodes_next(const struct node_info *info);
void nodes_put(struct nodes *nodes, const char *id, const Swarm__Node *node); /* NULL: the node is gone */
void nodes_task_in(struct nodes *nodes, const Swarm__Task *task);
void nodes_task_out(struct nodes *nodes, const Swarm__Task *task);

/* ASSIGNED <= observed <= RUNNING: something of it is, or may be, on the node. */
bool nodes_task_holds(const Swarm__Task *task);
bool nodes_task_active(const Swarm__Task *task);
unsigned nodes_port_users(const struct node_info *info, Swarm__PortProtocol protocol, uint32_t port);
int64_t nodes_cpus_free(const struct node_info *info);
int64_t nodes_memory_free(const struct node_info *info);

#endif
