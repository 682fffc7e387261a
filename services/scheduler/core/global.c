#include "services/scheduler/core/global.h"

#include "services/scheduler/core/reaper.h"
#include "services/scheduler/core/restart.h"
#include "services/scheduler/core/updater.h"

#include <stdlib.h>
#include <string.h>

enum fit { FIT, FIT_PAUSED, FIT_NOT, FIT_GONE };

static enum fit fit_of(const struct world *world, const struct spec_check *check, const Swarm__Node *node)
{
    if (node == NULL)
        return FIT_GONE;
    if (world_node_unfit(world, node->id) || !spec_node_matches(check, node))
        return FIT_NOT;
    return node->spec->availability == SWARM__NODE_AVAILABILITY__NODE_PAUSE ? FIT_PAUSED : FIT;
}

static const char *slot_node(const struct slot *slot)
{
    return slot->tasks[0]->node_id != NULL ? slot->tasks[0]->node_id : "";
}

static void want_all(struct world *world, struct slot *slot, Swarm__TaskState desired)
{
    for (size_t i = 0; i < slot->count; i++) {
        if (desired != SWARM__TASK_STATE__TASK_REMOVE && !task_live(slot->tasks[i]))
            continue;
        plan_txn(&world->plan);
        slot->tasks[i] = task_want(world, slot->tasks[i], desired);
    }
}

/* The newest task ended by itself and its policy wants no other; being shut down by us is no end. */
static bool done(const Swarm__Service *service, const struct slot *slot)
{
    return restart_settled(service, slot) && slot_newest(slot)->status->state != SWARM__TASK_STATE__TASK_SHUTDOWN &&
           slot_newest(slot)->status->state != SWARM__TASK_STATE__TASK_ORPHANED;
}

static bool stopping(const struct slot *slot)
{
    for (size_t i = 0; i < slot->count; i++)
        if (nodes_task_holds(slot->tasks[i]))
            return true;
    return false;
}

/* The node's tasks before any update; true if the slot takes part in one. */
static bool step_slot(struct world *world, const Swarm__Service *service, struct slot *slot, enum fit fit)
{
    switch (fit) {
    case FIT_GONE:
        want_all(world, slot, SWARM__TASK_STATE__TASK_REMOVE);
        return false;
    case FIT_NOT:
        want_all(world, slot, SWARM__TASK_STATE__TASK_SHUTDOWN);
        return false;
    case FIT_PAUSED:
        restart_slot(world, service, slot, false);
        return false;
    case FIT:
        restart_slot(world, service, slot, true);
        if (slot_live(slot) || done(service, slot))
            return true;
        plan_txn(&world->plan);
        slot_add(slot, task_create(world, service, 0, slot_node(slot),
                                   stopping(slot) ? SWARM__TASK_STATE__TASK_READY : SWARM__TASK_STATE__TASK_RUNNING));
        return true;
    }
    return false;
}

/* Nodes are iterated by id, slots are sorted by node id: one walk over both. */
static void add_missing(struct world *world, const struct spec_check *check, const struct slots *slots)
{
    size_t next = 0;
    for (const Swarm__Node *node = mirror_first(world->mirror, SWARM__TABLE__TABLE_NODE); node != NULL;
         node = mirror_next(world->mirror, SWARM__TABLE__TABLE_NODE, node)) {
        while (next < slots->count && strcmp(slot_node(&slots->items[next]), node->id) < 0)
            next++;
        if (next < slots->count && strcmp(slot_node(&slots->items[next]), node->id) == 0)
            continue;
        if (fit_of(world, check, node) != FIT)
            continue;
        plan_txn(&world->plan);
        (void)task_create(world, check->service, 0, node->id, SWARM__TASK_STATE__TASK_RUNNING);
    }
}

void global_step(struct world *world, const Swarm__Service *service)
{
    struct slots slots;
    slots_build(world, service, &slots);
    struct spec_check check;
    spec_check_init(&check, world, service);
    SW_AUTO(sw_free) struct slot **updated = sw_realloc_array(NULL, slots.count, sizeof *updated);
    size_t count = 0;
    for (size_t i = 0; i < slots.count; i++) {
        struct slot *slot = &slots.items[i];
        if (step_slot(world, service, slot, fit_of(world, &check, mirror_node(world->mirror, slot_node(slot)))))
            updated[count++] = slot;
    }
    add_missing(world, &check, &slots);
    service = updater_step(world, &check, updated, count);
    for (size_t i = 0; i < slots.count; i++) {
        restart_promote(world, service, &slots.items[i]);
        reaper_slot(world, service, &slots.items[i]);
    }
    spec_check_deinit(&check);
    slots_deinit(&slots);
}
