#include "services/scheduler/core/tasks.h"

#include "services/scheduler/core/allocator.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- slots ---- */

static int by_creation(const Swarm__Task *a, const Swarm__Task *b)
{
    if (a->meta->created_ns != b->meta->created_ns)
        return a->meta->created_ns < b->meta->created_ns ? -1 : 1;
    if (a->desired_state != b->desired_state) /* made at once: the one that has to go is the older one */
        return a->desired_state > b->desired_state ? -1 : 1;
    return strcmp(a->id, b->id);
}

static int by_slot(const void *pa, const void *pb)
{
    const Swarm__Task *a = *(const Swarm__Task *const *)pa;
    const Swarm__Task *b = *(const Swarm__Task *const *)pb;
    if (a->slot != b->slot)
        return a->slot < b->slot ? -1 : 1;
    return by_creation(a, b);
}

static int by_node(const void *pa, const void *pb)
{
    const Swarm__Task *a = *(const Swarm__Task *const *)pa;
    const Swarm__Task *b = *(const Swarm__Task *const *)pb;
    int order = strcmp(a->node_id != NULL ? a->node_id : "", b->node_id != NULL ? b->node_id : "");
    return order != 0 ? order : by_creation(a, b);
}

static bool same_slot(const Swarm__Task *a, const Swarm__Task *b, bool global)
{
    if (!global)
        return a->slot == b->slot;
    return strcmp(a->node_id != NULL ? a->node_id : "", b->node_id != NULL ? b->node_id : "") == 0;
}

#define SLOT_SPARE 2

void slots_build(const struct world *world, const Swarm__Service *service, struct slots *ret)
{
    bool global = service->spec->mode->kind == SWARM__SERVICE_MODE_KIND__MODE_GLOBAL;
    struct mirror_tasks tasks = mirror_tasks_of_service(world->mirror, service->id);
    SW_AUTO(sw_free) const Swarm__Task **sorted = sw_realloc_array(NULL, tasks.count, sizeof *sorted);
    if (tasks.count != 0)
        memcpy((void *)sorted, (const void *)tasks.items, tasks.count * sizeof *sorted);
    qsort((void *)sorted, tasks.count, sizeof *sorted, global ? by_node : by_slot);

    *ret = (struct slots) { 0 };
    ret->items = sw_realloc_array(NULL, tasks.count, sizeof *ret->items);
    ret->memory = sw_realloc_array(NULL, tasks.count * (1 + SLOT_SPARE), sizeof *ret->memory);
    const Swarm__Task **free_memory = ret->memory;
    for (size_t i = 0; i < tasks.count; i++) {
        if (i == 0 || !same_slot(sorted[i - 1], sorted[i], global)) {
            if (i != 0)
                free_memory += SLOT_SPARE;
            ret->items[ret->count++] = (struct slot) { .number = sorted[i]->slot, .tasks = free_memory, .room = SLOT_SPARE };
        }
        struct slot *slot = &ret->items[ret->count - 1];
        slot->tasks[slot->count++] = sorted[i];
        slot->room++;
        free_memory++;
    }
}

void slots_deinit(struct slots *slots)
{
    free(slots->items);
    free((void *)slots->memory);
    *slots = (struct slots) { 0 };
}

void slot_add(struct slot *slot, const Swarm__Task *task)
{
    assert(slot->count < slot->room);
    slot->tasks[slot->count++] = task;
}

const Swarm__Task *slot_newest(const struct slot *slot)
{
    assert(slot->count > 0);
    return slot->tasks[slot->count - 1];
}

bool slot_live(const struct slot *slot)
{
    for (size_t i = 0; i < slot->count; i++)
        if (task_live(slot->tasks[i]))
            return true;
    return false;
}

/* ---- tasks ---- */

static void copy_labels(Swarm__Task *task, const Swarm__ServiceSpec *spec)
{
    task->service_labels = sw_alloc0(spec->n_labels * sizeof *task->service_labels);
    for (size_t i = 0; i < spec->n_labels; i++)
        task->service_labels[i] = sw_pb_clone(spec->labels[i]);
    task->n_service_labels = spec->n_labels;
}

static Swarm__TaskStatus *new_status(int64_t now_ns)
{
    Swarm__TaskStatus *status = sw_alloc0(sizeof *status);
    swarm__task_status__init(status);
    status->has_timestamp_ns = true;
    status->timestamp_ns = now_ns;
    status->has_state = true;
    status->state = SWARM__TASK_STATE__TASK_NEW;
    status->message = sw_strdup("created");
    return status;
}

const Swarm__Task *task_create(struct world *world, const Swarm__Service *service, uint64_t slot, const char *node_id,
                               Swarm__TaskState desired)
{
    char id[SW_ID_SIZE];
    sw_id_make(&world->rng, id);
    Swarm__Task *task = sw_alloc0(sizeof *task);
    swarm__task__init(task);
    task->id = sw_strdup(id);
    task->meta = sw_alloc0(sizeof *task->meta);
    swarm__meta__init(task->meta);
    task->meta->created_ns = world->now_ns;
    task->meta->updated_ns = world->now_ns;
    task->service_id = sw_strdup(service->id);
    task->service_name = sw_strdup(service->spec->name);
    copy_labels(task, service->spec);
    task->has_slot = slot != 0;
    task->slot = slot;
    task->node_id = sw_strdup(node_id);
    task->spec = sw_pb_clone(service->spec->task);
    task->spec_version = service->spec_version;
    task->desired_state = desired;
    task->status = new_status(world->now_ns);
    allocator_task(world, service, task);
    return world_create(world, SWARM__TABLE__TABLE_TASK, task);
}

static void set_status(const struct world *world, Swarm__Task *task, Swarm__TaskState state, const char *message, const char *why)
{
    assert(state >= task->status->state);
    task->status->has_state = true;
    task->status->state = state;
    task->status->has_timestamp_ns = true;
    task->status->timestamp_ns = world->now_ns;
    task->status->has_applied_ns = true;
    task->status->applied_ns = world->now_ns;
    sw_pb_set(&task->status->message, message);
    sw_pb_set(&task->status->err, why);
}

const Swarm__Task *task_want(struct world *world, const Swarm__Task *task, Swarm__TaskState desired)
{
    if (task->desired_state >= desired)
        return task;
    Swarm__Task *edit = world_edit(task);
    edit->desired_state = desired;
    if (desired >= SWARM__TASK_STATE__TASK_SHUTDOWN && edit->status->state < SWARM__TASK_STATE__TASK_ASSIGNED)
        set_status(world, edit, SWARM__TASK_STATE__TASK_SHUTDOWN, "shut down before it was placed", edit->status->err);
    return world_update(world, SWARM__TABLE__TABLE_TASK, edit);
}

const Swarm__Task *task_observe(struct world *world, const Swarm__Task *task, Swarm__TaskState state, const char *message,
                                const char *why)
{
    Swarm__Task *edit = world_edit(task);
    set_status(world, edit, state, message, why);
    return world_update(world, SWARM__TABLE__TABLE_TASK, edit);
}

void task_explain(struct world *world, const Swarm__Task *task, const char *why)
{
    if (task->status->err != NULL && strcmp(task->status->err, why) == 0)
        return;
    Swarm__Task *edit = world_edit(task);
    sw_pb_set(&edit->status->err, why);
    (void)world_update(world, SWARM__TABLE__TABLE_TASK, edit);
}

int64_t task_since_ns(const Swarm__Task *task)
{
    return task->status->has_applied_ns ? task->status->applied_ns : task->status->timestamp_ns;
}
