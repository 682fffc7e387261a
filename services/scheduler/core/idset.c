#include "services/scheduler/core/idset.h"

#include "common/base/buf.h"
#include "services/scheduler/core/hash.h"

#include <stdlib.h>
#include <string.h>

struct idset_row {
    UT_hash_handle hh;
    int64_t value;
    char id[];
};

static struct idset_row *find(const struct idset *set, const char *id)
{
    struct idset_row *row = NULL;
    HASH_FIND(hh, set->first, id, strlen(id), row);
    return row;
}

bool idset_add(struct idset *set, const char *id, int64_t value)
{
    if (find(set, id) != NULL)
        return false;
    size_t len = strlen(id);
    struct idset_row *row = sw_alloc0(sizeof *row + len + 1);
    memcpy(row->id, id, len + 1);
    row->value = value;
    HASH_ADD_KEYPTR(hh, set->first, row->id, len, row);
    return true;
}

bool idset_has(const struct idset *set, const char *id)
{
    return find(set, id) != NULL;
}

int64_t idset_get(const struct idset *set, const char *id, int64_t otherwise)
{
    const struct idset_row *row = find(set, id);
    return row != NULL ? row->value : otherwise;
}

void idset_del(struct idset *set, const char *id)
{
    struct idset_row *row = find(set, id);
    if (row == NULL)
        return;
    HASH_DEL(set->first, row);
    free(row);
}

void idset_clear(struct idset *set)
{
    struct idset_row *row = NULL;
    struct idset_row *next = NULL;
    HASH_ITER(hh, set->first, row, next)
    {
        HASH_DEL(set->first, row);
        free(row);
    }
}

size_t idset_count(const struct idset *set)
{
    return HASH_COUNT(set->first);
}

struct idset idset_take(struct idset *set)
{
    struct idset all = *set;
    set->first = NULL;
    return all;
}

struct idset_row *idset_next(const struct idset_row *row)
{
    return row->hh.next;
}

const char *idset_id(const struct idset_row *row)
{
    return row->id;
}

int64_t idset_value(const struct idset_row *row)
{
    return row->value;
}

void idset_min(struct idset *set, const char *id, int64_t value)
{
    struct idset_row *row = find(set, id);
    if (row == NULL)
        (void)idset_add(set, id, value);
    else if (value < row->value)
        row->value = value;
}
