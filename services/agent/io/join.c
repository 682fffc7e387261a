#include "services/agent/io/agent.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LIMIT_MS 20000u
#define CONTROL_PORT "2377"

/* One init or join: a connection, one question, and the identity that comes of it. */
struct joining {
    struct agent *agent;
    struct bus_client *client;
    struct svc_timer *timer; /* the limit */
    joining_done_fn *fn;
    void *arg;
    struct bus_keys keys, admin_keys;
    uint8_t root[IDENTITY_KEY_SIZE]; /* join: from the token */
    uint8_t secret[IDENTITY_TOKEN_SECRET_SIZE];
    Swarm__BootstrapRequest *init; /* one of the two */
    Swarm__JoinRequest *join;
    char *remote; /* as people typed it, for errors */
    char *address;
    bool asked, denied;
    struct sw_err last; /* what went wrong, to be told when the time is up or at once */
};

void joining_free(struct joining *j)
{
    if (j == NULL)
        return;
    bus_client_close(j->client);
    svc_timer_free(j->timer);
    sw_pb_free(j->init);
    sw_pb_free(j->join);
    free(j->remote);
    free(j->address);
    sodium_memzero(j, sizeof *j);
    free(j);
}

static void fail(struct joining *j, const struct sw_err *err)
{
    struct sw_err copy = *err;
    j->fn(j->arg, NULL, &copy); /* frees j */
}

static ProtobufCBinaryData bytes_clone(ProtobufCBinaryData data)
{
    return sw_pb_bytes(data.data, data.len);
}

static Swarm__NodeIdentity *identity_new(const struct joining *j, const char *cluster_id, const char *node_id, uint32_t role,
                                         const uint8_t root[IDENTITY_KEY_SIZE], const Swarm__Certificate *certificate)
{
    Swarm__NodeIdentity *identity = sw_alloc0(sizeof *identity);
    swarm__node_identity__init(identity);
    identity->cluster_id = sw_strdup(cluster_id);
    identity->node_id = sw_strdup(node_id);
    identity->role = role;
    identity->root_key = sw_pb_bytes(root, IDENTITY_KEY_SIZE);
    identity->curve_public = sw_pb_bytes(j->keys.public_key, IDENTITY_KEY_SIZE);
    identity->curve_secret = sw_pb_bytes(j->keys.secret_key, IDENTITY_KEY_SIZE);
    identity->certificate = sw_pb_clone(certificate);
    identity->node_address = sw_strdup(j->address);
    return identity;
}

/* The certificate must be the root's, for our key, for the node and role that the answer names. */
static int check_certificate(const struct joining *j, const Swarm__Certificate *certificate,
                             const uint8_t root[IDENTITY_KEY_SIZE], const char *node_id, uint32_t role, struct sw_err *err)
{
    struct identity_cert cert;
    if (identity_cert_verify(certificate, root, (int64_t)time(NULL), &cert, err) != 0)
        return sw_wrap(err, "the manager's answer");
    if (memcmp(cert.curve_key, j->keys.public_key, IDENTITY_KEY_SIZE) != 0 || strcmp(cert.node_id, node_id) != 0 ||
        cert.role != role)
        return sw_fail(err, SW_CORRUPT, "the manager's answer: the certificate is not for this node");
    return 0;
}

/* ---- init ---- */
static const char *without_scheme(const char *endpoint)
{
    return strncmp(endpoint, "tcp://", 6) == 0 ? endpoint + 6 : endpoint;
}

static Swarm__AdminIdentity *admin_new(const struct joining *j, const Swarm__BootstrapReply *reply)
{
    Swarm__AdminIdentity *admin = sw_alloc0(sizeof *admin);
    swarm__admin_identity__init(admin);
    admin->cluster_id = sw_strdup(reply->cluster_id);
    admin->root_key = bytes_clone(reply->root_key);
    admin->curve_public = sw_pb_bytes(j->admin_keys.public_key, IDENTITY_KEY_SIZE);
    admin->curve_secret = sw_pb_bytes(j->admin_keys.secret_key, IDENTITY_KEY_SIZE);
    admin->certificate = sw_pb_clone(reply->admin_certificate);
    admin->control = sw_alloc0(2 * sizeof(char *));
    admin->control[0] = sw_strf("ipc://%s/control.sock", svc_run_dir(j->agent->svc));
    admin->control[1] = sw_strdup(reply->manager->control);
    admin->n_control = 2;
    return admin;
}

static void init_finish(struct joining *j, const Swarm__BootstrapReply *reply)
{
    struct sw_err err;
    if (reply->root_key.len != IDENTITY_KEY_SIZE) {
        (void)sw_fail(&err, SW_CORRUPT, "manager-raft's answer: root_key has the wrong size");
        fail(j, &err);
        return;
    }
    if (check_certificate(j, reply->certificate, reply->root_key.data, reply->node_id, BUS_MANAGER, &err) != 0) {
        fail(j, &err);
        return;
    }
    Swarm__NodeIdentity *identity =
        identity_new(j, reply->cluster_id, reply->node_id, BUS_MANAGER, reply->root_key.data, reply->certificate);
    identity->managers = sw_alloc0(sizeof(Swarm__ManagerAddress *));
    identity->managers[identity->n_managers++] = sw_pb_clone(reply->manager);
    SW_AUTO(sw_pb_free) Swarm__AdminIdentity *admin = admin_new(j, reply);
    if (agent_enter(j->agent, identity, admin, &err) != 0) {
        fail(j, &err);
        return;
    }
    Swarm__NodeInitReply answer = SWARM__NODE_INIT_REPLY__INIT;
    answer.node_id = reply->node_id;
    answer.worker_token = reply->worker_token;
    answer.control = (char *)(uintptr_t)without_scheme(reply->manager->control);
    j->fn(j->arg, &answer, NULL); /* frees j */
}

/* ---- join ---- */
static void join_finish(struct joining *j, const Swarm__JoinReply *reply)
{
    struct sw_err err;
    if (reply->n_managers == 0) {
        (void)sw_fail(&err, SW_CORRUPT, "the manager's answer names no manager");
        fail(j, &err);
        return;
    }
    if (check_certificate(j, reply->certificate, j->root, reply->node_id, reply->role, &err) != 0) {
        fail(j, &err);
        return;
    }
    Swarm__NodeIdentity *identity = identity_new(j, reply->cluster_id, reply->node_id, reply->role, j->root, reply->certificate);
    identity->managers = sw_alloc0(reply->n_managers * sizeof(Swarm__ManagerAddress *));
    for (size_t i = 0; i < reply->n_managers; i++)
        identity->managers[identity->n_managers++] = sw_pb_clone(reply->managers[i]);
    if (agent_enter(j->agent, identity, NULL, &err) != 0) {
        fail(j, &err);
        return;
    }
    Swarm__NodeJoinReply answer = SWARM__NODE_JOIN_REPLY__INIT;
    answer.node_id = reply->node_id;
    answer.role = reply->role;
    j->fn(j->arg, &answer, NULL); /* frees j */
}

/* ---- the conversation ---- */
static void on_answer(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct joining *j = arg;
    (void)more;
    if (body == NULL && err->code == SW_UNAVAILABLE) {
        j->last = *err; /* no leader yet, or the connection broke: the client comes back, until the time is up */
        j->asked = false;
        return;
    }
    if (body == NULL) {
        fail(j, err);
        return;
    }
    const ProtobufCMessageDescriptor *type = ((const ProtobufCMessage *)body)->descriptor;
    if (type == &swarm__bootstrap_reply__descriptor && j->init != NULL)
        init_finish(j, body);
    else if (type == &swarm__join_reply__descriptor && j->join != NULL)
        join_finish(j, body);
}

static void on_state(void *self, bool up, bool denied)
{
    struct joining *j = self;
    j->denied = j->denied || denied;
    if (!up || j->asked)
        return;
    const void *question = j->init != NULL ? (const void *)j->init : (const void *)j->join;
    j->asked = bus_ask(j->client, question, LIMIT_MS, on_answer, j) != 0;
}

static void on_limit(void *arg)
{
    struct joining *j = arg;
    struct sw_err err;
    if (j->last.code != 0)
        (void)sw_fail(&err, SW_TIMEOUT, "%.300s", j->last.text);
    else if (j->init != NULL)
        (void)sw_fail(&err, SW_TIMEOUT, "manager-raft of this node does not answer on %s: is swarm-manager-raft running?",
                      j->remote);
    else if (j->denied)
        (void)sw_fail(&err, SW_DENIED, "the manager at %s turned this node away", j->remote);
    else
        (void)sw_fail(
            &err, SW_TIMEOUT,
            "no manager of the token's cluster answered at %s within 20 seconds: it cannot be reached, or the token is of "
            "another cluster (its root key does not match)",
            j->remote);
    fail(j, &err);
}

static const struct bus_spec specs[] = {
    { &swarm__bootstrap_reply__descriptor, 0, 64u << 10, NULL },
    { &swarm__join_reply__descriptor, 0, 256u << 10, NULL },
};

static int begin(struct joining *j, const char *endpoint, const uint8_t *server_key, struct sw_err *err)
{
    const struct bus_client_spec spec = {
        .endpoint = endpoint,
        .keys = server_key != NULL ? &j->keys : NULL,
        .server_key = server_key,
        .specs = specs,
        .spec_count = sizeof specs / sizeof specs[0],
        .self = j,
        .state = on_state,
    };
    svc_timer_at(j->timer, svc_mono_ms() + LIMIT_MS);
    return bus_client_open(j->agent->bus, &spec, &j->client, err);
}

static struct joining *joining_new(struct agent *agent, joining_done_fn *fn, void *arg)
{
    struct joining *j = sw_alloc0(sizeof *j);
    j->agent = agent;
    j->fn = fn;
    j->arg = arg;
    j->timer = svc_timer_new(agent->svc, on_limit, j);
    identity_curve_make(&j->keys);
    return j;
}

int joining_init(struct agent *agent, const Swarm__NodeInitRequest *request, joining_done_fn *fn, void *arg,
                 struct joining **ret_joining, struct sw_err *err)
{
    SW_AUTO(sw_free) char *host = NULL;
    if (node_advertise(agent, request->advertise_addr, &host, err) != 0)
        return -(int)err->code;
    struct joining *j = joining_new(agent, fn, arg);
    identity_curve_make(&j->admin_keys);
    j->init = sw_alloc0(sizeof *j->init);
    swarm__bootstrap_request__init(j->init);
    j->init->curve_key = sw_pb_bytes(j->keys.public_key, IDENTITY_KEY_SIZE);
    j->init->has_admin_curve_key = true;
    j->init->admin_curve_key = sw_pb_bytes(j->admin_keys.public_key, IDENTITY_KEY_SIZE);
    j->init->advertise_host = sw_strdup(host);
    j->init->description = sw_pb_clone(agent->description);
    j->init->cluster = request->cluster != NULL ? sw_pb_clone(request->cluster) : NULL;
    j->init->has_availability = request->has_availability;
    j->init->availability = request->availability;
    j->address = SW_TAKE(host);
    j->remote = sw_strf("ipc://%s/bootstrap.sock", svc_run_dir(agent->svc));
    if (begin(j, j->remote, NULL, err) != 0) {
        joining_free(j);
        return -(int)err->code;
    }
    *ret_joining = j;
    return 0;
}

/* "HOST" or "HOST:PORT". */
static int remote_parse(const char *remote, char **ret, struct sw_err *err)
{
    const char *text = without_scheme(remote);
    const char *colon = strrchr(text, ':');
    size_t host = colon != NULL ? (size_t)(colon - text) : strlen(text);
    unsigned long port = colon != NULL ? strtoul(colon + 1, NULL, 10) : 1;
    if (host == 0 || host > 253 || strpbrk(text, " /\t;") != NULL || port == 0 || port > 65535)
        return sw_fail(err, SW_INVALID, "remote address '%.64s' is not HOST or HOST:PORT", remote);
    *ret = colon != NULL ? sw_strdup(text) : sw_strf("%s:" CONTROL_PORT, text);
    return 0;
}

static int join_addresses(struct joining *j, const Swarm__NodeJoinRequest *request, struct sw_err *err)
{
    if (remote_parse(request->remote, &j->remote, err) != 0)
        return -(int)err->code;
    bool given = (request->advertise_addr != NULL && request->advertise_addr[0] != '\0') ||
                 (j->agent->options.advertise != NULL && j->agent->options.advertise[0] != '\0');
    if (!given)
        j->address = node_address_towards(j->remote);
    return j->address != NULL ? 0 : node_advertise(j->agent, request->advertise_addr, &j->address, err);
}

int joining_join(struct agent *agent, const Swarm__NodeJoinRequest *request, joining_done_fn *fn, void *arg,
                 struct joining **ret_joining, struct sw_err *err)
{
    uint8_t server_key[IDENTITY_KEY_SIZE];
    struct joining *j = joining_new(agent, fn, arg);
    if (identity_token_parse(request->token, j->root, j->secret, err) != 0 ||
        identity_root_curve_public(j->root, server_key, err) != 0 || join_addresses(j, request, err) != 0) {
        joining_free(j);
        return -(int)err->code;
    }
    j->join = sw_alloc0(sizeof *j->join);
    swarm__join_request__init(j->join);
    j->join->secret = sw_pb_bytes(j->secret, sizeof j->secret);
    j->join->curve_key = sw_pb_bytes(j->keys.public_key, IDENTITY_KEY_SIZE);
    j->join->description = sw_pb_clone(agent->description);
    j->join->node_address = sw_strdup(j->address);
    j->join->has_availability = request->has_availability;
    j->join->availability = request->availability;
    SW_AUTO(sw_free) char *endpoint = sw_strf("tcp://%s", j->remote);
    if (begin(j, endpoint, server_key, err) != 0) {
        joining_free(j);
        return -(int)err->code;
    }
    *ret_joining = j;
    return 0;
}
