#include "services/scheduler/core/world.h"

#include "services/scheduler/core/allocator.h"
#include "services/scheduler/core/failures.h"

#include <assert.h>
#include <string.h>

void world_init(struct world *world, uint64_t seed)
{
    *world = (struct world) { .mirror = mirror_new(), .ports = ports_new(), .failures = failures_new() };
    sw_rng_seed(&world->rng, seed);
}

void world_forget(struct world *world)
{
    mirror_clear(world->mirror);
    plan_clear(&world->plan);
    nodes_clear(&world->nodes);
    idset_clear(&world->dirty_services);
    idset_clear(&world->dirty_nodes);
    idset_clear(&world->service_wakes);
    idset_clear(&world->node_wakes);
    idset_clear(&world->unallocated);
    idset_clear(&world->gone);
    idset_clear(&world->fresh);
    idset_clear(&world->parked);
    idset_clear(&world->running);
    failures_clear(world->failures);
    world->retry_parked = false;
}

void world_deinit(struct world *world)
{
    world_forget(world);
    mirror_free(world->mirror);
    ports_free(world->ports);
    failures_free(world->failures);
}

static void mark_service(struct world *world, const char *id)
{
    (void)idset_add(&world->dirty_services, id, 0);
}

void world_mark_all(struct world *world)
{
    for (const Swarm__Service *s = mirror_first(world->mirror, SWARM__TABLE__TABLE_SERVICE); s != NULL;
         s = mirror_next(world->mirror, SWARM__TABLE__TABLE_SERVICE, s))
        mark_service(world, s->id);
    for (const Swarm__Task *t = mirror_first(world->mirror, SWARM__TABLE__TABLE_TASK); t != NULL;
         t = mirror_next(world->mirror, SWARM__TABLE__TABLE_TASK, t))
        mark_service(world, t->service_id); /* the service may be gone */
    for (const struct node_info *n = world->nodes.first; n != NULL; n = nodes_next(n))
        (void)idset_add(&world->dirty_nodes, n->id, 0);
    world->retry_parked = true;
}

/* ---- tasks ---- */

static bool to_place(const Swarm__Task *task)
{
    return task->status->state == SWARM__TASK_STATE__TASK_PENDING && task->desired_state <= SWARM__TASK_STATE__TASK_COMPLETE;
}

static bool update_under_way(const Swarm__Service *service)
{
    return service->update_status != NULL && (service->update_status->state == SWARM__UPDATE_STATE__UPDATE_UPDATING ||
                                              service->update_status->state == SWARM__UPDATE_STATE__UPDATE_ROLLBACK_STARTED);
}

/* Agents step through many states that no control loop acts upon. */
static bool task_news(const struct world *world, const Swarm__Task *old, const Swarm__Task *task)
{
    if (old == NULL || task == NULL || old->desired_state != task->desired_state)
        return true;
    if (old->status->state == task->status->state)
        return false;
    if (task->status->state != SWARM__TASK_STATE__TASK_RUNNING)
        return task->status->state > SWARM__TASK_STATE__TASK_RUNNING || task->status->state < SWARM__TASK_STATE__TASK_ASSIGNED;
    const Swarm__Service *service = mirror_service(world->mirror, task->service_id);
    return service != NULL && update_under_way(service); /* an update waits for running tasks */
}

static bool frees_something(const Swarm__Task *old, const Swarm__Task *task)
{
    return (nodes_task_holds(old) && (task == NULL || !nodes_task_holds(task))) ||
           (nodes_task_active(old) && (task == NULL || !nodes_task_active(task)));
}

static void note_failure(struct world *world, const Swarm__Task *old, const Swarm__Task *task)
{
    bool failed =
        task->status->state == SWARM__TASK_STATE__TASK_FAILED || task->status->state == SWARM__TASK_STATE__TASK_REJECTED;
    if (failed && old != NULL && nodes_task_holds(old) && task->slot != 0)
        failures_note(world->failures, task, world->now_ns);
}

/* Before the mirror changes; either may be NULL. */
static void task_leaves(struct world *world, const Swarm__Task *old, const Swarm__Task *task)
{
    const char *id = old != NULL ? old->id : task->id;
    if (old != NULL) {
        nodes_task_out(&world->nodes, old);
        world->retry_parked |= frees_something(old, task);
    }
    if (task != NULL)
        note_failure(world, old, task);
    if (task_news(world, old, task))
        mark_service(world, old != NULL ? old->service_id : task->service_id);
    if (task == NULL)
        idset_del(&world->running, id);
    if (task == NULL || !to_place(task)) {
        idset_del(&world->fresh, id);
        idset_del(&world->parked, id);
    } else if (!idset_has(&world->parked, id)) {
        (void)idset_add(&world->fresh, id, 0);
    }
}

/* ---- nodes and services ---- */

static bool node_news(const Swarm__Node *old, const Swarm__Node *node)
{
    if (old == NULL || node == NULL || old->role != node->role)
        return true;
    return !sw_pb_equal(old->spec, node->spec) || !sw_pb_equal(old->description, node->description) ||
           !sw_pb_equal(old->status, node->status);
}

/* Node facts matter to every service with tasks there, and to all global services. */
static void node_leaves(struct world *world, const Swarm__Node *old, const Swarm__Node *node)
{
    if (!node_news(old, node))
        return;
    const char *id = old != NULL ? old->id : node->id;
    (void)idset_add(&world->dirty_nodes, id, 0);
    world->retry_parked = true;
}

static void service_leaves(struct world *world, const Swarm__Service *old, const Swarm__Service *service)
{
    const char *id = old != NULL ? old->id : service->id;
    mark_service(world, id);
    if (old != NULL && (service == NULL || !sw_pb_equal(old->endpoint, service->endpoint)))
        for (const struct idset_row *row = world->unallocated.first; row != NULL; row = idset_next(row))
            mark_service(world, idset_id(row));
    if (service == NULL) {
        idset_del(&world->unallocated, id);
        failures_drop(world->failures, id);
        if (mirror_tasks_of_service(world->mirror, id).count != 0)
            (void)idset_add(&world->gone, id, 0);
    }
}

static void leaves(struct world *world, Swarm__Table table, const void *old, const void *object)
{
    if (table == SWARM__TABLE__TABLE_TASK)
        task_leaves(world, old, object);
    else if (table == SWARM__TABLE__TABLE_NODE)
        node_leaves(world, old, object);
    else if (table == SWARM__TABLE__TABLE_SERVICE)
        service_leaves(world, old, object);
}

void world_put(struct world *world, Swarm__Table table, void *object)
{
    const char *id = store_object_id(object);
    leaves(world, table, mirror_get(world->mirror, table, id), object);
    mirror_put(world->mirror, table, object);
    if (table == SWARM__TABLE__TABLE_TASK)
        nodes_task_in(&world->nodes, object);
    else if (table == SWARM__TABLE__TABLE_NODE)
        nodes_put(&world->nodes, id, object);
}

void world_drop(struct world *world, Swarm__Table table, const char *id)
{
    const void *old = mirror_get(world->mirror, table, id);
    if (old == NULL)
        return;
    leaves(world, table, old, NULL);
    if (table == SWARM__TABLE__TABLE_NODE)
        nodes_put(&world->nodes, id, NULL);
    mirror_remove(world->mirror, table, id);
}

/* ---- decisions ---- */

void *world_edit(const void *object)
{
    return sw_pb_clone(object);
}

const void *world_update(struct world *world, Swarm__Table table, void *object)
{
    const char *id = store_object_id(object);
    const void *old = mirror_get(world->mirror, table, id);
    assert(old != NULL);
    plan_edit(&world->plan, table, id, old);
    world_put(world, table, object);
    world->decisions++;
    return object;
}

const void *world_create(struct world *world, Swarm__Table table, void *object)
{
    assert(mirror_get(world->mirror, table, store_object_id(object)) == NULL);
    plan_edit(&world->plan, table, store_object_id(object), NULL);
    world_put(world, table, object);
    world->decisions++;
    return object;
}

void world_remove(struct world *world, Swarm__Table table, const char *id)
{
    const void *old = mirror_get(world->mirror, table, id);
    plan_remove(&world->plan, table, id, old);
    world_drop(world, table, id);
    world->decisions++;
}

/* ---- wakes ---- */

void world_wake_service(struct world *world, const char *id, int64_t at_ns)
{
    idset_min(&world->service_wakes, id, at_ns);
}

void world_wake_node(struct world *world, const char *id, int64_t at_ns)
{
    idset_min(&world->node_wakes, id, at_ns);
}

static int64_t earliest(const struct idset *set)
{
    int64_t at = WORLD_NEVER;
    for (const struct idset_row *row = set->first; row != NULL; row = idset_next(row))
        if (idset_value(row) < at)
            at = idset_value(row);
    return at;
}

int64_t world_next_wake(const struct world *world)
{
    int64_t services = earliest(&world->service_wakes);
    int64_t nodes = earliest(&world->node_wakes);
    return services < nodes ? services : nodes;
}

static void move_due(struct idset *wakes, struct idset *dirty, int64_t now_ns)
{
    for (struct idset_row *row = wakes->first, *next = NULL; row != NULL; row = next) {
        next = idset_next(row);
        if (idset_value(row) > now_ns)
            continue;
        (void)idset_add(dirty, idset_id(row), 0);
        idset_del(wakes, idset_id(row));
    }
}

void world_wake_due(struct world *world)
{
    move_due(&world->service_wakes, &world->dirty_services, world->now_ns);
    move_due(&world->node_wakes, &world->dirty_nodes, world->now_ns);
}

bool world_node_lost(const struct world *world, const char *node_id)
{
    if (node_id == NULL)
        return false;
    const Swarm__Node *node = mirror_node(world->mirror, node_id);
    return node == NULL || (node->status != NULL && node->status->state == SWARM__NODE_STATE__NODE_DOWN);
}

bool world_node_unfit(const struct world *world, const char *node_id)
{
    if (node_id == NULL)
        return false;
    return world_node_lost(world, node_id) ||
           mirror_node(world->mirror, node_id)->spec->availability == SWARM__NODE_AVAILABILITY__NODE_DRAIN;
}
