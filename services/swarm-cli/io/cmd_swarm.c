#include "services/swarm-cli/io/cli.h"

#include "common/base/names.h"
#include "common/service/svc_version.h"
#include "services/swarm-cli/core/objects.h"
#include "services/swarm-cli/core/pretty.h"

#include <stdio.h>
#include <string.h>

#define INIT_TIMEOUT_MS 30000
#define JOIN_TIMEOUT_MS 40000
#define LEAVE_TIMEOUT_MS 60000

static int read_availability(const struct flags *flags, protobuf_c_boolean *has, Swarm__NodeAvailability *ret, struct sw_err *err)
{
    if (!flags_typed(flags, "availability"))
        return 0;
    *has = 1;
    if (sw_availability_parse(flags_str(flags, "availability"), ret))
        return 0;
    return sw_fail(err, SW_INVALID, "invalid availability \"%.60s\", only active, pause and drain are supported",
                   flags_str(flags, "availability"));
}

static char *text_of(const struct flags *flags, const char *name)
{
    return flags_typed(flags, name) ? (char *)flags_str(flags, name) : NULL;
}

/* ---- init, join, leave ---- */

int cmd_init(struct cli *cli, const struct flags *flags)
{
    Swarm__NodeInitRequest request = SWARM__NODE_INIT_REQUEST__INIT;
    Swarm__ClusterSpec cluster = SWARM__CLUSTER_SPEC__INIT;
    struct sw_err err = { 0 };
    void *message = NULL;
    request.advertise_addr = text_of(flags, "advertise-addr");
    request.listen_addr = text_of(flags, "listen-addr");
    cluster.has_task_history_limit = flags_typed(flags, "task-history-limit");
    cluster.task_history_limit = flags_i64(flags, "task-history-limit");
    cluster.has_dispatcher_heartbeat_ns = flags_typed(flags, "dispatcher-heartbeat");
    cluster.dispatcher_heartbeat_ns = flags_i64(flags, "dispatcher-heartbeat");
    cluster.has_node_cert_expiry_ns = flags_typed(flags, "cert-expiry");
    cluster.node_cert_expiry_ns = flags_i64(flags, "cert-expiry");
    request.cluster = &cluster;
    int rc = read_availability(flags, &request.has_availability, &request.availability, &err);
    if (rc == 0)
        rc = cli_ask_node(cli, &request, INIT_TIMEOUT_MS, &message, &err);
    if (rc < 0)
        return cli_error(cli, &err);
    SW_AUTO(sw_pb_free) Swarm__NodeInitReply *reply = message;
    (void)printf("Swarm initialized: current node (%s) is now a manager.\n\n"
                 "To add a worker to this swarm, run the following command:\n\n    swarm-cli join --token %s %s\n\n"
                 "To add a manager to this swarm, run 'swarm-cli join-token manager' and follow the instructions.\n\n",
                 reply->node_id, reply->worker_token, reply->control);
    return 0;
}

int cmd_join(struct cli *cli, const struct flags *flags)
{
    Swarm__NodeJoinRequest request = SWARM__NODE_JOIN_REQUEST__INIT;
    struct sw_err err = { 0 };
    void *message = NULL;
    request.token = (char *)flags_str(flags, "token");
    request.remote = flags->args[0];
    request.advertise_addr = text_of(flags, "advertise-addr");
    request.listen_addr = text_of(flags, "listen-addr");
    int rc = read_availability(flags, &request.has_availability, &request.availability, &err);
    if (rc == 0)
        rc = cli_ask_node(cli, &request, JOIN_TIMEOUT_MS, &message, &err);
    if (rc < 0)
        return cli_error(cli, &err);
    SW_AUTO(sw_pb_free) Swarm__NodeJoinReply *reply = message;
    (void)printf("This node joined a swarm as a %s.\n", reply->role == BUS_MANAGER ? "manager" : "worker");
    return 0;
}

int cmd_leave(struct cli *cli, const struct flags *flags)
{
    Swarm__NodeLeaveRequest request = SWARM__NODE_LEAVE_REQUEST__INIT;
    struct sw_err err = { 0 };
    void *reply = NULL;
    request.has_force = 1;
    request.force = flags_bool(flags, "force");
    if (cli_ask_node(cli, &request, LEAVE_TIMEOUT_MS, &reply, &err) < 0)
        return cli_error(cli, &err);
    sw_pb_free(reply);
    (void)printf("Node left the swarm.\n");
    return 0;
}

int cmd_join_token(struct cli *cli, const struct flags *flags)
{
    Swarm__JoinTokenRequest request = SWARM__JOIN_TOKEN_REQUEST__INIT;
    const char *role = flags->args[0];
    struct sw_err err = { 0 };
    void *message = NULL;
    request.role = strcmp(role, "manager") == 0 ? SWARM__NODE_ROLE__NODE_MANAGER : SWARM__NODE_ROLE__NODE_WORKER;
    request.has_rotate = 1;
    request.rotate = flags_bool(flags, "rotate");
    if (strcmp(role, "manager") != 0 && strcmp(role, "worker") != 0) {
        (void)fprintf(stderr, "unknown role %s\n", role);
        return 1;
    }
    if (cli_ask(cli, &request, &message, &err) < 0)
        return cli_error(cli, &err);
    SW_AUTO(sw_pb_free) Swarm__JoinTokenReply *reply = message;
    if (flags_bool(flags, "quiet")) {
        (void)printf("%s\n", reply->token);
        return 0;
    }
    if (request.rotate)
        (void)printf("Successfully rotated %s join token.\n\n", role);
    (void)printf("To add a %s to this swarm, run the following command:\n\n    swarm-cli join --token %s %s\n\n", role,
                 reply->token, reply->control);
    return 0;
}

/* ---- info ---- */

/* What the stored spec leaves out has the protocol's default. */
static json_t *pools_json(const Swarm__ClusterSpec *spec)
{
    json_t *pools = json_array();
    for (size_t i = 0; i < spec->n_default_addr_pools; i++)
        json_array_append_new(pools, json_string(spec->default_addr_pools[i]));
    if (spec->n_default_addr_pools == 0)
        json_array_append_new(pools, json_string("10.0.0.0/8"));
    return pools;
}

static json_t *cluster_json(const Swarm__ClusterGetReply *reply)
{
    const Swarm__Cluster *cluster = reply->cluster;
    char created[64];
    objects_time(cluster->meta->created_ns, created, sizeof created);
    json_t *object =
        json_pack("{s:s,s:{s:I},s:s,s:{s:{s:I},s:{s:I},s:{s:I}},s:{s:I,s:I,s:s}}", "ID", cluster->id, "Version", "Index",
                  (json_int_t)cluster->meta->version, "CreatedAt", created, "Spec", "Orchestration", "TaskHistoryRetentionLimit",
                  (json_int_t)cluster->spec->task_history_limit, "Dispatcher", "HeartbeatPeriod",
                  (json_int_t)cluster->spec->dispatcher_heartbeat_ns, "CAConfig", "NodeCertExpiry",
                  (json_int_t)cluster->spec->node_cert_expiry_ns, "Raft", "Term", (json_int_t)reply->raft_term, "Index",
                  (json_int_t)reply->raft_index, "Leader", reply->leader_id != NULL ? reply->leader_id : "");
    json_object_set_new(object, "DefaultAddrPool", pools_json(cluster->spec));
    json_object_set_new(object, "SubnetSize", json_integer(cluster->spec->subnet_size));
    json_object_set_new(object, "DataPathPort", json_integer(cluster->spec->data_path_port));
    json_object_set_new(json_object_get(object, "Spec"), "EncryptionConfig",
                        json_pack("{s:b}", "AutoLockManagers", (int)cluster->spec->autolock));
    return object;
}

static const char *without_scheme(const char *address)
{
    const char *rest = strstr(address, "://");
    return rest != NULL ? rest + 3 : address;
}

static json_t *managers_json(Swarm__ManagerAddress *const *list, size_t count)
{
    json_t *managers = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(managers,
                              json_pack("{s:s,s:s}", "NodeID", list[i]->node_id, "Addr", without_scheme(list[i]->control)));
    return managers;
}

static json_t *swarm_json(const Swarm__NodeInfoReply *info, const Swarm__ClusterGetReply *cluster)
{
    static const char *const states[] = { "inactive", "pending", "active", "error", "locked" };
    json_t *swarm = json_object();
    json_object_set_new(swarm, "NodeID", json_string(info->node_id != NULL ? info->node_id : ""));
    json_object_set_new(swarm, "NodeAddr", json_string(info->node_address != NULL ? info->node_address : ""));
    json_object_set_new(swarm, "LocalNodeState", json_string((unsigned)info->state < 5 ? states[info->state] : "error"));
    json_object_set_new(swarm, "ControlAvailable", json_boolean(cluster != NULL));
    json_object_set_new(swarm, "Error", json_string(info->error != NULL ? info->error : ""));
    json_object_set_new(swarm, "RemoteManagers",
                        cluster != NULL ? managers_json(cluster->manager_addresses, cluster->n_manager_addresses)
                                        : managers_json(info->managers, info->n_managers));
    if (cluster == NULL)
        return swarm;
    json_object_set_new(swarm, "Nodes", json_integer(cluster->nodes));
    json_object_set_new(swarm, "Managers", json_integer(cluster->managers));
    json_object_set_new(swarm, "Cluster", cluster_json(cluster));
    return swarm;
}

static json_t *info_json(const Swarm__NodeInfoReply *info, const Swarm__ClusterGetReply *cluster)
{
    const Swarm__NodeDescription *node = info->description;
    json_t *object = json_object();
    json_object_set_new(object, "Name", json_string(node != NULL && node->hostname != NULL ? node->hostname : ""));
    json_object_set_new(object, "ServerVersion", json_string(info->version != NULL ? info->version : ""));
    json_object_set_new(object, "Runtime", json_string(node != NULL && node->runtime != NULL ? node->runtime : ""));
    json_object_set_new(object, "Cgroup", json_string(node != NULL && node->cgroup != NULL ? node->cgroup : ""));
    bool sized = node != NULL && node->resources != NULL;
    json_object_set_new(object, "NCPU", json_integer(sized ? node->resources->nano_cpus / 1000000000 : 0));
    json_object_set_new(object, "MemTotal", json_integer(sized ? node->resources->memory_bytes : 0));
    json_object_set_new(object, "TasksRunning", json_integer(info->tasks_running));
    json_object_set_new(object, "Swarm", swarm_json(info, cluster));
    return object;
}

int cmd_info(struct cli *cli, const struct flags *flags)
{
    const Swarm__NodeInfoReply *info = NULL;
    Swarm__ClusterGetRequest request = SWARM__CLUSTER_GET_REQUEST__INIT;
    struct sw_err err = { 0 };
    void *message = NULL;
    if (cli_info(cli, &info, &err) < 0)
        return cli_error(cli, &err);
    bool manager = info->state == SWARM__LOCAL_STATE__LOCAL_ACTIVE && info->role == BUS_MANAGER;
    if (manager && cli_ask(cli, &request, &message, &err) < 0)
        (void)fprintf(stderr, "WARNING: the control API does not answer: %s\n", err.text);
    SW_AUTO(sw_pb_free) Swarm__ClusterGetReply *cluster = message;
    json_auto_t *object = info_json(info, cluster);
    if (manager)
        json_object_set_new(json_object_get(object, "Swarm"), "ControlAvailable", json_true());
    if (flags_typed(flags, "format"))
        return cli_format_print(object, flags_str(flags, "format"));
    SW_AUTO_BUF out = { 0 };
    pretty_info(object, &out);
    cli_print(&out);
    return 0;
}

/* ---- version ---- */

int cmd_version(struct cli *cli, const struct flags *flags)
{
    const Swarm__NodeInfoReply *info = NULL;
    struct sw_err err = { 0 };
    json_auto_t *object =
        json_pack("{s:{s:s,s:s,s:s}}", "Client", "Version", SVC_VERSION, "GitCommit", SVC_COMMIT, "Built", SVC_BUILT);
    int rc = cli_info(cli, &info, &err);
    if (rc == 0)
        json_object_set_new(
            object, "Server",
            json_pack("{s:s,s:s}", "Version", info->version != NULL ? info->version : "unknown", "Platform", "linux"));
    if (flags_typed(flags, "format"))
        return cli_format_print(object, flags_str(flags, "format"));
    (void)printf("Client:\n Version:    %s\n Git commit: %s\n Built:      %s\n", SVC_VERSION, SVC_COMMIT, SVC_BUILT);
    if (rc < 0)
        return cli_error(cli, &err);
    (void)printf("\nServer:\n Version:    %s\n", info->version != NULL ? info->version : "unknown");
    return 0;
}
