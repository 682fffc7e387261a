#include "raft_tail.h"

#include "common/base/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct raft_blob *raft_blob_new(const void *data, size_t len)
{
    assert(len <= RAFT_ENTRY_MAX);
    struct raft_blob *blob = malloc(sizeof *blob + len);
    if (blob == NULL)
        abort();
    blob->refs = 1;
    blob->len = (uint32_t)len;
    if (len != 0)
        memcpy(blob->data, data, len);
    return blob;
}

struct raft_blob *raft_blob_ref(struct raft_blob *blob)
{
    if (blob != NULL)
        blob->refs++;
    return blob;
}

void raft_blob_unref(struct raft_blob *blob)
{
    if (blob == NULL)
        return;
    assert(blob->refs > 0);
    if (--blob->refs == 0)
        free(blob);
}

size_t raft_entry_size(const struct raft_entry *entry)
{
    return sizeof *entry + (entry->blob != NULL ? entry->blob->len : 0);
}

void raft_tail_init(struct raft_tail *tail, uint64_t base_index, uint64_t base_term)
{
    *tail = (struct raft_tail) { .base_index = base_index, .base_term = base_term };
}

void raft_tail_deinit(struct raft_tail *tail)
{
    for (size_t i = 0; i < tail->count; i++)
        raft_blob_unref(tail->entries[tail->head + i].blob);
    free(tail->entries);
    raft_tail_init(tail, 0, 0);
}

uint64_t raft_tail_last(const struct raft_tail *tail)
{
    return tail->base_index + tail->count;
}

const struct raft_entry *raft_tail_at(const struct raft_tail *tail, uint64_t index)
{
    if (index <= tail->base_index || index > raft_tail_last(tail))
        return NULL;
    return &tail->entries[tail->head + (size_t)(index - tail->base_index - 1)];
}

bool raft_tail_term(const struct raft_tail *tail, uint64_t index, uint64_t *ret_term)
{
    if (index == tail->base_index) {
        *ret_term = tail->base_term;
        return true;
    }
    const struct raft_entry *entry = raft_tail_at(tail, index);
    if (entry == NULL)
        return false;
    *ret_term = entry->term;
    return true;
}

uint64_t raft_tail_last_term(const struct raft_tail *tail)
{
    return tail->count == 0 ? tail->base_term : tail->entries[tail->head + tail->count - 1].term;
}

/* Room for one more: first by moving down over what was compacted away, so that the array does not creep upwards. */
static void make_room(struct raft_tail *tail)
{
    if (tail->head + tail->count < tail->cap)
        return;
    if (tail->head > tail->cap / 2) {
        memmove(tail->entries, tail->entries + tail->head, tail->count * sizeof *tail->entries);
        tail->head = 0;
        return;
    }
    tail->cap = tail->cap == 0 ? 64 : tail->cap * 2;
    tail->entries = sw_realloc_array(tail->entries, tail->cap, sizeof *tail->entries);
}

void raft_tail_append(struct raft_tail *tail, const struct raft_entry *entry)
{
    assert(entry->index == raft_tail_last(tail) + 1);
    assert(entry->term >= raft_tail_last_term(tail));
    make_room(tail);
    tail->entries[tail->head + tail->count++] = *entry;
    tail->bytes += raft_entry_size(entry);
}

void raft_tail_truncate(struct raft_tail *tail, uint64_t from)
{
    assert(from > tail->base_index);
    while (raft_tail_last(tail) >= from) {
        struct raft_entry *entry = &tail->entries[tail->head + --tail->count];
        tail->bytes -= raft_entry_size(entry);
        raft_blob_unref(entry->blob);
    }
}

void raft_tail_compact(struct raft_tail *tail, uint64_t index)
{
    assert(index >= tail->base_index && index <= raft_tail_last(tail));
    while (tail->base_index < index) {
        struct raft_entry *entry = &tail->entries[tail->head];
        tail->bytes -= raft_entry_size(entry);
        tail->base_index = entry->index;
        tail->base_term = entry->term;
        raft_blob_unref(entry->blob);
        tail->head++;
        tail->count--;
    }
    if (tail->count == 0)
        tail->head = 0;
}

size_t raft_tail_slice(const struct raft_tail *tail, uint64_t from, size_t bytes_max, const struct raft_entry **ret_entries,
                       size_t *ret_bytes)
{
    const struct raft_entry *first = raft_tail_at(tail, from);
    *ret_entries = first;
    *ret_bytes = 0;
    if (first == NULL)
        return 0;
    size_t left = (size_t)(raft_tail_last(tail) - from + 1), count = 0;
    while (count < left) {
        size_t size = raft_entry_size(&first[count]);
        if (count != 0 && *ret_bytes + size > bytes_max)
            break;
        *ret_bytes += size;
        count++;
    }
    return count;
}

uint64_t raft_tail_conflict(const struct raft_tail *tail, uint64_t index, uint64_t term)
{
    uint64_t last = raft_tail_last(tail), found = 0;
    if (index > last)
        index = last;
    while (index > tail->base_index && raft_tail_term(tail, index, &found) && found > term)
        index--;
    return index > tail->base_index ? index : tail->base_index;
}
