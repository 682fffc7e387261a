/* parts - the processes of the simulated cluster, and who watches them. One file each. */
#ifndef SIM_PARTS_H
#define SIM_PARTS_H

#include "common/sim/sim.h"
#include "proto/dispatch.pb-c.h"

/* ---- store.c: manager-raft, reduced to its promise: an ordered log of applied batches, a feed, terms ---- */
enum sim_client { SIM_SCHEDULER, SIM_DISPATCHER };
/* What a client of the store gets; its fn is given kind, message and conn. */
enum sim_answer {
    ANSWER_SNAPSHOT, /* FeedSnapshot */
    ANSWER_CHANGES,  /* FeedChanges */
    ANSWER_REPLY,    /* CommitReply */
    ANSWER_FAILED,   /* the commit was refused, or its answer is lost with the connection */
    ANSWER_LOST      /* the connection is gone: subscribe again */
};
void store_open(struct sim *sim);
void store_close(struct sim *sim);
/* fn is called in the client's life; conn names the subscription, so that answers of an earlier one can be told apart. */
void store_subscribe(struct sim *sim, enum sim_client client, const struct sim_life *life, sim_fn *fn, unsigned conn);
void store_commit(struct sim *sim, enum sim_client client, const Swarm__StoreBatch *batch);
void store_write(struct sim *sim, Swarm__ActionKind kind, Swarm__Table table, const char *id, void *object); /* takes object */
void store_crash(struct sim *sim); /* manager-raft ends and comes back: connections are lost, what was not applied too */
void store_elect(struct sim *sim); /* another term; for a moment there is no leader */
const struct mirror *store_mirror(const struct sim *sim);
size_t store_task_count(const struct sim *sim);
bool store_gave_up(const struct sim *sim, const char *task_id); /* its node was down while it was there */

/* ---- scheduler.c, dispatcher.c: the real cores ---- */
void scheduler_open(struct sim *sim);
void scheduler_close(struct sim *sim);
void scheduler_crash(struct sim *sim);

void dispatcher_open(struct sim *sim);
void dispatcher_close(struct sim *sim);
void dispatcher_crash(struct sim *sim);
bool dispatcher_up(const struct sim *sim);
/* A question of an agent; its answer comes to agent_answer() with the same conn, kind and tag. Takes message. */
void dispatcher_ask(struct sim *sim, size_t node, unsigned conn, int kind, uint64_t tag, void *message, int64_t delay_ns);

/* ---- agent.c, container.c: the real core, a played executor ---- */
void agent_open(struct sim *sim, size_t node);
void agent_close(struct sim *sim, size_t node);
void agent_crash(struct sim *sim, size_t node, bool machine); /* machine: its containers go too */
void agent_cut(struct sim *sim, size_t node, bool cut);
void agent_lose_connection(struct sim *sim, size_t node); /* its peer went away; it notices a little later */
/* From the dispatcher: message NULL = refused, with code. Takes message. False: the connection is known to be gone. */
bool agent_answer(struct sim *sim, size_t node, unsigned conn, int kind, uint64_t tag, void *message, int code);
bool agent_event(struct sim *sim, size_t node, unsigned conn, void *message);

/* A container of the node, whatever the agent knows of it. */
struct sim_container {
    char service_id[SW_ID_SIZE];
    uint64_t slot;
    bool running, exited;
    int exit_code;
    uint64_t start; /* counts starts, so that an old end does not hit a new beginning */
};
const struct sw_idmap *agent_containers(const struct sim *sim, size_t node); /* task id -> struct sim_container */
const char *agent_node_id(size_t node);

/* ---- workload.c, check.c ---- */
void workload_step(struct sim *sim); /* something happens: a change of what is wanted, or a fault */
void workload_heal(struct sim *sim); /* all is up, whole and wanted to run */

struct check_facts {
    char id[SW_ID_SIZE], service_id[SW_ID_SIZE], node_id[SW_ID_SIZE];
    uint64_t slot;
    Swarm__TaskState state, desired;
};
struct check_facts check_facts(const Swarm__Task *task);
void check_task(struct sim *sim, const struct check_facts *old, const Swarm__Task *task);
void check_slots(struct sim *sim, const char *service_id);
void check_containers(struct sim *sim, size_t node, const char *task_id); /* the task's container has just begun to run */
bool check_converged(struct sim *sim, char *why, size_t size);

#endif
