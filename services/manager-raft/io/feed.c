#include "services/manager-raft/io/feed.h"

#include "common/base/buf.h"
#include "proto/envelope.pb-c.h"
#include "services/manager-raft/core/grants.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS 100
#define RETRIES_MAX 50 /* it is gone then, not slow */
#define SMALL 4096

struct subscriber {
    bool used, lost; /* lost: has missed something and must be told */
    unsigned tries;  /* to tell it */
    struct bus_sender sender;
    unsigned tables; /* set of 1 << Swarm__Table */
};

struct side {
    struct feed *feed;
    enum grants_client client;
    struct bus_server *server;
    struct subscriber subscribers[FEED_SUBSCRIBERS_MAX];
};

struct feed {
    struct feed_spec spec;
    uint64_t term;
    bool leader;
    struct side sides[2]; /* by enum grants_client */
    struct svc_timer *retry;
    double *lost_total, *commits_total;
};

static int fail_lost(struct sw_err *err)
{
    return sw_fail(err, SW_LIMIT, "the feed was not read fast enough: subscribe again");
}

static void lose(struct side *side, struct subscriber *subscriber)
{
    *side->feed->lost_total += 1;
    svc_log(SVC_WARN, "feed subscriber lost", "client=%s", side->client == GRANTS_SCHEDULER ? "scheduler" : "dispatcher");
    subscriber->lost = true;
    svc_timer_at(side->feed->retry, svc_mono_ms() + RETRY_MS);
    if (side->client == GRANTS_DISPATCHER)
        side->feed->spec.dispatcher_gone(side->feed->spec.arg);
}

/* Tell those who lost their place; one that cannot be told is gone itself, or still not reading. */
static void on_retry(void *arg)
{
    struct feed *feed = arg;
    struct sw_err err;
    (void)fail_lost(&err);
    bool again = false;
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < FEED_SUBSCRIBERS_MAX; i++) {
            struct subscriber *subscriber = &feed->sides[s].subscribers[i];
            if (!subscriber->used || !subscriber->lost)
                continue;
            if (bus_reply_error(&subscriber->sender, &err) == 0 || ++subscriber->tries >= RETRIES_MAX)
                subscriber->used = false;
            else
                again = true;
        }
    if (again)
        svc_timer_at(feed->retry, svc_mono_ms() + RETRY_MS);
}

static void send_to(struct side *side, struct subscriber *subscriber, const void *body)
{
    if (!subscriber->lost && bus_reply_more(&subscriber->sender, body) != 0)
        lose(side, subscriber);
}

/* ---- records: the cluster's sealed members never leave this process ---- */

static ProtobufCBinaryData cluster_record(const Swarm__Cluster *stored)
{
    Swarm__Cluster cluster = *stored;
    cluster.has_root_secret_sealed = cluster.has_worker_secret_sealed = cluster.has_manager_secret_sealed = false;
    struct sw_buf buf = { 0 };
    sw_pb_pack(&cluster, &buf);
    size_t len = buf.len;
    return (ProtobufCBinaryData) { .len = len, .data = (uint8_t *)sw_buf_take(&buf) };
}

static ProtobufCBinaryData record_of(Swarm__Table table, const void *object)
{
    if (table == SWARM__TABLE__TABLE_CLUSTER)
        return cluster_record(object);
    struct sw_buf buf = { 0 };
    sw_pb_pack(object, &buf);
    size_t len = buf.len;
    return (ProtobufCBinaryData) { .len = len, .data = (uint8_t *)sw_buf_take(&buf) };
}

/* ---- changes ---- */

struct changes {
    Swarm__FeedChange *items;
    Swarm__FeedChange **picked;
    size_t count;
};

static struct changes changes_new(const struct apply_result *result)
{
    struct changes changes = { .count = result->change_count };
    changes.items = sw_alloc0(changes.count * sizeof *changes.items);
    changes.picked = sw_alloc0(changes.count * sizeof(Swarm__FeedChange *));
    for (size_t i = 0; i < changes.count; i++) {
        const struct apply_change *from = &result->changes[i];
        Swarm__FeedChange *to = &changes.items[i];
        swarm__feed_change__init(to);
        to->kind = from->kind;
        to->table = from->table;
        to->id = (char *)from->id;
        to->has_record = from->object != NULL;
        if (to->has_record)
            to->record = record_of(from->table, from->object);
    }
    return changes;
}

static void changes_free(struct changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        free(changes->items[i].record.data);
    free(changes->items);
    free((void *)changes->picked);
}

static void send_changes(struct side *side, struct subscriber *subscriber, const struct changes *changes, uint64_t version)
{
    Swarm__FeedChanges message = SWARM__FEED_CHANGES__INIT;
    message.version = version;
    message.term = side->feed->term;
    message.leader = side->feed->leader;
    message.changes = changes->picked;
    for (size_t i = 0; i < changes->count; i++)
        if ((subscriber->tables & 1u << changes->items[i].table) != 0)
            message.changes[message.n_changes++] = &changes->items[i];
    send_to(side, subscriber, &message);
}

static void broadcast(struct feed *feed, const struct changes *changes, uint64_t version)
{
    for (size_t s = 0; s < 2; s++)
        for (size_t i = 0; i < FEED_SUBSCRIBERS_MAX; i++)
            if (feed->sides[s].subscribers[i].used)
                send_changes(&feed->sides[s], &feed->sides[s].subscribers[i], changes, version);
}

void feed_applied(struct feed *feed, const struct store_entry *entry, const struct apply_result *result)
{
    struct changes changes = changes_new(result);
    broadcast(feed, &changes, entry->index);
    changes_free(&changes);
}

void feed_status(struct feed *feed, uint64_t term, bool leader)
{
    feed->term = term;
    feed->leader = leader;
    const struct changes none = { 0 };
    broadcast(feed, &none, store_applied(feed->spec.store));
}

/* ---- subscriptions ---- */

/* That a connection is gone shows only when something is sent to it: without this, a client that is killed a few times while
 * nothing changes would find the places taken by its own earlier lives. */
static void find_gone(struct side *side)
{
    const struct changes none = { 0 };
    for (size_t i = 0; i < FEED_SUBSCRIBERS_MAX; i++)
        if (side->subscribers[i].used)
            send_changes(side, &side->subscribers[i], &none, store_applied(side->feed->spec.store));
}

static struct subscriber *slot_for(struct side *side, const struct bus_sender *sender)
{
    struct subscriber *free_slot = NULL;
    struct subscriber *lost_slot = NULL;
    for (size_t i = 0; i < FEED_SUBSCRIBERS_MAX; i++) {
        struct subscriber *slot = &side->subscribers[i];
        if (!slot->used)
            free_slot = slot;
        else if (slot->sender.route_len == sender->route_len && memcmp(slot->sender.route, sender->route, sender->route_len) == 0)
            return slot; /* the same connection subscribes again */
        else if (slot->lost)
            lost_slot = slot;
    }
    return free_slot != NULL ? free_slot : lost_slot;
}

struct snapshot {
    struct side *side;
    struct subscriber *subscriber;
};

static void on_chunk(void *arg, const Swarm__FeedSnapshot *chunk)
{
    struct snapshot *self = arg;
    for (size_t i = 0; i < chunk->n_objects; i++) {
        Swarm__FeedObject *object = chunk->objects[i];
        if (object->table != SWARM__TABLE__TABLE_CLUSTER)
            continue;
        free(object->record.data);
        object->record = cluster_record(mirror_cluster(store_mirror(self->side->feed->spec.store)));
    }
    send_to(self->side, self->subscriber, chunk);
}

static int on_subscribe(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct side *side = self;
    const Swarm__FeedSubscribe *request = body;
    struct snapshot snapshot = { .side = side };
    unsigned tables = 0;
    for (size_t i = 0; i < request->n_tables; i++) {
        if (store_table_of(request->tables[i]) == NULL || !grants_may_read(side->client, request->tables[i]))
            return sw_fail(err, SW_DENIED, "table %d is not for this feed", (int)request->tables[i]);
        tables |= 1u << request->tables[i];
    }
    if ((snapshot.subscriber = slot_for(side, sender)) == NULL) {
        find_gone(side);
        snapshot.subscriber = slot_for(side, sender);
    }
    if (snapshot.subscriber == NULL)
        return sw_fail(err, SW_LIMIT, "the feed has %u subscribers already", FEED_SUBSCRIBERS_MAX);
    if (side->client == GRANTS_DISPATCHER) /* a new one knows nothing of what the one before it was asked */
        side->feed->spec.dispatcher_gone(side->feed->spec.arg);
    *snapshot.subscriber = (struct subscriber) { .used = true, .sender = *sender, .tables = tables };
    Swarm__Table wanted[STORE_TABLES];
    size_t count = 0;
    for (int t = 0; t < STORE_TABLES; t++)
        if ((tables & 1u << t) != 0)
            wanted[count++] = (Swarm__Table)t;
    store_snapshot(side->feed->spec.store, wanted, count, side->feed->term, side->feed->leader, on_chunk, &snapshot);
    svc_log(SVC_INFO, "feed subscribed", "client=%s", side->client == GRANTS_SCHEDULER ? "scheduler" : "dispatcher");
    return 0;
}

/* ---- commits ---- */

struct commit {
    struct bus_sender sender;
};

static void on_committed(void *arg, uint64_t index, const struct apply_result *result, const struct sw_err *err)
{
    struct commit *commit = arg;
    if (result == NULL) {
        (void)bus_reply_error(&commit->sender, err);
    } else {
        Swarm__CommitReply reply = SWARM__COMMIT_REPLY__INIT;
        reply.version = index;
        reply.results = result->results;
        reply.n_results = result->result_count;
        (void)bus_reply(&commit->sender, &reply);
    }
    free(commit);
}

static int on_commit(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct side *side = self;
    const Swarm__StoreBatch *batch = ((const Swarm__CommitRequest *)body)->batch;
    struct feed *feed = side->feed;
    if (!feed->leader)
        return sw_fail(err, SW_FENCED, "this manager is not the leader");
    int rc = grants_check(side->client, batch, feed->term, err);
    if (rc != 0)
        return rc;
    struct commit *commit = sw_alloc0(sizeof *commit);
    commit->sender = *sender;
    *feed->commits_total += 1;
    rc = raftd_propose(feed->spec.raftd, batch, on_committed, commit, err);
    if (rc != 0)
        free(commit);
    return rc;
}

static int on_log_message(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    (void)err;
    struct feed *feed = ((struct side *)self)->feed;
    feed->spec.log_message(feed->spec.arg, body);
    if (sender->seq != 0) {
        const Swarm__Empty empty = SWARM__EMPTY__INIT;
        (void)bus_reply(sender, &empty);
    }
    return 0;
}

int feed_tell_dispatcher(struct feed *feed, const void *body, struct sw_err *err)
{
    struct side *side = &feed->sides[GRANTS_DISPATCHER];
    for (size_t i = 0; i < FEED_SUBSCRIBERS_MAX; i++) {
        struct subscriber *subscriber = &side->subscribers[i];
        if (subscriber->used && !subscriber->lost && bus_event(&subscriber->sender, body) == 0)
            return 0;
    }
    return sw_fail(err, SW_UNAVAILABLE, "the dispatcher of this manager is not connected");
}

/* ---- life ---- */

static const struct bus_spec scheduler_specs[] = {
    { &swarm__feed_subscribe__descriptor, BUS_LOCAL, SMALL, on_subscribe },
    { &swarm__commit_request__descriptor, BUS_LOCAL, FEED_COMMIT_MAX, on_commit },
};
static const struct bus_spec dispatcher_specs[] = {
    { &swarm__feed_subscribe__descriptor, BUS_LOCAL, SMALL, on_subscribe },
    { &swarm__commit_request__descriptor, BUS_LOCAL, FEED_COMMIT_MAX, on_commit },
    { &swarm__log_message__descriptor, BUS_LOCAL, 512u << 10, on_log_message },
};

static int open_side(struct feed *feed, enum grants_client client, const char *name, struct sw_err *err)
{
    struct side *side = &feed->sides[client];
    side->feed = feed;
    side->client = client;
    SW_AUTO(sw_free) char *endpoint = sw_strf("ipc://%s/%s", svc_run_dir(feed->spec.svc), name);
    const char *endpoints[] = { endpoint, NULL };
    bool scheduler = client == GRANTS_SCHEDULER;
    const struct bus_server_spec spec = {
        .endpoints = endpoints,
        .specs = scheduler ? scheduler_specs : dispatcher_specs,
        .spec_count =
            scheduler ? sizeof scheduler_specs / sizeof *scheduler_specs : sizeof dispatcher_specs / sizeof *dispatcher_specs,
        .self = side,
    };
    return bus_server_open(feed->spec.bus, &spec, &side->server, err);
}

SW_AUTO_DEFINE(struct feed, feed_close);

int feed_open(const struct feed_spec *spec, struct feed **ret_feed, struct sw_err *err)
{
    SW_AUTO(feed_close) struct feed *feed = sw_alloc0(sizeof *feed);
    feed->spec = *spec;
    feed->retry = svc_timer_new(spec->svc, on_retry, feed);
    struct svc_metrics *metrics = svc_metrics(spec->svc);
    feed->lost_total = svc_metric(metrics, SVC_COUNTER, "swarm_manager_raft_feed_lost_total", "",
                                  "Feed subscriptions lost to slowness or a gone peer.");
    feed->commits_total = svc_metric(metrics, SVC_COUNTER, "swarm_manager_raft_feed_commits_total", "",
                                     "Commits asked for by the scheduler and the dispatcher.");
    int rc = open_side(feed, GRANTS_SCHEDULER, "feed-scheduler.sock", err);
    if (rc == 0)
        rc = open_side(feed, GRANTS_DISPATCHER, "feed-dispatcher.sock", err);
    if (rc != 0)
        return sw_wrap(err, "open the feed");
    *ret_feed = SW_TAKE(feed);
    return 0;
}

void feed_close(struct feed *feed)
{
    if (feed == NULL)
        return;
    for (size_t i = 0; i < 2; i++)
        bus_server_close(feed->sides[i].server);
    svc_timer_free(feed->retry);
    free(feed);
}
