/* The watch over the identity in a real loop: the file is written, changed and wiped as the agent does it. */
#include "common/member/member.h"
#include "common/service/tests/daemon.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct rig {
    struct svc *svc;
    struct member *member;
    struct svc_timer *guard;
    struct bus_keys keys;
    int (*begin)(struct rig *rig);
    int activated, result; /* what activate() answers */
    bool busy;
};

static int activate(void *arg, const Swarm__NodeIdentity *identity, struct sw_err *err)
{
    struct rig *rig = arg;
    rig->activated++;
    assert_string_equal(identity->node_id, "node1");
    assert_memory_equal(identity->curve_secret.data, rig->keys.secret_key, 32);
    return rig->result == 0 ? 0 : sw_fail(err, SW_LIMIT, "no more");
}

static bool busy(void *arg)
{
    return ((struct rig *)arg)->busy;
}

static void save(struct rig *rig, const char *node_id, enum bus_role role)
{
    struct identity_root root;
    struct identity_cert cert = { .cluster_id = "cluster1", .role = role, .not_after = INT64_MAX, .serial = 1 };
    identity_root_make(&root);
    (void)snprintf(cert.node_id, sizeof cert.node_id, "%s", node_id);
    SW_AUTO(sw_pb_free) Swarm__Certificate *certificate = identity_cert_sign(&root, &cert);
    struct sw_err err;
    Swarm__NodeIdentity identity = SWARM__NODE_IDENTITY__INIT;
    identity.node_id = cert.node_id;
    identity.cluster_id = cert.cluster_id;
    identity.role = role;
    identity.certificate = certificate;
    identity.root_key = (ProtobufCBinaryData) { sizeof root.public_key, root.public_key };
    identity.curve_public = (ProtobufCBinaryData) { sizeof rig->keys.public_key, rig->keys.public_key };
    identity.curve_secret = (ProtobufCBinaryData) { sizeof rig->keys.secret_key, rig->keys.secret_key };
    assert_int_equal(identity_node_save(svc_state_dir(rig->svc), &identity, &err), 0);
}

static void on_guard(void *arg)
{
    svc_quit(((struct rig *)arg)->svc, 99);
}

static int start(struct svc *svc, void *state, struct sw_err *err)
{
    struct rig *rig = state;
    rig->svc = svc;
    rig->guard = svc_timer_new(svc, on_guard, rig);
    svc_timer_at(rig->guard, svc_mono_ms() + DAEMON_GUARD_MS);
    const struct member_spec spec = { .svc = svc, .roles = BUS_MANAGER, .activate = activate, .busy = busy, .arg = rig };
    int rc = member_watch(&spec, &rig->member, err);
    return rc != 0 ? rc : rig->begin(rig);
}

static void stop(struct svc *svc, void *state)
{
    struct rig *rig = state;
    (void)svc;
    svc_timer_free(rig->guard);
    member_free(rig->member);
}

/* Runs one daemon to its end; the exit code. */
static int run(struct rig *rig, int (*begin)(struct rig *rig))
{
    char dir[] = "/tmp/test-member-XXXXXX";
    rig->begin = begin;
    identity_curve_make(&rig->keys);
    return daemon_run(dir, start, stop, rig);
}

/* ---- tests ---- */

static int appear_and_go(struct rig *rig)
{
    member_look(rig->member);
    save(rig, "node1", BUS_WORKER);
    member_look(rig->member);
    assert_int_equal(rig->activated, 0);
    save(rig, "node1", BUS_MANAGER);
    member_look(rig->member);
    member_look(rig->member);
    assert_int_equal(rig->activated, 1);
    identity_wipe(svc_state_dir(rig->svc)); /* seen by the watch */
    return 0;
}

static void test_appears_and_goes(void **state)
{
    (void)state;
    struct rig rig = { 0 };
    assert_int_equal(run(&rig, appear_and_go), 0);
    assert_int_equal(rig.activated, 1);
}

static int change_node(struct rig *rig)
{
    save(rig, "node1", BUS_MANAGER);
    member_look(rig->member);
    save(rig, "node2", BUS_MANAGER);
    return 0;
}

static int change_key(struct rig *rig)
{
    save(rig, "node1", BUS_MANAGER);
    member_look(rig->member);
    identity_curve_make(&rig->keys);
    save(rig, "node1", BUS_MANAGER);
    return 0;
}

static int change_role(struct rig *rig)
{
    save(rig, "node1", BUS_MANAGER);
    member_look(rig->member);
    save(rig, "node1", BUS_WORKER);
    return 0;
}

static void test_becomes_another(void **state)
{
    (void)state;
    int (*const changes[])(struct rig * rig) = { change_node, change_key, change_role };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct rig rig = { 0 };
        assert_int_equal(run(&rig, changes[i]), 0);
        assert_int_equal(rig.activated, 1);
    }
}

static int appear(struct rig *rig)
{
    save(rig, "node1", BUS_MANAGER);
    return 0;
}

static void test_activation_fails(void **state)
{
    (void)state;
    struct rig rig = { .result = -1 };
    assert_int_equal(run(&rig, appear), 1);
    assert_int_equal(rig.activated, 1);
}

static int wait_until_free(struct rig *rig)
{
    save(rig, "node1", BUS_MANAGER);
    rig->busy = true;
    member_look(rig->member);
    assert_int_equal(rig->activated, 0);
    rig->busy = false;
    member_look(rig->member);
    svc_quit(rig->svc, 7);
    return 0;
}

static void test_busy(void **state)
{
    (void)state;
    struct rig rig = { 0 };
    assert_int_equal(run(&rig, wait_until_free), 7);
    assert_int_equal(rig.activated, 1);
}

static int spoil(struct rig *rig)
{
    SW_AUTO(sw_free) char *path = sw_strf("%s/node/identity", svc_state_dir(rig->svc));
    save(rig, "node1", BUS_MANAGER);
    member_look(rig->member);
    assert_int_equal(chmod(path, 0644), 0);
    member_look(rig->member);
    svc_quit(rig->svc, 7);
    return 0;
}

static void test_unreadable_changes_nothing(void **state)
{
    (void)state;
    struct rig rig = { 0 };
    assert_int_equal(run(&rig, spoil), 7);
    assert_int_equal(rig.activated, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appears_and_goes),           cmocka_unit_test(test_becomes_another),
        cmocka_unit_test(test_activation_fails),           cmocka_unit_test(test_busy),
        cmocka_unit_test(test_unreadable_changes_nothing),
    };
    struct sw_err err;
    return identity_init(&err) == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
