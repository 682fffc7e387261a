/* omap - an ordered map from text to pointer: a treap whose priorities are a hash of the key, so that its shape, and with it
 * every iteration, depends on the content alone. Part of the mirror; pure.
 *
 * Cost     put, get, del and the next key: O(log n) expected. Ids compare by their first 8 bytes, kept in the node.
 * Memory   keys are copied; values are the caller's.
 */
#ifndef STORE_OMAP_H
#define STORE_OMAP_H

#include <stddef.h>

struct omap_node;
struct omap {
    struct omap_node *root;
    size_t count;
};

void *omap_get(const struct omap *map, const char *key);        /* NULL if there is none */
void *omap_put(struct omap *map, const char *key, void *value); /* the value it replaces, or NULL */
void *omap_del(struct omap *map, const char *key);              /* the value that was there, or NULL */
/* The value of the first key that is not before `key` (omap_from) or after it (omap_after); NULL at the end. The key
 * found goes into *ret_key unless that is NULL. */
void *omap_from(const struct omap *map, const char *key, const char **ret_key);
void *omap_after(const struct omap *map, const char *key, const char **ret_key);
/* Forget all, calling drop (which may be NULL) for each value. */
void omap_clear(struct omap *map, void (*drop)(void *value));

#endif
