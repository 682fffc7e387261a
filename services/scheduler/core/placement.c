#include "services/scheduler/core/placement.h"

#include "services/scheduler/core/failures.h"
#include "services/scheduler/core/filters.h"
#include "services/scheduler/core/tasks.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct group {
    UT_hash_handle hh;
    const Swarm__Task **tasks;
    size_t count, cap;
    char key[64]; /* service id, spec version */
};
struct candidate {
    struct node_info *info;
    uint64_t tie;
};
/* candidates[0] is the best. */
struct heap {
    struct candidate *items;
    size_t count;
};

/* ---- heap ---- */

static bool better(const struct candidate *a, const struct candidate *b)
{
    const struct node_info *x = a->info;
    const struct node_info *y = b->info;
    if ((x->failures >= FAILURES_MANY || y->failures >= FAILURES_MANY) && x->failures != y->failures)
        return x->failures < y->failures;
    if (x->mark != y->mark)
        return x->mark < y->mark;
    if (x->active != y->active)
        return x->active < y->active;
    return a->tie < b->tie;
}

static void sink(struct heap *heap, size_t at)
{
    for (;;) {
        size_t best = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < heap->count; child++)
            if (better(&heap->items[child], &heap->items[best]))
                best = child;
        if (best == at)
            return;
        struct candidate swap = heap->items[at];
        heap->items[at] = heap->items[best];
        heap->items[best] = swap;
        at = best;
    }
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return hash;
}

/* ---- one task ---- */

static void assign(struct world *world, const Swarm__Task *task, const char *node_id, const char *message)
{
    Swarm__Task *edit = world_edit(task);
    if (edit->node_id == NULL)
        sw_pb_set(&edit->node_id, node_id);
    edit->status->has_state = true;
    edit->status->state = SWARM__TASK_STATE__TASK_ASSIGNED;
    edit->status->has_timestamp_ns = true;
    edit->status->timestamp_ns = world->now_ns;
    sw_pb_set(&edit->status->message, message);
    sw_pb_set(&edit->status->err, NULL);
    plan_txn(&world->plan);
    (void)world_update(world, SWARM__TABLE__TABLE_TASK, edit);
    world->placed++;
}

static void park(struct world *world, const Swarm__Task *task, const char *why)
{
    idset_del(&world->fresh, task->id);
    (void)idset_add(&world->parked, task->id, 0);
    plan_txn(&world->plan);
    task_explain(world, task, why);
}

static void place_preassigned(struct world *world, const Swarm__Task *task)
{
    struct node_info *info = nodes_get(&world->nodes, task->node_id);
    if (info == NULL || info->node == NULL) {
        park(world, task, "its node was removed");
        return;
    }
    struct filters filters;
    filters_init(&filters, task);
    if (filters_pass(&filters, info, 0)) {
        assign(world, task, task->node_id, "scheduler confirmed task can run on preassigned node");
    } else {
        SW_AUTO_BUF why = { 0 };
        filters_explain(&filters, &why);
        park(world, task, sw_buf_str(&why));
    }
    filters_deinit(&filters);
}

/* ---- groups ---- */

static void count_service(struct world *world, const Swarm__Task *task)
{
    for (struct node_info *n = world->nodes.first; n != NULL; n = nodes_next(n)) {
        n->mark = 0;
        n->failures = 0;
    }
    struct mirror_tasks tasks = mirror_tasks_of_service(world->mirror, task->service_id);
    for (size_t i = 0; i < tasks.count; i++)
        if (nodes_task_active(tasks.items[i]))
            nodes_get(&world->nodes, tasks.items[i]->node_id)->mark++;
    failures_count(world->failures, task, world->now_ns, &world->nodes);
}

static void build_heap(struct world *world, struct filters *filters, struct heap *ret)
{
    ret->items = sw_realloc_array(NULL, HASH_COUNT(world->nodes.first), sizeof *ret->items);
    uint64_t seed = hash_text(UINT64_C(0xcbf29ce484222325), filters->task->service_id);
    for (struct node_info *n = world->nodes.first; n != NULL; n = nodes_next(n))
        if (n->node != NULL && filters_pass(filters, n, n->mark))
            ret->items[ret->count++] = (struct candidate) { .info = n, .tie = hash_text(seed, n->id) };
    for (size_t i = ret->count / 2; i-- > 0;)
        sink(ret, i);
}

/* The best node that still takes the task; those that no longer do leave the heap. */
static struct node_info *pick(struct filters *filters, struct heap *heap)
{
    while (heap->count > 0) {
        struct node_info *info = heap->items[0].info;
        if (filters_pass(filters, info, info->mark))
            return info;
        heap->items[0] = heap->items[--heap->count];
        sink(heap, 0);
    }
    return NULL;
}

static void place_group(struct world *world, const struct group *group)
{
    struct filters filters;
    struct heap heap = { 0 };
    count_service(world, group->tasks[0]);
    filters_init(&filters, group->tasks[0]);
    build_heap(world, &filters, &heap);
    SW_AUTO_BUF why = { 0 };
    for (size_t i = 0; i < group->count; i++) {
        filters.task = group->tasks[i];
        const Swarm__ResourceRequirements *needs = filters.task->spec->resources;
        filters.reserve = needs != NULL ? needs->reservations : NULL;
        struct node_info *info = pick(&filters, &heap);
        if (info != NULL) {
            assign(world, group->tasks[i], info->id, "scheduler assigned task to node");
            info->mark++;
            sink(&heap, 0);
            continue;
        }
        if (why.len == 0) {
            SW_AUTO_BUF reasons = { 0 };
            filters_explain(&filters, &reasons);
            sw_buf_adds(&why, "no suitable node");
            if (reasons.len != 0)
                sw_buf_addf(&why, " (%s)", reasons.data);
        }
        park(world, group->tasks[i], why.data);
    }
    filters_deinit(&filters);
    free(heap.items);
}

static void group_add(struct group **groups, const Swarm__Task *task)
{
    char key[64];
    (void)snprintf(key, sizeof key, "%s %llu", task->service_id, (unsigned long long)task->spec_version);
    struct group *group = NULL;
    HASH_FIND(hh, *groups, key, strlen(key), group);
    if (group == NULL) {
        group = sw_alloc0(sizeof *group);
        memcpy(group->key, key, sizeof key);
        HASH_ADD_KEYPTR(hh, *groups, group->key, strlen(group->key), group);
    }
    if (group->count == group->cap) {
        group->cap = group->cap == 0 ? 8 : 2 * group->cap;
        group->tasks = sw_realloc_array((void *)group->tasks, group->cap, sizeof *group->tasks);
    }
    group->tasks[group->count++] = task;
}

/* Sort the waiting into groups; tasks made for a node are placed as they come. */
static void take_waiting(struct world *world, struct idset *set, struct group **groups)
{
    for (struct idset_row *row = set->first, *next = NULL; row != NULL; row = next) {
        next = idset_next(row);
        const Swarm__Task *task = mirror_task(world->mirror, idset_id(row));
        assert(task != NULL);
        if (task->node_id != NULL)
            place_preassigned(world, task);
        else
            group_add(groups, task);
    }
}

static void move_all(struct idset *from, struct idset *to)
{
    for (const struct idset_row *row = from->first; row != NULL; row = idset_next(row))
        (void)idset_add(to, idset_id(row), 0);
    idset_clear(from);
}

void placement_step(struct world *world)
{
    struct group *groups = NULL;
    if (world->retry_parked) { /* who waits longest goes first */
        struct idset newer = idset_take(&world->fresh);
        move_all(&world->parked, &world->fresh);
        move_all(&newer, &world->fresh);
    }
    take_waiting(world, &world->fresh, &groups);
    struct group *group = NULL;
    struct group *next = NULL;
    HASH_ITER(hh, groups, group, next)
    {
        place_group(world, group);
        HASH_DEL(groups, group);
        free((void *)group->tasks);
        free(group);
    }
    world->retry_parked = false; /* placing frees nothing */
}
