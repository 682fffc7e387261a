/* mirror_swap - the mirror's one way to change, for apply.c alone: the object that was there comes back instead of being
 * freed, so that a refused transaction can put it back and a change can be told with what it pointed to.
 */
#ifndef STORE_MIRROR_SWAP_H
#define STORE_MIRROR_SWAP_H

#include "common/store/mirror.h"

/* Put object (taken; NULL = remove) under id; returns the former object, now the caller's, or NULL. */
void *mirror_swap(struct mirror *mirror, Swarm__Table table, const char *id, void *object);

#endif
