#include "common/base/idmap.h"
#include "common/base/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Index of the first row that is not before id. */
static size_t lower_bound(const struct sw_idmap *map, const char *id)
{
    size_t low = 0, high = map->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(map->rows[middle].id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct sw_idmap_row *find(const struct sw_idmap *map, const char *id)
{
    size_t i = lower_bound(map, id);
    return i < map->count && strcmp(map->rows[i].id, id) == 0 ? &map->rows[i] : NULL;
}

void *sw_idmap_get(const struct sw_idmap *map, const char *id)
{
    const struct sw_idmap_row *row = find(map, id);
    return row != NULL ? row->value : NULL;
}

bool sw_idmap_has(const struct sw_idmap *map, const char *id)
{
    return find(map, id) != NULL;
}

void sw_idmap_put(struct sw_idmap *map, const char *id, void *value)
{
    size_t len = strlen(id);
    assert(len < SW_ID_SIZE);
    size_t i = lower_bound(map, id);
    if (i < map->count && strcmp(map->rows[i].id, id) == 0) {
        map->rows[i].value = value;
        return;
    }
    if (map->count == map->cap) {
        map->cap = map->cap != 0 ? map->cap * 2 : 16;
        map->rows = sw_realloc_array(map->rows, map->cap, sizeof *map->rows);
    }
    memmove(&map->rows[i + 1], &map->rows[i], (map->count - i) * sizeof *map->rows);
    memset(&map->rows[i], 0, sizeof map->rows[i]);
    memcpy(map->rows[i].id, id, len + 1);
    map->rows[i].value = value;
    map->count++;
}

void *sw_idmap_remove(struct sw_idmap *map, const char *id)
{
    struct sw_idmap_row *row = find(map, id);
    if (row == NULL)
        return NULL;
    void *value = row->value;
    size_t i = (size_t)(row - map->rows);
    memmove(row, row + 1, (map->count - i - 1) * sizeof *row);
    map->count--;
    return value;
}

void sw_idmap_clear(struct sw_idmap *map)
{
    map->count = 0;
}

void sw_idmap_deinit(struct sw_idmap *map)
{
    free(map->rows);
    memset(map, 0, sizeof *map);
}
