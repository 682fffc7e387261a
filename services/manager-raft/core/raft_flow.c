/* A leader's view of each follower: what to send next and how much may be in flight. Sources: 10.2.1; windows and the three
 * states after etcd-io/raft's design. */
#include "raft_internal.h"

static void window_clear(struct raft_window *window)
{
    window->head = window->count = window->bytes = 0;
}

static bool window_full(const struct raft *raft, const struct raft_window *window)
{
    return window->count >= raft->options.window_messages || window->bytes >= raft->options.window_bytes;
}

static void window_add(struct raft_window *window, uint64_t last, size_t bytes)
{
    assert(window->count < RAFT_WINDOW_MAX);
    size_t at = (window->head + window->count++) % RAFT_WINDOW_MAX;
    window->items[at].last = last;
    window->items[at].bytes = bytes;
    window->bytes += bytes;
}

static void window_free_to(struct raft_window *window, uint64_t index)
{
    while (window->count != 0 && window->items[window->head].last <= index) {
        window->bytes -= window->items[window->head].bytes;
        window->head = (window->head + 1) % RAFT_WINDOW_MAX;
        window->count--;
    }
}

static void set_flow(struct raft_peer *peer, enum raft_flow flow)
{
    peer->flow = flow;
    peer->probe_sent = false;
    window_clear(&peer->window);
}

void raft_peer_reset(struct raft *raft, struct raft_peer *peer)
{
    bool self = peer->id == raft->options.id;
    peer->match = self ? raft->stable : 0;
    peer->next = raft_tail_last(&raft->tail) + 1;
    peer->commit_sent = peer->read_ack = 0;
    peer->heard_ms = raft->now_ms;
    peer->ballot = RAFT_UNDECIDED;
    set_flow(peer, RAFT_PROBE);
}

/* The log no longer has what this follower needs next. */
static void start_snapshot(struct raft *raft, struct raft_peer *peer)
{
    if (peer->heard_ms + raft->options.election_ms <= raft->now_ms)
        return; /* not there at all: it would only waste the work */
    set_flow(peer, RAFT_SENDING);
    raft_emit(raft, RAFT_DO_SNAPSHOT)->peer = peer->id;
}

static bool paused(const struct raft *raft, const struct raft_peer *peer)
{
    switch (peer->flow) {
    case RAFT_PROBE:
        return peer->probe_sent;
    case RAFT_REPLICATE:
        return window_full(raft, &peer->window);
    case RAFT_SENDING:
        return true;
    }
    return true;
}

/* One append; true if another may follow. */
static bool send_append(struct raft *raft, struct raft_peer *peer, bool allow_empty)
{
    if (paused(raft, peer))
        return false;
    struct raft_msg msg = { .kind = RAFT_APPEND, .to = peer->id, .log_index = peer->next - 1, .commit = raft->commit };
    if (!raft_tail_term(&raft->tail, msg.log_index, &msg.log_term)) {
        start_snapshot(raft, peer);
        return false;
    }
    size_t bytes = 0;
    msg.entry_count = raft_tail_slice(&raft->tail, peer->next, raft->options.append_bytes_max, &msg.entries, &bytes);
    bool probe = peer->flow == RAFT_PROBE && peer->match < raft_tail_last(&raft->tail);
    if (msg.entry_count == 0 && !allow_empty && !probe)
        return false;
    raft_send(raft, msg);
    peer->commit_sent = raft->commit;
    if (peer->flow == RAFT_PROBE) {
        peer->probe_sent = true;
        return false;
    }
    if (msg.entry_count == 0)
        return false;
    peer->next += msg.entry_count;
    window_add(&peer->window, peer->next - 1, bytes);
    return true;
}

void raft_feed(struct raft *raft, struct raft_peer *peer, bool allow_empty)
{
    while (send_append(raft, peer, allow_empty))
        allow_empty = false;
}

void raft_feed_all(struct raft *raft, bool allow_empty)
{
    for (size_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        if (peer->id != raft->options.id)
            raft_feed(raft, peer, allow_empty && peer->commit_sent < raft->commit);
    }
}

/* A sign of life from a follower that lacks something: send again, so that appends that were lost show by not fitting. */
void raft_nudge(struct raft *raft, struct raft_peer *peer)
{
    peer->probe_sent = false;
    if (peer->match >= raft_tail_last(&raft->tail))
        return;
    if (peer->flow == RAFT_REPLICATE && window_full(raft, &peer->window))
        window_free_to(&peer->window, peer->window.items[peer->window.head].last); /* all of them may be lost */
    raft_feed(raft, peer, true);
}

static void rejected(struct raft *raft, struct raft_peer *peer, const struct raft_msg *msg)
{
    bool stale = peer->flow == RAFT_PROBE ? msg->log_index != peer->next - 1 : msg->log_index <= peer->match;
    if (stale || peer->flow == RAFT_SENDING)
        return; /* older than what it has acknowledged since, or than the last probe */
    uint64_t next = raft_tail_conflict(&raft->tail, msg->hint_index, msg->hint_term) + 1;
    uint64_t known = 0;
    if (!raft_tail_term(&raft->tail, msg->hint_index, &known) && msg->hint_index < raft->tail.base_index)
        next = msg->hint_index + 1; /* before the log begins: a snapshot will be needed */
    if (next >= msg->log_index + 1)
        next = msg->log_index; /* always less than what was rejected */
    peer->next = next > peer->match ? next : peer->match + 1;
    set_flow(peer, RAFT_PROBE);
    raft_feed(raft, peer, true);
}

void raft_on_append_reply(struct raft *raft, struct raft_peer *peer, const struct raft_msg *msg)
{
    if (msg->reject) {
        rejected(raft, peer, msg);
        return;
    }
    if (msg->log_index > raft_tail_last(&raft->tail))
        return; /* acknowledges what was never sent: not from this log */
    window_free_to(&peer->window, msg->log_index);
    if (peer->match < msg->log_index)
        peer->match = msg->log_index;
    if (peer->next <= peer->match)
        peer->next = peer->match + 1;
    if (peer->flow == RAFT_PROBE && peer->match + 1 >= peer->next)
        set_flow(peer, RAFT_REPLICATE);
    else if (peer->flow == RAFT_PROBE)
        peer->probe_sent = false;
    else if (peer->flow == RAFT_SENDING && peer->match >= raft->tail.base_index)
        set_flow(peer, RAFT_PROBE);
    uint64_t id = peer->id;
    raft_lead_commit(raft); /* may change the members */
    peer = raft->role == RAFT_LEADER ? raft_peer(raft, id) : NULL;
    if (peer == NULL)
        return;
    raft_feed(raft, peer, peer->commit_sent < raft->commit);
    raft_lead_transfer_check(raft, peer);
}

void raft_on_unreachable(struct raft *raft, struct raft_peer *peer)
{
    (void)raft;
    if (peer->flow != RAFT_REPLICATE)
        return;
    peer->next = peer->match + 1;
    set_flow(peer, RAFT_PROBE);
    peer->probe_sent = true; /* a heartbeat that gets through opens it again */
}

void raft_on_snapshot_sent(struct raft *raft, struct raft_peer *peer, uint64_t index, bool ok)
{
    if (peer->flow != RAFT_SENDING)
        return;
    set_flow(peer, RAFT_PROBE);
    uint64_t have = ok && index > peer->match ? index : peer->match;
    peer->next = have + 1;
    peer->probe_sent = !ok; /* wait for a sign of life before the next try */
    raft_feed(raft, peer, true);
}
