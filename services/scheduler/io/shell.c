#include "services/scheduler/io/shell.h"

#include "common/feed/feed.h"
#include "common/member/member.h"
#include "services/scheduler/core/scheduler.h"

#define NS_PER_MS INT64_C(1000000)
#define LATE_MS (24U * 3600 * 1000) /* longest sleep: the wall clock may be set meanwhile */
#define COMMIT_TIMEOUT_MS 30000

static const Swarm__Table tables[] = { SWARM__TABLE__TABLE_CLUSTER, SWARM__TABLE__TABLE_NODE, SWARM__TABLE__TABLE_SERVICE,
                                       SWARM__TABLE__TABLE_TASK };

struct metrics {
    double *decisions, *placed, *commits, *conflicts, *rounds, *waiting, *leader, *feed, *version, *losses;
    struct svc_histogram *step_seconds, *commit_seconds;
};
struct shell {
    struct svc *svc;
    struct bus *bus;
    struct member *member;
    struct feed *feed;
    struct scheduler *core; /* NULL: idle, this node is no manager */
    struct svc_timer *timer;
    int64_t clock_offset_ns; /* wall - monotonic, never lowered: the core's clock must not go back */
    int64_t commit_ns;
    struct metrics metrics;
};

static void step(struct shell *shell, struct sched_event event);
static void on_lost(void *arg);

/* ---- time ---- */

static int64_t now_ns(struct shell *shell)
{
    int64_t mono_ns = (int64_t)svc_mono_ms() * NS_PER_MS;
    int64_t wall_ns = svc_wall_ns();
    if (wall_ns - mono_ns > shell->clock_offset_ns)
        shell->clock_offset_ns = wall_ns - mono_ns;
    return mono_ns + shell->clock_offset_ns;
}

static void tick(void *arg)
{
    step(arg, (struct sched_event) { .type = SCHED_TICK });
}

static void arm(struct shell *shell, int64_t deadline_ns)
{
    int64_t now = now_ns(shell);
    if (deadline_ns <= now) {
        svc_timer_off(shell->timer);
        svc_soon(shell->svc, tick, shell);
    } else if (deadline_ns == SCHED_NEVER) {
        svc_timer_off(shell->timer);
    } else {
        uint64_t wait_ms = (uint64_t)((deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS);
        svc_timer_at(shell->timer, svc_mono_ms() + (wait_ms < LATE_MS ? wait_ms : LATE_MS));
    }
}

/* ---- events in, effects out ---- */

static void step(struct shell *shell, struct sched_event event)
{
    struct sched_update update;
    int64_t begin_ns = svc_wall_ns();
    event.now_ns = now_ns(shell);
    enum sched_result result = scheduler_step(shell->core, &event, &update);
    int64_t took_ns = svc_wall_ns() - begin_ns;
    if (event.type == SCHED_TICK)
        svc_observe(shell->metrics.step_seconds, took_ns > 0 ? (double)took_ns / 1e9 : 0);
    arm(shell, update.deadline_ns);
    if (result == SCHED_CORRUPT) {
        svc_log(SVC_WARN, "the feed does not fit the mirror, or another manager leads: beginning anew", NULL);
        *shell->metrics.losses += 1;
        feed_renew(shell->feed);
    } else if (update.commit != NULL) {
        shell->commit_ns = event.now_ns;
        if (!feed_commit(shell->feed, update.commit)) {
            svc_log(SVC_WARN, "commit could not be sent", NULL);
            on_lost(shell);
        }
    }
}

static void on_snapshot(void *arg, const Swarm__FeedSnapshot *snapshot)
{
    step(arg, (struct sched_event) { .type = SCHED_SNAPSHOT, .snapshot = snapshot });
    if (snapshot->done)
        svc_log(SVC_INFO, "mirror complete", "version=%llu leader=%s", (unsigned long long)snapshot->version,
                snapshot->leader ? "true" : "false");
}

static void on_changes(void *arg, const Swarm__FeedChanges *changes)
{
    struct shell *shell = arg;
    bool led = scheduler_stats(shell->core).leader;
    step(shell, (struct sched_event) { .type = SCHED_CHANGES, .changes = changes });
    if (led != changes->leader)
        svc_log(SVC_INFO, changes->leader ? "deciding for the leader" : "standing by", "term=%llu",
                (unsigned long long)changes->term);
}

/* A commit without an answer loses the subscription too: what it did will be in the next snapshot. */
static void on_reply(void *arg, const Swarm__CommitReply *reply, const struct sw_err *err)
{
    struct shell *shell = arg;
    (void)err;
    if (reply == NULL) {
        on_lost(shell);
        return;
    }
    svc_observe(shell->metrics.commit_seconds, (double)(now_ns(shell) - shell->commit_ns) / 1e9);
    step(shell, (struct sched_event) { .type = SCHED_RESULT, .reply = reply });
}

static void on_lost(void *arg)
{
    struct shell *shell = arg;
    feed_renew(shell->feed); /* forgets the commit under way */
    *shell->metrics.losses += 1;
    step(shell, (struct sched_event) { .type = SCHED_LOST });
}

static int activate(void *arg, const Swarm__NodeIdentity *identity, struct sw_err *err)
{
    struct shell *shell = arg;
    (void)identity;
    shell->core = scheduler_new(svc_random_u64());
    shell->timer = svc_timer_new(shell->svc, tick, shell);
    const struct feed_spec spec = { .svc = shell->svc,
                                    .bus = shell->bus,
                                    .socket = "feed-scheduler.sock",
                                    .tables = tables,
                                    .table_count = sizeof tables / sizeof *tables,
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
    to->decisions = svc_metric(m, SVC_COUNTER, "swarm_scheduler_decisions_total", "", "Object changes decided.");
    to->placed = svc_metric(m, SVC_COUNTER, "swarm_scheduler_tasks_placed_total", "", "Tasks given a node.");
    to->commits = svc_metric(m, SVC_COUNTER, "swarm_scheduler_commits_total", "", "Batches sent to the store.");
    to->conflicts = svc_metric(m, SVC_COUNTER, "swarm_scheduler_conflicts_total", "", "Transactions refused and decided anew.");
    to->rounds = svc_metric(m, SVC_COUNTER, "swarm_scheduler_rounds_total", "", "Times the control loops ran.");
    to->losses = svc_metric(m, SVC_COUNTER, "swarm_scheduler_feed_losses_total", "", "Times the mirror was begun anew.");
    to->waiting = svc_metric(m, SVC_GAUGE, "swarm_scheduler_waiting_tasks", "", "Tasks without a node.");
    to->leader =
        svc_metric(m, SVC_GAUGE, "swarm_scheduler_leader", "", "1 if this node's manager leads and decisions are made here.");
    to->feed = svc_metric(m, SVC_GAUGE, "swarm_scheduler_feed_up", "", "1 if the mirror of the store is kept up to date.");
    to->version = svc_metric(m, SVC_GAUGE, "swarm_scheduler_mirror_version", "", "Raft index of the last change in the mirror.");
    to->step_seconds = svc_histogram(m, "swarm_scheduler_step_seconds", "Time one round of decisions takes.");
    to->commit_seconds = svc_histogram(m, "swarm_scheduler_commit_seconds", "Time from a commit's request to its answer.");
}

static void scrape(struct svc *svc, void *state)
{
    struct shell *shell = state;
    (void)svc;
    if (shell->core == NULL)
        return;
    struct sched_stats stats = scheduler_stats(shell->core);
    *shell->metrics.decisions = (double)stats.decisions;
    *shell->metrics.placed = (double)stats.placed;
    *shell->metrics.commits = (double)stats.commits;
    *shell->metrics.conflicts = (double)stats.conflicts;
    *shell->metrics.rounds = (double)stats.rounds;
    *shell->metrics.waiting = (double)stats.waiting;
    *shell->metrics.leader = stats.leader ? 1 : 0;
    *shell->metrics.feed = stats.synced ? 1 : 0;
    *shell->metrics.version = (double)stats.version;
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
    feed_close(shell->feed);
    svc_timer_free(shell->timer);
    bus_free(shell->bus);
    scheduler_free(shell->core);
    member_free(shell->member);
}

int shell_main(int argc, char **argv)
{
    struct shell shell = { 0 };
    const struct svc_program program = {
        .name = "swarm-scheduler",
        .summary = "decides for the cluster: which tasks a service needs, where they run, what is replaced and what goes",
        .metrics_address = "127.0.0.1:9378",
        .state = &shell,
        .start = start,
        .stop = stop,
        .scrape = scrape,
        .healthy = healthy,
    };
    return svc_main(&program, argc, argv);
}
