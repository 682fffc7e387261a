/* bench-raft-core - entries a second that three cores in one thread commit, with no disk and no network.
 *
 * Each round proposes a batch, delivers every message until none is left, and reports all writes as synced after each step. With
 * "encoded" every message goes through protobuf both ways, as between processes. The log is compacted every 10,000 entries.
 */
#include "raft_wire.h"

#include "common/base/buf.h"
#include "common/base/pb.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NODES 3
#define COMPACT 10000

struct envelope {
    struct raft_msg msg;
    struct raft_entry *entries; /* own references */
    char *data;                 /* or encoded */
    size_t len;
};
struct bench {
    struct raft *cores[NODES + 1];
    uint64_t committed[NODES + 1];
    struct envelope *queue;
    size_t head, count, cap;
    bool encoded;
    uint64_t now_ms, messages;
};

static void push(struct bench *bench, const struct raft_msg *msg)
{
    if (bench->count == bench->cap) {
        bench->cap = bench->cap == 0 ? 1024 : bench->cap * 2;
        bench->queue = sw_realloc_array(bench->queue, bench->cap, sizeof *bench->queue);
    }
    struct envelope *envelope = &bench->queue[bench->count++];
    *envelope = (struct envelope) { .msg = *msg };
    bench->messages++;
    if (bench->encoded) {
        struct raft_wire_out out;
        struct sw_buf buf = { 0 };
        raft_wire_encode(msg, &out);
        sw_pb_pack(&out.message, &buf);
        raft_wire_out_deinit(&out);
        envelope->len = buf.len;
        envelope->data = sw_buf_take(&buf);
    } else if (msg->entry_count != 0) {
        envelope->entries = sw_realloc_array(NULL, msg->entry_count, sizeof *envelope->entries);
        memcpy(envelope->entries, msg->entries, msg->entry_count * sizeof *envelope->entries);
        for (size_t i = 0; i < msg->entry_count; i++)
            (void)raft_blob_ref(envelope->entries[i].blob);
        envelope->msg.entries = envelope->entries;
    }
}

static void step(struct bench *bench, uint64_t id, struct raft_event event)
{
    struct raft_update update;
    uint64_t seq = 0;
    event.now_ms = bench->now_ms;
    enum raft_result result = raft_step(bench->cores[id], &event, &update);
    assert(result == RAFT_OK);
    for (size_t i = 0; i < update.count; i++) {
        const struct raft_effect *effect = &update.effects[i];
        if (effect->type == RAFT_DO_SEND)
            push(bench, &effect->msg);
        else if (effect->type == RAFT_DO_PERSIST)
            seq = effect->seq;
        else if (effect->type == RAFT_DO_COMMIT)
            bench->committed[id] = effect->index;
    }
    if (seq != 0)
        step(bench, id, (struct raft_event) { .type = RAFT_EV_PERSISTED, .seq = seq });
}

static void deliver(struct bench *bench, struct envelope envelope)
{
    if (!bench->encoded) {
        step(bench, envelope.msg.to, (struct raft_event) { .type = RAFT_EV_MESSAGE, .msg = &envelope.msg });
        for (size_t i = 0; i < envelope.msg.entry_count; i++)
            raft_blob_unref(envelope.entries[i].blob);
        free(envelope.entries);
        return;
    }
    struct raft_wire_in in;
    SW_AUTO(sw_pb_free)
    Swarm__RaftMessage *message = sw_pb_unpack(&swarm__raft_message__descriptor, envelope.data, envelope.len, 16u << 20, NULL);
    int rc = raft_wire_decode(message, &in, NULL);
    assert(rc == 0);
    step(bench, in.msg.to, (struct raft_event) { .type = RAFT_EV_MESSAGE, .msg = &in.msg });
    raft_wire_in_deinit(&in);
    free(envelope.data);
}

static void drain(struct bench *bench)
{
    for (bench->head = 0; bench->head < bench->count; bench->head++)
        deliver(bench, bench->queue[bench->head]);
    bench->count = 0;
}

static void start(struct bench *bench)
{
    Swarm__RaftConfig config = SWARM__RAFT_CONFIG__INIT;
    Swarm__RaftMember members[NODES], *pointers[NODES];
    for (size_t i = 0; i < NODES; i++) {
        swarm__raft_member__init(&members[i]);
        members[i].raft_id = i + 1;
        members[i].node_id = members[i].address = (char *)(uintptr_t) "n";
        members[i].voter = members[i].has_voter = true;
        pointers[i] = &members[i];
    }
    config.members = pointers;
    config.n_members = NODES;
    SW_AUTO_BUF buf = { 0 };
    sw_pb_pack(&config, &buf);
    struct raft_entry entry = { 1, 1, RAFT_ENTRY_CONFIG, raft_blob_new(buf.data, buf.len) };
    for (uint64_t id = 1; id <= NODES; id++) {
        struct raft_start event = { .seed = id, .hard = { .term = 1, .commit = 1 }, .entries = &entry, .count = 1 };
        bench->cores[id] = raft_new(&(struct raft_options) { .id = id, .heartbeat_ms = 50, .election_ms = 300 });
        step(bench, id, (struct raft_event) { .type = RAFT_EV_START, .start = &event });
    }
    raft_blob_unref(entry.blob);
    bench->now_ms = 10000;
    step(bench, 1, (struct raft_event) { .type = RAFT_EV_TICK });
    drain(bench);
    assert(raft_role(bench->cores[1]) == RAFT_LEADER);
}

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run(size_t batch, size_t bytes, bool encoded, double limit_s)
{
    struct bench bench = { .encoded = encoded };
    struct raft_entry *entries = sw_alloc0(batch * sizeof *entries);
    void *payload = sw_alloc0(bytes);
    start(&bench);
    uint64_t first = bench.committed[1], compacted = 0;
    bench.messages = 0;
    double begin = seconds(), took = 0;
    while (took < limit_s) {
        for (int round = 0; round < 100; round++) {
            for (size_t i = 0; i < batch; i++)
                entries[i] = (struct raft_entry) { .kind = RAFT_ENTRY_STORE, .blob = raft_blob_new(payload, bytes) };
            step(&bench, 1, (struct raft_event) { .type = RAFT_EV_PROPOSE, .entries = entries, .count = batch });
            for (size_t i = 0; i < batch; i++)
                raft_blob_unref(entries[i].blob);
            drain(&bench);
            for (uint64_t id = 1; id <= NODES && bench.committed[1] - compacted > COMPACT; id++)
                step(&bench, id, (struct raft_event) { .type = RAFT_EV_COMPACT, .index = bench.committed[id] });
            if (bench.committed[1] - compacted > COMPACT)
                compacted = bench.committed[1];
        }
        took = seconds() - begin;
    }
    uint64_t done = bench.committed[1] - first;
    for (uint64_t id = 1; id <= NODES; id++)
        assert(bench.committed[id] == bench.committed[1]);
    printf("%-8s %6zu %6zu %12.0f %10.2f\n", encoded ? "encoded" : "direct", batch, bytes, (double)done / took,
           (double)bench.messages / (double)done);
    for (uint64_t id = 1; id <= NODES; id++)
        raft_free(bench.cores[id]);
    free(bench.queue);
    free(entries);
    free(payload);
}

int main(int argc, char **argv)
{
    double limit_s = argc > 1 ? strtod(argv[1], NULL) : 1.0;
    static const size_t batches[] = { 1, 16, 64, 256, 1024 };
    printf("three members in one thread, no disk, no network, every entry committed and known to be on all three\n");
    printf("%-8s %6s %6s %12s %10s\n", "messages", "batch", "bytes", "entries/s", "msgs/entry");
    for (int encoded = 0; encoded < 2; encoded++) {
        for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++)
            run(batches[i], 64, encoded != 0, limit_s);
    }
    return 0;
}
