#include "services/manager-raft/core/filters.h"

#include "common/base/buf.h"
#include "common/base/names.h"
#include "services/manager-raft/core/control.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the table of keys: what each means, where it is allowed, which words it takes ---- */

enum key {
    KEY_ID,
    KEY_NAME,
    KEY_LABEL,
    KEY_NODE_LABEL,
    KEY_ROLE,
    KEY_MEMBERSHIP,
    KEY_MODE,
    KEY_RUNTIME,
    KEY_SERVICE,
    KEY_NODE,
    KEY_STATE
};

#define NODES (1u << FILTERS_NODES)
#define SERVICES (1u << FILTERS_SERVICES)
#define TASKS (1u << FILTERS_TASKS)

static const char *const role_words[] = { "worker", "manager", NULL };
static const char *const membership_words[] = { "accepted", "pending", NULL };
static const char *const mode_words[] = { "replicated", "global", "replicated-job", "global-job", NULL };
static const char *const runtime_words[] = { "container", NULL };

static const struct key_row {
    const char *word;
    enum key key;
    unsigned lists;
    const char *const *values; /* NULL = any */
} keys[] = {
    { "id", KEY_ID, NODES | SERVICES | TASKS, NULL },
    { "name", KEY_NAME, NODES | SERVICES | TASKS, NULL },
    { "label", KEY_LABEL, NODES | SERVICES | TASKS, NULL },
    { "node.label", KEY_NODE_LABEL, NODES, NULL },
    { "role", KEY_ROLE, NODES, role_words },
    { "membership", KEY_MEMBERSHIP, NODES, membership_words },
    { "mode", KEY_MODE, SERVICES, mode_words },
    { "runtime", KEY_RUNTIME, SERVICES, runtime_words },
    { "service", KEY_SERVICE, TASKS, NULL },
    { "node", KEY_NODE, TASKS, NULL },
    { "desired-state", KEY_STATE, TASKS, NULL },
};
#define KEYS (sizeof keys / sizeof *keys)

static const struct key_row *row_of(const char *word)
{
    for (size_t i = 0; i < KEYS; i++)
        if (strcmp(keys[i].word, word) == 0)
            return &keys[i];
    return NULL;
}

static bool listed(const char *const *words, const char *word)
{
    for (; *words != NULL; words++)
        if (strcmp(*words, word) == 0)
            return true;
    return false;
}

int filters_check(enum filters_list list, struct filters filters, struct sw_err *err)
{
    if (filters.count > CONTROL_FILTERS_MAX)
        return sw_fail(err, SW_LIMIT, "filters: %zu given, at most %u are allowed", filters.count, CONTROL_FILTERS_MAX);
    for (size_t i = 0; i < filters.count; i++) {
        const Swarm__Filter *filter = filters.items[i];
        const struct key_row *row = row_of(filter->key);
        if (row == NULL || (row->lists & 1u << list) == 0)
            return sw_fail(err, SW_INVALID, "invalid filter '%.64s'", filter->key);
        Swarm__TaskState state;
        if ((row->values != NULL && !listed(row->values, filter->value)) ||
            (row->key == KEY_STATE && !sw_task_state_parse(filter->value, &state)))
            return sw_fail(err, SW_INVALID, "invalid filter '%s=%.64s'", filter->key, filter->value);
    }
    return 0;
}

const char *filters_only(struct filters filters, const char *key)
{
    const char *value = NULL;
    for (size_t i = 0; i < filters.count; i++) {
        if (strcmp(filters.items[i]->key, key) != 0)
            continue;
        if (value != NULL)
            return NULL;
        value = filters.items[i]->value;
    }
    return value;
}

/* ---- matching ---- */

typedef bool value_fn(const void *context, enum key key, const char *value);

/* A key matches if one of its values does; labels if all do. */
static bool matches(struct filters filters, value_fn *fn, const void *context)
{
    bool asked[KEYS] = { 0 };
    bool met[KEYS] = { 0 };
    for (size_t i = 0; i < filters.count; i++) {
        const struct key_row *row = row_of(filters.items[i]->key);
        bool hit = fn(context, row->key, filters.items[i]->value);
        if ((row->key == KEY_LABEL || row->key == KEY_NODE_LABEL) && !hit)
            return false;
        asked[row - keys] = true;
        met[row - keys] |= hit;
    }
    for (size_t i = 0; i < KEYS; i++)
        if (asked[i] && !met[i])
            return false;
    return true;
}

static bool starts(const char *text, const char *prefix)
{
    return text != NULL && strncasecmp(text, prefix, strlen(prefix)) == 0;
}

/* "key" = present, "key=value" = has that value. */
static bool label_matches(Swarm__Pair *const *pairs, size_t count, const char *wanted)
{
    const char *equals = strchr(wanted, '=');
    size_t len = equals != NULL ? (size_t)(equals - wanted) : strlen(wanted);
    for (size_t i = 0; i < count; i++)
        if (strlen(pairs[i]->key) == len && strncmp(pairs[i]->key, wanted, len) == 0)
            return equals == NULL || strcmp(pairs[i]->value, equals + 1) == 0;
    return false;
}

static bool node_value(const void *context, enum key key, const char *value)
{
    const Swarm__Node *node = context;
    switch (key) {
    case KEY_ID:
        return starts(node->id, value);
    case KEY_NAME:
        return starts(store_object_name(node), value);
    case KEY_LABEL:
        return node->description != NULL &&
               label_matches(node->description->engine_labels, node->description->n_engine_labels, value);
    case KEY_NODE_LABEL:
        return label_matches(node->spec->labels, node->spec->n_labels, value);
    case KEY_ROLE:
        return (node->role == SWARM__NODE_ROLE__NODE_MANAGER) == (strcmp(value, "manager") == 0);
    case KEY_MEMBERSHIP:
        return strcmp(value, "accepted") == 0; /* a node object exists only once the node was admitted */
    case KEY_MODE:
    case KEY_RUNTIME:
    case KEY_SERVICE:
    case KEY_NODE:
    case KEY_STATE:
        break;
    }
    return false;
}

bool filters_node(struct filters filters, const Swarm__Node *node)
{
    return matches(filters, node_value, node);
}

static bool service_value(const void *context, enum key key, const char *value)
{
    const Swarm__Service *service = context;
    switch (key) {
    case KEY_ID:
        return starts(service->id, value);
    case KEY_NAME:
        return starts(service->spec->name, value);
    case KEY_LABEL:
        return label_matches(service->spec->labels, service->spec->n_labels, value);
    case KEY_MODE:
        return (unsigned)service->spec->mode->kind < 4 && strcmp(mode_words[service->spec->mode->kind], value) == 0;
    case KEY_RUNTIME:
        return true; /* containers are the only runtime, and filters_check() admits no other word */
    case KEY_NODE_LABEL:
    case KEY_ROLE:
    case KEY_MEMBERSHIP:
    case KEY_SERVICE:
    case KEY_NODE:
    case KEY_STATE:
        break;
    }
    return false;
}

bool filters_service(struct filters filters, const Swarm__Service *service)
{
    return matches(filters, service_value, service);
}

struct task_context {
    const struct mirror *mirror;
    const Swarm__Task *task;
};

static bool task_on_node(const struct task_context *context, const char *value)
{
    const char *node_id = context->task->node_id;
    if (node_id == NULL)
        return false;
    const Swarm__Node *node = mirror_node(context->mirror, node_id);
    return strcmp(node_id, value) == 0 || (node != NULL && strcasecmp(store_object_name(node), value) == 0);
}

static bool task_value(const void *opaque, enum key key, const char *value)
{
    const struct task_context *context = opaque;
    const Swarm__Task *task = context->task;
    switch (key) {
    case KEY_ID:
        return starts(task->id, value);
    case KEY_NAME: {
        SW_AUTO(sw_free) char *name = sw_task_name(task);
        return starts(name, value);
    }
    case KEY_LABEL:
        return label_matches(task->service_labels, task->n_service_labels, value);
    case KEY_SERVICE:
        return strcmp(task->service_id, value) == 0 || strcasecmp(task->service_name, value) == 0;
    case KEY_NODE:
        return task_on_node(context, value);
    case KEY_STATE: {
        Swarm__TaskState state = SWARM__TASK_STATE__TASK_NEW;
        return sw_task_state_parse(value, &state) && task->desired_state == state;
    }
    case KEY_NODE_LABEL:
    case KEY_ROLE:
    case KEY_MEMBERSHIP:
    case KEY_MODE:
    case KEY_RUNTIME:
        break;
    }
    return false;
}

bool filters_task(struct filters filters, const struct mirror *mirror, const Swarm__Task *task)
{
    struct task_context context = { mirror, task };
    return matches(filters, task_value, &context);
}
