#include "services/agent/io/agent.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEAVE_LIMIT_MS 60000u /* tasks that do not end are left to the executor's clean-up at the next start */
#define JOBS_MAX 64u

struct image_call {
    struct local *local;
    struct bus_sender sender;
};
struct local {
    struct agent *agent;
    struct bus_server *server;
    struct joining *joining;
    struct bus_sender joiner; /* who waits for it */
    bool leaving;
    struct bus_sender leaver;
    struct svc_timer *leave_timer;
    size_t jobs;
};

static struct agent *agent_of(void *self)
{
    return ((struct local *)self)->agent;
}

/* ---- info ---- */
static int on_info(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct agent *agent = agent_of(self);
    (void)body;
    (void)err;
    Swarm__NodeInfoReply reply = SWARM__NODE_INFO_REPLY__INIT;
    Swarm__NodeIdentity *identity = agent->identity;
    SW_AUTO(sw_free) char *admin = identity_admin_path(svc_state_dir(agent->svc));
    reply.state = identity != NULL ? SWARM__LOCAL_STATE__LOCAL_ACTIVE : SWARM__LOCAL_STATE__LOCAL_INACTIVE;
    if (identity == NULL && ((struct local *)self)->joining != NULL)
        reply.state = SWARM__LOCAL_STATE__LOCAL_PENDING;
    if (identity != NULL) {
        reply.node_id = identity->node_id;
        reply.cluster_id = identity->cluster_id;
        reply.has_role = true;
        reply.role = identity->role;
        reply.node_address = identity->node_address;
        reply.managers = identity->managers;
        reply.n_managers = identity->n_managers;
        reply.admin_identity = access(admin, F_OK) == 0 ? admin : NULL;
    }
    reply.description = agent->description;
    reply.has_session = true;
    reply.session = session_is_open(agent->session);
    reply.has_tasks_running = true;
    reply.tasks_running = (uint32_t)worker_stats(agent->worker).running;
    reply.version = (char *)(uintptr_t)svc_version();
    (void)bus_reply(sender, &reply);
    return 0;
}

/* ---- init and join ---- */
static void on_joined(void *arg, const void *reply, const struct sw_err *err)
{
    struct local *local = arg;
    if (reply != NULL)
        (void)bus_reply(&local->joiner, reply);
    else
        (void)bus_reply_error(&local->joiner, err);
    joining_free(local->joining);
    local->joining = NULL;
}

static int refuse_if_taken(struct local *local, struct sw_err *err)
{
    if (local->agent->identity != NULL)
        return sw_fail(err, SW_PRECONDITION,
                       "This node is already part of a swarm. Use \"swarm-cli leave\" to leave this swarm and join another one.");
    if (local->joining != NULL || local->leaving)
        return sw_fail(err, SW_PRECONDITION, "this node is joining or leaving a swarm already");
    return 0;
}

/* Which address and port a manager listens on is the option of its own process. */
static int refuse_listen(const char *listen_addr, struct sw_err *err)
{
    if (listen_addr == NULL || listen_addr[0] == '\0' || strcmp(listen_addr, "0.0.0.0:2377") == 0)
        return 0;
    return sw_fail(err, SW_UNSUPPORTED, "listen address: set it with --listen of swarm-manager-raft");
}

static int on_init(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct local *local = self;
    const Swarm__NodeInitRequest *request = body;
    if (local->agent->identity != NULL && request->force_new_cluster)
        return sw_fail(err, SW_UNSUPPORTED, "--force-new-cluster on a node of a swarm is not supported");
    if (refuse_if_taken(local, err) != 0 || refuse_listen(request->listen_addr, err) != 0)
        return -(int)err->code;
    local->joiner = *sender;
    return joining_init(local->agent, request, on_joined, local, &local->joining, err);
}

static int on_join(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct local *local = self;
    const Swarm__NodeJoinRequest *request = body;
    if (refuse_if_taken(local, err) != 0 || refuse_listen(request->listen_addr, err) != 0)
        return -(int)err->code;
    local->joiner = *sender;
    return joining_join(local->agent, request, on_joined, local, &local->joining, err);
}

/* ---- leave: tasks stop, the cluster is told, the identity goes ---- */
static void leave_end(void *arg)
{
    struct local *local = arg;
    Swarm__Empty empty = SWARM__EMPTY__INIT;
    agent_forget(local->agent);
    local->leaving = false;
    (void)bus_reply(&local->leaver, &empty);
}

static void leave_goodbye(void *arg)
{
    struct local *local = arg;
    svc_timer_off(local->leave_timer);
    session_goodbye(local->agent->session, leave_end, local);
}

void local_tasks_gone(struct local *local)
{
    if (local->leaving)
        svc_soon(local->agent->svc, leave_goodbye, local);
}

static int on_leave(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct local *local = self;
    const Swarm__NodeLeaveRequest *request = body;
    if (local->agent->identity == NULL)
        return sw_fail(err, SW_PRECONDITION, "This node is not part of a swarm");
    if (local->leaving)
        return sw_fail(err, SW_PRECONDITION, "this node is leaving already");
    if (local->agent->identity->role == BUS_MANAGER && !request->force)
        return sw_fail(
            err, SW_PRECONDITION,
            "You are attempting to leave the swarm on a node that is participating as a manager. Removing the last manager "
            "erases all current state of the swarm. Use `--force` to ignore this message.");
    local->leaving = true;
    local->leaver = *sender;
    svc_timer_at(local->leave_timer, svc_mono_ms() + LEAVE_LIMIT_MS);
    agent_step(local->agent, (struct worker_event) { .type = WORKER_EV_LEAVE });
    return 0;
}

/* ---- images ---- */
static void image_progress(void *arg, const char *line)
{
    struct image_call *call = arg;
    Swarm__ImageProgress progress = SWARM__IMAGE_PROGRESS__INIT;
    progress.line = (char *)(uintptr_t)line;
    (void)bus_reply_more(&call->sender, &progress);
}

static void call_end(struct image_call *call)
{
    call->local->jobs--;
    free(call);
}

static void image_done(void *arg, const Swarm__Image *image, const struct sw_err *err)
{
    struct image_call *call = arg;
    Swarm__ImageReply reply = SWARM__IMAGE_REPLY__INIT;
    reply.image = (Swarm__Image *)(uintptr_t)image;
    if (image != NULL)
        (void)bus_reply(&call->sender, &reply);
    else
        (void)bus_reply_error(&call->sender, err);
    call_end(call);
}

static struct image_call *call_new(struct local *local, const struct bus_sender *sender, struct sw_err *err)
{
    if (local->jobs >= JOBS_MAX) {
        (void)sw_fail(err, SW_LIMIT, "%u image operations are under way already", JOBS_MAX);
        return NULL;
    }
    struct image_call *call = sw_alloc0(sizeof *call);
    call->local = local;
    call->sender = *sender;
    local->jobs++;
    return call;
}

static int call_started(struct image_call *call, int rc)
{
    if (rc != 0)
        call_end(call);
    return rc;
}

static int on_image_list(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    (void)body;
    (void)err;
    SW_AUTO(sw_pb_free) Swarm__ImageListReply *reply = images_list(agent_of(self)->images);
    (void)bus_reply(sender, reply);
    return 0;
}

static int on_image_import(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    const Swarm__ImageImportRequest *request = body;
    struct image_call *call = call_new(self, sender, err);
    if (call == NULL)
        return -(int)err->code;
    const struct images_calls calls = { image_progress, image_done, call };
    return call_started(call, images_import(agent_of(self)->images, request->source, request->name, &calls, NULL, err));
}

static int on_image_pull(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct image_call *call = call_new(self, sender, err);
    if (call == NULL)
        return -(int)err->code;
    const struct images_calls calls = { image_progress, image_done, call };
    return call_started(call,
                        images_pull(agent_of(self)->images, ((const Swarm__ImagePullRequest *)body)->name, &calls, NULL, err));
}

static int on_image_remove(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    const Swarm__ImageRemoveRequest *request = body;
    Swarm__Empty empty = SWARM__EMPTY__INIT;
    if (images_remove(agent_of(self)->images, request->ref, request->force, err) != 0)
        return -(int)err->code;
    (void)bus_reply(sender, &empty);
    return 0;
}

static void image_resolved(void *arg, const Swarm__ImageResolveReply *reply, const struct sw_err *err)
{
    struct image_call *call = arg;
    if (reply != NULL)
        (void)bus_reply(&call->sender, reply);
    else
        (void)bus_reply_error(&call->sender, err);
    call_end(call);
}

static int on_image_resolve(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    const Swarm__ImageResolveRequest *request = body;
    struct image_call *call = call_new(self, sender, err);
    if (call == NULL)
        return -(int)err->code;
    return call_started(call, images_resolve(agent_of(self)->images, request->name, image_resolved, call, err));
}

static const struct bus_spec specs[] = {
    { &swarm__node_info_request__descriptor, BUS_LOCAL, 64, on_info },
    { &swarm__node_init_request__descriptor, BUS_LOCAL, 64u << 10, on_init },
    { &swarm__node_join_request__descriptor, BUS_LOCAL, 4096, on_join },
    { &swarm__node_leave_request__descriptor, BUS_LOCAL, 64, on_leave },
    { &swarm__image_list_request__descriptor, BUS_LOCAL, 64, on_image_list },
    { &swarm__image_import_request__descriptor, BUS_LOCAL, 8192, on_image_import },
    { &swarm__image_pull_request__descriptor, BUS_LOCAL, 4096, on_image_pull },
    { &swarm__image_remove_request__descriptor, BUS_LOCAL, 4096, on_image_remove },
    { &swarm__image_resolve_request__descriptor, BUS_LOCAL, 4096, on_image_resolve },
};

int local_open(struct agent *agent, struct local **ret_local, struct sw_err *err)
{
    struct local *local = sw_alloc0(sizeof *local);
    local->agent = agent;
    local->leave_timer = svc_timer_new(agent->svc, leave_goodbye, local);
    SW_AUTO(sw_free) char *endpoint = sw_strf("ipc://%s/node.sock", svc_run_dir(agent->svc));
    const char *const endpoints[] = { endpoint, NULL };
    const struct bus_server_spec spec = {
        .endpoints = endpoints,
        .specs = specs,
        .spec_count = sizeof specs / sizeof specs[0],
        .self = local,
    };
    *ret_local = local;
    return bus_server_open(agent->bus, &spec, &local->server, err);
}

void local_close(struct local *local)
{
    if (local == NULL)
        return;
    joining_free(local->joining);
    bus_server_close(local->server);
    svc_timer_free(local->leave_timer);
    free(local);
}
