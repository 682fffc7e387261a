/* idset - a set of ids with a number each, iterated in the order of insertion, so that work is done first come first served.
 *
 * Cost     add, has, del: one hash look-up. Memory: heap; a zeroed struct is empty.
 * Iterate  for (row = set->first; row; row = idset_next(row)); deleting the row at hand ends the iteration.
 */
#ifndef SCHED_IDSET_H
#define SCHED_IDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idset_row;
struct idset {
    struct idset_row *first;
};

bool idset_add(struct idset *set, const char *id, int64_t value); /* false: it was there, and keeps its value */
bool idset_has(const struct idset *set, const char *id);
int64_t idset_get(const struct idset *set, const char *id, int64_t otherwise);
void idset_del(struct idset *set, const char *id); /* absent is fine */
void idset_clear(struct idset *set);
size_t idset_count(const struct idset *set);
struct idset idset_take(struct idset *set); /* all of it; the set is empty after */

struct idset_row *idset_next(const struct idset_row *row);
const char *idset_id(const struct idset_row *row);
int64_t idset_value(const struct idset_row *row);
/* Keep the smaller of the value there and this one: for deadlines. */
void idset_min(struct idset *set, const char *id, int64_t value);

#endif
