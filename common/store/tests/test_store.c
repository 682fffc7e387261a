/* Property test: random batches go into a store and into a bare mirror; after each reopening, and by replaying the feed, all
 * three hold the same. A failure prints the seed. */
#include "common/store/tests/objects.h"

#include "common/base/id.h"
#include "common/store/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

static char dir[64];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/test-store-XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int unlink_one(const char *path, const struct stat *stat, int flag, struct FTW *ftw)
{
    (void)stat;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    return nftw(dir, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void assert_same(const struct mirror *a, const struct mirror *b)
{
    for (int t = 0; t < STORE_TABLES; t++) {
        const void *x = mirror_first(a, (Swarm__Table)t);
        const void *y = mirror_first(b, (Swarm__Table)t);
        assert_int_equal(mirror_count(a, (Swarm__Table)t), mirror_count(b, (Swarm__Table)t));
        for (; x != NULL && y != NULL; x = mirror_next(a, (Swarm__Table)t, x), y = mirror_next(b, (Swarm__Table)t, y))
            assert_true(sw_pb_equal(x, y));
        assert_true(x == NULL && y == NULL);
    }
    assert_int_equal(mirror_version(a), mirror_version(b));
}

/* The secondary indexes say what a full scan says. */
static void assert_indexes(const struct mirror *mirror)
{
    size_t listed = 0;
    for (int s = 0; s < 6; s++) {
        char id[8];
        (void)snprintf(id, sizeof id, "s%d", s);
        struct mirror_tasks tasks = mirror_tasks_of_service(mirror, id);
        listed += tasks.count;
        for (size_t i = 0; i < tasks.count; i++) {
            assert_string_equal(tasks.items[i]->service_id, id);
            assert_ptr_equal(tasks.items[i], mirror_task(mirror, tasks.items[i]->id));
            assert_true(i == 0 || tasks.items[i - 1]->slot <= tasks.items[i]->slot);
        }
    }
    assert_int_equal(listed, mirror_count(mirror, T_TASK));
}

static void *random_object(struct sw_rng *rng, Swarm__Table table)
{
    static const Swarm__TaskState states[] = { SWARM__TASK_STATE__TASK_NEW, SWARM__TASK_STATE__TASK_READY,
                                               SWARM__TASK_STATE__TASK_RUNNING, SWARM__TASK_STATE__TASK_FAILED };
    char id[16];
    char word[16];
    if (table == T_TASK) {
        (void)snprintf(id, sizeof id, "t%u", (unsigned)sw_rng_below(rng, 40));
        (void)snprintf(word, sizeof word, "s%u", (unsigned)sw_rng_below(rng, 6));
        char node[16];
        (void)snprintf(node, sizeof node, "n%u", (unsigned)sw_rng_below(rng, 3));
        Swarm__Task *task = test_task(id, word, sw_rng_below(rng, 5), node);
        task->status->state = states[sw_rng_below(rng, 4)];
        return task;
    }
    if (table == T_NODE) {
        (void)snprintf(id, sizeof id, "n%u", (unsigned)sw_rng_below(rng, 6));
        return test_node(id, "host");
    }
    (void)snprintf(id, sizeof id, "s%u", (unsigned)sw_rng_below(rng, 6));
    (void)snprintf(word, sizeof word, "%s%u", sw_rng_below(rng, 2) == 0 ? "web" : "WEB", (unsigned)sw_rng_below(rng, 8));
    return test_service(id, word);
}

static void random_action(struct sw_rng *rng, Swarm__StoreTxn *txn)
{
    static const Swarm__Table tables[] = { T_TASK, T_TASK, T_TASK, T_NODE, T_SERVICE };
    static const Swarm__ActionKind kinds[] = { A_CREATE, A_CREATE, A_UPDATE, A_REMOVE, A_TASK_STATUS };
    Swarm__Table table = tables[sw_rng_below(rng, 5)];
    Swarm__ActionKind kind = kinds[sw_rng_below(rng, 5)];
    if (kind == A_TASK_STATUS && table != T_TASK)
        kind = table == T_NODE ? A_NODE_STATUS : A_UPDATE;
    uint64_t version = sw_rng_below(rng, 4) == 0 ? 1 + sw_rng_below(rng, 200) : 0;
    test_act(txn, kind, table, version, random_object(rng, table));
}

static Swarm__StoreBatch *random_batch(struct sw_rng *rng)
{
    Swarm__StoreBatch *batch = store_batch_new((int64_t)sw_rng_below(rng, 1000000));
    batch->has_term = sw_rng_below(rng, 3) == 0;
    batch->term = 1 + sw_rng_below(rng, 2);
    for (uint64_t t = 1 + sw_rng_below(rng, 3); t > 0; t--) {
        Swarm__StoreTxn *txn = store_batch_txn(batch);
        for (uint64_t a = sw_rng_below(rng, 4); a > 0; a--)
            random_action(rng, txn);
    }
    return batch;
}

/* A follower of the feed: changes travel as encoded bytes. */
static void follow(void *arg, const struct store_entry *entry, const struct apply_result *result)
{
    struct mirror *mirror = arg;
    for (size_t i = 0; i < result->change_count; i++) {
        const struct apply_change *change = &result->changes[i];
        Swarm__FeedChange news = SWARM__FEED_CHANGE__INIT;
        SW_AUTO_BUF buf = { 0 };
        news.kind = change->kind;
        news.table = change->table;
        news.id = (char *)change->id;
        if (change->object != NULL) {
            sw_pb_pack(change->object, &buf);
            news.has_record = true;
            news.record = (ProtobufCBinaryData) { buf.len, (uint8_t *)buf.data };
        }
        assert_int_equal(mirror_change(mirror, &news, NULL), 0);
    }
    mirror_set_version(mirror, entry->index);
}

static struct store *open_store(size_t map_size)
{
    struct store *store = NULL;
    struct sw_err err = { 0 };
    if (store_open(dir, map_size, &store, &err) != 0)
        fail_msg("%s", err.text);
    return store;
}

/* As the Raft driver does: within a transaction of the caller's. */
static void apply_in_halves(struct store *store, const struct store_entry *entries, size_t count, struct mirror *follower)
{
    MDB_txn *txn = NULL;
    struct store_group *group = NULL;
    struct sw_err err = { 0 };
    assert_int_equal(mdb_txn_begin(store_env(store), NULL, 0, &txn), 0);
    if (store_apply_begin(store, txn, entries, count, &group, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(mdb_txn_commit(txn), 0);
    store_apply_end(store, group, follow, follower);
}

/* Apply a group of 1 to 4 entries of random batches to the store and, by apply alone, to `bare`. */
static void random_group(struct sw_rng *rng, struct store *store, struct mirror *bare, struct mirror *follower)
{
    struct store_entry entries[4] = { 0 };
    struct sw_buf data[4] = { 0 };
    size_t count = 1 + (size_t)sw_rng_below(rng, 4);
    uint64_t index = store_applied(store);
    for (size_t i = 0; i < count; i++) {
        Swarm__StoreBatch *batch = random_batch(rng);
        sw_pb_pack(batch, &data[i]);
        entries[i] = (struct store_entry) { .index = ++index, .term = 1, .data = data[i].data, .len = data[i].len };
        struct apply_result result;
        apply_batch(bare, index, 1, batch, &result);
        apply_result_deinit(&result);
        sw_pb_free(batch);
    }
    struct sw_err err = { 0 };
    if (sw_rng_below(rng, 2) == 0) {
        if (store_apply(store, entries, count, follow, follower, &err) != 0)
            fail_msg("%s", err.text);
    } else {
        apply_in_halves(store, entries, count, follower);
    }
    assert_int_equal(store_apply(store, entries, count, follow, follower, &err), 0); /* a replay changes nothing */
    for (size_t i = 0; i < count; i++)
        sw_buf_deinit(&data[i]);
}

static void collect(void *arg, const Swarm__FeedSnapshot *chunk)
{
    struct mirror *mirror = arg;
    for (size_t i = 0; i < chunk->n_objects; i++)
        assert_int_equal(mirror_load(mirror, chunk->objects[i], NULL), 0);
    if (chunk->done)
        mirror_set_version(mirror, chunk->version);
}

static void run_seed(uint64_t seed)
{
    static const Swarm__Table all[] = { 0, 1, 2, 3, 4, 5, 6 };
    print_message("seed %llu\n", (unsigned long long)seed);
    struct sw_rng rng;
    sw_rng_seed(&rng, seed);
    struct store *store = open_store(0);
    struct mirror *bare = mirror_new();
    struct mirror *follower = mirror_new();
    for (int step = 0; step < 60; step++) {
        random_group(&rng, store, bare, follower);
        assert_same(store_mirror(store), bare);
        assert_same(store_mirror(store), follower);
        assert_indexes(bare);
        if (sw_rng_below(&rng, 12) != 0)
            continue;
        store_close(store);
        store = open_store(0);
        assert_same(store_mirror(store), bare);
        struct mirror *snapshot = mirror_new();
        store_snapshot(store, all, STORE_TABLES, 1, true, collect, snapshot);
        assert_same(snapshot, bare);
        mirror_free(snapshot);
    }
    mirror_free(bare);
    mirror_free(follower);
    store_close(store);
}

static void store_mirror_and_feed_agree(void **state)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        run_seed(seed);
        assert_int_equal(teardown(state), 0);
        assert_int_equal(mkdir(dir, 0700), 0);
    }
}

static int apply_services(struct store *store, uint64_t index, size_t count, struct sw_err *err)
{
    Swarm__StoreBatch *batch = store_batch_new(1);
    for (size_t i = 0; i < count; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "s%llu-%zu", (unsigned long long)index, i);
        test_act(store_batch_txn(batch), A_CREATE, T_SERVICE, 0, test_service(id, id));
    }
    SW_AUTO_BUF buf = { 0 };
    sw_pb_pack(batch, &buf);
    sw_pb_free(batch);
    struct store_entry entry = { .index = index, .term = 1, .data = buf.data, .len = buf.len };
    return store_apply(store, &entry, 1, NULL, NULL, err);
}

static void a_full_map_grows(void **state)
{
    (void)state;
    struct store *store = open_store(128 << 10);
    struct sw_err err = { 0 };
    for (uint64_t index = 1; index <= 8; index++)
        assert_int_equal(apply_services(store, index, 500, &err), 0);
    assert_int_equal(mirror_count(store_mirror(store), T_SERVICE), 4000);
    store_close(store);
    store = open_store(0);
    assert_int_equal(mirror_count(store_mirror(store), T_SERVICE), 4000);
    assert_int_equal(store_applied(store), 8);
    store_close(store);
}

static void bad_data_is_named(void **state)
{
    (void)state;
    struct store *store = open_store(0);
    struct sw_err err = { 0 };
    struct store_entry entry = { .index = 1, .term = 1, .data = "\xff\xff", .len = 2 };
    assert_int_equal(store_apply(store, &entry, 1, NULL, NULL, &err), -SW_CORRUPT);
    assert_non_null(strstr(err.text, "apply entry 1"));
    store_close(store);
    char path[96];
    (void)snprintf(path, sizeof path, "%s/file", dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    (void)snprintf(path, sizeof path, "%s/file/raft", dir);
    store = NULL;
    assert_int_equal(store_open(path, 0, &store, &err), -SW_IO);
    assert_non_null(strstr(err.text, "Not a directory"));
}

/* No descriptor of the environment may leak into containers' monitors. */
static void descriptors_close_on_exec(void **state)
{
    (void)state;
    struct store *store = open_store(0);
    DIR *fds = opendir("/proc/self/fd");
    assert_non_null(fds);
    for (struct dirent *entry = readdir(fds); entry != NULL; entry = readdir(fds)) {
        int fd = atoi(entry->d_name);
        if (fd > 2 && fd != dirfd(fds) && fcntl(fd, F_GETFD) >= 0) {
            char target[256] = { 0 };
            char link[64];
            (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            if (readlink(link, target, sizeof target - 1) > 0 && strncmp(target, dir, strlen(dir)) == 0)
                assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
        }
    }
    closedir(fds);
    store_close(store);
}

static void rewrite_file(const char *find, const char *replace, off_t keep)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/data.mdb", dir);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    if (keep != 0)
        assert_int_equal(ftruncate(fileno(file), keep), 0);
    SW_AUTO_BUF whole = { 0 };
    char part[4096];
    for (size_t got; (got = fread(part, 1, sizeof part, file)) > 0;)
        sw_buf_add(&whole, part, got);
    char *end = whole.data + whole.len;
    for (char *at = whole.data; find != NULL && (at = memmem(at, (size_t)(end - at), find, strlen(find))) != NULL; at++) {
        assert_int_equal(fseek(file, at - whole.data, SEEK_SET), 0);
        assert_int_equal(fwrite(replace, 1, strlen(find), file), strlen(find));
    }
    assert_int_equal(fclose(file), 0);
}

static void a_damaged_file_is_an_error(void **state)
{
    (void)state;
    struct sw_err err = { 0 };
    struct store *store = open_store(0);
    assert_int_equal(apply_services(store, 1, 200, &err), 0);
    store_close(store);
    rewrite_file("web:1", "web:2", 0); /* parses, and is not what was stored */
    assert_int_equal(store_open(dir, 0, &store, &err), -SW_CORRUPT);
    assert_non_null(strstr(err.text, "table service: record 's1-0': it is damaged (check sum)"));
    rewrite_file(NULL, NULL, 3 * 4096); /* cut short: no SIGBUS */
    assert_true(store_open(dir, 0, &store, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(store_mirror_and_feed_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_map_grows, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_data_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(descriptors_close_on_exec, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
