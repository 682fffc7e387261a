#include "raft_net.h"

#include "common/base/pb.h"
#include "raft_wire.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(const struct net *net, bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "seed %" PRIu64 ", %" PRIu64 " ms: %s\n", net->seed, net->now_ms, what);
    abort();
}

static uint64_t hash_of(const struct raft_entry *entry)
{
    uint64_t hash = 1469598103934665603u ^ (uint64_t)entry->kind;
    for (size_t i = 0; entry->blob != NULL && i < entry->blob->len; i++)
        hash = (hash ^ entry->blob->data[i]) * 1099511628211u;
    return hash;
}

struct raft_blob *net_config_blob(unsigned voters, unsigned learners)
{
    Swarm__RaftConfig config = SWARM__RAFT_CONFIG__INIT;
    Swarm__RaftMember members[NET_NODES], *pointers[NET_NODES];
    for (unsigned id = 1; id <= NET_NODES; id++) {
        if (((voters | learners) >> id & 1) == 0)
            continue;
        Swarm__RaftMember *member = &members[config.n_members];
        swarm__raft_member__init(member);
        member->raft_id = id;
        member->node_id = (char *)"n";
        member->address = (char *)"a";
        member->voter = member->has_voter = (voters >> id & 1) != 0;
        pointers[config.n_members++] = member;
    }
    config.members = pointers;
    SW_AUTO_BUF buf = { 0 };
    sw_pb_pack(&config, &buf);
    return raft_blob_new(buf.data, buf.len);
}

/* ---- trace ---- */
static const char *kind_name(enum raft_kind kind)
{
    static const char *const names[] = { "pre-vote",    "pre-vote-reply", "vote",          "vote-reply",
                                         "append",      "append-reply",   "heartbeat",     "heartbeat-reply",
                                         "timeout-now", "snapshot",       "snapshot-reply" };
    return names[kind];
}

static void trace_msg(struct net *net, const struct raft_msg *msg)
{
    struct sw_buf *b = net->trace;
    sw_buf_addf(b, "%s %" PRIu64 "->%" PRIu64 " term=%" PRIu64, kind_name(msg->kind), msg->from, msg->to, msg->term);
    if (msg->log_index != 0 || msg->kind == RAFT_APPEND)
        sw_buf_addf(b, " log=%" PRIu64 "/%" PRIu64, msg->log_index, msg->log_term);
    if (msg->commit != 0)
        sw_buf_addf(b, " commit=%" PRIu64, msg->commit);
    if (msg->context != 0)
        sw_buf_addf(b, " round=%" PRIu64, msg->context);
    if (msg->reject)
        sw_buf_addf(b, " reject hint=%" PRIu64 "/%" PRIu64, msg->hint_index, msg->hint_term);
    if (msg->transfer)
        sw_buf_adds(b, " transfer");
    for (size_t i = 0; i < msg->entry_count; i++)
        sw_buf_addf(b, " [%" PRIu64 "/%" PRIu64 "%s]", msg->entries[i].index, msg->entries[i].term,
                    msg->entries[i].kind == RAFT_ENTRY_CONFIG ? " config"
                    : msg->entries[i].kind == RAFT_ENTRY_NOOP ? " noop"
                                                              : "");
}

static void trace_event(struct net *net, uint64_t id, const struct raft_event *event)
{
    static const char *const names[] = { "start",         "tick",         "message", "propose",  "config",
                                         "persisted",     "write-failed", "read",    "transfer", "unreachable",
                                         "snapshot-sent", "restored",     "compact" };
    if (net->trace == NULL)
        return;
    sw_buf_addf(net->trace, "%5" PRIu64 " node %" PRIu64 ": %s ", net->now_ms, id, names[event->type]);
    if (event->type == RAFT_EV_MESSAGE)
        trace_msg(net, event->msg);
    if (event->type == RAFT_EV_PROPOSE)
        sw_buf_addf(net->trace, "%zu", event->count);
    if (event->seq != 0)
        sw_buf_addf(net->trace, "seq=%" PRIu64, event->seq);
    sw_buf_adds(net->trace, "\n");
}

static void trace_effect(struct net *net, const struct raft_effect *e)
{
    struct sw_buf *b = net->trace;
    if (b == NULL)
        return;
    sw_buf_adds(b, "        -> ");
    switch (e->type) {
    case RAFT_DO_PERSIST:
        sw_buf_addf(b, "persist seq=%" PRIu64 " term=%" PRIu64 " vote=%" PRIu64 " from=%" PRIu64, e->seq, e->hard.term,
                    e->hard.vote, e->index);
        break;
    case RAFT_DO_SEND:
        trace_msg(net, &e->msg);
        break;
    case RAFT_DO_COMMIT:
        sw_buf_addf(b, "commit %" PRIu64, e->index);
        break;
    case RAFT_DO_STATUS:
        sw_buf_addf(b, "status %s term=%" PRIu64 " leader=%" PRIu64, raft_role_name(e->role), e->term, e->leader);
        break;
    case RAFT_DO_READ:
        sw_buf_addf(b, "read %" PRIu64 " %s index=%" PRIu64, e->context, e->ok ? "ok" : "failed", e->index);
        break;
    case RAFT_DO_TRANSFER:
        sw_buf_addf(b, "transfer to %" PRIu64 " %s", e->peer, e->ok ? "done" : "failed");
        break;
    case RAFT_DO_SNAPSHOT:
        sw_buf_addf(b, "snapshot to %" PRIu64, e->peer);
        break;
    case RAFT_DO_CONFIG:
        sw_buf_adds(b, "config");
        break;
    }
    sw_buf_adds(b, "\n");
}

/* ---- invariants ---- */
static void check_commit(struct net *net, uint64_t id, uint64_t upto)
{
    struct net_node *node = &net->nodes[id];
    const struct raft_tail *tail = raft_tail(node->core);
    check(net, upto >= node->ready, "commit went back");
    for (uint64_t i = node->ready + 1; i <= upto; i++) {
        const struct raft_entry *entry = raft_tail_at(tail, i);
        check(net, entry != NULL && i < NET_INDEX_MAX, "committed entry is not in the log");
        if (net->committed_terms[i] == 0) {
            check(net, i == net->committed + 1, "hole in what is committed");
            net->committed_terms[i] = entry->term;
            net->committed_hash[i] = hash_of(entry);
            net->committed = i;
        }
        check(net, net->committed_terms[i] == entry->term && net->committed_hash[i] == hash_of(entry),
              "two different entries committed");
    }
    node->ready = upto;
}

static void check_leader(struct net *net, uint64_t id, uint64_t term)
{
    check(net, term < NET_INDEX_MAX && (net->leaders[term] == 0 || net->leaders[term] == id), "two leaders in a term");
    net->leaders[term] = id;
    const struct raft_tail *tail = raft_tail(net->nodes[id].core);
    for (uint64_t i = tail->base_index + 1; i <= net->committed; i++) {
        const struct raft_entry *entry = raft_tail_at(tail, i);
        check(net, entry != NULL && entry->term == net->committed_terms[i], "leader without a committed entry");
    }
}

static void check_matching(struct net *net, uint64_t a, uint64_t b)
{
    const struct raft_tail *one = raft_tail(net->nodes[a].core), *two = raft_tail(net->nodes[b].core);
    uint64_t low = one->base_index > two->base_index ? one->base_index : two->base_index;
    uint64_t ready = net->nodes[a].ready < net->nodes[b].ready ? net->nodes[a].ready : net->nodes[b].ready;
    low = low > ready ? low : ready; /* what both have committed was compared when they did */
    uint64_t high = raft_tail_last(one) < raft_tail_last(two) ? raft_tail_last(one) : raft_tail_last(two);
    bool same = false;
    for (uint64_t i = high; i > low; i--) {
        const struct raft_entry *x = raft_tail_at(one, i), *y = raft_tail_at(two, i);
        bool equal = x->term == y->term;
        check(net, !same || equal, "logs do not match");
        check(net, !equal || hash_of(x) == hash_of(y), "one position, two contents");
        same = same || equal;
    }
}

/* ---- packets ---- */
static struct net_packet *packet_add(struct net *net, uint64_t from, uint64_t to)
{
    if (net->packet_count == net->packet_cap) {
        net->packet_cap = net->packet_cap == 0 ? 64 : net->packet_cap * 2;
        net->packets = sw_realloc_array(net->packets, net->packet_cap, sizeof *net->packets);
    }
    struct net_packet *packet = &net->packets[net->packet_count++];
    uint64_t delay = net->delay_min_ms + sw_rng_below(&net->rng, net->delay_max_ms - net->delay_min_ms + 1);
    *packet = (struct net_packet) { .due_ms = net->now_ms + delay, .order = net->order++, .from = from, .to = to };
    return packet;
}

static bool chance(struct net *net, uint64_t ppm)
{
    return ppm != 0 && sw_rng_below(&net->rng, 1000000) < ppm;
}

static void send_msg(struct net *net, const struct raft_msg *msg)
{
    if (net->cut[msg->from][msg->to] || chance(net, net->lost_ppm) || (net->lose != NULL && net->lose(net->lose_arg, msg)))
        return;
    struct raft_wire_out out;
    raft_wire_encode(msg, &out);
    for (int copy = 0; copy == 0 || (copy == 1 && chance(net, net->twice_ppm)); copy++) {
        struct sw_buf buf = { 0 };
        sw_pb_pack(&out.message, &buf);
        struct net_packet *packet = packet_add(net, msg->from, msg->to);
        packet->len = buf.len;
        packet->data = sw_buf_take(&buf);
    }
    raft_wire_out_deinit(&out);
}

static void send_snapshot(struct net *net, uint64_t from, uint64_t to)
{
    struct net_node *node = &net->nodes[from];
    struct net_packet *packet = packet_add(net, from, to);
    uint64_t term = 0;
    bool known = raft_tail_term(raft_tail(node->core), node->ready, &term);
    assert(known);
    packet->index = node->ready;
    packet->term = term;
    packet->due_ms += 20;
    packet->config = raft_blob_ref((struct raft_blob *)raft_config_at(node->core, node->ready));
}

static void packet_free(struct net_packet *packet)
{
    free(packet->data);
    raft_blob_unref(packet->config);
}

/* ---- disks ---- */
static void disk_write(struct net *net, uint64_t id)
{
    struct net_node *node = &net->nodes[id];
    const struct raft_tail *tail = raft_tail(node->core);
    if (node->dirty_from != 0) {
        uint64_t from = node->dirty_from > tail->base_index ? node->dirty_from : tail->base_index + 1;
        if (from <= raft_tail_last(&node->disk))
            raft_tail_truncate(&node->disk, from);
        for (uint64_t i = raft_tail_last(&node->disk) + 1; i <= raft_tail_last(tail); i++) {
            struct raft_entry entry = *raft_tail_at(tail, i);
            entry.blob = raft_blob_ref(entry.blob);
            raft_tail_append(&node->disk, &entry);
        }
    }
    node->hard = raft_hard(node->core);
    node->applied = node->ready < raft_tail_last(&node->disk) ? node->ready : raft_tail_last(&node->disk);
    node->dirty_from = 0;
    node->sync_due_ms = UINT64_MAX;
    (void)net_step(net, id, (struct raft_event) { .type = RAFT_EV_PERSISTED, .seq = node->seq });
}

static void effect(struct net *net, uint64_t id, const struct raft_effect *e)
{
    struct net_node *node = &net->nodes[id];
    trace_effect(net, e);
    switch (e->type) {
    case RAFT_DO_PERSIST:
        node->seq = e->seq;
        if (e->index != 0 && (node->dirty_from == 0 || e->index < node->dirty_from))
            node->dirty_from = e->index;
        if (node->sync_due_ms == UINT64_MAX && !node->sync_frozen)
            node->sync_due_ms = net->now_ms + net->sync_min_ms + sw_rng_below(&net->rng, net->sync_max_ms - net->sync_min_ms + 1);
        break;
    case RAFT_DO_SEND:
        send_msg(net, &e->msg);
        break;
    case RAFT_DO_COMMIT:
        check_commit(net, id, e->index);
        break;
    case RAFT_DO_STATUS:
        if (e->role == RAFT_LEADER)
            check_leader(net, id, e->term);
        break;
    case RAFT_DO_READ:
        node->reads_ok += e->ok ? 1 : 0;
        node->reads_failed += e->ok ? 0 : 1;
        check(net, !e->ok || e->index >= net->reads[e->context], "stale read");
        break;
    case RAFT_DO_TRANSFER:
        node->transfers_ok += e->ok ? 1 : 0;
        node->transfers_failed += e->ok ? 0 : 1;
        break;
    case RAFT_DO_SNAPSHOT:
        send_snapshot(net, id, e->peer);
        break;
    case RAFT_DO_CONFIG:
        break;
    }
}

enum raft_result net_step(struct net *net, uint64_t id, struct raft_event event)
{
    struct net_node *node = &net->nodes[id];
    struct raft_update update;
    event.now_ms = net->now_ms;
    trace_event(net, id, &event);
    enum raft_result result = raft_step(node->core, &event, &update);
    node->deadline_ms = update.deadline_ms;
    for (size_t i = 0; i < update.count; i++)
        effect(net, id, &update.effects[i]);
    for (uint64_t other = 1; other <= net->count && event.type == RAFT_EV_MESSAGE && event.msg->entry_count != 0; other++) {
        if (other != id && net->nodes[other].core != NULL)
            check_matching(net, id, other);
    }
    return result;
}

enum raft_result net_propose(struct net *net, uint64_t id, size_t count, size_t bytes)
{
    struct raft_entry *entries = sw_alloc0(count * sizeof *entries);
    char *data = sw_alloc0(bytes + sizeof(uint64_t));
    for (size_t i = 0; i < count; i++) {
        uint64_t payload = ++net->payload_next;
        memcpy(data, &payload, sizeof payload);
        entries[i] = (struct raft_entry) { .kind = RAFT_ENTRY_STORE, .blob = raft_blob_new(data, bytes + sizeof payload) };
    }
    enum raft_result result =
        net_step(net, id, (struct raft_event) { .type = RAFT_EV_PROPOSE, .entries = entries, .count = count });
    for (size_t i = 0; i < count; i++)
        raft_blob_unref(entries[i].blob);
    free(entries);
    free(data);
    return result;
}

enum raft_result net_config(struct net *net, uint64_t id, unsigned voters, unsigned learners)
{
    struct raft_blob *blob = net_config_blob(voters, learners);
    enum raft_result result = net_step(net, id, (struct raft_event) { .type = RAFT_EV_CONFIG, .blob = blob });
    raft_blob_unref(blob);
    return result;
}

enum raft_result net_read(struct net *net, uint64_t id)
{
    uint64_t context = ++net->read_next % NET_INDEX_MAX;
    net->reads[context] = net->committed;
    return net_step(net, id, (struct raft_event) { .type = RAFT_EV_READ, .context = context });
}

void net_crash(struct net *net, uint64_t id)
{
    struct net_node *node = &net->nodes[id];
    raft_free(node->core);
    node->core = NULL;
    node->seq = node->dirty_from = node->ready = node->paused_until_ms = 0;
    node->sync_due_ms = node->deadline_ms = UINT64_MAX;
}

void net_start(struct net *net, uint64_t id)
{
    struct net_node *node = &net->nodes[id];
    assert(node->core == NULL);
    node->core = raft_new(&(struct raft_options) {
        .id = id, .heartbeat_ms = 50, .election_ms = 300, .window_messages = 8, .append_bytes_max = net->append_bytes_max });
    struct raft_start start = { .seed = net->seed * 1000 + id * 100 + sw_rng_below(&net->rng, 100),
                                .hard = node->hard,
                                .base_index = node->disk.base_index,
                                .base_term = node->disk.base_term,
                                .base_config = node->base_config,
                                .entries = node->disk.entries + node->disk.head,
                                .count = node->disk.count,
                                .applied = node->applied };
    node->ready = node->applied;
    (void)net_step(net, id, (struct raft_event) { .type = RAFT_EV_START, .start = &start });
}

void net_compact(struct net *net, uint64_t id, uint64_t keep)
{
    struct net_node *node = &net->nodes[id];
    node->applied = node->ready; /* what may be applied is synced here, and so is the state it leads to */
    if (node->applied <= keep || node->applied - keep <= node->disk.base_index)
        return;
    uint64_t index = node->applied - keep;
    struct raft_blob *config = raft_blob_ref((struct raft_blob *)raft_config_at(node->core, index));
    (void)net_step(net, id, (struct raft_event) { .type = RAFT_EV_COMPACT, .index = index });
    raft_tail_compact(&node->disk, index);
    raft_blob_unref(node->base_config);
    node->base_config = config;
}

static void snapshot_arrives(struct net *net, struct net_packet *packet, bool there)
{
    struct net_node *node = &net->nodes[packet->to];
    if (there && raft_snapshot_needed(node->core, packet->index, packet->term)) {
        raft_tail_deinit(&node->disk);
        raft_tail_init(&node->disk, packet->index, packet->term);
        raft_blob_unref(node->base_config);
        node->base_config = raft_blob_ref(packet->config);
        node->applied = node->ready = packet->index;
        node->dirty_from = 0;
        (void)net_step(net, packet->to,
                       (struct raft_event) {
                           .type = RAFT_EV_RESTORED, .index = packet->index, .term = packet->term, .blob = packet->config });
        node->hard = raft_hard(node->core);
    }
    if (net->nodes[packet->from].core != NULL)
        (void)net_step(
            net, packet->from,
            (struct raft_event) { .type = RAFT_EV_SNAPSHOT_SENT, .peer = packet->to, .ok = there, .index = packet->index });
}

static void deliver(struct net *net, struct net_packet *packet)
{
    struct net_node *node = &net->nodes[packet->to];
    bool there = node->core != NULL && !net->cut[packet->from][packet->to];
    if (packet->data == NULL) {
        snapshot_arrives(net, packet, there);
        return;
    }
    if (!there)
        return;
    struct sw_err err;
    SW_AUTO(sw_pb_free)
    Swarm__RaftMessage *message = sw_pb_unpack(&swarm__raft_message__descriptor, packet->data, packet->len, 16u << 20, &err);
    struct raft_wire_in in;
    check(net, message != NULL && raft_wire_decode(message, &in, &err) == 0, "message does not decode");
    (void)net_step(net, packet->to, (struct raft_event) { .type = RAFT_EV_MESSAGE, .msg = &in.msg });
    raft_wire_in_deinit(&in);
}

/* The next thing to happen at or before until_ms; false if there is none. */
static bool run_one(struct net *net, uint64_t until_ms)
{
    uint64_t due = UINT64_MAX, id = 0;
    size_t next = SIZE_MAX;
    for (size_t i = 0; i < net->packet_count; i++) {
        const struct net_packet *packet = &net->packets[i];
        if (packet->due_ms < due || (packet->due_ms == due && next != SIZE_MAX && packet->order < net->packets[next].order)) {
            due = packet->due_ms;
            next = i;
        }
    }
    for (uint64_t n = 1; n <= net->count; n++) {
        struct net_node *node = &net->nodes[n];
        uint64_t first = node->sync_due_ms < node->deadline_ms ? node->sync_due_ms : node->deadline_ms;
        if (first < node->paused_until_ms)
            first = node->paused_until_ms;
        if (node->core != NULL && first < due) {
            due = first;
            id = n;
        }
    }
    if (due > until_ms)
        return false;
    net->now_ms = due > net->now_ms ? due : net->now_ms;
    if (id != 0) {
        struct net_node *node = &net->nodes[id];
        if (node->sync_due_ms <= node->deadline_ms)
            disk_write(net, id);
        else
            (void)net_step(net, id, (struct raft_event) { .type = RAFT_EV_TICK });
        return true;
    }
    struct net_packet packet = net->packets[next];
    if (packet.due_ms < net->nodes[packet.to].paused_until_ms) {
        net->packets[next].due_ms = net->nodes[packet.to].paused_until_ms;
        return true;
    }
    net->packets[next] = net->packets[--net->packet_count];
    deliver(net, &packet);
    packet_free(&packet);
    return true;
}

void net_run(struct net *net, uint64_t ms)
{
    uint64_t until = net->now_ms + ms;
    while (run_one(net, until))
        continue;
    net->now_ms = until;
}

bool net_until(struct net *net, bool (*fn)(struct net *net), uint64_t limit_ms)
{
    uint64_t until = net->now_ms + limit_ms;
    while (!fn(net)) {
        if (!run_one(net, until))
            return false;
    }
    return true;
}

/* The first members begin with the configuration as entry 1, so that later ones get it with the log. */
static void bootstrap(struct net *net, struct net_node *node, unsigned voters)
{
    struct raft_entry entry = { 1, 1, RAFT_ENTRY_CONFIG, net_config_blob(voters, 0) };
    raft_tail_append(&node->disk, &entry);
    node->hard = (struct raft_hard) { .term = 1, .commit = 1 };
    node->applied = net->committed = 1;
    net->committed_terms[1] = 1;
    net->committed_hash[1] = hash_of(&entry);
}

struct net *net_new(uint64_t seed, size_t count, unsigned voters)
{
    struct net *net = sw_alloc0(sizeof *net);
    net->seed = seed;
    net->count = count;
    net->delay_min_ms = net->delay_max_ms = 1;
    net->append_bytes_max = 4096;
    sw_rng_seed(&net->rng, seed);
    for (uint64_t id = 1; id <= count; id++) {
        net->nodes[id].sync_due_ms = net->nodes[id].deadline_ms = UINT64_MAX;
        if ((voters >> id & 1) != 0)
            bootstrap(net, &net->nodes[id], voters);
        net_start(net, id);
    }
    return net;
}

void net_free(struct net *net)
{
    for (size_t i = 0; i < net->packet_count; i++)
        packet_free(&net->packets[i]);
    for (uint64_t id = 1; id <= net->count; id++) {
        raft_free(net->nodes[id].core);
        raft_tail_deinit(&net->nodes[id].disk);
        raft_blob_unref(net->nodes[id].base_config);
    }
    free(net->packets);
    free(net);
}

void net_cut(struct net *net, uint64_t from, uint64_t to)
{
    net->cut[from][to] = true;
}

void net_isolate(struct net *net, uint64_t id)
{
    for (uint64_t other = 1; other <= net->count; other++)
        net->cut[id][other] = net->cut[other][id] = true;
}

void net_heal(struct net *net)
{
    memset(net->cut, 0, sizeof net->cut);
}

uint64_t net_leader(const struct net *net)
{
    uint64_t best = 0;
    for (uint64_t id = 1; id <= net->count; id++) {
        const struct raft *core = net->nodes[id].core;
        if (core != NULL && raft_role(core) == RAFT_LEADER && (best == 0 || raft_term(core) > raft_term(net->nodes[best].core)))
            best = id;
    }
    return best;
}

bool net_has_leader(struct net *net)
{
    uint64_t id = net_leader(net);
    return id != 0 && raft_commit(net->nodes[id].core) >= raft_term_start(net->nodes[id].core);
}

bool net_settled(struct net *net)
{
    if (!net_has_leader(net))
        return false;
    const struct raft *leader = net->nodes[net_leader(net)].core;
    if (raft_commit(leader) != raft_tail_last(raft_tail(leader)) || raft_config(leader)->joint)
        return false;
    for (uint64_t id = 1; id <= net->count; id++) {
        const struct net_node *node = &net->nodes[id];
        if (node->core != NULL && raft_config_find(raft_config(leader), id) != NULL && node->ready != raft_commit(leader))
            return false;
    }
    return true;
}

void net_dump(const struct net *net)
{
    fprintf(stderr, "seed %" PRIu64 " at %" PRIu64 " ms does not settle\n", net->seed, net->now_ms);
    for (uint64_t id = 1; id <= net->count; id++) {
        const struct raft *core = net->nodes[id].core;
        if (core == NULL)
            continue;
        fprintf(stderr,
                "  node %" PRIu64 ": %s term=%" PRIu64 " leader=%" PRIu64 " last=%" PRIu64 " commit=%" PRIu64 " base=%" PRIu64,
                id, raft_role_name(raft_role(core)), raft_term(core), raft_leader(core), raft_tail_last(raft_tail(core)),
                raft_commit(core), raft_tail(core)->base_index);
        const struct raft_config *config = raft_config(core);
        for (size_t i = 0; i < config->count; i++)
            fprintf(stderr, " %" PRIu64 "%s%s", config->members[i].id, config->members[i].voter ? "v" : "",
                    config->members[i].outgoing ? "o" : "");
        struct raft_progress progress;
        if (raft_progress(net->nodes[net_leader(net) != 0 ? net_leader(net) : id].core, id, &progress))
            fprintf(stderr, " match=%" PRIu64 " next=%" PRIu64 "%s", progress.match, progress.next,
                    progress.snapshot ? " snapshot" : "");
        fprintf(stderr, "%s\n", config->joint ? " joint" : "");
    }
}
