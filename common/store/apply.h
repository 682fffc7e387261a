/* apply - what a committed log entry does to the objects: the same on every manager, a function of entry and state only.
 *
 * Rules are in proto/store.proto (StoreAction). A transaction is applied whole or not at all. Uniqueness: ids in a table,
 * names (without regard to case) in service, network, secret, config. meta.version := index, meta.updated_ns := now_ns
 * (created_ns too on CREATE). Published ports: ports.h, for a spec that is new with the write. A spec_version of 0 in a created
 * service, or one equal to UINT64_MAX in an updated one, is replaced by index: that is how a proposer says "the version of this
 * very write" (also for Service.previous_spec_version and Task.spec_version).
 */
#ifndef STORE_APPLY_H
#define STORE_APPLY_H

#include "common/store/mirror.h"

/* What changed, in order; told to feeds and to the LMDB layer. `object` is the mirror's, NULL for REMOVE. */
struct apply_change {
    Swarm__ActionKind kind; /* CREATE, UPDATE or REMOVE */
    Swarm__Table table;
    const char *id;
    const void *object;
};
struct apply_result {
    struct apply_change *changes;
    size_t change_count;
    Swarm__TxnResult **results; /* one a transaction */
    size_t result_count;
    void **retired; /* objects that were replaced or removed: kept until deinit, since changes may point to them */
    size_t retired_count;
};
/* entry_term is the term of the log entry: a batch with another term is refused whole (each result SW_FENCED).
 * The result is freed by apply_result_deinit(); it points into the mirror until its next change. */
void apply_batch(struct mirror *mirror, uint64_t index, uint64_t entry_term, const Swarm__StoreBatch *batch,
                 struct apply_result *ret);
void apply_result_deinit(struct apply_result *result);

#endif
