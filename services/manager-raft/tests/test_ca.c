/* The CA on a mirror, with apply_batch() in the place of Raft: init, restart, joins, rotation, who is who. */
#include "services/manager-raft/io/join.h"

#include "common/base/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define NOW_S INT64_C(1700000000)
#define NOW_NS (NOW_S * 1000000000)

struct rig {
    char dir[64];
    struct mirror *mirror;
    struct ca *ca;
    uint64_t index;
    struct bus_keys node_keys, admin_keys;
    Swarm__BootstrapReply *init;
    struct join join;
    /* of the last join */
    Swarm__JoinReply *reply;
    struct sw_err err;
    bool refuse_proposals, hold_proposals;
    raftd_done_fn *held;
    void *held_arg;
    Swarm__StoreBatch *held_batch;
};

static struct rig *current; /* join's answer hook has no argument of its own */

static void commit(struct rig *rig, const Swarm__StoreBatch *batch, raftd_done_fn *fn, void *arg)
{
    struct apply_result result = { 0 };
    rig->index++;
    apply_batch(rig->mirror, rig->index, 1, batch, &result);
    if (fn != NULL)
        fn(arg, rig->index, &result, NULL);
    else
        assert_int_equal(result.results[0]->code, 0);
    apply_result_deinit(&result);
}

static int propose(void *arg, const Swarm__StoreBatch *batch, raftd_done_fn *fn, void *fn_arg, struct sw_err *err)
{
    struct rig *rig = arg;
    if (rig->refuse_proposals)
        return sw_fail(err, SW_UNAVAILABLE, "no leader");
    if (rig->hold_proposals) {
        rig->held = fn;
        rig->held_arg = fn_arg;
        rig->held_batch = sw_pb_clone(batch);
        return 0;
    }
    commit(rig, batch, fn, fn_arg);
    return 0;
}

static void on_answer(const struct bus_sender *to, const Swarm__JoinReply *reply, const struct sw_err *err)
{
    (void)to;
    sw_pb_free(current->reply);
    current->reply = reply != NULL ? sw_pb_clone(reply) : NULL;
    if (err != NULL)
        current->err = *err;
}

static void describe(Swarm__NodeDescription *description, const char *hostname)
{
    swarm__node_description__init(description);
    description->hostname = (char *)(uintptr_t)hostname;
}

static int boot(struct rig *rig, struct sw_err *err)
{
    Swarm__NodeDescription description;
    Swarm__BootstrapRequest request = SWARM__BOOTSTRAP_REQUEST__INIT;
    Swarm__StoreBatch *batch = NULL;
    describe(&description, "first");
    request.curve_key = (ProtobufCBinaryData) { 32, rig->node_keys.public_key };
    request.has_admin_curve_key = 1;
    request.admin_curve_key = (ProtobufCBinaryData) { 32, rig->admin_keys.public_key };
    request.advertise_host = (char *)(uintptr_t) "fd00::1";
    request.description = &description;
    struct ca_ports ports = { 2377, 2577, 2477 };
    int rc = ca_bootstrap(rig->ca, &request, ports, NOW_NS, &batch, &rig->init, err);
    if (rc == 0) {
        commit(rig, batch, NULL, NULL);
        sw_pb_free(batch);
    }
    return rc;
}

/* What the agent does with the reply. */
static void write_identity(struct rig *rig)
{
    struct sw_err err;
    Swarm__NodeIdentity identity = SWARM__NODE_IDENTITY__INIT;
    identity.cluster_id = rig->init->cluster_id;
    identity.node_id = rig->init->node_id;
    identity.role = BUS_MANAGER;
    identity.root_key = rig->init->root_key;
    identity.curve_public = (ProtobufCBinaryData) { 32, rig->node_keys.public_key };
    identity.curve_secret = (ProtobufCBinaryData) { 32, rig->node_keys.secret_key };
    identity.certificate = rig->init->certificate;
    assert_int_equal(identity_node_save(rig->dir, &identity, &err), 0);
}

static int setup(void **state)
{
    struct rig *rig = sw_alloc0(sizeof *rig);
    struct sw_err err;
    current = rig;
    (void)strcpy(rig->dir, "/tmp/test-ca-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    rig->mirror = mirror_new();
    identity_curve_make(&rig->node_keys);
    identity_curve_make(&rig->admin_keys);
    assert_int_equal(ca_new(rig->dir, &rig->ca, &err), 0);
    assert_false(ca_ready(rig->ca));
    if (boot(rig, &err) != 0)
        fail_msg("%s", err.text);
    write_identity(rig);
    rig->join =
        (struct join) { .ca = rig->ca, .mirror = rig->mirror, .propose = propose, .propose_arg = rig, .answer = on_answer };
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    ca_free(rig->ca);
    mirror_free(rig->mirror);
    sw_pb_free(rig->init);
    sw_pb_free(rig->reply);
    (void)svc_rmtree(rig->dir, NULL);
    free(rig);
    return 0;
}

/* Join under `keys` with the token's secret; the failure is in rig->err too. */
static int join_with(struct rig *rig, const char *token, const struct bus_keys *keys, const uint8_t request_key[32])
{
    uint8_t root[32], secret[16];
    Swarm__NodeDescription description;
    Swarm__JoinRequest request = SWARM__JOIN_REQUEST__INIT;
    struct bus_sender sender = { .role = BUS_JOINER };
    assert_int_equal(identity_token_parse(token, root, secret, &rig->err), 0);
    describe(&description, "second");
    memcpy(sender.curve_key, keys->public_key, 32);
    request.secret = (ProtobufCBinaryData) { 16, secret };
    request.curve_key = (ProtobufCBinaryData) { 32, (uint8_t *)(uintptr_t)request_key };
    request.description = &description;
    sw_pb_free(rig->reply);
    rig->reply = NULL;
    rig->err = (struct sw_err) { 0 };
    return join_request(&rig->join, &sender, &request, NOW_NS, &rig->err);
}

static void test_bootstrap(void **state)
{
    struct rig *rig = *state;
    struct identity_cert cert;
    struct sw_err err;
    const Swarm__Cluster *cluster = mirror_cluster(rig->mirror);
    const Swarm__Node *node = mirror_node(rig->mirror, rig->init->node_id);
    assert_non_null(cluster);
    assert_non_null(node);
    assert_string_equal(cluster->id, rig->init->cluster_id);
    assert_string_equal(node->manager->control, "tcp://[fd00::1]:2377");
    assert_string_equal(node->manager->dispatcher, "tcp://[fd00::1]:2577");
    assert_string_equal(node->manager->raft, "tcp://[fd00::1]:2477");
    assert_true(sw_pb_equal(node->manager, rig->init->manager));
    assert_int_equal(node->role, SWARM__NODE_ROLE__NODE_MANAGER);

    assert_int_equal(identity_cert_verify(rig->init->certificate, rig->init->root_key.data, NOW_S, &cert, &err), 0);
    assert_int_equal(cert.role, BUS_MANAGER);
    assert_string_equal(cert.node_id, node->id);
    assert_true(cert.not_after == node->cert_not_after);
    assert_int_equal(identity_cert_verify(rig->init->admin_certificate, rig->init->root_key.data, NOW_S, &cert, &err), 0);
    assert_int_equal(cert.role, BUS_ADMIN);
    assert_memory_equal(cert.curve_key, rig->admin_keys.public_key, 32);

    char token[IDENTITY_TOKEN_SIZE];
    assert_int_equal(ca_token(rig->ca, SWARM__NODE_ROLE__NODE_WORKER, token, &err), 0);
    assert_string_equal(token, rig->init->worker_token);
    assert_int_equal(boot(rig, &err), -SW_PRECONDITION);
}

static void test_nothing_in_clear(void **state)
{
    struct rig *rig = *state;
    struct sw_err err;
    uint8_t root[32], secret[16];
    struct bus_keys control;
    SW_AUTO_BUF record = { 0 };
    sw_pb_pack(mirror_cluster(rig->mirror), &record);
    assert_int_equal(identity_token_parse(rig->init->worker_token, root, secret, &err), 0);
    assert_null(memmem(record.data, record.len, secret, sizeof secret));
    assert_int_equal(ca_control_keys(rig->ca, &control, &err), 0);
    assert_null(memmem(record.data, record.len, control.secret_key, 32));
}

static void test_restart(void **state)
{
    struct rig *rig = *state;
    struct ca *again = NULL;
    struct sw_err err;
    struct bus_keys before, after;
    char token[IDENTITY_TOKEN_SIZE];
    assert_int_equal(ca_new(rig->dir, &again, &err), 0);
    assert_int_equal(ca_token(again, SWARM__NODE_ROLE__NODE_WORKER, token, &err), -SW_PRECONDITION);
    assert_int_equal(ca_load(again, rig->mirror, &err), 0);
    assert_true(ca_ready(again));
    assert_int_equal(ca_token(again, SWARM__NODE_ROLE__NODE_WORKER, token, &err), 0);
    assert_string_equal(token, rig->init->worker_token);
    assert_int_equal(ca_control_keys(rig->ca, &before, &err), 0);
    assert_int_equal(ca_control_keys(again, &after, &err), 0);
    assert_memory_equal(&before, &after, sizeof before);
    ca_free(again);

    struct mirror *empty = mirror_new();
    assert_int_equal(ca_new(rig->dir, &again, &err), 0);
    assert_int_equal(ca_load(again, empty, &err), -SW_NOT_FOUND);
    identity_wipe(rig->dir);
    assert_int_equal(ca_load(again, rig->mirror, &err), -SW_NOT_FOUND); /* no identity, no data key */
    assert_false(ca_ready(again));
    ca_free(again);
    mirror_free(empty);
}

static void test_join_worker(void **state)
{
    struct rig *rig = *state;
    struct bus_keys keys, other;
    struct identity_cert cert;
    identity_curve_make(&keys);
    identity_curve_make(&other);
    assert_int_equal(join_with(rig, rig->init->worker_token, &keys, keys.public_key), 0);
    assert_non_null(rig->reply);
    assert_int_equal(rig->reply->role, BUS_WORKER);
    assert_int_equal(rig->reply->n_managers, 1);
    assert_int_equal(identity_cert_verify(rig->reply->certificate, rig->init->root_key.data, NOW_S, &cert, &rig->err), 0);
    assert_int_equal(cert.role, BUS_WORKER);
    assert_memory_equal(cert.curve_key, keys.public_key, 32);
    const Swarm__Node *node = mirror_node(rig->mirror, rig->reply->node_id);
    assert_non_null(node);
    assert_int_equal(node->role, SWARM__NODE_ROLE__NODE_WORKER);

    SW_AUTO(sw_free) char *first = sw_strdup(rig->reply->node_id);
    assert_int_equal(join_with(rig, rig->init->worker_token, &keys, keys.public_key), 0); /* the reply was lost */
    assert_string_equal(rig->reply->node_id, first);
    assert_int_equal(mirror_count(rig->mirror, SWARM__TABLE__TABLE_NODE), 2);

    assert_int_equal(join_with(rig, rig->init->worker_token, &other, keys.public_key), -SW_DENIED); /* somebody else's key */
    assert_int_equal(mirror_count(rig->mirror, SWARM__TABLE__TABLE_NODE), 2);
}

static void test_join_refused(void **state)
{
    struct rig *rig = *state;
    struct bus_keys keys;
    char token[IDENTITY_TOKEN_SIZE];
    identity_curve_make(&keys);
    for (size_t bit = 0; bit < 128; bit++) { /* any other secret */
        uint8_t root[32], secret[16];
        assert_int_equal(identity_token_parse(rig->init->worker_token, root, secret, &rig->err), 0);
        secret[bit / 8] ^= (uint8_t)(1 << bit % 8);
        identity_token_make(root, secret, token);
        assert_int_equal(join_with(rig, token, &keys, keys.public_key), -SW_DENIED);
    }
    assert_int_equal(ca_token(rig->ca, SWARM__NODE_ROLE__NODE_MANAGER, token, &rig->err), 0);
    assert_int_equal(join_with(rig, token, &keys, keys.public_key), -SW_UNSUPPORTED);
    rig->refuse_proposals = true;
    assert_int_equal(join_with(rig, rig->init->worker_token, &keys, keys.public_key), -SW_UNAVAILABLE);
    assert_int_equal(rig->join.pending, 0);
    assert_int_equal(mirror_count(rig->mirror, SWARM__TABLE__TABLE_NODE), 1);
}

static void test_join_waits(void **state)
{
    struct rig *rig = *state;
    struct bus_keys keys;
    struct sw_err lost = { .code = SW_UNAVAILABLE, .text = "not the leader any more" };
    identity_curve_make(&keys);
    rig->hold_proposals = true;
    assert_int_equal(join_with(rig, rig->init->worker_token, &keys, keys.public_key), 0);
    assert_null(rig->reply); /* not before it is committed */
    assert_int_equal(rig->join.pending, 1);
    commit(rig, rig->held_batch, rig->held, rig->held_arg);
    assert_non_null(rig->reply);
    sw_pb_free(rig->held_batch);

    identity_curve_make(&keys);
    assert_int_equal(join_with(rig, rig->init->worker_token, &keys, keys.public_key), 0);
    rig->held(rig->held_arg, 0, NULL, &lost);
    assert_null(rig->reply);
    assert_int_equal(rig->err.code, SW_UNAVAILABLE);
    assert_int_equal(rig->join.pending, 0);
    sw_pb_free(rig->held_batch);

    rig->join.pending = JOIN_PENDING_MAX;
    assert_int_equal(join_with(rig, rig->init->worker_token, &keys, keys.public_key), -SW_LIMIT);
}

static void test_rotate(void **state)
{
    struct rig *rig = *state;
    struct bus_keys keys;
    Swarm__StoreBatch *batch = NULL;
    char manager_before[IDENTITY_TOKEN_SIZE], token[IDENTITY_TOKEN_SIZE];
    identity_curve_make(&keys);
    assert_int_equal(ca_token(rig->ca, SWARM__NODE_ROLE__NODE_MANAGER, manager_before, &rig->err), 0);
    assert_int_equal(ca_rotate(rig->ca, rig->mirror, SWARM__NODE_ROLE__NODE_WORKER, NOW_NS, &batch, &rig->err), 0);
    commit(rig, batch, NULL, NULL);
    sw_pb_free(batch);
    assert_int_equal(ca_load(rig->ca, rig->mirror, &rig->err), 0);
    assert_int_equal(join_with(rig, rig->init->worker_token, &keys, keys.public_key), -SW_DENIED);
    assert_int_equal(ca_token(rig->ca, SWARM__NODE_ROLE__NODE_WORKER, token, &rig->err), 0);
    assert_string_not_equal(token, rig->init->worker_token);
    assert_int_equal(join_with(rig, token, &keys, keys.public_key), 0);
    assert_int_equal(ca_token(rig->ca, SWARM__NODE_ROLE__NODE_MANAGER, token, &rig->err), 0);
    assert_string_equal(token, manager_before);
}

static void test_admit(void **state)
{
    struct rig *rig = *state;
    struct bus_keys keys;
    struct ca_admission open_door = { .mirror = rig->mirror, .joiners = true };
    struct ca_admission closed_door = { .mirror = rig->mirror, .joiners = false };
    identity_curve_make(&keys);
    assert_int_equal(ca_admit(&open_door, rig->admin_keys.public_key).role, BUS_ADMIN);
    assert_string_equal(ca_admit(&open_door, rig->admin_keys.public_key).id, "admin");
    assert_int_equal(ca_admit(&open_door, rig->node_keys.public_key).role, BUS_MANAGER);
    assert_string_equal(ca_admit(&open_door, rig->node_keys.public_key).id, rig->init->node_id);
    assert_int_equal(ca_admit(&open_door, keys.public_key).role, BUS_JOINER);
    assert_int_equal(ca_admit(&closed_door, keys.public_key).role, BUS_NOBODY);

    assert_int_equal(join_with(rig, rig->init->worker_token, &keys, keys.public_key), 0);
    assert_int_equal(ca_admit(&closed_door, keys.public_key).role, BUS_WORKER);
    mirror_remove(rig->mirror, SWARM__TABLE__TABLE_NODE, rig->reply->node_id); /* removed: nobody again, at once */
    assert_int_equal(ca_admit(&closed_door, keys.public_key).role, BUS_NOBODY);
    mirror_clear(rig->mirror);
    assert_int_equal(ca_admit(&open_door, keys.public_key).role, BUS_NOBODY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bootstrap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_in_clear, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_join_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(test_join_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_join_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_admit, setup, teardown),
    };
    struct sw_err err;
    return identity_init(&err) == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
