/* The step function: events to the files that know about them, and what every step ends with. */
#include "raft_internal.h"

#include "common/base/buf.h"

#include <stdlib.h>

const char *raft_role_name(enum raft_role role)
{
    static const char *const names[] = { "follower", "pre-candidate", "candidate", "leader" };
    return names[role];
}

static size_t or_default(size_t value, size_t fallback)
{
    return value != 0 ? value : fallback;
}

struct raft *raft_new(const struct raft_options *options)
{
    assert(options->id != 0 && options->heartbeat_ms > 0 && options->heartbeat_ms < options->election_ms);
    assert(options->window_messages <= RAFT_WINDOW_MAX);
    struct raft *raft = sw_alloc0(sizeof *raft);
    raft->options = *options;
    raft->options.append_bytes_max = or_default(options->append_bytes_max, 1u << 20);
    raft->options.window_messages = or_default(options->window_messages, 64);
    raft->options.window_bytes = or_default(options->window_bytes, 8u << 20);
    raft->options.uncommitted_bytes_max = or_default(options->uncommitted_bytes_max, 64u << 20);
    raft_tail_init(&raft->tail, 0, 0);
    return raft;
}

void raft_free(struct raft *raft)
{
    if (raft == NULL)
        return;
    raft_config_clear(raft);
    raft_tail_deinit(&raft->tail);
    free(raft->configs);
    free(raft->reads);
    free(raft->unsynced);
    free(raft->held);
    free(raft->effects);
    free(raft);
}

struct raft_effect *raft_emit(struct raft *raft, enum raft_effect_type type)
{
    if (raft->effect_count == raft->effect_cap) {
        raft->effect_cap = raft->effect_cap == 0 ? 16 : raft->effect_cap * 2;
        raft->effects = sw_realloc_array(raft->effects, raft->effect_cap, sizeof *raft->effects);
    }
    struct raft_effect *effect = &raft->effects[raft->effect_count++];
    *effect = (struct raft_effect) { .type = type };
    return effect;
}

void raft_send(struct raft *raft, struct raft_msg msg)
{
    msg.from = raft->options.id;
    msg.term = msg.term != 0 ? msg.term : raft->term;
    assert(msg.to != 0 && msg.to != msg.from);
    raft_emit(raft, RAFT_DO_SEND)->msg = msg;
}

void raft_reply(struct raft *raft, struct raft_msg msg)
{
    msg.from = raft->options.id;
    msg.term = msg.term != 0 ? msg.term : raft->term;
    assert(msg.to != 0 && msg.entry_count == 0);
    if (raft->failed)
        return;
    if (raft->held_count == raft->held_cap) {
        raft->held_cap = raft->held_cap == 0 ? 16 : raft->held_cap * 2;
        raft->held = sw_realloc_array(raft->held, raft->held_cap, sizeof *raft->held);
    }
    raft->held[raft->held_count++] = (struct raft_held) { .msg = msg };
}

void raft_dirty(struct raft *raft, uint64_t from)
{
    raft->dirty = true;
    if (from != 0 && (raft->dirty_from == 0 || from < raft->dirty_from))
        raft->dirty_from = from;
}

void raft_log_append(struct raft *raft, uint64_t term, enum raft_entry_kind kind, struct raft_blob *blob)
{
    uint64_t index = raft_tail_last(&raft->tail) + 1;
    raft_tail_append(&raft->tail, &(struct raft_entry) { index, term, kind, raft_blob_ref(blob) });
    raft_dirty(raft, index);
    if (kind == RAFT_ENTRY_CONFIG)
        raft_config_push(raft, index, blob);
}

void raft_log_truncate(struct raft *raft, uint64_t from)
{
    assert(from > raft->commit); /* what is committed is never taken back */
    raft_tail_truncate(&raft->tail, from);
    raft_config_drop_from(raft, from);
    raft_dirty(raft, from);
    if (raft->stable >= from)
        raft->stable = from - 1;
    for (size_t i = 0; i < raft->unsynced_count; i++) {
        if (raft->unsynced[i].last >= from)
            raft->unsynced[i].last = from - 1;
    }
}

void raft_commit_to(struct raft *raft, uint64_t index)
{
    uint64_t last = raft_tail_last(&raft->tail);
    if (index > last)
        index = last;
    if (index <= raft->commit)
        return;
    for (uint64_t i = raft->commit + 1; i <= index && raft->uncommitted_bytes != 0; i++) {
        size_t size = raft_entry_size(raft_tail_at(&raft->tail, i));
        raft->uncommitted_bytes -= size < raft->uncommitted_bytes ? size : raft->uncommitted_bytes;
    }
    raft->commit = index;
}

static void load(struct raft *raft, const struct raft_start *start)
{
    raft_tail_init(&raft->tail, start->base_index, start->base_term);
    raft->commit = raft->commit_told = start->base_index;
    if (start->base_config != NULL)
        raft_config_push(raft, start->base_index, start->base_config);
    for (size_t i = 0; i < start->count; i++) {
        const struct raft_entry *entry = &start->entries[i];
        assert(entry->index == raft_tail_last(&raft->tail) + 1);
        raft_log_append(raft, entry->term, entry->kind, entry->blob);
    }
    raft->dirty = false;
    raft->dirty_from = 0;
    raft->stable = raft_tail_last(&raft->tail);
}

static void on_start(struct raft *raft, const struct raft_start *start)
{
    assert(!raft->started);
    raft->started = true;
    sw_rng_seed(&raft->rng, start->seed);
    load(raft, start);
    assert(start->hard.term >= raft_tail_last_term(&raft->tail));
    raft->term = raft->told.term = start->hard.term;
    raft->vote = start->hard.vote;
    raft_commit_to(raft, start->hard.commit > start->applied ? start->hard.commit : start->applied);
    raft->commit_told = start->applied > raft->commit_told ? start->applied : raft->commit_told;
    raft_election_reset(raft);
    if (raft_alone(raft))
        raft_campaign(raft, false, false);
}

static void release_held(struct raft *raft)
{
    size_t released = 0;
    while (released < raft->held_count && raft->held[released].seq <= raft->persisted_seq) {
        struct raft_msg msg = raft->held[released++].msg;
        if (msg.to != raft->options.id)
            raft_emit(raft, RAFT_DO_SEND)->msg = msg;
        else if (msg.term == raft->term)
            raft_on_vote_reply(raft, &msg);
    }
    if (released == 0)
        return;
    raft->held_count -= released;
    for (size_t i = 0; i < raft->held_count; i++)
        raft->held[i] = raft->held[i + released];
    raft->held_new = raft->held_new > released ? raft->held_new - released : 0;
}

static void on_persisted(struct raft *raft, uint64_t seq)
{
    assert(seq <= raft->persist_seq);
    if (seq <= raft->persisted_seq || raft->failed)
        return;
    raft->persisted_seq = seq;
    size_t done = 0;
    for (; done < raft->unsynced_count && raft->unsynced[done].seq <= seq; done++) {
        if (raft->unsynced[done].last > raft->stable)
            raft->stable = raft->unsynced[done].last;
    }
    raft->unsynced_count -= done;
    for (size_t i = 0; i < raft->unsynced_count; i++)
        raft->unsynced[i] = raft->unsynced[i + done];
    release_held(raft);
    raft->held_new = raft->held_count;
    if (raft->role == RAFT_LEADER)
        raft_lead_commit(raft);
}

/* Nothing more can be kept: whatever waits for the disk is not said, and this member leads and votes no more until it starts
 * again. */
static void on_write_failed(struct raft *raft)
{
    raft->failed = true;
    raft->held_count = raft->held_new = 0;
    raft_become_follower(raft, raft->term, 0);
}

static void on_tick(struct raft *raft)
{
    if (raft->role == RAFT_LEADER) {
        raft_lead_tick(raft);
        return;
    }
    if (raft->now_ms < raft->election_due_ms || !raft_electable(raft))
        return;
    raft_campaign(raft, true, false);
}

/* A message of a newer term. True if there is more to do with it. */
static bool newer_term(struct raft *raft, const struct raft_msg *msg)
{
    bool asks = msg->kind == RAFT_VOTE || msg->kind == RAFT_PRE_VOTE;
    if (asks && !msg->transfer && raft_in_lease(raft)) {
        /* 4.2.3: who hears a leader lets nobody disturb it. A pre-vote still gets an answer, which carries this member's term. */
        if (msg->kind == RAFT_PRE_VOTE)
            raft_reply(raft, (struct raft_msg) { .kind = RAFT_PRE_VOTE_REPLY, .to = msg->from, .reject = true });
        return false;
    }
    if (msg->kind == RAFT_PRE_VOTE || (msg->kind == RAFT_PRE_VOTE_REPLY && !msg->reject))
        return true; /* their term is one that may come, not one that is */
    bool leads = msg->kind == RAFT_APPEND || msg->kind == RAFT_HEARTBEAT || msg->kind == RAFT_SNAPSHOT;
    raft_become_follower(raft, msg->term, leads ? msg->from : 0);
    return true;
}

/* A message of an older term: its sender must learn of ours, or it would wait for ever. */
static void older_term(struct raft *raft, const struct raft_msg *msg)
{
    struct raft_msg reply = { .to = msg->from, .reject = true };
    if (msg->kind == RAFT_PRE_VOTE)
        reply.kind = RAFT_PRE_VOTE_REPLY;
    else if (msg->kind == RAFT_VOTE)
        reply.kind = RAFT_VOTE_REPLY;
    else if (msg->kind == RAFT_APPEND || msg->kind == RAFT_HEARTBEAT || msg->kind == RAFT_SNAPSHOT)
        reply.kind = RAFT_HEARTBEAT_REPLY;
    else
        return;
    raft_reply(raft, reply);
}

static void to_leader(struct raft *raft, const struct raft_msg *msg)
{
    struct raft_peer *peer = raft_peer(raft, msg->from);
    if (raft->role != RAFT_LEADER || peer == NULL)
        return;
    peer->heard_ms = raft->now_ms;
    if (msg->kind == RAFT_APPEND_REPLY) {
        raft_on_append_reply(raft, peer, msg);
        return;
    }
    if (msg->context > peer->read_ack && msg->context <= raft->read_round)
        peer->read_ack = msg->context;
    raft_read_acked(raft);
    raft_nudge(raft, peer);
}

static void on_message(struct raft *raft, const struct raft_msg *msg)
{
    assert(msg->to == raft->options.id && msg->from != 0);
    if (msg->from == raft->options.id || raft->failed)
        return;
    if (msg->term < raft->term) {
        older_term(raft, msg);
        return;
    }
    if (msg->term > raft->term && !newer_term(raft, msg))
        return;
    bool leads = msg->kind == RAFT_APPEND || msg->kind == RAFT_HEARTBEAT || msg->kind == RAFT_SNAPSHOT;
    if (leads && raft->role == RAFT_LEADER)
        return; /* two leaders in a term: no correct member sends it, and a wrong one must not stop this one */
    switch (msg->kind) {
    case RAFT_PRE_VOTE:
    case RAFT_VOTE:
        raft_on_vote_request(raft, msg);
        break;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        raft_on_vote_reply(raft, msg);
        break;
    case RAFT_APPEND:
        raft_on_append(raft, msg);
        break;
    case RAFT_HEARTBEAT:
    case RAFT_SNAPSHOT:
        raft_on_heartbeat(raft, msg);
        break;
    case RAFT_APPEND_REPLY:
    case RAFT_HEARTBEAT_REPLY:
    case RAFT_SNAPSHOT_REPLY:
        to_leader(raft, msg);
        break;
    case RAFT_TIMEOUT_NOW:
        raft_on_timeout_now(raft);
        break;
    }
}

static void on_compact(struct raft *raft, uint64_t index)
{
    assert(index <= raft->commit_told);
    if (index <= raft->tail.base_index)
        return;
    raft_config_prune(raft, index);
    raft_tail_compact(&raft->tail, index);
}

static enum raft_result dispatch(struct raft *raft, const struct raft_event *event)
{
    assert(raft->started || event->type == RAFT_EV_START);
    struct raft_peer *peer = raft_peer(raft, event->peer);
    bool leads = raft->role == RAFT_LEADER;
    switch (event->type) {
    case RAFT_EV_START:
        on_start(raft, event->start);
        break;
    case RAFT_EV_TICK:
        on_tick(raft);
        break;
    case RAFT_EV_MESSAGE:
        on_message(raft, event->msg);
        break;
    case RAFT_EV_PROPOSE:
        return leads ? raft_lead_propose(raft, event->entries, event->count) : RAFT_E_NOT_LEADER;
    case RAFT_EV_CONFIG:
        return leads ? raft_lead_config(raft, event->blob) : RAFT_E_NOT_LEADER;
    case RAFT_EV_PERSISTED:
        on_persisted(raft, event->seq);
        break;
    case RAFT_EV_WRITE_FAILED:
        on_write_failed(raft);
        break;
    case RAFT_EV_READ:
        return leads ? raft_read_add(raft, event->context) : RAFT_E_NOT_LEADER;
    case RAFT_EV_TRANSFER:
        return leads ? raft_lead_transfer(raft, event->peer) : RAFT_E_NOT_LEADER;
    case RAFT_EV_UNREACHABLE:
        if (leads && peer != NULL)
            raft_on_unreachable(raft, peer);
        break;
    case RAFT_EV_SNAPSHOT_SENT:
        if (leads && peer != NULL)
            raft_on_snapshot_sent(raft, peer, event->index, event->ok);
        break;
    case RAFT_EV_RESTORED:
        raft_on_restored(raft, event->index, event->term, event->blob);
        break;
    case RAFT_EV_COMPACT:
        on_compact(raft, event->index);
        break;
    }
    return RAFT_OK;
}

static void finish_disk(struct raft *raft)
{
    if (raft->dirty && !raft->failed) {
        struct raft_effect *effect = raft_emit(raft, RAFT_DO_PERSIST);
        effect->seq = ++raft->persist_seq;
        effect->index = raft->dirty_from;
        effect->hard = raft_hard(raft);
        if (raft->unsynced_count == raft->unsynced_cap) {
            raft->unsynced_cap = raft->unsynced_cap == 0 ? 16 : raft->unsynced_cap * 2;
            raft->unsynced = sw_realloc_array(raft->unsynced, raft->unsynced_cap, sizeof *raft->unsynced);
        }
        raft->unsynced[raft->unsynced_count++] = (struct raft_unsynced) { effect->seq, raft_tail_last(&raft->tail) };
    }
    raft->dirty = false;
    raft->dirty_from = 0;
    for (size_t i = raft->held_new; i < raft->held_count; i++)
        raft->held[i].seq = raft->persist_seq;
    release_held(raft);
}

static void finish_news(struct raft *raft)
{
    uint64_t ready = raft->commit < raft->stable ? raft->commit : raft->stable;
    if (ready > raft->commit_told) {
        raft->commit_told = ready;
        raft_emit(raft, RAFT_DO_COMMIT)->index = ready;
    }
    if (raft->config_changed)
        (void)raft_emit(raft, RAFT_DO_CONFIG);
    raft->config_changed = false;
    if (raft->told.role == raft->role && raft->told.term == raft->term && raft->told.leader == raft->leader)
        return;
    struct raft_effect *effect = raft_emit(raft, RAFT_DO_STATUS);
    effect->role = raft->told.role = raft->role;
    effect->term = raft->told.term = raft->term;
    effect->leader = raft->told.leader = raft->leader;
}

/* Only now is it certain that the log does not move any more in this step. */
static void finish_entries(struct raft *raft)
{
    for (size_t i = 0; i < raft->effect_count; i++) {
        struct raft_msg *msg = &raft->effects[i].msg;
        if (raft->effects[i].type == RAFT_DO_SEND && msg->entry_count != 0)
            msg->entries = raft_tail_at(&raft->tail, msg->log_index + 1);
    }
}

static uint64_t deadline(const struct raft *raft)
{
    if (raft->failed)
        return RAFT_NEVER;
    if (raft->role == RAFT_LEADER)
        return raft_lead_deadline(raft);
    return raft_electable(raft) ? raft->election_due_ms : RAFT_NEVER;
}

enum raft_result raft_step(struct raft *raft, const struct raft_event *event, struct raft_update *ret_update)
{
    assert(event->now_ms >= raft->now_ms);
    raft->now_ms = event->now_ms;
    raft->effect_count = 0;
    raft->held_new = raft->held_count;
    raft->proposed_index = 0;
    enum raft_result result = dispatch(raft, event);
    finish_disk(raft);
    finish_news(raft);
    finish_entries(raft);
    assert(raft->commit <= raft_tail_last(&raft->tail) && raft->commit >= raft->tail.base_index);
    *ret_update = (struct raft_update) { raft->effects, raft->effect_count, deadline(raft), raft->proposed_index };
    return result;
}

enum raft_role raft_role(const struct raft *raft)
{
    return raft->role;
}

uint64_t raft_id(const struct raft *raft)
{
    return raft->options.id;
}

uint64_t raft_term(const struct raft *raft)
{
    return raft->term;
}

uint64_t raft_leader(const struct raft *raft)
{
    return raft->leader;
}

uint64_t raft_commit(const struct raft *raft)
{
    return raft->commit;
}

uint64_t raft_term_start(const struct raft *raft)
{
    return raft->role == RAFT_LEADER ? raft->term_start : 0;
}

struct raft_hard raft_hard(const struct raft *raft)
{
    return (struct raft_hard) { raft->term, raft->vote, raft->commit };
}

const struct raft_tail *raft_tail(const struct raft *raft)
{
    return &raft->tail;
}
