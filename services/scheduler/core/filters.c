#include "services/scheduler/core/filters.h"

#include "services/scheduler/core/tasks.h"

#include <stdlib.h>

void filters_init(struct filters *filters, const Swarm__Task *task)
{
    *filters = (struct filters) { .task = task, .constraints_ok = true };
    const Swarm__ResourceRequirements *needs = task->spec->resources;
    filters->reserve = needs != NULL ? needs->reservations : NULL;
    const Swarm__Placement *placement = task->spec->placement;
    if (placement == NULL)
        return;
    filters->constraints_ok =
        constraints_parse(placement->constraints, placement->n_constraints, &filters->constraints, NULL) == 0;
    filters->max_replicas = placement->max_replicas;
}

void filters_deinit(struct filters *filters)
{
    constraints_deinit(&filters->constraints);
}

static bool ready(const Swarm__Node *node)
{
    return node->status != NULL && node->status->state == SWARM__NODE_STATE__NODE_READY &&
           node->spec->availability == SWARM__NODE_AVAILABILITY__NODE_ACTIVE;
}

static bool resources_fit(const struct filters *filters, const struct node_info *info)
{
    if (filters->reserve == NULL)
        return true;
    return (filters->reserve->nano_cpus == 0 || filters->reserve->nano_cpus <= nodes_cpus_free(info)) &&
           (filters->reserve->memory_bytes == 0 || filters->reserve->memory_bytes <= nodes_memory_free(info));
}

static bool host_ports_free(const Swarm__Task *task, const struct node_info *info)
{
    for (size_t i = 0; task->endpoint != NULL && i < task->endpoint->n_ports; i++) {
        const Swarm__PortConfig *port = task->endpoint->ports[i];
        if (port->publish_mode == SWARM__PUBLISH_MODE__PUBLISH_HOST && port->published_port != 0 &&
            nodes_port_users(info, port->protocol, port->published_port) != 0)
            return false;
    }
    return true;
}

static bool passes(const struct filters *filters, const struct node_info *info, uint64_t service_tasks, enum filter filter)
{
    switch (filter) {
    case FILTER_READY:
        return ready(info->node);
    case FILTER_RESOURCES:
        return resources_fit(filters, info);
    case FILTER_CONSTRAINTS:
        return filters->constraints_ok && constraints_match(&filters->constraints, info->node);
    case FILTER_PLATFORM:
        return spec_platform_ok(filters->task->spec->placement, info->node);
    case FILTER_HOST_PORT:
        return host_ports_free(filters->task, info);
    case FILTER_MAX_REPLICAS:
        return filters->max_replicas == 0 || service_tasks < filters->max_replicas;
    case FILTER_COUNT:
        break;
    }
    abort();
}

bool filters_pass(struct filters *filters, const struct node_info *info, uint64_t service_tasks)
{
    for (enum filter filter = FILTER_READY; filter < FILTER_COUNT; filter++)
        if (!passes(filters, info, service_tasks, filter)) {
            filters->failed[filter]++;
            return false;
        }
    return true;
}

static void add_reason(enum filter filter, unsigned nodes, struct sw_buf *text)
{
    static const char *const on[FILTER_COUNT] = {
        [FILTER_RESOURCES] = "insufficient resources on",
        [FILTER_CONSTRAINTS] = "scheduling constraints not satisfied on",
        [FILTER_PLATFORM] = "unsupported platform on",
        [FILTER_HOST_PORT] = "host-mode port already in use on",
    };
    if (filter == FILTER_MAX_REPLICAS)
        sw_buf_adds(text, "max replicas per node limit exceed");
    else if (filter == FILTER_READY)
        sw_buf_addf(text, "%u node%s not available for new tasks", nodes, nodes == 1 ? "" : "s");
    else
        sw_buf_addf(text, "%s %u node%s", on[filter], nodes, nodes == 1 ? "" : "s");
}

void filters_explain(const struct filters *filters, struct sw_buf *text)
{
    bool told[FILTER_COUNT] = { false };
    for (size_t round = 0; round < FILTER_COUNT; round++) {
        enum filter most = FILTER_COUNT;
        for (enum filter f = FILTER_READY; f < FILTER_COUNT; f++)
            if (!told[f] && filters->failed[f] > 0 && (most == FILTER_COUNT || filters->failed[f] > filters->failed[most]))
                most = f;
        if (most == FILTER_COUNT)
            return;
        sw_buf_adds(text, round == 0 ? "" : "; ");
        add_reason(most, filters->failed[most], text);
        told[most] = true;
    }
}
