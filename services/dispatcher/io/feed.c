#include "services/dispatcher/io/shell.h"

#include <stdlib.h>

#define COMMIT_TIMEOUT_MS 10000
#define RESUBSCRIBE_MS 200

struct feed {
    struct shell *shell;
    struct bus_client *client;
    struct svc_timer *timer; /* a subscription that was refused is tried again */
    uint64_t subscription;   /* seq of the question; 0 = none */
    bool whole;              /* the snapshot is in */
};

static void lost(struct feed *feed)
{
    bool had = feed->subscription != 0;
    feed->subscription = 0;
    feed->whole = false;
    if (had)
        shell_step(feed->shell, (struct dispatch_event) { .type = DISPATCH_EV_FEED_LOST });
}

static void on_feed(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct feed *feed = arg;
    if (body != NULL && ((const ProtobufCMessage *)body)->descriptor == &swarm__feed_snapshot__descriptor) {
        const Swarm__FeedSnapshot *chunk = body;
        feed->whole = chunk->done;
        shell_step(feed->shell, (struct dispatch_event) { .type = DISPATCH_EV_SNAPSHOT, .body = chunk });
    } else if (body != NULL && ((const ProtobufCMessage *)body)->descriptor == &swarm__feed_changes__descriptor) {
        shell_step(feed->shell, (struct dispatch_event) { .type = DISPATCH_EV_CHANGES, .body = body });
    }
    if (more)
        return;
    svc_log(SVC_WARN, "the store's feed ended", "err=\"%s\"", err != NULL ? err->text : "end of stream");
    lost(feed);
    svc_timer_at(feed->timer, svc_mono_ms() + RESUBSCRIBE_MS);
}

static void subscribe(void *arg)
{
    struct feed *feed = arg;
    if (feed->subscription != 0 || !bus_client_up(feed->client))
        return;
    Swarm__Table tables[] = { SWARM__TABLE__TABLE_CLUSTER, SWARM__TABLE__TABLE_NODE, SWARM__TABLE__TABLE_TASK };
    Swarm__FeedSubscribe request = SWARM__FEED_SUBSCRIBE__INIT;
    request.tables = tables;
    request.n_tables = sizeof tables / sizeof tables[0];
    feed->subscription = bus_ask(feed->client, &request, 0, on_feed, feed);
    if (feed->subscription == 0)
        svc_timer_at(feed->timer, svc_mono_ms() + RESUBSCRIBE_MS);
}

static void on_state(void *self, bool up, bool denied)
{
    struct feed *feed = self;
    (void)denied;
    svc_log(SVC_INFO, up ? "connected to manager-raft" : "no connection to manager-raft", NULL);
    if (up)
        subscribe(feed);
    else
        lost(feed);
}

static int on_log_subscribe(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct feed *feed = self;
    (void)sender;
    (void)err;
    shell_step(feed->shell, (struct dispatch_event) { .type = DISPATCH_EV_LOG_SUBSCRIBE, .body = body });
    return 0;
}

static int on_log_unsubscribe(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct feed *feed = self;
    (void)sender;
    (void)err;
    shell_step(feed->shell, (struct dispatch_event) { .type = DISPATCH_EV_LOG_UNSUBSCRIBE, .body = body });
    return 0;
}

static const struct bus_spec specs[] = {
    { &swarm__feed_snapshot__descriptor, 0, BUS_SIZE_MAX, NULL },
    { &swarm__feed_changes__descriptor, 0, BUS_SIZE_MAX, NULL },
    { &swarm__commit_reply__descriptor, 0, 2u << 20, NULL },
    { &swarm__log_subscribe__descriptor, 0, 1u << 20, on_log_subscribe },
    { &swarm__log_unsubscribe__descriptor, 0, 256, on_log_unsubscribe },
};

int feed_open(struct bus *bus, struct svc *svc, const char *run_dir, struct shell *shell, struct feed **ret_feed,
              struct sw_err *err)
{
    struct feed *feed = sw_alloc0(sizeof *feed);
    feed->shell = shell;
    feed->timer = svc_timer_new(svc, subscribe, feed);
    SW_AUTO(sw_free) char *endpoint = sw_strf("ipc://%s/feed-dispatcher.sock", run_dir);
    const struct bus_client_spec spec = {
        .endpoint = endpoint,
        .specs = specs,
        .spec_count = sizeof specs / sizeof specs[0],
        .self = feed,
        .state = on_state,
    };
    if (bus_client_open(bus, &spec, &feed->client, err) != 0) {
        feed_close(feed);
        return sw_wrap(err, "feed of the store");
    }
    *ret_feed = feed;
    return 0;
}

void feed_close(struct feed *feed)
{
    if (feed == NULL)
        return;
    bus_client_close(feed->client);
    svc_timer_free(feed->timer);
    free(feed);
}

bool feed_up(const struct feed *feed)
{
    return feed->whole;
}

static void on_committed(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct feed *feed = arg;
    (void)more;
    bool right = body != NULL && ((const ProtobufCMessage *)body)->descriptor == &swarm__commit_reply__descriptor;
    if (!right)
        svc_log(SVC_WARN, "commit failed", "err=\"%s\"", err != NULL ? err->text : "not a commit's answer");
    shell_step(feed->shell, (struct dispatch_event) { .type = DISPATCH_EV_COMMITTED, .body = right ? body : NULL, .err = err });
}

bool feed_commit(struct feed *feed, const Swarm__StoreBatch *batch)
{
    Swarm__CommitRequest request = SWARM__COMMIT_REQUEST__INIT;
    request.batch = (Swarm__StoreBatch *)(uintptr_t)batch; /* read only */
    return bus_ask(feed->client, &request, COMMIT_TIMEOUT_MS, on_committed, feed) != 0;
}

int feed_log(struct feed *feed, const Swarm__LogMessage *message)
{
    return bus_tell(feed->client, message);
}
