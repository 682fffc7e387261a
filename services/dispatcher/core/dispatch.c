#include "services/dispatcher/core/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct dispatch *dispatch_new(const char *node_id, uint64_t seed)
{
    struct dispatch *d = sw_alloc0(sizeof *d);
    id_set(d->self, node_id);
    sw_rng_seed(&d->rng, seed);
    d->mirror = mirror_new();
    d->next_ms = UINT64_MAX;
    return d;
}

void dispatch_free(struct dispatch *d)
{
    if (d == NULL)
        return;
    logs_drop_all(d);
    free(d->subscriptions);
    for (size_t i = 0; i < d->nodes.count; i++)
        node_row_free(d->nodes.rows[i].value);
    sw_idmap_deinit(&d->nodes);
    queue_deinit(&d->gathering);
    queue_deinit(&d->flight);
    mirror_free(d->mirror);
    mirror_free(d->loading);
    sw_pb_free(d->batch);
    sw_scratch_deinit(&d->scratch);
    free(d->effects);
    free(d);
}

struct dispatch_effect *dispatch_effect_add(struct dispatch *d, enum dispatch_effect_type type)
{
    if (d->effect_count == d->effect_cap) {
        d->effect_cap = d->effect_cap != 0 ? d->effect_cap * 2 : 32;
        d->effects = sw_realloc_array(d->effects, d->effect_cap, sizeof *d->effects);
    }
    struct dispatch_effect *effect = &d->effects[d->effect_count++];
    memset(effect, 0, sizeof *effect);
    effect->type = type;
    return effect;
}

/* Rows and asks may be freed before the effects are read: the peer is copied. */
static const struct dispatch_peer *peer_copy(struct dispatch *d, const struct dispatch_peer *peer)
{
    struct dispatch_peer *copy = sw_scratch_alloc(&d->scratch, sizeof *copy);
    memcpy(copy, peer, sizeof *copy);
    return copy;
}

void effect_reply(struct dispatch *d, const struct dispatch_peer *peer, const void *message)
{
    struct dispatch_effect *effect = dispatch_effect_add(d, DISPATCH_REPLY);
    effect->peer = peer_copy(d, peer);
    effect->message = message;
}

void effect_refuse(struct dispatch *d, const struct dispatch_peer *peer, enum sw_code code, const char *text)
{
    struct dispatch_effect *effect = dispatch_effect_add(d, DISPATCH_REFUSE);
    effect->peer = peer_copy(d, peer);
    effect->code = code;
    effect->text = sw_scratch_str(&d->scratch, text);
}

void effect_send(struct dispatch *d, const struct dnode *node, const void *message)
{
    struct dispatch_effect *effect = dispatch_effect_add(d, DISPATCH_SEND);
    effect->peer = peer_copy(d, &node->peer);
    effect->node_id = sw_scratch_str(&d->scratch, node->id);
    effect->message = message;
}

void effect_note(struct dispatch *d, const char *node_id, const char *text)
{
    struct dispatch_effect *effect = dispatch_effect_add(d, DISPATCH_NOTE);
    effect->node_id = sw_scratch_str(&d->scratch, node_id);
    effect->text = sw_scratch_str(&d->scratch, text);
}

/* One manager: the dispatcher beside the leader serves everybody. With several, every dispatcher will serve agents and hand its
 * commits to the manager-raft beside it; this is the one place that says who may. */
bool can_commit(const struct dispatch *d)
{
    return d->ready && d->leader;
}

/* FNV-1a over the encoding. */
uint64_t hash_message(const void *message, uint64_t start)
{
    SW_AUTO_BUF buf = { 0 };
    sw_pb_pack(message, &buf);
    uint64_t hash = start ^ UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < buf.len; i++)
        hash = (hash ^ (unsigned char)buf.data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

int64_t beat_ns(const struct dispatch *d)
{
    const Swarm__Cluster *cluster = mirror_cluster(d->mirror);
    int64_t ns = cluster != NULL ? cluster->spec->dispatcher_heartbeat_ns : INT64_C(1000000000);
    int64_t low = INT64_C(100) * 1000000, high = INT64_C(3600) * 1000000000;
    return ns < low ? low : ns > high ? high : ns;
}

static void leadership(struct dispatch *d, uint64_t term, bool leader)
{
    bool gained = leader && (!d->leader || term != d->term);
    d->term = term;
    d->leader = leader;
    if (gained && d->ready)
        session_sync(d);
}

static void on_snapshot(struct dispatch *d, const Swarm__FeedSnapshot *chunk)
{
    if (d->loading == NULL)
        d->loading = mirror_new();
    for (size_t i = 0; i < chunk->n_objects; i++)
        (void)mirror_load(d->loading, chunk->objects[i], NULL); /* one that does not parse is left out, as manager-raft would */
    if (!chunk->done)
        return;
    mirror_set_version(d->loading, chunk->version);
    mirror_free(d->mirror);
    d->mirror = SW_TAKE(d->loading);
    d->ready = true;
    d->term = chunk->term;
    d->leader = chunk->leader;
    session_sync(d);
}

static void on_change(struct dispatch *d, struct assign_delta *delta, const Swarm__FeedChange *change)
{
    char old_node[SW_ID_SIZE] = "";
    if (change->table == SWARM__TABLE__TABLE_TASK) {
        const Swarm__Task *old = mirror_task(d->mirror, change->id);
        if (old != NULL && old->node_id != NULL && strlen(old->node_id) < sizeof old_node)
            id_set(old_node, old->node_id);
    }
    if (mirror_change(d->mirror, change, NULL) != 0)
        return;
    if (change->table == SWARM__TABLE__TABLE_TASK)
        assign_change(d, delta, change->id, old_node);
}

static void on_changes(struct dispatch *d, const Swarm__FeedChanges *changes)
{
    if (!d->ready)
        return;
    struct assign_delta delta = { 0 };
    for (size_t i = 0; i < changes->n_changes; i++)
        on_change(d, &delta, changes->changes[i]);
    /* After all changes: news point at node objects, which a second change of the same node would free. */
    for (size_t i = 0; i < changes->n_changes; i++)
        if (changes->changes[i]->table == SWARM__TABLE__TABLE_NODE)
            session_node_changed(d, changes->changes[i]->id);
    mirror_set_version(d->mirror, changes->version);
    assign_flush(d, &delta);
    session_news_all(d);
    leadership(d, changes->term, changes->leader);
}

static void on_feed_lost(struct dispatch *d)
{
    d->ready = false;
    mirror_free(d->loading);
    d->loading = NULL;
    logs_drop_all(d);
    report_abandon(d, SW_UNAVAILABLE, "the manager's store is not reachable");
}

static void handle(struct dispatch *d, const struct dispatch_event *event)
{
    switch (event->type) {
    case DISPATCH_EV_SNAPSHOT:
        on_snapshot(d, event->body);
        return;
    case DISPATCH_EV_CHANGES:
        on_changes(d, event->body);
        return;
    case DISPATCH_EV_FEED_LOST:
        on_feed_lost(d);
        return;
    case DISPATCH_EV_COMMITTED:
        report_committed(d, event);
        return;
    case DISPATCH_EV_LOG_SUBSCRIBE:
        logs_subscribe(d, event->body);
        return;
    case DISPATCH_EV_LOG_UNSUBSCRIBE:
        logs_unsubscribe(d, ((const Swarm__LogUnsubscribe *)event->body)->subscription);
        return;
    case DISPATCH_EV_SESSION:
        session_request(d, event);
        return;
    case DISPATCH_EV_HEARTBEAT:
        session_heartbeat(d, event);
        return;
    case DISPATCH_EV_REPORTS:
        report_tasks(d, event);
        return;
    case DISPATCH_EV_GOODBYE:
        session_goodbye(d, event);
        return;
    case DISPATCH_EV_LOG_MESSAGE:
        logs_message(d, event);
        return;
    case DISPATCH_EV_SEND_FAILED:
        session_send_failed(d, event);
        return;
    case DISPATCH_EV_TICK:
        return; /* session_tick() looks at the clock after every event */
    }
    assert(!"event type");
}

static uint64_t deadline(const struct dispatch *d)
{
    if (!can_commit(d))
        return UINT64_MAX;
    uint64_t at = d->next_ms < d->orphan_ms ? d->next_ms : d->orphan_ms;
    bool waiting = d->gathering.nodes.count + d->gathering.tasks.count + d->gathering.ask_count > 0;
    if (waiting && !d->in_flight && d->hold_ms < at)
        at = d->hold_ms;
    return at;
}

void dispatch_step(struct dispatch *d, const struct dispatch_event *event, struct dispatch_update *ret_update)
{
    assert(event->now_ms >= d->now_ms);
    d->now_ms = event->now_ms;
    d->wall_ns = event->wall_ns;
    d->effect_count = 0;
    sw_scratch_reset(&d->scratch);
    sw_pb_free(d->batch);
    d->batch = NULL;
    handle(d, event);
    session_tick(d);
    report_flush(d);
    *ret_update = (struct dispatch_update) { d->effects, d->effect_count, deadline(d) };
}

const struct mirror *dispatch_mirror(const struct dispatch *d)
{
    return d->mirror;
}

struct dispatch_stats dispatch_stats(const struct dispatch *d)
{
    struct dispatch_stats stats = d->stats;
    for (size_t i = 0; i < d->nodes.count; i++)
        stats.sessions += ((const struct dnode *)d->nodes.rows[i].value)->open ? 1 : 0;
    stats.subscriptions = d->subscription_count;
    stats.queued_statuses = d->gathering.tasks.count + d->gathering.nodes.count;
    stats.waiting_asks = d->gathering.ask_count + d->flight.ask_count;
    stats.leader = d->leader;
    stats.feed = d->ready;
    return stats;
}
