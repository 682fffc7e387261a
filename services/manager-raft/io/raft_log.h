/* raft_log - the Raft log, hard state and configuration on disk, in databases of the store's LMDB environment.
 *
 * Databases  raft_log: index -> check sum and encoded RaftEntry; raft_meta: own id, hard state, and the base: index, term and
 *            configuration that the log begins after.
 * Writes     go into the caller's transaction, so that one sync covers the log, the hard state and what is applied to the store.
 * Errors     SW_CORRUPT names the entry whose check sum or order is wrong. A write that fails: end the process.
 */
#ifndef RAFT_LOG_H
#define RAFT_LOG_H

#include "common/store/store.h"
#include "services/manager-raft/core/raft.h"

struct raft_log;
int raft_log_open(struct store *store, struct raft_log **ret_log, struct sw_err *err);
void raft_log_close(struct raft_log *log); /* NULL is fine */

struct raft_log_state {
    uint64_t id; /* 0: this node is in no group yet */
    struct raft_hard hard;
    uint64_t base_index, base_term;
    struct raft_blob *base_config; /* NULL at index 0 */
    struct raft_entry *entries;
    size_t count;
};
int raft_log_load(struct raft_log *log, struct raft_log_state *ret_state, struct sw_err *err);
void raft_log_state_deinit(struct raft_log_state *state);

/* Give an empty log its first content: own id, term 1, entry 1 = the first configuration, committed. A transaction of its own. */
int raft_log_create(struct raft_log *log, uint64_t id, struct raft_blob *config, struct sw_err *err);

/* Entries of the tail from `from` on replace what the log has there (0: none are written); and the hard state. */
int raft_log_write(struct raft_log *log, MDB_txn *txn, const struct raft_tail *tail, uint64_t from, struct raft_hard hard,
                   struct sw_err *err);
/* Drop entries up to `index`, which becomes the base. `config` is the configuration in force there. */
int raft_log_trim(struct raft_log *log, MDB_txn *txn, const struct raft_tail *tail, uint64_t index,
                  const struct raft_blob *config, struct sw_err *err);

#endif
