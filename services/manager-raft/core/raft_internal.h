/* raft_internal - the state of one member and what the files of the core call in each other. Nobody else includes it. */
#ifndef RAFT_INTERNAL_H
#define RAFT_INTERNAL_H

#include "common/base/id.h"
#include "raft.h"

#include <assert.h>

#define RAFT_WINDOW_MAX 256

enum raft_flow {
    RAFT_PROBE,     /* the follower's log is not known: one append at a time */
    RAFT_REPLICATE, /* appends follow each other up to the windows */
    RAFT_SENDING    /* a snapshot is on its way: nothing else */
};
enum raft_ballot { RAFT_UNDECIDED, RAFT_GRANTED, RAFT_REFUSED };

/* Appends in flight, oldest first: the last index of each and its bytes. */
struct raft_window {
    struct {
        uint64_t last;
        size_t bytes;
    } items[RAFT_WINDOW_MAX];
    size_t head, count, bytes;
};

struct raft_peer {
    uint64_t id;
    bool voter, outgoing;
    enum raft_ballot ballot;
    enum raft_flow flow;
    bool probe_sent;
    uint64_t match, next, commit_sent, heard_ms, read_ack;
    struct raft_window window;
};

struct raft_config_entry {
    uint64_t index;
    struct raft_config config;
    struct raft_blob *blob;
};
struct raft_read {
    uint64_t context, index, round; /* round 0: not yet assigned */
};
struct raft_held {
    uint64_t seq;
    struct raft_msg msg; /* never with entries */
};
struct raft_unsynced {
    uint64_t seq, last;
};

struct raft {
    struct raft_options options;
    struct sw_rng rng;
    uint64_t now_ms;
    bool started, failed;

    enum raft_role role;
    uint64_t term, vote, leader;
    uint64_t commit, commit_told, stable; /* stable: last entry known to be synced here */
    struct raft_tail tail;
    struct raft_config_entry *configs; /* oldest first; the first is at or before commit, the last is in force */
    size_t config_count, config_cap;
    struct raft_peer peers[RAFT_MEMBERS_MAX]; /* members of the newest configuration, this one included if it is one */
    size_t peer_count;

    uint64_t election_due_ms, heartbeat_due_ms, leader_heard_ms, quorum_grace_ms;
    bool transfer_vote; /* this candidacy was asked for by the leader */

    /* leader */
    uint64_t term_start, uncommitted_bytes;
    uint64_t transfer_to, transfer_due_ms;
    struct raft_read *reads;
    size_t read_count, read_cap;
    uint64_t read_round, read_done;

    /* disk */
    uint64_t persist_seq, persisted_seq, dirty_from;
    bool dirty;
    struct raft_unsynced *unsynced;
    size_t unsynced_count, unsynced_cap;
    struct raft_held *held;
    size_t held_count, held_cap, held_new; /* held_new: first of this step */

    /* output of this step */
    struct raft_effect *effects;
    size_t effect_count, effect_cap;
    uint64_t proposed_index;
    bool config_changed;
    struct {
        enum raft_role role;
        uint64_t term, leader;
    } told;
};

/* raft.c */
struct raft_effect *raft_emit(struct raft *raft, enum raft_effect_type type);
void raft_send(struct raft *raft, struct raft_msg msg);  /* at once; from and term (if 0) are filled in */
void raft_reply(struct raft *raft, struct raft_msg msg); /* once all state so far is synced */
void raft_dirty(struct raft *raft, uint64_t from);       /* 0: the hard state alone */
void raft_log_append(struct raft *raft, uint64_t term, enum raft_entry_kind kind, struct raft_blob *blob);
void raft_log_truncate(struct raft *raft, uint64_t from);
void raft_commit_to(struct raft *raft, uint64_t index);

/* raft_members.c */
struct raft_peer *raft_peer(struct raft *raft, uint64_t id);                      /* NULL if it is no member */
void raft_config_push(struct raft *raft, uint64_t index, struct raft_blob *blob); /* takes its own reference */
void raft_config_drop_from(struct raft *raft, uint64_t index);
void raft_config_prune(struct raft *raft, uint64_t index);
void raft_config_clear(struct raft *raft);
bool raft_electable(const struct raft *raft);
bool raft_alone(const struct raft *raft); /* the only voter */
/* The largest value that a quorum of each set of voters has reached. */
typedef uint64_t raft_value_fn(const struct raft *raft, const struct raft_peer *peer);
uint64_t raft_quorum(const struct raft *raft, raft_value_fn *value);

/* raft_elect.c */
void raft_election_reset(struct raft *raft);
void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader);
void raft_campaign(struct raft *raft, bool pre, bool transfer);
bool raft_in_lease(const struct raft *raft);
void raft_on_vote_request(struct raft *raft, const struct raft_msg *msg);
void raft_on_vote_reply(struct raft *raft, const struct raft_msg *msg);

/* raft_lead.c */
void raft_become_leader(struct raft *raft);
void raft_lead_stop(struct raft *raft);
void raft_lead_tick(struct raft *raft);
uint64_t raft_lead_deadline(const struct raft *raft);
void raft_lead_commit(struct raft *raft);
void raft_broadcast_heartbeat(struct raft *raft);
enum raft_result raft_lead_propose(struct raft *raft, const struct raft_entry *entries, size_t count);
enum raft_result raft_lead_config(struct raft *raft, struct raft_blob *target);
enum raft_result raft_lead_transfer(struct raft *raft, uint64_t to);
void raft_lead_transfer_check(struct raft *raft, const struct raft_peer *peer);

/* raft_flow.c */
void raft_peer_reset(struct raft *raft, struct raft_peer *peer);
void raft_feed(struct raft *raft, struct raft_peer *peer, bool allow_empty); /* send what the windows allow */
void raft_feed_all(struct raft *raft, bool allow_empty);
void raft_nudge(struct raft *raft, struct raft_peer *peer);
void raft_on_append_reply(struct raft *raft, struct raft_peer *peer, const struct raft_msg *msg);
void raft_on_unreachable(struct raft *raft, struct raft_peer *peer);
void raft_on_snapshot_sent(struct raft *raft, struct raft_peer *peer, uint64_t index, bool ok);

/* raft_read.c */
enum raft_result raft_read_add(struct raft *raft, uint64_t context);
void raft_read_kick(struct raft *raft);
void raft_read_acked(struct raft *raft);
void raft_read_drop(struct raft *raft);

/* raft_follow.c */
void raft_on_append(struct raft *raft, const struct raft_msg *msg);
void raft_on_heartbeat(struct raft *raft, const struct raft_msg *msg);
void raft_on_timeout_now(struct raft *raft);
void raft_on_restored(struct raft *raft, uint64_t index, uint64_t term, struct raft_blob *config);

#endif
