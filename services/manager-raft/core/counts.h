/* counts - how many tasks of a service run, and how many should (swarm-semantics 7.3, ListServiceStatuses).
 *
 * Running: observed RUNNING, except on a node that is down. Desired: the replicas; for a global service its tasks that are
 * meant to run; for jobs what may run at once. Completed: jobs only, of the current iteration.
 */
#ifndef MANAGER_COUNTS_H
#define MANAGER_COUNTS_H

#include "common/store/mirror.h"
#include "proto/control.pb-c.h"

void counts_of(const struct mirror *mirror, const Swarm__Service *service, Swarm__ServiceCount *ret);
/* The node is there and has not been lost. */
bool counts_node_up(const struct mirror *mirror, const char *node_id);

#endif
