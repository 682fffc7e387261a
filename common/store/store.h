/* store - the replicated objects on disk (LMDB), with a mirror in memory in front. manager-raft only.
 *
 * A batch of committed entries and the applied index go into one LMDB transaction, so a restart replays only the log's tail.
 * The environment also holds the Raft log (services/manager-raft/io/raft_log.h): one synced commit covers both where possible.
 * Threads  one. Errors: a failed write leaves mirror and disk as they were before the batch only if the process ends: callers
 * exit.
 */
#ifndef STORE_H
#define STORE_H

#include "common/store/apply.h"

#include <lmdb.h>

struct store;

/* dir is made if absent (0700). map_size bytes of address space; 0 = 16 GiB. */
int store_open(const char *dir, size_t map_size, struct store **ret_store, struct sw_err *err);
void store_close(struct store *store); /* NULL is fine */
MDB_env *store_env(struct store *store);
const struct mirror *store_mirror(const struct store *store);
const char *store_strerror(const struct store *store, int rc); /* what LMDB's code means; says so when the disk is full */
uint64_t store_applied(const struct store *store);             /* index of the last applied entry */

struct store_entry {
    uint64_t index, term;
    const void *data; /* encoded StoreBatch; len 0 = nothing to apply (no-op, configuration) */
    size_t len;
};
/* Called for each entry after the whole group is durable: result.changes for the feed, result.results for the waiter.
 * The entry tells index and term only: its data may be gone by then. */
typedef void store_applied_fn(void *arg, const struct store_entry *entry, const struct apply_result *result);
/* The two halves of store_apply(), for a caller with a write transaction of its own: one sync then covers the log and the store.
 * begin writes records and the applied index into txn and changes the mirror; end is called once txn is committed, calls fn for
 * each entry and frees the group. A txn that does not commit leaves the mirror ahead of the disk: end the process. */
struct store_group;
int store_apply_begin(struct store *store, MDB_txn *txn, const struct store_entry *entries, size_t count,
                      struct store_group **ret_group, struct sw_err *err);
void store_apply_end(struct store *store, struct store_group *group, store_applied_fn *fn, void *arg);
/* Apply a group in one synced transaction: begin, commit, end. */
int store_apply(struct store *store, const struct store_entry *entries, size_t count, store_applied_fn *fn, void *arg,
                struct sw_err *err);

/* Feed snapshot: objects of the wanted tables as FeedSnapshot chunks of about 256 KiB. */
typedef void store_chunk_fn(void *arg, const Swarm__FeedSnapshot *chunk);
void store_snapshot(const struct store *store, const Swarm__Table *tables, size_t count, uint64_t term, bool leader,
                    store_chunk_fn *fn, void *arg);

#endif
