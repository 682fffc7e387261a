#include "services/dispatcher/io/shell.h"

#include "common/feed/feed.h"
#include "common/member/member.h"
#include "services/dispatcher/core/dispatch.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define COMMIT_TIMEOUT_MS 10000

static const Swarm__Table tables[] = { SWARM__TABLE__TABLE_CLUSTER, SWARM__TABLE__TABLE_NODE, SWARM__TABLE__TABLE_TASK };

struct metrics {
    double *sessions, *subscriptions, *queued, *waiting, *leader, *feed;
    double *commits, *commit_failures, *statuses, *assignments, *opened, *heartbeats, *failures;
    struct svc_histogram *commit_seconds;
};
struct shell {
    struct svc *svc;
    char *listen;
    struct bus *bus;
    struct member *member;
    struct bus_keys keys;
    struct bus_server *server; /* opened when the mirror knows who may come in */
    struct feed *feed;
    struct dispatch *core; /* NULL: idle, this node is no manager */
    struct svc_timer *timer;
    uint64_t commit_ms;
    struct metrics metrics;
};

_Static_assert(sizeof(struct bus_sender) <= DISPATCH_PEER_SIZE, "a peer holds a sender");

static void step(struct shell *shell, struct dispatch_event event);

/* ---- events in: from agents ---- */
static int step_from(struct shell *shell, enum dispatch_event_type type, const struct bus_sender *sender, const void *body)
{
    struct dispatch_peer peer = { { 0 } };
    memcpy(peer.opaque, sender, sizeof *sender);
    step(shell, (struct dispatch_event) { .type = type, .node_id = sender->id, .peer = &peer, .body = body });
    return 0;
}

static int on_session(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    (void)err;
    return step_from(self, DISPATCH_EV_SESSION, sender, body);
}

static int on_heartbeat(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    (void)err;
    return step_from(self, DISPATCH_EV_HEARTBEAT, sender, body);
}

static int on_reports(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    (void)err;
    return step_from(self, DISPATCH_EV_REPORTS, sender, body);
}

static int on_goodbye(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    (void)err;
    return step_from(self, DISPATCH_EV_GOODBYE, sender, body);
}

static int on_log_message(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    (void)err;
    return step_from(self, DISPATCH_EV_LOG_MESSAGE, sender, body);
}

#define AGENTS (BUS_WORKER | BUS_MANAGER)
static const struct bus_spec specs[] = {
    { &swarm__session_request__descriptor, AGENTS, 64u << 10, on_session },
    { &swarm__heartbeat__descriptor, AGENTS, 256, on_heartbeat },
    { &swarm__task_reports__descriptor, AGENTS, 900u << 10, on_reports },
    { &swarm__goodbye__descriptor, AGENTS, 256, on_goodbye },
    { &swarm__log_message__descriptor, AGENTS, 320u << 10, on_log_message },
};

/* ---- events in: from the store ---- */
static void on_snapshot(void *arg, const Swarm__FeedSnapshot *chunk)
{
    step(arg, (struct dispatch_event) { .type = DISPATCH_EV_SNAPSHOT, .body = chunk });
}

static void on_changes(void *arg, const Swarm__FeedChanges *changes)
{
    step(arg, (struct dispatch_event) { .type = DISPATCH_EV_CHANGES, .body = changes });
}

static void on_reply(void *arg, const Swarm__CommitReply *reply, const struct sw_err *err)
{
    step(arg, (struct dispatch_event) { .type = DISPATCH_EV_COMMITTED, .body = reply, .err = err });
}

static void on_lost(void *arg)
{
    step(arg, (struct dispatch_event) { .type = DISPATCH_EV_FEED_LOST });
}

static int on_log_subscribe(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    (void)sender;
    (void)err;
    step(self, (struct dispatch_event) { .type = DISPATCH_EV_LOG_SUBSCRIBE, .body = body });
    return 0;
}

static int on_log_unsubscribe(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    (void)sender;
    (void)err;
    step(self, (struct dispatch_event) { .type = DISPATCH_EV_LOG_UNSUBSCRIBE, .body = body });
    return 0;
}

static const struct bus_spec feed_events[] = {
    { &swarm__log_subscribe__descriptor, 0, 1u << 20, on_log_subscribe },
    { &swarm__log_unsubscribe__descriptor, 0, 256, on_log_unsubscribe },
};

/* ---- effects out ---- */
static void answer_log(struct shell *shell, const struct dispatch_effect *effect)
{
    int rc = feed_tell(shell->feed, effect->message);
    if (effect->peer == NULL)
        return;
    const struct bus_sender *to = (const void *)effect->peer->opaque;
    struct sw_err err;
    Swarm__Empty empty = SWARM__EMPTY__INIT;
    if (rc == 0)
        (void)bus_reply(to, &empty);
    else if (sw_fail(&err, SW_UNAVAILABLE, "the reader is slow or gone") != 0)
        (void)bus_reply_error(to, &err);
}

static void refuse(const struct dispatch_effect *effect)
{
    struct sw_err err;
    (void)sw_fail(&err, effect->code, "%s", effect->text);
    (void)bus_reply_error((const void *)effect->peer->opaque, &err);
}

/* False when the effect failed in a way the core has to hear of. */
static bool perform(struct shell *shell, const struct dispatch_effect *effect)
{
    switch (effect->type) {
    case DISPATCH_REPLY:
        (void)bus_reply((const void *)effect->peer->opaque, effect->message); /* a peer that is gone asks again */
        return true;
    case DISPATCH_REFUSE:
        refuse(effect);
        return true;
    case DISPATCH_SEND:
        return bus_event((const void *)effect->peer->opaque, effect->message) == 0;
    case DISPATCH_COMMIT:
        shell->commit_ms = svc_mono_ms();
        return feed_commit(shell->feed, effect->message);
    case DISPATCH_LOG_UP:
        answer_log(shell, effect);
        return true;
    case DISPATCH_NOTE:
        svc_log(SVC_INFO, effect->text, "node=%s", effect->node_id);
        return true;
    }
    return true;
}

struct failed {
    enum dispatch_effect_type type;
    char node_id[BUS_ID_MAX];
    struct dispatch_peer peer;
};

static void fail_add(struct failed **list, size_t *count, const struct dispatch_effect *effect)
{
    *list = sw_realloc_array(*list, *count + 1, sizeof **list);
    struct failed *failed = &(*list)[(*count)++];
    memset(failed, 0, sizeof *failed);
    failed->type = effect->type;
    if (effect->peer != NULL)
        failed->peer = *effect->peer;
    if (effect->node_id != NULL)
        (void)snprintf(failed->node_id, sizeof failed->node_id, "%s", effect->node_id);
}

static void tell_failed(struct shell *shell, const struct failed *failed)
{
    struct sw_err err;
    (void)sw_fail(&err, SW_UNAVAILABLE, "the manager's store is not reachable");
    if (failed->type == DISPATCH_COMMIT)
        step(shell, (struct dispatch_event) { .type = DISPATCH_EV_COMMITTED, .err = &err });
    else
        step(shell,
             (struct dispatch_event) { .type = DISPATCH_EV_SEND_FAILED, .node_id = failed->node_id, .peer = &failed->peer });
}

static int server_open(struct shell *shell, struct sw_err *err);

static void after_step(struct shell *shell, enum dispatch_event_type type)
{
    if (type == DISPATCH_EV_COMMITTED && shell->commit_ms != 0)
        svc_observe(shell->metrics.commit_seconds, (double)(svc_mono_ms() - shell->commit_ms) / 1000.0);
    struct sw_err err;
    if (type != DISPATCH_EV_SNAPSHOT || shell->server != NULL || !dispatch_stats(shell->core).feed)
        return;
    if (server_open(shell, &err) != 0) {
        svc_log(SVC_ERROR, "cannot serve agents", "err=\"%s\"", err.text);
        svc_quit(shell->svc, 1);
    }
}

/* Effects die at the next step, so failures are told when all of them were performed. */
static void step(struct shell *shell, struct dispatch_event event)
{
    struct dispatch_update update;
    struct failed *failed = NULL;
    size_t failed_count = 0;
    event.now_ms = svc_mono_ms();
    event.wall_ns = svc_wall_ns();
    dispatch_step(shell->core, &event, &update);
    for (size_t i = 0; i < update.count; i++)
        if (!perform(shell, &update.effects[i]))
            fail_add(&failed, &failed_count, &update.effects[i]);
    if (update.deadline_ms == UINT64_MAX)
        svc_timer_off(shell->timer);
    else
        svc_timer_at(shell->timer, update.deadline_ms);
    after_step(shell, event.type);
    for (size_t i = 0; i < failed_count; i++)
        tell_failed(shell, &failed[i]);
    free(failed);
}

static void on_timer(void *arg)
{
    step(arg, (struct dispatch_event) { .type = DISPATCH_EV_TICK });
}

/* ---- who may come in ---- */
static struct bus_peer_info admit(void *arg, const uint8_t curve_key[32])
{
    struct shell *shell = arg;
    struct bus_peer_info info = { .role = BUS_NOBODY };
    const Swarm__Node *node = mirror_node_by_key(dispatch_mirror(shell->core), curve_key);
    if (node == NULL)
        return info;
    info.role = node->role == SWARM__NODE_ROLE__NODE_MANAGER ? BUS_MANAGER : BUS_WORKER;
    (void)snprintf(info.id, sizeof info.id, "%s", node->id);
    return info;
}

static int server_open(struct shell *shell, struct sw_err *err)
{
    SW_AUTO(sw_free) char *endpoint = sw_strf("tcp://%s", shell->listen);
    const char *const endpoints[] = { endpoint, NULL };
    const struct bus_server_spec spec = {
        .endpoints = endpoints,
        .keys = &shell->keys,
        .specs = specs,
        .spec_count = sizeof specs / sizeof specs[0],
        .self = shell,
        .admit = admit,
        .admit_arg = shell,
    };
    if (bus_server_open(shell->bus, &spec, &shell->server, err) != 0)
        return sw_wrap(err, "listen on %s", shell->listen);
    svc_log(SVC_INFO, "serving agents", "listen=%s", shell->listen);
    return 0;
}

/* ---- identity ---- */
static int activate(void *arg, const Swarm__NodeIdentity *identity, struct sw_err *err)
{
    struct shell *shell = arg;
    memcpy(shell->keys.public_key, identity->curve_public.data, sizeof shell->keys.public_key);
    memcpy(shell->keys.secret_key, identity->curve_secret.data, sizeof shell->keys.secret_key);
    shell->core = dispatch_new(identity->node_id, svc_random_u64());
    shell->timer = svc_timer_new(shell->svc, on_timer, shell);
    const struct feed_spec spec = { .svc = shell->svc,
                                    .bus = shell->bus,
                                    .socket = "feed-dispatcher.sock",
                                    .tables = tables,
                                    .table_count = sizeof tables / sizeof *tables,
                                    .events = feed_events,
                                    .event_count = sizeof feed_events / sizeof *feed_events,
                                    .commit_timeout_ms = COMMIT_TIMEOUT_MS,
                                    .snapshot = on_snapshot,
                                    .changes = on_changes,
                                    .reply = on_reply,
                                    .lost = on_lost,
                                    .arg = shell };
    return feed_open(&spec, &shell->feed, err);
}

/* ---- the program ---- */
static void metrics_init(struct shell *shell)
{
    struct svc_metrics *m = svc_metrics(shell->svc);
    struct metrics *to = &shell->metrics;
    to->sessions = svc_metric(m, SVC_GAUGE, "swarm_dispatcher_sessions", "", "Agents with an open session.");
    to->subscriptions = svc_metric(m, SVC_GAUGE, "swarm_dispatcher_log_subscriptions", "", "Logs being relayed.");
    to->queued =
        svc_metric(m, SVC_GAUGE, "swarm_dispatcher_queued_statuses", "", "Statuses waiting for the commit in flight to end.");
    to->waiting = svc_metric(m, SVC_GAUGE, "swarm_dispatcher_waiting_questions", "", "Questions of agents waiting for a commit.");
    to->leader = svc_metric(m, SVC_GAUGE, "swarm_dispatcher_leader", "", "1 if commits from here are accepted.");
    to->feed = svc_metric(m, SVC_GAUGE, "swarm_dispatcher_feed_up", "", "1 if the mirror of the store is kept up to date.");
    to->commits = svc_metric(m, SVC_COUNTER, "swarm_dispatcher_commits_total", "", "Batches of statuses committed.");
    to->commit_failures = svc_metric(m, SVC_COUNTER, "swarm_dispatcher_commit_failures_total", "", "Batches refused or lost.");
    to->statuses =
        svc_metric(m, SVC_COUNTER, "swarm_dispatcher_statuses_committed_total", "", "Task and node statuses committed.");
    to->assignments = svc_metric(m, SVC_COUNTER, "swarm_dispatcher_assignments_sent_total", "", "Assignments and removals sent.");
    to->opened = svc_metric(m, SVC_COUNTER, "swarm_dispatcher_sessions_opened_total", "", "Sessions opened.");
    to->heartbeats = svc_metric(m, SVC_COUNTER, "swarm_dispatcher_heartbeats_total", "", "Heartbeats answered.");
    to->failures =
        svc_metric(m, SVC_COUNTER, "swarm_dispatcher_heartbeat_failures_total", "", "Nodes declared down for silence.");
    to->commit_seconds = svc_histogram(m, "swarm_dispatcher_commit_seconds", "Time from a commit's request to its answer.");
}

static void scrape(struct svc *svc, void *state)
{
    struct shell *shell = state;
    (void)svc;
    if (shell->core == NULL)
        return;
    struct dispatch_stats stats = dispatch_stats(shell->core);
    *shell->metrics.sessions = (double)stats.sessions;
    *shell->metrics.subscriptions = (double)stats.subscriptions;
    *shell->metrics.queued = (double)stats.queued_statuses;
    *shell->metrics.waiting = (double)stats.waiting_asks;
    *shell->metrics.leader = stats.leader ? 1 : 0;
    *shell->metrics.feed = stats.feed ? 1 : 0;
    *shell->metrics.commits = (double)stats.commits;
    *shell->metrics.commit_failures = (double)stats.commit_failures;
    *shell->metrics.statuses = (double)stats.statuses_committed;
    *shell->metrics.assignments = (double)stats.assignments_sent;
    *shell->metrics.opened = (double)stats.sessions_opened;
    *shell->metrics.heartbeats = (double)stats.heartbeats;
    *shell->metrics.failures = (double)stats.heartbeat_failures;
}

static bool healthy(struct svc *svc, void *state, char *why, size_t why_size)
{
    struct shell *shell = state;
    (void)svc;
    return feed_healthy(shell->feed, why, why_size);
}

static int start(struct svc *svc, void *state, struct sw_err *err)
{
    struct shell *shell = state;
    shell->svc = svc;
    metrics_init(shell);
    if (identity_init(err) != 0 || bus_new(svc, &shell->bus, err) != 0)
        return -(int)err->code;
    const struct member_spec spec = { .svc = svc, .roles = BUS_MANAGER, .activate = activate, .arg = shell };
    return member_watch(&spec, &shell->member, err);
}

static void stop(struct svc *svc, void *state)
{
    struct shell *shell = state;
    (void)svc;
    bus_server_close(shell->server);
    feed_close(shell->feed);
    svc_timer_free(shell->timer);
    bus_free(shell->bus);
    dispatch_free(shell->core);
    member_free(shell->member);
    sodium_memzero(&shell->keys, sizeof shell->keys);
}

int shell_main(int argc, char **argv)
{
    struct shell shell = { 0 };
    const struct svc_option options[] = {
        { "listen", SVC_STRING, "0.0.0.0:2577", &shell.listen, 0, 0, "IP:PORT that agents connect to" },
    };
    const struct svc_program program = {
        .name = "swarm-dispatcher",
        .summary = "serves this cluster's agents: sessions, heartbeats, assignments, statuses, logs",
        .metrics_address = "127.0.0.1:9379",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .state = &shell,
        .start = start,
        .stop = stop,
        .scrape = scrape,
        .healthy = healthy,
    };
    return svc_main(&program, argc, argv);
}
