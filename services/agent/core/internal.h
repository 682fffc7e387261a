/* internal - what the files of the agent's core share. See worker.h for the rules. */
#ifndef WORKER_INTERNAL_H
#define WORKER_INTERNAL_H

#include "common/base/id.h"
#include "common/base/idmap.h"
#include "common/base/pb.h"
#include "common/base/scratch.h"
#include "services/agent/core/worker.h"

#define NEVER UINT64_MAX

enum wop { WOP_NONE, WOP_PREPARE, WOP_START, WOP_REMOVE }; /* asked of the executor, not yet answered */
enum wstop {
    WSTOP_NO,
    WSTOP_DRAIN,  /* told the balancer; waiting for its acknowledgement */
    WSTOP_LINGER, /* out of the balancer; letting connections end */
    WSTOP_GRACE,  /* signalled */
    WSTOP_KILL    /* killed */
};
struct wtask {
    Swarm__Task *task; /* as assigned, with the status kept here */
    enum wop op;
    enum wstop stop;
    bool exists;   /* the executor has something of it */
    bool prepared; /* its container waits for a start */
    bool alive;    /* its process runs */
    bool removing; /* not assigned any more: to be forgotten when nothing is left */
    bool serving;  /* in the endpoint table */
    bool seen;     /* named by the complete list that is coming in */
    bool unsaved;
    bool reported;            /* the manager has this status */
    bool in_report;           /* part of the report in flight, and not changed since */
    unsigned failures;        /* temporary ones in a row */
    uint64_t wait_generation; /* of the table that must be acknowledged; 0 = none */
    uint64_t deadline_ms;
    char *address;
    /* told by recovery, used once by task_recover() */
    bool found;
    enum worker_found found_as;
};

struct worker {
    struct worker_config config;
    Swarm__NodeDescription *description;
    struct sw_rng rng;
    uint64_t now_ms;
    int64_t wall_ns;
    struct sw_idmap tasks; /* -> struct wtask */
    bool recovered, leaving, left;
    struct sw_idmap strangers; /* found before recovery ended, not known: -> NULL */

    char *session;
    uint64_t sequence; /* of the last assignments */
    bool synced;       /* the complete list is in */
    bool reporting;
    uint64_t report_ms; /* no report before this */

    bool table_up, table_dirty, table_flying;
    uint64_t generation; /* of the last table sent */
    uint64_t acked;
    size_t backends;

    struct worker_stats stats;
    struct sw_scratch scratch;
    struct worker_effect *effects; /* operations, in order */
    size_t effect_count, effect_cap;
    struct worker_effect *out; /* what a step gives: what is to be saved first, then the operations */
    size_t out_count, out_cap;
    struct sw_idmap forgets; /* ids to forget in this step */
};

static inline Swarm__TaskState task_state(const struct wtask *t)
{
    return t->task->status->state;
}

/* worker.c */
struct worker_effect *effect_add(struct worker *w, enum worker_effect_type type, const char *task_id);

/* task.c: the life of one task */
void task_set_state(struct worker *w, struct wtask *t, Swarm__TaskState state, const char *message, const char *why);
void task_advance(struct worker *w, struct wtask *t); /* does what can be done now; sets the deadline for the rest */
void task_recover(struct worker *w, struct wtask *t);
void task_prepared(struct worker *w, struct wtask *t, const struct worker_event *event);
void task_started(struct worker *w, struct wtask *t, const struct worker_event *event);
void task_exited(struct worker *w, struct wtask *t, int exit_code, bool oom_killed);
void task_removed(struct worker *w, struct wtask *t, const struct worker_event *event);
Swarm__ContainerStatus *task_container(struct wtask *t); /* made if absent */
void wtask_free(struct wtask *t);

/* expand.c */
/* The task with its templates expanded (heap), or NULL with *err filled. */
Swarm__Task *task_expand(const struct worker *w, const Swarm__Task *task, struct sw_err *err);

/* table.c */
bool table_has_ports(const struct wtask *t);
void table_choose_ports(struct worker *w, struct wtask *t); /* host-mode ports left to the node, into the status */
void table_changed(struct worker *w, struct wtask *t);      /* t waits for the next table's acknowledgement */
bool table_settled(const struct worker *w, const struct wtask *t);
void table_flush(struct worker *w);

#endif
