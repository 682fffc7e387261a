#include "services/manager-raft/io/shell.h"

static int activate(void *arg, const Swarm__NodeIdentity *identity, struct sw_err *err)
{
    struct shell *shell = arg;
    int rc = manager_open(shell->svc, shell->bus, &shell->options, identity, &shell->manager, err);
    return rc != 0 ? sw_wrap(err, "start the manager") : 0;
}

static bool busy(void *arg)
{
    return bootstrap_busy(((struct shell *)arg)->bootstrap);
}

static void on_bootstrapped(void *arg)
{
    member_look(((struct shell *)arg)->member);
}

int shell_start(struct svc *svc, void *state, struct sw_err *err)
{
    struct shell *shell = state;
    shell->svc = svc;
    int rc = identity_init(err);
    if (rc == 0)
        rc = bus_new(svc, &shell->bus, err);
    if (rc == 0)
        rc = bootstrap_open(svc, shell->bus, &shell->options, on_bootstrapped, shell, &shell->bootstrap, err);
    if (rc != 0)
        return rc;
    const struct member_spec spec = { .svc = svc, .roles = BUS_MANAGER, .activate = activate, .busy = busy, .arg = shell };
    return member_watch(&spec, &shell->member, err);
}

void shell_stop(struct svc *svc, void *state)
{
    (void)svc;
    struct shell *shell = state;
    manager_close(SW_TAKE(shell->manager));
    bootstrap_close(SW_TAKE(shell->bootstrap));
    bus_free(SW_TAKE(shell->bus));
    member_free(SW_TAKE(shell->member));
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
