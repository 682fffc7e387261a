#include "common/sim/parts.h"

#include "common/base/names.h"

#include <stdio.h>
#include <string.h>

/* ---- always ---- */

struct check_facts check_facts(const Swarm__Task *task)
{
    struct check_facts facts = { .slot = task->slot, .state = task->status->state, .desired = task->desired_state };
    (void)snprintf(facts.id, sizeof facts.id, "%s", task->id);
    (void)snprintf(facts.service_id, sizeof facts.service_id, "%s", task->service_id);
    (void)snprintf(facts.node_id, sizeof facts.node_id, "%s", task->node_id != NULL ? task->node_id : "");
    return facts;
}

/* States only advance; identity stays; a task that waits says why. */
void check_task(struct sim *sim, const struct check_facts *old, const Swarm__Task *task)
{
    if (task->status->state <= SWARM__TASK_STATE__TASK_PENDING && task->desired_state <= SWARM__TASK_STATE__TASK_RUNNING &&
        (task->status->err == NULL || task->status->err[0] == '\0'))
        sim_broken(sim, SIM_UNSAFE, "task %s waits without a reason", task->id);
    if (old == NULL)
        return;
    if (task->status->state < old->state || task->desired_state < old->desired)
        sim_broken(sim, SIM_UNSAFE, "task %s goes back: %s to %s, wanted %s to %s", task->id, sw_task_state_name(old->state),
                   sw_task_state_name(task->status->state), sw_task_state_name(old->desired),
                   sw_task_state_name(task->desired_state));
    bool moved = old->node_id[0] != '\0' && (task->node_id == NULL || strcmp(old->node_id, task->node_id) != 0);
    if (moved || strcmp(old->service_id, task->service_id) != 0 || old->slot != task->slot)
        sim_broken(sim, SIM_UNSAFE, "task %s changes its service, slot or node", task->id);
}

static bool start_first(const Swarm__Service *service)
{
    return service->spec->update != NULL && service->spec->update->order == SWARM__UPDATE_ORDER__START_FIRST;
}

static bool same_slot(const Swarm__Task *a, const Swarm__Task *b)
{
    return a->slot != 0 ? a->slot == b->slot : a->node_id != NULL && b->node_id != NULL && strcmp(a->node_id, b->node_id) == 0;
}

static bool wanted(const Swarm__Task *task)
{
    return task->desired_state == SWARM__TASK_STATE__TASK_RUNNING && task->status->state <= SWARM__TASK_STATE__TASK_RUNNING;
}

/* At most one task a slot is wanted to run, two while start-first replaces one. */
void check_slots(struct sim *sim, const char *service_id)
{
    const Swarm__Service *service = mirror_service(store_mirror(sim), service_id);
    struct mirror_tasks tasks = mirror_tasks_of_service(store_mirror(sim), service_id);
    for (size_t i = 0; service != NULL && i < tasks.count; i++) {
        size_t count = 0;
        for (size_t k = 0; k < tasks.count; k++)
            count += wanted(tasks.items[i]) && wanted(tasks.items[k]) && same_slot(tasks.items[i], tasks.items[k]);
        if (count > (start_first(service) ? 2U : 1U))
            sim_broken(sim, SIM_UNSAFE, "%zu tasks wanted in the slot of task %s", count, tasks.items[i]->id);
    }
}

/* The store has given the task up: whatever runs of it is told to stop. */
static bool given_up(const struct sim *sim, const char *task_id)
{
    const Swarm__Task *task = mirror_task(store_mirror(sim), task_id);
    return task == NULL || store_gave_up(sim, task_id) || task->status->state == SWARM__TASK_STATE__TASK_ORPHANED ||
           task->status->state == SWARM__TASK_STATE__TASK_REJECTED;
}

/* Really running: no second container in a slot, except on nodes that were given up, and in start-first updates. */
void check_containers(struct sim *sim, size_t node, const char *task_id)
{
    const struct sim_container *mine = sw_idmap_get(agent_containers(sim, node), task_id);
    const Swarm__Service *service = mirror_service(store_mirror(sim), mine->service_id);
    if (given_up(sim, task_id) || service == NULL || start_first(service) || mine->slot == 0)
        return;
    for (size_t n = 0; n < SIM_NODES; n++)
        for (size_t i = 0; i < agent_containers(sim, n)->count; i++) {
            const struct sw_idmap_row *row = &agent_containers(sim, n)->rows[i];
            const struct sim_container *other = row->value;
            if (other == mine || !other->running || other->slot != mine->slot ||
                strcmp(other->service_id, mine->service_id) != 0 || given_up(sim, row->id))
                continue;
            sim_broken(sim, SIM_UNSAFE, "tasks %s on %s and %s on %s run in one slot", task_id, agent_node_id(node), row->id,
                       agent_node_id(n));
        }
}

/* ---- at the end ---- */

static bool runs(const struct sim *sim, const Swarm__Task *task)
{
    for (size_t n = 0; n < SIM_NODES; n++) {
        const struct sim_container *container = sw_idmap_get(agent_containers(sim, n), task->id);
        if (container != NULL && strcmp(agent_node_id(n), task->node_id) == 0)
            return container->running;
    }
    return false;
}

static bool service_converged(const struct sim *sim, const Swarm__Service *service, char *why, size_t size)
{
    struct mirror_tasks tasks = mirror_tasks_of_service(store_mirror(sim), service->id);
    uint64_t want =
        service->spec->mode->kind == SWARM__SERVICE_MODE_KIND__MODE_GLOBAL ? SIM_NODES : service->spec->mode->replicas;
    uint64_t running = 0;
    for (size_t i = 0; i < tasks.count; i++) {
        const Swarm__Task *task = tasks.items[i];
        bool live = task->desired_state <= SWARM__TASK_STATE__TASK_RUNNING;
        if (live && (task->status->state != SWARM__TASK_STATE__TASK_RUNNING || !runs(sim, task))) {
            (void)snprintf(why, size, "task %s of %s is %s, %s on %s: %s", task->id, service->spec->name,
                           sw_task_state_name(task->status->state),
                           task->node_id != NULL && runs(sim, task) ? "runs" : "does not run",
                           task->node_id != NULL ? task->node_id : "no node", task->status->err != NULL ? task->status->err : "");
            return false;
        }
        if (!live && task->status->state <= SWARM__TASK_STATE__TASK_RUNNING) {
            (void)snprintf(why, size, "task %s of %s is not wanted and is %s", task->id, service->spec->name,
                           sw_task_state_name(task->status->state));
            return false;
        }
        if (live && strcmp(task->spec->container->image, service->spec->task->container->image) != 0) {
            (void)snprintf(why, size, "task %s of %s has the old image", task->id, service->spec->name);
            return false;
        }
        running += live ? 1 : 0;
    }
    (void)snprintf(why, size, "%s: %llu of %llu run%s", service->spec->name, (unsigned long long)running,
                   (unsigned long long)want, service->pending_delete ? ", removal asked for" : "");
    return running == want && !service->pending_delete;
}

/* Containers run for wanted tasks only, also where the store has forgotten the task. */
static bool no_strays(const struct sim *sim, char *why, size_t size)
{
    for (size_t n = 0; n < SIM_NODES; n++)
        for (size_t i = 0; i < agent_containers(sim, n)->count; i++) {
            const struct sw_idmap_row *row = &agent_containers(sim, n)->rows[i];
            const Swarm__Task *task = mirror_task(store_mirror(sim), row->id);
            if (!((const struct sim_container *)row->value)->running || (task != NULL && wanted(task)))
                continue;
            (void)snprintf(why, size, "a container of task %s still runs on %s", row->id, agent_node_id(n));
            return false;
        }
    return true;
}

bool check_converged(struct sim *sim, char *why, size_t size)
{
    const struct mirror *mirror = store_mirror(sim);
    for (const Swarm__Node *n = mirror_first(mirror, SWARM__TABLE__TABLE_NODE); n != NULL;
         n = mirror_next(mirror, SWARM__TABLE__TABLE_NODE, n))
        if (n->status->state != SWARM__NODE_STATE__NODE_READY) {
            (void)snprintf(why, size, "%s is %s", n->id, sw_node_state_name(n->status->state));
            return false;
        }
    for (const Swarm__Service *s = mirror_first(mirror, SWARM__TABLE__TABLE_SERVICE); s != NULL;
         s = mirror_next(mirror, SWARM__TABLE__TABLE_SERVICE, s))
        if (!service_converged(sim, s, why, size))
            return false;
    return no_strays(sim, why, size);
}
