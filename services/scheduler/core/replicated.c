#include "services/scheduler/core/replicated.h"

#include "services/scheduler/core/reaper.h"
#include "services/scheduler/core/restart.h"
#include "services/scheduler/core/updater.h"

#include <assert.h>
#include <stdlib.h>

#define ORDINAL_NONE UINT64_MAX

/* A live slot while it is decided which stay. */
struct rank {
    struct slot *slot;
    bool running;
    uint64_t ordinal; /* nth of this service on its node */
};
struct ranks {
    struct rank *items;
    size_t count;
};

static bool slot_counts(const Swarm__Service *service, const struct slot *slot)
{
    return slot_live(slot) || (!updater_rolling_back(service) && restart_settled(service, slot));
}

static bool slot_running(const struct slot *slot)
{
    for (size_t i = 0; i < slot->count; i++)
        if (task_live(slot->tasks[i]) && slot->tasks[i]->status->state == SWARM__TASK_STATE__TASK_RUNNING)
            return true;
    return false;
}

static int running_first(const void *pa, const void *pb)
{
    const struct rank *a = pa;
    const struct rank *b = pb;
    if (a->running != b->running)
        return a->running ? -1 : 1;
    return a->slot->number < b->slot->number ? -1 : a->slot->number > b->slot->number;
}

static int ordinal_first(const void *pa, const void *pb)
{
    const struct rank *a = pa;
    const struct rank *b = pb;
    if (a->ordinal != b->ordinal)
        return a->ordinal < b->ordinal ? -1 : 1;
    return running_first(pa, pb);
}

/* The only live task of the slot, if it has exactly one. */
static const Swarm__Task *only_task(const struct slot *slot)
{
    const Swarm__Task *only = NULL;
    for (size_t i = 0; i < slot->count; i++) {
        if (!task_live(slot->tasks[i]))
            continue;
        if (only != NULL)
            return NULL;
        only = slot->tasks[i];
    }
    return only;
}

static void rank_slots(struct world *world, struct ranks *ranks)
{
    for (struct node_info *n = world->nodes.first; n != NULL; n = nodes_next(n))
        n->mark = 0;
    qsort(ranks->items, ranks->count, sizeof *ranks->items, running_first);
    for (size_t i = 0; i < ranks->count; i++) {
        const Swarm__Task *task = only_task(ranks->items[i].slot);
        struct node_info *info = task != NULL && task->node_id != NULL ? nodes_get(&world->nodes, task->node_id) : NULL;
        ranks->items[i].ordinal = info != NULL ? ++info->mark : ORDINAL_NONE;
    }
    qsort(ranks->items, ranks->count, sizeof *ranks->items, ordinal_first);
}

static void remove_slot(struct world *world, struct slot *slot)
{
    for (size_t i = 0; i < slot->count; i++) {
        plan_txn(&world->plan);
        slot->tasks[i] = task_want(world, slot->tasks[i], SWARM__TASK_STATE__TASK_REMOVE);
    }
}

static bool still_stopping(const struct world *world, const struct slot *slot)
{
    for (size_t i = 0; i < slot->count; i++)
        if (nodes_task_holds(slot->tasks[i]) && !world_node_lost(world, slot->tasks[i]->node_id))
            return true;
    return false;
}

/* New slots in the lowest free numbers; slots are in ascending order, as is the walk. */
static void add_slots(struct world *world, const Swarm__Service *service, const struct slots *slots, uint64_t missing)
{
    size_t next = 0;
    for (uint64_t number = 1; missing > 0; number++) {
        while (next < slots->count && slots->items[next].number < number)
            next++;
        const struct slot *there = next < slots->count && slots->items[next].number == number ? &slots->items[next] : NULL;
        if (there != NULL && (slot_counts(service, there) || still_stopping(world, there)))
            continue;
        plan_txn(&world->plan);
        (void)task_create(world, service, number, NULL, SWARM__TASK_STATE__TASK_RUNNING);
        missing--;
    }
}

static void collect_live(const Swarm__Service *service, const struct slots *slots, struct ranks *ret)
{
    ret->items = sw_realloc_array(NULL, slots->count, sizeof *ret->items);
    for (size_t i = 0; i < slots->count; i++)
        if (slot_counts(service, &slots->items[i]))
            ret->items[ret->count++] = (struct rank) { .slot = &slots->items[i], .running = slot_running(&slots->items[i]) };
}

static const Swarm__Service *update(struct world *world, const Swarm__Service *service, const struct ranks *ranks)
{
    SW_AUTO(sw_free) struct slot **live = sw_realloc_array(NULL, ranks->count, sizeof *live);
    for (size_t i = 0; i < ranks->count; i++)
        live[i] = ranks->items[i].slot;
    struct spec_check check;
    spec_check_init(&check, world, service);
    service = updater_step(world, &check, live, ranks->count);
    spec_check_deinit(&check);
    return service;
}

void replicated_step(struct world *world, const Swarm__Service *service)
{
    struct slots slots;
    slots_build(world, service, &slots);
    for (size_t i = 0; i < slots.count; i++)
        restart_slot(world, service, &slots.items[i], true);

    uint64_t want = service->spec->mode->replicas;
    struct ranks ranks = { 0 };
    collect_live(service, &slots, &ranks);
    uint64_t missing = want > ranks.count ? want - ranks.count : 0;
    if (ranks.count > want) {
        rank_slots(world, &ranks);
        for (size_t i = want; i < ranks.count; i++)
            remove_slot(world, ranks.items[i].slot);
        ranks.count = want;
        qsort(ranks.items, ranks.count, sizeof *ranks.items, running_first);
    }
    service = update(world, service, &ranks);
    if (missing > 0)
        add_slots(world, service, &slots, missing);
    for (size_t i = 0; i < slots.count; i++) {
        if (!slot_counts(service, &slots.items[i]) && slots.items[i].number > want)
            remove_slot(world, &slots.items[i]);
        restart_promote(world, service, &slots.items[i]);
        reaper_slot(world, service, &slots.items[i]);
    }
    slots_deinit(&slots);
    free(ranks.items);
}
