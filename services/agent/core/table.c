#include "services/agent/core/internal.h"

#include <stdlib.h>
#include <string.h>

bool table_has_ports(const struct wtask *t)
{
    return t->task->endpoint != NULL && t->task->endpoint->n_ports > 0;
}

static bool host_port_taken(const struct worker *w, Swarm__PortProtocol protocol, uint32_t number)
{
    for (size_t i = 0; i < w->tasks.count; i++) {
        const struct wtask *t = w->tasks.rows[i].value;
        const Swarm__TaskStatus *status = t->task->status;
        for (size_t p = 0; p < status->n_host_ports; p++)
            if (t->serving && status->host_ports[p]->protocol == protocol && status->host_ports[p]->published_port == number)
                return true;
    }
    return false;
}

static uint32_t host_port_choose(struct worker *w, Swarm__PortProtocol protocol)
{
    uint32_t span = WORKER_HOST_PORT_MAX - WORKER_HOST_PORT_MIN + 1;
    uint32_t start = (uint32_t)sw_rng_below(&w->rng, span);
    for (uint32_t i = 0; i < span; i++) {
        uint32_t number = WORKER_HOST_PORT_MIN + (start + i) % span;
        if (!host_port_taken(w, protocol, number))
            return number;
    }
    return 0; /* not with WORKER_TASKS_MAX tasks */
}

void table_choose_ports(struct worker *w, struct wtask *t)
{
    const Swarm__Endpoint *endpoint = t->task->endpoint;
    Swarm__TaskStatus *status = t->task->status;
    if (status->n_host_ports > 0)
        return; /* chosen before a restart */
    status->host_ports = sw_alloc0(endpoint->n_ports * sizeof *status->host_ports);
    for (size_t i = 0; i < endpoint->n_ports; i++) {
        if (endpoint->ports[i]->publish_mode != SWARM__PUBLISH_MODE__PUBLISH_HOST)
            continue;
        Swarm__PortConfig *port = sw_pb_clone(endpoint->ports[i]);
        if (port->published_port == 0) {
            port->has_published_port = true;
            port->published_port = host_port_choose(w, port->protocol);
        }
        status->host_ports[status->n_host_ports++] = port;
    }
    if (status->n_host_ports == 0) {
        free(status->host_ports);
        status->host_ports = NULL;
        return;
    }
    t->unsaved = true;
}

void table_changed(struct worker *w, struct wtask *t)
{
    w->table_dirty = true;
    t->wait_generation = w->generation + 1;
}

bool table_settled(const struct worker *w, const struct wtask *t)
{
    return w->acked >= t->wait_generation;
}

/* One row a port of a task, before grouping. */
struct entry {
    Swarm__PortProtocol protocol;
    uint32_t published;
    uint32_t target;
    Swarm__PublishMode mode;
    const struct wtask *t;
};

static int entry_compare(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    if (left->protocol != right->protocol)
        return left->protocol < right->protocol ? -1 : 1;
    if (left->published != right->published)
        return left->published < right->published ? -1 : 1;
    return strcmp(left->t->task->id, right->t->task->id);
}

static size_t entries_add(struct entry *entries, size_t count, const struct wtask *t, Swarm__PortConfig *const *ports, size_t n,
                          Swarm__PublishMode mode)
{
    for (size_t i = 0; i < n; i++)
        if (ports[i]->publish_mode == mode && ports[i]->published_port != 0)
            entries[count++] = (struct entry) { ports[i]->protocol, ports[i]->published_port, ports[i]->target_port, mode, t };
    return count;
}

static size_t entries_collect(struct worker *w, struct entry **ret)
{
    size_t room = 0, count = 0;
    for (size_t i = 0; i < w->tasks.count; i++) {
        const struct wtask *t = w->tasks.rows[i].value;
        if (t->serving && t->task->endpoint != NULL)
            room += t->task->endpoint->n_ports + t->task->status->n_host_ports;
    }
    struct entry *entries = sw_scratch_alloc(&w->scratch, room * sizeof *entries);
    for (size_t i = 0; i < w->tasks.count; i++) {
        const struct wtask *t = w->tasks.rows[i].value;
        const Swarm__TaskStatus *status = t->task->status;
        if (!t->serving || t->task->endpoint == NULL)
            continue;
        count = entries_add(entries, count, t, t->task->endpoint->ports, t->task->endpoint->n_ports,
                            SWARM__PUBLISH_MODE__PUBLISH_INGRESS);
        count = entries_add(entries, count, t, status->host_ports, status->n_host_ports, SWARM__PUBLISH_MODE__PUBLISH_HOST);
    }
    if (count > 0)
        qsort(entries, count, sizeof *entries, entry_compare);
    *ret = entries;
    return count;
}

static Swarm__Backend *backend_make(struct worker *w, const struct entry *entry)
{
    Swarm__Backend *backend = sw_scratch_alloc(&w->scratch, sizeof *backend);
    swarm__backend__init(backend);
    backend->task_id = sw_scratch_str(&w->scratch, entry->t->task->id);
    backend->address = sw_scratch_str(&w->scratch, entry->t->address);
    backend->port = entry->target;
    backend->has_state = true;
    backend->state = entry->t->stop != WSTOP_NO ? SWARM__BACKEND_STATE__BACKEND_DRAINING : SWARM__BACKEND_STATE__BACKEND_READY;
    return backend;
}

static Swarm__PublishedPort *port_make(struct worker *w, const struct entry *entries, size_t count)
{
    Swarm__PublishedPort *port = sw_scratch_alloc(&w->scratch, sizeof *port);
    swarm__published_port__init(port);
    port->protocol = entries->protocol;
    port->published_port = entries->published;
    port->service_id = sw_scratch_str(&w->scratch, entries->t->task->service_id);
    port->has_mode = true;
    port->mode = entries->mode;
    port->backends = sw_scratch_alloc(&w->scratch, count * sizeof(Swarm__Backend *));
    for (size_t i = 0; i < count; i++)
        port->backends[port->n_backends++] = backend_make(w, &entries[i]);
    return port;
}

static Swarm__EndpointTable *table_make(struct worker *w)
{
    struct entry *entries;
    size_t count = entries_collect(w, &entries);
    Swarm__EndpointTable *table = sw_scratch_alloc(&w->scratch, sizeof *table);
    swarm__endpoint_table__init(table);
    table->generation = w->generation;
    table->networks = (Swarm__LocalNetwork **)(uintptr_t)w->config.networks;
    table->n_networks = w->config.network_count;
    table->ports = sw_scratch_alloc(&w->scratch, (count + 1) * sizeof(Swarm__PublishedPort *));
    for (size_t from = 0, to; from < count; from = to) {
        for (to = from + 1;
             to < count && entries[to].protocol == entries[from].protocol && entries[to].published == entries[from].published;
             to++)
            ;
        table->ports[table->n_ports++] = port_make(w, &entries[from], to - from);
    }
    w->backends = count;
    return table;
}

/* One table is on its way at a time; what changes meanwhile goes into the next. */
void table_flush(struct worker *w)
{
    if (!w->recovered || !w->table_up || !w->table_dirty || w->table_flying)
        return;
    w->generation++;
    w->table_dirty = false;
    w->table_flying = true;
    w->stats.tables++;
    effect_add(w, WORKER_TABLE, NULL)->table = table_make(w);
}
