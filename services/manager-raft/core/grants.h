/* grants - what the scheduler and the dispatcher of this node may commit, and what their feeds carry.
 *
 * A feed client can write only what is its own to decide: whatever goes wrong in one process stays out of the others' objects.
 */
#ifndef MANAGER_GRANTS_H
#define MANAGER_GRANTS_H

#include "common/base/err.h"
#include "proto/store.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define GRANTS_TXNS_MAX 4096u
#define GRANTS_ACTIONS_MAX 16384u

enum grants_client { GRANTS_SCHEDULER, GRANTS_DISPATCHER };

/* SW_DENIED names the action; SW_FENCED if the batch is not of `term`; SW_LIMIT. */
int grants_check(enum grants_client client, const Swarm__StoreBatch *batch, uint64_t term, struct sw_err *err);
/* Neither client ever sees the cluster's sealed secrets. */
bool grants_may_read(enum grants_client client, Swarm__Table table);

#endif
