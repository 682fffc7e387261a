/* raft_tail - the log's entries after the compaction base, in memory; payloads are shared, never copied.
 *
 * Place    raft core; the driver reads it to write the log to disk and to apply what is committed.
 * Memory   an entry holds one reference to its payload. Entry pointers are valid until the next change of the tail;
 *          a payload lives as long as somebody holds a reference, so a message in flight may keep one.
 * Threads  one: the counts are plain integers.
 * Limits   RAFT_ENTRY_MAX bytes a payload. Out of memory aborts.
 */
#ifndef RAFT_TAIL_H
#define RAFT_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAFT_ENTRY_MAX (2u << 20)

struct raft_blob {
    uint32_t refs;
    uint32_t len;
    uint8_t data[];
};
struct raft_blob *raft_blob_new(const void *data, size_t len); /* one reference, the caller's */
struct raft_blob *raft_blob_ref(struct raft_blob *blob);       /* NULL is fine; returns blob */
void raft_blob_unref(struct raft_blob *blob);                  /* NULL is fine */

/* The numbers are those of Swarm__EntryKind. */
enum raft_entry_kind { RAFT_ENTRY_NOOP = 0, RAFT_ENTRY_STORE = 1, RAFT_ENTRY_CONFIG = 2 };
struct raft_entry {
    uint64_t index, term;
    enum raft_entry_kind kind;
    struct raft_blob *blob; /* NULL = empty */
};
size_t raft_entry_size(const struct raft_entry *entry); /* what it counts for in windows and limits */

struct raft_tail {
    uint64_t base_index, base_term; /* the last entry that is no longer here; 0, 0 for a whole log */
    struct raft_entry *entries;     /* from base_index + 1 */
    size_t head, count, cap;        /* entries[head .. head + count) are in use */
    size_t bytes;                   /* payloads held */
};

void raft_tail_init(struct raft_tail *tail, uint64_t base_index, uint64_t base_term);
void raft_tail_deinit(struct raft_tail *tail);
uint64_t raft_tail_last(const struct raft_tail *tail);
/* True if the term of `index` is known: base_index <= index <= last. */
bool raft_tail_term(const struct raft_tail *tail, uint64_t index, uint64_t *ret_term);
uint64_t raft_tail_last_term(const struct raft_tail *tail);
const struct raft_entry *raft_tail_at(const struct raft_tail *tail, uint64_t index); /* NULL if not here */
/* entry->index must be last + 1; takes over the caller's reference to the payload. */
void raft_tail_append(struct raft_tail *tail, const struct raft_entry *entry);
/* Drop entries from `from` on; from > base_index. */
void raft_tail_truncate(struct raft_tail *tail, uint64_t from);
/* Drop entries up to and with `index`, which becomes the base; base_index <= index <= last. */
void raft_tail_compact(struct raft_tail *tail, uint64_t index);
/* Entries from `from` on, at least one if there is any, then as long as they stay within bytes_max. Returns their number. */
size_t raft_tail_slice(const struct raft_tail *tail, uint64_t from, size_t bytes_max, const struct raft_entry **ret_entries,
                       size_t *ret_bytes);
/* The last index <= `index` whose term is <= `term`; base_index if there is none (conflict hints). */
uint64_t raft_tail_conflict(const struct raft_tail *tail, uint64_t index, uint64_t term);

#endif
