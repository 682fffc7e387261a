#include "services/manager-raft/io/bootstrap.h"

#include "common/base/units.h"
#include "services/manager-raft/core/cluster.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A cluster in the making. */
struct birth {
    struct bus_sender sender;
    struct store *store;
    struct ca *ca;
    struct raftd *raftd;
    Swarm__StoreBatch *batch;
    Swarm__BootstrapReply *reply;
    bool proposed, answered;
};

struct bootstrap {
    struct svc *svc;
    struct bus *bus;
    const struct manager_options *options;
    svc_timer_fn *done;
    void *arg;
    struct bus_server *server;
    struct svc_timer *timeout;
    struct birth *birth;
};

/* ---- addresses ---- */

static int port_of(const char *field, const char *address, unsigned *ret_port, struct sw_err *err)
{
    const char *colon = strrchr(address, ':');
    uint64_t port = 0;
    if (colon == NULL || !sw_parse_u64(colon + 1, &port) || port < 1 || port > 65535)
        return sw_fail(err, SW_INVALID, "%s: '%s' is not IP:PORT with a port of 1 to 65535", field, address);
    *ret_port = (unsigned)port;
    return 0;
}

/* A port in use must be told now, not when the cluster is there and cannot be reached. */
static int check_free(const char *field, const char *address, unsigned port, struct sw_err *err)
{
    SW_AUTO(sw_free) char *host = sw_strdup(address);
    *strrchr(host, ':') = '\0';
    size_t len = strlen(host);
    bool brackets = len > 1 && host[0] == '[' && host[len - 1] == ']';
    if (brackets)
        host[len - 1] = '\0';
    SW_AUTO(sw_free) char *service = sw_strf("%u", port);
    const struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
    struct addrinfo *info = NULL;
    int rc = getaddrinfo(strcmp(host, "*") == 0 ? NULL : brackets ? host + 1 : host, service, &hints, &info);
    if (rc != 0)
        return sw_fail(err, SW_INVALID, "%s: '%s': %s", field, address, gai_strerror(rc));
    SW_AUTO(sw_close) int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    bool bound = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                 bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, 1) == 0;
    int saved = errno;
    freeaddrinfo(info);
    return bound ? 0 : sw_fail(err, SW_PRECONDITION, "%s: cannot listen on %s: %s", field, address, strerror(saved));
}

static int find_ports(const struct manager_options *options, struct ca_ports *ret, struct sw_err *err)
{
    struct ca_ports ports = { .dispatcher = (unsigned)options->dispatcher_port };
    int rc = port_of("listen", options->listen, &ports.control, err);
    if (rc == 0)
        rc = port_of("raft-listen", options->raft_listen, &ports.raft, err);
    if (rc == 0)
        rc = check_free("listen", options->listen, ports.control, err);
    if (rc == 0)
        rc = check_free("raft-listen", options->raft_listen, ports.raft, err);
    if (rc == 0)
        *ret = ports;
    return rc;
}

/* ---- the end of it ---- */

static void birth_free(struct birth *birth)
{
    raftd_close(birth->raftd);
    store_close(birth->store);
    ca_free(birth->ca);
    sw_pb_free(birth->batch);
    sw_pb_free(birth->reply);
    free(birth);
}
SW_AUTO_DEFINE(struct birth, birth_free);

static void on_over(void *arg)
{
    struct bootstrap *bootstrap = arg;
    if (bootstrap->birth == NULL)
        return;
    svc_timer_off(bootstrap->timeout);
    birth_free(SW_TAKE(bootstrap->birth));
    bootstrap->done(bootstrap->arg);
}

static void answer(struct bootstrap *bootstrap, const struct sw_err *err)
{
    struct birth *birth = bootstrap->birth;
    if (birth->answered)
        return;
    birth->answered = true;
    if (err != NULL)
        (void)bus_reply_error(&birth->sender, err);
    else
        (void)bus_reply(&birth->sender, birth->reply);
    svc_log(err == NULL ? SVC_INFO : SVC_ERROR, err == NULL ? "cluster made" : "cluster not made", "cluster=%s err=\"%s\"",
            birth->reply->cluster_id, err != NULL ? err->text : "");
    svc_soon(bootstrap->svc, on_over, bootstrap); /* this may be a call of the Raft driver that is to be closed */
}

static void on_timeout(void *arg)
{
    struct sw_err err;
    (void)sw_fail(&err, SW_TIMEOUT, "the first manager did not become leader in time");
    answer(arg, &err);
}

/* ---- Raft's calls ---- */

static void on_committed(void *arg, uint64_t index, const struct apply_result *result, const struct sw_err *err)
{
    (void)index;
    struct sw_err refused;
    if (result != NULL && result->results[0]->code != 0) {
        (void)sw_fail(&refused, SW_IO, "make the cluster: %s", result->results[0]->error);
        err = &refused;
    }
    answer(arg, result != NULL && result->results[0]->code == 0 ? NULL : err);
}

static void on_applied(void *arg, const struct store_entry *entry, const struct apply_result *result)
{
    (void)arg;
    (void)entry;
    (void)result;
}

static void propose(void *arg)
{
    struct bootstrap *bootstrap = arg;
    struct sw_err err;
    if (bootstrap->birth == NULL || bootstrap->birth->proposed || bootstrap->birth->answered)
        return;
    bootstrap->birth->proposed = true;
    if (raftd_propose(bootstrap->birth->raftd, bootstrap->birth->batch, on_committed, bootstrap, &err) != 0)
        answer(bootstrap, &err);
}

static void on_status(void *arg, uint64_t term, bool leader, const char *leader_node_id)
{
    (void)term;
    (void)leader_node_id;
    if (leader)
        svc_soon(((struct bootstrap *)arg)->svc, propose, arg);
}

/* ---- the request ---- */

static int move_aside(const char *state_dir, struct sw_err *err)
{
    SW_AUTO(sw_free) char *now = sw_strf("%s/raft", state_dir);
    SW_AUTO(sw_free) char *old = sw_strf("%s/raft.old", state_dir);
    if (access(now, F_OK) != 0)
        return 0;
    int rc = svc_rmtree(old, err);
    if (rc != 0 && rc != -SW_NOT_FOUND)
        return rc;
    if (rename(now, old) != 0)
        return sw_fail(err, SW_IO, "move '%s' aside: %s", now, strerror(errno));
    return 0;
}

static int open_raft(struct bootstrap *bootstrap, struct birth *birth, const char *dir, struct sw_err *err)
{
    int rc = store_open(dir, 0, &birth->store, err);
    if (rc != 0)
        return rc;
    const struct bus_keys none = { 0 };
    const struct raftd_spec spec = {
        .svc = bootstrap->svc,
        .bus = bootstrap->bus,
        .store = birth->store,
        .node_id = birth->reply->node_id,
        .raft_address = birth->reply->manager->raft,
        .keys = &none, /* no peer socket: the voter is alone */
        .heartbeat_ms = bootstrap->options->heartbeat_ms,
        .election_ms = bootstrap->options->election_ms,
        .applied = on_applied,
        .status = on_status,
        .arg = bootstrap,
    };
    rc = raftd_open(&spec, &birth->raftd, err);
    return rc != 0 ? rc : raftd_bootstrap(birth->raftd, err);
}

static int check(const struct bootstrap *bootstrap, const Swarm__BootstrapRequest *request, struct sw_err *err)
{
    SW_AUTO(sw_pb_free) Swarm__NodeIdentity *identity = NULL;
    if (bootstrap->birth != NULL)
        return sw_fail(err, SW_UNAVAILABLE, "a cluster is being made already");
    int rc = identity_node_load(svc_state_dir(bootstrap->svc), &identity, err);
    if (rc != -SW_NOT_FOUND)
        return sw_fail(err, SW_PRECONDITION,
                       "this node is already part of a swarm. Use \"swarm-cli leave\" to leave this swarm first");
    return request->cluster != NULL ? cluster_spec_check(request->cluster, err) : 0;
}

static int on_request(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct bootstrap *bootstrap = self;
    struct ca_ports ports;
    int rc = check(bootstrap, body, err);
    if (rc == 0)
        rc = find_ports(bootstrap->options, &ports, err);
    if (rc == 0)
        rc = move_aside(svc_state_dir(bootstrap->svc), err);
    if (rc != 0)
        return rc;
    SW_AUTO(sw_free) char *dir = sw_strf("%s/raft", svc_state_dir(bootstrap->svc));
    SW_AUTO(birth_free) struct birth *birth = sw_alloc0(sizeof *birth);
    birth->sender = *sender;
    rc = svc_mkdirs(dir, 0700, err);
    if (rc == 0)
        rc = ca_new(svc_state_dir(bootstrap->svc), &birth->ca, err);
    if (rc == 0)
        rc = ca_bootstrap(birth->ca, body, ports, svc_wall_ns(), &birth->batch, &birth->reply, err);
    if (rc == 0)
        rc = open_raft(bootstrap, birth, dir, err);
    if (rc != 0)
        return rc;
    bootstrap->birth = SW_TAKE(birth);
    svc_timer_at(bootstrap->timeout, svc_mono_ms() + BOOTSTRAP_TIMEOUT_MS);
    return 0;
}

/* ---- life ---- */

SW_AUTO_DEFINE(struct bootstrap, bootstrap_close);

int bootstrap_open(struct svc *svc, struct bus *bus, const struct manager_options *options, svc_timer_fn *done, void *arg,
                   struct bootstrap **ret_bootstrap, struct sw_err *err)
{
    static const struct bus_spec specs[] = {
        { &swarm__bootstrap_request__descriptor, BUS_LOCAL, 64u << 10, on_request },
    };
    SW_AUTO(bootstrap_close) struct bootstrap *bootstrap = sw_alloc0(sizeof *bootstrap);
    *bootstrap = (struct bootstrap) { .svc = svc, .bus = bus, .options = options, .done = done, .arg = arg };
    bootstrap->timeout = svc_timer_new(svc, on_timeout, bootstrap);
    SW_AUTO(sw_free) char *endpoint = sw_strf("ipc://%s/bootstrap.sock", svc_run_dir(svc));
    const char *endpoints[] = { endpoint, NULL };
    const struct bus_server_spec spec = { .endpoints = endpoints, .specs = specs, .spec_count = 1, .self = bootstrap };
    int rc = bus_server_open(bus, &spec, &bootstrap->server, err);
    if (rc != 0)
        return sw_wrap(err, "open the bootstrap socket");
    *ret_bootstrap = SW_TAKE(bootstrap);
    return 0;
}

void bootstrap_close(struct bootstrap *bootstrap)
{
    if (bootstrap == NULL)
        return;
    if (bootstrap->birth != NULL) {
        bootstrap->birth->answered = true; /* nobody is told any more */
        birth_free(bootstrap->birth);
    }
    bus_server_close(bootstrap->server);
    svc_timer_free(bootstrap->timeout);
    free(bootstrap);
}

bool bootstrap_busy(const struct bootstrap *bootstrap)
{
    return bootstrap->birth != NULL;
}
