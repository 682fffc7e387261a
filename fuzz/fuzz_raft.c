/* Raft messages as they come from another manager: decoded, checked, and stepped through a follower. The input is a sequence of
 * messages, each behind its length in two bytes. */
#include "common/base/buf.h"
#include "common/base/pb.h"
#include "services/manager-raft/core/raft_wire.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct raft *follower(void)
{
    Swarm__RaftConfig config = SWARM__RAFT_CONFIG__INIT;
    Swarm__RaftMember members[3], *pointers[3];
    for (size_t i = 0; i < 3; i++) {
        swarm__raft_member__init(&members[i]);
        members[i].raft_id = i + 1;
        members[i].node_id = members[i].address = (char *)(uintptr_t) "n";
        members[i].voter = members[i].has_voter = 1;
        pointers[i] = &members[i];
    }
    config.members = pointers;
    config.n_members = 3;
    SW_AUTO_BUF buf = { 0 };
    sw_pb_pack(&config, &buf);
    struct raft_entry entries[] = { { 1, 1, RAFT_ENTRY_CONFIG, raft_blob_new(buf.data, buf.len) },
                                    { 2, 1, RAFT_ENTRY_STORE, NULL },
                                    { 3, 2, RAFT_ENTRY_STORE, NULL } };
    struct raft_start start = { .seed = 1, .hard = { .term = 2, .commit = 2 }, .entries = entries, .count = 3 };
    struct raft *raft = raft_new(&(struct raft_options) { .id = 1, .heartbeat_ms = 50, .election_ms = 300 });
    struct raft_update update;
    (void)raft_step(raft, &(struct raft_event) { .type = RAFT_EV_START, .start = &start }, &update);
    raft_blob_unref(entries[0].blob);
    return raft;
}

static void receive(struct raft *raft, const uint8_t *data, size_t size)
{
    struct raft_wire_in in;
    struct sw_err err;
    struct raft_update update;
    SW_AUTO(sw_pb_free)
    Swarm__RaftMessage *message = sw_pb_unpack(&swarm__raft_message__descriptor, data, size, 1u << 20, &err);
    if (message == NULL || message->to != 1 || raft_wire_decode(message, &in, &err) != 0)
        return;
    uint64_t commit = raft_commit(raft);
    (void)raft_step(raft, &(struct raft_event) { .type = RAFT_EV_MESSAGE, .msg = &in.msg }, &update);
    raft_wire_in_deinit(&in);
    assert(raft_commit(raft) >= commit);
    for (size_t i = 0; i < update.count; i++) {
        if (update.effects[i].type == RAFT_DO_PERSIST) {
            uint64_t seq = update.effects[i].seq;
            (void)raft_step(raft, &(struct raft_event) { .type = RAFT_EV_PERSISTED, .seq = seq }, &update);
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct raft *raft = follower();
    while (size > 2) {
        size_t len = (size_t)data[0] << 8 | data[1];
        data += 2;
        size -= 2;
        len = len < size ? len : size;
        receive(raft, data, len);
        data += len;
        size -= len;
    }
    raft_free(raft);
    return 0;
}
