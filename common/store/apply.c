#include "common/store/apply.h"

#include "common/store/mirror_swap.h"
#include "common/store/ports.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX 64 /* bytes an object id may have */

/* One batch on its way into the mirror. Transactions are applied action by action; what each replaced is kept, so that a
 * refused one is undone by putting it back. */
struct apply {
    struct mirror *mirror;
    uint64_t index;
    int64_t now_ns;
    struct apply_result *result;
};

/* ---- the growing lists of the result ---- */

static void *grown(void *items, size_t count, size_t size)
{
    if (count != 0 && (count & (count - 1)) != 0)
        return items;
    return sw_realloc_array(items, count == 0 ? 1 : 2 * count, size);
}

static void retire(struct apply_result *result, void *object)
{
    result->retired = grown(result->retired, result->retired_count, sizeof *result->retired);
    result->retired[result->retired_count++] = object;
}

/* Make `object` (taken; NULL = remove) the stored one and note the change; the old one goes to the retired, NULL included, so
 * that changes and retired objects run in step. */
static void change(struct apply *self, Swarm__ActionKind kind, Swarm__Table table, const char *id, void *object)
{
    struct apply_result *result = self->result;
    assert(result->change_count == result->retired_count);
    void *old = mirror_swap(self->mirror, table, id, object);
    retire(result, old);
    result->changes = grown(result->changes, result->change_count, sizeof *result->changes);
    const void *alive = object != NULL ? object : old;
    result->changes[result->change_count++] = (struct apply_change) {
        .kind = kind,
        .table = table,
        .id = store_object_id(alive),
        .object = object,
    };
}

/* Undo all changes from `mark` on, newest first. */
static void undo(struct apply *self, size_t mark)
{
    struct apply_result *result = self->result;
    while (result->change_count > mark) {
        const struct apply_change *last = &result->changes[--result->change_count];
        void *old = result->retired[--result->retired_count];
        void *undone = mirror_swap(self->mirror, last->table, last->id, old);
        sw_pb_free(undone);
    }
}

/* ---- checks and the fields that apply itself sets ---- */

static int unpack(const Swarm__StoreAction *action, void **ret_object, struct sw_err *err)
{
    const struct store_table *row = store_table_of(action->table);
    if (!action->has_record)
        return sw_fail(err, SW_INVALID, "%s %s: the action has no record", row->word, action->id);
    void *object = sw_pb_unpack(row->type, action->record.data, action->record.len, STORE_RECORD_MAX, err);
    if (object == NULL)
        return sw_wrap(err, "%s %s", row->word, action->id);
    if (strcmp(store_object_id(object), action->id) != 0) {
        sw_pb_free(object);
        return sw_fail(err, SW_INVALID, "%s %s: the record has another id", row->word, action->id);
    }
    *ret_object = object;
    return 0;
}

static int check_name(const struct apply *self, const struct store_table *row, const void *object, struct sw_err *err)
{
    if (!row->unique_name)
        return 0;
    const char *name = store_object_name(object);
    const void *other = mirror_by_name(self->mirror, row->table, name);
    if (other == NULL || strcmp(store_object_id(other), store_object_id(object)) == 0)
        return 0;
    return sw_fail(err, SW_EXISTS, "name conflicts with an existing object: %s %s already exists", row->word, name);
}

static int check_size(const struct store_table *row, const void *object, struct sw_err *err)
{
    size_t size = protobuf_c_message_get_packed_size(object);
    if (size <= STORE_RECORD_MAX)
        return 0;
    return sw_fail(err, SW_LIMIT, "%s %s has %zu bytes, at most %u are allowed", row->word, store_object_id(object), size,
                   STORE_RECORD_MAX);
}

/* "The version of this very write." */
static void set_spec_versions(const struct apply *self, Swarm__Table table, void *object, bool created)
{
    if (table == SWARM__TABLE__TABLE_SERVICE) {
        Swarm__Service *service = object;
        if (service->spec_version == UINT64_MAX || (created && service->spec_version == 0))
            service->spec_version = self->index;
        if (service->has_previous_spec_version && service->previous_spec_version == UINT64_MAX)
            service->previous_spec_version = self->index;
    } else if (table == SWARM__TABLE__TABLE_TASK) {
        Swarm__Task *task = object;
        if (task->spec_version == UINT64_MAX || (created && task->spec_version == 0))
            task->spec_version = self->index;
    }
}

/* Only what comes with this very write is judged: a scheduler that goes back to an older spec waits for its ports instead. */
static int check_ports(const struct apply *self, const struct store_table *row, const void *object, const void *old,
                       struct sw_err *err)
{
    if (row->table != SWARM__TABLE__TABLE_SERVICE)
        return 0;
    const Swarm__Service *service = object;
    const Swarm__Service *before = old;
    if (service->spec_version != self->index || (before != NULL && sw_pb_equal(before->spec->endpoint, service->spec->endpoint)))
        return 0;
    return store_ports_check(self->mirror, service->id, service->spec->endpoint, err);
}

static void set_meta(const struct apply *self, void *object, int64_t created_ns)
{
    Swarm__Meta *meta = store_object_meta(object);
    meta->version = self->index;
    meta->created_ns = created_ns;
    meta->updated_ns = self->now_ns;
}

/* ---- the five actions ---- */

static int do_create(struct apply *self, const struct store_table *row, const Swarm__StoreAction *action, struct sw_err *err)
{
    if (action->id[0] == '\0' || strlen(action->id) > ID_MAX)
        return sw_fail(err, SW_INVALID, "%s id must have 1 to %d characters", row->word, ID_MAX);
    SW_AUTO(sw_pb_free) void *object = NULL;
    int rc = unpack(action, &object, err);
    if (rc != 0)
        return rc;
    if (mirror_get(self->mirror, row->table, action->id) != NULL)
        return sw_fail(err, SW_EXISTS, "%s %s already exists", row->word, action->id);
    if (row->table == SWARM__TABLE__TABLE_CLUSTER && mirror_cluster(self->mirror) != NULL)
        return sw_fail(err, SW_EXISTS, "the cluster object already exists");
    rc = check_name(self, row, object, err);
    if (rc != 0)
        return rc;
    set_meta(self, object, self->now_ns);
    set_spec_versions(self, row->table, object, true);
    rc = check_ports(self, row, object, NULL, err);
    if (rc == 0)
        rc = check_size(row, object, err);
    if (rc != 0)
        return rc;
    change(self, SWARM__ACTION_KIND__ACTION_CREATE, row->table, action->id, SW_TAKE(object));
    return 0;
}

/* The stored object an UPDATE or REMOVE means, its version checked. */
static int stored(const struct apply *self, const struct store_table *row, const Swarm__StoreAction *action, void **ret,
                  struct sw_err *err)
{
    void *old = (void *)mirror_get(self->mirror, row->table, action->id);
    if (old == NULL)
        return sw_fail(err, SW_NOT_FOUND, "%s %s not found", row->word, action->id);
    uint64_t version = store_object_meta(old)->version;
    if (action->has_version && action->version != version)
        return sw_fail(err, SW_CONFLICT, "update out of sequence: %s %s has version %" PRIu64 ", not %" PRIu64, row->word,
                       action->id, version, action->version);
    *ret = old;
    return 0;
}

/* Observed states only grow, whoever writes them. */
static int check_task(const Swarm__Task *old, const Swarm__Task *task, struct sw_err *err)
{
    if (task->status->state >= old->status->state)
        return 0;
    return sw_fail(err, SW_CONFLICT, "update out of sequence: task %s: state %d would go back to %d", old->id,
                   (int)old->status->state, (int)task->status->state);
}

static int do_update(struct apply *self, const struct store_table *row, const Swarm__StoreAction *action, struct sw_err *err)
{
    void *old = NULL;
    int rc = stored(self, row, action, &old, err);
    if (rc != 0)
        return rc;
    SW_AUTO(sw_pb_free) void *object = NULL;
    rc = unpack(action, &object, err);
    if (rc != 0)
        return rc;
    if (row->table == SWARM__TABLE__TABLE_TASK && (rc = check_task(old, object, err)) != 0)
        return rc;
    rc = check_name(self, row, object, err);
    if (rc != 0)
        return rc;
    set_meta(self, object, store_object_meta(old)->created_ns);
    set_spec_versions(self, row->table, object, false);
    rc = check_ports(self, row, object, old, err);
    if (rc == 0)
        rc = check_size(row, object, err);
    if (rc != 0)
        return rc;
    change(self, SWARM__ACTION_KIND__ACTION_UPDATE, row->table, action->id, SW_TAKE(object));
    return 0;
}

static int do_remove(struct apply *self, const struct store_table *row, const Swarm__StoreAction *action, struct sw_err *err)
{
    void *old = NULL;
    int rc = stored(self, row, action, &old, err);
    if (rc != 0)
        return rc;
    change(self, SWARM__ACTION_KIND__ACTION_REMOVE, row->table, action->id, NULL);
    return 0;
}

/* Put a status in place of the stored object's, unless that changes nothing. */
static int put_changed(struct apply *self, const struct store_table *row, const void *old, void *object, struct sw_err *err)
{
    SW_AUTO(sw_pb_free) void *taken = object;
    if (sw_pb_equal(old, taken))
        return 0;
    set_meta(self, taken, store_object_meta((void *)old)->created_ns);
    int rc = check_size(row, taken, err);
    if (rc != 0)
        return rc;
    const char *id = store_object_id(taken);
    change(self, SWARM__ACTION_KIND__ACTION_UPDATE, row->table, id, SW_TAKE(taken));
    return 0;
}

static int do_task_status(struct apply *self, const struct store_table *row, const Swarm__StoreAction *action, struct sw_err *err)
{
    if (row->table != SWARM__TABLE__TABLE_TASK)
        return sw_fail(err, SW_INVALID, "a task status is for tasks, not for a %s", row->word);
    SW_AUTO(sw_pb_free) void *object = NULL;
    int rc = unpack(action, &object, err);
    if (rc != 0)
        return rc;
    Swarm__Task *report = object;
    const Swarm__Task *old = mirror_get(self->mirror, row->table, action->id);
    if (old == NULL || old->node_id == NULL || report->node_id == NULL || strcmp(old->node_id, report->node_id) != 0 ||
        report->status->state < old->status->state)
        return 0; /* late news of a task that is gone, elsewhere or further */
    Swarm__Task *task = sw_pb_clone(old);
    sw_pb_free(task->status);
    task->status = SW_TAKE(report->status);
    return put_changed(self, row, old, task, err);
}

static int do_node_status(struct apply *self, const struct store_table *row, const Swarm__StoreAction *action, struct sw_err *err)
{
    if (row->table != SWARM__TABLE__TABLE_NODE)
        return sw_fail(err, SW_INVALID, "a node status is for nodes, not for a %s", row->word);
    SW_AUTO(sw_pb_free) void *object = NULL;
    int rc = unpack(action, &object, err);
    if (rc != 0)
        return rc;
    Swarm__Node *report = object;
    const Swarm__Node *old = mirror_get(self->mirror, row->table, action->id);
    if (old == NULL)
        return 0;
    Swarm__Node *node = sw_pb_clone(old);
    if (report->status != NULL) {
        sw_pb_free(node->status);
        node->status = SW_TAKE(report->status);
    }
    if (report->description != NULL) {
        sw_pb_free(node->description);
        node->description = SW_TAKE(report->description);
    }
    return put_changed(self, row, old, node, err);
}

/* ---- transactions and batches ---- */

static int do_action(struct apply *self, const Swarm__StoreAction *action, struct sw_err *err)
{
    const struct store_table *row = store_table_of(action->table);
    if (row == NULL)
        return sw_fail(err, SW_INVALID, "table %d is not known", (int)action->table);
    switch (action->kind) {
    case SWARM__ACTION_KIND__ACTION_CREATE:
        return do_create(self, row, action, err);
    case SWARM__ACTION_KIND__ACTION_UPDATE:
        return do_update(self, row, action, err);
    case SWARM__ACTION_KIND__ACTION_REMOVE:
        return do_remove(self, row, action, err);
    case SWARM__ACTION_KIND__ACTION_TASK_STATUS:
        return do_task_status(self, row, action, err);
    case SWARM__ACTION_KIND__ACTION_NODE_STATUS:
        return do_node_status(self, row, action, err);
    case _SWARM__ACTION_KIND_IS_INT_SIZE:
        break;
    }
    return sw_fail(err, SW_INVALID, "action kind %d is not known", (int)action->kind);
}

static int do_txn(struct apply *self, const Swarm__StoreTxn *txn, struct sw_err *err)
{
    size_t mark = self->result->change_count;
    for (size_t i = 0; i < txn->n_actions; i++) {
        int rc = do_action(self, txn->actions[i], err);
        if (rc != 0) {
            undo(self, mark);
            return rc;
        }
    }
    return 0;
}

static void add_result(struct apply_result *result, int rc, const struct sw_err *err)
{
    Swarm__TxnResult *one = sw_alloc0(sizeof *one);
    swarm__txn_result__init(one);
    one->code = -rc;
    if (rc != 0)
        one->error = sw_strdup(err->text);
    result->results = grown(result->results, result->result_count, sizeof *result->results);
    result->results[result->result_count++] = one;
}

void apply_batch(struct mirror *mirror, uint64_t index, uint64_t entry_term, const Swarm__StoreBatch *batch,
                 struct apply_result *ret)
{
    assert(index > mirror_version(mirror));
    *ret = (struct apply_result) { 0 };
    struct apply self = { .mirror = mirror, .index = index, .now_ns = batch->now_ns, .result = ret };
    bool fenced = batch->has_term && batch->term != entry_term;
    for (size_t i = 0; i < batch->n_txns; i++) {
        struct sw_err err = { 0 };
        int rc = fenced
                     ? sw_fail(&err, SW_FENCED, "written under term %" PRIu64 ", the term is %" PRIu64, batch->term, entry_term)
                     : do_txn(&self, batch->txns[i], &err);
        add_result(ret, rc, &err);
    }
    mirror_set_version(mirror, index);
}

void apply_result_deinit(struct apply_result *result)
{
    for (size_t i = 0; i < result->result_count; i++)
        sw_pb_free(result->results[i]);
    for (size_t i = 0; i < result->retired_count; i++)
        sw_pb_free(result->retired[i]);
    free(result->results);
    free(result->retired);
    free(result->changes);
    *result = (struct apply_result) { 0 };
}
