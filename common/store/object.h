/* object - what is common to all object tables: type, id, meta, name. One row a table, so that new tables need one line. */
#ifndef STORE_OBJECT_H
#define STORE_OBJECT_H

#include "common/base/err.h"
#include "common/base/pb.h"
#include "proto/store.pb-c.h"
#include "proto/types.pb-c.h"

#include <stdbool.h>

#define STORE_TABLES 7
#define STORE_RECORD_MAX (1u << 20) /* bytes an object may have */

struct store_table {
    Swarm__Table table;
    const char *word; /* "service" */
    const ProtobufCMessageDescriptor *type;
    bool unique_name; /* name conflicts are refused, without regard to case */
};
const struct store_table *store_table_of(Swarm__Table table); /* NULL if there is none */

const char *store_object_id(const void *object);
Swarm__Meta *store_object_meta(void *object);
const char *store_object_name(const void *object); /* service, network, secret, config: spec.name; node: host name; else "" */
/* Build an action owned by the caller (sw_pb_free). object may be NULL for REMOVE; version 0 = no check. */
Swarm__StoreAction *store_action_new(Swarm__ActionKind kind, Swarm__Table table, const char *id, uint64_t version,
                                     const void *object);

/* A service updated: `spec` (taken) replaces its own, which becomes the previous one. An equal one changes neither. */
void store_object_take_spec(Swarm__Service *service, Swarm__ServiceSpec *spec);

/* Batches: the caller owns the batch; a txn takes its actions. */
Swarm__StoreBatch *store_batch_new(int64_t now_ns);
Swarm__StoreTxn *store_batch_txn(Swarm__StoreBatch *batch);           /* append an empty transaction */
void store_txn_add(Swarm__StoreTxn *txn, Swarm__StoreAction *action); /* takes action */

#endif
