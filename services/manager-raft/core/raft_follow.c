/* What a follower does with its leader's messages. Sources: 3.5, 3.6, 10.2; hints after etcd-io/raft's idea of term conflicts. */
#include "raft_internal.h"

/* The sender leads this term. A candidate of the term gives way. */
static void heard_leader(struct raft *raft, const struct raft_msg *msg)
{
    assert(msg->term == raft->term);
    assert(raft->role != RAFT_LEADER); /* two leaders in a term */
    if (raft->role != RAFT_FOLLOWER || raft->leader != msg->from)
        raft_become_follower(raft, msg->term, msg->from);
    raft->leader_heard_ms = raft->now_ms;
    raft_election_reset(raft);
}

static void reject_append(struct raft *raft, const struct raft_msg *msg)
{
    uint64_t index = raft_tail_conflict(&raft->tail, msg->log_index, msg->log_term), term = 0;
    bool known = raft_tail_term(&raft->tail, index, &term);
    assert(known);
    raft_reply(raft, (struct raft_msg) { .kind = RAFT_APPEND_REPLY,
                                         .to = msg->from,
                                         .reject = true,
                                         .log_index = msg->log_index,
                                         .hint_index = index,
                                         .hint_term = term });
}

/* Entries that are here already are left alone: an old message may be shorter than what a later one brought. */
static void store_entries(struct raft *raft, const struct raft_msg *msg)
{
    for (size_t i = 0; i < msg->entry_count; i++) {
        const struct raft_entry *entry = &msg->entries[i];
        uint64_t term = 0;
        assert(entry->index == msg->log_index + 1 + i);
        if (entry->index <= raft->commit)
            continue;
        if (raft_tail_term(&raft->tail, entry->index, &term)) {
            if (term == entry->term)
                continue;
            raft_log_truncate(raft, entry->index);
        }
        raft_log_append(raft, entry->term, entry->kind, entry->blob);
    }
}

/* A message that begins in what is committed must agree with it: every correct leader's does (leader completeness). */
static bool contradicts(const struct raft *raft, const struct raft_msg *msg)
{
    uint64_t ours = 0, past = raft->commit - msg->log_index;
    uint64_t theirs = past == 0 ? msg->log_term : msg->entries[past - 1].term;
    return !raft_tail_term(&raft->tail, raft->commit, &ours) || ours != theirs;
}

void raft_on_append(struct raft *raft, const struct raft_msg *msg)
{
    heard_leader(raft, msg);
    struct raft_msg reply = { .kind = RAFT_APPEND_REPLY, .to = msg->from };
    if (msg->log_index < raft->commit && msg->log_index + msg->entry_count <= raft->commit) {
        reply.log_index = raft->commit; /* all of it is committed here, and perhaps compacted */
        raft_reply(raft, reply);
        return;
    }
    uint64_t term = 0;
    bool committed = msg->log_index <= raft->commit; /* before the base: equal by leader completeness */
    if (!committed && (!raft_tail_term(&raft->tail, msg->log_index, &term) || term != msg->log_term)) {
        reject_append(raft, msg);
        return;
    }
    if (committed && contradicts(raft, msg))
        return;
    store_entries(raft, msg);
    uint64_t last_new = msg->log_index + msg->entry_count;
    raft_commit_to(raft, msg->commit < last_new ? msg->commit : last_new);
    reply.log_index = last_new;
    raft_reply(raft, reply);
}

void raft_on_heartbeat(struct raft *raft, const struct raft_msg *msg)
{
    heard_leader(raft, msg);
    if (msg->kind != RAFT_HEARTBEAT)
        return;
    raft_commit_to(raft, msg->commit); /* the leader sends no more than this member has acknowledged */
    raft_reply(raft, (struct raft_msg) { .kind = RAFT_HEARTBEAT_REPLY, .to = msg->from, .context = msg->context });
}

void raft_on_timeout_now(struct raft *raft)
{
    if (raft->role == RAFT_FOLLOWER && raft_electable(raft))
        raft_campaign(raft, false, true); /* no pre-vote: the leader itself asked for it (3.10) */
}

bool raft_snapshot_needed(const struct raft *raft, uint64_t index, uint64_t term)
{
    uint64_t here = 0;
    bool has = raft_tail_term(&raft->tail, index, &here) && here == term;
    return raft->role != RAFT_LEADER && index > raft->commit && !has;
}

void raft_on_restored(struct raft *raft, uint64_t index, uint64_t term, struct raft_blob *config)
{
    assert(raft_snapshot_needed(raft, index, term));
    raft_tail_deinit(&raft->tail);
    raft_tail_init(&raft->tail, index, term);
    raft_config_clear(raft);
    raft_config_push(raft, index, config);
    raft->commit = raft->commit_told = raft->stable = index;
    for (size_t i = 0; i < raft->unsynced_count; i++)
        raft->unsynced[i].last = index;
    raft_dirty(raft, 0);
    if (raft->leader != 0)
        raft_reply(raft, (struct raft_msg) { .kind = RAFT_APPEND_REPLY, .to = raft->leader, .log_index = index });
}
