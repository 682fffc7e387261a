#include "services/manager-raft/io/shell.h"

#include <string.h>

static int open_manager(struct shell *shell, const Swarm__NodeIdentity *identity, struct sw_err *err)
{
    int rc = manager_open(shell->svc, shell->bus, &shell->options, identity, &shell->manager, err);
    return rc != 0 ? sw_wrap(err, "start the manager") : 0;
}

/* Compare what this process is doing with what the identity file says. */
static int follow_identity(struct shell *shell, struct sw_err *err)
{
    SW_AUTO(sw_pb_free) Swarm__NodeIdentity *identity = NULL;
    if (bootstrap_busy(shell->bootstrap))
        return 0; /* looked at again when that is over */
    int rc = identity_node_load(svc_state_dir(shell->svc), &identity, err);
    if (rc != 0 && rc != -SW_NOT_FOUND)
        return rc;
    bool manager = identity != NULL && identity->role == BUS_MANAGER;
    if (shell->manager == NULL)
        return manager ? open_manager(shell, identity, err) : 0;
    if (manager && strcmp(identity->node_id, manager_node_id(shell->manager)) == 0 &&
        strcmp(identity->cluster_id, manager_cluster_id(shell->manager)) == 0)
        return 0;
    svc_log(SVC_INFO, "identity gone: ending", NULL);
    svc_quit(shell->svc, 0);
    return 0;
}

static void on_identity(void *arg)
{
    struct shell *shell = arg;
    struct sw_err err = { 0 };
    if (follow_identity(shell, &err) == 0)
        return;
    svc_log(SVC_ERROR, "cannot serve", "err=\"%s\"", err.text);
    svc_quit(shell->svc, 1);
}

int shell_start(struct svc *svc, void *state, struct sw_err *err)
{
    struct shell *shell = state;
    shell->svc = svc;
    int rc = identity_init(err);
    if (rc == 0)
        rc = bus_new(svc, &shell->bus, err);
    if (rc == 0)
        rc = bootstrap_open(svc, shell->bus, &shell->options, on_identity, shell, &shell->bootstrap, err);
    if (rc != 0)
        return rc;
    SW_AUTO(sw_free) char *dir = identity_dir(svc_state_dir(svc));
    if (svc_dirwatch_new(svc, dir, on_identity, shell) == NULL)
        return sw_fail(err, SW_IO, "watch directory '%s'", dir);
    return follow_identity(shell, err);
}

void shell_stop(struct svc *svc, void *state)
{
    (void)svc;
    struct shell *shell = state;
    manager_close(SW_TAKE(shell->manager));
    bootstrap_close(SW_TAKE(shell->bootstrap));
    bus_free(SW_TAKE(shell->bus));
}

void shell_scrape(struct svc *svc, void *state)
{
    struct shell *shell = state;
    *svc_metric(svc_metrics(svc), SVC_GAUGE, "swarm_manager_raft_serving", "", "1 while this node is a manager at work.") =
        shell->manager != NULL ? 1 : 0;
    if (shell->manager != NULL)
        manager_scrape(shell->manager);
}

bool shell_healthy(struct svc *svc, void *state, char *why, size_t why_size)
{
    (void)svc;
    const struct shell *shell = state;
    return shell->manager == NULL || manager_healthy(shell->manager, why, why_size);
}
