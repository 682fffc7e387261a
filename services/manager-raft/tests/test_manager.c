/* The real process: bootstrap, identity, control API, feeds, kill -9 and restart, leave. Usage: test-manager PATH-OF-DAEMON. */
#include "common/store/tests/objects.h"

#include "common/identity/identity.h"
#include "proto/control.pb-c.h"
#include "proto/envelope.pb-c.h"
#include "proto/node.pb-c.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static const char *daemon_path;
static char dir[64];
static pid_t daemon_pid;
static char listen_at[32], raft_at[32];
static struct bus_keys node_keys, admin_keys;
static uint8_t root_key[32];
static char state_dir[96];

/* ---- the daemon ---- */

/* A port that is free now; nothing else here asks for ports of the ephemeral range by number. */
static void free_port(char ret[32])
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    (void)snprintf(ret, 32, "127.0.0.1:%u", ntohs(address.sin_port));
}

static void start(void)
{
    char run_dir[96];
    char log_path[96];
    (void)snprintf(run_dir, sizeof run_dir, "%s/run", dir);
    (void)snprintf(log_path, sizeof log_path, "%s/log", dir);
    daemon_pid = fork();
    assert_true(daemon_pid >= 0);
    if (daemon_pid > 0)
        return;
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)dup2(log, STDERR_FILENO);
    (void)execl(daemon_path, daemon_path, "--state-dir", state_dir, "--run-dir", run_dir, "--listen", listen_at, "--raft-listen",
                raft_at, "--metrics-address", "127.0.0.1:0", NULL);
    _exit(127);
}

static int wait_end(void)
{
    int status = 0;
    assert_int_equal(waitpid(daemon_pid, &status, 0), daemon_pid);
    daemon_pid = 0;
    return status;
}

static int setup(void **state)
{
    (void)state;
    struct sw_err err;
    (void)snprintf(dir, sizeof dir, "/tmp/test-manager-XXXXXX");
    if (identity_init(&err) != 0 || mkdtemp(dir) == NULL)
        return -1;
    (void)snprintf(state_dir, sizeof state_dir, "%s/state", dir);
    free_port(listen_at);
    free_port(raft_at);
    identity_curve_make(&node_keys);
    identity_curve_make(&admin_keys);
    start();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (daemon_pid > 0) {
        (void)kill(daemon_pid, SIGKILL);
        (void)wait_end();
    }
    return svc_rmtree(dir, NULL);
}

/* ---- asking ---- */

static const struct bus_spec answers[] = {
    { &swarm__empty__descriptor, 0, 4096, NULL },
    { &swarm__bootstrap_reply__descriptor, 0, 65536, NULL },
    { &swarm__cluster_get_reply__descriptor, 0, 65536, NULL },
    { &swarm__service_create_reply__descriptor, 0, 4096, NULL },
    { &swarm__service_get_reply__descriptor, 0, 1 << 20, NULL },
    { &swarm__service_remove_reply__descriptor, 0, 4096, NULL },
    { &swarm__service_watch_event__descriptor, 0, 1 << 20, NULL },
    { &swarm__join_token_reply__descriptor, 0, 4096, NULL },
    { &swarm__feed_snapshot__descriptor, 0, 16 << 20, NULL },
    { &swarm__feed_changes__descriptor, 0, 16 << 20, NULL },
    { &swarm__commit_reply__descriptor, 0, 1 << 20, NULL },
    { &swarm__version_reply__descriptor, 0, 4096, NULL },
};

static struct bus_sync *open_client(const char *socket, const struct bus_keys *keys)
{
    char endpoint[160];
    uint8_t server_key[32];
    struct sw_err err;
    (void)snprintf(endpoint, sizeof endpoint, "ipc://%s/run/%s", dir, socket);
    struct bus_client_spec spec = {
        .endpoint = endpoint, .keys = keys, .specs = answers, .spec_count = sizeof answers / sizeof *answers
    };
    if (keys != NULL) {
        assert_int_equal(identity_root_curve_public(root_key, server_key, &err), 0);
        spec.server_key = server_key;
    }
    /* The daemon may be on its way up: its sockets are there when it is ready for them. */
    struct bus_sync *sync = NULL;
    uint64_t deadline_ms = svc_mono_ms() + PATIENCE_MS;
    while (bus_sync_open(&spec, &sync, &err) != 0) {
        if (svc_mono_ms() > deadline_ms)
            fail_msg("%s", err.text);
        (void)poll(NULL, 0, 1);
    }
    return sync;
}

/* The answer, or NULL with the failure in *ret_err. */
static void *try_ask(struct bus_sync *sync, const void *body, struct sw_err *ret_err)
{
    void *reply = NULL;
    bool more = false;
    return bus_sync_ask(sync, body, PATIENCE_MS, &reply, &more, ret_err) == 0 ? reply : NULL;
}

static void *must_ask(struct bus_sync *sync, const void *body)
{
    struct sw_err err = { 0 };
    void *reply = try_ask(sync, body, &err);
    if (reply == NULL)
        fail_msg("%s", err.text);
    return reply;
}

static void *must_next(struct bus_sync *sync)
{
    struct sw_err err = { 0 };
    void *reply = NULL;
    bool more = false;
    if (bus_sync_next(sync, PATIENCE_MS, &reply, &more, &err) != 0)
        fail_msg("%s", err.text);
    return reply;
}

/* ---- the steps; they build on one another ---- */

static void save_identity(const Swarm__BootstrapReply *reply)
{
    Swarm__NodeIdentity identity = SWARM__NODE_IDENTITY__INIT;
    struct sw_err err;
    identity.cluster_id = reply->cluster_id;
    identity.node_id = reply->node_id;
    identity.role = BUS_MANAGER;
    identity.root_key = reply->root_key;
    identity.curve_public = (ProtobufCBinaryData) { 32, node_keys.public_key };
    identity.curve_secret = (ProtobufCBinaryData) { 32, node_keys.secret_key };
    identity.certificate = reply->certificate;
    if (identity_node_save(state_dir, &identity, &err) != 0)
        fail_msg("%s", err.text);
}

static void a_cluster_is_made(void **state)
{
    (void)state;
    Swarm__BootstrapRequest request = SWARM__BOOTSTRAP_REQUEST__INIT;
    Swarm__NodeDescription description = SWARM__NODE_DESCRIPTION__INIT;
    description.hostname = (char[]) { "host-1" };
    request.curve_key = (ProtobufCBinaryData) { 32, node_keys.public_key };
    request.has_admin_curve_key = true;
    request.admin_curve_key = (ProtobufCBinaryData) { 32, admin_keys.public_key };
    request.advertise_host = (char[]) { "127.0.0.1" };
    request.description = &description;
    struct bus_sync *sync = open_client("bootstrap.sock", NULL);
    Swarm__BootstrapReply *reply = must_ask(sync, &request);
    memcpy(root_key, reply->root_key.data, 32);
    assert_int_equal(strncmp(reply->worker_token, "SWMTKN-1-", 9), 0);
    save_identity(reply);
    sw_pb_free(reply);
    struct sw_err err;
    assert_null(try_ask(sync, &request, &err)); /* there is one now */
    assert_int_equal(err.code, SW_PRECONDITION);
    bus_sync_close(sync);
}

static Swarm__ServiceCreateReply *create_service(struct bus_sync *sync, const char *name, struct sw_err *err)
{
    Swarm__ServiceCreateRequest request = SWARM__SERVICE_CREATE_REQUEST__INIT;
    SW_AUTO(sw_pb_free) Swarm__Service *service = test_service("x", name);
    request.spec = service->spec;
    return try_ask(sync, &request, err);
}

static void services_are_created_by_the_administrator(void **state)
{
    (void)state;
    struct sw_err err = { 0 };
    struct bus_sync *sync = open_client("control.sock", &admin_keys);
    Swarm__ServiceCreateReply *reply = create_service(sync, "web", &err);
    if (reply == NULL)
        fail_msg("%s", err.text);
    assert_true(reply->version > 0);
    sw_pb_free(reply);
    assert_null(create_service(sync, "WEB", &err));
    assert_int_equal(err.code, SW_EXISTS);
    const Swarm__ClusterGetRequest cluster = SWARM__CLUSTER_GET_REQUEST__INIT;
    Swarm__ClusterGetReply *got = must_ask(sync, &cluster);
    assert_false(got->cluster->has_root_secret_sealed);
    assert_int_equal(got->managers, 1);
    sw_pb_free(got);
    Swarm__JoinTokenRequest token = SWARM__JOIN_TOKEN_REQUEST__INIT;
    Swarm__JoinTokenReply *before = must_ask(sync, &token);
    assert_string_equal(before->control, listen_at);
    token.has_rotate = token.rotate = true;
    Swarm__JoinTokenReply *after = must_ask(sync, &token);
    assert_string_not_equal(before->token, after->token);
    sw_pb_free(before);
    sw_pb_free(after);
    bus_sync_close(sync);
}

static void strangers_may_only_ask_to_join(void **state)
{
    (void)state;
    struct bus_keys stranger;
    struct sw_err err = { 0 };
    identity_curve_make(&stranger);
    struct bus_sync *sync = open_client("control.sock", &stranger);
    assert_null(create_service(sync, "evil", &err));
    assert_int_equal(err.code, SW_DENIED);
    bus_sync_close(sync);
}

static Swarm__FeedSnapshot *subscribe(struct bus_sync *sync, Swarm__Table *tables, size_t count)
{
    Swarm__FeedSubscribe request = SWARM__FEED_SUBSCRIBE__INIT;
    request.tables = tables;
    request.n_tables = count;
    return must_ask(sync, &request);
}

static int commit(struct bus_sync *sync, uint64_t term, Swarm__StoreAction *action, struct sw_err *err)
{
    Swarm__CommitRequest request = SWARM__COMMIT_REQUEST__INIT;
    Swarm__StoreBatch *batch = store_batch_new(1);
    batch->has_term = true;
    batch->term = term;
    store_txn_add(store_batch_txn(batch), action);
    request.batch = batch;
    Swarm__CommitReply *reply = try_ask(sync, &request, err);
    int code = reply != NULL ? reply->results[0]->code : -(int)err->code;
    sw_pb_free(reply);
    sw_pb_free(batch);
    return code;
}

static void feeds_tell_and_commits_are_checked(void **state)
{
    (void)state;
    struct sw_err err = { 0 };
    Swarm__Table tables[] = { SWARM__TABLE__TABLE_CLUSTER, T_SERVICE, T_TASK };
    struct bus_sync *feed = open_client("feed-scheduler.sock", NULL);
    struct bus_sync *commits = open_client("feed-scheduler.sock", NULL);
    Swarm__FeedSnapshot *snapshot = subscribe(feed, tables, 3);
    assert_true(snapshot->done && snapshot->leader);
    assert_int_equal(snapshot->n_objects, 2);
    uint64_t term = snapshot->term;
    for (size_t i = 0; i < snapshot->n_objects; i++)
        if (snapshot->objects[i]->table == SWARM__TABLE__TABLE_CLUSTER) {
            SW_AUTO(sw_pb_free)
            Swarm__Cluster *cluster = sw_pb_unpack(&swarm__cluster__descriptor, snapshot->objects[i]->record.data,
                                                   snapshot->objects[i]->record.len, 1 << 20, &err);
            assert_false(cluster->has_root_secret_sealed || cluster->has_worker_secret_sealed);
        }
    sw_pb_free(snapshot);

    SW_AUTO(sw_pb_free) Swarm__Task *task = test_task("t1", "s", 1, "n");
    assert_int_equal(commit(commits, term, store_action_new(A_CREATE, T_TASK, "t1", 0, task), &err), 0);
    Swarm__FeedChanges *changes = must_next(feed);
    assert_int_equal(changes->n_changes, 1);
    assert_string_equal(changes->changes[0]->id, "t1");
    assert_int_equal(changes->term, term);
    sw_pb_free(changes);
    assert_int_equal(commit(commits, term, store_action_new(A_CREATE, T_TASK, "t1", 0, task), &err), SW_EXISTS);
    assert_int_equal(commit(commits, term + 1, store_action_new(A_REMOVE, T_TASK, "t1", 0, NULL), &err), -SW_FENCED);
    assert_int_equal(commit(commits, term, store_action_new(A_REMOVE, T_NODE, "n", 0, NULL), &err), -SW_DENIED);
    bus_sync_close(feed);
    bus_sync_close(commits);
}

/* Nothing changes meanwhile, so that nothing is sent to those who are gone. */
static void a_feed_is_there_again_for_who_comes_back(void **state)
{
    (void)state;
    Swarm__Table tables[] = { SWARM__TABLE__TABLE_CLUSTER, T_TASK };
    for (int round = 0; round < 12; round++) {
        struct bus_sync *feed = open_client("feed-dispatcher.sock", NULL);
        Swarm__FeedSnapshot *snapshot = subscribe(feed, tables, 2);
        assert_true(snapshot->done);
        sw_pb_free(snapshot);
        bus_sync_close(feed);
    }
}

static void a_killed_manager_comes_back_with_all(void **state)
{
    (void)state;
    struct sw_err err = { 0 };
    struct bus_sync *sync = open_client("control.sock", &admin_keys);
    for (int round = 0; round < 5; round++) { /* die right after each answer */
        char name[16];
        (void)snprintf(name, sizeof name, "kept%d", round);
        Swarm__ServiceCreateReply *reply = create_service(sync, name, &err);
        if (reply == NULL)
            fail_msg("%s", err.text);
        assert_int_equal(kill(daemon_pid, SIGKILL), 0);
        (void)wait_end();
        start();
        bus_sync_close(sync);
        sync = open_client("control.sock", &admin_keys);
        Swarm__ServiceGetRequest request = SWARM__SERVICE_GET_REQUEST__INIT;
        request.ref = name;
        Swarm__ServiceGetReply *got = must_ask(sync, &request);
        assert_string_equal(got->service->id, reply->id);
        sw_pb_free(got);
        sw_pb_free(reply);
    }
    bus_sync_close(sync);
}

static void a_watch_ends_with_its_service(void **state)
{
    (void)state;
    struct bus_sync *watch = open_client("control.sock", &admin_keys);
    struct bus_sync *sync = open_client("control.sock", &admin_keys);
    Swarm__ServiceWatchRequest request = SWARM__SERVICE_WATCH_REQUEST__INIT;
    request.id = (char[]) { "kept0" };
    Swarm__ServiceWatchEvent *event = must_ask(watch, &request);
    assert_string_equal(event->service->spec->name, "kept0");
    sw_pb_free(event);
    Swarm__ServiceRemoveRequest removal = SWARM__SERVICE_REMOVE_REQUEST__INIT;
    removal.ref = request.id;
    sw_pb_free(must_ask(sync, &removal));
    event = must_next(watch);
    assert_null(event->service);
    sw_pb_free(event);
    bus_sync_close(watch);
    bus_sync_close(sync);
}

static void leaving_ends_the_process(void **state)
{
    (void)state;
    identity_wipe(state_dir);
    int status = wait_end();
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 125;
    daemon_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_is_made),
        cmocka_unit_test(services_are_created_by_the_administrator),
        cmocka_unit_test(strangers_may_only_ask_to_join),
        cmocka_unit_test(feeds_tell_and_commits_are_checked),
        cmocka_unit_test(a_feed_is_there_again_for_who_comes_back),
        cmocka_unit_test(a_killed_manager_comes_back_with_all),
        cmocka_unit_test(a_watch_ends_with_its_service),
        cmocka_unit_test(leaving_ends_the_process),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
