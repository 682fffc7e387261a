/* world - what all control loops share: the mirror with its accounting, the clock, what is dirty, and the plan being made.
 *
 * Every change of the mirror, told by the feed or decided here, goes through world_put() and world_drop(), which keep the
 * accounting and mark what has to be looked at again. Loops edit by clone: world_edit() then world_update().
 * Time     nanoseconds since 1970 on the shell's clock, which never goes back.
 * Memory   pointers into the mirror are good until that object is changed; the edit functions return the new one.
 */
#ifndef SCHED_WORLD_H
#define SCHED_WORLD_H

#include "common/base/id.h"
#include "common/store/mirror.h"
#include "services/scheduler/core/idset.h"
#include "services/scheduler/core/nodes.h"
#include "services/scheduler/core/plan.h"

#define WORLD_NEVER INT64_MAX

struct ports;
struct failures;

struct world {
    struct mirror *mirror;
    int64_t now_ns;
    struct sw_rng rng;
    struct plan plan;
    struct nodes nodes;
    struct idset dirty_services, dirty_nodes;
    struct idset service_wakes, node_wakes; /* id -> when to look again */
    struct idset gone;                      /* services that are no more while tasks of theirs are left */
    struct idset unallocated;               /* services that wait for a port */
    struct idset fresh, parked;             /* tasks to place: not tried yet; tried in vain */
    struct idset running;                   /* tasks of updates -> since when they run (updater) */
    bool retry_parked;                      /* something became free */
    struct ports *ports;                    /* allocator.c: port table, filled when needed */
    struct failures *failures;              /* placement.c: recent failures by service and node */
    uint64_t decisions, placed;             /* since start, for metrics */
};

void world_init(struct world *world, uint64_t seed);
void world_deinit(struct world *world);
void world_forget(struct world *world);   /* the feed was lost: empty mirror, no plan */
void world_mark_all(struct world *world); /* look at everything: this node leads now */

/* ---- what the feed tells, or a refused decision taken back: objects are taken ---- */
void world_put(struct world *world, Swarm__Table table, void *object);
void world_drop(struct world *world, Swarm__Table table, const char *id);

/* ---- decisions ---- */
void *world_edit(const void *object);                                            /* a copy to change */
const void *world_update(struct world *world, Swarm__Table table, void *object); /* takes it */
const void *world_create(struct world *world, Swarm__Table table, void *object); /* takes it */
void world_remove(struct world *world, Swarm__Table table, const char *id);

/* ---- to be looked at again ---- */
void world_wake_service(struct world *world, const char *id, int64_t at_ns);
void world_wake_node(struct world *world, const char *id, int64_t at_ns);
int64_t world_next_wake(const struct world *world); /* WORLD_NEVER if there is none */
void world_wake_due(struct world *world);           /* due wakes become dirty */

/* Gone, down or drained: tasks have to leave it. NULL (not placed yet) is fine. */
bool world_node_unfit(const struct world *world, const char *node_id);
/* Gone or down: nothing there can be waited for. */
bool world_node_lost(const struct world *world, const char *node_id);

#endif
