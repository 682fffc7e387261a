/* The Raft driver on a real loop, disk and sockets: one voter, restarts, kill -9, and three members over CURVE. */
#include "services/manager-raft/io/raft_log.h"
#include "services/manager-raft/io/raftd.h"

#include "common/base/id.h"
#include "common/identity/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MEMBERS 3
#define GUARD_MS 20000

struct member {
    struct rig *rig;
    struct store *store;
    struct raftd *raftd;
    struct bus_keys keys;
    char node_id[SW_ID_SIZE], address[128], dir[96];
    bool leader;
    uint64_t term, applied;
};
struct rig {
    struct svc *svc;
    struct bus *bus;
    struct member members[MEMBERS];
    size_t count;
    char dir[64];
    void (*script)(struct rig *rig, struct member *leader); /* when a member leads */
    int want, sent, good, bad, reads, phase;
    int ack_fd;
    uint64_t last_index;
    struct svc_timer *guard;
    const char *failed;
};

static char *id_of(char prefix, int number, char ret_id[SW_ID_SIZE])
{
    (void)snprintf(ret_id, SW_ID_SIZE, "%c%024d", prefix, number);
    return ret_id;
}

static Swarm__StoreBatch *batch_of(int number, size_t bytes)
{
    char id[SW_ID_SIZE], name[32];
    Swarm__Config config = SWARM__CONFIG__INIT;
    Swarm__Meta meta = SWARM__META__INIT;
    Swarm__SecretSpec spec = SWARM__SECRET_SPEC__INIT;
    SW_AUTO(sw_free) uint8_t *data = sw_alloc0(bytes);
    (void)snprintf(name, sizeof name, "c%d", number);
    config.id = id_of('c', number, id);
    config.meta = &meta;
    config.spec = &spec;
    spec.name = name;
    spec.has_data = true;
    spec.data = (ProtobufCBinaryData) { bytes, data };
    Swarm__StoreBatch *batch = store_batch_new(1);
    store_txn_add(store_batch_txn(batch),
                  store_action_new(SWARM__ACTION_KIND__ACTION_CREATE, SWARM__TABLE__TABLE_CONFIG, id, 0, &config));
    return batch;
}

static void finish(struct rig *rig)
{
    svc_quit(rig->svc, 0);
}

static void on_guard(void *arg)
{
    struct rig *rig = arg;
    rig->failed = "timed out";
    finish(rig);
}

static void fill(struct rig *rig, struct member *member);

static void on_done(void *arg, uint64_t index, const struct apply_result *result, const struct sw_err *err)
{
    struct member *member = arg;
    struct rig *rig = member->rig;
    bool ok = err == NULL && result->result_count == 1 && result->results[0]->code == 0 && index > rig->last_index;
    rig->good += ok ? 1 : 0;
    rig->bad += ok ? 0 : 1;
    rig->last_index = index;
    if (ok && rig->ack_fd > 0 && write(rig->ack_fd, "x", 1) != 1)
        finish(rig);
    if (rig->good + rig->bad == rig->want)
        rig->script(rig, member);
    else if (ok)
        fill(rig, member);
}

/* Keeps 64 in flight until `want` were sent. */
static void fill(struct rig *rig, struct member *member)
{
    while (rig->sent < rig->want && rig->sent - rig->good - rig->bad < 64) {
        SW_AUTO(sw_pb_free) Swarm__StoreBatch *batch = batch_of(rig->sent, 200);
        struct sw_err err;
        if (raftd_propose(member->raftd, batch, on_done, member, &err) != 0)
            return;
        rig->sent++;
    }
}

static void on_status(void *arg, uint64_t term, bool leader, const char *leader_node_id)
{
    struct member *member = arg;
    bool news = leader && !member->leader;
    member->leader = leader;
    member->term = term;
    if (leader && strcmp(leader_node_id, member->node_id) != 0)
        member->rig->failed = "leads under another name";
    if (news)
        member->rig->script(member->rig, member);
}

static void on_applied(void *arg, const struct store_entry *entry, const struct apply_result *result)
{
    struct member *member = arg;
    (void)result;
    if (entry->index != member->applied + 1)
        member->rig->failed = "applied out of order";
    member->applied = entry->index;
    if (member->rig->count > 1 && member->rig->phase == 2)
        member->rig->script(member->rig, member);
}

static int member_open(struct member *member, struct sw_err *err)
{
    struct rig *rig = member->rig;
    bool grouped = rig->count > 1;
    int rc = store_open(member->dir, 64 << 20, &member->store, err);
    if (rc != 0)
        return rc;
    member->applied = store_applied(member->store);
    struct raftd_spec spec = { .svc = rig->svc,
                               .bus = rig->bus,
                               .store = member->store,
                               .node_id = member->node_id,
                               .raft_address = member->address,
                               .raft_listen = grouped ? member->address : NULL,
                               .keys = grouped ? &member->keys : NULL,
                               .heartbeat_ms = 50,
                               .election_ms = 300,
                               .applied = on_applied,
                               .status = on_status,
                               .arg = member };
    return raftd_open(&spec, &member->raftd, err);
}

static void member_close(struct member *member)
{
    raftd_close(member->raftd);
    store_close(member->store);
    member->raftd = NULL;
    member->store = NULL;
    member->leader = false;
}

/* ---- running ---- */

static int rig_start(struct svc *svc, void *state, struct sw_err *err)
{
    struct rig *rig = state;
    rig->svc = svc;
    rig->guard = svc_timer_new(svc, on_guard, rig);
    svc_timer_at(rig->guard, svc_mono_ms() + GUARD_MS);
    int rc = bus_new(svc, &rig->bus, err);
    for (size_t i = 0; rc == 0 && i < rig->count; i++)
        rc = member_open(&rig->members[i], err);
    if (rc == 0 && rig->count == 1 && raftd_term(rig->members[0].raftd) == 0)
        rc = raftd_bootstrap(rig->members[0].raftd, err);
    return rc;
}

static void rig_stop(struct svc *svc, void *state)
{
    struct rig *rig = state;
    (void)svc;
    for (size_t i = 0; i < rig->count; i++)
        member_close(&rig->members[i]);
    svc_timer_free(rig->guard);
    bus_free(rig->bus);
}

static void rig_init(struct rig *rig, size_t count)
{
    *rig = (struct rig) { .count = count };
    (void)strcpy(rig->dir, "/tmp/test-raftd-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    for (size_t i = 0; i < count; i++) {
        struct member *member = &rig->members[i];
        member->rig = rig;
        (void)id_of('n', (int)i + 1, member->node_id);
        (void)snprintf(member->address, sizeof member->address, "ipc://%s/raft%zu.sock", rig->dir, i);
        (void)snprintf(member->dir, sizeof member->dir, "%s/store%zu", rig->dir, i);
        identity_curve_make(&member->keys);
    }
}

static int rig_run(struct rig *rig, void (*script)(struct rig *rig, struct member *leader))
{
    char state_dir[96], run_dir[96], metrics[] = "--metrics-address=off", name[] = "raftd", level[] = "--log-level=error";
    (void)snprintf(state_dir, sizeof state_dir, "--state-dir=%s/state", rig->dir);
    (void)snprintf(run_dir, sizeof run_dir, "--run-dir=%s/run", rig->dir);
    char *argv[] = { name, state_dir, run_dir, metrics, level };
    struct svc_program program = {
        .name = "raftd", .summary = "test", .metrics_address = "off", .state = rig, .start = rig_start, .stop = rig_stop
    };
    rig->script = script;
    rig->sent = rig->good = rig->bad = rig->phase = 0;
    rig->last_index = 0;
    for (size_t i = 0; i < rig->count; i++)
        rig->members[i].leader = false;
    return svc_main(&program, 5, argv);
}

static void rig_done(struct rig *rig)
{
    assert_null(rig->failed);
    assert_int_equal(svc_rmtree(rig->dir, NULL), 0);
}

/* ---- one voter ---- */

static void on_read(void *arg, const struct sw_err *err)
{
    struct rig *rig = arg;
    rig->reads += err == NULL ? 1 : 0;
    finish(rig);
}

static void script_fill(struct rig *rig, struct member *member)
{
    struct sw_err err;
    if (rig->sent == 0 && rig->want > 0) {
        fill(rig, member);
        return;
    }
    if (raftd_read(member->raftd, on_read, rig, &err) != 0)
        finish(rig);
}

static void script_refuse(struct rig *rig, struct member *member)
{
    struct sw_err err;
    SW_AUTO(sw_pb_free) Swarm__StoreBatch *big = batch_of(1, 0);
    big->txns[0]->actions[0]->record.data = realloc(big->txns[0]->actions[0]->record.data, 2 << 20);
    big->txns[0]->actions[0]->record.len = 2 << 20;
    SW_AUTO(sw_pb_free) Swarm__StoreBatch *old = batch_of(2, 10);
    old->has_term = true;
    old->term = raftd_term(member->raftd) - 1;
    rig->bad += raftd_propose(member->raftd, big, on_done, member, &err) == -SW_LIMIT ? 0 : 1;
    rig->bad += raftd_propose(member->raftd, old, on_done, member, &err) == -SW_FENCED ? 0 : 1;
    rig->bad += raftd_bootstrap(member->raftd, &err) == -SW_PRECONDITION ? 0 : 1;
    finish(rig);
}

static size_t log_entries(const char *dir, uint64_t *ret_base)
{
    struct store *store = NULL;
    struct raft_log *log = NULL;
    struct raft_log_state state;
    struct sw_err err;
    assert_int_equal(store_open(dir, 64 << 20, &store, &err), 0);
    assert_int_equal(raft_log_open(store, &log, &err), 0);
    assert_int_equal(raft_log_load(log, &state, &err), 0);
    size_t count = state.count;
    *ret_base = state.base_index;
    raft_log_state_deinit(&state);
    raft_log_close(log);
    store_close(store);
    return count;
}

static void test_single(void **state)
{
    struct rig rig;
    uint64_t base = 0;
    (void)state;
    rig_init(&rig, 1);
    rig.want = 3000;
    assert_int_equal(rig_run(&rig, script_fill), 0);
    assert_int_equal(rig.good, 3000);
    assert_int_equal(rig.bad, 0);
    assert_int_equal(rig.reads, 1);
    size_t kept = log_entries(rig.members[0].dir, &base);
    assert_true(kept >= 500 && kept < 1000 && base > 2000); /* trimmed in steps */
    rig.want = 0;
    assert_int_equal(rig_run(&rig, script_refuse), 0); /* a restart: the term grows, nothing is applied twice */
    assert_int_equal(rig.members[0].term, 3);
    assert_int_equal(rig.bad, 0);
    rig_done(&rig);
}

static void check_objects(struct rig *rig, struct member *member)
{
    char id[SW_ID_SIZE];
    for (int i = 0; i < rig->want; i++)
        rig->bad += mirror_get(store_mirror(member->store), SWARM__TABLE__TABLE_CONFIG, id_of('c', i, id)) != NULL ? 0 : 1;
    finish(rig);
}

/* Everything that was acknowledged before kill -9 is there afterwards. */
static void test_killed(void **state)
{
    struct rig rig;
    int fds[2], status;
    (void)state;
    rig_init(&rig, 1);
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(fds[0]);
        rig.ack_fd = fds[1];
        rig.want = 1000000;
        _exit(rig_run(&rig, script_fill));
    }
    (void)close(fds[1]);
    int acked = 0;
    char chunk[64];
    for (ssize_t got; acked < 700 && (got = read(fds[0], chunk, sizeof chunk)) > 0;)
        acked += (int)got;
    assert_int_equal(kill(child, SIGKILL), 0);
    for (ssize_t got; (got = read(fds[0], chunk, sizeof chunk)) > 0;)
        acked += (int)got;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && acked >= 700);
    (void)close(fds[0]);
    rig.want = acked;
    assert_int_equal(rig_run(&rig, check_objects), 0);
    assert_int_equal(rig.bad, 0);
    rig_done(&rig);
}

static void test_damaged(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, 1);
    rig.want = 5;
    assert_int_equal(rig_run(&rig, script_fill), 0);
    struct store *store = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    uint64_t index = 4;
    MDB_val key = { sizeof index, &index }, value;
    struct sw_err err;
    assert_int_equal(store_open(rig.members[0].dir, 64 << 20, &store, &err), 0);
    assert_int_equal(mdb_txn_begin(store_env(store), NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "raft_log", MDB_INTEGERKEY, &dbi), 0);
    assert_int_equal(mdb_get(txn, dbi, &key, &value), 0);
    SW_AUTO(sw_free) uint8_t *copy = memcpy(sw_alloc0(value.mv_size), value.mv_data, value.mv_size);
    copy[value.mv_size - 20] ^= 1;
    value.mv_data = copy;
    assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    struct raft_log *log = NULL;
    struct raft_log_state loaded;
    assert_int_equal(raft_log_open(store, &log, &err), 0);
    assert_int_equal(raft_log_load(log, &loaded, &err), -SW_CORRUPT);
    assert_string_equal(err.text, "raft log: entry 4 is damaged (check sum)");
    raft_log_close(log);
    store_close(store);
    rig_done(&rig);
}

/* ---- three members ---- */

/* Entry 2 brings the Node objects, from which links take addresses and keys; all members begin with it. */
static Swarm__StoreBatch *nodes_batch(struct rig *rig)
{
    Swarm__StoreBatch *batch = store_batch_new(1);
    Swarm__StoreTxn *txn = store_batch_txn(batch);
    for (size_t i = 0; i < rig->count; i++) {
        struct member *member = &rig->members[i];
        Swarm__Node node = SWARM__NODE__INIT;
        Swarm__Meta meta = SWARM__META__INIT;
        Swarm__NodeSpec spec = SWARM__NODE_SPEC__INIT;
        Swarm__ManagerAddress address = SWARM__MANAGER_ADDRESS__INIT;
        node.id = address.node_id = member->node_id;
        node.meta = &meta;
        node.spec = &spec;
        node.has_role = node.has_curve_key = true;
        node.role = SWARM__NODE_ROLE__NODE_MANAGER;
        node.curve_key = address.curve_key = (ProtobufCBinaryData) { 32, member->keys.public_key };
        node.manager = &address;
        address.control = address.dispatcher = (char *)(uintptr_t) "tcp://127.0.0.1:1";
        address.raft = member->address;
        store_txn_add(txn, store_action_new(SWARM__ACTION_KIND__ACTION_CREATE, SWARM__TABLE__TABLE_NODE, node.id, 0, &node));
    }
    return batch;
}

static struct raft_blob *group_config(struct rig *rig)
{
    Swarm__RaftConfig config = SWARM__RAFT_CONFIG__INIT;
    Swarm__RaftMember members[MEMBERS], *pointers[MEMBERS];
    for (size_t i = 0; i < rig->count; i++) {
        swarm__raft_member__init(&members[i]);
        members[i].raft_id = i + 1;
        members[i].node_id = rig->members[i].node_id;
        members[i].address = rig->members[i].address;
        members[i].voter = members[i].has_voter = true;
        pointers[i] = &members[i];
    }
    config.members = pointers;
    config.n_members = rig->count;
    SW_AUTO_BUF buf = { 0 };
    sw_pb_pack(&config, &buf);
    return raft_blob_new(buf.data, buf.len);
}

static void group_create(struct rig *rig)
{
    SW_AUTO(sw_pb_free) Swarm__StoreBatch *batch = nodes_batch(rig);
    SW_AUTO_BUF buf = { 0 };
    sw_pb_pack(batch, &buf);
    struct raft_blob *config = group_config(rig);
    for (size_t i = 0; i < rig->count; i++) {
        struct store *store = NULL;
        struct raft_log *log = NULL;
        struct raft_tail tail;
        MDB_txn *txn = NULL;
        struct sw_err err;
        assert_int_equal(store_open(rig->members[i].dir, 64 << 20, &store, &err), 0);
        assert_int_equal(raft_log_open(store, &log, &err), 0);
        assert_int_equal(raft_log_create(log, i + 1, config, &err), 0);
        raft_tail_init(&tail, 1, 1);
        raft_tail_append(&tail, &(struct raft_entry) { 2, 1, RAFT_ENTRY_STORE, raft_blob_new(buf.data, buf.len) });
        assert_int_equal(mdb_txn_begin(store_env(store), NULL, 0, &txn), 0);
        assert_int_equal(raft_log_write(log, txn, &tail, 2, (struct raft_hard) { .term = 1, .commit = 2 }, &err), 0);
        assert_int_equal(mdb_txn_commit(txn), 0);
        struct store_entry entries[] = { { 1, 1, NULL, 0 }, { 2, 1, buf.data, buf.len } };
        assert_int_equal(store_apply(store, entries, 2, NULL, NULL, &err), 0);
        raft_tail_deinit(&tail);
        raft_log_close(log);
        store_close(store);
    }
    raft_blob_unref(config);
}

static void close_later(void *arg)
{
    struct member *member = arg;
    member_close(member);
}

static void reopen_later(void *arg)
{
    struct rig *rig = arg;
    struct sw_err err;
    for (size_t i = 0; i < rig->count; i++) {
        if (rig->members[i].raftd == NULL && member_open(&rig->members[i], &err) != 0)
            rig->failed = "cannot open again";
    }
}

/* Phase 0: the first leader writes 500 and is closed. 1: the next one writes 500 more, the first comes back. 2: all have all. */
static void script_group(struct rig *rig, struct member *member)
{
    if (rig->phase == 2) {
        for (size_t i = 0; i < rig->count; i++) {
            if (rig->members[i].raftd == NULL ||
                mirror_count(store_mirror(rig->members[i].store), SWARM__TABLE__TABLE_CONFIG) != 1000)
                return;
        }
        finish(rig);
    } else if (rig->good + rig->bad < rig->want) {
        fill(rig, member);
    } else if (rig->phase == 0) {
        rig->phase = 1;
        rig->want = 1000;
        svc_soon(rig->svc, close_later, member);
    } else {
        rig->phase = 2;
        svc_soon(rig->svc, reopen_later, rig);
    }
}

static void test_group(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig, MEMBERS);
    group_create(&rig);
    rig.want = 500;
    assert_int_equal(rig_run(&rig, script_group), 0);
    assert_int_equal(rig.good, 1000);
    assert_int_equal(rig.bad, 0);
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_group),
    };
    struct sw_err err;
    if (identity_init(&err) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
