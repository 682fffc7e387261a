/* internal - what the files of the dispatcher's core share. See dispatch.h for the rules. */
#ifndef DISPATCH_INTERNAL_H
#define DISPATCH_INTERNAL_H

#include "common/base/id.h"
#include "common/base/idmap.h"
#include "common/base/scratch.h"
#include "services/dispatcher/core/dispatch.h"

#include <assert.h>
#include <string.h>

static inline void id_set(char ret[SW_ID_SIZE], const char *id)
{
    size_t len = strlen(id);
    assert(len < SW_ID_SIZE);
    memcpy(ret, id, len + 1);
}

/* One row a node that has, or lately had, a session or a deadline. */
struct dnode {
    char id[SW_ID_SIZE];
    uint64_t deadline_ms; /* DOWN then; UINT64_MAX while nothing is awaited of it */
    bool open;            /* it has a session */
    char session[SW_ID_SIZE];
    struct dispatch_peer peer;
    uint64_t sequence;    /* of the last Assignments message */
    struct sw_idmap sent; /* task id -> hash of the task as the agent has it */
    uint64_t news_hash;   /* of the node's spec and role as last told */
    uint64_t window_ms;
    unsigned registrations;
};

/* A status that is to be committed for a node. */
struct dnode_status {
    Swarm__NodeState state;
    char *message;
    char *addr;
    Swarm__NodeDescription *description; /* may be NULL */
};
struct dtask_status {
    char node_id[SW_ID_SIZE];
    Swarm__TaskStatus *status;
    size_t bytes;
};

enum dask_kind { DASK_PLAIN, DASK_SESSION }; /* answered by Empty; by opening the session */
struct dask {
    enum dask_kind kind;
    char node_id[SW_ID_SIZE];
    struct dispatch_peer peer;
};
/* What waits for a commit: once gathering, once in flight. */
struct dqueue {
    struct sw_idmap nodes; /* -> struct dnode_status */
    struct sw_idmap tasks; /* -> struct dtask_status */
    struct dask *asks;
    size_t ask_count, ask_cap;
    size_t bytes;
};

struct dsubscription {
    uint64_t number;
    struct sw_idmap nodes; /* task not yet read to its end -> struct dnode that sends it */
};

struct dispatch {
    char self[SW_ID_SIZE];
    struct sw_rng rng;
    uint64_t now_ms;
    int64_t wall_ns;
    struct mirror *mirror;
    struct mirror *loading; /* chunks of a snapshot that is not whole yet */
    bool ready;             /* the mirror is kept up to date */
    bool leader;
    uint64_t term;
    uint64_t news_hash;    /* of heartbeat period and managers */
    struct sw_idmap nodes; /* -> struct dnode */
    uint64_t next_ms;      /* no deadline of a node is before this */
    uint64_t orphan_ms;    /* look for nodes long DOWN then */
    struct dqueue gathering, flight;
    bool in_flight;
    uint64_t hold_ms; /* no commit before this */
    struct dsubscription **subscriptions;
    size_t subscription_count, subscription_cap;
    struct dispatch_stats stats;

    struct sw_scratch scratch;
    Swarm__StoreBatch *batch; /* of the COMMIT effect */
    struct dispatch_effect *effects;
    size_t effect_count, effect_cap;
};

/* dispatch.c */
struct dispatch_effect *dispatch_effect_add(struct dispatch *d, enum dispatch_effect_type type);
void effect_reply(struct dispatch *d, const struct dispatch_peer *peer, const void *message);
void effect_refuse(struct dispatch *d, const struct dispatch_peer *peer, enum sw_code code, const char *text);
void effect_send(struct dispatch *d, const struct dnode *node, const void *message);
void effect_note(struct dispatch *d, const char *node_id, const char *text);
bool can_commit(const struct dispatch *d);
uint64_t hash_message(const void *message, uint64_t start);
int64_t beat_ns(const struct dispatch *d);

/* session.c */
struct dnode *node_row(struct dispatch *d, const char *id); /* made if absent */
void node_beat(struct dispatch *d, struct dnode *node, unsigned beats);
void node_close(struct dispatch *d, struct dnode *node, const char *why);
void node_row_free(struct dnode *node);
void session_request(struct dispatch *d, const struct dispatch_event *event);
void session_open(struct dispatch *d, const struct dask *ask);
void session_heartbeat(struct dispatch *d, const struct dispatch_event *event);
void session_goodbye(struct dispatch *d, const struct dispatch_event *event);
void session_send_failed(struct dispatch *d, const struct dispatch_event *event);
/* The open session that the message names, else NULL after refusing it. */
struct dnode *session_of(struct dispatch *d, const struct dispatch_event *event, const char *session);
void session_sync(struct dispatch *d); /* after a snapshot or a change of leadership */
void session_node_changed(struct dispatch *d, const char *node_id);
void session_news_all(struct dispatch *d); /* tells everybody, if period or managers changed */
void session_tick(struct dispatch *d);

/* assign.c */
void assign_complete(struct dispatch *d, struct dnode *node);
void assign_resync(struct dispatch *d, struct dnode *node); /* incremental: the difference to what was sent */
struct assign_delta {
    struct sw_idmap nodes; /* node id -> struct assign_items, in scratch */
};
void assign_change(struct dispatch *d, struct assign_delta *delta, const char *task_id, const char *old_node_id);
void assign_flush(struct dispatch *d, struct assign_delta *delta);

/* report.c */
void report_tasks(struct dispatch *d, const struct dispatch_event *event);
void report_node(struct dispatch *d, const char *node_id, Swarm__NodeState state, const char *message,
                 const Swarm__SessionRequest *request);
bool report_ask(struct dispatch *d, enum dask_kind kind, const char *node_id, const struct dispatch_peer *peer);
void report_orphan(struct dispatch *d, const Swarm__Task *task);
void report_flush(struct dispatch *d);
void report_committed(struct dispatch *d, const struct dispatch_event *event);
void report_abandon(struct dispatch *d, enum sw_code code, const char *text);
void queue_deinit(struct dqueue *queue);

/* logs.c */
void logs_subscribe(struct dispatch *d, const Swarm__LogSubscribe *request);
void logs_unsubscribe(struct dispatch *d, uint64_t number);
void logs_message(struct dispatch *d, const struct dispatch_event *event);
void logs_node_gone(struct dispatch *d, const struct dnode *node);
void logs_drop_all(struct dispatch *d);

#endif
