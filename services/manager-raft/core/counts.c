#include "services/manager-raft/core/counts.h"

bool counts_node_up(const struct mirror *mirror, const char *node_id)
{
    const Swarm__Node *node = mirror_node(mirror, node_id);
    return node != NULL && (node->status == NULL || node->status->state != SWARM__NODE_STATE__NODE_DOWN);
}

struct tally {
    uint64_t running, wanted, unfinished, completed;
};

static struct tally tally_of(const struct mirror *mirror, const Swarm__Service *service)
{
    struct tally tally = { 0 };
    uint64_t iteration = service->job != NULL ? service->job->iteration : 0;
    struct mirror_tasks tasks = mirror_tasks_of_service(mirror, service->id);
    for (size_t i = 0; i < tasks.count; i++) {
        const Swarm__Task *task = tasks.items[i];
        bool complete = task->status->state == SWARM__TASK_STATE__TASK_COMPLETE;
        if (task->status->state == SWARM__TASK_STATE__TASK_RUNNING && counts_node_up(mirror, task->node_id))
            tally.running++;
        if (task->desired_state <= SWARM__TASK_STATE__TASK_RUNNING)
            tally.wanted++;
        if (task->desired_state == SWARM__TASK_STATE__TASK_COMPLETE && !complete)
            tally.unfinished++;
        if (complete && task->job_iteration == iteration)
            tally.completed++;
    }
    return tally;
}

void counts_of(const struct mirror *mirror, const Swarm__Service *service, Swarm__ServiceCount *ret)
{
    struct tally tally = tally_of(mirror, service);
    const Swarm__ServiceMode *mode = service->spec->mode;
    ret->service_id = service->id;
    ret->running = tally.running;
    switch (mode->kind) {
    case SWARM__SERVICE_MODE_KIND__MODE_REPLICATED:
        ret->desired = mode->replicas;
        return;
    case SWARM__SERVICE_MODE_KIND__MODE_GLOBAL:
        ret->desired = tally.wanted;
        return;
    case SWARM__SERVICE_MODE_KIND__MODE_REPLICATED_JOB:
        ret->desired = mode->max_concurrent;
        break;
    case SWARM__SERVICE_MODE_KIND__MODE_GLOBAL_JOB:
        ret->desired = tally.unfinished;
        break;
    case _SWARM__SERVICE_MODE_KIND_IS_INT_SIZE:
        break;
    }
    ret->has_completed = true;
    ret->completed = tally.completed;
}
