/* The cluster requests of the control API, and what of a cluster spec may be stored. */
#include "services/manager-raft/core/cluster.h"

#include "services/manager-raft/core/control.h"
#include "services/manager-raft/core/validate.h"

#include <inttypes.h>

#define HOUR_NS (INT64_C(3600) * 1000000000)
#define HEARTBEAT_MIN_NS INT64_C(100000000)
#define HEARTBEAT_MAX_NS (INT64_C(60) * 1000000000)

int cluster_spec_check(const Swarm__ClusterSpec *spec, struct sw_err *err)
{
    if (spec->node_cert_expiry_ns < HOUR_NS)
        return sw_fail(err, SW_INVALID, "minimum certificate expiry time is 1h0m0s");
    if (spec->dispatcher_heartbeat_ns < HEARTBEAT_MIN_NS || spec->dispatcher_heartbeat_ns > HEARTBEAT_MAX_NS)
        return sw_fail(err, SW_INVALID, "heartbeat period must be 100ms to 1m0s");
    if (spec->task_history_limit > 10000)
        return sw_fail(err, SW_INVALID, "task history limit %" PRId64 " must be at most 10000", spec->task_history_limit);
    if (spec->snapshot_interval < 1)
        return sw_fail(err, SW_INVALID, "snapshot interval must be at least 1");
    if (spec->autolock)
        return sw_fail(err, SW_UNSUPPORTED, "autolock is not supported by this version");
    if (spec->subnet_size < 1 || spec->subnet_size > 29)
        return sw_fail(err, SW_INVALID, "subnet size %" PRIu32 " must be 1 to 29", spec->subnet_size);
    if (spec->data_path_port < 1024 || spec->data_path_port > 49151)
        return sw_fail(err, SW_INVALID, "data path port %" PRIu32 " must be 1024 to 49151", spec->data_path_port);
    int rc = validate_count("default address pools", spec->n_default_addr_pools, err);
    return rc != 0 ? rc : validate_labels("labels", spec->labels, spec->n_labels, err);
}

/* Managers know who may administrate; nobody else needs to, and sealed secrets never leave. */
static Swarm__Cluster *redacted(const struct control *control, const Swarm__Cluster *stored)
{
    Swarm__Cluster *cluster = control_copy(control, stored);
    cluster->has_root_secret_sealed = cluster->has_worker_secret_sealed = cluster->has_manager_secret_sealed = false;
    cluster->n_admin_keys = 0;
    return cluster;
}

static void add_managers(const struct control *control, Swarm__ClusterGetReply *reply)
{
    const Swarm__Table table = SWARM__TABLE__TABLE_NODE;
    size_t room = mirror_count(control->mirror, table);
    reply->manager_addresses = sw_scratch_alloc(control->scratch, room * sizeof *reply->manager_addresses);
    for (const Swarm__Node *node = mirror_first(control->mirror, table); node != NULL;
         node = mirror_next(control->mirror, table, node)) {
        if (node->role != SWARM__NODE_ROLE__NODE_MANAGER)
            continue;
        reply->managers++;
        if (node->manager != NULL)
            reply->manager_addresses[reply->n_manager_addresses++] = node->manager;
    }
    reply->has_managers = true;
    reply->has_nodes = true;
    reply->nodes = (uint32_t)room;
}

int control_cluster_get(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    (void)body;
    const Swarm__Cluster *cluster = mirror_cluster(control->mirror);
    if (cluster == NULL)
        return sw_fail(err, SW_NOT_FOUND, "cluster not found");
    Swarm__ClusterGetReply *reply = control_message(control, &swarm__cluster_get_reply__descriptor);
    reply->cluster = redacted(control, cluster);
    reply->node_id = sw_scratch_str(control->scratch, control->self_id);
    reply->leader_id = sw_scratch_str(control->scratch, control->leader_id);
    reply->server_version = sw_scratch_str(control->scratch, control->server_version);
    reply->has_raft_term = reply->has_raft_index = true;
    reply->raft_term = control->raft_term;
    reply->raft_index = control->raft_index;
    add_managers(control, reply);
    ret->reply = reply;
    return 0;
}

int control_cluster_update(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    const Swarm__ClusterUpdateRequest *request = body;
    const Swarm__Cluster *old = mirror_cluster(control->mirror);
    if (old == NULL)
        return sw_fail(err, SW_NOT_FOUND, "cluster not found");
    if (request->version != old->meta->version)
        return sw_fail(err, SW_CONFLICT, "update out of sequence");
    int rc = cluster_spec_check(request->spec, err);
    if (rc != 0)
        return rc;
    Swarm__Cluster *cluster = control_copy(control, old);
    cluster->spec = request->spec;
    control_write(control, ret, CONTROL_DONE_EMPTY, cluster->id);
    store_txn_add(ret->batch->txns[0], store_action_new(SWARM__ACTION_KIND__ACTION_UPDATE, SWARM__TABLE__TABLE_CLUSTER,
                                                        cluster->id, request->version, cluster));
    return 0;
}
