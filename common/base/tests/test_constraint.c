#include "common/base/constraint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *text;
    bool match;
} matches[] = {
    { "node.id==n1", true },
    { "node.id == N1", true },
    { "node.id!=n1", false },
    { "node.hostname==alpha", true },
    { "NODE.HostName!=beta", true },
    { "node.role==manager", true },
    { "node.role==worker", false },
    { "node.ip==10.1.2.3", true },
    { "node.ip==10.1.0.0/16", true },
    { "node.ip==10.1.2.0/31", false },
    { "node.ip!=10.2.0.0/16", true },
    { "node.ip==fd00::/8", false },
    { "node.ip==10.1.2.3/33", false },
    { "node.platform.os==linux", true },
    { "node.platform.arch==x86_64", true },
    { "node.platform.arch==amd64", true },
    { "node.platform.arch!=aarch64", true },
    { "node.labels.zone==EU", true },
    { "node.labels.Zone==eu", false },
    { "node.labels.missing!=x", true },
    { "node.labels.missing==x", false },
    { "engine.labels.disk==ssd", true },
};

static Swarm__Pair zone = SWARM__PAIR__INIT;
static Swarm__Pair disk = SWARM__PAIR__INIT;

static bool try_match(const char *text)
{
    zone.key = (char *)"zone";
    zone.value = (char *)"eu";
    disk.key = (char *)"disk";
    disk.value = (char *)"ssd";
    Swarm__Pair *zones[] = { &zone };
    Swarm__Pair *disks[] = { &disk };
    Swarm__NodeSpec spec = SWARM__NODE_SPEC__INIT;
    spec.labels = zones;
    spec.n_labels = 1;
    Swarm__Platform platform = SWARM__PLATFORM__INIT;
    platform.architecture = (char *)"x86_64";
    platform.os = (char *)"linux";
    Swarm__NodeDescription about = SWARM__NODE_DESCRIPTION__INIT;
    about.hostname = (char *)"alpha";
    about.platform = &platform;
    about.engine_labels = disks;
    about.n_engine_labels = 1;
    Swarm__NodeStatus status = SWARM__NODE_STATUS__INIT;
    status.addr = (char *)"10.1.2.3";
    Swarm__Node node = SWARM__NODE__INIT;
    node.id = (char *)"n1";
    node.role = SWARM__NODE_ROLE__NODE_MANAGER;
    node.spec = &spec;
    node.description = &about;
    node.status = &status;

    struct constraints set = { 0 };
    struct sw_err err;
    char *texts[] = { (char *)text };
    assert_int_equal(constraints_parse(texts, 1, &set, &err), 0);
    bool match = constraints_match(&set, &node);
    constraints_deinit(&set);
    return match;
}

static void test_matches(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof matches / sizeof *matches; i++)
        if (try_match(matches[i].text) != matches[i].match)
            fail_msg("%s should%s match", matches[i].text, matches[i].match ? "" : " not");
}

static void test_missing_everything(void **state)
{
    (void)state;
    Swarm__NodeSpec spec = SWARM__NODE_SPEC__INIT;
    Swarm__Node node = SWARM__NODE__INIT;
    node.id = (char *)"n1";
    node.spec = &spec;
    char *texts[] = { (char *)"node.hostname!=x", (char *)"engine.labels.a!=b", (char *)"node.ip!=1.2.3.4",
                      (char *)"node.platform.arch!=amd64" };
    struct constraints set = { 0 };
    assert_int_equal(constraints_parse(texts, 4, &set, NULL), 0);
    assert_true(constraints_match(&set, &node));
    constraints_deinit(&set);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        { "node.id", "expected one operator" },
        { "node.id=x", "expected one operator" },
        { "9node.id==x", "key '9node.id' is invalid" },
        { "n==x", "key 'n' is invalid" },
        { "node.id==", "value '' is invalid" },
        { "node.id==a!b", "value 'a!b' is invalid" },
        { "node.colour==red", "unknown key 'node.colour'" },
        { "node.labels.==x", "unknown key 'node.labels.'" },
        { "node.idx==x", "unknown key 'node.idx'" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct constraints set = { 0 };
        struct sw_err err = { 0 };
        char *texts[] = { (char *)bad[i].text };
        assert_int_equal(constraints_parse(texts, 1, &set, &err), -SW_INVALID);
        assert_non_null(strstr(err.text, bad[i].says));
        constraints_deinit(&set);
    }
}

static void test_limits(void **state)
{
    (void)state;
    char *many[CONSTRAINTS_MAX + 1];
    for (size_t i = 0; i < CONSTRAINTS_MAX + 1; i++)
        many[i] = (char *)"node.id==a";
    struct constraints set = { 0 };
    assert_int_equal(constraints_parse(many, CONSTRAINTS_MAX + 1, &set, NULL), -SW_LIMIT);
    char text[CONSTRAINT_TEXT_MAX + 2];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    char *one[] = { text };
    assert_int_equal(constraints_parse(one, 1, &set, NULL), -SW_LIMIT);
    constraints_deinit(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_missing_everything),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
