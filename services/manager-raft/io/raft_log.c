#include "services/manager-raft/io/raft_log.h"

#include "services/manager-raft/core/raft_wire.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SUM_SIZE crypto_shorthash_BYTES
#define RECORD_MAX (RAFT_ENTRY_MAX + 64)

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "MDB_INTEGERKEY keys are log indexes");

struct raft_log {
    struct store *store;
    MDB_dbi entries, meta;
};
SW_AUTO_DEFINE(MDB_txn, mdb_txn_abort);
SW_AUTO_DEFINE(MDB_cursor, mdb_cursor_close);

/* In `meta`, numbers as this machine has them: the environment never leaves it except as a copy for the same kind of machine. */
struct base_record {
    uint64_t index, term;
};

int raft_log_open(struct store *store, struct raft_log **ret_log, struct sw_err *err)
{
    SW_AUTO(mdb_txn_abort) MDB_txn *txn = NULL;
    struct raft_log log = { .store = store };
    int rc = mdb_txn_begin(store_env(store), NULL, 0, &txn);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "raft_log", MDB_CREATE | MDB_INTEGERKEY, &log.entries);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "raft_meta", MDB_CREATE, &log.meta);
    if (rc == 0)
        rc = mdb_txn_commit(SW_TAKE(txn));
    if (rc != 0)
        return sw_fail(err, SW_IO, "open raft log: %s", mdb_strerror(rc));
    *ret_log = sw_alloc0(sizeof log);
    **ret_log = log;
    return 0;
}

void raft_log_close(struct raft_log *log)
{
    free(log);
}

/* A sum against bit rot, not against people: the key is fixed. The index is in it, so that a record can't stand in for another.
 */
static void record_sum(uint64_t index, const void *data, size_t len, uint8_t ret_sum[SUM_SIZE])
{
    uint8_t key[crypto_shorthash_KEYBYTES] = "raft-log-record";
    for (size_t i = 0; i < sizeof index; i++)
        key[8 + i] ^= (uint8_t)(index >> (8 * i));
    (void)crypto_shorthash(ret_sum, data, len, key);
}

static MDB_val meta_key(const char *name)
{
    return (MDB_val) { strlen(name), (void *)(uintptr_t)name };
}

static int meta_put(struct raft_log *log, MDB_txn *txn, const char *name, const void *data, size_t len)
{
    MDB_val key = meta_key(name), value = { len, (void *)(uintptr_t)data };
    return mdb_put(txn, log->meta, &key, &value, 0);
}

/* Absent = left alone. */
static int meta_get(struct raft_log *log, MDB_txn *txn, const char *name, void *ret_data, size_t len)
{
    MDB_val key = meta_key(name), value;
    int rc = mdb_get(txn, log->meta, &key, &value);
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc == 0 && value.mv_size != len)
        rc = MDB_CORRUPTED;
    if (rc == 0)
        memcpy(ret_data, value.mv_data, len);
    return rc;
}

/* ---- reading ---- */

static int load_meta(struct raft_log *log, MDB_txn *txn, struct raft_log_state *state, struct sw_err *err)
{
    struct base_record base = { 0 };
    MDB_val key = meta_key("config"), value;
    struct raft_config config;
    int rc = meta_get(log, txn, "id", &state->id, sizeof state->id);
    if (rc == 0)
        rc = meta_get(log, txn, "hard", &state->hard, sizeof state->hard);
    if (rc == 0)
        rc = meta_get(log, txn, "base", &base, sizeof base);
    if (rc != 0)
        return sw_fail(err, SW_CORRUPT, "read raft state: %s", mdb_strerror(rc));
    state->base_index = base.index;
    state->base_term = base.term;
    rc = mdb_get(txn, log->meta, &key, &value);
    if (rc == MDB_NOTFOUND && base.index == 0)
        return 0;
    if (rc != 0 || raft_config_decode(value.mv_data, value.mv_size, &config, err) != 0)
        return sw_fail(err, SW_CORRUPT, "read raft state: configuration at index %" PRIu64 " is missing or damaged", base.index);
    state->base_config = raft_blob_new(value.mv_data, value.mv_size);
    return 0;
}

static int load_entry(MDB_val key, MDB_val value, struct raft_log_state *state, struct sw_err *err)
{
    uint64_t want = state->base_index + state->count + 1, index = 0;
    uint8_t sum[SUM_SIZE];
    if (key.mv_size == sizeof index)
        memcpy(&index, key.mv_data, sizeof index);
    if (index != want || value.mv_size < SUM_SIZE)
        return sw_fail(err, SW_CORRUPT, "raft log: entry %" PRIu64 " where %" PRIu64 " should be", index, want);
    const uint8_t *data = (const uint8_t *)value.mv_data + SUM_SIZE;
    record_sum(index, data, value.mv_size - SUM_SIZE, sum);
    if (memcmp(sum, value.mv_data, SUM_SIZE) != 0)
        return sw_fail(err, SW_CORRUPT, "raft log: entry %" PRIu64 " is damaged (check sum)", index);
    SW_AUTO(sw_pb_free)
    Swarm__RaftEntry *message = sw_pb_unpack(&swarm__raft_entry__descriptor, data, value.mv_size - SUM_SIZE, RECORD_MAX, err);
    if (message == NULL || raft_wire_entry_decode(message, &state->entries[state->count], err) != 0)
        return sw_wrap(err, "raft log: entry %" PRIu64, index);
    uint64_t before = state->count == 0 ? state->base_term : state->entries[state->count - 1].term;
    const struct raft_entry *entry = &state->entries[state->count++];
    if (entry->index != index || entry->term < before || entry->term > state->hard.term)
        return sw_fail(err, SW_CORRUPT, "raft log: entry %" PRIu64 " of term %" PRIu64 " is out of order", index, entry->term);
    return 0;
}

static int load_entries(struct raft_log *log, MDB_txn *txn, struct raft_log_state *state, struct sw_err *err)
{
    SW_AUTO(mdb_cursor_close) MDB_cursor *cursor = NULL;
    MDB_stat stat;
    MDB_val key, value;
    int rc = mdb_stat(txn, log->entries, &stat);
    if (rc == 0)
        rc = mdb_cursor_open(txn, log->entries, &cursor);
    if (rc != 0)
        return sw_fail(err, SW_IO, "read raft log: %s", mdb_strerror(rc));
    state->entries = sw_alloc0(stat.ms_entries * sizeof *state->entries);
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        int failed = load_entry(key, value, state, err);
        if (failed != 0)
            return failed;
    }
    return rc == MDB_NOTFOUND ? 0 : sw_fail(err, SW_IO, "read raft log: %s", mdb_strerror(rc));
}

int raft_log_load(struct raft_log *log, struct raft_log_state *ret_state, struct sw_err *err)
{
    SW_AUTO(mdb_txn_abort) MDB_txn *txn = NULL;
    struct raft_log_state state = { 0 };
    int rc = mdb_txn_begin(store_env(log->store), NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return sw_fail(err, SW_IO, "read raft log: %s", mdb_strerror(rc));
    rc = load_meta(log, txn, &state, err);
    if (rc == 0)
        rc = load_entries(log, txn, &state, err);
    if (rc == 0)
        *ret_state = state;
    else
        raft_log_state_deinit(&state);
    return rc;
}

void raft_log_state_deinit(struct raft_log_state *state)
{
    for (size_t i = 0; i < state->count; i++)
        raft_blob_unref(state->entries[i].blob);
    raft_blob_unref(state->base_config);
    free(state->entries);
    *state = (struct raft_log_state) { 0 };
}

/* ---- writing ---- */

static int put_entry(struct raft_log *log, MDB_txn *txn, const struct raft_entry *entry)
{
    Swarm__RaftEntry message;
    raft_wire_entry_encode(entry, &message);
    size_t len = swarm__raft_entry__get_packed_size(&message);
    uint64_t index = entry->index;
    MDB_val key = { sizeof index, &index }, value = { SUM_SIZE + len, NULL };
    int rc = mdb_put(txn, log->entries, &key, &value, MDB_RESERVE | MDB_APPEND);
    if (rc != 0)
        return rc;
    uint8_t *data = (uint8_t *)value.mv_data + SUM_SIZE;
    (void)swarm__raft_entry__pack(&message, data);
    record_sum(index, data, len, value.mv_data);
    return 0;
}

/* From `from` on nothing may be left: those entries were overruled by a new leader. */
static int cut_from(struct raft_log *log, MDB_txn *txn, uint64_t from)
{
    SW_AUTO(mdb_cursor_close) MDB_cursor *cursor = NULL;
    MDB_val key = { sizeof from, &from }, value;
    int rc = mdb_cursor_open(txn, log->entries, &cursor);
    if (rc == 0)
        rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0) {
        rc = mdb_cursor_del(cursor, 0);
        if (rc == 0)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int raft_log_write(struct raft_log *log, MDB_txn *txn, const struct raft_tail *tail, uint64_t from, struct raft_hard hard,
                   struct sw_err *err)
{
    uint64_t last = raft_tail_last(tail);
    int rc = from != 0 ? cut_from(log, txn, from) : 0;
    for (uint64_t i = from; rc == 0 && from != 0 && i <= last; i++)
        rc = put_entry(log, txn, raft_tail_at(tail, i));
    if (rc == 0)
        rc = meta_put(log, txn, "hard", &hard, sizeof hard);
    return rc == 0 ? 0 : sw_fail(err, SW_IO, "write raft log from %" PRIu64 " to %" PRIu64 ": %s", from, last, mdb_strerror(rc));
}

int raft_log_trim(struct raft_log *log, MDB_txn *txn, const struct raft_tail *tail, uint64_t index,
                  const struct raft_blob *config, struct sw_err *err)
{
    struct base_record base = { .index = index };
    bool known = raft_tail_term(tail, index, &base.term);
    int rc = known && config != NULL ? 0 : MDB_NOTFOUND;
    for (uint64_t i = tail->base_index + 1; rc == 0 && i <= index; i++) {
        MDB_val key = { sizeof i, &i };
        rc = mdb_del(txn, log->entries, &key, NULL);
    }
    if (rc == 0)
        rc = meta_put(log, txn, "base", &base, sizeof base);
    if (rc == 0)
        rc = meta_put(log, txn, "config", config->data, config->len);
    return rc == 0 ? 0 : sw_fail(err, SW_IO, "trim raft log to %" PRIu64 ": %s", index, mdb_strerror(rc));
}

int raft_log_create(struct raft_log *log, uint64_t id, struct raft_blob *config, struct sw_err *err)
{
    SW_AUTO(mdb_txn_abort) MDB_txn *txn = NULL;
    struct raft_tail tail;
    raft_tail_init(&tail, 0, 0);
    raft_tail_append(&tail, &(struct raft_entry) { 1, 1, RAFT_ENTRY_CONFIG, raft_blob_ref(config) });
    int rc = mdb_txn_begin(store_env(log->store), NULL, 0, &txn);
    int failed = rc == 0 ? raft_log_write(log, txn, &tail, 1, (struct raft_hard) { .term = 1, .commit = 1 }, err) : 0;
    if (rc == 0 && failed == 0)
        rc = meta_put(log, txn, "id", &id, sizeof id);
    if (rc == 0 && failed == 0)
        rc = mdb_txn_commit(SW_TAKE(txn));
    raft_tail_deinit(&tail);
    return rc == 0 ? failed : sw_fail(err, SW_IO, "create raft log: %s", mdb_strerror(rc));
}
