#include "common/base/buf.h"
#include "services/agent/oci/caps.h"
#include "services/agent/oci/config.h"
#include "services/agent/oci/filter.h"
#include "services/agent/oci/users.h"
#include "services/agent/oci/volumes.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a root with users ---- */
static char root[] = "/tmp/oci-config-XXXXXX";
static int root_fd = -1;

static void put(const char *name, const char *text)
{
    int fd = openat(root_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_int_equal(write(fd, text, strlen(text)), (int)strlen(text));
    (void)close(fd);
}

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(root));
    root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(root_fd, "etc", 0755), 0);
    put("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:100:101::/home/web:/bin/sh\nbroken\n");
    put("etc/group", "root:x:0:\nweb:x:101:\nextra:x:55:other,web\n");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlinkat(root_fd, "etc/passwd", 0);
    (void)unlinkat(root_fd, "etc/group", 0);
    (void)unlinkat(root_fd, "etc", AT_REMOVEDIR);
    (void)close(root_fd);
    return rmdir(root);
}

static void users(void **state)
{
    (void)state;
    struct users found;
    struct sw_err err;
    assert_int_equal(users_find(root_fd, NULL, NULL, 0, &found, &err), 0);
    assert_int_equal(found.uid, 0);
    assert_string_equal(found.home, "/root");
    assert_int_equal(users_find(root_fd, "web", NULL, 0, &found, &err), 0);
    assert_int_equal(found.uid, 100);
    assert_int_equal(found.gid, 101);
    assert_int_equal(found.group_count, 1);
    assert_int_equal(found.groups[0], 55);
    assert_int_equal(users_find(root_fd, "100:extra", NULL, 0, &found, &err), 0);
    assert_int_equal(found.gid, 55);
    char *more[] = { (char *)"root", (char *)"77" };
    assert_int_equal(users_find(root_fd, "12345", more, 2, &found, &err), 0);
    assert_int_equal(found.uid, 12345);
    assert_int_equal(found.groups[1], 77);
    assert_string_equal(found.home, "/");
    assert_int_equal(users_find(root_fd, "nobody", NULL, 0, &found, &err), -SW_INVALID);
    assert_string_equal(err.text, "unable to find user nobody: no matching entries in passwd file");
    assert_int_equal(users_find(root_fd, "web:none", NULL, 0, &found, &err), -SW_INVALID);
}

static void users_stay_in_root(void **state)
{
    (void)state;
    struct users found;
    assert_int_equal(unlinkat(root_fd, "etc/passwd", 0), 0);
    assert_int_equal(symlinkat("../../../../../../etc/passwd", root_fd, "etc/passwd"), 0); /* points to itself in this root */
    assert_int_equal(users_find(root_fd, "daemon", NULL, 0, &found, NULL), -SW_INVALID);
    assert_int_equal(unlinkat(root_fd, "etc/passwd", 0), 0);
    put("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:100:101::/home/web:/bin/sh\n");
}

/* ---- config.json ---- */
static void compare(const char *name, json_t *value)
{
    SW_AUTO(sw_free) char *path = sw_strf("%s/%s", getenv("GOLDEN"), name);
    SW_AUTO(sw_free) char *text = json_dumps(value, JSON_INDENT(1) | JSON_SORT_KEYS);
    if (getenv("UPDATE_TRACES") != NULL)
        assert_int_equal(json_dump_file(value, path, JSON_INDENT(1) | JSON_SORT_KEYS), 0);
    json_t *wanted = json_load_file(path, 0, NULL);
    SW_AUTO(sw_free) char *wanted_text = json_dumps(wanted, JSON_INDENT(1) | JSON_SORT_KEYS);
    json_decref(wanted);
    assert_non_null(wanted_text);
    assert_string_equal(text, wanted_text);
}

struct fixture {
    Swarm__Task task;
    Swarm__TaskSpec spec;
    Swarm__ContainerSpec container;
    struct config_input in;
    struct plan plan;
    json_t *image;
};

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture) { .task = SWARM__TASK__INIT, .spec = SWARM__TASK_SPEC__INIT, .container = SWARM__CONTAINER_SPEC__INIT };
    f->task.id = (char *)"t1";
    f->task.spec = &f->spec;
    f->spec.container = &f->container;
    f->image = json_loads(
        "{\"Env\":[\"A=1\",\"B=2\"],\"Entrypoint\":[\"/entry\"],\"Cmd\":[\"one\"],\"WorkingDir\":\"/w\",\"User\":\"web\"}", 0,
        NULL);
    f->in = (struct config_input) { .task = &f->task,
                                    .image = f->image,
                                    .plan = &f->plan,
                                    .root_fd = root_fd,
                                    .bundle = "/b",
                                    .hostname = "host",
                                    .cgroup_path = "/swarm/x/t1",
                                    .init_path = "/shim",
                                    .pids_limits = true,
                                    .swap_limits = true };
    assert_int_equal(caps_choose(NULL, 0, NULL, 0, &f->in.caps, NULL), 0);
}

static void config_plain(void **state)
{
    (void)state;
    struct fixture f;
    json_t *config = NULL;
    fixture_init(&f);
    assert_int_equal(config_make(&f.in, &config, NULL), 0);
    compare("config_plain.json", config);
    json_decref(config);
    json_decref(f.image);
}

static void config_full(void **state)
{
    (void)state;
    struct fixture f;
    json_t *config = NULL;
    fixture_init(&f);
    char *env[] = { (char *)"A=9", (char *)"B", (char *)"C=x=y" };
    char *args[] = { (char *)"run", (char *)"fast" };
    Swarm__Ulimit limit = SWARM__ULIMIT__INIT, *limits[] = { &limit };
    Swarm__Pair sysctl = SWARM__PAIR__INIT, net = SWARM__PAIR__INIT, *sysctls[] = { &sysctl, &net };
    Swarm__Resources res = SWARM__RESOURCES__INIT;
    Swarm__ResourceRequirements req = SWARM__RESOURCE_REQUIREMENTS__INIT;
    limit.name = (char *)"nofile";
    limit.soft = 100;
    limit.hard = 200;
    sysctl.key = (char *)"kernel.msgmax";
    sysctl.value = (char *)"65536";
    net.key = (char *)"net.core.somaxconn";
    net.value = (char *)"99";
    res.nano_cpus = 1500000000;
    res.memory_bytes = 64 << 20;
    req.limits = &res;
    f.spec.resources = &req;
    f.container.env = env;
    f.container.n_env = 3;
    f.container.args = args;
    f.container.n_args = 2;
    f.container.ulimits = limits;
    f.container.n_ulimits = 1;
    f.container.sysctls = sysctls;
    f.container.n_sysctls = 2;
    f.container.init = f.container.tty = f.container.read_only = f.container.no_new_privileges = 1;
    f.container.pids_limit = 20;
    f.container.user = (char *)"0";
    f.plan.mounts[0] = (struct plan_mount) { (char *)"bind", (char *)"/src", (char *)"/etc/hosts", (char *)"rbind,ro" };
    f.plan.mount_count = 1;
    f.in.filter_bpf = "AAAA";
    assert_int_equal(config_make(&f.in, &config, NULL), 0);
    compare("config_full.json", config);
    json_decref(config);
    json_decref(f.image);
}

static void config_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct sw_err err;
    json_t *config = NULL;
    fixture_init(&f);
    f.container.dir = (char *)"relative";
    assert_int_equal(config_make(&f.in, &config, &err), -SW_INVALID);
    f.container.dir = NULL;
    f.in.image = NULL;
    assert_int_equal(config_make(&f.in, &config, &err), -SW_INVALID);
    assert_non_null(strstr(err.text, "no command specified"));
    Swarm__Ulimit limit = SWARM__ULIMIT__INIT, *limits[] = { &limit };
    limit.name = (char *)"nosuch";
    f.container.ulimits = limits;
    f.container.n_ulimits = 1;
    f.in.image = f.image;
    assert_int_equal(config_make(&f.in, &config, &err), -SW_INVALID);
    json_decref(f.image);
}

static void note_setting(void *arg, const char *setting)
{
    sw_buf_addf(arg, "%s;", setting);
}

static void sysctls(void **state)
{
    (void)state;
    struct sw_err err;
    SW_AUTO_BUF seen = { 0 };
    Swarm__ContainerSpec spec = SWARM__CONTAINER_SPEC__INIT;
    Swarm__Pair pair = SWARM__PAIR__INIT, *pairs[] = { &pair };
    spec.sysctls = pairs;
    spec.n_sysctls = 1;
    pair.key = (char *)"net.ipv4.ip_forward";
    pair.value = (char *)"1";
    assert_int_equal(config_net_sysctls(&spec, note_setting, &seen, &err), 0);
    assert_string_equal(sw_buf_str(&seen), "net/ipv4/ip_forward=1;");
    const char *const refused[] = { "vm.swappiness", "kernel.hostname", "net...x", "net.a b", "kernel.msgmaxx" };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        pair.key = (char *)(uintptr_t)refused[i];
        assert_int_equal(config_net_sysctls(&spec, note_setting, &seen, &err), -SW_INVALID);
    }
}

static void words(void **state)
{
    (void)state;
    assert_int_equal(config_signal_number("SIGTERM"), SIGTERM);
    assert_int_equal(config_signal_number("usr1"), SIGUSR1);
    assert_int_equal(config_signal_number("9"), 9);
    assert_int_equal(config_signal_number("SIGRTMIN+3"), SIGRTMIN + 3);
    assert_int_equal(config_signal_number("SIGNOPE"), 0);
    assert_int_equal(config_signal_number("0"), 0);
    uint64_t caps;
    struct sw_err err;
    char *add[] = { (char *)"net_admin" }, *drop[] = { (char *)"ALL" }, *bad[] = { (char *)"CAP_NOPE" };
    assert_int_equal(caps_choose(add, 1, drop, 1, &caps, &err), 0);
    assert_int_equal(caps, 1 << 12);
    assert_int_equal(caps_choose(bad, 1, NULL, 0, &caps, &err), -SW_INVALID);
    assert_string_equal(err.text, "invalid CapAdd: unknown capability: \"CAP_NOPE\"");
    Swarm__ContainerSpec spec = SWARM__CONTAINER_SPEC__INIT;
    SW_AUTO(sw_free) char *resolv = config_resolv(&spec, "# x\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nsearch a b\n");
    assert_string_equal(resolv, "nameserver 10.0.0.1\nsearch a b\n");
}

/* ---- the filter ---- */
static const char profile_text[] =
    "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,"
    "\"archMap\":[{\"architecture\":\"SCMP_ARCH_X86_64\",\"subArchitectures\":[\"SCMP_ARCH_X86\"]}],\"syscalls\":["
    "{\"names\":[\"read\",\"nosuchcall\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[],\"includes\":{},\"excludes\":{}},"
    "{\"names\":[\"chroot\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[],\"includes\":{\"caps\":[\"CAP_SYS_CHROOT\"]},\"excludes\":"
    "{}},"
    "{\"names\":[\"mount\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[],\"includes\":{\"caps\":[\"CAP_SYS_ADMIN\"]},\"excludes\":{}"
    "},"
    "{\"names\":[\"bpf\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":1,\"args\":[],\"includes\":{},\"excludes\":{\"caps\":[\"CAP_"
    "SYS_ADMIN\"]}},"
    "{\"names\":[\"arm_fadvise64_64\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[],\"includes\":{\"arches\":[\"arm\"]},"
    "\"excludes\":{}},"
    "{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":8,\"valueTwo\":0,\"op\":\"SCMP_"
    "CMP_EQ\"}],"
    "\"includes\":{},\"excludes\":{}}]}";

static void filter(void **state)
{
    (void)state;
    uint64_t caps;
    char *program = NULL;
    json_t *plain = NULL, *profile = json_loads(profile_text, 0, NULL);
    assert_int_equal(caps_choose(NULL, 0, NULL, 0, &caps, NULL), 0);
    assert_int_equal(filter_translate(profile, caps, "amd64", &plain, NULL), 0);
    compare("filter.json", plain);
    assert_int_equal(filter_compile(plain, &program, NULL), 0);
    assert_true(strlen(program) > 100);
    json_decref(plain);
    free(program);
    struct sw_err err;
    (void)json_object_set_new(json_array_get(json_object_get(profile, "syscalls"), 0), "action", json_string("SCMP_ACT_DANCE"));
    assert_int_equal(filter_translate(profile, caps, "amd64", &plain, NULL), 0);
    assert_int_equal(filter_compile(plain, &program, &err), -SW_UNSUPPORTED);
    json_decref(plain);
    json_decref(profile);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users),          cmocka_unit_test(users_stay_in_root),
        cmocka_unit_test(config_plain),   cmocka_unit_test(config_full),
        cmocka_unit_test(config_refused), cmocka_unit_test(sysctls),
        cmocka_unit_test(words),          cmocka_unit_test(filter),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
