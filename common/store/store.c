#include "common/store/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FORMAT_VERSION 2u
#define MAP_SIZE_DEFAULT ((size_t)16 << 30)
#define MAP_SIZE_MAX ((size_t)1 << 40)
#define DATABASES_MAX 32 /* ours and the Raft log's */
#define BATCH_MAX (16u << 20)
#define CHUNK_BYTES (256u << 10)
#define SUM_BYTES 8 /* in front of each record */

struct store {
    MDB_env *env;
    MDB_dbi records[STORE_TABLES];
    MDB_dbi meta;
    size_t map_size;
    uint64_t applied;
    struct mirror *mirror;
};
SW_AUTO_DEFINE(struct store, store_close);
SW_AUTO_DEFINE(MDB_txn, mdb_txn_abort);

static char key_applied[] = "applied";
static char key_format[] = "format";

/* ---- open and close ---- */

static int make_dirs(const char *dir, struct sw_err *err)
{
    SW_AUTO(sw_free) char *path = sw_strdup(dir);
    for (char *p = path + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return sw_fail(err, SW_IO, "make directory '%s': %s", path, strerror(errno));
        *p = '/';
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return sw_fail(err, SW_IO, "make directory '%s': %s", path, strerror(errno));
    return 0;
}

/* The new files' names must be as durable as what is written into them. */
static int sync_dir(const char *dir, struct sw_err *err)
{
    SW_AUTO(sw_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return sw_fail(err, SW_IO, "sync directory '%s': %s", dir, strerror(errno));
    return 0;
}

/* A process that ended on a full map finds room after its restart. */
static int grow_if_half_full(struct store *store)
{
    MDB_envinfo info;
    MDB_stat stat;
    int rc = mdb_env_info(store->env, &info);
    if (rc == 0)
        rc = mdb_env_stat(store->env, &stat);
    if (rc != 0)
        return rc;
    size_t used = info.me_last_pgno * stat.ms_psize;
    store->map_size = info.me_mapsize;
    while (used > store->map_size / 2 && store->map_size <= MAP_SIZE_MAX / 2)
        store->map_size *= 2;
    return store->map_size != info.me_mapsize ? mdb_env_set_mapsize(store->env, store->map_size) : 0;
}

/* A file that was cut short would kill the reader (SIGBUS). What is missing reads as zeros instead, which LMDB or the check sums
 * find; pages that are free may lie beyond the end of a sound file. */
static int fill_up(struct store *store, int fd)
{
    MDB_envinfo info;
    MDB_stat stat;
    struct stat file;
    int rc = mdb_env_info(store->env, &info);
    if (rc == 0)
        rc = mdb_env_stat(store->env, &stat);
    if (rc != 0)
        return rc;
    off_t need = (off_t)((info.me_last_pgno + 1) * stat.ms_psize);
    if (fstat(fd, &file) != 0 || (file.st_size < need && ftruncate(fd, need) != 0))
        return errno;
    return 0;
}

static int open_env(struct store *store, const char *dir)
{
    int rc = mdb_env_create(&store->env);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(store->env, DATABASES_MAX);
    if (rc == 0)
        rc = mdb_env_set_mapsize(store->env, store->map_size);
    if (rc == 0)
        rc = mdb_env_open(store->env, dir, 0, 0600);
    int dead = 0;
    int fd = -1;
    if (rc == 0)
        rc = mdb_reader_check(store->env, &dead);
    if (rc == 0)
        rc = mdb_env_get_fd(store->env, &fd);
    if (rc == 0)
        rc = fill_up(store, fd);
    if (rc == 0)
        rc = grow_if_half_full(store);
    if (rc == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        rc = errno;
    return rc;
}

static int open_databases(struct store *store)
{
    SW_AUTO(mdb_txn_abort) MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &store->meta);
    for (int i = 0; rc == 0 && i < STORE_TABLES; i++)
        rc = mdb_dbi_open(txn, store_table_of((Swarm__Table)i)->word, MDB_CREATE, &store->records[i]);
    if (rc == 0)
        rc = mdb_txn_commit(SW_TAKE(txn));
    return rc;
}

static MDB_val text_key(char *text)
{
    return (MDB_val) { strlen(text), text };
}

/* Numbers in `meta` are 8 bytes, little-endian. */
static int meta_get(MDB_txn *txn, MDB_dbi meta, char *name, uint64_t *ret)
{
    MDB_val key = text_key(name);
    MDB_val value;
    int rc = mdb_get(txn, meta, &key, &value);
    if (rc != 0)
        return rc;
    if (value.mv_size != 8)
        return MDB_CORRUPTED;
    uint64_t number = 0;
    for (size_t i = 8; i-- > 0;)
        number = number << 8 | ((const uint8_t *)value.mv_data)[i];
    *ret = number;
    return 0;
}

static int meta_put(MDB_txn *txn, MDB_dbi meta, char *name, uint64_t number)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
    MDB_val key = text_key(name);
    MDB_val value = { sizeof bytes, bytes };
    return mdb_put(txn, meta, &key, &value, 0);
}

/* Against rot on the disk, not against people: FNV-1a finds any single changed byte. The id is in it, so that no record stands in
 * for another. */
static uint64_t record_sum(const void *id, size_t id_len, const void *data, size_t len)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < id_len; i++)
        hash = (hash ^ ((const uint8_t *)id)[i]) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static int load_record(struct store *store, Swarm__Table table, MDB_val key, MDB_val value, struct sw_err *err)
{
    uint64_t sum = 0;
    Swarm__FeedObject object = SWARM__FEED_OBJECT__INIT;
    object.table = table;
    if (value.mv_size >= SUM_BYTES) {
        memcpy(&sum, value.mv_data, SUM_BYTES);
        object.record = (ProtobufCBinaryData) { value.mv_size - SUM_BYTES, (uint8_t *)value.mv_data + SUM_BYTES };
    }
    if (value.mv_size < SUM_BYTES || sum != record_sum(key.mv_data, key.mv_size, object.record.data, object.record.len))
        (void)sw_fail(err, SW_CORRUPT, "it is damaged (check sum)");
    else if (mirror_load(store->mirror, &object, err) == 0)
        return 0;
    return sw_wrap(err, "table %s: record '%.*s'", store_table_of(table)->word, (int)key.mv_size, (const char *)key.mv_data);
}

static int load_table(struct store *store, MDB_txn *txn, Swarm__Table table, struct sw_err *err)
{
    const char *word = store_table_of(table)->word;
    MDB_cursor *cursor = NULL;
    int rc = mdb_cursor_open(txn, store->records[table], &cursor);
    if (rc != 0)
        return sw_fail(err, SW_IO, "read table %s: %s", word, mdb_strerror(rc));
    int failed = 0;
    MDB_val key;
    MDB_val value;
    while (failed == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
        failed = load_record(store, table, key, value, err);
    mdb_cursor_close(cursor);
    if (failed == 0 && rc != MDB_NOTFOUND)
        failed = sw_fail(err, SW_IO, "read table %s: %s", word, mdb_strerror(rc));
    return failed;
}

static int load(struct store *store, struct sw_err *err)
{
    SW_AUTO(mdb_txn_abort) MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return sw_fail(err, SW_IO, "begin to read: %s", mdb_strerror(rc));
    uint64_t format = 0;
    rc = meta_get(txn, store->meta, key_format, &format);
    if (rc == MDB_NOTFOUND)
        return 0; /* new: nothing was ever applied, or `applied` would stand beside a format */
    if (rc != 0)
        return sw_fail(err, SW_CORRUPT, "read the format version: %s", mdb_strerror(rc));
    if (format != FORMAT_VERSION)
        return sw_fail(err, SW_UNSUPPORTED, "format version %" PRIu64 " is not known, only %u is", format, FORMAT_VERSION);
    rc = meta_get(txn, store->meta, key_applied, &store->applied);
    if (rc != 0)
        return sw_fail(err, SW_CORRUPT, "read the applied index: %s", mdb_strerror(rc));
    for (int i = 0; i < STORE_TABLES; i++) {
        int failed = load_table(store, txn, (Swarm__Table)i, err);
        if (failed != 0)
            return failed;
    }
    mirror_set_version(store->mirror, store->applied);
    return 0;
}

int store_open(const char *dir, size_t map_size, struct store **ret_store, struct sw_err *err)
{
    SW_AUTO(store_close) struct store *store = sw_alloc0(sizeof *store);
    store->map_size = map_size != 0 ? map_size : MAP_SIZE_DEFAULT;
    store->mirror = mirror_new();
    if (make_dirs(dir, err) != 0)
        return sw_wrap(err, "open store '%s'", dir);
    int rc = open_env(store, dir);
    if (rc == 0)
        rc = open_databases(store);
    if (rc != 0)
        return sw_fail(err, SW_IO, "open store '%s': %s", dir, mdb_strerror(rc));
    if (sync_dir(dir, err) != 0 || load(store, err) != 0)
        return sw_wrap(err, "open store '%s'", dir);
    *ret_store = SW_TAKE(store);
    return 0;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    if (store->env != NULL)
        mdb_env_close(store->env);
    mirror_free(store->mirror);
    free(store);
}

MDB_env *store_env(struct store *store)
{
    return store->env;
}

const struct mirror *store_mirror(const struct store *store)
{
    return store->mirror;
}

uint64_t store_applied(const struct store *store)
{
    return store->applied;
}

/* LMDB calls a write that the full disk cut short an input/output error. */
const char *store_strerror(const struct store *store, int rc)
{
    struct statvfs disk;
    int fd = -1;
    if (rc == EIO && mdb_env_get_fd(store->env, &fd) == 0 && fstatvfs(fd, &disk) == 0 && disk.f_bavail < 16)
        return mdb_strerror(ENOSPC);
    return mdb_strerror(rc);
}

/* ---- apply ---- */

static int write_change(const struct store *store, MDB_txn *txn, const struct apply_change *change, struct sw_buf *buf)
{
    MDB_dbi dbi = store->records[change->table];
    MDB_val key = { strlen(change->id), (void *)change->id };
    if (change->object == NULL)
        return mdb_del(txn, dbi, &key, NULL);
    uint64_t sum = 0;
    sw_buf_reset(buf);
    sw_buf_add(buf, &sum, SUM_BYTES);
    sw_pb_pack(change->object, buf);
    sum = record_sum(key.mv_data, key.mv_size, buf->data + SUM_BYTES, buf->len - SUM_BYTES);
    memcpy(buf->data, &sum, SUM_BYTES);
    MDB_val value = { buf->len, buf->data };
    return mdb_put(txn, dbi, &key, &value, 0);
}

/* A group of entries that the mirror has and the disk is about to get. */
struct store_group {
    struct store_entry *entries; /* index and term only: the data may be gone by the time of store_apply_end() */
    struct apply_result *results;
    size_t count;
};

static void group_free(struct store_group *group)
{
    for (size_t i = 0; i < group->count; i++)
        apply_result_deinit(&group->results[i]);
    free(group->results);
    free(group->entries);
    free(group);
}
SW_AUTO_DEFINE(struct store_group, group_free);

static int apply_entry(struct store *store, const struct store_entry *entry, struct apply_result *ret, struct sw_err *err)
{
    if (entry->len == 0) {
        mirror_set_version(store->mirror, entry->index);
        return 0;
    }
    SW_AUTO(sw_pb_free) void *batch = sw_pb_unpack(&swarm__store_batch__descriptor, entry->data, entry->len, BATCH_MAX, err);
    if (batch == NULL)
        return sw_wrap(err, "apply entry %" PRIu64, entry->index);
    apply_batch(store->mirror, entry->index, entry->term, batch, ret);
    return 0;
}

/* Apply to the mirror what it has not yet. */
static int group_make(struct store *store, const struct store_entry *entries, size_t count, struct store_group **ret,
                      struct sw_err *err)
{
    while (count > 0 && entries[0].index <= store->applied) {
        entries++;
        count--;
    }
    SW_AUTO(group_free) struct store_group *group = sw_alloc0(sizeof *group);
    group->entries = sw_realloc_array(NULL, count, sizeof *group->entries);
    group->results = sw_alloc0(count * sizeof *group->results);
    group->count = count;
    for (size_t i = 0; i < count; i++) {
        group->entries[i] = (struct store_entry) { .index = entries[i].index, .term = entries[i].term };
        int rc = apply_entry(store, &entries[i], &group->results[i], err);
        if (rc != 0)
            return rc;
    }
    *ret = SW_TAKE(group);
    return 0;
}

/* Returns LMDB's code. */
static int group_write(const struct store *store, MDB_txn *txn, const struct store_group *group)
{
    SW_AUTO_BUF buf = { 0 };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < group->count; i++)
        for (size_t k = 0; rc == 0 && k < group->results[i].change_count; k++)
            rc = write_change(store, txn, &group->results[i].changes[k], &buf);
    if (rc == 0 && group->count > 0)
        rc = meta_put(txn, store->meta, key_applied, group->entries[group->count - 1].index);
    if (rc == 0 && group->count > 0)
        rc = meta_put(txn, store->meta, key_format, FORMAT_VERSION);
    return rc;
}

static int write_failed(const struct store *store, const struct store_group *group, int rc, struct sw_err *err)
{
    return sw_fail(err, SW_IO, "write store up to index %" PRIu64 ": %s", group->entries[group->count - 1].index,
                   store_strerror(store, rc));
}

int store_apply_begin(struct store *store, MDB_txn *txn, const struct store_entry *entries, size_t count,
                      struct store_group **ret_group, struct sw_err *err)
{
    SW_AUTO(group_free) struct store_group *group = NULL;
    int failed = group_make(store, entries, count, &group, err);
    if (failed != 0)
        return failed;
    int rc = group_write(store, txn, group);
    if (rc != 0)
        return write_failed(store, group, rc, err);
    *ret_group = SW_TAKE(group);
    return 0;
}

void store_apply_end(struct store *store, struct store_group *group, store_applied_fn *fn, void *arg)
{
    if (group->count > 0)
        store->applied = group->entries[group->count - 1].index;
    for (size_t i = 0; fn != NULL && i < group->count; i++)
        fn(arg, &group->entries[i], &group->results[i]);
    group_free(group);
}

static int group_commit(struct store *store, const struct store_group *group)
{
    SW_AUTO(mdb_txn_abort) MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (rc == 0)
        rc = group_write(store, txn, group);
    if (rc == 0)
        rc = mdb_txn_commit(SW_TAKE(txn));
    return rc;
}

int store_apply(struct store *store, const struct store_entry *entries, size_t count, store_applied_fn *fn, void *arg,
                struct sw_err *err)
{
    SW_AUTO(group_free) struct store_group *group = NULL;
    int failed = group_make(store, entries, count, &group, err);
    if (failed != 0)
        return failed;
    int rc = group->count > 0 ? group_commit(store, group) : 0;
    while (rc == MDB_MAP_FULL && store->map_size <= MAP_SIZE_MAX / 2) { /* grow and write the group again */
        store->map_size *= 2;
        rc = mdb_env_set_mapsize(store->env, store->map_size);
        if (rc == 0)
            rc = group_commit(store, group);
    }
    if (rc != 0)
        return write_failed(store, group, rc, err);
    store_apply_end(store, SW_TAKE(group), fn, arg);
    return 0;
}

/* ---- feed snapshot ---- */

struct chunker {
    Swarm__FeedSnapshot head;
    size_t bytes, room;
    store_chunk_fn *fn;
    void *arg;
};

static void chunk_send(struct chunker *self, bool done)
{
    self->head.done = done;
    self->fn(self->arg, &self->head);
    for (size_t i = 0; i < self->head.n_objects; i++)
        sw_pb_free(self->head.objects[i]);
    self->head.n_objects = 0;
    self->bytes = 0;
}

static void chunk_add(struct chunker *self, Swarm__Table table, const void *object)
{
    Swarm__FeedObject *item = sw_alloc0(sizeof *item);
    swarm__feed_object__init(item);
    item->table = table;
    struct sw_buf buf = { 0 };
    sw_pb_pack(object, &buf);
    item->record.len = buf.len;
    item->record.data = (uint8_t *)sw_buf_take(&buf);
    if (self->head.n_objects == self->room) {
        self->room = self->room == 0 ? 64 : 2 * self->room;
        self->head.objects = sw_realloc_array((void *)self->head.objects, self->room, sizeof *self->head.objects);
    }
    self->head.objects[self->head.n_objects++] = item;
    self->bytes += item->record.len;
    if (self->bytes >= CHUNK_BYTES)
        chunk_send(self, false);
}

void store_snapshot(const struct store *store, const Swarm__Table *tables, size_t count, uint64_t term, bool leader,
                    store_chunk_fn *fn, void *arg)
{
    struct chunker chunker = { .head = SWARM__FEED_SNAPSHOT__INIT, .fn = fn, .arg = arg };
    chunker.head.version = mirror_version(store->mirror);
    chunker.head.term = term;
    chunker.head.leader = leader;
    for (size_t i = 0; i < count; i++) {
        if (store_table_of(tables[i]) == NULL)
            continue;
        for (const void *o = mirror_first(store->mirror, tables[i]); o != NULL; o = mirror_next(store->mirror, tables[i], o))
            chunk_add(&chunker, tables[i], o);
    }
    chunk_send(&chunker, true);
    free((void *)chunker.head.objects);
}
