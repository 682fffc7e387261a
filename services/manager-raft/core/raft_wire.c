#include "raft_wire.h"

#include "common/base/buf.h"

#include <stdlib.h>

_Static_assert((int)RAFT_SNAPSHOT_REPLY == (int)SWARM__RAFT_KIND__RAFT_SNAPSHOT_REPLY, "kinds have the numbers of the protocol");
_Static_assert((int)RAFT_APPEND == (int)SWARM__RAFT_KIND__RAFT_APPEND, "kinds have the numbers of the protocol");
_Static_assert((int)RAFT_ENTRY_CONFIG == (int)SWARM__ENTRY_KIND__ENTRY_CONFIG, "kinds have the numbers of the protocol");

int raft_wire_entry_decode(const Swarm__RaftEntry *message, struct raft_entry *ret_entry, struct sw_err *err)
{
    unsigned long long index = message->index;
    size_t len = message->has_data ? message->data.len : 0;
    struct raft_config config;
    if (message->index == 0 || message->term == 0)
        return sw_fail(err, SW_CORRUPT, "raft entry %llu of term %llu", index, (unsigned long long)message->term);
    if ((int)message->kind < RAFT_ENTRY_NOOP || (int)message->kind > RAFT_ENTRY_CONFIG)
        return sw_fail(err, SW_CORRUPT, "raft entry %llu: kind %d is unknown", index, (int)message->kind);
    if (len > RAFT_ENTRY_MAX)
        return sw_fail(err, SW_LIMIT, "raft entry %llu of %zu bytes, bound is %u", index, len, RAFT_ENTRY_MAX);
    if ((int)message->kind == RAFT_ENTRY_CONFIG && raft_config_decode(message->data.data, len, &config, err) != 0)
        return sw_wrap(err, "raft entry %llu", index);
    *ret_entry = (struct raft_entry) { message->index, message->term, (enum raft_entry_kind)message->kind, NULL };
    if (len != 0)
        ret_entry->blob = raft_blob_new(message->data.data, len);
    return 0;
}

void raft_wire_entry_encode(const struct raft_entry *entry, Swarm__RaftEntry *ret_message)
{
    swarm__raft_entry__init(ret_message);
    ret_message->index = entry->index;
    ret_message->term = entry->term;
    ret_message->kind = (Swarm__EntryKind)entry->kind;
    ret_message->has_data = entry->blob != NULL;
    if (entry->blob != NULL)
        ret_message->data = (ProtobufCBinaryData) { entry->blob->len, entry->blob->data };
}

static int check_head(const Swarm__RaftMessage *m, struct sw_err *err)
{
    if ((int)m->kind < RAFT_PRE_VOTE || (int)m->kind > RAFT_SNAPSHOT_REPLY)
        return sw_fail(err, SW_CORRUPT, "raft message: kind %d is unknown", (int)m->kind);
    if (m->from == 0 || m->to == 0 || m->from == m->to || m->term == 0)
        return sw_fail(err, SW_CORRUPT, "raft message: from %llx to %llx in term %llu", (unsigned long long)m->from,
                       (unsigned long long)m->to, (unsigned long long)m->term);
    if (m->log_index > UINT64_MAX / 2 || m->commit > UINT64_MAX / 2 || m->term > UINT64_MAX / 2 || m->log_term > m->term)
        return sw_fail(err, SW_CORRUPT, "raft message: log position out of range");
    bool asks = (int)m->kind == RAFT_APPEND || (int)m->kind == RAFT_VOTE || (int)m->kind == RAFT_PRE_VOTE;
    if (asks && (m->log_index == 0) != (m->log_term == 0))
        return sw_fail(err, SW_CORRUPT, "raft message: index %llu with term %llu", (unsigned long long)m->log_index,
                       (unsigned long long)m->log_term);
    if (m->n_entries != 0 && (int)m->kind != RAFT_APPEND)
        return sw_fail(err, SW_CORRUPT, "raft message: kind %d with entries", (int)m->kind);
    if (m->n_entries > RAFT_WIRE_ENTRIES_MAX)
        return sw_fail(err, SW_LIMIT, "raft message of %zu entries, bound is %d", m->n_entries, RAFT_WIRE_ENTRIES_MAX);
    return 0;
}

static int decode_entries(const Swarm__RaftMessage *m, struct raft_wire_in *in, struct sw_err *err)
{
    uint64_t term = m->log_term;
    in->entries = sw_realloc_array(NULL, m->n_entries, sizeof *in->entries);
    in->msg.entries = in->entries;
    for (size_t i = 0; i < m->n_entries; i++) {
        struct raft_entry *entry = &in->entries[i];
        int rc = raft_wire_entry_decode(m->entries[i], entry, err);
        if (rc != 0)
            return rc;
        in->msg.entry_count = i + 1;
        if (entry->index != m->log_index + 1 + i || entry->term < term || entry->term > m->term)
            return sw_fail(err, SW_CORRUPT, "raft message: entry %llu of term %llu is out of order",
                           (unsigned long long)entry->index, (unsigned long long)entry->term);
        term = entry->term;
    }
    return 0;
}

int raft_wire_decode(const Swarm__RaftMessage *m, struct raft_wire_in *ret_in, struct sw_err *err)
{
    int rc = check_head(m, err);
    if (rc != 0)
        return rc;
    struct raft_wire_in in = { .msg = { .kind = (enum raft_kind)m->kind,
                                        .from = m->from,
                                        .to = m->to,
                                        .term = m->term,
                                        .log_index = m->log_index,
                                        .log_term = m->log_term,
                                        .commit = m->commit,
                                        .hint_index = m->hint_index,
                                        .hint_term = m->hint_term,
                                        .context = m->context,
                                        .reject = m->reject,
                                        .transfer = m->transfer } };
    if (m->n_entries != 0)
        rc = decode_entries(m, &in, err);
    if (rc == 0)
        *ret_in = in;
    else
        raft_wire_in_deinit(&in);
    return rc;
}

void raft_wire_in_deinit(struct raft_wire_in *in)
{
    for (size_t i = 0; i < in->msg.entry_count; i++)
        raft_blob_unref(in->entries[i].blob);
    free(in->entries);
    *in = (struct raft_wire_in) { 0 };
}

void raft_wire_encode(const struct raft_msg *msg, struct raft_wire_out *ret_out)
{
    *ret_out = (struct raft_wire_out) { 0 };
    Swarm__RaftMessage *m = &ret_out->message;
    swarm__raft_message__init(m);
    m->kind = (Swarm__RaftKind)msg->kind;
    m->from = msg->from;
    m->to = msg->to;
    m->term = msg->term;
    m->log_index = msg->log_index;
    m->log_term = msg->log_term;
    m->commit = msg->commit;
    m->hint_index = msg->hint_index;
    m->hint_term = msg->hint_term;
    m->context = msg->context;
    m->reject = msg->reject;
    m->transfer = msg->transfer;
    m->has_log_index = m->log_index != 0;
    m->has_log_term = m->log_term != 0;
    m->has_commit = m->commit != 0;
    m->has_hint_index = m->hint_index != 0;
    m->has_hint_term = m->hint_term != 0;
    m->has_context = m->context != 0;
    m->has_reject = m->reject;
    m->has_transfer = m->transfer;
    if (msg->entry_count == 0)
        return;
    ret_out->entries = sw_realloc_array(NULL, msg->entry_count, sizeof *ret_out->entries);
    ret_out->pointers = sw_realloc_array(NULL, msg->entry_count, sizeof *ret_out->pointers);
    for (size_t i = 0; i < msg->entry_count; i++) {
        raft_wire_entry_encode(&msg->entries[i], &ret_out->entries[i]);
        ret_out->pointers[i] = &ret_out->entries[i];
    }
    m->entries = ret_out->pointers;
    m->n_entries = msg->entry_count;
}

void raft_wire_out_deinit(struct raft_wire_out *out)
{
    free(out->entries);
    free(out->pointers);
    *out = (struct raft_wire_out) { 0 };
}
