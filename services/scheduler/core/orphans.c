#include "services/scheduler/core/orphans.h"

#include "services/scheduler/core/tasks.h"

#include <string.h>

static void orphan_all(struct world *world, const char *node_id, const char *why)
{
    struct mirror_tasks now = mirror_tasks_of_node(world->mirror, node_id);
    SW_AUTO(sw_free) const Swarm__Task **tasks = sw_realloc_array(NULL, now.count, sizeof *tasks);
    size_t count = 0;
    for (size_t i = 0; i < now.count; i++)
        if (nodes_task_holds(now.items[i]))
            tasks[count++] = now.items[i];
    for (size_t i = 0; i < count; i++) {
        plan_txn(&world->plan);
        (void)task_observe(world, tasks[i], SWARM__TASK_STATE__TASK_ORPHANED, "orphaned", why);
    }
}

void orphans_node(struct world *world, const char *node_id)
{
    const Swarm__Node *node = mirror_node(world->mirror, node_id);
    if (node == NULL) {
        orphan_all(world, node_id, "Task belonged to a node that has been deleted");
        return;
    }
    if (node->status == NULL || node->status->state != SWARM__NODE_STATE__NODE_DOWN)
        return;
    int64_t since_ns = node->status->has_since_ns ? node->status->since_ns : node->meta->updated_ns;
    if (world->now_ns < since_ns + ORPHANS_DOWN_NS)
        world_wake_node(world, node_id, since_ns + ORPHANS_DOWN_NS);
    else
        orphan_all(world, node_id, "Task belonged to a node that has been down for 24 hours");
}
