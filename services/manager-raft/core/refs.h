/* refs - what a reference typed by a person means: a full id, else an exact name, else a unique id prefix (control.proto).
 *
 * Nothing found is SW_NOT_FOUND ("service web not found"), several are SW_INVALID ("node worker is ambiguous (2 matches found)").
 * Names: a service's, a node's host name (not unique), a task's "service.slot.id" or "service.node.id".
 */
#ifndef MANAGER_REFS_H
#define MANAGER_REFS_H

#include "common/store/mirror.h"

int refs_find(const struct mirror *mirror, Swarm__Table table, const char *ref, const void **ret_object, struct sw_err *err);
int refs_service(const struct mirror *mirror, const char *ref, const Swarm__Service **ret, struct sw_err *err);
int refs_node(const struct mirror *mirror, const char *ref, const Swarm__Node **ret, struct sw_err *err);
int refs_task(const struct mirror *mirror, const char *ref, const Swarm__Task **ret, struct sw_err *err);

#endif
