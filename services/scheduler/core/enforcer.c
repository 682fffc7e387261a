#include "services/scheduler/core/enforcer.h"

#include "services/scheduler/core/spec.h"
#include "services/scheduler/core/tasks.h"

#include <stdlib.h>
#include <string.h>

static const Swarm__Resources *reserved(const Swarm__Task *task)
{
    return task->spec->resources != NULL ? task->spec->resources->reservations : NULL;
}

static void reject(struct world *world, const Swarm__Task *task)
{
    plan_txn(&world->plan);
    (void)task_observe(world, task, SWARM__TASK_STATE__TASK_REJECTED, "task rejected by constraint enforcer",
                       "assigned node no longer meets constraints");
}

static bool constraints_hold(const struct world *world, const Swarm__Task *task, const Swarm__Node *node)
{
    const Swarm__Service *service = mirror_service(world->mirror, task->service_id);
    const Swarm__Placement *placement = service != NULL ? service->spec->task->placement : NULL;
    if (placement == NULL || placement->n_constraints == 0)
        return true;
    struct constraints constraints = { 0 };
    bool hold = constraints_parse(placement->constraints, placement->n_constraints, &constraints, NULL) != 0 ||
                constraints_match(&constraints, node);
    constraints_deinit(&constraints);
    return hold;
}

static int larger_first(const void *pa, const void *pb)
{
    const Swarm__Task *const *a = pa;
    const Swarm__Task *const *b = pb;
    const Swarm__Resources *x = reserved(*a);
    const Swarm__Resources *y = reserved(*b);
    int64_t memory_x = x != NULL ? x->memory_bytes : 0;
    int64_t memory_y = y != NULL ? y->memory_bytes : 0;
    if (memory_x != memory_y)
        return memory_x > memory_y ? -1 : 1;
    int64_t cpus_x = x != NULL ? x->nano_cpus : 0;
    int64_t cpus_y = y != NULL ? y->nano_cpus : 0;
    if (cpus_x != cpus_y)
        return cpus_x > cpus_y ? -1 : 1;
    return strcmp((*a)->id, (*b)->id);
}

/* Would it help to take this task away? */
static bool in_the_way(const struct node_info *info, const Swarm__Task *task)
{
    const Swarm__Resources *reserve = reserved(task);
    return reserve != NULL &&
           ((reserve->memory_bytes > 0 && nodes_memory_free(info) < 0) || (reserve->nano_cpus > 0 && nodes_cpus_free(info) < 0));
}

void enforcer_node(struct world *world, const struct node_info *info)
{
    const Swarm__Node *node = info->node;
    if (node->spec->availability != SWARM__NODE_AVAILABILITY__NODE_ACTIVE || node->description == NULL)
        return;
    struct mirror_tasks now = mirror_tasks_of_node(world->mirror, node->id);
    SW_AUTO(sw_free) const Swarm__Task **tasks = sw_realloc_array(NULL, now.count, sizeof *tasks);
    size_t count = 0;
    for (size_t i = 0; i < now.count; i++)
        if (nodes_task_active(now.items[i]))
            tasks[count++] = now.items[i];
    qsort((void *)tasks, count, sizeof *tasks, larger_first);
    for (size_t i = 0; i < count; i++)
        if (!constraints_hold(world, tasks[i], node) || in_the_way(info, tasks[i]))
            reject(world, tasks[i]);
}
