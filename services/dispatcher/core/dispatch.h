/* dispatch - the dispatcher's decisions: who has a session, who is alive, what each agent is told, what is committed.
 *
 * Place    services/dispatcher/core; fed by io/shell.c, or by the simulator.
 * Time     now_ms: the caller's monotonic clock, never going back; wall_ns: its wall clock, only written into records.
 * Memory   struct dispatch is heap; event contents are copied where kept. Effects and all they point to are the core's and
 *          die at the next dispatch_step().
 * Errors   a peer's mistake is an effect (DISPATCH_REFUSE) and changes nothing. A broken contract asserts.
 * Limits   below; reaching one is a refusal with SW_LIMIT or SW_UNAVAILABLE.
 *
 * Commits: at most one is in flight. What is reported meanwhile waits for it and goes into the next one, so that a batch is as
 * big as the load makes it. A report is answered only when its status is committed.
 */
#ifndef DISPATCH_H
#define DISPATCH_H

#include "common/base/err.h"
#include "common/store/mirror.h"
#include "proto/dispatch.pb-c.h"
#include "proto/envelope.pb-c.h"
#include "proto/store.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define DISPATCH_MISSED_BEATS 3 /* a node is DOWN after so many periods without a word */
#define DISPATCH_GRACE_BEATS 6  /* the same for a node not heard of since this dispatcher began to lead */
#define DISPATCH_ORPHAN_NS (INT64_C(24) * 3600 * 1000000000) /* DOWN for so long: its tasks are ORPHANED */
#define DISPATCH_REGISTER_WINDOW_MS 8000u                    /* at most ..._MAX sessions are opened by a node in a window */
#define DISPATCH_REGISTER_MAX 8u
#define DISPATCH_SESSIONS_MAX 16384u
#define DISPATCH_QUEUE_BYTES_MAX (1u << 20) /* reported, not yet in a commit */
#define DISPATCH_ASKS_MAX 65536u            /* questions waiting for a commit */
#define DISPATCH_REPORTS_MAX 4096u          /* in one message */
#define DISPATCH_CHUNK_ITEMS 128u           /* assignments in one message of a complete list */
#define DISPATCH_CHUNK_BYTES (512u << 10)
#define DISPATCH_SUBSCRIPTIONS_MAX 256u
#define DISPATCH_SUBSCRIPTION_TASKS_MAX 4096u
#define DISPATCH_RETRY_MS 500u /* after a commit that failed */
#define DISPATCH_PEER_SIZE 192

/* Where an answer goes: the shell's own bytes (a struct bus_sender), kept and given back unread. */
struct dispatch_peer {
    _Alignas(8) unsigned char opaque[DISPATCH_PEER_SIZE];
};

enum dispatch_event_type {
    DISPATCH_EV_SNAPSHOT,        /* body FeedSnapshot: a chunk; the first after FEED_LOST starts over */
    DISPATCH_EV_CHANGES,         /* body FeedChanges */
    DISPATCH_EV_FEED_LOST,       /* the commit in flight was already answered with a failure */
    DISPATCH_EV_COMMITTED,       /* body CommitReply, or NULL and err */
    DISPATCH_EV_LOG_SUBSCRIBE,   /* body LogSubscribe, from manager-raft */
    DISPATCH_EV_LOG_UNSUBSCRIBE, /* body LogUnsubscribe */
    DISPATCH_EV_SESSION,         /* from here on: node_id and peer say who; body SessionRequest */
    DISPATCH_EV_HEARTBEAT,       /* body Heartbeat */
    DISPATCH_EV_REPORTS,         /* body TaskReports */
    DISPATCH_EV_GOODBYE,         /* body Goodbye */
    DISPATCH_EV_LOG_MESSAGE,     /* body LogMessage */
    DISPATCH_EV_SEND_FAILED,     /* a DISPATCH_SEND to node_id could not be sent: peer is that of the effect */
    DISPATCH_EV_TICK             /* the deadline was reached; no body */
};
struct dispatch_event {
    enum dispatch_event_type type;
    uint64_t now_ms;
    int64_t wall_ns;
    const char *node_id;
    const struct dispatch_peer *peer;
    const void *body;
    const struct sw_err *err;
};

enum dispatch_effect_type {
    DISPATCH_REPLY,  /* message to peer, the last answer to its question */
    DISPATCH_REFUSE, /* code and text to peer */
    DISPATCH_SEND,   /* message to peer as an event; tell a failure by DISPATCH_EV_SEND_FAILED after this step's effects */
    DISPATCH_COMMIT, /* message is a StoreBatch; answer by DISPATCH_EV_COMMITTED */
    DISPATCH_LOG_UP, /* message is a LogMessage for manager-raft; peer, if not NULL, is answered: Empty, or the failure to send */
    DISPATCH_NOTE    /* for the log: node_id and text ("session opened", "heartbeat failure") */
};
struct dispatch_effect {
    enum dispatch_effect_type type;
    const struct dispatch_peer *peer;
    const char *node_id;
    const void *message;
    enum sw_code code;
    const char *text;
};
struct dispatch_update {
    const struct dispatch_effect *effects;
    size_t count;
    uint64_t deadline_ms; /* send DISPATCH_EV_TICK then; UINT64_MAX = never */
};

/* For metrics and tests. */
struct dispatch_stats {
    size_t sessions, subscriptions, queued_statuses, waiting_asks;
    uint64_t commits, commit_failures, statuses_committed, assignments_sent, sessions_opened, heartbeats, heartbeat_failures;
    bool leader, feed;
};

struct dispatch;
struct dispatch *dispatch_new(const char *node_id, uint64_t seed); /* node_id: the manager this dispatcher runs on */
void dispatch_free(struct dispatch *dispatch);
void dispatch_step(struct dispatch *dispatch, const struct dispatch_event *event, struct dispatch_update *ret_update);
/* For admission by key; empty until the first snapshot is whole. */
const struct mirror *dispatch_mirror(const struct dispatch *dispatch);
struct dispatch_stats dispatch_stats(const struct dispatch *dispatch);

#endif
