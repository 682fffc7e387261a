#include "services/manager-raft/io/manager.h"

#include "common/base/names.h"
#include "services/manager-raft/io/control_api.h"
#include "services/manager-raft/io/feed.h"
#include "services/manager-raft/io/streams.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct manager {
    struct svc *svc;
    struct bus *bus;
    const struct manager_options *options;
    char *node_id;
    struct store *store;
    struct ca *ca;
    struct raftd *raftd;
    struct streams *streams;
    struct feed *feed;
    struct control_api *api;
    struct svc_timer *patience;
    uint64_t term;
    bool leader, leader_known;
    char leader_id[64];
    double *applied_total;
};

/* ---- what Raft tells ---- */

static void fatal(struct manager *manager, const struct sw_err *err)
{
    svc_log(SVC_ERROR, "manager stopped", "err=\"%s\"", err->text);
    svc_quit(manager->svc, 1);
}

/* Open the control sockets, once: their key is the cluster's, so the cluster object must be there. */
static void serve_clients(void *arg)
{
    struct manager *manager = arg;
    if (manager->api != NULL || !ca_ready(manager->ca))
        return;
    const struct control_api_spec spec = {
        .svc = manager->svc,
        .bus = manager->bus,
        .mirror = store_mirror(manager->store),
        .ca = manager->ca,
        .raftd = manager->raftd,
        .streams = manager->streams,
        .node_id = manager->node_id,
        .listen = manager->options->listen,
    };
    struct sw_err err = { 0 };
    if (control_api_open(&spec, &manager->api, &err) != 0) {
        fatal(manager, &err);
        return;
    }
    control_api_set_leader(manager->api, manager->leader_id);
    svc_log(SVC_INFO, "control API open", "listen=%s", manager->options->listen);
}

static void load_ca(struct manager *manager)
{
    struct sw_err err = { 0 };
    int rc = ca_load(manager->ca, store_mirror(manager->store), &err);
    if (rc != 0 && rc != -SW_NOT_FOUND)
        fatal(manager, &err);
}

static void on_applied(void *arg, const struct store_entry *entry, const struct apply_result *result)
{
    struct manager *manager = arg;
    *manager->applied_total += 1;
    for (size_t i = 0; i < result->change_count; i++)
        if (result->changes[i].table == SWARM__TABLE__TABLE_CLUSTER) {
            load_ca(manager);
            if (manager->leader_known)
                svc_soon(manager->svc, serve_clients, manager);
            break;
        }
    if (manager->feed != NULL)
        feed_applied(manager->feed, entry, result);
    streams_applied(manager->streams, result);
}

static void on_status(void *arg, uint64_t term, bool leader, const char *leader_node_id)
{
    struct manager *manager = arg;
    if (leader != manager->leader)
        svc_log(SVC_INFO, leader ? "leading" : "not leading", "term=%llu", (unsigned long long)term);
    manager->term = term;
    manager->leader = leader;
    (void)snprintf(manager->leader_id, sizeof manager->leader_id, "%s", leader_node_id != NULL ? leader_node_id : "");
    if (manager->feed != NULL)
        feed_status(manager->feed, term, leader);
    if (manager->api != NULL)
        control_api_set_leader(manager->api, manager->leader_id);
    if (leader || (leader_node_id != NULL && strcmp(leader_node_id, manager->node_id) != 0)) {
        manager->leader_known = true;
        svc_soon(manager->svc, serve_clients, manager);
    }
}

static void log_message(void *arg, const Swarm__LogMessage *message)
{
    streams_log_message(((struct manager *)arg)->streams, message);
}

static void dispatcher_gone(void *arg)
{
    streams_dispatcher_gone(((struct manager *)arg)->streams);
}

/* ---- life ---- */

/* How peers reach this manager's Raft socket: as it told the cluster when it joined. */
static char *raft_address(const struct manager *manager)
{
    const Swarm__Node *self = mirror_node(store_mirror(manager->store), manager->node_id);
    if (self != NULL && self->manager != NULL)
        return sw_strdup(self->manager->raft);
    return sw_strf("tcp://%s", manager->options->raft_listen);
}

static int open_raft(struct manager *manager, const Swarm__NodeIdentity *identity, struct sw_err *err)
{
    SW_AUTO(sw_free) char *dir = sw_strf("%s/raft", svc_state_dir(manager->svc));
    int rc = store_open(dir, 0, &manager->store, err);
    if (rc != 0)
        return rc;
    SW_AUTO(sw_free) char *address = raft_address(manager);
    SW_AUTO(sw_free) char *listen = sw_strf("tcp://%s", manager->options->raft_listen);
    struct bus_keys keys;
    memcpy(keys.public_key, identity->curve_public.data, sizeof keys.public_key);
    memcpy(keys.secret_key, identity->curve_secret.data, sizeof keys.secret_key);
    manager->streams = streams_new(manager->svc, store_mirror(manager->store));
    const struct raftd_spec spec = {
        .svc = manager->svc,
        .bus = manager->bus,
        .store = manager->store,
        .node_id = manager->node_id,
        .raft_address = address,
        .raft_listen = listen,
        .keys = &keys,
        .heartbeat_ms = manager->options->heartbeat_ms,
        .election_ms = manager->options->election_ms,
        .applied = on_applied,
        .status = on_status,
        .arg = manager,
    };
    rc = raftd_open(&spec, &manager->raftd, err);
    sodium_memzero(&keys, sizeof keys);
    return rc;
}

static int open_feed(struct manager *manager, struct sw_err *err)
{
    const struct feed_spec spec = {
        .svc = manager->svc,
        .bus = manager->bus,
        .store = manager->store,
        .raftd = manager->raftd,
        .log_message = log_message,
        .dispatcher_gone = dispatcher_gone,
        .arg = manager,
    };
    int rc = feed_open(&spec, &manager->feed, err);
    if (rc != 0)
        return rc;
    streams_set_feed(manager->streams, manager->feed);
    feed_status(manager->feed, manager->term, manager->leader);
    return 0;
}

static int open_all(struct manager *manager, const Swarm__NodeIdentity *identity, struct sw_err *err)
{
    int rc = ca_new(svc_state_dir(manager->svc), &manager->ca, err);
    if (rc == 0)
        rc = open_raft(manager, identity, err);
    if (rc == 0)
        rc = open_feed(manager, err);
    if (rc == 0 && mirror_cluster(store_mirror(manager->store)) != NULL)
        rc = ca_load(manager->ca, store_mirror(manager->store), err);
    return rc;
}

SW_AUTO_DEFINE(struct manager, manager_close);

int manager_open(struct svc *svc, struct bus *bus, const struct manager_options *options, const Swarm__NodeIdentity *identity,
                 struct manager **ret_manager, struct sw_err *err)
{
    SW_AUTO(manager_close) struct manager *manager = sw_alloc0(sizeof *manager);
    manager->svc = svc;
    manager->bus = bus;
    manager->options = options;
    manager->node_id = sw_strdup(identity->node_id);
    manager->applied_total = svc_metric(svc_metrics(svc), SVC_COUNTER, "swarm_manager_raft_applied_entries_total", "",
                                        "Log entries applied to the store.");
    manager->patience = svc_timer_new(svc, serve_clients, manager);
    int rc = open_all(manager, identity, err);
    if (rc != 0)
        return rc;
    svc_timer_at(manager->patience, svc_mono_ms() + MANAGER_PATIENCE_MS);
    svc_log(SVC_INFO, "manager open", "node=%s cluster=%s applied=%llu", manager->node_id, identity->cluster_id,
            (unsigned long long)store_applied(manager->store));
    *ret_manager = SW_TAKE(manager);
    return 0;
}

void manager_close(struct manager *manager)
{
    if (manager == NULL)
        return;
    svc_timer_free(manager->patience);
    raftd_close(manager->raftd); /* answers its waiters: the sockets must still be there */
    control_api_close(manager->api);
    streams_free(manager->streams);
    feed_close(manager->feed);
    ca_free(manager->ca);
    store_close(manager->store);
    free(manager->node_id);
    free(manager);
}

/* ---- metrics and health ---- */

static void set(struct manager *manager, const char *name, const char *labels, double value, const char *help)
{
    SW_AUTO(sw_free) char *full = sw_strf("swarm_manager_raft_%s", name);
    *svc_metric(svc_metrics(manager->svc), SVC_GAUGE, full, labels, help) = value;
}

static void scrape_tasks(struct manager *manager, const struct mirror *mirror)
{
    static const Swarm__TaskState states[] = {
        SWARM__TASK_STATE__TASK_NEW,      SWARM__TASK_STATE__TASK_PENDING,   SWARM__TASK_STATE__TASK_ASSIGNED,
        SWARM__TASK_STATE__TASK_ACCEPTED, SWARM__TASK_STATE__TASK_PREPARING, SWARM__TASK_STATE__TASK_READY,
        SWARM__TASK_STATE__TASK_STARTING, SWARM__TASK_STATE__TASK_RUNNING,   SWARM__TASK_STATE__TASK_COMPLETE,
        SWARM__TASK_STATE__TASK_SHUTDOWN, SWARM__TASK_STATE__TASK_FAILED,    SWARM__TASK_STATE__TASK_REJECTED,
        SWARM__TASK_STATE__TASK_REMOVE,   SWARM__TASK_STATE__TASK_ORPHANED,
    };
    enum { COUNT = sizeof states / sizeof *states };
    size_t counts[COUNT] = { 0 };
    const Swarm__Table table = SWARM__TABLE__TABLE_TASK;
    for (const Swarm__Task *task = mirror_first(mirror, table); task != NULL; task = mirror_next(mirror, table, task))
        for (size_t i = 0; i < COUNT; i++)
            counts[i] += task->status->state == states[i];
    for (size_t i = 0; i < COUNT; i++) {
        SW_AUTO(sw_free) char *labels = sw_strf("state=\"%s\"", sw_task_state_name(states[i]));
        set(manager, "tasks", labels, (double)counts[i], "Tasks in the store by observed state.");
    }
}

static void scrape_nodes(struct manager *manager, const struct mirror *mirror)
{
    size_t counts[4] = { 0 };
    const Swarm__Table table = SWARM__TABLE__TABLE_NODE;
    for (const Swarm__Node *node = mirror_first(mirror, table); node != NULL; node = mirror_next(mirror, table, node))
        counts[node->status != NULL ? (unsigned)node->status->state % 4 : 0]++;
    for (int i = 0; i < 4; i++) {
        SW_AUTO(sw_free) char *labels = sw_strf("state=\"%s\"", sw_node_state_name((Swarm__NodeState)i));
        set(manager, "nodes", labels, (double)counts[i], "Nodes in the store by state.");
    }
}

void manager_scrape(struct manager *manager)
{
    const struct mirror *mirror = store_mirror(manager->store);
    raftd_scrape(manager->raftd);
    scrape_tasks(manager, mirror);
    scrape_nodes(manager, mirror);
    set(manager, "services", "", (double)mirror_count(mirror, SWARM__TABLE__TABLE_SERVICE), "Services in the store.");
    set(manager, "networks", "", (double)mirror_count(mirror, SWARM__TABLE__TABLE_NETWORK), "Networks in the store.");
    set(manager, "secrets", "", (double)mirror_count(mirror, SWARM__TABLE__TABLE_SECRET), "Secrets in the store.");
    set(manager, "configs", "", (double)mirror_count(mirror, SWARM__TABLE__TABLE_CONFIG), "Configs in the store.");
    set(manager, "streams", "", (double)streams_count(manager->streams), "Open log and progress streams.");
}

bool manager_healthy(const struct manager *manager, char *why, size_t why_size)
{
    if (manager->leader_id[0] != '\0')
        return true;
    (void)snprintf(why, why_size, "no leader is known");
    return false;
}
