/* raftd - the Raft driver: owns the log on disk, the timers, the links to peers, and the commit path into the store.
 *
 * Order of one turn (group commit): all proposals and peer messages at hand are stepped through the core; new entries and the
 * hard state go into one synced LMDB transaction; then what depends on it is sent; committed entries are applied to the store
 * (store_apply) and their waiters called. An answer to a client therefore always comes after the sync.
 * Every sync covers both: what was proposed and, if that sync decides it, what is applied (one commit a turn for a single voter).
 * A write that fails ends the process (svc_quit with code 1), and nothing is answered as done.
 * Metrics: swarm_manager_raft_{term,leader,commit_index,applied_index,log_entries,log_bytes,members,proposals_waiting},
 * _{proposals,proposals_failed,entries_written,syncs}_total, _commit_seconds (proposed to applied), _sync_seconds.
 */
#ifndef RAFTD_H
#define RAFTD_H

#include "common/bus/bus.h"
#include "common/store/store.h"
#include "proto/raft.pb-c.h"

struct raftd;

struct raftd_spec {
    struct svc *svc;
    struct bus *bus;
    struct store *store;
    const char *node_id;
    const char *raft_address; /* "tcp://HOST:PORT" told to peers */
    const char *raft_listen;  /* "tcp://IP:PORT" to bind; NULL = no peer socket (tests) */
    const struct bus_keys *keys;
    uint64_t heartbeat_ms, election_ms;
    /* After each applied entry, in order, with the changes for the feed. */
    store_applied_fn *applied;
    /* Term or leadership changed; leader = this node leads and has applied all entries of earlier terms. */
    void (*status)(void *arg, uint64_t term, bool leader, const char *leader_node_id);
    void *arg;
    bus_admit_fn *admit; /* who may open a peer connection; NULL = the managers in the store */
    void *admit_arg;
};
int raftd_open(const struct raftd_spec *spec, struct raftd **ret, struct sw_err *err);
/* First start of a new cluster: write a configuration with this node as the only voter. Before the first raftd_open's loop turn.
 */
int raftd_bootstrap(struct raftd *raftd, struct sw_err *err);
void raftd_close(struct raftd *raftd);

/* Called exactly once: result is NULL and err says why (SW_UNAVAILABLE: not the leader any more; the entry may still commit
 * later). */
typedef void raftd_done_fn(void *arg, uint64_t index, const struct apply_result *result, const struct sw_err *err);
/* Propose a batch. Refused at once (negative) when not leader, over 1.5 MiB, or over 4096 proposals in flight. */
int raftd_propose(struct raftd *raftd, const Swarm__StoreBatch *batch, raftd_done_fn *fn, void *arg, struct sw_err *err);

/* Called exactly once, when the store has applied all that was acknowledged anywhere before the call: a read of the mirror inside
 * fn is current. err: not the leader (any more). */
typedef void raftd_read_fn(void *arg, const struct sw_err *err);
int raftd_read(struct raftd *raftd, raftd_read_fn *fn, void *arg, struct sw_err *err);

/* A Node's manager address or key changed in the store: links to it are made anew. */
void raftd_addresses_changed(struct raftd *raftd);
/* Before each scrape: sets the gauges. */
void raftd_scrape(struct raftd *raftd);

bool raftd_leader(const struct raftd *raftd);
uint64_t raftd_term(const struct raftd *raftd);
uint64_t raftd_commit_index(const struct raftd *raftd);

#endif
