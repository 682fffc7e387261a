/* filters - list filters (cli-surface 2.5). Kinds AND together, values of one kind OR; labels all must match.
 *
 * filters_check() refuses a key that the list does not know ("invalid filter 'foo'") and a value that can mean nothing, before
 * anything is looked at; the match functions assume that it was called.
 */
#ifndef MANAGER_FILTERS_H
#define MANAGER_FILTERS_H

#include "common/store/mirror.h"
#include "proto/control.pb-c.h"

enum filters_list { FILTERS_NODES, FILTERS_SERVICES, FILTERS_TASKS };

struct filters {
    Swarm__Filter *const *items;
    size_t count;
};

int filters_check(enum filters_list list, struct filters filters, struct sw_err *err);
bool filters_node(struct filters filters, const Swarm__Node *node);
bool filters_service(struct filters filters, const Swarm__Service *service);
/* `service` and `node` values are ids or names; mirror resolves them. */
bool filters_task(struct filters filters, const struct mirror *mirror, const Swarm__Task *task);
/* The only value of a key, or NULL: lets a list start from an index. */
const char *filters_only(struct filters filters, const char *key);

#endif
