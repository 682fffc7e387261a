#include "services/manager-raft/core/watch.h"

#include "common/base/constraint.h"
#include "services/manager-raft/core/counts.h"

#include <string.h>

/* ---- which tasks the present spec replaces ---- */

static bool node_satisfies(const struct mirror *mirror, const Swarm__Placement *placement, const char *node_id)
{
    const Swarm__Node *node = mirror_node(mirror, node_id);
    if (placement == NULL || node == NULL)
        return true;
    struct constraints constraints = { 0 };
    bool holds = constraints_parse(placement->constraints, placement->n_constraints, &constraints, NULL) == 0 &&
                 constraints_match(&constraints, node);
    constraints_deinit(&constraints);
    return holds;
}

bool watch_outdated(const struct mirror *mirror, const Swarm__Service *service, const Swarm__Task *task)
{
    if (task->spec_version == service->spec_version)
        return false;
    const Swarm__EndpointSpec none = SWARM__ENDPOINT_SPEC__INIT;
    const Swarm__EndpointSpec *wanted = service->spec->endpoint != NULL ? service->spec->endpoint : &none;
    const Swarm__EndpointSpec *has = task->endpoint != NULL && task->endpoint->spec != NULL ? task->endpoint->spec : &none;
    Swarm__TaskSpec a = *service->spec->task;
    Swarm__TaskSpec b = *task->spec;
    a.placement = b.placement = NULL;
    if (!sw_pb_equal(&a, &b) || !sw_pb_equal(wanted, has))
        return true;
    if (sw_pb_equal(service->spec->task->placement, task->spec->placement))
        return false;
    return task->node_id == NULL || !node_satisfies(mirror, service->spec->task->placement, task->node_id);
}

/* ---- the event ---- */

static bool shown(const Swarm__Task *task)
{
    return task->desired_state <= SWARM__TASK_STATE__TASK_RUNNING || task->status->state <= SWARM__TASK_STATE__TASK_RUNNING ||
           (task->desired_state == SWARM__TASK_STATE__TASK_COMPLETE && task->status->state <= SWARM__TASK_STATE__TASK_COMPLETE);
}

static void add_tasks(const struct control *control, Swarm__ServiceWatchEvent *event, const char *service_id,
                      const Swarm__Service *service)
{
    struct mirror_tasks tasks = mirror_tasks_of_service(control->mirror, service_id);
    event->tasks = sw_scratch_alloc(control->scratch, tasks.count * sizeof *event->tasks);
    event->outdated = sw_scratch_alloc(control->scratch, tasks.count * sizeof *event->outdated);
    for (size_t i = 0; i < tasks.count; i++) {
        if (!shown(tasks.items[i]))
            continue;
        event->tasks[event->n_tasks++] = control_task_slim(control, tasks.items[i]);
        if (service == NULL || watch_outdated(control->mirror, service, tasks.items[i]))
            event->outdated[event->n_outdated++] = tasks.items[i]->id;
    }
}

/* Nodes on which a global service is to have a task: there and not drained, and the constraints hold. A paused node keeps what
 * it has and gets nothing new. */
static bool eligible(const struct control *control, const struct constraints *constraints, const char *service_id,
                     const Swarm__Node *node)
{
    if (node->status == NULL || node->status->state != SWARM__NODE_STATE__NODE_READY || !constraints_match(constraints, node))
        return false;
    if (node->spec->availability == SWARM__NODE_AVAILABILITY__NODE_ACTIVE)
        return true;
    if (node->spec->availability == SWARM__NODE_AVAILABILITY__NODE_DRAIN)
        return false;
    struct mirror_tasks tasks = mirror_tasks_of_service(control->mirror, service_id);
    for (size_t i = 0; i < tasks.count; i++)
        if (tasks.items[i]->node_id != NULL && strcmp(tasks.items[i]->node_id, node->id) == 0 &&
            tasks.items[i]->desired_state <= SWARM__TASK_STATE__TASK_RUNNING)
            return true;
    return false;
}

static void add_nodes(const struct control *control, Swarm__ServiceWatchEvent *event, const Swarm__Service *service)
{
    const Swarm__Placement *placement = service->spec->task->placement;
    const Swarm__Table table = SWARM__TABLE__TABLE_NODE;
    struct constraints constraints = { 0 };
    if (placement != NULL) /* it parsed when it was stored */
        (void)constraints_parse(placement->constraints, placement->n_constraints, &constraints, NULL);
    event->down_nodes = sw_scratch_alloc(control->scratch, mirror_count(control->mirror, table) * sizeof *event->down_nodes);
    for (const Swarm__Node *node = mirror_first(control->mirror, table); node != NULL;
         node = mirror_next(control->mirror, table, node)) {
        if (!counts_node_up(control->mirror, node->id))
            event->down_nodes[event->n_down_nodes++] = node->id;
        event->eligible_nodes += eligible(control, &constraints, service->id, node);
    }
    event->has_eligible_nodes = true;
    constraints_deinit(&constraints);
}

const Swarm__ServiceWatchEvent *watch_event(const struct control *control, const char *service_id, const Swarm__Service *last)
{
    Swarm__ServiceWatchEvent *event = control_message(control, &swarm__service_watch_event__descriptor);
    const Swarm__Service *service = mirror_service(control->mirror, service_id);
    add_tasks(control, event, service_id, service);
    if (service != NULL)
        add_nodes(control, event, service);
    if (service != NULL || event->n_tasks > 0)
        event->service = (Swarm__Service *)(service != NULL ? service : last);
    return event;
}

bool watch_concerns(const char *service_id, const struct apply_change *change, const void *old)
{
    const void *object = change->object != NULL ? change->object : old;
    switch (change->table) {
    case SWARM__TABLE__TABLE_SERVICE:
        return strcmp(change->id, service_id) == 0;
    case SWARM__TABLE__TABLE_TASK:
        return object != NULL && strcmp(((const Swarm__Task *)object)->service_id, service_id) == 0;
    case SWARM__TABLE__TABLE_NODE:
        return true; /* rare, and any may be eligible or down */
    case SWARM__TABLE__TABLE_CLUSTER:
    case SWARM__TABLE__TABLE_NETWORK:
    case SWARM__TABLE__TABLE_SECRET:
    case SWARM__TABLE__TABLE_CONFIG:
    case _SWARM__TABLE_IS_INT_SIZE:
        break;
    }
    return false;
}
