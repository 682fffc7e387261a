/* spec - does a task still run what its service asks for? Source: semantics 1.7.
 *
 * Dirty    the TaskSpec or the EndpointSpec differs. Not dirty: the same spec_version; or only placement differs and the task's
 *          node satisfies the new constraints; or anything outside of these two (names, labels, replicas, update config).
 * Compare  encoded bytes of the TaskSpec; ports and mode by value, so that an absent field equals its default.
 */
#ifndef SCHED_SPEC_H
#define SCHED_SPEC_H

#include "common/base/constraint.h"
#include "services/scheduler/core/world.h"

#define SPEC_VERDICTS 8

/* Verdicts for one service while it is looked at: all tasks of one spec version get the same. */
struct spec_check {
    const struct world *world;
    const Swarm__Service *service;
    struct constraints constraints; /* of the service */
    bool constraints_ok;            /* they parse; the control API sees to that */
    struct spec_verdict {
        uint64_t version;
        bool dirty, placement_only;
    } verdicts[SPEC_VERDICTS];
    size_t count;
};
void spec_check_init(struct spec_check *check, const struct world *world, const Swarm__Service *service);
void spec_check_deinit(struct spec_check *check);
bool spec_dirty(struct spec_check *check, const Swarm__Task *task);
/* The node satisfies the service's constraints and platforms. */
bool spec_node_matches(const struct spec_check *check, const Swarm__Node *node);

bool spec_endpoint_equal(const Swarm__EndpointSpec *a, const Swarm__EndpointSpec *b);
/* Listed platforms, if any, include the node's. */
bool spec_platform_ok(const Swarm__Placement *placement, const Swarm__Node *node);

#endif
