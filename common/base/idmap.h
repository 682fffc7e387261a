/* idmap - an ordered map from object ids to pointers: a sorted array, so that iteration is the same in every run.
 *
 * Cost     get log n; put and remove move the tail (a few microseconds at 10 000 rows).
 * Memory   heap; a zeroed struct is an empty map. Values are the caller's. Any change ends an iteration.
 * Limits   ids of at most SW_ID_LEN characters may be put (asserts); any text may be asked for.
 */
#ifndef SW_IDMAP_H
#define SW_IDMAP_H

#include "common/base/id.h"

struct sw_idmap_row {
    char id[SW_ID_SIZE];
    void *value;
};
struct sw_idmap {
    struct sw_idmap_row *rows; /* rows[0..count), ascending by id */
    size_t count;
    size_t cap;
};

void *sw_idmap_get(const struct sw_idmap *map, const char *id); /* NULL if there is none */
bool sw_idmap_has(const struct sw_idmap *map, const char *id);
void sw_idmap_put(struct sw_idmap *map, const char *id, void *value); /* replaces */
void *sw_idmap_remove(struct sw_idmap *map, const char *id);          /* what was there, or NULL */
void sw_idmap_clear(struct sw_idmap *map);
void sw_idmap_deinit(struct sw_idmap *map); /* values are not freed */

#endif
