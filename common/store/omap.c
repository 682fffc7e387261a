#include "common/store/omap.h"

#include "common/base/buf.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct omap_node {
    struct omap_node *left, *right;
    uint64_t priority;
    uint64_t head; /* first 8 bytes of the key, big-endian: most comparisons end here */
    void *value;
    char key[];
};

struct probe {
    const char *key;
    uint64_t head;
};

static struct probe probe_of(const char *key)
{
    struct probe probe = { .key = key };
    size_t len = strnlen(key, 8);
    for (size_t i = 0; i < 8; i++)
        probe.head = probe.head << 8 | (i < len ? (unsigned char)key[i] : 0);
    return probe;
}

static int compare(struct probe probe, const struct omap_node *node)
{
    if (probe.head != node->head)
        return probe.head < node->head ? -1 : 1;
    return strcmp(probe.key, node->key);
}

/* FNV-1a, then a finalizer so that near keys get far priorities. */
static uint64_t priority_of(const char *key)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const unsigned char *p = (const unsigned char *)key; *p != '\0'; p++)
        hash = (hash ^ *p) * UINT64_C(0x100000001b3);
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

static struct omap_node *find(const struct omap *map, const char *key)
{
    struct probe probe = probe_of(key);
    struct omap_node *node = map->root;
    while (node != NULL) {
        int order = compare(probe, node);
        if (order == 0)
            return node;
        node = order < 0 ? node->left : node->right;
    }
    return NULL;
}

void *omap_get(const struct omap *map, const char *key)
{
    const struct omap_node *node = find(map, key);
    return node != NULL ? node->value : NULL;
}

/* Split a tree that does not hold the key into what is before it and what is after it. */
static void split(struct omap_node *node, struct probe probe, struct omap_node **ret_before, struct omap_node **ret_after)
{
    while (node != NULL) {
        if (compare(probe, node) < 0) {
            *ret_after = node;
            ret_after = &node->left;
            node = node->left;
        } else {
            *ret_before = node;
            ret_before = &node->right;
            node = node->right;
        }
    }
    *ret_before = NULL;
    *ret_after = NULL;
}

static struct omap_node *merged(struct omap_node *before, struct omap_node *after)
{
    struct omap_node *root = NULL;
    struct omap_node **slot = &root;
    while (before != NULL && after != NULL) {
        if (before->priority >= after->priority) {
            *slot = before;
            slot = &before->right;
            before = before->right;
        } else {
            *slot = after;
            slot = &after->left;
            after = after->left;
        }
    }
    *slot = before != NULL ? before : after;
    return root;
}

void *omap_put(struct omap *map, const char *key, void *value)
{
    assert(value != NULL);
    struct omap_node *old = find(map, key);
    if (old != NULL) {
        void *was = old->value;
        old->value = value;
        return was;
    }
    size_t size = strlen(key) + 1;
    struct omap_node *node = sw_alloc0(sizeof *node + size);
    memcpy(node->key, key, size);
    struct probe probe = probe_of(key);
    node->head = probe.head;
    node->priority = priority_of(key);
    node->value = value;
    struct omap_node **slot = &map->root;
    while (*slot != NULL && (*slot)->priority >= node->priority)
        slot = compare(probe, *slot) < 0 ? &(*slot)->left : &(*slot)->right;
    split(*slot, probe, &node->left, &node->right);
    *slot = node;
    map->count++;
    return NULL;
}

void *omap_del(struct omap *map, const char *key)
{
    struct probe probe = probe_of(key);
    struct omap_node **slot = &map->root;
    while (*slot != NULL) {
        int order = compare(probe, *slot);
        if (order == 0)
            break;
        slot = order < 0 ? &(*slot)->left : &(*slot)->right;
    }
    struct omap_node *node = *slot;
    if (node == NULL)
        return NULL;
    *slot = merged(node->left, node->right);
    void *value = node->value;
    free(node);
    map->count--;
    return value;
}

static void *bound(const struct omap *map, const char *key, bool same_counts, const char **ret_key)
{
    struct probe probe = probe_of(key);
    const struct omap_node *best = NULL;
    for (const struct omap_node *node = map->root; node != NULL;) {
        int order = compare(probe, node);
        if (order < 0 || (order == 0 && same_counts)) {
            best = node;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    if (best == NULL)
        return NULL;
    if (ret_key != NULL)
        *ret_key = best->key;
    return best->value;
}

void *omap_from(const struct omap *map, const char *key, const char **ret_key)
{
    return bound(map, key, true, ret_key);
}

void *omap_after(const struct omap *map, const char *key, const char **ret_key)
{
    return bound(map, key, false, ret_key);
}

void omap_clear(struct omap *map, void (*drop)(void *value))
{
    struct omap_node *node = map->root;
    /* Rotate left children up until there is none: no recursion, whatever the depth. */
    while (node != NULL) {
        if (node->left != NULL) {
            struct omap_node *left = node->left;
            node->left = left->right;
            left->right = node;
            node = left;
            continue;
        }
        struct omap_node *right = node->right;
        if (drop != NULL)
            drop(node->value);
        free(node);
        node = right;
    }
    *map = (struct omap) { 0 };
}
