#include "services/scheduler/io/feed.h"

#include <stdlib.h>

#define COMMIT_TIMEOUT_MS 30000
#define RESUBSCRIBE_MS 100
#define REPLY_MAX (2u << 20)

struct feed {
    struct feed_spec spec;
    struct bus_client *client;
    struct svc_timer *timer;
    uint64_t subscription; /* seq of the question; 0 = none */
    uint64_t commit;       /* seq of the commit under way; 0 = none */
    bool whole;
};

static void drop(struct feed *feed)
{
    if (feed->subscription != 0)
        bus_forget(feed->client, feed->subscription);
    if (feed->commit != 0)
        bus_forget(feed->client, feed->commit);
    feed->subscription = 0;
    feed->commit = 0;
    feed->whole = false;
}

void feed_renew(struct feed *feed)
{
    drop(feed);
    svc_timer_at(feed->timer, svc_mono_ms() + RESUBSCRIBE_MS);
}

static void lose(struct feed *feed, const char *what, const struct sw_err *err)
{
    svc_log(SVC_WARN, what, "err=\"%s\"", err != NULL ? err->text : "unexpected answer");
    feed_renew(feed);
    feed->spec.lost(feed->spec.arg);
}

static void on_feed(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct feed *feed = arg;
    if (body == NULL || !more) {
        feed->subscription = 0;
        lose(feed, "the store's feed ended", err);
        return;
    }
    const ProtobufCMessageDescriptor *type = ((const ProtobufCMessage *)body)->descriptor;
    if (type == &swarm__feed_snapshot__descriptor) {
        feed->whole = ((const Swarm__FeedSnapshot *)body)->done;
        feed->spec.snapshot(feed->spec.arg, body);
    } else if (type == &swarm__feed_changes__descriptor) {
        feed->spec.changes(feed->spec.arg, body);
    } else {
        lose(feed, "the store's feed told something else", NULL);
    }
}

static void subscribe(void *arg)
{
    struct feed *feed = arg;
    if (feed->subscription != 0 || !bus_client_up(feed->client))
        return;
    Swarm__Table tables[] = { SWARM__TABLE__TABLE_CLUSTER, SWARM__TABLE__TABLE_NODE, SWARM__TABLE__TABLE_SERVICE,
                              SWARM__TABLE__TABLE_TASK };
    Swarm__FeedSubscribe request = SWARM__FEED_SUBSCRIBE__INIT;
    request.tables = tables;
    request.n_tables = sizeof tables / sizeof *tables;
    feed->subscription = bus_ask(feed->client, &request, 0, on_feed, feed);
    if (feed->subscription == 0)
        svc_timer_at(feed->timer, svc_mono_ms() + RESUBSCRIBE_MS);
}

static void on_state(void *self, bool up, bool denied)
{
    struct feed *feed = self;
    (void)denied; /* local sockets have no keys */
    svc_log(SVC_INFO, up ? "connected to manager-raft" : "no connection to manager-raft", NULL);
    if (up)
        subscribe(feed);
}

static void on_reply(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct feed *feed = arg;
    (void)more;
    feed->commit = 0;
    if (body != NULL && ((const ProtobufCMessage *)body)->descriptor == &swarm__commit_reply__descriptor)
        feed->spec.reply(feed->spec.arg, body);
    else
        lose(feed, "commit failed", err);
}

void feed_commit(struct feed *feed, const Swarm__StoreBatch *batch)
{
    Swarm__CommitRequest request = SWARM__COMMIT_REQUEST__INIT;
    request.batch = (Swarm__StoreBatch *)(uintptr_t)batch; /* only read */
    feed->commit = bus_ask(feed->client, &request, COMMIT_TIMEOUT_MS, on_reply, feed);
    struct sw_err err;
    if (feed->commit == 0 && sw_fail(&err, SW_UNAVAILABLE, "no connection to manager-raft") != 0)
        lose(feed, "commit failed", &err);
}

static const struct bus_spec specs[] = {
    { &swarm__feed_snapshot__descriptor, 0, BUS_SIZE_MAX, NULL },
    { &swarm__feed_changes__descriptor, 0, BUS_SIZE_MAX, NULL },
    { &swarm__commit_reply__descriptor, 0, REPLY_MAX, NULL },
};

int feed_open(const struct feed_spec *spec, struct feed **ret_feed, struct sw_err *err)
{
    struct feed *feed = sw_alloc0(sizeof *feed);
    feed->spec = *spec;
    feed->timer = svc_timer_new(spec->svc, subscribe, feed);
    SW_AUTO(sw_free) char *endpoint = sw_strf("ipc://%s/feed-scheduler.sock", svc_run_dir(spec->svc));
    const struct bus_client_spec client = {
        .endpoint = endpoint,
        .specs = specs,
        .spec_count = sizeof specs / sizeof *specs,
        .self = feed,
        .state = on_state,
    };
    if (bus_client_open(spec->bus, &client, &feed->client, err) != 0) {
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
