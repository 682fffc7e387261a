#include "common/store/mirror.h"

#include "common/store/mirror_swap.h"
#include "common/store/omap.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Tasks of one service or node, sorted. A plain array: a change moves pointers of one service or node only. */
struct task_list {
    const Swarm__Task **items;
    size_t count, room;
};

struct mirror {
    uint64_t version;
    struct omap objects[STORE_TABLES]; /* id -> object */
    struct omap names[STORE_TABLES];   /* lower-case name, 0x01, id -> object */
    struct omap keys;                  /* hex of a node's CURVE key -> node */
    struct omap by_service, by_node;   /* id -> struct task_list */
};

typedef int task_order_fn(const Swarm__Task *a, const Swarm__Task *b);

static int order_by_id(const Swarm__Task *a, const Swarm__Task *b)
{
    return strcmp(a->id, b->id);
}

static int order_by_slot(const Swarm__Task *a, const Swarm__Task *b)
{
    if (a->slot != b->slot)
        return a->slot < b->slot ? -1 : 1;
    return strcmp(a->id, b->id);
}

/* ---- task lists ---- */

/* Where the task is, or would go. */
static size_t list_place(const struct task_list *list, const Swarm__Task *task, task_order_fn *order)
{
    size_t low = 0;
    size_t high = list->count;
    /* New tasks mostly have the greatest slot. */
    if (high > 0 && order(list->items[high - 1], task) < 0)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (order(list->items[middle], task) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void list_add(struct omap *lists, const char *key, const Swarm__Task *task, task_order_fn *order)
{
    struct task_list *list = omap_get(lists, key);
    if (list == NULL) {
        list = sw_alloc0(sizeof *list);
        (void)omap_put(lists, key, list);
    }
    if (list->count == list->room) {
        list->room = list->room == 0 ? 4 : 2 * list->room;
        list->items = sw_realloc_array((void *)list->items, list->room, sizeof *list->items);
    }
    size_t at = list_place(list, task, order);
    memmove((void *)(list->items + at + 1), (const void *)(list->items + at), (list->count - at) * sizeof *list->items);
    list->items[at] = task;
    list->count++;
}

static void list_free(void *value)
{
    struct task_list *list = value;
    free((void *)list->items);
    free(list);
}

static void list_del(struct omap *lists, const char *key, const Swarm__Task *task, task_order_fn *order)
{
    struct task_list *list = omap_get(lists, key);
    assert(list != NULL);
    size_t at = list_place(list, task, order);
    assert(at < list->count && list->items[at] == task);
    list->count--;
    memmove((void *)(list->items + at), (const void *)(list->items + at + 1), (list->count - at) * sizeof *list->items);
    if (list->count == 0)
        list_free(omap_del(lists, key));
}

/* ---- index keys ---- */

static void add_lower(struct sw_buf *buf, const char *text)
{
    for (; *text != '\0'; text++) {
        char c = (char)tolower((unsigned char)*text);
        sw_buf_add(buf, &c, 1);
    }
}

static char *name_key(const char *name, const char *id)
{
    struct sw_buf buf = { 0 };
    add_lower(&buf, name);
    sw_buf_adds(&buf, "\x01");
    sw_buf_adds(&buf, id);
    return sw_buf_take(&buf);
}

static void curve_key_text(const uint8_t *key, char ret[65])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 32; i++) {
        ret[2 * i] = digits[key[i] >> 4];
        ret[2 * i + 1] = digits[key[i] & 15];
    }
    ret[64] = '\0';
}

/* ---- all indexes of one object ---- */

static void index_task(struct mirror *mirror, const Swarm__Task *task, bool add)
{
    bool placed = task->node_id != NULL && task->node_id[0] != '\0';
    if (add) {
        list_add(&mirror->by_service, task->service_id, task, order_by_slot);
        if (placed)
            list_add(&mirror->by_node, task->node_id, task, order_by_id);
        return;
    }
    list_del(&mirror->by_service, task->service_id, task, order_by_slot);
    if (placed)
        list_del(&mirror->by_node, task->node_id, task, order_by_id);
}

static void index_node_key(struct mirror *mirror, Swarm__Node *node, bool add)
{
    if (!node->has_curve_key || node->curve_key.len != 32)
        return;
    char key[65];
    curve_key_text(node->curve_key.data, key);
    if (add)
        (void)omap_put(&mirror->keys, key, node);
    else if (omap_get(&mirror->keys, key) == node)
        (void)omap_del(&mirror->keys, key);
}

static void index_object(struct mirror *mirror, Swarm__Table table, void *object, bool add)
{
    if (table == SWARM__TABLE__TABLE_TASK) {
        index_task(mirror, object, add);
        return;
    }
    if (table == SWARM__TABLE__TABLE_NODE)
        index_node_key(mirror, object, add);
    const char *name = store_object_name(object);
    if (name[0] == '\0')
        return;
    SW_AUTO(sw_free) char *key = name_key(name, store_object_id(object));
    if (add)
        (void)omap_put(&mirror->names[table], key, object);
    else
        (void)omap_del(&mirror->names[table], key);
}

/* ---- life ---- */

struct mirror *mirror_new(void)
{
    return sw_alloc0(sizeof(struct mirror));
}

void mirror_clear(struct mirror *mirror)
{
    for (size_t i = 0; i < STORE_TABLES; i++) {
        omap_clear(&mirror->names[i], NULL);
        omap_clear(&mirror->objects[i], sw_pb_free);
    }
    omap_clear(&mirror->keys, NULL);
    omap_clear(&mirror->by_service, list_free);
    omap_clear(&mirror->by_node, list_free);
    mirror->version = 0;
}

void mirror_free(struct mirror *mirror)
{
    if (mirror == NULL)
        return;
    mirror_clear(mirror);
    free(mirror);
}

uint64_t mirror_version(const struct mirror *mirror)
{
    return mirror->version;
}

void mirror_set_version(struct mirror *mirror, uint64_t version)
{
    mirror->version = version;
}

/* ---- changes ---- */

void *mirror_swap(struct mirror *mirror, Swarm__Table table, const char *id, void *object)
{
    assert(store_table_of(table) != NULL);
    struct omap *objects = &mirror->objects[table];
    void *old = omap_get(objects, id);
    if (old != NULL)
        index_object(mirror, table, old, false);
    if (object != NULL) {
        assert(strcmp(store_object_id(object), id) == 0);
        (void)omap_put(objects, id, object);
        index_object(mirror, table, object, true);
    } else if (old != NULL) {
        (void)omap_del(objects, id);
    }
    return old;
}

void mirror_put(struct mirror *mirror, Swarm__Table table, void *object)
{
    assert(((const ProtobufCMessage *)object)->descriptor == store_table_of(table)->type);
    sw_pb_free(mirror_swap(mirror, table, store_object_id(object), object));
}

void mirror_remove(struct mirror *mirror, Swarm__Table table, const char *id)
{
    sw_pb_free(mirror_swap(mirror, table, id, NULL));
}

static int put_record(struct mirror *mirror, Swarm__Table table, ProtobufCBinaryData record, struct sw_err *err)
{
    const struct store_table *row = store_table_of(table);
    if (row == NULL)
        return sw_fail(err, SW_CORRUPT, "table %d is not known", (int)table);
    void *object = sw_pb_unpack(row->type, record.data, record.len, STORE_RECORD_MAX, err);
    if (object == NULL)
        return sw_fail(err, SW_CORRUPT, "a %s record does not parse", row->word);
    mirror_put(mirror, table, object);
    return 0;
}

int mirror_load(struct mirror *mirror, const Swarm__FeedObject *object, struct sw_err *err)
{
    return put_record(mirror, object->table, object->record, err);
}

int mirror_change(struct mirror *mirror, const Swarm__FeedChange *change, struct sw_err *err)
{
    if (store_table_of(change->table) == NULL)
        return sw_fail(err, SW_CORRUPT, "table %d is not known", (int)change->table);
    if (change->kind == SWARM__ACTION_KIND__ACTION_REMOVE) {
        mirror_remove(mirror, change->table, change->id);
        return 0;
    }
    if (!change->has_record)
        return sw_fail(err, SW_CORRUPT, "change of %s %s has no record", store_table_of(change->table)->word, change->id);
    return put_record(mirror, change->table, change->record, err);
}

/* ---- reads ---- */

const void *mirror_get(const struct mirror *mirror, Swarm__Table table, const char *id)
{
    return id != NULL ? omap_get(&mirror->objects[table], id) : NULL;
}

const Swarm__Cluster *mirror_cluster(const struct mirror *mirror)
{
    return mirror_first(mirror, SWARM__TABLE__TABLE_CLUSTER);
}

const void *mirror_by_name(const struct mirror *mirror, Swarm__Table table, const char *name)
{
    if (name == NULL || name[0] == '\0')
        return NULL;
    SW_AUTO(sw_free) char *from = name_key(name, "");
    const char *found = NULL;
    const void *object = omap_from(&mirror->names[table], from, &found);
    return object != NULL && strncmp(found, from, strlen(from)) == 0 ? object : NULL;
}

const Swarm__Node *mirror_node_by_key(const struct mirror *mirror, const uint8_t curve_key[32])
{
    char key[65];
    curve_key_text(curve_key, key);
    return omap_get(&mirror->keys, key);
}

size_t mirror_count(const struct mirror *mirror, Swarm__Table table)
{
    return mirror->objects[table].count;
}

const void *mirror_first(const struct mirror *mirror, Swarm__Table table)
{
    return omap_from(&mirror->objects[table], "", NULL);
}

const void *mirror_next(const struct mirror *mirror, Swarm__Table table, const void *object)
{
    return omap_after(&mirror->objects[table], store_object_id(object), NULL);
}

static struct mirror_tasks tasks_of(const struct omap *lists, const char *id)
{
    const struct task_list *list = id != NULL ? omap_get(lists, id) : NULL;
    if (list == NULL)
        return (struct mirror_tasks) { NULL, 0 };
    return (struct mirror_tasks) { list->items, list->count };
}

struct mirror_tasks mirror_tasks_of_service(const struct mirror *mirror, const char *service_id)
{
    return tasks_of(&mirror->by_service, service_id);
}

struct mirror_tasks mirror_tasks_of_node(const struct mirror *mirror, const char *node_id)
{
    return tasks_of(&mirror->by_node, node_id);
}
