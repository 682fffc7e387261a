/* agent - one simulated node, shared by agent.c (the core, its records, its session) and container.c (what it runs). */
#ifndef SIM_AGENT_H
#define SIM_AGENT_H

#include "common/sim/parts.h"
#include "services/agent/core/worker.h"

enum question { ASK_SESSION, ASK_BEAT, ASK_REPORT, ASK_COUNT };

struct sim_agent {
    size_t node;
    struct sim_life life;
    struct worker *core;
    uint64_t timer;
    int64_t skew_ns;
    /* on disk, and in the kernel: outlive the process */
    struct sw_idmap records;    /* task id -> Swarm__Task */
    struct sw_idmap containers; /* task id -> struct sim_container */
    uint64_t generation;
    /* the link to the dispatcher */
    bool cut, connected;
    bool missed; /* something was lost in the cut: the connection cannot go on */
    unsigned conn;
    int64_t up_ns, down_ns;
    uint64_t asked;
    uint64_t waiting[ASK_COUNT]; /* tag of the question under way, 0 = none */
    /* the session */
    char *session;
    uint64_t beat, again; /* tags of the timers that count */
    int64_t beat_ns, backoff_ms;
};

void agent_step(struct sim *sim, struct sim_agent *agent, struct worker_event event);

/* ---- container.c ---- */
void container_prepare(struct sim *sim, struct sim_agent *agent, const Swarm__Task *task);
void container_start(struct sim *sim, struct sim_agent *agent, const char *task_id);
void container_signal(struct sim *sim, struct sim_agent *agent, const char *task_id, bool kill);
void container_remove(struct sim *sim, struct sim_agent *agent, const char *task_id);
void containers_found(struct sim *sim, struct sim_agent *agent); /* tell a new core what there is */
void containers_lost(struct sim_agent *agent);                   /* the machine went down */
void containers_free(struct sim_agent *agent);

#endif
