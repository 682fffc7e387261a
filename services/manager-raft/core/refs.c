#include "services/manager-raft/core/refs.h"

#include "common/base/buf.h"
#include "common/base/names.h"

#include <string.h>
#include <strings.h>

#define REF_MAX 256

static bool task_has_name(const Swarm__Task *task, const char *name)
{
    size_t len = strlen(task->service_name);
    if (strncasecmp(name, task->service_name, len) != 0 || name[len] != '.')
        return false; /* cheap: most tasks end here, whatever their number */
    SW_AUTO(sw_free) char *own = sw_task_name(task);
    return strcasecmp(own, name) == 0;
}

static bool has_name(Swarm__Table table, const void *object, const char *name)
{
    if (table == SWARM__TABLE__TABLE_TASK)
        return task_has_name(object, name);
    return strcasecmp(store_object_name(object), name) == 0;
}

struct matches {
    const void *first;
    size_t count;
};

static struct matches by_name(const struct mirror *mirror, Swarm__Table table, const char *ref)
{
    struct matches matches = { 0 };
    if (store_table_of(table)->unique_name) {
        matches.first = mirror_by_name(mirror, table, ref);
        matches.count = matches.first != NULL;
        return matches;
    }
    for (const void *o = mirror_first(mirror, table); o != NULL; o = mirror_next(mirror, table, o)) {
        if (!has_name(table, o, ref))
            continue;
        if (matches.count++ == 0)
            matches.first = o;
    }
    return matches;
}

static struct matches by_prefix(const struct mirror *mirror, Swarm__Table table, const char *ref)
{
    struct matches matches = { 0 };
    size_t len = strlen(ref);
    for (const void *o = mirror_first(mirror, table); o != NULL; o = mirror_next(mirror, table, o)) {
        if (strncmp(store_object_id(o), ref, len) != 0)
            continue;
        if (matches.count++ == 0)
            matches.first = o;
    }
    return matches;
}

int refs_find(const struct mirror *mirror, Swarm__Table table, const char *ref, const void **ret_object, struct sw_err *err)
{
    const char *word = store_table_of(table)->word;
    if (ref[0] == '\0' || strlen(ref) > REF_MAX)
        return sw_fail(err, SW_INVALID, "a %s reference must have 1 to %d characters", word, REF_MAX);
    const void *object = mirror_get(mirror, table, ref);
    struct matches matches = { object, object != NULL };
    if (matches.count == 0)
        matches = by_name(mirror, table, ref);
    if (matches.count == 0)
        matches = by_prefix(mirror, table, ref);
    if (matches.count == 0)
        return sw_fail(err, SW_NOT_FOUND, "%s %s not found", word, ref);
    if (matches.count > 1)
        return sw_fail(err, SW_INVALID, "%s %s is ambiguous (%zu matches found)", word, ref, matches.count);
    *ret_object = matches.first;
    return 0;
}

int refs_service(const struct mirror *mirror, const char *ref, const Swarm__Service **ret, struct sw_err *err)
{
    const void *object = NULL;
    int rc = refs_find(mirror, SWARM__TABLE__TABLE_SERVICE, ref, &object, err);
    if (rc == 0)
        *ret = object;
    return rc;
}

int refs_node(const struct mirror *mirror, const char *ref, const Swarm__Node **ret, struct sw_err *err)
{
    const void *object = NULL;
    int rc = refs_find(mirror, SWARM__TABLE__TABLE_NODE, ref, &object, err);
    if (rc == 0)
        *ret = object;
    return rc;
}

int refs_task(const struct mirror *mirror, const char *ref, const Swarm__Task **ret, struct sw_err *err)
{
    const void *object = NULL;
    int rc = refs_find(mirror, SWARM__TABLE__TABLE_TASK, ref, &object, err);
    if (rc == 0)
        *ret = object;
    return rc;
}
