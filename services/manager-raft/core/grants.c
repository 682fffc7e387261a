#include "services/manager-raft/core/grants.h"

#include "common/store/object.h"

#include <inttypes.h>

#define BIT(kind) (1u << SWARM__ACTION_KIND__ACTION_##kind)

/* One row a client and table that it may write; what is not here is denied. */
static const struct grant {
    enum grants_client client;
    Swarm__Table table;
    unsigned kinds;
} grants[] = {
    { GRANTS_SCHEDULER, SWARM__TABLE__TABLE_TASK, BIT(CREATE) | BIT(UPDATE) | BIT(REMOVE) },
    { GRANTS_SCHEDULER, SWARM__TABLE__TABLE_SERVICE, BIT(UPDATE) | BIT(REMOVE) }, /* endpoint, update status, job */
    { GRANTS_SCHEDULER, SWARM__TABLE__TABLE_NETWORK, BIT(CREATE) | BIT(UPDATE) | BIT(REMOVE) },
    { GRANTS_DISPATCHER, SWARM__TABLE__TABLE_TASK, BIT(TASK_STATUS) },
    { GRANTS_DISPATCHER, SWARM__TABLE__TABLE_NODE, BIT(NODE_STATUS) },
};

static bool granted(enum grants_client client, const Swarm__StoreAction *action)
{
    for (size_t i = 0; i < sizeof grants / sizeof *grants; i++)
        if (grants[i].client == client && grants[i].table == action->table && (unsigned)action->kind < 32 &&
            (grants[i].kinds & 1u << action->kind) != 0)
            return true;
    return false;
}

int grants_check(enum grants_client client, const Swarm__StoreBatch *batch, uint64_t term, struct sw_err *err)
{
    if (!batch->has_term || batch->term != term)
        return sw_fail(err, SW_FENCED, "batch of term %" PRIu64 ", the term is %" PRIu64, batch->term, term);
    if (batch->n_txns > GRANTS_TXNS_MAX)
        return sw_fail(err, SW_LIMIT, "batch of %zu transactions, at most %u are allowed", batch->n_txns, GRANTS_TXNS_MAX);
    size_t actions = 0;
    for (size_t i = 0; i < batch->n_txns; i++) {
        const Swarm__StoreTxn *txn = batch->txns[i];
        actions += txn->n_actions;
        if (actions > GRANTS_ACTIONS_MAX)
            return sw_fail(err, SW_LIMIT, "batch of over %u actions", GRANTS_ACTIONS_MAX);
        for (size_t k = 0; k < txn->n_actions; k++) {
            if (granted(client, txn->actions[k]))
                continue;
            const struct store_table *row = store_table_of(txn->actions[k]->table);
            return sw_fail(err, SW_DENIED, "action %d on table %s is not the %s's", (int)txn->actions[k]->kind,
                           row != NULL ? row->word : "?", client == GRANTS_SCHEDULER ? "scheduler" : "dispatcher");
        }
    }
    return 0;
}

bool grants_may_read(enum grants_client client, Swarm__Table table)
{
    switch (table) {
    case SWARM__TABLE__TABLE_CLUSTER: /* its spec: history limit, heartbeat period; the sealed members are taken out */
    case SWARM__TABLE__TABLE_NODE:
    case SWARM__TABLE__TABLE_SERVICE:
    case SWARM__TABLE__TABLE_TASK:
    case SWARM__TABLE__TABLE_NETWORK:
        return true;
    case SWARM__TABLE__TABLE_SECRET:
    case SWARM__TABLE__TABLE_CONFIG:
        return client == GRANTS_DISPATCHER;
    case _SWARM__TABLE_IS_INT_SIZE:
        break;
    }
    return false;
}
