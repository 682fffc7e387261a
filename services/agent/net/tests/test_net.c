/* The attachment on the real kernel, in a network namespace of the test's own. Skipped (77) without the right to make one. */
#include "services/agent/io/attachment.h"
#include "services/agent/net/links.h"
#include "services/agent/net/portcheck.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BRIDGE "swtest0"
#define TASK_A "aaaaaaaaaaaaaaaaaaaaaaaaa"
#define TASK_B "bbbbbbbbbbbbbbbbbbbbbbbbb"

static struct attachment *open_net(void)
{
    struct net_spec spec = { .bridge = BRIDGE, .subnet = "10.213.0.0/16" };
    struct attachment *net = NULL;
    struct sw_err err = { 0 };
    if (net_open(&spec, &net, &err) != 0)
        fail_msg("net_open: %s", err.text);
    return net;
}

/* A process in a network namespace of its own, as a shim is. It ends with the test, however that ends. */
static pid_t spawn_task(void)
{
    int ready[2];
    char c;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNET) != 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            (void)pause();
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    return pid;
}

static void end_task(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void attach(struct attachment *net, const char *id, pid_t pid, const char *want)
{
    Swarm__Task task = SWARM__TASK__INIT;
    struct attachment_result result;
    struct sw_err err = { 0 };
    char text[32];
    (void)snprintf(text, sizeof text, "%s", id);
    task.id = text;
    if (net->ops->attach(net, &task, pid, &result, &err) != 0)
        fail_msg("attach: %s", err.text);
    assert_int_equal(result.count, 1);
    assert_string_equal(result.addresses[0].address, want);
    assert_string_equal(result.addresses[0].interface, "eth0");
}

/* Runs in a child, inside the task's namespace: 0 when a TCP connection to address:port succeeds. */
static int connect_from(pid_t pid, const char *address, uint16_t port)
{
    pid_t child = fork();
    if (child == 0) {
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
        FILE *ns = fopen(path, "re");
        if (ns == NULL || setns(fileno(ns), CLONE_NEWNET) != 0)
            _exit(2);
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
        (void)inet_pton(AF_INET, address, &to.sin_addr);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct timeval limit = { .tv_sec = 5 };
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        _exit(connect(fd, (struct sockaddr *)&to, sizeof to) == 0 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Hairpin mode of a bridge port, as sysfs of this namespace would say; read by a child that mounts it. */
static bool hairpin_is_on(const char *link)
{
    pid_t child = fork();
    if (child == 0) {
        char path[128], value = '0';
        (void)snprintf(path, sizeof path, "/sys/class/net/%s/brport/hairpin_mode", link);
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("sysfs", "/sys", "sysfs", 0, NULL) != 0)
            _exit(2);
        FILE *file = fopen(path, "re");
        _exit(file != NULL && fread(&value, 1, 1, file) == 1 && value == '1' ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int listen_tcp(uint16_t *ret_port)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static void test_attach_and_talk(void **state)
{
    (void)state;
    struct attachment *net = open_net();
    pid_t pid = spawn_task();
    attach(net, TASK_A, pid, "10.213.0.2/16");
    assert_true(if_nametoindex("swaaaaaaaaaaaaa") > 0);
    assert_true(hairpin_is_on("swaaaaaaaaaaaaa"));

    uint16_t port = 0;
    int fd = listen_tcp(&port);
    assert_int_equal(connect_from(pid, "10.213.0.1", port), 0); /* the gateway answers */
    (void)close(fd);

    net->ops->detach(net, TASK_A);
    assert_int_equal(if_nametoindex("swaaaaaaaaaaaaa"), 0);
    net->ops->detach(net, "unknown");
    attach(net, TASK_A, pid, "10.213.0.3/16");
    end_task(pid);
    net->ops->detach(net, TASK_A);
    net_close(net, true);
    assert_int_equal(if_nametoindex(BRIDGE), 0);
}

/* The agent restarts: one task lives on, one died unseen. */
static void test_adopt(void **state)
{
    (void)state;
    struct attachment *net = open_net();
    pid_t a = spawn_task(), b = spawn_task();
    attach(net, TASK_A, a, "10.213.0.2/16");
    attach(net, TASK_B, b, "10.213.0.3/16");
    net_close(net, false);

    net = open_net();
    struct attachment_result result;
    struct sw_err err = { 0 };
    assert_int_equal(net->ops->adopt(net, TASK_B, b, &result, &err), 0);
    assert_string_equal(result.addresses[0].address, "10.213.0.3/16");
    assert_int_equal(net->ops->adopt(net, TASK_B, b, &result, &err), 0);
    net->ops->recovered(net);
    assert_int_equal(if_nametoindex("swaaaaaaaaaaaaa"), 0); /* nobody adopted it */
    assert_true(if_nametoindex("swbbbbbbbbbbbbb") > 0);
    attach(net, TASK_A, a, "10.213.0.4/16");
    net_close(net, true); /* tasks are attached: the bridge stays */
    assert_true(if_nametoindex(BRIDGE) > 0);

    end_task(a);
    end_task(b);
    net = open_net();
    net->ops->recovered(net);
    net_close(net, true);
    assert_int_equal(if_nametoindex(BRIDGE), 0);
}

static void test_refusals(void **state)
{
    (void)state;
    struct attachment *net = open_net(), *other = NULL;
    struct attachment_result result;
    struct sw_err err = { 0 };
    Swarm__Task task = SWARM__TASK__INIT;
    char id[] = TASK_A;
    task.id = id;
    assert_int_equal(net->ops->attach(net, &task, getpid(), &result, &err), -SW_PRECONDITION);
    assert_non_null(strstr(err.text, "no network namespace of its own"));
    assert_int_equal(net->ops->attach(net, &task, 2147483647, &result, &err), -SW_NOT_FOUND);

    struct net_spec overlap = { .bridge = "swtest1", .subnet = "10.213.4.0/24" };
    assert_int_equal(net_open(&overlap, &other, &err), -SW_INVALID);
    assert_non_null(strstr(err.text, BRIDGE));
    struct net_spec loopback = { .bridge = "lo", .subnet = "10.99.0.0/16" };
    assert_int_equal(net_open(&loopback, &other, &err), -SW_EXISTS);
    struct net_spec name = { .bridge = "a name with blanks", .subnet = "10.99.0.0/16" };
    assert_int_equal(net_open(&name, &other, &err), -SW_INVALID);
    struct net_spec mtu = { .bridge = "swtest1", .subnet = "10.99.0.0/16", .mtu = 100 };
    assert_int_equal(net_open(&mtu, &other, &err), -SW_INVALID);
    net_close(net, true);
}

/* Printed for the record; the bound only catches a blunder such as a wait for a timer. */
static void test_attach_is_fast(void **state)
{
    (void)state;
    struct attachment *net = open_net();
    enum { TASKS = 20 };
    pid_t pids[TASKS];
    for (int i = 0; i < TASKS; i++)
        pids[i] = spawn_task();
    struct timespec from, to;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < TASKS; i++) {
        char id[32], want[32];
        (void)snprintf(id, sizeof id, "%02dtask000000000000000000", i);
        (void)snprintf(want, sizeof want, "10.213.0.%d/16", i + 2);
        attach(net, id, pids[i], want);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    long us = (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000;
    print_message("attach: %ld us each\n", us / TASKS);
    assert_true(us / TASKS < 100000);
    for (int i = 0; i < TASKS; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "%02dtask000000000000000000", i);
        end_task(pids[i]);
        net->ops->detach(net, id);
    }
    net_close(net, true);
}

static void test_portcheck(void **state)
{
    (void)state;
    struct sw_err err = { 0 };
    uint16_t port = 0;
    int fd = listen_tcp(&port);
    char want[64];
    (void)snprintf(want, sizeof want, "port %u/tcp is in use on this node", port);
    assert_int_equal(portcheck(SWARM__PORT_PROTOCOL__PORT_TCP, port, &err), -SW_CONFLICT);
    assert_string_equal(err.text, want);
    assert_int_equal(portcheck(SWARM__PORT_PROTOCOL__PORT_UDP, port, &err), 0);
    (void)close(fd);
    assert_int_equal(portcheck(SWARM__PORT_PROTOCOL__PORT_TCP, port, &err), 0);
}

/* A task whose host-mode port a program of the node holds is refused before anything of it is made. */
static void test_host_port_in_use(void **state)
{
    (void)state;
    struct attachment *net = open_net();
    struct attachment_result result;
    struct sw_err err = { 0 };
    uint16_t number = 0;
    pid_t pid = spawn_task();
    int fd = listen_tcp(&number);
    char want[64], id[] = TASK_A;
    Swarm__PortConfig port = SWARM__PORT_CONFIG__INIT, *ports[] = { &port };
    Swarm__Endpoint endpoint = SWARM__ENDPOINT__INIT;
    Swarm__Task task = SWARM__TASK__INIT;
    port.publish_mode = SWARM__PUBLISH_MODE__PUBLISH_HOST;
    port.published_port = number;
    endpoint.ports = ports;
    endpoint.n_ports = 1;
    task.id = id;
    task.endpoint = &endpoint;
    (void)snprintf(want, sizeof want, "port %u/tcp is in use on this node", number);
    assert_int_equal(net->ops->attach(net, &task, pid, &result, &err), -SW_CONFLICT);
    assert_string_equal(err.text, want);
    port.publish_mode = SWARM__PUBLISH_MODE__PUBLISH_INGRESS; /* our own rules come first there, as they do on all nodes */
    assert_int_equal(net->ops->attach(net, &task, pid, &result, &err), 0);
    net->ops->detach(net, id);
    port.publish_mode = SWARM__PUBLISH_MODE__PUBLISH_HOST;
    (void)close(fd);
    if (net->ops->attach(net, &task, pid, &result, &err) != 0)
        fail_msg("attach: %s", err.text);
    net->ops->detach(net, id);
    end_task(pid);
    net_close(net, true);
}

int main(void)
{
    if (unshare(CLONE_NEWNET) != 0)
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attach_and_talk), cmocka_unit_test(test_adopt),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_attach_is_fast),  cmocka_unit_test(test_portcheck), cmocka_unit_test(test_host_port_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
