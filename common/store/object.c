#include "common/store/object.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const struct store_table tables[STORE_TABLES] = {
    { SWARM__TABLE__TABLE_CLUSTER, "cluster", &swarm__cluster__descriptor, false },
    { SWARM__TABLE__TABLE_NODE, "node", &swarm__node__descriptor, false },
    { SWARM__TABLE__TABLE_SERVICE, "service", &swarm__service__descriptor, true },
    { SWARM__TABLE__TABLE_TASK, "task", &swarm__task__descriptor, false },
    { SWARM__TABLE__TABLE_NETWORK, "network", &swarm__network__descriptor, true },
    { SWARM__TABLE__TABLE_SECRET, "secret", &swarm__secret__descriptor, true },
    { SWARM__TABLE__TABLE_CONFIG, "config", &swarm__config__descriptor, true },
};

/* Every object message has `id` and `meta` as its first two fields: that is what makes the generic code below sound. */
struct head {
    ProtobufCMessage base;
    char *id;
    Swarm__Meta *meta;
};
#define HEAD_FITS(type)                                                                                                          \
    _Static_assert(offsetof(type, id) == offsetof(struct head, id) && offsetof(type, meta) == offsetof(struct head, meta),       \
                   "an object starts with id and meta")
HEAD_FITS(Swarm__Cluster);
HEAD_FITS(Swarm__Node);
HEAD_FITS(Swarm__Service);
HEAD_FITS(Swarm__Task);
HEAD_FITS(Swarm__Network);
HEAD_FITS(Swarm__Secret);
HEAD_FITS(Swarm__Config);

const struct store_table *store_table_of(Swarm__Table table)
{
    for (size_t i = 0; i < STORE_TABLES; i++)
        if (tables[i].table == table)
            return &tables[i];
    return NULL;
}

const char *store_object_id(const void *object)
{
    return ((const struct head *)object)->id;
}

Swarm__Meta *store_object_meta(void *object)
{
    return ((struct head *)object)->meta;
}

const char *store_object_name(const void *object)
{
    const ProtobufCMessageDescriptor *type = ((const ProtobufCMessage *)object)->descriptor;
    const char *name = NULL;
    if (type == &swarm__service__descriptor)
        name = ((const Swarm__Service *)object)->spec->name;
    else if (type == &swarm__network__descriptor)
        name = ((const Swarm__Network *)object)->spec->name;
    else if (type == &swarm__secret__descriptor)
        name = ((const Swarm__Secret *)object)->spec->name;
    else if (type == &swarm__config__descriptor)
        name = ((const Swarm__Config *)object)->spec->name;
    else if (type == &swarm__node__descriptor && ((const Swarm__Node *)object)->description != NULL)
        name = ((const Swarm__Node *)object)->description->hostname;
    return name != NULL ? name : "";
}

Swarm__StoreAction *store_action_new(Swarm__ActionKind kind, Swarm__Table table, const char *id, uint64_t version,
                                     const void *object)
{
    assert(object == NULL || ((const ProtobufCMessage *)object)->descriptor == store_table_of(table)->type);
    Swarm__StoreAction *action = sw_alloc0(sizeof *action);
    swarm__store_action__init(action);
    action->kind = kind;
    action->table = table;
    action->id = sw_strdup(id);
    action->has_version = version != 0;
    action->version = version;
    if (object != NULL) {
        struct sw_buf buf = { 0 };
        sw_pb_pack(object, &buf);
        action->has_record = true;
        action->record.len = buf.len;
        action->record.data = (uint8_t *)sw_buf_take(&buf);
    }
    return action;
}

void store_object_take_spec(Swarm__Service *service, Swarm__ServiceSpec *spec)
{
    sw_pb_free(service->update_status);
    service->update_status = NULL;
    if (sw_pb_equal(service->spec, spec)) {
        sw_pb_free(spec);
        return;
    }
    sw_pb_free(service->previous_spec);
    service->previous_spec = service->spec;
    service->has_previous_spec_version = true;
    service->previous_spec_version = service->spec_version;
    service->spec = spec;
    service->spec_version = UINT64_MAX; /* of this very write */
}

Swarm__StoreBatch *store_batch_new(int64_t now_ns)
{
    Swarm__StoreBatch *batch = sw_alloc0(sizeof *batch);
    swarm__store_batch__init(batch);
    batch->now_ns = now_ns;
    return batch;
}

/* Lists grow by doubling: room is full when the count is a power of two. */
static void *grown(void *items, size_t count)
{
    if (count != 0 && (count & (count - 1)) != 0)
        return items;
    return sw_realloc_array(items, count == 0 ? 1 : 2 * count, sizeof(void *));
}

Swarm__StoreTxn *store_batch_txn(Swarm__StoreBatch *batch)
{
    Swarm__StoreTxn *txn = sw_alloc0(sizeof *txn);
    swarm__store_txn__init(txn);
    batch->txns = grown(batch->txns, batch->n_txns);
    batch->txns[batch->n_txns++] = txn;
    return txn;
}

void store_txn_add(Swarm__StoreTxn *txn, Swarm__StoreAction *action)
{
    txn->actions = grown(txn->actions, txn->n_actions);
    txn->actions[txn->n_actions++] = action;
}
