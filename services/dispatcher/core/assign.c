#include "services/dispatcher/core/internal.h"

#include <string.h>

struct assign_items {
    Swarm__Assignment **list;
    size_t count, cap;
    size_t bytes;
};

/* Agents are told of a task from ASSIGNED on, finished ones included: the agent then knows which containers to keep. */
static bool to_be_sent(const Swarm__Task *task)
{
    return task->status->state >= SWARM__TASK_STATE__TASK_ASSIGNED;
}

/* All but status and meta: the agent's own reports must not come back to it as changes. */
static uint64_t task_hash(const Swarm__Task *task)
{
    Swarm__Task copy = *task;
    Swarm__TaskStatus status = SWARM__TASK_STATUS__INIT;
    Swarm__Meta meta = SWARM__META__INIT;
    copy.status = &status;
    copy.meta = &meta;
    return hash_message(&copy, 0) | 1; /* never 0: that would read as "not sent" */
}

static uint64_t sent_hash(const struct dnode *node, const char *task_id)
{
    return (uint64_t)(uintptr_t)sw_idmap_get(&node->sent, task_id);
}

static void item_add(struct dispatch *d, struct assign_items *items, Swarm__AssignmentAction action, const Swarm__Task *task)
{
    if (items->count == items->cap) {
        size_t cap = items->cap != 0 ? items->cap * 2 : 8;
        Swarm__Assignment **list = sw_scratch_alloc(&d->scratch, cap * sizeof *list);
        if (items->count > 0)
            memcpy(list, items->list, items->count * sizeof *list);
        items->list = list;
        items->cap = cap;
    }
    Swarm__Assignment *item = sw_scratch_alloc(&d->scratch, sizeof *item);
    swarm__assignment__init(item);
    item->action = action;
    item->task = (Swarm__Task *)(uintptr_t)task; /* read only: it is the mirror's */
    items->list[items->count++] = item;
    items->bytes += swarm__task__get_packed_size(task);
}

static void item_update(struct dispatch *d, struct dnode *node, struct assign_items *items, const Swarm__Task *task)
{
    sw_idmap_put(&node->sent, task->id, (void *)(uintptr_t)task_hash(task));
    item_add(d, items, SWARM__ASSIGNMENT_ACTION__ASSIGN_UPDATE, task);
}

/* A removal carries the id only, but the schema wants a whole task. */
static void item_remove(struct dispatch *d, struct dnode *node, struct assign_items *items, const char *task_id)
{
    struct removed {
        Swarm__Task task;
        Swarm__TaskSpec spec;
        Swarm__ContainerSpec container;
        Swarm__TaskStatus status;
        Swarm__Meta meta;
    } *r = sw_scratch_alloc(&d->scratch, sizeof *r);
    swarm__task__init(&r->task);
    swarm__task_spec__init(&r->spec);
    swarm__container_spec__init(&r->container);
    swarm__task_status__init(&r->status);
    swarm__meta__init(&r->meta);
    r->task.id = sw_scratch_str(&d->scratch, task_id);
    r->task.service_id = r->task.service_name = r->container.image = sw_scratch_str(&d->scratch, "");
    r->task.spec = &r->spec;
    r->spec.container = &r->container;
    r->task.status = &r->status;
    r->task.meta = &r->meta;
    r->task.desired_state = SWARM__TASK_STATE__TASK_REMOVE;
    (void)sw_idmap_remove(&node->sent, task_id);
    item_add(d, items, SWARM__ASSIGNMENT_ACTION__ASSIGN_REMOVE, &r->task);
}

static void items_send(struct dispatch *d, struct dnode *node, struct assign_items *items, bool complete, bool more)
{
    Swarm__Assignments *message = sw_scratch_alloc(&d->scratch, sizeof *message);
    swarm__assignments__init(message);
    message->session = sw_scratch_str(&d->scratch, node->session);
    message->sequence = ++node->sequence;
    message->complete = complete;
    message->items = items->list;
    message->n_items = items->count;
    message->has_more = more;
    message->more = more;
    d->stats.assignments_sent += items->count;
    effect_send(d, node, message);
    *items = (struct assign_items) { 0 };
}

void assign_complete(struct dispatch *d, struct dnode *node)
{
    struct assign_items items = { 0 };
    struct mirror_tasks tasks = mirror_tasks_of_node(d->mirror, node->id);
    for (size_t i = 0; i < tasks.count; i++) {
        if (!to_be_sent(tasks.items[i]))
            continue;
        if (items.count >= DISPATCH_CHUNK_ITEMS || items.bytes >= DISPATCH_CHUNK_BYTES)
            items_send(d, node, &items, true, true);
        item_update(d, node, &items, tasks.items[i]);
    }
    items_send(d, node, &items, true, false);
}

void assign_resync(struct dispatch *d, struct dnode *node)
{
    struct assign_items items = { 0 };
    for (size_t i = node->sent.count; i-- > 0;) {
        const Swarm__Task *task = mirror_task(d->mirror, node->sent.rows[i].id);
        if (task == NULL || task->node_id == NULL || strcmp(task->node_id, node->id) != 0)
            item_remove(d, node, &items, sw_scratch_str(&d->scratch, node->sent.rows[i].id));
    }
    struct mirror_tasks tasks = mirror_tasks_of_node(d->mirror, node->id);
    for (size_t i = 0; i < tasks.count; i++) {
        const Swarm__Task *task = tasks.items[i];
        if (!to_be_sent(task) || sent_hash(node, task->id) == task_hash(task))
            continue;
        if (items.count >= DISPATCH_CHUNK_ITEMS || items.bytes >= DISPATCH_CHUNK_BYTES)
            items_send(d, node, &items, false, false);
        item_update(d, node, &items, task);
    }
    if (items.count > 0)
        items_send(d, node, &items, false, false);
}

static struct dnode *open_node(struct dispatch *d, const char *node_id)
{
    struct dnode *node = node_id != NULL ? sw_idmap_get(&d->nodes, node_id) : NULL;
    return node != NULL && node->open ? node : NULL;
}

static struct assign_items *items_of(struct dispatch *d, struct assign_delta *delta, const struct dnode *node)
{
    struct assign_items *items = sw_idmap_get(&delta->nodes, node->id);
    if (items == NULL) {
        items = sw_scratch_alloc(&d->scratch, sizeof *items);
        sw_idmap_put(&delta->nodes, node->id, items);
    }
    return items;
}

/* A later change of the same entry may free or replace the task: an item that is there already is dropped first. */
static void items_forget(struct assign_items *items, const char *task_id)
{
    for (size_t i = 0; i < items->count; i++) {
        if (strcmp(items->list[i]->task->id, task_id) != 0)
            continue;
        memmove(&items->list[i], &items->list[i + 1], (items->count - i - 1) * sizeof(Swarm__Assignment *));
        items->count--;
        return;
    }
}

void assign_change(struct dispatch *d, struct assign_delta *delta, const char *task_id, const char *old_node_id)
{
    const Swarm__Task *task = mirror_task(d->mirror, task_id);
    bool stays = task != NULL && task->node_id != NULL && strcmp(task->node_id, old_node_id) == 0;
    struct dnode *old = open_node(d, old_node_id);
    if (old != NULL && !stays && sw_idmap_has(&old->sent, task_id)) {
        struct assign_items *items = items_of(d, delta, old);
        items_forget(items, task_id);
        item_remove(d, old, items, task_id);
    }
    struct dnode *node = task != NULL ? open_node(d, task->node_id) : NULL;
    if (node == NULL || !to_be_sent(task))
        return;
    struct assign_items *items = items_of(d, delta, node);
    uint64_t before = sent_hash(node, task_id);
    bool listed = false;
    for (size_t i = 0; i < items->count && !listed; i++)
        listed = strcmp(items->list[i]->task->id, task_id) == 0;
    if (listed || task->status->state <= SWARM__TASK_STATE__TASK_ASSIGNED || before != task_hash(task)) {
        items_forget(items, task_id);
        item_update(d, node, items, task);
    }
}

void assign_flush(struct dispatch *d, struct assign_delta *delta)
{
    for (size_t i = 0; i < delta->nodes.count; i++) {
        struct dnode *node = open_node(d, delta->nodes.rows[i].id);
        struct assign_items *items = delta->nodes.rows[i].value;
        if (node != NULL && items->count > 0)
            items_send(d, node, items, false, false);
    }
    sw_idmap_deinit(&delta->nodes);
}
