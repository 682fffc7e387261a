/* worker - the agent's decisions: which container is prepared, started, drained, stopped and removed when, what is written
 * down, what is reported, and which backends the node's balancer has.
 *
 * Place    services/agent/core; fed by io/shell.c, or by the simulator.
 * Order    WORKER_EV_LOADED and _FOUND, each as often as there is something, then _RECOVERED once; only then effects are given.
 *          Effects are performed in order. SAVE and FORGET come before what depends on them and must be durable first.
 * Time     now_ms: the caller's monotonic clock, never going back; wall_ns: its wall clock, only written into statuses.
 * Memory   struct worker is heap; event contents are copied where kept. Effects and all they point to are the core's and die
 *          at the next worker_step().
 * Rules    swarm-semantics 2.1 and 2.2: observed states only grow, one operation of a task at a time, the state saved before it
 *          is acted on. The status kept here wins over the manager's. Losing the session changes nothing for containers.
 * Draining a task with published ports leaves the balancer first: its backend is told as draining, the table's acknowledgement
 *          awaited, then the drain time, then the stop signal, then the grace period, then SIGKILL. And it is RUNNING
 *          only when the balancer has it, so that "running" means "reachable".
 * Limits   WORKER_TASKS_MAX; a task beyond is rejected. WORKER_REPORTS_MAX statuses a message, the rest follow.
 */
#ifndef WORKER_H
#define WORKER_H

#include "common/base/err.h"
#include "proto/balance.pb-c.h"
#include "proto/dispatch.pb-c.h"
#include "proto/types.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORKER_TASKS_MAX 4096u
#define WORKER_REPORTS_MAX 512u
#define WORKER_TABLE_WAIT_MS 3000u /* a balancer that does not answer holds up a start or a stop for so long only */
#define WORKER_RETRY_MIN_MS 1000u  /* of a temporary failure; doubles */
#define WORKER_RETRY_MAX_MS 30000u
#define WORKER_REPORT_RETRY_MS 1000u
#define WORKER_REMOVE_RETRY_MS 5000u
#define WORKER_GRACE_DEFAULT_MS 10000u
#define WORKER_HOST_PORT_MIN 32768u /* host-mode ports that are left to the node */
#define WORKER_HOST_PORT_MAX 60999u

struct worker_config {
    uint64_t seed;
    uint64_t drain_ms;                          /* between leaving the balancer and the stop signal */
    uint64_t generation;                        /* endpoint tables start above it; greater than any told before */
    const Swarm__NodeDescription *description;  /* for templates */
    const Swarm__LocalNetwork *const *networks; /* told in every table */
    size_t network_count;
};

enum worker_event_type {
    WORKER_EV_LOADED,     /* task: a record that SAVE wrote in an earlier life */
    WORKER_EV_FOUND,      /* the executor has task_id: found, pid, exit_code, oom_killed, address, text = container id */
    WORKER_EV_RECOVERED,  /* all of both were told */
    WORKER_EV_SESSION_UP, /* text: the session's id; the next assignments begin with sequence 1 */
    WORKER_EV_SESSION_DOWN,
    WORKER_EV_ASSIGNMENTS, /* assignments */
    WORKER_EV_REPORTED,    /* the WORKER_REPORT was answered: ok, or not */
    WORKER_EV_PREPARED,    /* task_id, failure, text (why), container_id, address */
    WORKER_EV_STARTED,     /* task_id, failure, text, container_id, pid */
    WORKER_EV_EXITED,      /* task_id, exit_code, oom_killed */
    WORKER_EV_REMOVED,     /* task_id, failure, text */
    WORKER_EV_TABLE_ACKED, /* generation */
    WORKER_EV_TABLE_DOWN,  /* the balancer is not reachable */
    WORKER_EV_TABLE_UP,    /* it is (again): the table is sent anew */
    WORKER_EV_LEAVE,       /* stop every task; WORKER_EMPTY follows */
    WORKER_EV_TICK         /* the deadline was reached */
};
enum worker_failure { WORKER_OK = 0, WORKER_TEMPORARY, WORKER_FATAL };
enum worker_found { WORKER_FOUND_PREPARED, WORKER_FOUND_RUNNING, WORKER_FOUND_EXITED };
struct worker_event {
    enum worker_event_type type;
    uint64_t now_ms;
    int64_t wall_ns;
    const char *task_id;
    const char *text;
    const char *container_id;
    const char *address; /* "172.30.0.7", the one that published ports lead to; NULL = none */
    const Swarm__Task *task;
    const Swarm__Assignments *assignments;
    enum worker_failure failure;
    enum worker_found found;
    int pid;
    int exit_code;
    bool oom_killed;
    bool ok;
    uint64_t generation;
};

enum worker_effect_type {
    WORKER_SAVE,    /* task: write it down under its id */
    WORKER_FORGET,  /* task_id */
    WORKER_PREPARE, /* task: templates are expanded */
    WORKER_START,   /* task_id */
    WORKER_SIGNAL,  /* task_id; text: the signal, NULL = the image's */
    WORKER_KILL,    /* task_id */
    WORKER_REMOVE,  /* task_id */
    WORKER_REPORT,  /* reports; answer by WORKER_EV_REPORTED */
    WORKER_TABLE,   /* table; answer by WORKER_EV_TABLE_ACKED, or not at all */
    WORKER_RESYNC,  /* assignments were missed: open a new session */
    WORKER_EMPTY    /* after LEAVE: every task has ended and, with a session, that is committed; what is left may be removed */
};
struct worker_effect {
    enum worker_effect_type type;
    const char *task_id;
    const char *text;
    const Swarm__Task *task;
    const Swarm__TaskReports *reports;
    const Swarm__EndpointTable *table;
};
struct worker_update {
    const struct worker_effect *effects;
    size_t count;
    uint64_t deadline_ms; /* send WORKER_EV_TICK then; UINT64_MAX = never */
};

struct worker_stats {
    size_t tasks, running, operations, unreported, backends;
    uint64_t reports, report_failures, tables, starts, failures, rejected, retries, resyncs;
};

struct worker;
struct worker *worker_new(const struct worker_config *config);
void worker_free(struct worker *worker);
void worker_step(struct worker *worker, const struct worker_event *event, struct worker_update *ret_update);
struct worker_stats worker_stats(const struct worker *worker);
/* The record as kept here, or NULL; for logs and metrics. Dies at the next step. */
const Swarm__Task *worker_task(const struct worker *worker, const char *task_id);
/* Calls fn for each task whose container runs. */
void worker_each_running(const struct worker *worker, void (*fn)(void *arg, const Swarm__Task *task), void *arg);

#endif
