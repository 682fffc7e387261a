/* Elections: pre-vote, votes, and becoming a follower. Sources: 3.4, 4.2.3, 9.6. */
#include "raft_internal.h"

void raft_election_reset(struct raft *raft)
{
    raft->election_due_ms = raft->now_ms + raft->options.election_ms + 1 + sw_rng_below(&raft->rng, raft->options.election_ms);
}

void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader)
{
    assert(term >= raft->term);
    if (raft->role == RAFT_LEADER)
        raft_lead_stop(raft);
    if (term > raft->term) {
        raft->term = term;
        raft->vote = 0;
        raft_dirty(raft, 0);
    }
    raft->role = RAFT_FOLLOWER;
    raft->leader = leader;
    raft_election_reset(raft);
}

bool raft_in_lease(const struct raft *raft)
{
    if (raft->role == RAFT_LEADER)
        return true; /* check-quorum sees to it that it leads no longer than a quorum hears it */
    return raft->leader != 0 && raft->now_ms < raft->leader_heard_ms + raft->options.election_ms;
}

static uint64_t granted(const struct raft *raft, const struct raft_peer *peer)
{
    (void)raft;
    return peer->ballot == RAFT_GRANTED ? 1 : 0;
}

static uint64_t not_refused(const struct raft *raft, const struct raft_peer *peer)
{
    (void)raft;
    return peer->ballot == RAFT_REFUSED ? 0 : 1;
}

static void count_ballots(struct raft *raft)
{
    if (raft_quorum(raft, granted) == 1) {
        if (raft->role == RAFT_PRE_CANDIDATE)
            raft_campaign(raft, false, false);
        else
            raft_become_leader(raft);
    } else if (raft_quorum(raft, not_refused) == 0) {
        raft_become_follower(raft, raft->term, 0);
    }
}

static void ask_for_votes(struct raft *raft, bool pre, bool transfer)
{
    struct raft_msg msg = { .kind = pre ? RAFT_PRE_VOTE : RAFT_VOTE,
                            .term = pre ? raft->term + 1 : raft->term,
                            .log_index = raft_tail_last(&raft->tail),
                            .log_term = raft_tail_last_term(&raft->tail),
                            .transfer = transfer };
    for (size_t i = 0; i < raft->peer_count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        peer->ballot = RAFT_UNDECIDED;
        if (peer->id == raft->options.id || (!peer->voter && !peer->outgoing))
            continue;
        msg.to = peer->id;
        if (pre)
            raft_send(raft, msg);
        else
            raft_reply(raft, msg); /* the term and the own vote must be synced first */
    }
}

void raft_campaign(struct raft *raft, bool pre, bool transfer)
{
    assert(raft->role != RAFT_LEADER && raft->peer_count != 0);
    raft->role = pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE;
    raft->leader = 0;
    if (!pre) {
        raft->term++;
        raft->vote = raft->options.id;
        raft_dirty(raft, 0);
    }
    raft_election_reset(raft);
    ask_for_votes(raft, pre, transfer);
    if (!pre) {
        raft_reply(raft, (struct raft_msg) { .kind = RAFT_VOTE_REPLY, .to = raft->options.id });
        return;
    }
    struct raft_peer *self = raft_peer(raft, raft->options.id);
    if (self != NULL)
        self->ballot = RAFT_GRANTED;
    count_ballots(raft);
}

static bool up_to_date(const struct raft *raft, const struct raft_msg *msg)
{
    uint64_t term = raft_tail_last_term(&raft->tail);
    return msg->log_term > term || (msg->log_term == term && msg->log_index >= raft_tail_last(&raft->tail));
}

/* Who asks need not be in this member's configuration: its own may be the one that lags (4.2.2). */
void raft_on_vote_request(struct raft *raft, const struct raft_msg *msg)
{
    bool pre = msg->kind == RAFT_PRE_VOTE;
    assert(pre ? msg->term >= raft->term : msg->term == raft->term);
    bool free_vote = raft->vote == msg->from || (raft->vote == 0 && raft->leader == 0) || (pre && msg->term > raft->term);
    bool grant = free_vote && up_to_date(raft, msg);
    if (grant && !pre) {
        if (raft->vote != msg->from)
            raft_dirty(raft, 0);
        raft->vote = msg->from;
        raft_election_reset(raft);
    }
    raft_reply(raft, (struct raft_msg) { .kind = pre ? RAFT_PRE_VOTE_REPLY : RAFT_VOTE_REPLY,
                                         .to = msg->from,
                                         .reject = !grant,
                                         .term = grant ? msg->term : raft->term });
}

void raft_on_vote_reply(struct raft *raft, const struct raft_msg *msg)
{
    bool pre = msg->kind == RAFT_PRE_VOTE_REPLY;
    struct raft_peer *peer = raft_peer(raft, msg->from);
    if (raft->role != (pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE))
        return;
    if (pre && !msg->reject && msg->term != raft->term + 1)
        return; /* of an earlier round */
    if (peer != NULL && peer->ballot == RAFT_UNDECIDED)
        peer->ballot = msg->reject ? RAFT_REFUSED : RAFT_GRANTED;
    count_ballots(raft);
}
