/* The feed's client against a manager-raft of its own making: both ends in one loop, over a real local socket. */
#include "common/feed/feed.h"
#include "common/service/tests/daemon.h"

#include <stdio.h>
#include <string.h>

struct rig {
    struct svc *svc;
    struct bus *bus;
    struct bus_server *server;
    struct feed *feed;
    struct svc_timer *guard;
    struct bus_sender subscriber, committer;
    void (*on_subscribed)(struct rig *rig);
    bool refuse_first;
    int subscriptions;
    char log[512]; /* what happened, one word each */
};

static void say(struct rig *rig, const char *word)
{
    size_t len = strlen(rig->log);
    (void)snprintf(rig->log + len, sizeof rig->log - len, "%s ", word);
}

/* ---- manager-raft ---- */

static void send_snapshot(struct rig *rig, bool done)
{
    Swarm__FeedSnapshot snapshot = SWARM__FEED_SNAPSHOT__INIT;
    snapshot.done = done;
    assert_int_equal(bus_reply_more(&rig->subscriber, &snapshot), 0);
}

static void send_changes(struct rig *rig)
{
    Swarm__FeedChanges changes = SWARM__FEED_CHANGES__INIT;
    assert_int_equal(bus_reply_more(&rig->subscriber, &changes), 0);
}

static int on_subscribe(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct rig *rig = self;
    const Swarm__FeedSubscribe *request = body;
    assert_int_equal(request->n_tables, 2);
    assert_int_equal(request->tables[1], SWARM__TABLE__TABLE_TASK);
    rig->subscriber = *sender;
    if (rig->subscriptions++ == 0 && rig->refuse_first)
        return sw_fail(err, SW_UNAVAILABLE, "not yet");
    rig->on_subscribed(rig);
    return 0;
}

/* A commit is answered, refused, or kept, by its term. */
static int on_commit(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct rig *rig = self;
    Swarm__CommitReply reply = SWARM__COMMIT_REPLY__INIT;
    switch (((const Swarm__CommitRequest *)body)->batch->term) {
    case 1:
        return bus_reply(sender, &reply);
    case 2:
        return sw_fail(err, SW_FENCED, "no leader");
    default:
        rig->committer = *sender;
        return 0;
    }
}

static int on_log_message(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct rig *rig = self;
    (void)sender;
    (void)err;
    say(rig, ((const Swarm__LogMessage *)body)->task_id);
    svc_quit(rig->svc, 0);
    return 0;
}

static const struct bus_spec server_specs[] = {
    { &swarm__feed_subscribe__descriptor, BUS_LOCAL, 256, on_subscribe },
    { &swarm__commit_request__descriptor, BUS_LOCAL, 256, on_commit },
    { &swarm__log_message__descriptor, BUS_LOCAL, 256, on_log_message },
};

/* ---- the daemon ---- */

static bool commit(struct rig *rig, uint64_t term)
{
    Swarm__StoreBatch batch = SWARM__STORE_BATCH__INIT;
    batch.has_term = true;
    batch.term = term;
    return feed_commit(rig->feed, &batch);
}

static void on_snapshot(void *arg, const Swarm__FeedSnapshot *snapshot)
{
    struct rig *rig = arg;
    say(rig, snapshot->done ? "snapshot" : "chunk");
    assert_int_equal(feed_up(rig->feed), snapshot->done);
}

static void on_changes(void *arg, const Swarm__FeedChanges *changes)
{
    struct rig *rig = arg;
    (void)changes;
    say(rig, "changes");
    assert_true(commit(rig, 1));
}

static void on_reply(void *arg, const Swarm__CommitReply *reply, const struct sw_err *err)
{
    struct rig *rig = arg;
    say(rig, reply != NULL ? "committed" : sw_code_name(err->code));
    if (reply != NULL) {
        assert_true(commit(rig, 2));
        return;
    }
    assert_true(feed_up(rig->feed)); /* a commit's failure is not the subscription's */
    Swarm__LogUnsubscribe event = SWARM__LOG_UNSUBSCRIBE__INIT;
    assert_int_equal(bus_event(&rig->subscriber, &event), 0);
}

static void on_lost(void *arg)
{
    struct rig *rig = arg;
    assert_false(feed_up(rig->feed));
    say(rig, "lost");
}

static int on_event(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct rig *rig = self;
    char task_id[] = "log";
    Swarm__LogMessage message = SWARM__LOG_MESSAGE__INIT;
    message.task_id = task_id;
    (void)sender;
    (void)body;
    (void)err;
    say(rig, "event");
    return feed_tell(rig->feed, &message);
}

static const Swarm__Table tables[] = { SWARM__TABLE__TABLE_NODE, SWARM__TABLE__TABLE_TASK };
static const struct bus_spec events[] = {
    { &swarm__log_unsubscribe__descriptor, 0, 256, on_event },
};

/* ---- running ---- */

static void on_guard(void *arg)
{
    svc_quit(((struct rig *)arg)->svc, 99);
}

static int start(struct svc *svc, void *state, struct sw_err *err)
{
    struct rig *rig = state;
    rig->svc = svc;
    rig->guard = svc_timer_new(svc, on_guard, rig);
    svc_timer_at(rig->guard, svc_mono_ms() + DAEMON_GUARD_MS);
    assert_int_equal(bus_new(svc, &rig->bus, err), 0);
    SW_AUTO(sw_free) char *endpoint = sw_strf("ipc://%s/feed-test.sock", svc_run_dir(svc));
    const char *const endpoints[] = { endpoint, NULL };
    const struct bus_server_spec server = { .endpoints = endpoints, .specs = server_specs, .spec_count = 3, .self = rig };
    assert_int_equal(bus_server_open(rig->bus, &server, &rig->server, err), 0);
    const struct feed_spec spec = { .svc = svc,
                                    .bus = rig->bus,
                                    .socket = "feed-test.sock",
                                    .tables = tables,
                                    .table_count = 2,
                                    .events = events,
                                    .event_count = 1,
                                    .commit_timeout_ms = 10000,
                                    .snapshot = on_snapshot,
                                    .changes = on_changes,
                                    .reply = on_reply,
                                    .lost = on_lost,
                                    .arg = rig };
    assert_int_equal(feed_open(&spec, &rig->feed, err), 0);
    assert_false(commit(rig, 1)); /* not connected yet */
    return 0;
}

static void stop(struct svc *svc, void *state)
{
    struct rig *rig = state;
    (void)svc;
    feed_close(rig->feed);
    svc_timer_free(rig->guard);
    bus_free(rig->bus);
}

static void run(struct rig *rig, const char *want)
{
    char dir[] = "/tmp/test-feed-XXXXXX";
    assert_int_equal(daemon_run(dir, start, stop, rig), 0);
    assert_string_equal(rig->log, want);
}

/* ---- tests ---- */

static void serve(struct rig *rig)
{
    send_snapshot(rig, false);
    send_snapshot(rig, true);
    send_changes(rig);
}

static void test_from_snapshot_to_log(void **state)
{
    (void)state;
    struct rig rig = { .on_subscribed = serve };
    run(&rig, "chunk snapshot changes committed fenced event log ");
}

static void test_refused_then_served(void **state)
{
    (void)state;
    struct rig rig = { .on_subscribed = serve, .refuse_first = true };
    run(&rig, "lost chunk snapshot changes committed fenced event log ");
}

/* The first subscription ends after its snapshot; so does the second, with an answer that is none of a feed's. */
static void end_twice(struct rig *rig)
{
    Swarm__CommitReply reply = SWARM__COMMIT_REPLY__INIT;
    Swarm__FeedSnapshot last = SWARM__FEED_SNAPSHOT__INIT;
    if (rig->subscriptions == 3) {
        serve(rig);
        return;
    }
    send_snapshot(rig, true);
    if (rig->subscriptions == 1)
        assert_int_equal(bus_reply(&rig->subscriber, &last), 0);
    else
        assert_int_equal(bus_reply_more(&rig->subscriber, &reply), 0);
}

static void test_ended_and_made_again(void **state)
{
    (void)state;
    struct rig rig = { .on_subscribed = end_twice };
    run(&rig, "snapshot lost snapshot lost chunk snapshot changes committed fenced event log ");
}

/* Renewed with a commit under way: neither is told of, and its late answer is nobody's. */
static void answer_late(struct rig *rig)
{
    Swarm__CommitReply reply = SWARM__COMMIT_REPLY__INIT;
    if (rig->subscriptions == 1) {
        assert_true(commit(rig, 3));
        feed_renew(rig->feed);
        return;
    }
    assert_int_equal(bus_reply(&rig->committer, &reply), 0);
    serve(rig);
}

static void test_renewed(void **state)
{
    (void)state;
    struct rig rig = { .on_subscribed = answer_late };
    run(&rig, "chunk snapshot changes committed fenced event log ");
}

static void test_health(void **state)
{
    (void)state;
    char why[64] = "";
    assert_true(feed_healthy(NULL, why, sizeof why)); /* idle */
    assert_string_equal(why, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_snapshot_to_log),
        cmocka_unit_test(test_refused_then_served),
        cmocka_unit_test(test_ended_and_made_again),
        cmocka_unit_test(test_renewed),
        cmocka_unit_test(test_health),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
