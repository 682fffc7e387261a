/* names - words for the enums that people see, and which names are allowed. Source: swarm-semantics 7.1.
 *
 * *_name() never returns NULL ("unknown"); *_parse() is exact and returns false on any other word.
 */
#ifndef SW_NAMES_H
#define SW_NAMES_H

#include "proto/types.pb-c.h"

#include <stdbool.h>

#define SW_NAME_MAX 63
#define SW_SECRET_NAME_MAX 64

const char *sw_task_state_name(Swarm__TaskState state); /* "running" */
bool sw_task_state_parse(const char *word, Swarm__TaskState *ret_state);
const char *sw_node_state_name(Swarm__NodeState state); /* "ready" */
const char *sw_availability_name(Swarm__NodeAvailability availability);
bool sw_availability_parse(const char *word, Swarm__NodeAvailability *ret);
const char *sw_protocol_name(Swarm__PortProtocol protocol);

/* Service and network names: ^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*$, at most 63. */
bool sw_service_name_valid(const char *name);
/* Secret and config names: letters, digits, "-_." inside, at most 64. */
bool sw_secret_name_valid(const char *name);

/* Name of a task's container: "service.slot.taskid", or the node's id in the slot's place when slot is 0. Heap. */
char *sw_task_name(const Swarm__Task *task);
/* Value for a key in a list of pairs, or NULL. */
const char *sw_pair_get(Swarm__Pair *const *pairs, size_t count, const char *key);

#endif
