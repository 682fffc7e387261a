#include "services/scheduler/core/plan.h"

#include "services/scheduler/core/hash.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plan_entry {
    UT_hash_handle hh;
    Swarm__ActionKind kind; /* CREATE, UPDATE or REMOVE */
    Swarm__Table table;
    uint64_t version; /* of the object that was there */
    size_t txn;
    size_t order; /* of first edit: keeps sorting stable */
    size_t index; /* of its transaction in the batch */
    bool overtaken;
    struct sw_buf undo;
    char key[PLAN_KEY_SIZE]; /* table digit, id */
};

static void make_key(char key[PLAN_KEY_SIZE], Swarm__Table table, const char *id)
{
    int len = snprintf(key, PLAN_KEY_SIZE, "%d%s", (int)table, id);
    assert(len > 0 && len < PLAN_KEY_SIZE);
}

static struct plan_entry *find(const struct plan *plan, Swarm__Table table, const char *id)
{
    char key[PLAN_KEY_SIZE];
    if (plan->first == NULL)
        return NULL;
    make_key(key, table, id);
    struct plan_entry *entry = NULL;
    HASH_FIND(hh, plan->first, key, strlen(key), entry);
    return entry;
}

static void entry_free(struct plan *plan, struct plan_entry *entry)
{
    HASH_DEL(plan->first, entry);
    sw_buf_deinit(&entry->undo);
    free(entry);
}

void plan_clear(struct plan *plan)
{
    while (plan->first != NULL)
        entry_free(plan, plan->first);
    free(plan->txn_joined);
    free(plan->sorted);
    sw_pb_free(plan->batch);
    *plan = (struct plan) { 0 };
}

bool plan_empty(const struct plan *plan)
{
    return plan->first == NULL;
}

/* ---- transactions ---- */

void plan_txn(struct plan *plan)
{
    if (plan->txn_count == plan->txn_cap) {
        plan->txn_cap = plan->txn_cap == 0 ? 64 : 2 * plan->txn_cap;
        plan->txn_joined = sw_realloc_array(plan->txn_joined, plan->txn_cap, sizeof *plan->txn_joined);
    }
    plan->txn_joined[plan->txn_count] = plan->txn_count;
    plan->txn_count++;
}

static size_t txn_root(const struct plan *plan, size_t txn)
{
    while (plan->txn_joined[txn] != txn)
        txn = plan->txn_joined[txn];
    return txn;
}

static void txn_join(struct plan *plan, size_t a, size_t b)
{
    size_t low = txn_root(plan, a);
    size_t high = txn_root(plan, b);
    if (low > high) {
        size_t swap = low;
        low = high;
        high = swap;
    }
    plan->txn_joined[high] = low;
}

static struct plan_entry *touch(struct plan *plan, Swarm__Table table, const char *id, const void *old)
{
    assert(plan->sorted == NULL && plan->txn_count > 0);
    struct plan_entry *entry = find(plan, table, id);
    if (entry != NULL) {
        txn_join(plan, entry->txn, plan->txn_count - 1);
        return entry;
    }
    entry = sw_alloc0(sizeof *entry);
    make_key(entry->key, table, id);
    entry->kind = old == NULL ? SWARM__ACTION_KIND__ACTION_CREATE : SWARM__ACTION_KIND__ACTION_UPDATE;
    entry->table = table;
    entry->txn = plan->txn_count - 1;
    entry->order = HASH_COUNT(plan->first);
    if (old != NULL) {
        entry->version = store_object_meta((void *)(uintptr_t)old)->version;
        sw_pb_pack(old, &entry->undo);
    }
    HASH_ADD_KEYPTR(hh, plan->first, entry->key, strlen(entry->key), entry);
    return entry;
}

void plan_edit(struct plan *plan, Swarm__Table table, const char *id, const void *old)
{
    struct plan_entry *entry = touch(plan, table, id, old);
    assert(entry->kind != SWARM__ACTION_KIND__ACTION_REMOVE);
}

void plan_remove(struct plan *plan, Swarm__Table table, const char *id, const void *old)
{
    assert(old != NULL);
    struct plan_entry *entry = touch(plan, table, id, old);
    if (entry->kind == SWARM__ACTION_KIND__ACTION_CREATE)
        entry_free(plan, entry); /* made and unmade in one round: nobody else has seen it */
    else
        entry->kind = SWARM__ACTION_KIND__ACTION_REMOVE;
}

/* ---- sending ---- */

static int by_txn(const void *a, const void *b)
{
    const struct plan_entry *x = *(struct plan_entry *const *)a;
    const struct plan_entry *y = *(struct plan_entry *const *)b;
    if (x->txn != y->txn)
        return x->txn < y->txn ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static void sort_entries(struct plan *plan)
{
    plan->sorted = sw_realloc_array(NULL, HASH_COUNT(plan->first), sizeof(struct plan_entry *));
    for (struct plan_entry *e = plan->first; e != NULL; e = e->hh.next) {
        e->txn = txn_root(plan, e->txn);
        plan->sorted[plan->sorted_count++] = e;
    }
    qsort(plan->sorted, plan->sorted_count, sizeof(struct plan_entry *), by_txn);
}

static Swarm__StoreAction *action_of(const struct plan_entry *entry, const struct mirror *mirror)
{
    const void *object = NULL;
    if (entry->kind != SWARM__ACTION_KIND__ACTION_REMOVE) {
        object = mirror_get(mirror, entry->table, entry->key + 1);
        assert(object != NULL || entry->overtaken);
    }
    /* An object that the feed has removed meanwhile: asking for its removal is refused, which is the answer wanted. */
    Swarm__ActionKind kind = object != NULL ? entry->kind : SWARM__ACTION_KIND__ACTION_REMOVE;
    return store_action_new(kind, entry->table, entry->key + 1, entry->version, object);
}

/* Entries from plan->next of one transaction; adds them to the batch and returns about how many bytes they have. */
static size_t add_txn(struct plan *plan, const struct mirror *mirror)
{
    Swarm__StoreTxn *txn = store_batch_txn(plan->batch);
    size_t id = plan->sorted[plan->next]->txn;
    size_t bytes = 0;
    for (; plan->next < plan->sorted_count && plan->sorted[plan->next]->txn == id; plan->next++) {
        struct plan_entry *entry = plan->sorted[plan->next];
        Swarm__StoreAction *action = action_of(entry, mirror);
        bytes += action->record.len + 64;
        store_txn_add(txn, action);
        entry->index = plan->batch->n_txns - 1;
    }
    return bytes;
}

const Swarm__StoreBatch *plan_next(struct plan *plan, const struct mirror *mirror, int64_t now_ns, uint64_t term)
{
    if (plan->first != NULL && plan->sorted == NULL)
        sort_entries(plan);
    sw_pb_free(plan->batch);
    plan->batch = NULL;
    if (plan->next == plan->sorted_count) {
        plan_clear(plan);
        return NULL;
    }
    plan->batch = store_batch_new(now_ns);
    plan->batch->has_term = true;
    plan->batch->term = term;
    plan->sent = plan->next;
    for (size_t bytes = 0; plan->next < plan->sorted_count && bytes < PLAN_BATCH_BYTES && plan->batch->n_txns < PLAN_BATCH_TXNS;)
        bytes += add_txn(plan, mirror);
    return plan->batch;
}

void plan_overtaken(struct plan *plan, Swarm__Table table, const char *id)
{
    struct plan_entry *entry = find(plan, table, id);
    if (entry != NULL)
        entry->overtaken = true;
}

void plan_result(struct plan *plan, const Swarm__CommitReply *reply, plan_outcome_fn *fn, void *arg)
{
    assert(plan->batch != NULL && reply->n_results == plan->batch->n_txns);
    for (size_t i = plan->sent; i < plan->next; i++) {
        struct plan_entry *entry = plan->sorted[i];
        struct plan_outcome outcome = {
            .table = entry->table,
            .id = entry->key + 1,
            .refused = reply->results[entry->index]->code != 0,
            .overtaken = entry->overtaken,
            .undo = &entry->undo,
        };
        fn(arg, &outcome);
    }
}
