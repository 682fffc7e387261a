#include "services/scheduler/core/allocator.h"

#include "common/base/names.h"
#include "services/scheduler/core/spec.h"
#include "services/scheduler/core/tasks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PROTOCOLS 3

struct ports {
    uint8_t taken[PROTOCOLS][65536 / 8];
};

struct ports *ports_new(void)
{
    return sw_alloc0(sizeof(struct ports));
}

void ports_free(struct ports *ports)
{
    free(ports);
}

static bool is_ingress(const Swarm__PortConfig *port)
{
    return port->publish_mode == SWARM__PUBLISH_MODE__PUBLISH_INGRESS;
}

static void take(struct ports *ports, const Swarm__PortConfig *port)
{
    if (is_ingress(port) && port->published_port < 65536 && (size_t)port->protocol < PROTOCOLS)
        ports->taken[port->protocol][port->published_port / 8] |= (uint8_t)(1U << port->published_port % 8);
}

static bool taken(const struct ports *ports, Swarm__PortProtocol protocol, uint32_t number)
{
    return (ports->taken[protocol][number / 8] >> number % 8 & 1) != 0;
}

static bool same_number(const Swarm__PortConfig *a, const Swarm__PortConfig *b)
{
    return is_ingress(a) && a->protocol == b->protocol && a->published_port == b->published_port;
}

/* Ports of a removed service stay taken while tasks of it stop: their node still balances them. With `ports` they are taken
 * there; without, the first task that has `port` comes back. */
static const Swarm__Task *stopping_holder(const struct world *world, const Swarm__PortConfig *port, struct ports *ports)
{
    for (const struct idset_row *row = world->gone.first; row != NULL; row = idset_next(row)) {
        struct mirror_tasks tasks = mirror_tasks_of_service(world->mirror, idset_id(row));
        for (size_t i = 0; i < tasks.count; i++) {
            const Swarm__Endpoint *endpoint = tasks.items[i]->endpoint;
            bool holds = nodes_task_holds(tasks.items[i]) && !world_node_lost(world, tasks.items[i]->node_id);
            for (size_t k = 0; holds && endpoint != NULL && k < endpoint->n_ports; k++)
                if (ports != NULL)
                    take(ports, endpoint->ports[k]);
                else if (same_number(endpoint->ports[k], port))
                    return tasks.items[i];
        }
    }
    return NULL;
}

/* Of all services but one: a service does not stand in its own way. */
static void build(struct world *world, const char *except)
{
    struct ports *ports = world->ports;
    memset(ports, 0, sizeof *ports);
    for (const Swarm__Service *s = mirror_first(world->mirror, SWARM__TABLE__TABLE_SERVICE); s != NULL;
         s = mirror_next(world->mirror, SWARM__TABLE__TABLE_SERVICE, s))
        for (size_t i = 0; s->endpoint != NULL && strcmp(s->id, except) != 0 && i < s->endpoint->n_ports; i++)
            take(ports, s->endpoint->ports[i]);
    (void)stopping_holder(world, NULL, ports);
}

static const Swarm__Service *holder(const struct world *world, const Swarm__PortConfig *port, const char *except)
{
    for (const Swarm__Service *s = mirror_first(world->mirror, SWARM__TABLE__TABLE_SERVICE); s != NULL;
         s = mirror_next(world->mirror, SWARM__TABLE__TABLE_SERVICE, s))
        for (size_t i = 0; s->endpoint != NULL && strcmp(s->id, except) != 0 && i < s->endpoint->n_ports; i++)
            if (same_number(s->endpoint->ports[i], port))
                return s;
    return NULL;
}

static bool same_port(const Swarm__PortConfig *a, const Swarm__PortConfig *b)
{
    const char *name_a = a->name != NULL ? a->name : "";
    const char *name_b = b->name != NULL ? b->name : "";
    return a->protocol == b->protocol && a->target_port == b->target_port && is_ingress(a) == is_ingress(b) &&
           strcmp(name_a, name_b) == 0;
}

/* The number this port had before, or the first free one; 0 if there is none. */
static uint32_t choose(const struct ports *ports, const Swarm__PortConfig *port, const Swarm__Endpoint *before)
{
    for (size_t i = 0; before != NULL && i < before->n_ports; i++) {
        uint32_t number = before->ports[i]->published_port;
        if (same_port(port, before->ports[i]) && number >= ALLOCATOR_PORT_FIRST && number <= ALLOCATOR_PORT_LAST &&
            !taken(ports, port->protocol, number))
            return number;
    }
    for (uint32_t number = ALLOCATOR_PORT_FIRST; number <= ALLOCATOR_PORT_LAST; number++)
        if (!taken(ports, port->protocol, number))
            return number;
    return 0;
}

/* Says who has the port; false if nobody else has: it was asked for twice by this service. */
static bool explain_taken(const struct world *world, const Swarm__Service *service, const Swarm__PortConfig *port,
                          struct sw_buf *why)
{
    const Swarm__Service *other = holder(world, port, service->id);
    const Swarm__Task *task = other == NULL ? stopping_holder(world, port, NULL) : NULL;
    const char *protocol = sw_protocol_name(port->protocol);
    if (other != NULL)
        sw_buf_addf(why, "port %u/%s is already in use by service '%s' (%s)", port->published_port, protocol, other->spec->name,
                    other->id);
    else if (task != NULL)
        sw_buf_addf(why, "port %u/%s is in use until the tasks of the removed service '%s' have stopped", port->published_port,
                    protocol, task->service_name);
    return other != NULL || task != NULL;
}

/* Fill in the endpoint's ports; the reason it cannot be done is added to why. */
static bool allocate_ports(struct world *world, const Swarm__Service *service, Swarm__Endpoint *endpoint, struct sw_buf *why)
{
    struct ports *ports = world->ports;
    build(world, service->id);
    for (size_t i = 0; i < endpoint->n_ports; i++) { /* numbers asked for go before numbers chosen */
        Swarm__PortConfig *port = endpoint->ports[i];
        if (!is_ingress(port) || port->published_port == 0)
            continue;
        if (taken(ports, port->protocol, port->published_port) && explain_taken(world, service, port, why))
            return false;
        take(ports, port);
    }
    for (size_t i = 0; i < endpoint->n_ports; i++) {
        Swarm__PortConfig *port = endpoint->ports[i];
        if (!is_ingress(port) || port->published_port != 0)
            continue;
        port->has_published_port = true;
        port->published_port = choose(ports, port, service->endpoint);
        if (port->published_port == 0) {
            sw_buf_addf(why, "no free %s port in %d-%d", sw_protocol_name(port->protocol), ALLOCATOR_PORT_FIRST,
                        ALLOCATOR_PORT_LAST);
            return false;
        }
        take(ports, port);
    }
    return true;
}

static Swarm__Endpoint *new_endpoint(const Swarm__EndpointSpec *spec)
{
    Swarm__Endpoint *endpoint = sw_alloc0(sizeof *endpoint);
    swarm__endpoint__init(endpoint);
    endpoint->spec = sw_pb_clone(spec);
    endpoint->n_ports = spec->n_ports;
    endpoint->ports = sw_alloc0(spec->n_ports * sizeof *endpoint->ports);
    for (size_t i = 0; i < spec->n_ports; i++)
        endpoint->ports[i] = sw_pb_clone(spec->ports[i]);
    return endpoint;
}

static bool allocated(const Swarm__Service *service)
{
    return spec_endpoint_equal(service->endpoint != NULL ? service->endpoint->spec : NULL, service->spec->endpoint);
}

const Swarm__Service *allocator_service(struct world *world, const Swarm__Service *service)
{
    if (allocated(service)) {
        idset_del(&world->unallocated, service->id);
        return service;
    }
    SW_AUTO(sw_pb_free)
    Swarm__Endpoint *endpoint = service->spec->endpoint != NULL ? new_endpoint(service->spec->endpoint) : NULL;
    SW_AUTO_BUF why = { 0 };
    if (endpoint != NULL && !allocate_ports(world, service, endpoint, &why)) {
        (void)idset_add(&world->unallocated, service->id, 0);
        return service;
    }
    idset_del(&world->unallocated, service->id);
    Swarm__Service *edit = world_edit(service);
    sw_pb_free(edit->endpoint);
    edit->endpoint = SW_TAKE(endpoint);
    plan_txn(&world->plan);
    return world_update(world, SWARM__TABLE__TABLE_SERVICE, edit);
}

static void explain(struct world *world, const Swarm__Service *service, struct sw_buf *why)
{
    SW_AUTO(sw_pb_free) Swarm__Endpoint *endpoint = new_endpoint(service->spec->endpoint);
    (void)allocate_ports(world, service, endpoint, why);
}

void allocator_task(struct world *world, const Swarm__Service *service, Swarm__Task *task)
{
    assert(task->status->state == SWARM__TASK_STATE__TASK_NEW);
    if (!allocated(service)) {
        SW_AUTO_BUF why = { 0 };
        explain(world, service, &why);
        sw_pb_set(&task->status->err, sw_buf_str(&why));
        return;
    }
    if (service->endpoint != NULL) {
        sw_pb_free(task->endpoint);
        task->endpoint = sw_pb_clone(service->endpoint);
    }
    task->status->state = SWARM__TASK_STATE__TASK_PENDING;
    sw_pb_set(&task->status->message, "pending task scheduling");
    sw_pb_set(&task->status->err, NULL);
}

void allocator_tasks(struct world *world, const Swarm__Service *service)
{
    struct mirror_tasks tasks = mirror_tasks_of_service(world->mirror, service->id);
    SW_AUTO(sw_free) const Swarm__Task **waiting = sw_realloc_array(NULL, tasks.count, sizeof *waiting);
    size_t count = 0;
    for (size_t i = 0; i < tasks.count; i++)
        if (tasks.items[i]->status->state == SWARM__TASK_STATE__TASK_NEW && task_live(tasks.items[i]))
            waiting[count++] = tasks.items[i];
    if (count == 0)
        return;
    if (!allocated(service)) {
        SW_AUTO_BUF why = { 0 };
        explain(world, service, &why);
        for (size_t i = 0; i < count; i++) {
            plan_txn(&world->plan);
            task_explain(world, waiting[i], sw_buf_str(&why));
        }
        return;
    }
    for (size_t i = 0; i < count; i++) {
        plan_txn(&world->plan);
        Swarm__Task *edit = world_edit(waiting[i]);
        allocator_task(world, service, edit);
        (void)world_update(world, SWARM__TABLE__TABLE_TASK, edit);
    }
}
