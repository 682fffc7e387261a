/* raft_wire - messages between members and entries, to and from protobuf (proto/raft.proto), checked on the way in.
 *
 * Place    beside the core, as pure as it: what passed raft_wire_decode() never trips an assertion in raft_step() as long as the
 *          sender is a correct member.
 * Memory   decode makes payloads of its own; raft_wire_in_deinit() drops its references. encode points into the message's
 *          payloads: pack before the core is stepped again, then raft_wire_out_deinit().
 * Limits   RAFT_WIRE_ENTRIES_MAX entries a message, RAFT_ENTRY_MAX bytes each.
 */
#ifndef RAFT_WIRE_H
#define RAFT_WIRE_H

#include "proto/raft.pb-c.h"
#include "raft.h"

#define RAFT_WIRE_ENTRIES_MAX 65536

struct raft_wire_in {
    struct raft_msg msg; /* msg.entries is this struct's */
    struct raft_entry *entries;
};
int raft_wire_decode(const Swarm__RaftMessage *message, struct raft_wire_in *ret_in, struct sw_err *err);
void raft_wire_in_deinit(struct raft_wire_in *in);

struct raft_wire_out {
    Swarm__RaftMessage message;
    Swarm__RaftEntry *entries;
    Swarm__RaftEntry **pointers;
};
void raft_wire_encode(const struct raft_msg *msg, struct raft_wire_out *ret_out);
void raft_wire_out_deinit(struct raft_wire_out *out);

/* One entry as it lies on disk. */
int raft_wire_entry_decode(const Swarm__RaftEntry *message, struct raft_entry *ret_entry, struct sw_err *err);
void raft_wire_entry_encode(const struct raft_entry *entry, Swarm__RaftEntry *ret_message);

#endif
