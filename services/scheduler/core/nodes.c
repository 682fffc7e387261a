#include "services/scheduler/core/nodes.h"

#include "common/base/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct node_info *nodes_get(const struct nodes *nodes, const char *id)
{
    struct node_info *info = NULL;
    HASH_FIND(hh, nodes->first, id, strlen(id), info);
    return info;
}

struct node_info *nodes_next(const struct node_info *info)
{
    return info->hh.next;
}

static struct node_info *need(struct nodes *nodes, const char *id)
{
    struct node_info *info = nodes_get(nodes, id);
    if (info != NULL)
        return info;
    size_t len = strlen(id);
    info = sw_alloc0(sizeof *info + len + 1);
    memcpy(info->id, id, len + 1);
    HASH_ADD_KEYPTR(hh, nodes->first, info->id, len, info);
    return info;
}

static void drop(struct nodes *nodes, struct node_info *info)
{
    HASH_DEL(nodes->first, info);
    free(info->ports);
    free(info);
}

void nodes_clear(struct nodes *nodes)
{
    while (nodes->first != NULL)
        drop(nodes, nodes->first);
}

void nodes_put(struct nodes *nodes, const char *id, const Swarm__Node *node)
{
    struct node_info *info = need(nodes, id);
    info->node = node;
    if (node == NULL && info->tasks == 0)
        drop(nodes, info);
}

bool nodes_task_holds(const Swarm__Task *task)
{
    return task->node_id != NULL && task->status->state >= SWARM__TASK_STATE__TASK_ASSIGNED &&
           task->status->state <= SWARM__TASK_STATE__TASK_RUNNING;
}

bool nodes_task_active(const Swarm__Task *task)
{
    return nodes_task_holds(task) && task->desired_state <= SWARM__TASK_STATE__TASK_COMPLETE;
}

static void hold_port(struct node_info *info, const Swarm__PortConfig *port, int sign)
{
    size_t i = 0;
    while (i < info->port_count && (info->ports[i].port != port->published_port || info->ports[i].protocol != port->protocol))
        i++;
    if (i == info->port_count) {
        assert(sign > 0);
        info->ports = sw_realloc_array(info->ports, info->port_count + 1, sizeof *info->ports);
        info->ports[info->port_count++] = (struct node_port) { .port = port->published_port, .protocol = port->protocol };
    }
    info->ports[i].users += (unsigned)sign;
    if (info->ports[i].users == 0)
        info->ports[i] = info->ports[--info->port_count];
}

static void hold(struct node_info *info, const Swarm__Task *task, int sign)
{
    const Swarm__ResourceRequirements *needs = task->spec->resources;
    if (needs != NULL && needs->reservations != NULL) {
        info->cpus_held += sign * needs->reservations->nano_cpus;
        info->memory_held += sign * needs->reservations->memory_bytes;
    }
    for (size_t i = 0; task->endpoint != NULL && i < task->endpoint->n_ports; i++) {
        const Swarm__PortConfig *port = task->endpoint->ports[i];
        if (port->publish_mode == SWARM__PUBLISH_MODE__PUBLISH_HOST && port->published_port != 0)
            hold_port(info, port, sign);
    }
}

void nodes_task_in(struct nodes *nodes, const Swarm__Task *task)
{
    if (task->node_id == NULL)
        return;
    struct node_info *info = need(nodes, task->node_id);
    info->tasks++;
    if (nodes_task_holds(task))
        hold(info, task, 1);
    if (nodes_task_active(task))
        info->active++;
}

void nodes_task_out(struct nodes *nodes, const Swarm__Task *task)
{
    if (task->node_id == NULL)
        return;
    struct node_info *info = nodes_get(nodes, task->node_id);
    assert(info != NULL && info->tasks > 0);
    info->tasks--;
    if (nodes_task_holds(task))
        hold(info, task, -1);
    if (nodes_task_active(task))
        info->active--;
    if (info->node == NULL && info->tasks == 0)
        drop(nodes, info);
}

unsigned nodes_port_users(const struct node_info *info, Swarm__PortProtocol protocol, uint32_t port)
{
    for (size_t i = 0; i < info->port_count; i++)
        if (info->ports[i].port == port && info->ports[i].protocol == protocol)
            return info->ports[i].users;
    return 0;
}

static const Swarm__Resources *reported(const struct node_info *info)
{
    return info->node != NULL && info->node->description != NULL ? info->node->description->resources : NULL;
}

int64_t nodes_cpus_free(const struct node_info *info)
{
    const Swarm__Resources *total = reported(info);
    return (total != NULL ? total->nano_cpus : 0) - info->cpus_held;
}

int64_t nodes_memory_free(const struct node_info *info)
{
    const Swarm__Resources *total = reported(info);
    return (total != NULL ? total->memory_bytes : 0) - info->memory_held;
}
