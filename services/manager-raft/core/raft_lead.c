/* What a leader does: proposals, commitment, configuration changes, handing over, and stepping down. Sources: 3.5, 3.6, 3.10,
 * 4, 6.2. */
#include "raft_internal.h"

void raft_broadcast_heartbeat(struct raft *raft)
{
    for (size_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (peer->id == raft->options.id)
            continue;
        uint64_t commit = peer->match < raft->commit ? peer->match : raft->commit;
        uint64_t context = raft->read_round != raft->read_done ? raft->read_round : 0;
        raft_send(raft, (struct raft_msg) { .kind = RAFT_HEARTBEAT, .to = peer->id, .commit = commit, .context = context });
    }
}

void raft_become_leader(struct raft *raft)
{
    assert(raft->role == RAFT_CANDIDATE);
    raft->role = RAFT_LEADER;
    raft->leader = raft->options.id;
    raft->heartbeat_due_ms = raft->now_ms + raft->options.heartbeat_ms;
    raft->quorum_grace_ms = raft->now_ms;
    raft->transfer_to = raft->uncommitted_bytes = 0;
    raft->read_round = raft->read_done = 0;
    for (size_t i = 0; i < raft->peer_count; i++)
        raft_peer_reset(raft, &raft->peers[i]);
    raft->term_start = raft_tail_last(&raft->tail) + 1;
    raft_log_append(raft, raft->term, RAFT_ENTRY_NOOP, NULL); /* so that entries of earlier terms can be committed (3.6.2, 6.4) */
    raft_feed_all(raft, false);
    raft_lead_commit(raft);
}

static void transfer_end(struct raft *raft, bool ok)
{
    if (raft->transfer_to == 0)
        return;
    struct raft_effect *effect = raft_emit(raft, RAFT_DO_TRANSFER);
    effect->peer = raft->transfer_to;
    effect->ok = ok;
    raft->transfer_to = 0;
}

void raft_lead_stop(struct raft *raft)
{
    transfer_end(raft, true);
    raft_read_drop(raft);
    raft->uncommitted_bytes = 0;
}

/* A leader with nobody to talk to has no deadline at all: it sleeps until it is asked for something. */
uint64_t raft_lead_deadline(const struct raft *raft)
{
    bool by_itself = raft->peer_count == 1 && raft->peers[0].id == raft->options.id;
    uint64_t due = by_itself ? RAFT_NEVER : raft->heartbeat_due_ms;
    if (raft->transfer_to != 0 && raft->transfer_due_ms < due)
        due = raft->transfer_due_ms;
    return due;
}

static uint64_t heard(const struct raft *raft, const struct raft_peer *peer)
{
    return peer->id == raft->options.id ? UINT64_MAX : peer->heard_ms;
}

/* 6.2: a leader that no quorum answers leads no more. If this process itself stood still, the answers may wait in its sockets:
 * they get one heartbeat's time to be read. */
static bool lost_quorum(struct raft *raft)
{
    if (raft->now_ms > raft->heartbeat_due_ms + raft->options.heartbeat_ms)
        raft->quorum_grace_ms = raft->now_ms + raft->options.heartbeat_ms;
    uint64_t last = raft_quorum(raft, heard);
    return last != UINT64_MAX && last + raft->options.election_ms <= raft->now_ms && raft->now_ms >= raft->quorum_grace_ms;
}

void raft_lead_tick(struct raft *raft)
{
    if (raft->transfer_to != 0 && raft->now_ms >= raft->transfer_due_ms)
        transfer_end(raft, false);
    if (raft->now_ms < raft_lead_deadline(raft) || raft_lead_deadline(raft) == RAFT_NEVER)
        return;
    if (lost_quorum(raft)) {
        raft_become_follower(raft, raft->term, 0);
        return;
    }
    raft->heartbeat_due_ms = raft->now_ms + raft->options.heartbeat_ms;
    raft_broadcast_heartbeat(raft);
}

enum raft_result raft_lead_propose(struct raft *raft, const struct raft_entry *entries, size_t count)
{
    if (raft->transfer_to != 0)
        return RAFT_E_TRANSFER;
    if (raft->uncommitted_bytes >= raft->options.uncommitted_bytes_max)
        return RAFT_E_FULL;
    raft->proposed_index = raft_tail_last(&raft->tail) + 1;
    for (size_t i = 0; i < count; i++) {
        assert(entries[i].kind == RAFT_ENTRY_STORE);
        raft->uncommitted_bytes += raft_entry_size(&entries[i]);
        raft_log_append(raft, raft->term, RAFT_ENTRY_STORE, entries[i].blob);
    }
    raft_feed_all(raft, false);
    return RAFT_OK;
}

static uint64_t matched(const struct raft *raft, const struct raft_peer *peer)
{
    return peer->id == raft->options.id ? raft->stable : peer->match;
}

static void append_config(struct raft *raft, struct raft_blob *blob)
{
    raft_log_append(raft, raft->term, RAFT_ENTRY_CONFIG, blob);
    raft_feed_all(raft, false);
}

/* The newest configuration is committed: leave a joint one, or go if this member votes no more (4.2.2, 4.3). */
static void settle_config(struct raft *raft)
{
    const struct raft_config_entry *now = &raft->configs[raft->config_count - 1];
    if (now->index > raft->commit)
        return;
    if (now->config.joint) {
        struct raft_blob *next = raft_config_leave(now->blob);
        append_config(raft, next);
        raft_blob_unref(next);
    } else if (!raft_config_votes(&now->config, raft->options.id)) {
        struct raft_peer *best = NULL;
        for (size_t i = 0; i < raft->peer_count; i++) {
            struct raft_peer *peer = &raft->peers[i];
            if (peer->voter && (best == NULL || peer->match > best->match))
                best = peer;
        }
        raft_send(raft, (struct raft_msg) { .kind = RAFT_TIMEOUT_NOW, .to = best->id, .transfer = true });
        raft_become_follower(raft, raft->term, 0);
    }
}

/* 3.6.2: only an entry of this term is committed by counting; those before it follow. */
void raft_lead_commit(struct raft *raft)
{
    uint64_t index = raft_quorum(raft, matched), term = 0;
    if (index <= raft->commit || index == UINT64_MAX)
        return;
    if (!raft_tail_term(&raft->tail, index, &term) || term != raft->term)
        return;
    raft_commit_to(raft, index);
    raft_feed_all(raft, true);
    raft_read_kick(raft);
    settle_config(raft);
}

enum raft_result raft_lead_config(struct raft *raft, struct raft_blob *target)
{
    if (raft->transfer_to != 0)
        return RAFT_E_TRANSFER;
    const struct raft_config_entry *now = &raft->configs[raft->config_count - 1];
    if (now->index > raft->commit || now->config.joint)
        return RAFT_E_PENDING;
    if (raft->commit < raft->term_start)
        return RAFT_E_NOT_LEADER; /* an earlier leader's change may yet surface (4.1, corrected) */
    struct raft_blob *next = NULL;
    if (raft_config_plan(now->blob, target, &next, NULL) != 0)
        return RAFT_E_INVALID;
    raft->proposed_index = raft_tail_last(&raft->tail) + 1;
    append_config(raft, next);
    raft_blob_unref(next);
    return RAFT_OK;
}

void raft_lead_transfer_check(struct raft *raft, const struct raft_peer *peer)
{
    if (raft->transfer_to != peer->id || peer->match != raft_tail_last(&raft->tail))
        return;
    raft_send(raft, (struct raft_msg) { .kind = RAFT_TIMEOUT_NOW, .to = peer->id, .transfer = true });
}

enum raft_result raft_lead_transfer(struct raft *raft, uint64_t to)
{
    if (raft->transfer_to != 0)
        return RAFT_E_TRANSFER;
    struct raft_peer *target = NULL;
    for (size_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        if (!peer->voter || peer->id == raft->options.id || (to != 0 && peer->id != to))
            continue;
        bool heard_from = peer->heard_ms + raft->options.election_ms > raft->now_ms;
        if ((heard_from || to != 0) && (target == NULL || peer->match > target->match))
            target = peer;
    }
    if (target == NULL)
        return RAFT_E_INVALID;
    raft->transfer_to = target->id;
    raft->transfer_due_ms = raft->now_ms + raft->options.election_ms;
    raft_feed(raft, target, false);
    raft_lead_transfer_check(raft, target);
    return RAFT_OK;
}
