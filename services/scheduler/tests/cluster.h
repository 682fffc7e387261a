/* cluster - a scheduler core with a store beside it, for tests: what it commits is applied and fed back, agents are played.
 *
 * Every commit is written to cluster.log as text, one line a change that a person would name: the body of golden traces.
 */
#ifndef SCHED_TEST_CLUSTER_H
#define SCHED_TEST_CLUSTER_H

#include "common/base/id.h"
#include "common/store/apply.h"
#include "services/scheduler/core/scheduler.h"

struct cluster {
    struct mirror *store;
    struct scheduler *scheduler;
    uint64_t index, term;
    int64_t now_ns;
    bool leader;
    int64_t deadline_ns;
    struct sw_buf log;
    struct names *names;                                      /* task id -> "web.1#2" */
    void (*check)(void *arg, const Swarm__StoreBatch *batch); /* sees each commit before it is applied; may be NULL */
    void *check_arg;
    size_t refuse; /* refuse this many of the next commits' first transactions */
};

void cluster_init(struct cluster *cluster, uint64_t seed);
void cluster_deinit(struct cluster *cluster);
/* One transaction by somebody else (control API, dispatcher): applied and fed. Takes the object; asserts that it is accepted. */
void cluster_write(struct cluster *cluster, Swarm__ActionKind kind, Swarm__Table table, const char *id, void *object);
/* Let the scheduler decide until it has nothing more to do now. */
void cluster_settle(struct cluster *cluster);
/* Time passes; the scheduler is woken whenever it asked for it. */
void cluster_wait(struct cluster *cluster, int64_t ns);
/* Forget and take a snapshot anew, as after a lost connection; leader: whether this node leads. */
void cluster_resubscribe(struct cluster *cluster, bool leader);

/* An agent's report. Refused silently if it goes backwards, as by the store. */
void cluster_report(struct cluster *cluster, const Swarm__Task *task, Swarm__TaskState state, const char *err);
/* One step of the agents of all nodes that are up: each task moves as it is wanted. False if nothing moved. */
bool cluster_agents(struct cluster *cluster, bool stop, bool start);

const char *cluster_task_name(struct cluster *cluster, const Swarm__Task *task);
const Swarm__Task *cluster_task_by_name(struct cluster *cluster, const char *name); /* NULL if there is none */
void cluster_show(struct cluster *cluster, struct sw_buf *text);

#endif
