#include "common/sim/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sim_container *find(const struct sim_agent *agent, const char *task_id)
{
    return sw_idmap_get(&agent->containers, task_id);
}

static void later(struct sim *sim, struct sim_agent *agent, const char *task_id, int64_t max_ms, sim_fn *fn, uint64_t tag)
{
    struct sim_event event = { .fn = fn, .life = &agent->life, .node = agent->node, .tag = tag };
    (void)snprintf(event.id, sizeof event.id, "%s", task_id);
    sim_post(sim, (1 + (int64_t)sim_below(sim, (uint64_t)max_ms)) * SIM_MS, event);
}

/* ---- prepare ---- */

static void on_prepared(struct sim *sim, struct sim_event *event)
{
    struct sim_agent *agent = sim->agents[event->node];
    struct worker_event told = {
        .type = WORKER_EV_PREPARED, .task_id = event->id, .container_id = event->id, .address = "172.30.0.2"
    };
    if (sim_chance(sim, 30))
        told.failure = sim_below(sim, 2) == 0 ? WORKER_TEMPORARY : WORKER_FATAL;
    if (told.failure != WORKER_OK)
        told.text = "no such image";
    agent_step(sim, agent, told);
}

void container_prepare(struct sim *sim, struct sim_agent *agent, const Swarm__Task *task)
{
    if (find(agent, task->id) == NULL) {
        struct sim_container *container = sw_alloc0(sizeof *container);
        (void)snprintf(container->service_id, sizeof container->service_id, "%s", task->service_id);
        container->slot = task->slot;
        sw_idmap_put(&agent->containers, task->id, container);
    }
    later(sim, agent, task->id, 200, on_prepared, 0);
}

/* ---- start, end ---- */

/* An end happens whether the agent lives or not; it hears of it if it does. */
static void end(struct sim *sim, struct sim_agent *agent, const char *task_id, int exit_code)
{
    struct sim_container *container = find(agent, task_id);
    container->running = false;
    container->exited = true;
    container->exit_code = exit_code;
    if (agent->life.up)
        agent_step(sim, agent, (struct worker_event) { .type = WORKER_EV_EXITED, .task_id = task_id, .exit_code = exit_code });
}

static void on_end(struct sim *sim, struct sim_event *event)
{
    struct sim_agent *agent = sim->agents[event->node];
    struct sim_container *container = find(agent, event->id);
    if (container != NULL && container->running && container->start == event->tag)
        end(sim, agent, event->id, event->kind);
}

static void end_later(struct sim *sim, struct sim_agent *agent, const char *task_id, int64_t max_ms, int exit_code)
{
    struct sim_event event = { .fn = on_end, .node = agent->node, .tag = find(agent, task_id)->start, .kind = exit_code };
    (void)snprintf(event.id, sizeof event.id, "%s", task_id);
    sim_post(sim, (1 + (int64_t)sim_below(sim, (uint64_t)max_ms)) * SIM_MS, event);
}

static void on_started(struct sim *sim, struct sim_event *event)
{
    struct sim_agent *agent = sim->agents[event->node];
    struct sim_container *container = find(agent, event->id);
    if (container == NULL || sim_chance(sim, 20)) {
        agent_step(sim, agent,
                   (struct worker_event) {
                       .type = WORKER_EV_STARTED, .task_id = event->id, .failure = WORKER_FATAL, .text = "exec failed" });
        return;
    }
    container->running = true;
    container->start++;
    check_containers(sim, agent->node, event->id);
    if (sim_chance(sim, 150))
        end_later(sim, agent, event->id, 20000, (int)sim_below(sim, 2));
    agent_step(sim, agent,
               (struct worker_event) { .type = WORKER_EV_STARTED, .task_id = event->id, .container_id = event->id, .pid = 1 });
}

void container_start(struct sim *sim, struct sim_agent *agent, const char *task_id)
{
    later(sim, agent, task_id, 50, on_started, 0);
}

void container_signal(struct sim *sim, struct sim_agent *agent, const char *task_id, bool kill)
{
    struct sim_container *container = find(agent, task_id);
    if (container == NULL || !container->running)
        return;
    if (kill)
        end_later(sim, agent, task_id, 5, 137);
    else if (!sim_chance(sim, 50)) /* some do not listen: the grace period ends them */
        end_later(sim, agent, task_id, 3000, 0);
}

/* ---- remove, recover ---- */

static void on_removed(struct sim *sim, struct sim_event *event)
{
    struct sim_agent *agent = sim->agents[event->node];
    free(sw_idmap_remove(&agent->containers, event->id));
    agent_step(sim, agent, (struct worker_event) { .type = WORKER_EV_REMOVED, .task_id = event->id });
}

void container_remove(struct sim *sim, struct sim_agent *agent, const char *task_id)
{
    struct sim_container *container = find(agent, task_id);
    if (container != NULL)
        container->running = false; /* removing kills what is left */
    later(sim, agent, task_id, 100, on_removed, 0);
}

void containers_found(struct sim *sim, struct sim_agent *agent)
{
    for (size_t i = 0; i < agent->containers.count; i++) {
        const struct sim_container *container = agent->containers.rows[i].value;
        enum worker_found found = container->running  ? WORKER_FOUND_RUNNING
                                  : container->exited ? WORKER_FOUND_EXITED
                                                      : WORKER_FOUND_PREPARED;
        agent_step(sim, agent,
                   (struct worker_event) { .type = WORKER_EV_FOUND,
                                           .task_id = agent->containers.rows[i].id,
                                           .found = found,
                                           .pid = 1,
                                           .exit_code = container->exit_code,
                                           .address = "172.30.0.2",
                                           .text = agent->containers.rows[i].id });
    }
}

void containers_lost(struct sim_agent *agent)
{
    for (size_t i = 0; i < agent->containers.count; i++) {
        struct sim_container *container = agent->containers.rows[i].value;
        container->exited = container->exited || container->running;
        container->exit_code = container->running ? 255 : container->exit_code;
        container->running = false;
    }
}

void containers_free(struct sim_agent *agent)
{
    for (size_t i = 0; i < agent->containers.count; i++)
        free(agent->containers.rows[i].value);
    sw_idmap_deinit(&agent->containers);
}
