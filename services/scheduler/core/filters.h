/* filters - may this task run on that node? The first rule that says no is counted, for the explanation. Source: semantics 4.2.
 *
 * Order    ready, resources, constraints, platform, host port, max replicas. A task only meets those it has a need of.
 */
#ifndef SCHED_FILTERS_H
#define SCHED_FILTERS_H

#include "services/scheduler/core/spec.h"

enum filter {
    FILTER_READY,
    FILTER_RESOURCES,
    FILTER_CONSTRAINTS,
    FILTER_PLATFORM,
    FILTER_HOST_PORT,
    FILTER_MAX_REPLICAS,
    FILTER_COUNT
};
struct filters {
    const Swarm__Task *task;
    const Swarm__Resources *reserve; /* may be NULL */
    struct constraints constraints;
    bool constraints_ok;
    uint64_t max_replicas;
    unsigned failed[FILTER_COUNT]; /* nodes, by the first rule they failed */
};

/* For a task and all others of the same service and spec version. */
void filters_init(struct filters *filters, const Swarm__Task *task);
void filters_deinit(struct filters *filters);
/* service_tasks: active tasks of the service on the node. */
bool filters_pass(struct filters *filters, const struct node_info *info, uint64_t service_tasks);
/* "2 nodes not available for new tasks; insufficient resources on 1 node": most frequent first. Appends. */
void filters_explain(const struct filters *filters, struct sw_buf *text);

#endif
