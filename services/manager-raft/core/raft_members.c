/* Configurations in the log and the members that follow from the newest one. */
#include "raft_internal.h"

#include "common/base/buf.h"

#include <stdlib.h>

struct raft_peer *raft_peer(struct raft *raft, uint64_t id)
{
    for (size_t i = 0; id != 0 && i < raft->peer_count; i++) {
        if (raft->peers[i].id == id)
            return &raft->peers[i];
    }
    return NULL;
}

static const struct raft_config_entry *newest(const struct raft *raft)
{
    return raft->config_count == 0 ? NULL : &raft->configs[raft->config_count - 1];
}

/* Members of the newest configuration; who stays a member keeps its progress. */
static void peers_rebuild(struct raft *raft)
{
    struct raft_peer old[RAFT_MEMBERS_MAX];
    size_t old_count = raft->peer_count;
    for (size_t i = 0; i < old_count; i++)
        old[i] = raft->peers[i];
    const struct raft_config_entry *now = newest(raft);
    raft->peer_count = now == NULL ? 0 : now->config.count;
    for (size_t i = 0; i < raft->peer_count; i++) {
        const struct raft_member *member = &now->config.members[i];
        struct raft_peer *peer = &raft->peers[i];
        size_t k = 0;
        while (k < old_count && old[k].id != member->id)
            k++;
        *peer = k < old_count ? old[k] : (struct raft_peer) { .id = member->id };
        if (k == old_count)
            raft_peer_reset(raft, peer);
        peer->voter = member->voter;
        peer->outgoing = member->outgoing;
    }
    raft->config_changed = true;
}

void raft_config_push(struct raft *raft, uint64_t index, struct raft_blob *blob)
{
    if (raft->config_count == raft->config_cap) {
        raft->config_cap = raft->config_cap == 0 ? 4 : raft->config_cap * 2;
        raft->configs = sw_realloc_array(raft->configs, raft->config_cap, sizeof *raft->configs);
    }
    struct raft_config_entry *entry = &raft->configs[raft->config_count];
    int rc = raft_config_decode(blob->data, blob->len, &entry->config, NULL);
    assert(rc == 0); /* checked where it came in: raft_wire, raft_config_plan or the log on disk */
    assert(raft->config_count == 0 || entry[-1].index < index);
    entry->index = index;
    entry->blob = raft_blob_ref(blob);
    raft->config_count++;
    peers_rebuild(raft);
}

void raft_config_drop_from(struct raft *raft, uint64_t index)
{
    size_t before = raft->config_count;
    while (raft->config_count > 0 && newest(raft)->index >= index)
        raft_blob_unref(raft->configs[--raft->config_count].blob);
    if (raft->config_count != before)
        peers_rebuild(raft);
}

void raft_config_prune(struct raft *raft, uint64_t index)
{
    size_t keep = 0;
    while (keep + 1 < raft->config_count && raft->configs[keep + 1].index <= index)
        raft_blob_unref(raft->configs[keep++].blob);
    raft->config_count -= keep;
    for (size_t i = 0; i < raft->config_count; i++)
        raft->configs[i] = raft->configs[i + keep];
}

void raft_config_clear(struct raft *raft)
{
    while (raft->config_count > 0)
        raft_blob_unref(raft->configs[--raft->config_count].blob);
    raft->peer_count = 0;
}

/* A member may stand for election if it votes in the newest configuration of its log or in the newest it knows to be
 * committed: one that is on its way out may be the only one whose log lets the change be finished (4.2.2). */
bool raft_electable(const struct raft *raft)
{
    if (raft->failed || raft->config_count == 0)
        return false;
    if (raft_config_votes(&newest(raft)->config, raft->options.id))
        return true;
    for (size_t i = raft->config_count; i-- > 0;) {
        if (raft->configs[i].index <= raft->commit)
            return raft_config_votes(&raft->configs[i].config, raft->options.id);
    }
    return false;
}

bool raft_alone(const struct raft *raft)
{
    return raft->config_count != 0 && raft_config_sole(&newest(raft)->config, raft->options.id);
}

static uint64_t quorum_of(const struct raft *raft, raft_value_fn *value, bool outgoing)
{
    uint64_t values[RAFT_MEMBERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < raft->peer_count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (outgoing ? !peer->outgoing : !peer->voter)
            continue;
        uint64_t v = value(raft, peer);
        size_t at = count++;
        for (; at > 0 && values[at - 1] < v; at--) /* largest first */
            values[at] = values[at - 1];
        values[at] = v;
    }
    return count == 0 ? UINT64_MAX : values[count / 2];
}

uint64_t raft_quorum(const struct raft *raft, raft_value_fn *value)
{
    assert(raft->peer_count != 0);
    uint64_t incoming = quorum_of(raft, value, false), outgoing = quorum_of(raft, value, true);
    return incoming < outgoing ? incoming : outgoing;
}

const struct raft_config *raft_config(const struct raft *raft)
{
    static const struct raft_config none;
    return raft->config_count == 0 ? &none : &newest(raft)->config;
}

const struct raft_blob *raft_config_blob(const struct raft *raft)
{
    return raft->config_count == 0 ? NULL : newest(raft)->blob;
}

const struct raft_blob *raft_config_at(const struct raft *raft, uint64_t index)
{
    for (size_t i = raft->config_count; i-- > 0;) {
        if (raft->configs[i].index <= index)
            return raft->configs[i].blob;
    }
    return NULL;
}

bool raft_progress(const struct raft *raft, uint64_t id, struct raft_progress *ret_progress)
{
    for (size_t i = 0; i < raft->peer_count && raft->role == RAFT_LEADER; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (peer->id != id)
            continue;
        bool self = id == raft->options.id;
        *ret_progress = (struct raft_progress) { .match = peer->match,
                                                 .next = peer->next,
                                                 .heard_ms = peer->heard_ms,
                                                 .voter = peer->voter || peer->outgoing,
                                                 .snapshot = peer->flow == RAFT_SENDING,
                                                 .active = self || peer->heard_ms + raft->options.election_ms > raft->now_ms };
        return true;
    }
    return false;
}
