#include "common/feed/feed.h"

#include <stdlib.h>
#include <string.h>

#define RESUBSCRIBE_MS 100
#define REPLY_MAX (2u << 20)

struct feed {
    struct feed_spec spec;
    struct bus_client *client;
    struct bus_spec *rows;
    struct svc_timer *timer; /* a subscription that ended or was refused is made again */
    uint64_t subscription;   /* seq of the question; 0 = none */
    uint64_t commit;         /* seq of the commit under way; 0 = none */
    bool whole;              /* the snapshot is in */
};

/* ---- the subscription ---- */

static void end_subscription(struct feed *feed)
{
    if (feed->subscription != 0)
        bus_forget(feed->client, feed->subscription);
    feed->subscription = 0;
    feed->whole = false;
    svc_timer_at(feed->timer, svc_mono_ms() + RESUBSCRIBE_MS);
}

static void lose(struct feed *feed, const char *why)
{
    svc_log(SVC_WARN, "the store's feed ended", "err=\"%s\"", why);
    end_subscription(feed);
    feed->spec.lost(feed->spec.arg);
}

static void on_feed(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct feed *feed = arg;
    if (body == NULL || !more) {
        feed->subscription = 0;
        lose(feed, err != NULL ? err->text : "end of stream");
        return;
    }
    const ProtobufCMessageDescriptor *type = ((const ProtobufCMessage *)body)->descriptor;
    if (type == &swarm__feed_snapshot__descriptor) {
        feed->whole = ((const Swarm__FeedSnapshot *)body)->done;
        feed->spec.snapshot(feed->spec.arg, body);
    } else if (type == &swarm__feed_changes__descriptor) {
        feed->spec.changes(feed->spec.arg, body);
    } else {
        lose(feed, "it told something else");
    }
}

static void subscribe(void *arg)
{
    struct feed *feed = arg;
    if (feed->subscription != 0 || !bus_client_up(feed->client))
        return;
    Swarm__FeedSubscribe request = SWARM__FEED_SUBSCRIBE__INIT;
    request.tables = (Swarm__Table *)(uintptr_t)feed->spec.tables; /* only read */
    request.n_tables = feed->spec.table_count;
    feed->subscription = bus_ask(feed->client, &request, 0, on_feed, feed);
    if (feed->subscription == 0)
        svc_timer_at(feed->timer, svc_mono_ms() + RESUBSCRIBE_MS);
}

/* The bus has failed the subscription before it tells that the connection is down. */
static void on_state(void *self, bool up, bool denied)
{
    (void)denied; /* local sockets have no keys */
    svc_log(SVC_INFO, up ? "connected to manager-raft" : "no connection to manager-raft", NULL);
    if (up)
        subscribe(self);
}

void feed_renew(struct feed *feed)
{
    if (feed->commit != 0)
        bus_forget(feed->client, feed->commit);
    feed->commit = 0;
    end_subscription(feed);
}

/* ---- commits ---- */

static void on_reply(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct feed *feed = arg;
    (void)more;
    feed->commit = 0;
    if (body != NULL && ((const ProtobufCMessage *)body)->descriptor != &swarm__commit_reply__descriptor)
        body = NULL;
    if (body == NULL)
        svc_log(SVC_WARN, "commit failed", "err=\"%s\"", err != NULL ? err->text : "not a commit's answer");
    feed->spec.reply(feed->spec.arg, body, err);
}

bool feed_commit(struct feed *feed, const Swarm__StoreBatch *batch)
{
    Swarm__CommitRequest request = SWARM__COMMIT_REQUEST__INIT;
    request.batch = (Swarm__StoreBatch *)(uintptr_t)batch; /* only read */
    feed->commit = bus_ask(feed->client, &request, feed->spec.commit_timeout_ms, on_reply, feed);
    return feed->commit != 0;
}

/* ---- life ---- */

static int on_event(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    const struct feed_spec *spec = &((struct feed *)self)->spec;
    for (size_t i = 0; i < spec->event_count; i++)
        if (spec->events[i].type == ((const ProtobufCMessage *)body)->descriptor)
            return spec->events[i].handle(spec->arg, sender, body, err);
    return 0; /* the bus lets no other through */
}

static size_t make_rows(struct feed *feed)
{
    static const struct bus_spec answers[] = {
        { &swarm__feed_snapshot__descriptor, 0, BUS_SIZE_MAX, NULL },
        { &swarm__feed_changes__descriptor, 0, BUS_SIZE_MAX, NULL },
        { &swarm__commit_reply__descriptor, 0, REPLY_MAX, NULL },
    };
    size_t count = sizeof answers / sizeof *answers;
    feed->rows = sw_alloc0((count + feed->spec.event_count) * sizeof *feed->rows);
    memcpy(feed->rows, answers, sizeof answers);
    for (size_t i = 0; i < feed->spec.event_count; i++) {
        feed->rows[count] = feed->spec.events[i];
        feed->rows[count++].handle = on_event;
    }
    return count;
}

int feed_open(const struct feed_spec *spec, struct feed **ret_feed, struct sw_err *err)
{
    struct feed *feed = sw_alloc0(sizeof *feed);
    feed->spec = *spec;
    feed->timer = svc_timer_new(spec->svc, subscribe, feed);
    size_t rows = make_rows(feed);
    SW_AUTO(sw_free) char *endpoint = sw_strf("ipc://%s/%s", svc_run_dir(spec->svc), spec->socket);
    const struct bus_client_spec client = {
        .endpoint = endpoint,
        .specs = feed->rows,
        .spec_count = rows,
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
    free(feed->rows);
    free(feed);
}

bool feed_up(const struct feed *feed)
{
    return feed->whole;
}

int feed_tell(struct feed *feed, const void *message)
{
    return bus_tell(feed->client, message);
}

bool feed_healthy(const struct feed *feed, char *why, size_t why_size)
{
    if (feed == NULL || feed->whole)
        return true;
    (void)snprintf(why, why_size, "no feed from manager-raft");
    return false;
}
