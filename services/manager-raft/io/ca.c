#include "services/manager-raft/io/ca.h"

#include "common/base/id.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOT_CONTEXT "cluster.root"
#define WORKER_CONTEXT "cluster.join.worker"
#define MANAGER_CONTEXT "cluster.join.manager"
#define BACKDATE_S 3600 /* clocks of nodes may be this much behind ours */
#define CERT_EXPIRY_MIN_S 3600
#define NS_PER_S INT64_C(1000000000)

/* What must never leave locked memory in clear. */
struct secrets {
    struct identity_root root;
    uint8_t data_key[32];
    uint8_t worker[IDENTITY_TOKEN_SECRET_SIZE];
    uint8_t manager[IDENTITY_TOKEN_SECRET_SIZE];
};

struct ca {
    char *state_dir;
    char cluster_id[64];
    struct secrets *secrets;
    bool data_key_known, ready;
};

int ca_new(const char *state_dir, struct ca **ret_ca, struct sw_err *err)
{
    struct secrets *secrets = sodium_malloc(sizeof *secrets);
    if (secrets == NULL)
        return sw_fail(err, SW_NOMEM, "no locked memory for the cluster's keys");
    sodium_memzero(secrets, sizeof *secrets);
    struct ca *ca = sw_alloc0(sizeof *ca);
    ca->state_dir = sw_strdup(state_dir);
    ca->secrets = secrets;
    *ret_ca = ca;
    return 0;
}

void ca_free(struct ca *ca)
{
    if (ca == NULL)
        return;
    sodium_free(ca->secrets);
    free(ca->state_dir);
    free(ca);
}

bool ca_ready(const struct ca *ca)
{
    return ca->ready;
}

static int not_ready(struct sw_err *err)
{
    return sw_fail(err, SW_PRECONDITION, "this manager has no cluster yet");
}

/* ---- small builders ---- */

static void make_id(char ret_id[SW_ID_SIZE])
{
    struct sw_rng rng;
    randombytes_buf(rng.s, sizeof rng.s);
    sw_id_make(&rng, ret_id);
}

static Swarm__Meta *meta_new(void)
{
    Swarm__Meta *meta = sw_alloc0(sizeof *meta);
    swarm__meta__init(meta);
    return meta;
}

static char *address_of(const char *host, unsigned port)
{
    return sw_strf(strchr(host, ':') != NULL ? "tcp://[%s]:%u" : "tcp://%s:%u", host, port);
}

static void add_create(Swarm__StoreBatch *batch, Swarm__Table table, const void *object)
{
    Swarm__StoreAction *action = store_action_new(SWARM__ACTION_KIND__ACTION_CREATE, table, store_object_id(object), 0, object);
    store_txn_add(batch->txns[0], action);
}

static int64_t expiry_s(const Swarm__ClusterSpec *spec)
{
    int64_t expiry = spec->node_cert_expiry_ns / NS_PER_S;
    return expiry < CERT_EXPIRY_MIN_S ? CERT_EXPIRY_MIN_S : expiry;
}

static Swarm__Certificate *sign(const struct ca *ca, const char *node_id, enum bus_role role, const uint8_t key[32],
                                int64_t now_ns, int64_t lifetime_s)
{
    struct identity_cert cert = { .role = role,
                                  .not_before = now_ns / NS_PER_S - BACKDATE_S,
                                  .not_after = now_ns / NS_PER_S + lifetime_s };
    (void)snprintf(cert.cluster_id, sizeof cert.cluster_id, "%s", ca->cluster_id);
    (void)snprintf(cert.node_id, sizeof cert.node_id, "%s", node_id);
    memcpy(cert.curve_key, key, 32);
    randombytes_buf(&cert.serial, sizeof cert.serial);
    cert.serial >>= 1;
    return identity_cert_sign(&ca->secrets->root, &cert);
}

static Swarm__NodeRole node_role(enum bus_role role)
{
    return role == BUS_MANAGER ? SWARM__NODE_ROLE__NODE_MANAGER : SWARM__NODE_ROLE__NODE_WORKER;
}

/* What bootstrap and join know alike of a new node. */
struct newcomer {
    const char *id;
    enum bus_role role;
    const uint8_t *key;
    const char *address;
    const Swarm__NodeDescription *description;
    bool has_availability;
    Swarm__NodeAvailability availability;
    int64_t now_ns, not_after_s;
};

static Swarm__Node *node_new(const struct newcomer *from)
{
    Swarm__Node *node = sw_alloc0(sizeof *node);
    swarm__node__init(node);
    node->id = sw_strdup(from->id);
    node->meta = meta_new();
    node->spec = sw_alloc0(sizeof *node->spec);
    swarm__node_spec__init(node->spec);
    node->spec->has_desired_role = node->has_role = 1;
    node->spec->desired_role = node->role = node_role(from->role);
    node->spec->has_availability = 1;
    node->spec->availability = from->has_availability ? from->availability : SWARM__NODE_AVAILABILITY__NODE_ACTIVE;
    node->description = sw_pb_clone(from->description);
    node->status = sw_alloc0(sizeof *node->status);
    swarm__node_status__init(node->status);
    node->status->has_state = 1;
    node->status->state = SWARM__NODE_STATE__NODE_UNKNOWN;
    node->status->message = sw_strdup("has not reported yet");
    node->status->addr = sw_strdup(from->address);
    node->status->has_since_ns = 1;
    node->status->since_ns = from->now_ns;
    node->has_curve_key = 1;
    node->curve_key = sw_pb_bytes(from->key, 32);
    node->has_cert_not_after = 1;
    node->cert_not_after = from->not_after_s;
    return node;
}

static int check_description(const Swarm__NodeDescription *description, struct sw_err *err)
{
    if (description->hostname == NULL || description->hostname[0] == '\0' || strlen(description->hostname) > 255)
        return sw_fail(err, SW_INVALID, "description.hostname: must have 1 to 255 characters");
    return 0;
}

/* ---- a new cluster ---- */

static void seal_into(const struct ca *ca, const char *context, const void *secret, size_t len, protobuf_c_boolean *has,
                      ProtobufCBinaryData *field)
{
    free(field->data);
    *field = identity_seal(ca->secrets->data_key, context, secret, len);
    *has = 1;
}

static Swarm__Cluster *cluster_new(const struct ca *ca, const Swarm__BootstrapRequest *request, int64_t now_ns)
{
    const struct secrets *secrets = ca->secrets;
    Swarm__Cluster *cluster = sw_alloc0(sizeof *cluster);
    swarm__cluster__init(cluster);
    cluster->id = sw_strdup(ca->cluster_id);
    cluster->meta = meta_new();
    if (request->cluster != NULL) {
        cluster->spec = sw_pb_clone(request->cluster);
    } else {
        cluster->spec = sw_alloc0(sizeof *cluster->spec);
        swarm__cluster_spec__init(cluster->spec);
    }
    cluster->root_key = sw_pb_bytes(secrets->root.public_key, 32);
    seal_into(ca, ROOT_CONTEXT, secrets->root.secret, sizeof secrets->root.secret, &cluster->has_root_secret_sealed,
              &cluster->root_secret_sealed);
    seal_into(ca, WORKER_CONTEXT, secrets->worker, sizeof secrets->worker, &cluster->has_worker_secret_sealed,
              &cluster->worker_secret_sealed);
    seal_into(ca, MANAGER_CONTEXT, secrets->manager, sizeof secrets->manager, &cluster->has_manager_secret_sealed,
              &cluster->manager_secret_sealed);
    cluster->has_root_created_ns = 1;
    cluster->root_created_ns = now_ns;
    if (request->has_admin_curve_key) {
        cluster->admin_keys = sw_realloc_array(NULL, 1, sizeof *cluster->admin_keys);
        cluster->admin_keys[0] = sw_pb_bytes(request->admin_curve_key.data, 32);
        cluster->n_admin_keys = 1;
    }
    return cluster;
}

static Swarm__ManagerAddress *manager_new(const char *node_id, const Swarm__BootstrapRequest *request, struct ca_ports ports)
{
    Swarm__ManagerAddress *manager = sw_alloc0(sizeof *manager);
    swarm__manager_address__init(manager);
    manager->node_id = sw_strdup(node_id);
    manager->control = address_of(request->advertise_host, ports.control);
    manager->dispatcher = address_of(request->advertise_host, ports.dispatcher);
    manager->raft = address_of(request->advertise_host, ports.raft);
    manager->curve_key = sw_pb_bytes(request->curve_key.data, 32);
    return manager;
}

static int check_bootstrap(const Swarm__BootstrapRequest *request, struct sw_err *err)
{
    if (request->curve_key.len != 32)
        return sw_fail(err, SW_INVALID, "curve_key: has %zu bytes instead of 32", request->curve_key.len);
    if (!request->has_admin_curve_key || request->admin_curve_key.len != 32)
        return sw_fail(err, SW_INVALID, "admin_curve_key: must have 32 bytes");
    if (request->advertise_host[0] == '\0' || strlen(request->advertise_host) > 253)
        return sw_fail(err, SW_INVALID, "advertise_host: must have 1 to 253 characters");
    return check_description(request->description, err);
}

static Swarm__BootstrapReply *bootstrap_reply(const struct ca *ca, const Swarm__BootstrapRequest *request,
                                              const Swarm__Node *node, int64_t now_ns, int64_t lifetime_s)
{
    char token[IDENTITY_TOKEN_SIZE];
    Swarm__BootstrapReply *reply = sw_alloc0(sizeof *reply);
    swarm__bootstrap_reply__init(reply);
    reply->cluster_id = sw_strdup(ca->cluster_id);
    reply->node_id = sw_strdup(node->id);
    reply->root_key = sw_pb_bytes(ca->secrets->root.public_key, 32);
    reply->certificate = sign(ca, node->id, BUS_MANAGER, request->curve_key.data, now_ns, lifetime_s);
    reply->admin_certificate = sign(ca, "admin", BUS_ADMIN, request->admin_curve_key.data, now_ns, lifetime_s);
    reply->manager = sw_pb_clone(node->manager);
    identity_token_make(ca->secrets->root.public_key, ca->secrets->worker, token);
    reply->worker_token = sw_strdup(token);
    sodium_memzero(token, sizeof token);
    return reply;
}

int ca_bootstrap(struct ca *ca, const Swarm__BootstrapRequest *request, struct ca_ports ports, int64_t now_ns,
                 Swarm__StoreBatch **ret_batch, Swarm__BootstrapReply **ret_reply, struct sw_err *err)
{
    char node_id[SW_ID_SIZE];
    if (ca->ready)
        return sw_fail(err, SW_PRECONDITION, "this manager has a cluster already");
    if (check_bootstrap(request, err) < 0)
        return -(int)err->code;
    if (identity_data_key_make(ca->state_dir, request->curve_key.data, ca->secrets->data_key, err) < 0)
        return sw_wrap(err, "make the data key");
    ca->data_key_known = true;
    identity_root_make(&ca->secrets->root);
    randombytes_buf(ca->secrets->worker, sizeof ca->secrets->worker);
    randombytes_buf(ca->secrets->manager, sizeof ca->secrets->manager);
    make_id(ca->cluster_id);
    make_id(node_id);
    ca->ready = true;

    SW_AUTO(sw_pb_free) Swarm__Cluster *cluster = cluster_new(ca, request, now_ns);
    int64_t lifetime_s = expiry_s(cluster->spec);
    struct newcomer self = { .id = node_id,
                             .role = BUS_MANAGER,
                             .key = request->curve_key.data,
                             .address = request->advertise_host,
                             .description = request->description,
                             .has_availability = request->has_availability,
                             .availability = request->availability,
                             .now_ns = now_ns,
                             .not_after_s = now_ns / NS_PER_S + lifetime_s };
    SW_AUTO(sw_pb_free) Swarm__Node *node = node_new(&self);
    node->manager = manager_new(node_id, request, ports);

    Swarm__StoreBatch *batch = store_batch_new(now_ns);
    (void)store_batch_txn(batch);
    add_create(batch, SWARM__TABLE__TABLE_CLUSTER, cluster);
    add_create(batch, SWARM__TABLE__TABLE_NODE, node);
    *ret_batch = batch;
    *ret_reply = bootstrap_reply(ca, request, node, now_ns, lifetime_s);
    return 0;
}

/* ---- a cluster that exists ---- */

static int open_secrets(const Swarm__Cluster *cluster, struct secrets *secrets, struct sw_err *err)
{
    if (cluster->root_key.len != 32)
        return sw_fail(err, SW_CORRUPT, "the cluster's root key has %zu bytes", cluster->root_key.len);
    memcpy(secrets->root.public_key, cluster->root_key.data, 32);
    if (identity_unseal(secrets->data_key, ROOT_CONTEXT, cluster->root_secret_sealed, secrets->root.secret,
                        sizeof secrets->root.secret, err) < 0 ||
        identity_unseal(secrets->data_key, WORKER_CONTEXT, cluster->worker_secret_sealed, secrets->worker, sizeof secrets->worker,
                        err) < 0 ||
        identity_unseal(secrets->data_key, MANAGER_CONTEXT, cluster->manager_secret_sealed, secrets->manager,
                        sizeof secrets->manager, err) < 0)
        return -(int)err->code;
    if (sodium_memcmp(secrets->root.public_key, secrets->root.secret + 32, 32) != 0) /* Ed25519 secrets end with the public key */
        return sw_fail(err, SW_CORRUPT, "the cluster's root key and root secret do not belong together");
    return 0;
}

int ca_load(struct ca *ca, const struct mirror *mirror, struct sw_err *err)
{
    const Swarm__Cluster *cluster = mirror_cluster(mirror);
    if (cluster == NULL)
        return sw_fail(err, SW_NOT_FOUND, "the store holds no cluster");
    if (!ca->data_key_known) {
        if (identity_data_key(ca->state_dir, ca->secrets->data_key, err) < 0)
            return sw_wrap(err, "load the cluster's keys");
        ca->data_key_known = true;
    }
    struct secrets *fresh = sodium_malloc(sizeof *fresh);
    if (fresh == NULL)
        return sw_fail(err, SW_NOMEM, "no locked memory for the cluster's keys");
    *fresh = *ca->secrets;
    if (open_secrets(cluster, fresh, err) < 0) {
        sodium_free(fresh);
        return sw_wrap(err, "load the cluster's keys");
    }
    sodium_free(ca->secrets);
    ca->secrets = fresh;
    (void)snprintf(ca->cluster_id, sizeof ca->cluster_id, "%s", cluster->id);
    ca->ready = true;
    return 0;
}

int ca_control_keys(const struct ca *ca, struct bus_keys *ret_keys, struct sw_err *err)
{
    return ca->ready ? identity_root_curve(&ca->secrets->root, ret_keys, err) : not_ready(err);
}

/* ---- tokens ---- */

int ca_token(const struct ca *ca, Swarm__NodeRole role, char ret_token[IDENTITY_TOKEN_SIZE], struct sw_err *err)
{
    if (!ca->ready)
        return not_ready(err);
    const struct secrets *secrets = ca->secrets;
    identity_token_make(secrets->root.public_key, role == SWARM__NODE_ROLE__NODE_MANAGER ? secrets->manager : secrets->worker,
                        ret_token);
    return 0;
}

int ca_rotate(const struct ca *ca, const struct mirror *mirror, Swarm__NodeRole role, int64_t now_ns,
              Swarm__StoreBatch **ret_batch, struct sw_err *err)
{
    const Swarm__Cluster *now = mirror_cluster(mirror);
    if (!ca->ready || now == NULL)
        return not_ready(err);
    uint8_t secret[IDENTITY_TOKEN_SECRET_SIZE];
    SW_AUTO(sw_pb_free) Swarm__Cluster *cluster = sw_pb_clone(now);
    randombytes_buf(secret, sizeof secret);
    if (role == SWARM__NODE_ROLE__NODE_MANAGER)
        seal_into(ca, MANAGER_CONTEXT, secret, sizeof secret, &cluster->has_manager_secret_sealed,
                  &cluster->manager_secret_sealed);
    else
        seal_into(ca, WORKER_CONTEXT, secret, sizeof secret, &cluster->has_worker_secret_sealed, &cluster->worker_secret_sealed);
    sodium_memzero(secret, sizeof secret);

    Swarm__StoreBatch *batch = store_batch_new(now_ns);
    store_txn_add(store_batch_txn(batch), store_action_new(SWARM__ACTION_KIND__ACTION_UPDATE, SWARM__TABLE__TABLE_CLUSTER,
                                                           cluster->id, now->meta->version, cluster));
    *ret_batch = batch;
    return 0;
}

/* ---- joining ---- */

/* Both secrets are always compared, each in constant time. BUS_NOBODY: neither. */
static enum bus_role role_of_secret(const struct ca *ca, ProtobufCBinaryData secret)
{
    if (secret.len != IDENTITY_TOKEN_SECRET_SIZE)
        return BUS_NOBODY;
    int worker = sodium_memcmp(secret.data, ca->secrets->worker, IDENTITY_TOKEN_SECRET_SIZE);
    int manager = sodium_memcmp(secret.data, ca->secrets->manager, IDENTITY_TOKEN_SECRET_SIZE);
    if (worker == 0)
        return BUS_WORKER;
    return manager == 0 ? BUS_MANAGER : BUS_NOBODY;
}

static int check_join(const struct ca *ca, const struct mirror *mirror, const Swarm__JoinRequest *request,
                      const uint8_t connection_key[32], enum bus_role *ret_role, struct sw_err *err)
{
    if (!ca->ready || mirror_cluster(mirror) == NULL)
        return not_ready(err);
    if (request->curve_key.len != 32 || sodium_memcmp(request->curve_key.data, connection_key, 32) != 0)
        return sw_fail(err, SW_DENIED, "curve_key: is not the key of this connection");
    *ret_role = role_of_secret(ca, request->secret);
    if (*ret_role == BUS_NOBODY)
        return sw_fail(err, SW_DENIED, "a valid join token is necessary to join this cluster");
    if (*ret_role == BUS_MANAGER)
        return sw_fail(err, SW_UNSUPPORTED, "a cluster of this version has one manager: join with the worker token");
    if (request->node_address != NULL && strlen(request->node_address) > 253)
        return sw_fail(err, SW_INVALID, "node_address: must have at most 253 characters");
    return check_description(request->description, err);
}

static void add_managers(const struct mirror *mirror, Swarm__JoinReply *reply)
{
    for (const void *object = mirror_first(mirror, SWARM__TABLE__TABLE_NODE); object != NULL;
         object = mirror_next(mirror, SWARM__TABLE__TABLE_NODE, object)) {
        const Swarm__Node *node = object;
        if (node->manager == NULL)
            continue;
        reply->managers = sw_realloc_array(reply->managers, reply->n_managers + 1, sizeof *reply->managers);
        reply->managers[reply->n_managers++] = sw_pb_clone(node->manager);
    }
}

static Swarm__JoinReply *join_reply(const struct ca *ca, const struct mirror *mirror, const struct newcomer *node)
{
    Swarm__JoinReply *reply = sw_alloc0(sizeof *reply);
    swarm__join_reply__init(reply);
    reply->cluster_id = sw_strdup(ca->cluster_id);
    reply->node_id = sw_strdup(node->id);
    reply->role = node->role;
    reply->certificate = sign(ca, node->id, node->role, node->key, node->now_ns, node->not_after_s - node->now_ns / NS_PER_S);
    add_managers(mirror, reply);
    return reply;
}

int ca_join(const struct ca *ca, const struct mirror *mirror, const Swarm__JoinRequest *request, const uint8_t connection_key[32],
            int64_t now_ns, Swarm__StoreBatch **ret_batch, Swarm__JoinReply **ret_reply, struct sw_err *err)
{
    enum bus_role role = BUS_NOBODY;
    char id[SW_ID_SIZE];
    if (check_join(ca, mirror, request, connection_key, &role, err) < 0)
        return -(int)err->code;
    struct newcomer node = { .id = id,
                             .role = role,
                             .key = connection_key,
                             .address = request->node_address != NULL ? request->node_address : "",
                             .description = request->description,
                             .has_availability = request->has_availability,
                             .availability = request->availability,
                             .now_ns = now_ns,
                             .not_after_s = now_ns / NS_PER_S + expiry_s(mirror_cluster(mirror)->spec) };
    const Swarm__Node *known = mirror_node_by_key(mirror, connection_key);
    if (known != NULL) {
        node.id = known->id;
        node.role = known->role == SWARM__NODE_ROLE__NODE_MANAGER ? BUS_MANAGER : BUS_WORKER;
        *ret_batch = NULL;
    } else if (mirror_count(mirror, SWARM__TABLE__TABLE_NODE) >= CA_NODES_MAX) {
        return sw_fail(err, SW_LIMIT, "the cluster has %d nodes, more are not allowed", CA_NODES_MAX);
    } else {
        make_id(id);
        SW_AUTO(sw_pb_free) Swarm__Node *object = node_new(&node);
        *ret_batch = store_batch_new(now_ns);
        (void)store_batch_txn(*ret_batch);
        add_create(*ret_batch, SWARM__TABLE__TABLE_NODE, object);
    }
    *ret_reply = join_reply(ca, mirror, &node);
    return 0;
}

/* ---- who is who ---- */

static bool is_admin(const Swarm__Cluster *cluster, const uint8_t key[32])
{
    for (size_t i = 0; i < cluster->n_admin_keys && i < CA_ADMINS_MAX; i++)
        if (cluster->admin_keys[i].len == 32 && memcmp(cluster->admin_keys[i].data, key, 32) == 0)
            return true;
    return false;
}

struct bus_peer_info ca_admit(void *arg, const uint8_t curve_key[32])
{
    const struct ca_admission *admission = arg;
    const Swarm__Cluster *cluster = mirror_cluster(admission->mirror);
    const Swarm__Node *node = mirror_node_by_key(admission->mirror, curve_key);
    struct bus_peer_info info = { .role = cluster != NULL && admission->joiners ? BUS_JOINER : BUS_NOBODY };
    if (node != NULL) {
        info.role = node->role == SWARM__NODE_ROLE__NODE_MANAGER ? BUS_MANAGER : BUS_WORKER;
        (void)snprintf(info.id, sizeof info.id, "%s", node->id);
    } else if (cluster != NULL && is_admin(cluster, curve_key)) {
        info.role = BUS_ADMIN;
        (void)snprintf(info.id, sizeof info.id, "admin");
    }
    return info;
}
