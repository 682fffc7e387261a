/* Command lines to specs: each line of spec.trace is a command line and the JSON of what it makes (or its error).
 * UPDATE_TRACES=1 rewrites the file. */
#include "common/base/tests/golden.h"
#include "services/swarm-cli/core/objects.h"
#include "services/swarm-cli/core/spec.h"
#include "services/swarm-cli/core/values.h"

#include "common/template/template.h"

static const char *const client_environ[] = { "HOME=/root", "TERM=xterm", NULL };
static const char *const env_file = "# comment\n  FROM=file\nHOME\nMISSING\nE=file\n\n";

static const char *const creates[] = {
    "--name web nginx",
    "--name web --replicas 3 --label a=b --label c --container-label x=y nginx:1.25 nginx -g daemon_off",
    "--name web --mode global -e A=1 -e HOME -e NOPE -e A=2 -e E=flag reg:5000/img",
    "--name web --limit-cpu 0.5 --limit-memory 64m --limit-pids 10 --reserve-cpu 1/4 --reserve-memory 32m i",
    "--name web --mount type=bind,source=/a,target=/b,readonly --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770 i",
    "--name web --mount source=v,target=/v,volume-opt=a=b,volume-label=k=v,volume-nocopy i",
    "--name web -p 8080:80 -p 53:53/udp --publish mode=host,target=9,published=99,protocol=udp -p 7000-7002:70 -p 81 i",
    "--name web --constraint node.role==manager --placement-pref spread=node.labels.rack --replicas-max-per-node 2 i",
    "--name web --restart-condition on-failure --restart-max-attempts 2 i",
    "--name web --restart-delay 1s --restart-window 1m --update-parallelism 0 --rollback-order start-first i",
    "--name web --update-max-failure-ratio .25 --update-failure-action rollback --update-monitor 100ms i",
    "--name web --user u:g --workdir /w --hostname h-{{.Task.Slot}} --read-only --init --tty --stop-signal INT i",
    "--name web --stop-grace-period 1m --cap-add net_admin --cap-add ALL --cap-drop CAP_CHOWN --sysctl a.b=1 --ulimit nofile=5:6 "
    "i",
    "--name web --entrypoint sh i@sha256:0123456789012345678901234567890123456789012345678901234567890123",
    "--name web --group g --group 7 --group g --oom-score-adj -500 --host a:1.2.3.4 --host b=::1 --host c:[fe80::2] i",
    "--name web --dns 9.9.9.9 --dns 2001:db8::1 --dns-search example.org --dns-option ndots:2 i",
    "--name web --oom-score-adj 1001 i",
    "--name web --mode global --replicas 2 i",
    "--name web --mode global --replicas-max-per-node 2 i",
    "--name web --mode sometimes i",
    "--name web --mode replicated-job i",
    "--name web --restart-condition sometimes i",
    "--name web --update-order sideways i",
    "--name web --rollback-failure-action rollback i",
    "--name web --limit-pids -1 i",
    "--name web Not/An/Image:x:y:",
    "--name web UPPER/Case",
};

static const char *const updates[] = {
    "web",
    "--image nginx:2 --args x_y --replicas 5 web",
    "--force web",
    "--label-add a=2 --label-add new=1 --label-rm old web",
    "--env-add Z=1 --env-add A=9 --env-rm B web",
    "--constraint-rm node.role==manager --constraint-add node.labels.x==1 --placement-pref-add spread=node.labels.z web",
    "--mount-rm /old --mount-add type=tmpfs,target=/new --publish-rm 80 --publish-add 90:9090 web",
    "--mount-add type=tmpfs,target=/new --mount-add type=tmpfs,target=/new web",
    "--cap-add SYS_TIME --cap-drop NET_ADMIN --sysctl-add n=2 --sysctl-rm k --ulimit-add core=0 --ulimit-rm nofile web",
    "--user= --hostname= --entrypoint= --limit-memory 0 web",
    "--group-add b --group-add a --group-rm g --host-rm h --host-add i:9.9.9.9 --dns-rm 8.8.8.8 --dns-search-add x web",
    "--host-rm h:2.2.2.2 --dns-option-add rotate --dns-add 1.1.1.1 --oom-score-adj 7 web",
    "--restart-delay 9s --update-delay 3s --rollback-monitor 1s web",
};

static const char *const base =
    "--name web --label a=1 --label old=1 -e A=1 -e B=2 --user u --constraint node.role==manager --mount type=tmpfs,target=/old "
    "-p 80:80 --cap-add NET_ADMIN --sysctl k=1 --ulimit nofile=1:2 --group g --host h:1.1.1.1 --host h:2.2.2.2 --dns 8.8.8.8 "
    "--limit-memory 8m --entrypoint run --update-delay 1s nginx:1 "
    "go";

static int parse(const char *line, bool create, struct flags *flags, char *copy)
{
    struct flags_usage usage = { "swarm-cli",
                                 "service",
                                 "X",
                                 1,
                                 -1,
                                 create,
                                 "",
                                 create ? spec_create_flags : spec_update_flags,
                                 create ? spec_create_flag_count : spec_update_flag_count };
    static char *argv[64];
    int argc = 0;
    SW_AUTO_BUF err = { 0 };
    strcpy(copy, line);
    for (char *save = NULL, *word = strtok_r(copy, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    enum flags_result result = flags_parse(&usage, argc, argv, flags, &err);
    if (result != FLAGS_OK)
        fail_msg("'%s': %s", line, sw_buf_str(&err));
    return 0;
}

static void add_result(const char *line, const Swarm__ServiceSpec *spec, const struct sw_err *err, struct sw_buf *out)
{
    sw_buf_addf(out, "$ %s\n", line);
    if (spec == NULL) {
        sw_buf_addf(out, "error %s\n", err->text);
        return;
    }
    json_auto_t *json = objects_service_spec(spec);
    template_json(json, 0, out);
    sw_buf_adds(out, "\n");
}

static Swarm__ServiceSpec *make(const char *line, struct sw_err *err)
{
    char copy[1024];
    struct flags flags;
    Swarm__ServiceSpec *spec = NULL;
    (void)parse(line, true, &flags, copy);
    struct spec_input input = { &flags, client_environ, &env_file, strstr(line, "-e ") != NULL, "random" };
    (void)spec_create(&input, &spec, err);
    flags_deinit(&flags);
    return spec;
}

static void test_trace(void **state)
{
    SW_AUTO_BUF out = { 0 };
    (void)state;
    for (size_t i = 0; i < sizeof creates / sizeof *creates; i++) {
        struct sw_err err = { 0 };
        SW_AUTO(sw_pb_free) Swarm__ServiceSpec *spec = make(creates[i], &err);
        add_result(creates[i], spec, &err, &out);
    }
    sw_buf_addf(&out, "\nupdates of: %s\n", base);
    for (size_t i = 0; i < sizeof updates / sizeof *updates; i++) {
        struct sw_err err = { 0 };
        char copy[1024];
        struct flags flags;
        SW_AUTO(sw_pb_free) Swarm__ServiceSpec *spec = make(base, &err);
        (void)parse(updates[i], false, &flags, copy);
        struct spec_input input = { .flags = &flags, .environ = client_environ };
        int rc = spec_update(&input, spec, &err);
        add_result(updates[i], rc == 0 ? spec : NULL, &err, &out);
        flags_deinit(&flags);
    }
    golden_check(TRACE_DIR "/spec.trace", &out);
}

static void test_noop_update(void **state)
{
    struct sw_err err = { 0 };
    char copy[1024];
    struct flags flags;
    SW_AUTO(sw_pb_free) Swarm__ServiceSpec *before = make(base, &err);
    SW_AUTO(sw_pb_free) Swarm__ServiceSpec *after = make(base, &err);
    (void)state;
    (void)parse("web", false, &flags, copy);
    struct spec_input input = { .flags = &flags };
    assert_int_equal(spec_update(&input, after, &err), 0);
    assert_true(sw_pb_equal(before, after));
    flags_deinit(&flags);
}

static void test_rollback_and_scale(void **state)
{
    struct sw_err err = { 0 };
    char copy[1024];
    struct flags flags;
    (void)state;
    (void)parse("--rollback -d web", false, &flags, copy);
    assert_int_equal(spec_rollback_check(&flags, &err), 0);
    flags_deinit(&flags);
    (void)parse("--rollback --image x web", false, &flags, copy);
    assert_int_equal(spec_rollback_check(&flags, &err), -SW_INVALID);
    assert_string_equal(err.text, "other flags may not be combined with --rollback");
    flags_deinit(&flags);
    SW_AUTO(sw_pb_free) Swarm__ServiceSpec *global = make("--name g --mode global i", &err);
    assert_int_equal(spec_scale(global, 2, &err), -SW_INVALID);
}

static void test_refused_values(void **state)
{
    static const struct {
        flag_check_fn *check;
        const char *text;
        const char *error;
    } cases[] = {
        { values_check_mount, "type=bind,source=/x", "target is required" },
        { values_check_mount, "type=bind,source=/x,target=/y,volume-nocopy",
          "cannot mix 'volume-*' options with mount type 'bind'" },
        { values_check_mount, "target=/y,foo=1", "unexpected key 'foo' in 'foo=1'" },
        { values_check_mount, "target=/y,readonly=maybe", "invalid value for readonly: maybe" },
        { values_check_mount, "target=/y,type=npipe", "mount type 'npipe' is not supported" },
        { values_check_mount, "target=\"/y", "bare \" in non-quoted field" },
        { values_check_mount, "\"target=/y", "extraneous or missing \" in quoted field" },
        { values_check_mount, "type=bind,target=/y", "source is required" },
        { values_check_publish, "80/foo", "invalid proto: foo" },
        { values_check_publish, "target=80,mode=x", "invalid publish mode value (x): must be either 'ingress' or 'host'" },
        { values_check_publish, "published=80", "missing mandatory field 'target'" },
        { values_check_publish, "1-3:1-2", "invalid ranges specified for container and host Ports" },
        { values_check_publish, "127.0.0.1:80:80", "hostip is not supported" },
        { values_check_publish, "0:80", "invalid hostPort: 0" },
        { values_check_publish, "1-65535:1-65535", "range of more than" },
        { values_check_ulimit, "bogus=1", "invalid ulimit type: bogus" },
        { values_check_ulimit, "core=2:1", "soft limit must be less than or equal to hard limit" },
        { values_check_ulimit, "core", "invalid ulimit argument" },
        { values_check_preference, "rack", "must be of the form" },
        { values_check_pair, "=x", "empty name" },
        { values_check_pair, "a b=x", "contains whitespaces" },
        { values_check_ratio, "1.5", "a ratio is 0 to 1" },
        { values_check_sysctl, "x", "expected NAME=VALUE" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sw_err err = { 0 };
        if (cases[i].check(cases[i].text, &err) == 0 || strstr(err.text, cases[i].error) == NULL)
            fail_msg("'%s' gave '%s'", cases[i].text, err.text);
    }
}

static void test_words(void **state)
{
    struct sw_err err = { 0 };
    char **list = NULL;
    size_t count = 0;
    (void)state;
    assert_int_equal(values_words(" sh -c 'a b' \"c \\\" d\" e\\ f '' ", &list, &count, &err), 0);
    assert_int_equal(count, 6);
    assert_string_equal(list[2], "a b");
    assert_string_equal(list[3], "c \" d");
    assert_string_equal(list[4], "e f");
    assert_string_equal(list[5], "");
    values_strings_clear(&list, &count);
    assert_int_equal(values_words("'open", &list, &count, &err), -SW_INVALID);
    values_strings_clear(&list, &count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace),          cmocka_unit_test(test_noop_update), cmocka_unit_test(test_rollback_and_scale),
        cmocka_unit_test(test_refused_values), cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
