/* raft_net - a group of raft cores in one process, on virtual time, with a network and disks that can be made to fail.
 *
 * Every message travels as encoded bytes. A disk keeps only what was synced when a node crashes. The paper's invariants are
 * checked after each step (one leader a term, log matching, leader completeness, nothing committed is lost, no stale read);
 * a violation prints the seed and aborts.
 */
#ifndef RAFT_NET_H
#define RAFT_NET_H

#include "common/base/buf.h"
#include "common/base/id.h"
#include "raft.h"

#define NET_NODES 7
#define NET_INDEX_MAX 100000

struct net_packet {
    uint64_t due_ms, order, from, to;
    char *data; /* encoded RaftMessage, or NULL: a snapshot */
    size_t len;
    uint64_t index, term; /* of the snapshot */
    struct raft_blob *config;
};
struct net_node {
    struct raft *core; /* NULL: down */
    /* disk */
    struct raft_hard hard;
    struct raft_tail disk;
    struct raft_blob *base_config;
    uint64_t applied; /* synced with the state */
    /* not yet synced */
    uint64_t seq, dirty_from, sync_due_ms, ready;
    bool sync_frozen;
    uint64_t deadline_ms;
    uint64_t paused_until_ms; /* the process stands still: its messages and timers wait */
    uint64_t reads_ok, reads_failed, transfers_ok, transfers_failed;
};
struct net {
    uint64_t seed, now_ms, order;
    struct sw_rng rng;
    struct net_node nodes[NET_NODES + 1]; /* by id, from 1 */
    size_t count;
    struct net_packet *packets;
    size_t packet_count, packet_cap;
    bool cut[NET_NODES + 1][NET_NODES + 1]; /* [from][to] */
    uint64_t lost_ppm, twice_ppm, delay_min_ms, delay_max_ms, sync_min_ms, sync_max_ms;
    size_t append_bytes_max;
    uint64_t leaders[NET_INDEX_MAX];         /* by term */
    uint64_t committed_terms[NET_INDEX_MAX]; /* by index, 0 = not yet */
    uint64_t committed_hash[NET_INDEX_MAX];
    uint64_t committed;            /* highest index committed anywhere */
    uint64_t reads[NET_INDEX_MAX]; /* by context: what was committed when it was asked */
    uint64_t read_next, payload_next;
    bool (*lose)(void *arg, const struct raft_msg *msg); /* scenario's own filter, may be NULL */
    void *lose_arg;
    struct sw_buf *trace; /* NULL = none */
};

/* Nodes 1..count, of which `voters` (bit id) vote from the start; the others wait to be told. */
struct net *net_new(uint64_t seed, size_t count, unsigned voters);
void net_free(struct net *net);
void net_run(struct net *net, uint64_t ms);
/* Runs until fn says so; false after limit_ms. */
bool net_until(struct net *net, bool (*fn)(struct net *net), uint64_t limit_ms);
enum raft_result net_step(struct net *net, uint64_t id, struct raft_event event);
enum raft_result net_propose(struct net *net, uint64_t id, size_t count, size_t bytes);
enum raft_result net_config(struct net *net, uint64_t id, unsigned voters, unsigned learners);
enum raft_result net_read(struct net *net, uint64_t id);
void net_crash(struct net *net, uint64_t id);
void net_start(struct net *net, uint64_t id);
void net_compact(struct net *net, uint64_t id, uint64_t keep);
void net_cut(struct net *net, uint64_t from, uint64_t to); /* one way */
void net_isolate(struct net *net, uint64_t id);
void net_heal(struct net *net);
uint64_t net_leader(const struct net *net); /* live leader of the highest term, 0 = none */
bool net_has_leader(struct net *net);       /* and it has committed in its term */
bool net_settled(struct net *net);          /* a leader, and every live member has all it has committed */
void net_dump(const struct net *net);       /* what every node thinks, on stderr */
struct raft_blob *net_config_blob(unsigned voters, unsigned learners);

#endif
