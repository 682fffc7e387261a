#include "common/sim/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICES 4

/* Services of the run: 0 and 1 replicated, 1 start-first, 2 with a published port, 3 global. */

static const Swarm__Service *service_named(const struct sim *sim, unsigned n)
{
    char name[16];
    (void)snprintf(name, sizeof name, "service%u", n);
    return mirror_by_name(store_mirror(sim), SWARM__TABLE__TABLE_SERVICE, name);
}

/* ---- what is wanted ---- */

static Swarm__UpdateConfig *new_update(struct sim *sim, unsigned n)
{
    Swarm__UpdateConfig *update = sw_alloc0(sizeof *update);
    swarm__update_config__init(update);
    update->has_parallelism = true;
    update->parallelism = sim_below(sim, 3);
    update->has_order = true;
    update->order = n == 1 ? SWARM__UPDATE_ORDER__START_FIRST : SWARM__UPDATE_ORDER__STOP_FIRST;
    update->has_failure_action = true;
    update->failure_action = SWARM__UPDATE_FAILURE_ACTION__UPDATE_CONTINUE;
    update->has_monitor_ns = true;
    update->monitor_ns = SIM_S;
    return update;
}

static Swarm__EndpointSpec *new_endpoint(void)
{
    Swarm__EndpointSpec *endpoint = sw_alloc0(sizeof *endpoint);
    swarm__endpoint_spec__init(endpoint);
    Swarm__PortConfig *port = sw_alloc0(sizeof *port);
    swarm__port_config__init(port);
    port->target_port = 80;
    endpoint->ports = sw_alloc0(sizeof port);
    endpoint->ports[endpoint->n_ports++] = port;
    return endpoint;
}

static Swarm__TaskSpec *new_task(struct sim *sim)
{
    Swarm__TaskSpec *task = sw_alloc0(sizeof *task);
    swarm__task_spec__init(task);
    task->container = sw_alloc0(sizeof *task->container);
    swarm__container_spec__init(task->container);
    task->container->image = sw_strdup("v0");
    task->restart = sw_alloc0(sizeof *task->restart);
    swarm__restart_policy__init(task->restart);
    task->restart->has_delay_ns = true;
    task->restart->delay_ns = (int64_t)sim_below(sim, 3) * SIM_S;
    return task;
}

static void create_service(struct sim *sim, unsigned n)
{
    Swarm__Service *service = sw_alloc0(sizeof *service);
    swarm__service__init(service);
    char id[SW_ID_SIZE];
    sw_id_make(&sim->rng, id);
    service->id = sw_strdup(id);
    service->meta = sw_alloc0(sizeof *service->meta);
    swarm__meta__init(service->meta);
    service->spec = sw_alloc0(sizeof *service->spec);
    swarm__service_spec__init(service->spec);
    service->spec->name = sw_strf("service%u", n);
    service->spec->task = new_task(sim);
    service->spec->update = new_update(sim, n);
    service->spec->endpoint = n == 2 ? new_endpoint() : NULL;
    service->spec->mode = sw_alloc0(sizeof *service->spec->mode);
    swarm__service_mode__init(service->spec->mode);
    service->spec->mode->kind = n == 3 ? SWARM__SERVICE_MODE_KIND__MODE_GLOBAL : SWARM__SERVICE_MODE_KIND__MODE_REPLICATED;
    service->spec->mode->has_replicas = n != 3;
    service->spec->mode->replicas = n != 3 ? sim_below(sim, 8) : 0;
    sim_note(sim, "create service%u, %llu replicas", n, (unsigned long long)service->spec->mode->replicas);
    store_write(sim, SWARM__ACTION_KIND__ACTION_CREATE, SWARM__TABLE__TABLE_SERVICE, id, service);
}

/* As the control API writes an update. */
static void update_service(struct sim *sim, Swarm__Service *edit)
{
    const Swarm__Service *old = mirror_get(store_mirror(sim), SWARM__TABLE__TABLE_SERVICE, edit->id);
    Swarm__ServiceSpec *spec = edit->spec;
    edit->spec = sw_pb_clone(old->spec);
    store_object_take_spec(edit, spec);
    store_write(sim, SWARM__ACTION_KIND__ACTION_UPDATE, SWARM__TABLE__TABLE_SERVICE, edit->id, edit);
}

static void touch_service(struct sim *sim)
{
    unsigned n = (unsigned)sim_below(sim, SERVICES);
    const Swarm__Service *there = service_named(sim, n);
    if (there == NULL) {
        create_service(sim, n);
        return;
    }
    if (there->pending_delete)
        return;
    uint64_t what = sim_below(sim, 10);
    if (what == 0 && sim_below(sim, 2) == 0) {
        sim_note(sim, "remove service%u at once", n);
        store_write(sim, SWARM__ACTION_KIND__ACTION_REMOVE, SWARM__TABLE__TABLE_SERVICE, there->id, NULL);
        return;
    }
    Swarm__Service *edit = sw_pb_clone(there);
    if (what == 0) {
        sim_note(sim, "remove service%u", n);
        edit->has_pending_delete = true;
        edit->pending_delete = true;
    } else if (what < 5 || n == 3) {
        SW_AUTO(sw_free) char *image = sw_strf("v%llu", (unsigned long long)sim_below(sim, 4));
        sim_note(sim, "update service%u to %s", n, image);
        sw_pb_set(&edit->spec->task->container->image, image);
    } else {
        edit->spec->mode->replicas = sim_below(sim, 8);
        sim_note(sim, "scale service%u to %llu", n, (unsigned long long)edit->spec->mode->replicas);
    }
    update_service(sim, edit);
}

static void set_availability(struct sim *sim, size_t node, Swarm__NodeAvailability availability)
{
    const Swarm__Node *there = mirror_get(store_mirror(sim), SWARM__TABLE__TABLE_NODE, agent_node_id(node));
    if (there->spec->availability == availability)
        return;
    sim_note(sim, "%s: availability %d", agent_node_id(node), (int)availability);
    Swarm__Node *edit = sw_pb_clone(there);
    edit->spec->has_availability = true;
    edit->spec->availability = availability;
    store_write(sim, SWARM__ACTION_KIND__ACTION_UPDATE, SWARM__TABLE__TABLE_NODE, edit->id, edit);
}

/* ---- what goes wrong ---- */

static void on_heal_link(struct sim *sim, struct sim_event *event)
{
    agent_cut(sim, event->node, false);
}

static void cut_link(struct sim *sim, size_t node)
{
    agent_cut(sim, node, true);
    sim_post(sim, (int64_t)(100 + sim_below(sim, 12000)) * SIM_MS, (struct sim_event) { .fn = on_heal_link, .node = node });
}

static void fault(struct sim *sim)
{
    size_t node = (size_t)sim_below(sim, SIM_NODES);
    switch (sim_below(sim, 8)) {
    case 0:
        scheduler_crash(sim);
        break;
    case 1:
        dispatcher_crash(sim);
        break;
    case 2:
        store_crash(sim);
        break;
    case 3:
        store_elect(sim);
        break;
    case 4:
        cut_link(sim, node);
        break;
    case 5:
        agent_crash(sim, node, true);
        break;
    default:
        agent_crash(sim, node, false);
    }
}

void workload_step(struct sim *sim)
{
    static const Swarm__NodeAvailability availabilities[] = { SWARM__NODE_AVAILABILITY__NODE_ACTIVE,
                                                              SWARM__NODE_AVAILABILITY__NODE_PAUSE,
                                                              SWARM__NODE_AVAILABILITY__NODE_DRAIN,
                                                              SWARM__NODE_AVAILABILITY__NODE_ACTIVE };
    uint64_t what = sim_below(sim, 10);
    if (what < 5)
        touch_service(sim);
    else if (what < 6)
        set_availability(sim, (size_t)sim_below(sim, SIM_NODES), availabilities[sim_below(sim, 4)]);
    else
        fault(sim);
}

void workload_heal(struct sim *sim)
{
    sim_note(sim, "faults end");
    for (size_t i = 0; i < SIM_NODES; i++) {
        agent_cut(sim, i, false);
        set_availability(sim, i, SWARM__NODE_AVAILABILITY__NODE_ACTIVE);
    }
}
