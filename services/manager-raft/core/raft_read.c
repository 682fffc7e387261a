/* Reads that must be current, by read-index rounds: all that wait share the next round of heartbeats (6.4). */
#include "raft_internal.h"

#include "common/base/buf.h"

static void answer(struct raft *raft, const struct raft_read *read, bool ok)
{
    struct raft_effect *effect = raft_emit(raft, RAFT_DO_READ);
    effect->context = read->context;
    effect->index = read->index;
    effect->ok = ok;
}

enum raft_result raft_read_add(struct raft *raft, uint64_t context)
{
    if (raft->read_count == RAFT_READS_MAX)
        return RAFT_E_FULL;
    if (raft->read_count == raft->read_cap) {
        raft->read_cap = raft->read_cap == 0 ? 16 : raft->read_cap * 2;
        raft->reads = sw_realloc_array(raft->reads, raft->read_cap, sizeof *raft->reads);
    }
    raft->reads[raft->read_count++] = (struct raft_read) { .context = context };
    raft_read_kick(raft);
    return RAFT_OK;
}

static void answer_up_to(struct raft *raft, uint64_t round)
{
    size_t kept = 0;
    for (size_t i = 0; i < raft->read_count; i++) {
        struct raft_read *read = &raft->reads[i];
        if (read->round != 0 && read->round <= round)
            answer(raft, read, true);
        else
            raft->reads[kept++] = *read;
    }
    raft->read_count = kept;
}

/* Start a round for the reads that wait, unless one is on its way. Until an entry of this term is committed the commit index may
 * lag behind what an earlier leader has acknowledged, so nothing can be told (6.4, step 1). */
void raft_read_kick(struct raft *raft)
{
    uint64_t term = 0;
    bool current = raft_tail_term(&raft->tail, raft->commit, &term) && term == raft->term;
    if (raft->read_count == 0 || !current || raft->read_round != raft->read_done)
        return;
    raft->read_round++;
    for (size_t i = 0; i < raft->read_count; i++) {
        raft->reads[i].round = raft->read_round;
        raft->reads[i].index = raft->commit;
    }
    if (!raft_alone(raft))
        raft_broadcast_heartbeat(raft);
    raft_read_acked(raft);
}

static uint64_t acked(const struct raft *raft, const struct raft_peer *peer)
{
    return peer->id == raft->options.id ? UINT64_MAX : peer->read_ack;
}

void raft_read_acked(struct raft *raft)
{
    if (raft->read_round == raft->read_done || raft_quorum(raft, acked) < raft->read_round)
        return;
    raft->read_done = raft->read_round;
    answer_up_to(raft, raft->read_done);
    raft_read_kick(raft);
}

void raft_read_drop(struct raft *raft)
{
    for (size_t i = 0; i < raft->read_count; i++)
        answer(raft, &raft->reads[i], false);
    raft->read_count = 0;
    raft->read_done = raft->read_round;
}
