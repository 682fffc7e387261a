/* mirror - a cluster's objects in memory, with the indexes that the control loops need. Pure: no I/O, no clock.
 *
 * Place    scheduler and dispatcher cores (kept from the feed), manager-raft (kept by the store as it applies, so reads
 *          need no disk), the simulator (as the store itself: apply.h works on a mirror alone).
 * Order    every iteration is in a fixed order (by id, or by slot then id), so that cores stay deterministic.
 * Memory   objects are the mirror's; pointers are valid until that object is next changed. Never modify one: clone it.
 */
#ifndef STORE_MIRROR_H
#define STORE_MIRROR_H

#include "common/store/object.h"

struct mirror;

struct mirror *mirror_new(void);
void mirror_free(struct mirror *mirror); /* NULL is fine */
void mirror_clear(struct mirror *mirror);

uint64_t mirror_version(const struct mirror *mirror); /* of the last change put in */
void mirror_set_version(struct mirror *mirror, uint64_t version);

/* Takes the object. Replaces one of the same id. */
void mirror_put(struct mirror *mirror, Swarm__Table table, void *object);
void mirror_remove(struct mirror *mirror, Swarm__Table table, const char *id);
/* A change or snapshot object from the feed; SW_CORRUPT if the record does not parse (the mirror is then unchanged). */
int mirror_change(struct mirror *mirror, const Swarm__FeedChange *change, struct sw_err *err);
int mirror_load(struct mirror *mirror, const Swarm__FeedObject *object, struct sw_err *err);

const void *mirror_get(const struct mirror *mirror, Swarm__Table table, const char *id); /* NULL if there is none */
#define mirror_task(m, id) ((const Swarm__Task *)mirror_get((m), SWARM__TABLE__TABLE_TASK, (id)))
#define mirror_service(m, id) ((const Swarm__Service *)mirror_get((m), SWARM__TABLE__TABLE_SERVICE, (id)))
#define mirror_node(m, id) ((const Swarm__Node *)mirror_get((m), SWARM__TABLE__TABLE_NODE, (id)))
const Swarm__Cluster *mirror_cluster(const struct mirror *mirror);                             /* the only one, or NULL */
const void *mirror_by_name(const struct mirror *mirror, Swarm__Table table, const char *name); /* without regard to case; NULL */
const Swarm__Node *mirror_node_by_key(const struct mirror *mirror, const uint8_t curve_key[32]);
size_t mirror_count(const struct mirror *mirror, Swarm__Table table);

/* Iteration: for (const void *o = mirror_first(m, t); o; o = mirror_next(m, t, o)). Changing the table ends it. */
const void *mirror_first(const struct mirror *mirror, Swarm__Table table);
const void *mirror_next(const struct mirror *mirror, Swarm__Table table, const void *object);

/* Arrays owned by the mirror, valid until the next change of a task. */
struct mirror_tasks {
    const Swarm__Task *const *items;
    size_t count;
};
struct mirror_tasks mirror_tasks_of_service(const struct mirror *mirror, const char *service_id); /* by slot, then id */
struct mirror_tasks mirror_tasks_of_node(const struct mirror *mirror, const char *node_id);       /* by id */

#endif
