/* The task requests of the control API. */
#include "services/manager-raft/core/control.h"
#include "services/manager-raft/core/filters.h"
#include "services/manager-raft/core/refs.h"

#include <string.h>

#define TABLE SWARM__TABLE__TABLE_TASK

struct listing {
    const struct control *control;
    struct filters filters;
    Swarm__TaskListReply *reply;
    size_t room;
};

Swarm__Task *control_task_slim(const struct control *control, const Swarm__Task *stored)
{
    Swarm__Task *task = control_copy(control, stored);
    task->spec = control_message(control, &swarm__task_spec__descriptor);
    task->spec->container = control_message(control, &swarm__container_spec__descriptor);
    task->spec->container->image = stored->spec->container->image;
    task->n_service_labels = 0;
    return task;
}

static void add(struct listing *self, const Swarm__Task *task)
{
    if (!filters_task(self->filters, self->control->mirror, task))
        return;
    self->reply->tasks[self->reply->n_tasks++] = control_task_slim(self->control, task);
}

/* Id and host name are all that a list of tasks shows of its nodes. */
static void add_nodes(struct listing *self)
{
    const struct mirror *mirror = self->control->mirror;
    Swarm__TaskListReply *reply = self->reply;
    reply->nodes =
        sw_scratch_alloc(self->control->scratch, mirror_count(mirror, SWARM__TABLE__TABLE_NODE) * sizeof *reply->nodes);
    const Swarm__Table table = SWARM__TABLE__TABLE_NODE;
    for (const Swarm__Node *stored = mirror_first(mirror, table); stored != NULL; stored = mirror_next(mirror, table, stored)) {
        Swarm__Node *node = control_message(self->control, &swarm__node__descriptor);
        node->id = stored->id;
        node->meta = stored->meta;
        node->spec = control_message(self->control, &swarm__node_spec__descriptor);
        node->description = control_message(self->control, &swarm__node_description__descriptor);
        if (stored->description != NULL)
            node->description->hostname = stored->description->hostname;
        reply->nodes[reply->n_nodes++] = node;
    }
}

static void add_array(struct listing *self, struct mirror_tasks tasks)
{
    self->reply->tasks = sw_scratch_alloc(self->control->scratch, tasks.count * sizeof *self->reply->tasks);
    for (size_t i = 0; i < tasks.count; i++)
        add(self, tasks.items[i]);
}

static void add_table(struct listing *self)
{
    const struct mirror *mirror = self->control->mirror;
    self->reply->tasks = sw_scratch_alloc(self->control->scratch, mirror_count(mirror, TABLE) * sizeof *self->reply->tasks);
    for (const void *o = mirror_first(mirror, TABLE); o != NULL; o = mirror_next(mirror, TABLE, o))
        add(self, o);
}

int control_task_list(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    const Swarm__TaskListRequest *request = body;
    struct listing listing = { .control = control, .filters = { request->filters, request->n_filters } };
    int rc = filters_check(FILTERS_TASKS, listing.filters, err);
    if (rc != 0)
        return rc;
    listing.reply = control_message(control, &swarm__task_list_reply__descriptor);
    /* `service ps` and `node ps` name one service or node by id: no need to look at all tasks then. */
    const char *service = filters_only(listing.filters, "service");
    const char *node = filters_only(listing.filters, "node");
    struct mirror_tasks of_service = mirror_tasks_of_service(control->mirror, service);
    struct mirror_tasks of_node = mirror_tasks_of_node(control->mirror, node);
    if (of_service.count > 0)
        add_array(&listing, of_service);
    else if (of_node.count > 0)
        add_array(&listing, of_node);
    else
        add_table(&listing);
    add_nodes(&listing);
    ret->reply = listing.reply;
    return 0;
}

int control_task_get(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    const Swarm__Task *task = NULL;
    int rc = refs_task(control->mirror, ((const Swarm__TaskGetRequest *)body)->ref, &task, err);
    if (rc != 0)
        return rc;
    Swarm__TaskGetReply *reply = control_message(control, &swarm__task_get_reply__descriptor);
    reply->task = (Swarm__Task *)task;
    ret->reply = reply;
    return 0;
}
