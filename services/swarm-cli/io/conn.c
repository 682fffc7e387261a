#include "services/swarm-cli/io/cli.h"

#include "common/identity/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONTROL_WAIT_MS 3000 /* right after init the manager needs a moment to serve */
#define CONTROL_PORT 2377

uint64_t cli_mono_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int64_t cli_wall_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- tables of answers ---- */

#define ANSWER(type)                                                                                                             \
    {                                                                                                                            \
        &swarm__##type##__descriptor, 0, BUS_SIZE_MAX, NULL                                                                      \
    }

static const struct bus_spec node_answers[] = {
    ANSWER(node_info_reply), ANSWER(node_init_reply), ANSWER(node_join_reply),     ANSWER(image_list_reply),
    ANSWER(image_reply),     ANSWER(image_progress),  ANSWER(image_resolve_reply),
};
static const struct bus_spec control_answers[] = {
    ANSWER(cluster_get_reply), ANSWER(join_token_reply),     ANSWER(node_list_reply),      ANSWER(node_get_reply),
    ANSWER(node_update_reply), ANSWER(service_create_reply), ANSWER(service_update_reply), ANSWER(service_remove_reply),
    ANSWER(service_get_reply), ANSWER(service_list_reply),   ANSWER(service_watch_event),  ANSWER(task_list_reply),
    ANSWER(task_get_reply),    ANSWER(logs_event),           ANSWER(version_reply),
};

/* ---- the node's socket ---- */

static int node_open(struct cli *cli, struct sw_err *err)
{
    if (cli->node != NULL)
        return 0;
    SW_AUTO(sw_free) char *endpoint = sw_strf("ipc://%s/node.sock", cli->run_dir);
    struct bus_client_spec spec = { .endpoint = endpoint,
                                    .specs = node_answers,
                                    .spec_count = sizeof node_answers / sizeof *node_answers };
    return bus_sync_open(&spec, &cli->node, err);
}

int cli_info(struct cli *cli, const Swarm__NodeInfoReply **ret, struct sw_err *err)
{
    if (cli->info == NULL) {
        Swarm__NodeInfoRequest request = SWARM__NODE_INFO_REQUEST__INIT;
        void *reply = NULL;
        int rc = cli_ask_node(cli, &request, CLI_TIMEOUT_MS, &reply, err);
        if (rc < 0)
            return rc;
        cli->info = reply;
    }
    *ret = cli->info;
    return 0;
}

/* ---- the control API ---- */

static int control_connect(struct cli *cli, const char *endpoint, const Swarm__AdminIdentity *admin, struct sw_err *err)
{
    struct bus_keys keys;
    uint8_t server[IDENTITY_KEY_SIZE];
    if (admin->curve_public.len != sizeof keys.public_key || admin->curve_secret.len != sizeof keys.secret_key ||
        admin->root_key.len != sizeof server)
        return sw_fail(err, SW_CORRUPT, "identity file: a key has the wrong size");
    memcpy(keys.public_key, admin->curve_public.data, sizeof keys.public_key);
    memcpy(keys.secret_key, admin->curve_secret.data, sizeof keys.secret_key);
    int rc = identity_root_curve_public(admin->root_key.data, server, err);
    if (rc < 0)
        return rc;
    struct bus_client_spec spec = { .endpoint = endpoint,
                                    .keys = &keys,
                                    .server_key = server,
                                    .specs = control_answers,
                                    .spec_count = sizeof control_answers / sizeof *control_answers };
    rc = bus_sync_open(&spec, &cli->control, err);
    explicit_bzero(&keys, sizeof keys);
    return rc;
}

/* Only managers have a control API; say what this node is otherwise. */
static int check_manager(const Swarm__NodeInfoReply *info, struct sw_err *err)
{
    if (info->state == SWARM__LOCAL_STATE__LOCAL_INACTIVE || info->state == SWARM__LOCAL_STATE__LOCAL_PENDING)
        return sw_fail(err, SW_PRECONDITION,
                       "This node is not a swarm manager. Use \"swarm-cli init\" or \"swarm-cli join\" to "
                       "connect this node to swarm and try again.");
    if (info->state == SWARM__LOCAL_STATE__LOCAL_LOCKED)
        return sw_fail(err, SW_PRECONDITION, "Swarm is encrypted and needs to be unlocked before it can be used.");
    if (info->role != BUS_MANAGER)
        return sw_fail(err, SW_PRECONDITION,
                       "This node is not a swarm manager. Worker nodes can't be used to view or modify "
                       "cluster state. Please run this command on a manager node or promote the current "
                       "node to a manager.");
    return 0;
}

static char *remote_endpoint(const char *host)
{
    const char *rest = strncmp(host, "tcp://", 6) == 0 ? host + 6 : host;
    const char *bracket = strrchr(rest, ']');
    bool port = strchr(bracket != NULL ? bracket : rest, ':') != NULL;
    return port ? sw_strf("tcp://%s", rest) : sw_strf("tcp://%s:%d", rest, CONTROL_PORT);
}

static int remote_open(struct cli *cli, struct sw_err *err)
{
    SW_AUTO(sw_pb_free) Swarm__AdminIdentity *admin = NULL;
    SW_AUTO(sw_free) char *local = cli->identity == NULL ? identity_admin_path(cli->state_dir) : sw_strdup(cli->identity);
    SW_AUTO(sw_free) char *endpoint = remote_endpoint(cli->host);
    int rc = identity_admin_load(local, &admin, err);
    return rc < 0 ? rc : control_connect(cli, endpoint, admin, err);
}

static int local_open(struct cli *cli, struct sw_err *err)
{
    const Swarm__NodeInfoReply *info = NULL;
    SW_AUTO(sw_pb_free) Swarm__AdminIdentity *admin = NULL;
    SW_AUTO(sw_free) char *endpoint = sw_strf("ipc://%s/control.sock", cli->run_dir);
    int rc = cli_info(cli, &info, err);
    if (rc < 0)
        return rc;
    rc = check_manager(info, err);
    if (rc < 0) {
        cli->said_by_daemon = true;
        return rc;
    }
    SW_AUTO(sw_free)
    char *path = cli->identity != NULL          ? sw_strdup(cli->identity)
                 : info->admin_identity != NULL ? sw_strdup(info->admin_identity)
                                                : identity_admin_path(cli->state_dir);
    rc = identity_admin_load(path, &admin, err);
    if (rc == -SW_NOT_FOUND)
        return sw_fail(err, SW_NOT_FOUND, "this node has no administrator's key (%s): name one with --identity FILE", path);
    uint64_t until_ms = cli_mono_ms() + CONTROL_WAIT_MS;
    for (;;) {
        rc = rc < 0 ? rc : control_connect(cli, endpoint, admin, err);
        if (rc != -SW_UNAVAILABLE || cli_mono_ms() >= until_ms)
            return rc;
        (void)nanosleep(&(struct timespec) { .tv_nsec = 20 * 1000000 }, NULL);
        rc = 0;
    }
}

static int control_open(struct cli *cli, struct sw_err *err)
{
    if (cli->control != NULL)
        return 0;
    int rc = identity_init(err);
    if (rc < 0)
        return rc;
    return cli->host != NULL ? remote_open(cli, err) : local_open(cli, err);
}

/* ---- asking ---- */

/* The first answer of one question; *ret_more for streams. */
static int ask(struct cli *cli, bool node, const void *request, uint64_t timeout_ms, void **ret_reply, bool *ret_more,
               struct sw_err *err)
{
    cli->said_by_daemon = false;
    int rc = node ? node_open(cli, err) : control_open(cli, err);
    if (rc < 0)
        return rc;
    rc = bus_sync_ask(node ? cli->node : cli->control, request, timeout_ms, ret_reply, ret_more, err);
    cli->said_by_daemon = rc < 0 && !bus_sync_interrupted();
    return rc;
}

int cli_ask_node(struct cli *cli, const void *request, uint64_t timeout_ms, void **ret_reply, struct sw_err *err)
{
    bool more = false;
    return ask(cli, true, request, timeout_ms, ret_reply, &more, err);
}

int cli_ask(struct cli *cli, const void *request, void **ret_reply, struct sw_err *err)
{
    bool more = false;
    return ask(cli, false, request, CLI_TIMEOUT_MS, ret_reply, &more, err);
}

int cli_stream(struct cli *cli, bool node, const void *request, void **ret_reply, bool *ret_more, struct sw_err *err)
{
    return ask(cli, node, request, 0, ret_reply, ret_more, err);
}

int cli_next(struct cli *cli, bool node, uint64_t timeout_ms, void **ret_reply, bool *ret_more, struct sw_err *err)
{
    int rc = bus_sync_next(node ? cli->node : cli->control, timeout_ms, ret_reply, ret_more, err);
    cli->said_by_daemon = rc < 0 && !bus_sync_interrupted();
    return rc;
}

int cli_error(const struct cli *cli, const struct sw_err *err)
{
    (void)fprintf(stderr, "%s%s\n", cli->said_by_daemon ? "Error response from daemon: " : "", err->text);
    return 1;
}

int cli_do(struct cli *cli, const void *request, const char *name)
{
    struct sw_err err = { 0 };
    void *reply = NULL;
    if (cli_ask(cli, request, &reply, &err) < 0)
        return cli_error(cli, &err);
    sw_pb_free(reply);
    (void)printf("%s\n", name);
    return 0;
}

int cli_node_ref(struct cli *cli, const char *typed, char **ret, struct sw_err *err)
{
    if (strcmp(typed, "self") != 0) {
        *ret = sw_strdup(typed);
        return 0;
    }
    Swarm__NodeListRequest request = SWARM__NODE_LIST_REQUEST__INIT;
    void *message = NULL;
    int rc = cli_ask(cli, &request, &message, err);
    SW_AUTO(sw_pb_free) Swarm__NodeListReply *reply = message;
    if (rc == 0)
        *ret = sw_strdup(reply->self != NULL ? reply->self : "self");
    return rc;
}

void cli_print(const struct sw_buf *text)
{
    (void)fwrite(sw_buf_str(text), 1, text->len, stdout);
    (void)fflush(stdout);
}

void cli_close(struct cli *cli)
{
    bus_sync_close(cli->control);
    bus_sync_close(cli->node);
    sw_pb_free(cli->info);
    *cli = (struct cli) { 0 };
}
