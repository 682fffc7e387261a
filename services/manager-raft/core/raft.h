/* raft - the consensus core: one member of a group that keeps one log. Source: Ongaro, "Consensus: Bridging Theory and
 * Practice" (2014); chapter numbers in comments are of it. In the manner of etcd-io/raft: no I/O, no clock, no randomness.
 *
 * Place    manager-raft core; fed by io/raftd.c, or by the simulator.
 * Time     milliseconds on the caller's monotonic clock; event.now_ms never goes back. A TICK is due at update.deadline_ms.
 * Memory   raft_new() to raft_free(); effects, and entries in them, are valid until the next raft_step(). Payloads are shared:
 *          PROPOSE takes its own references.
 * Disk     PERSIST asks for entries from an index on (all from there on in the log are replaced) and the hard state to be made
 *          durable; the driver then answers with PERSISTED and the number of the newest request it has covered. What may only be
 *          said after the sync (votes, acknowledgements, the node's own vote and count) is held back here until then; a leader's
 *          entries go out at once (10.2.1). A driver may step PERSISTED before its transaction commits if it performs none of
 * that step's effects until it has. Errors   enum raft_result is an answer to the caller. A message must have come through
 * raft_wire or be built by a core; what is impossible between correct members asserts. Limits   RAFT_MEMBERS_MAX members,
 * RAFT_ENTRY_MAX bytes an entry, RAFT_READS_MAX waiting reads, options for windows.
 */
#ifndef RAFT_H
#define RAFT_H

#include "raft_config.h"
#include "raft_tail.h"

#define RAFT_READS_MAX 4096
#define RAFT_NEVER UINT64_MAX /* a deadline that does not come */

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };
const char *raft_role_name(enum raft_role role);

/* The numbers are those of Swarm__RaftKind. */
enum raft_kind {
    RAFT_PRE_VOTE = 0,
    RAFT_PRE_VOTE_REPLY = 1,
    RAFT_VOTE = 2,
    RAFT_VOTE_REPLY = 3,
    RAFT_APPEND = 4,
    RAFT_APPEND_REPLY = 5,
    RAFT_HEARTBEAT = 6,
    RAFT_HEARTBEAT_REPLY = 7,
    RAFT_TIMEOUT_NOW = 8,
    RAFT_SNAPSHOT = 9, /* chunks are the driver's; the core sees only what they lead to (RAFT_EV_RESTORED) */
    RAFT_SNAPSHOT_REPLY = 10
};
struct raft_msg {
    enum raft_kind kind;
    uint64_t from, to, term;
    uint64_t log_index,
        log_term; /* APPEND: entry before the first; VOTE: the candidate's last; APPEND_REPLY: index accepted or rejected */
    uint64_t commit;
    uint64_t hint_index, hint_term; /* rejections: where the logs may still agree */
    uint64_t context;               /* read-index round */
    bool reject, transfer;
    const struct raft_entry *entries;
    size_t entry_count;
};

struct raft_hard {
    uint64_t term, vote, commit;
};

struct raft_options {
    uint64_t id;                  /* never 0 */
    uint64_t heartbeat_ms;        /* > 0, less than election_ms */
    uint64_t election_ms;         /* an election starts after election_ms to twice that without a leader */
    size_t append_bytes_max;      /* a message; 0 = 1 MiB */
    size_t window_messages;       /* appends in flight to one member; 0 = 64, at most 256 */
    size_t window_bytes;          /* 0 = 8 MiB */
    size_t uncommitted_bytes_max; /* proposals waiting for a quorum; 0 = 64 MiB */
};

enum raft_event_type {
    RAFT_EV_START,         /* once, first: `start` */
    RAFT_EV_TICK,          /* time has come */
    RAFT_EV_MESSAGE,       /* `msg`, with msg.to being this member */
    RAFT_EV_PROPOSE,       /* `entries`, `count`: kind STORE and blob are read; update.index is the first one's index */
    RAFT_EV_CONFIG,        /* `blob`: an encoded configuration that is not joint, wanted from now on */
    RAFT_EV_PERSISTED,     /* `seq` of the newest PERSIST covered */
    RAFT_EV_WRITE_FAILED,  /* what PERSIST asked for can't be kept: lead no more, acknowledge nothing */
    RAFT_EV_READ,          /* `context`: answered by RAFT_DO_READ when a read of that index is current */
    RAFT_EV_TRANSFER,      /* `peer` shall lead; 0 = the one that is furthest */
    RAFT_EV_UNREACHABLE,   /* `peer`: a message could not be sent */
    RAFT_EV_SNAPSHOT_SENT, /* `peer`, `ok`, `index`: a snapshot of the state at index was delivered, or given up */
    RAFT_EV_RESTORED,      /* `index`, `term`, `blob` = configuration there: state and log were replaced by a leader's snapshot */
    RAFT_EV_COMPACT        /* `index`: entries up to it are applied and no longer needed */
};
struct raft_start {
    uint64_t seed;
    struct raft_hard hard;
    uint64_t base_index, base_term;   /* what the log begins after */
    struct raft_blob *base_config;    /* configuration there; NULL = none yet: a member that waits to be told */
    const struct raft_entry *entries; /* the log after the base; references are taken */
    size_t count;
    uint64_t applied; /* known to be committed, whatever hard.commit says */
};
struct raft_event {
    enum raft_event_type type;
    uint64_t now_ms;
    const struct raft_start *start;
    const struct raft_msg *msg;
    const struct raft_entry *entries;
    size_t count;
    struct raft_blob *blob;
    uint64_t seq, context, peer, index, term;
    bool ok;
};

enum raft_effect_type {
    RAFT_DO_PERSIST,  /* `seq`, `hard`, and entries from `index` on (0 = only the hard state) */
    RAFT_DO_SEND,     /* `msg` */
    RAFT_DO_COMMIT,   /* entries up to `index` may be applied; they are in the tail */
    RAFT_DO_STATUS,   /* `role`, `term`, `leader` changed */
    RAFT_DO_READ,     /* `context`: `ok`, and the state at `index` is current; or not ok, ask the new leader */
    RAFT_DO_TRANSFER, /* `peer`, `ok`: handing over has ended; ok = given up for a new leader's term */
    RAFT_DO_SNAPSHOT, /* `peer` needs a snapshot: the log it lacks is gone. Answer with RAFT_EV_SNAPSHOT_SENT */
    RAFT_DO_CONFIG    /* the newest configuration changed: raft_config(); links may be opened and closed */
};
struct raft_effect {
    enum raft_effect_type type;
    struct raft_msg msg;
    struct raft_hard hard;
    uint64_t seq, index, context, peer, term, leader;
    enum raft_role role;
    bool ok;
};
struct raft_update {
    const struct raft_effect *effects;
    size_t count;
    uint64_t deadline_ms; /* RAFT_NEVER = none */
    uint64_t index;       /* of what was just proposed */
};

enum raft_result {
    RAFT_OK = 0,
    RAFT_E_NOT_LEADER, /* or not yet able: nothing of this term is committed */
    RAFT_E_TRANSFER,   /* handing over: ask again soon */
    RAFT_E_FULL,       /* too much is waiting already */
    RAFT_E_PENDING,    /* a configuration change is under way */
    RAFT_E_INVALID     /* no such member, or a configuration that makes no sense */
};

struct raft;
struct raft *raft_new(const struct raft_options *options);
void raft_free(struct raft *raft); /* NULL is fine */
enum raft_result raft_step(struct raft *raft, const struct raft_event *event, struct raft_update *ret_update);

enum raft_role raft_role(const struct raft *raft);
uint64_t raft_id(const struct raft *raft);
uint64_t raft_term(const struct raft *raft);
uint64_t raft_leader(const struct raft *raft); /* 0 = unknown */
uint64_t raft_commit(const struct raft *raft);
uint64_t raft_term_start(const struct raft *raft); /* leader: index of its first entry; applied = it knows all of earlier terms */
struct raft_hard raft_hard(const struct raft *raft);
const struct raft_tail *raft_tail(const struct raft *raft);
const struct raft_config *raft_config(const struct raft *raft);    /* the newest in the log */
const struct raft_blob *raft_config_blob(const struct raft *raft); /* its bytes; NULL = none */
/* Bytes of the configuration in force at `index` (base <= index <= commit), to be kept when compacting there; NULL = none. */
const struct raft_blob *raft_config_at(const struct raft *raft, uint64_t index);

/* Whether a snapshot of the state at `index` is to be installed (then RAFT_EV_RESTORED). Not if this member's log has that very
 * entry: what follows it there may be acknowledged already and must not be dropped. Ask right before installing. */
bool raft_snapshot_needed(const struct raft *raft, uint64_t index, uint64_t term);

/* How a member is doing, for status and alarms; leader only. False if it is no member. */
struct raft_progress {
    uint64_t match, next, heard_ms;
    bool voter, snapshot, active; /* active: heard within the election timeout */
};
bool raft_progress(const struct raft *raft, uint64_t id, struct raft_progress *ret_progress);

#endif
