/* plan - what one round of decisions changes: which objects, in which transactions, and how to take it back.
 *
 * A decision is put into the mirror at once, so that the next loop of the round sees it; the plan remembers what was there.
 * At the end of the round the plan becomes batches, sent one after the other. A refused transaction is taken back, unless the
 * feed has told the object's true state meanwhile. While a plan is under way nothing new is decided.
 *
 * Atomic   what is edited between two plan_txn() calls is one transaction. Editing an object of an earlier transaction of the
 *          round joins the two.
 * Limits   PLAN_BATCH_BYTES and PLAN_BATCH_TXNS a batch: below the log's limit for one entry.
 */
#ifndef SCHED_PLAN_H
#define SCHED_PLAN_H

#include "common/store/mirror.h"

#define PLAN_BATCH_BYTES (512u << 10) /* a transaction goes over it: a few objects of 256 KiB and more */
#define PLAN_BATCH_TXNS 4096
#define PLAN_KEY_SIZE 72

struct plan_entry;
struct plan {
    struct plan_entry *first; /* by key, in the order of first edit */
    size_t *txn_joined;       /* union-find over transactions */
    size_t txn_count, txn_cap;
    struct plan_entry **sorted; /* by transaction, once built */
    size_t sorted_count;
    size_t next;              /* first entry of sorted that is not sent yet */
    size_t sent;              /* first entry of the batch under way */
    Swarm__StoreBatch *batch; /* under way, or NULL */
};

void plan_clear(struct plan *plan);
bool plan_empty(const struct plan *plan);

/* ---- while deciding: call before the mirror changes; `old` is the object there, NULL when it is new ---- */
void plan_txn(struct plan *plan);
void plan_edit(struct plan *plan, Swarm__Table table, const char *id, const void *old);
void plan_remove(struct plan *plan, Swarm__Table table, const char *id, const void *old);

/* ---- sending ---- */
/* The next batch, or NULL when all is sent (then the plan is empty again). Owned by the plan until the next call. */
const Swarm__StoreBatch *plan_next(struct plan *plan, const struct mirror *mirror, int64_t now_ns, uint64_t term);
/* The feed has told this object's true state. */
void plan_overtaken(struct plan *plan, Swarm__Table table, const char *id);

/* How the objects of the batch under way fared, one call each. `undo` is the encoded former object (empty: there was none). */
struct plan_outcome {
    Swarm__Table table;
    const char *id;
    bool refused;   /* take it back */
    bool overtaken; /* the mirror holds the truth already: leave it */
    const struct sw_buf *undo;
};
typedef void plan_outcome_fn(void *arg, const struct plan_outcome *outcome);
/* results has one code a transaction of the batch. */
void plan_result(struct plan *plan, const Swarm__CommitReply *reply, plan_outcome_fn *fn, void *arg);

#endif
