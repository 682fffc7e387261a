/* Which runtime works here: each candidate runs one throw-away container the way that tasks are run. */
#include "services/agent/oci/oci.h"

#include "common/base/buf.h"
#include "services/agent/oci/caps.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBE_TIMEOUT_MS 10000

extern char **environ;

/* Runs a program to its end; what it says (both streams, the first line) goes to text. At start only: the loop does not run yet.
 */
static int run(const char *const *argv, char *text, size_t size)
{
    int ends[2], status = -1;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    text[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    int rc = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    if (rc != 0) {
        (void)close(ends[0]);
        (void)snprintf(text, size, "%s", strerror(rc));
        return -1;
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd wait = { .fd = pidfd, .events = POLLIN };
    bool late = poll(&wait, 1, PROBE_TIMEOUT_MS) == 0;
    if (late)
        (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    (void)close(pidfd);
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    ssize_t len = read(ends[0], text, size - 1);
    (void)close(ends[0]);
    text[len > 0 ? len : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (late)
        (void)snprintf(text, size, "did not end within %d s", PROBE_TIMEOUT_MS / 1000);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* Heap path of a program in PATH, or NULL. */
static char *in_path(const char *name)
{
    const char *path = getenv("PATH");
    if (strchr(name, '/') != NULL)
        return access(name, X_OK) == 0 ? sw_strdup(name) : NULL;
    SW_AUTO(sw_free) char *copy = sw_strf("%s:/usr/sbin:/usr/bin:/sbin:/bin", path != NULL ? path : "/usr/local/bin");
    char *rest = copy;
    for (char *dir = strsep(&rest, ":"); dir != NULL; dir = strsep(&rest, ":")) {
        SW_AUTO(sw_free) char *full = sw_strf("%s/%s", dir, name);
        if (dir[0] == '/' && access(full, X_OK) == 0)
            return SW_TAKE(full);
    }
    return NULL;
}

/* The container's only program is swarm-shim itself, which is static, mounted into an empty root. */
static int probe_config(struct executor *executor, const char *dir, json_t **ret, struct sw_err *err)
{
    Swarm__ContainerSpec spec = SWARM__CONTAINER_SPEC__INIT;
    Swarm__TaskSpec task_spec = SWARM__TASK_SPEC__INIT;
    Swarm__Task task = SWARM__TASK__INIT;
    char *args[] = { (char *)"/swarm-shim", (char *)"--version" };
    spec.n_args = 2;
    spec.args = args;
    task_spec.container = &spec;
    task.spec = &task_spec;
    struct plan plan = { .mounts = { { (char *)"bind", executor->shim, (char *)"/swarm-shim", (char *)"bind,ro" } },
                         .mount_count = 1 };
    SW_AUTO(sw_free) char *cgroup = sw_strf("%s/probe-%d", executor->parent, (int)getpid());
    struct config_input in = { .task = &task,
                               .plan = &plan,
                               .root_fd = -1,
                               .bundle = dir,
                               .hostname = "probe",
                               .cgroup_path = cgroup,
                               .init_path = executor->shim };
    int rc = caps_choose(NULL, 0, NULL, 0, &in.caps, err);
    if (rc == 0 && executor->profile != NULL)
        rc = oci_filter(executor, in.caps, &in.filter_bpf, &in.filter, err);
    if (rc == 0)
        rc = config_make(&in, ret, err);
    json_decref(in.filter);
    return rc;
}

static int write_text(const char *dir, const char *name, const char *text, struct sw_err *err)
{
    SW_AUTO(sw_free) char *path = sw_strf("%s/%s", dir, name);
    return svc_file_write(path, text, strlen(text), 0600, err);
}

static int probe_bundle(struct executor *executor, const char *dir, struct sw_err *err)
{
    static const char *const files[] = { "hosts", "hostname", "resolv.conf" };
    json_t *config = NULL;
    SW_AUTO_BUF conf = { 0 };
    SW_AUTO(sw_free) char *root = sw_strf("%s/rootfs", dir);
    int rc = svc_mkdirs(root, 0700, err);
    for (size_t i = 0; i < sizeof files / sizeof files[0] && rc == 0; i++)
        rc = write_text(dir, files[i], "\n", err);
    if (rc == 0)
        rc = probe_config(executor, dir, &config, err);
    if (rc != 0)
        return rc;
    sw_buf_addf(&conf, "id probe-%d\nruntime %s\nruntime_root %s\n", (int)getpid(), executor->runtime, executor->runtime_root);
    if (executor->crun && executor->cgroups.kind == CGROUP_HYBRID)
        sw_buf_addf(&conf, "hide %s\n", executor->cgroups.unified);
    SW_AUTO(sw_free) char *text = json_dumps(config, JSON_COMPACT);
    json_decref(config);
    rc = write_text(dir, "config.json", text, err);
    return rc == 0 ? write_text(dir, "shim.conf", sw_buf_str(&conf), err) : rc;
}

static int probe_one(struct executor *executor, const char *name, struct sw_err *err)
{
    char text[400];
    free(executor->runtime);
    executor->runtime = in_path(name);
    if (executor->runtime == NULL)
        return sw_fail(err, SW_UNSUPPORTED, "%s is not installed", name);
    const char *ask[] = { executor->runtime, "--version", NULL };
    if (run(ask, text, sizeof text) != 0)
        return sw_fail(err, SW_UNSUPPORTED, "%s --version: %s", name, text);
    char *word = strstr(text, " version "); /* "crun version 1.8.1" -> "crun 1.8.1" */
    free(executor->runtime_text);
    executor->runtime_text = word != NULL ? sw_strf("%.*s %s", (int)(word - text), text, word + 9) : sw_strdup(text);
    executor->crun = strncmp(text, "crun", 4) == 0;
    (void)json_object_clear(executor->filters);
    /* Below the run directory: a full disk says nothing about the runtime, and must not be taken for a broken one. */
    SW_AUTO(sw_free) char *dir = sw_strf("%s/.probe", executor->socket_dir);
    (void)svc_rmtree(dir, NULL);
    int rc = probe_bundle(executor, dir, err);
    const char *try[] = { executor->shim, "--probe", dir, NULL };
    if (rc == 0 && run(try, text, sizeof text) != 0)
        rc = sw_fail(err, SW_UNSUPPORTED, "%s: %s", name, text[0] != '\0' ? text : "no container could be run");
    (void)svc_rmtree(dir, NULL);
    return rc;
}

int probe_runtime(struct executor *executor, const char *wanted, struct sw_err *err)
{
    struct sw_err first, second;
    if (access(executor->shim, X_OK) != 0 && strchr(executor->shim, '/') == NULL) {
        char *path = in_path(executor->shim);
        if (path == NULL)
            return sw_fail(err, SW_UNSUPPORTED, "swarm-shim is not installed");
        free(executor->shim);
        executor->shim = path;
    }
    if (wanted != NULL) {
        int rc = probe_one(executor, wanted, err);
        return rc == 0 ? 0 : sw_wrap(err, "runtime");
    }
    if (probe_one(executor, "crun", &first) == 0 || probe_one(executor, "runc", &second) == 0)
        return 0;
    return sw_fail(err, SW_UNSUPPORTED, "no container runtime works: %.200s; %.200s", first.text, second.text);
}
