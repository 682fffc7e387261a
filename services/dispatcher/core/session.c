#include "services/dispatcher/core/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A second dispatcher event a day is enough to find nodes that have been DOWN for a day; a minute keeps it exact enough. */
#define ORPHAN_LOOK_MS 60000u

struct dnode *node_row(struct dispatch *d, const char *id)
{
    struct dnode *node = sw_idmap_get(&d->nodes, id);
    if (node != NULL)
        return node;
    node = sw_alloc0(sizeof *node);
    id_set(node->id, id);
    node->deadline_ms = UINT64_MAX;
    sw_idmap_put(&d->nodes, id, node);
    return node;
}

void node_row_free(struct dnode *node)
{
    sw_idmap_deinit(&node->sent);
    free(node);
}

void node_beat(struct dispatch *d, struct dnode *node, unsigned beats)
{
    node->deadline_ms = d->now_ms + (uint64_t)(beat_ns(d) / 1000000) * beats;
    if (node->deadline_ms < d->next_ms)
        d->next_ms = node->deadline_ms;
}

void node_close(struct dispatch *d, struct dnode *node, const char *why)
{
    if (!node->open)
        return;
    logs_node_gone(d, node);
    node->open = false;
    sw_idmap_clear(&node->sent);
    effect_note(d, node->id, why);
}

static bool rate_exceeded(const struct dispatch *d, struct dnode *node)
{
    if (node->registrations == 0 || d->now_ms - node->window_ms >= DISPATCH_REGISTER_WINDOW_MS) {
        node->window_ms = d->now_ms;
        node->registrations = 0;
    }
    return ++node->registrations > DISPATCH_REGISTER_MAX;
}

/* Nothing to write when the store already says all of this: a restart of dispatcher or agent then costs no commit. */
static bool status_known(const Swarm__Node *node, const Swarm__SessionRequest *request)
{
    const Swarm__NodeStatus *status = node->status;
    if (status == NULL || status->state != SWARM__NODE_STATE__NODE_READY || node->description == NULL)
        return false;
    const char *addr = status->addr != NULL ? status->addr : "";
    return strcmp(addr, request->node_address != NULL ? request->node_address : "") == 0 &&
           sw_pb_equal(node->description, request->description);
}

void session_request(struct dispatch *d, const struct dispatch_event *event)
{
    const Swarm__SessionRequest *request = event->body;
    if (!can_commit(d)) {
        effect_refuse(d, event->peer, SW_UNAVAILABLE,
                      d->ready ? "this manager is not the leader" : "the manager's store is not reachable");
        return;
    }
    const Swarm__Node *object = mirror_node(d->mirror, event->node_id);
    if (object == NULL) {
        effect_refuse(d, event->peer, SW_NOT_FOUND, "node not registered");
        return;
    }
    if (d->nodes.count >= DISPATCH_SESSIONS_MAX && !sw_idmap_has(&d->nodes, event->node_id)) {
        effect_refuse(d, event->peer, SW_LIMIT, "too many sessions on this dispatcher");
        return;
    }
    struct dnode *node = node_row(d, event->node_id);
    if (rate_exceeded(d, node)) {
        effect_refuse(d, event->peer, SW_LIMIT,
                      sw_scratch_strf(&d->scratch, "node %s exceeded rate limit count of registrations", node->id));
        return;
    }
    node_beat(d, node, DISPATCH_MISSED_BEATS);
    bool queued = sw_idmap_has(&d->gathering.nodes, node->id) || sw_idmap_has(&d->flight.nodes, node->id);
    struct dask ask = { DASK_SESSION, "", *event->peer };
    id_set(ask.node_id, node->id);
    if (!queued && status_known(object, request))
        session_open(d, &ask);
    else if (report_ask(d, DASK_SESSION, node->id, event->peer))
        report_node(d, node->id, SWARM__NODE_STATE__NODE_READY, "", request);
}

/* Pointers are into the mirror: good until the effects of this step are done. */
static size_t managers(struct dispatch *d, Swarm__ManagerAddress ***ret)
{
    size_t count = 0;
    Swarm__ManagerAddress **list =
        sw_scratch_alloc(&d->scratch, mirror_count(d->mirror, SWARM__TABLE__TABLE_NODE) * sizeof *list);
    const void *object = mirror_first(d->mirror, SWARM__TABLE__TABLE_NODE);
    for (; object != NULL; object = mirror_next(d->mirror, SWARM__TABLE__TABLE_NODE, object)) {
        const Swarm__Node *node = object;
        if (node->manager != NULL)
            list[count++] = node->manager;
    }
    *ret = list;
    return count;
}

static uint64_t news_hash_all(struct dispatch *d)
{
    Swarm__ManagerAddress **list;
    size_t count = managers(d, &list);
    uint64_t hash = (uint64_t)beat_ns(d);
    for (size_t i = 0; i < count; i++)
        hash = hash_message(list[i], hash);
    return hash;
}

static uint64_t news_hash_node(const Swarm__Node *node)
{
    return hash_message(node->spec, (uint64_t)node->role + 1);
}

/* The agent needs its object's spec, role and name; the description came from itself. */
static Swarm__Node *node_for_agent(struct dispatch *d, const Swarm__Node *node)
{
    Swarm__Node *copy = sw_scratch_alloc(&d->scratch, sizeof *copy);
    *copy = *node;
    copy->description = NULL;
    copy->status = NULL;
    return copy;
}

void session_open(struct dispatch *d, const struct dask *ask)
{
    const Swarm__Node *object = mirror_node(d->mirror, ask->node_id);
    if (object == NULL) {
        effect_refuse(d, &ask->peer, SW_NOT_FOUND, "node not registered");
        return;
    }
    struct dnode *node = node_row(d, ask->node_id);
    node_close(d, node, "session replaced");
    node->open = true;
    node->peer = ask->peer;
    node->sequence = 0;
    node->news_hash = news_hash_node(object);
    sw_id_make(&d->rng, node->session);
    node_beat(d, node, DISPATCH_MISSED_BEATS);
    d->stats.sessions_opened++;

    Swarm__SessionReply *reply = sw_scratch_alloc(&d->scratch, sizeof *reply);
    swarm__session_reply__init(reply);
    reply->session = sw_scratch_str(&d->scratch, node->session);
    reply->node = node_for_agent(d, object);
    reply->heartbeat_ns = beat_ns(d);
    reply->n_managers = managers(d, &reply->managers);
    effect_reply(d, &ask->peer, reply);
    effect_note(d, node->id, "session opened");
    assign_complete(d, node);
}

struct dnode *session_of(struct dispatch *d, const struct dispatch_event *event, const char *session)
{
    struct dnode *node = sw_idmap_get(&d->nodes, event->node_id);
    if (node == NULL || !node->open || strcmp(node->session, session) != 0) {
        effect_refuse(d, event->peer, SW_PRECONDITION, "session invalid");
        return NULL;
    }
    return node;
}

void session_heartbeat(struct dispatch *d, const struct dispatch_event *event)
{
    const Swarm__Heartbeat *beat = event->body;
    struct dnode *node = session_of(d, event, beat->session);
    if (node == NULL)
        return;
    d->stats.heartbeats++;
    node_beat(d, node, DISPATCH_MISSED_BEATS);
    Swarm__HeartbeatReply *reply = sw_scratch_alloc(&d->scratch, sizeof *reply);
    swarm__heartbeat_reply__init(reply);
    reply->heartbeat_ns = beat_ns(d);
    effect_reply(d, event->peer, reply);
}

void session_goodbye(struct dispatch *d, const struct dispatch_event *event)
{
    const Swarm__Goodbye *goodbye = event->body;
    struct dnode *node = session_of(d, event, goodbye->session);
    if (node == NULL || !report_ask(d, DASK_PLAIN, node->id, event->peer))
        return;
    node_close(d, node, "node said goodbye");
    node->deadline_ms = UINT64_MAX;
    report_node(d, node->id, SWARM__NODE_STATE__NODE_DOWN, "node has left the cluster", NULL);
}

/* The agent missed something, so its session is worth nothing; its next heartbeat is refused and it opens a new one. */
void session_send_failed(struct dispatch *d, const struct dispatch_event *event)
{
    struct dnode *node = sw_idmap_get(&d->nodes, event->node_id);
    if (node != NULL && node->open && memcmp(&node->peer, event->peer, sizeof node->peer) == 0)
        node_close(d, node, "session lost: the agent's connection is gone or its queue full");
}

static bool may_be_alive(const Swarm__Node *node)
{
    Swarm__NodeState state = node->status != NULL ? node->status->state : SWARM__NODE_STATE__NODE_UNKNOWN;
    return state != SWARM__NODE_STATE__NODE_DOWN;
}

/* Every node gets time to find this dispatcher before it is DOWN; what agents have is brought up to date. */
void session_sync(struct dispatch *d)
{
    const void *object = mirror_first(d->mirror, SWARM__TABLE__TABLE_NODE);
    for (; object != NULL; object = mirror_next(d->mirror, SWARM__TABLE__TABLE_NODE, object)) {
        const Swarm__Node *node = object;
        if (may_be_alive(node))
            node_beat(d, node_row(d, node->id), DISPATCH_GRACE_BEATS);
    }
    for (size_t i = d->nodes.count; i-- > 0;) {
        struct dnode *node = d->nodes.rows[i].value;
        if (mirror_node(d->mirror, node->id) == NULL)
            session_node_changed(d, node->id);
        else if (node->open)
            assign_resync(d, node);
    }
    d->orphan_ms = d->now_ms;
    session_news_all(d);
}

static void news_send(struct dispatch *d, struct dnode *node, const Swarm__Node *object, bool all)
{
    Swarm__SessionNews *news = sw_scratch_alloc(&d->scratch, sizeof *news);
    swarm__session_news__init(news);
    news->session = sw_scratch_str(&d->scratch, node->session);
    if (object != NULL)
        news->node = node_for_agent(d, object);
    if (all) {
        news->has_heartbeat_ns = true;
        news->heartbeat_ns = beat_ns(d);
        news->n_managers = managers(d, &news->managers);
    }
    effect_send(d, node, news);
}

void session_node_changed(struct dispatch *d, const char *node_id)
{
    struct dnode *node = sw_idmap_get(&d->nodes, node_id);
    if (node == NULL)
        return;
    const Swarm__Node *object = mirror_node(d->mirror, node_id);
    if (object == NULL) {
        node_close(d, node, "node was removed from the cluster");
        (void)sw_idmap_remove(&d->nodes, node_id);
        node_row_free(node);
        return;
    }
    if (!node->open || news_hash_node(object) == node->news_hash)
        return;
    node->news_hash = news_hash_node(object);
    news_send(d, node, object, false);
}

void session_news_all(struct dispatch *d)
{
    uint64_t hash = news_hash_all(d);
    if (hash == d->news_hash)
        return;
    d->news_hash = hash;
    for (size_t i = 0; i < d->nodes.count; i++) {
        struct dnode *node = d->nodes.rows[i].value;
        if (node->open)
            news_send(d, node, NULL, true);
    }
}

static void expire(struct dispatch *d, struct dnode *node)
{
    node->deadline_ms = UINT64_MAX;
    node_close(d, node, "heartbeat failure");
    const Swarm__Node *object = mirror_node(d->mirror, node->id);
    if (object == NULL || !may_be_alive(object))
        return;
    d->stats.heartbeat_failures++;
    report_node(d, node->id, SWARM__NODE_STATE__NODE_DOWN, "heartbeat failure", NULL);
}

static void orphan_look(struct dispatch *d)
{
    d->orphan_ms = d->now_ms + ORPHAN_LOOK_MS;
    const void *object = mirror_first(d->mirror, SWARM__TABLE__TABLE_NODE);
    for (; object != NULL; object = mirror_next(d->mirror, SWARM__TABLE__TABLE_NODE, object)) {
        const Swarm__Node *node = object;
        if (may_be_alive(node) || !node->status->has_since_ns || d->wall_ns - node->status->since_ns < DISPATCH_ORPHAN_NS)
            continue;
        struct mirror_tasks tasks = mirror_tasks_of_node(d->mirror, node->id);
        for (size_t i = 0; i < tasks.count; i++)
            report_orphan(d, tasks.items[i]);
    }
}

void session_tick(struct dispatch *d)
{
    if (!can_commit(d))
        return;
    if (d->now_ms >= d->orphan_ms)
        orphan_look(d);
    if (d->now_ms < d->next_ms)
        return;
    d->next_ms = UINT64_MAX;
    for (size_t i = 0; i < d->nodes.count; i++) {
        struct dnode *node = d->nodes.rows[i].value;
        if (node->deadline_ms <= d->now_ms)
            expire(d, node);
        if (node->deadline_ms < d->next_ms)
            d->next_ms = node->deadline_ms;
    }
}
