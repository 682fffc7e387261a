#include "services/manager-raft/io/control_api.h"

#include "services/manager-raft/io/join.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define JOINS_PER_SECOND 50
#define SMALL 4096u
#define FILTERS (64u << 10)
#define SPEC (1u << 20)
#define WRITES_MAX 1024u /* proposed and not yet answered */

struct control_api {
    struct control_api_spec spec;
    struct bus_server *server;
    struct ca_admission admission;
    struct join join;
    struct sw_rng rng;
    struct sw_scratch scratch;
    char leader_id[64];
    unsigned writes;
    bool tcp;
    double *requests, *refused;
    struct svc_histogram *write_seconds;
};

static struct control control_of(struct control_api *api)
{
    return (struct control) {
        .mirror = api->spec.mirror,
        .scratch = &api->scratch,
        .rng = &api->rng,
        .now_ns = svc_wall_ns(),
        .self_id = api->spec.node_id,
        .leader_id = api->leader_id[0] != '\0' ? api->leader_id : NULL,
        .raft_term = raftd_term(api->spec.raftd),
        .raft_index = raftd_commit_index(api->spec.raftd),
        .server_version = svc_version(),
    };
}

static int check_leader(const struct control_api *api, struct sw_err *err)
{
    if (raftd_leader(api->spec.raftd))
        return 0;
    return sw_fail(err, SW_UNAVAILABLE,
                   "The swarm does not have a leader. It's possible that too few managers are online. "
                   "Make sure more than half of the managers are online.");
}

/* ---- writes ---- */

struct write {
    struct control_api *api;
    struct bus_sender sender;
    struct control_done done;
    bool token; /* a rotation: the answer is the new token */
    Swarm__NodeRole role;
    int64_t begun_ns;
};

static void reply_token(struct control_api *api, const struct bus_sender *sender, Swarm__NodeRole role)
{
    struct sw_err err;
    char token[IDENTITY_TOKEN_SIZE];
    if (ca_token(api->spec.ca, role, token, &err) != 0) {
        (void)bus_reply_error(sender, &err);
        return;
    }
    const Swarm__Node *self = mirror_node(api->spec.mirror, api->spec.node_id);
    const char *control = self != NULL && self->manager != NULL ? self->manager->control : "";
    Swarm__JoinTokenReply reply = SWARM__JOIN_TOKEN_REPLY__INIT;
    reply.token = token;
    reply.control = (char *)(strncmp(control, "tcp://", 6) == 0 ? control + 6 : control);
    (void)bus_reply(sender, &reply);
    sodium_memzero(token, sizeof token);
}

static void write_answer(struct write *write, uint64_t index, const struct apply_result *result, const struct sw_err *err)
{
    struct control_api *api = write->api;
    if (result == NULL) {
        (void)bus_reply_error(&write->sender, err);
        return;
    }
    assert(result->result_count == 1);
    const Swarm__TxnResult *one = result->results[0];
    if (one->code != 0) {
        struct sw_err refused = { .code = (enum sw_code)one->code };
        (void)snprintf(refused.text, sizeof refused.text, "%s", one->error != NULL ? one->error : sw_code_name(one->code));
        (void)bus_reply_error(&write->sender, &refused);
    } else if (write->token) {
        reply_token(api, &write->sender, write->role);
    } else {
        const struct control control = control_of(api);
        (void)bus_reply(&write->sender, control_done(&control, &write->done, index));
        sw_scratch_reset(&api->scratch);
    }
}

static void on_applied(void *arg, uint64_t index, const struct apply_result *result, const struct sw_err *err)
{
    struct write *write = arg;
    write_answer(write, index, result, err);
    write->api->writes--;
    svc_observe(write->api->write_seconds, (double)(svc_wall_ns() - write->begun_ns) / 1e9);
    free(write);
}

static int propose(struct control_api *api, const struct write *from, const Swarm__StoreBatch *batch, struct sw_err *err)
{
    if (api->writes >= WRITES_MAX)
        return sw_fail(err, SW_LIMIT, "%u changes are waiting: try again", WRITES_MAX);
    struct write *write = sw_alloc0(sizeof *write);
    *write = *from;
    write->api = api;
    write->begun_ns = svc_wall_ns();
    api->writes++;
    int rc = raftd_propose(api->spec.raftd, batch, on_applied, write, err);
    if (rc != 0) {
        api->writes--;
        free(write);
    }
    return rc;
}

/* ---- handlers ---- */

/* An answer nobody could receive is an answer too: else the client waits in vain. */
static int send_answer(const struct bus_sender *sender, const void *reply, struct sw_err *err)
{
    if (bus_reply(sender, reply) != -SW_LIMIT)
        return 0;
    return sw_fail(err, SW_LIMIT, "the answer has more than %u MiB: narrow it with filters", BUS_SIZE_MAX >> 20);
}

static int answer_request(struct control_api *api, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    int rc = check_leader(api, err);
    if (rc != 0)
        return rc;
    const struct control control = control_of(api);
    struct control_answer answer = { 0 };
    rc = control_request(&control, body, &answer, err);
    if (rc != 0)
        return rc;
    if (answer.batch == NULL)
        return send_answer(sender, answer.reply, err);
    const struct write write = { .sender = *sender, .done = answer.done };
    rc = propose(api, &write, answer.batch, err);
    control_answer_deinit(&answer);
    return rc;
}

static int on_request(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct control_api *api = self;
    *api->requests += 1;
    int rc = answer_request(api, sender, body, err);
    if (rc != 0)
        *api->refused += 1;
    sw_scratch_reset(&api->scratch);
    return rc;
}

static int on_token(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct control_api *api = self;
    const Swarm__JoinTokenRequest *request = body;
    int rc = check_leader(api, err);
    if (rc != 0)
        return rc;
    if (!request->rotate) {
        reply_token(api, sender, request->role);
        return 0;
    }
    SW_AUTO(sw_pb_free) Swarm__StoreBatch *batch = NULL;
    rc = ca_rotate(api->spec.ca, api->spec.mirror, request->role, svc_wall_ns(), &batch, err);
    if (rc != 0)
        return rc;
    const struct write write = { .sender = *sender, .token = true, .role = request->role };
    return propose(api, &write, batch, err);
}

static int on_join(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct control_api *api = self;
    int rc = check_leader(api, err);
    return rc != 0 ? rc : join_request(&api->join, sender, body, svc_wall_ns(), err);
}

static int on_logs(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct control_api *api = self;
    int rc = check_leader(api, err);
    return rc != 0 ? rc : streams_logs(api->spec.streams, sender, body, err);
}

static int on_watch(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct control_api *api = self;
    int rc = check_leader(api, err);
    return rc != 0 ? rc : streams_watch(api->spec.streams, sender, body, err);
}

static int on_cancel(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct control_api *api = self;
    int rc = streams_cancel(api->spec.streams, sender, ((const Swarm__CancelRequest *)body)->seq, err);
    if (rc == 0) {
        const Swarm__Empty empty = SWARM__EMPTY__INIT;
        (void)bus_reply(sender, &empty);
    }
    return rc;
}

static int on_version(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    (void)self;
    (void)body;
    (void)err;
    Swarm__VersionReply reply = SWARM__VERSION_REPLY__INIT;
    reply.version = (char *)svc_version();
    reply.commit = (char *)svc_commit();
    reply.built = (char *)svc_built();
    (void)bus_reply(sender, &reply);
    return 0;
}

#define USERS (BUS_ADMIN | BUS_MANAGER)
static const struct bus_spec specs[] = {
    { &swarm__cluster_get_request__descriptor, USERS, SMALL, on_request },
    { &swarm__cluster_update_request__descriptor, USERS, FILTERS, on_request },
    { &swarm__join_token_request__descriptor, USERS, SMALL, on_token },
    { &swarm__node_list_request__descriptor, USERS, FILTERS, on_request },
    { &swarm__node_get_request__descriptor, USERS, SMALL, on_request },
    { &swarm__node_update_request__descriptor, USERS, SPEC, on_request },
    { &swarm__node_remove_request__descriptor, USERS, SMALL, on_request },
    { &swarm__service_create_request__descriptor, USERS, SPEC, on_request },
    { &swarm__service_update_request__descriptor, USERS, SPEC, on_request },
    { &swarm__service_remove_request__descriptor, USERS, SMALL, on_request },
    { &swarm__service_get_request__descriptor, USERS, SMALL, on_request },
    { &swarm__service_list_request__descriptor, USERS, FILTERS, on_request },
    { &swarm__service_watch_request__descriptor, USERS, SMALL, on_watch },
    { &swarm__task_list_request__descriptor, USERS, FILTERS, on_request },
    { &swarm__task_get_request__descriptor, USERS, SMALL, on_request },
    { &swarm__logs_request__descriptor, USERS, SMALL, on_logs },
    { &swarm__cancel_request__descriptor, USERS, SMALL, on_cancel },
    { &swarm__version_request__descriptor, USERS, SMALL, on_version },
    { &swarm__join_request__descriptor, BUS_JOINER | BUS_WORKER | BUS_MANAGER, JOIN_REQUEST_MAX, on_join },
};

/* ---- life ---- */

static int propose_join(void *arg, const Swarm__StoreBatch *batch, raftd_done_fn *fn, void *fn_arg, struct sw_err *err)
{
    return raftd_propose(arg, batch, fn, fn_arg, err);
}

static int open_server(struct control_api *api, struct sw_err *err)
{
    SW_AUTO(sw_free) char *local = sw_strf("ipc://%s/control.sock", svc_run_dir(api->spec.svc));
    SW_AUTO(sw_free) char *tcp = api->tcp ? sw_strf("tcp://%s", api->spec.listen) : NULL;
    const char *endpoints[] = { local, tcp, NULL };
    struct bus_keys keys;
    int rc = ca_control_keys(api->spec.ca, &keys, err);
    if (rc != 0)
        return rc;
    const struct bus_server_spec spec = {
        .endpoints = endpoints,
        .keys = &keys,
        .specs = specs,
        .spec_count = sizeof specs / sizeof *specs,
        .self = api,
        .admit = ca_admit,
        .admit_arg = &api->admission,
        .rate_joiner = JOINS_PER_SECOND,
    };
    rc = bus_server_open(api->spec.bus, &spec, &api->server, err);
    sodium_memzero(&keys, sizeof keys);
    return rc;
}

SW_AUTO_DEFINE(struct control_api, control_api_close);

int control_api_open(const struct control_api_spec *spec, struct control_api **ret_api, struct sw_err *err)
{
    SW_AUTO(control_api_close) struct control_api *api = sw_alloc0(sizeof *api);
    api->spec = *spec;
    api->tcp = spec->listen != NULL && spec->listen[0] != '\0';
    api->admission = (struct ca_admission) { .mirror = spec->mirror, .joiners = true };
    api->join = (struct join) { .ca = spec->ca, .mirror = spec->mirror, .propose = propose_join, .propose_arg = spec->raftd };
    sw_rng_seed(&api->rng, svc_random_u64());
    struct svc_metrics *metrics = svc_metrics(spec->svc);
    api->requests =
        svc_metric(metrics, SVC_COUNTER, "swarm_manager_raft_control_requests_total", "", "Requests of the control API.");
    api->refused = svc_metric(metrics, SVC_COUNTER, "swarm_manager_raft_control_refused_total", "",
                              "Requests that were refused with a reason.");
    api->write_seconds =
        svc_histogram(metrics, "swarm_manager_raft_control_write_seconds", "From a change's proposal to its answer.");
    int rc = open_server(api, err);
    if (rc != 0)
        return sw_wrap(err, "open the control API");
    *ret_api = SW_TAKE(api);
    return 0;
}

void control_api_close(struct control_api *api)
{
    if (api == NULL)
        return;
    bus_server_close(api->server);
    sw_scratch_deinit(&api->scratch);
    free(api);
}

void control_api_set_leader(struct control_api *api, const char *leader_id)
{
    (void)snprintf(api->leader_id, sizeof api->leader_id, "%s", leader_id != NULL ? leader_id : "");
}

unsigned control_api_port(const struct control_api *api)
{
    return api->tcp ? bus_server_port(api->server, 1) : 0;
}
