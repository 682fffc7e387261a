#include "services/agent/oci/oci.h"

#include "common/base/buf.h"
#include "common/base/pb.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define WORD_MAX 512

/* ---- life of the struct ---- */
struct container *container_new(struct executor *executor, const char *task_id)
{
    unsigned char sum[32];
    struct container *container = sw_alloc0(sizeof *container);
    container->executor = executor;
    container->socket = -1;
    (void)snprintf(container->id, sizeof container->id, "%s", task_id);
    (void)crypto_generichash(sum, sizeof sum, (const unsigned char *)task_id, strlen(task_id), NULL, 0);
    (void)sodium_bin2hex(container->container_id, sizeof container->container_id, sum, sizeof sum);
    container->bundle = sw_strf("%s/%s", executor->containers_dir, container->id);
    container->cgroup = sw_strf("%s/%s", executor->parent, container->id);
    container->anonymous = json_array();
    struct container **end = &executor->containers;
    while (*end != NULL)
        end = &(*end)->next;
    *end = container;
    executor->count++;
    return container;
}

static void disconnect(struct container *container)
{
    svc_watch_del(container->watch);
    container->watch = NULL;
    if (container->socket >= 0)
        (void)close(container->socket);
    container->socket = -1;
}

void container_free(struct container *container)
{
    struct executor *executor = container->executor;
    for (struct container **at = &executor->containers; *at != NULL; at = &(*at)->next)
        if (*at == container) {
            *at = container->next;
            executor->count--;
            break;
        }
    disconnect(container);
    json_decref(container->anonymous);
    sw_pb_free(container->task);
    free(container->bundle);
    free(container->cgroup);
    free(container->image);
    free(container->text);
    free(container);
}

/* ---- files ---- */
/* Not synced: after a crash of the host there is no container, and nothing of it is wanted. */
int container_write(const struct container *container, const char *name, mode_t mode, const char *text, struct sw_err *err)
{
    SW_AUTO(sw_free) char *path = sw_strf("%s/%s", container->bundle, name);
    SW_AUTO(sw_free) char *temp = sw_strf("%s.new", path);
    size_t len = strlen(text);
    SW_AUTO(sw_close) int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    /* Users of the container read some of these; the daemon's umask would not let them. */
    if (fd < 0 || fchmod(fd, mode) != 0 || write(fd, text, len) != (ssize_t)len || rename(temp, path) != 0)
        return sw_fail(err, errno == ENOSPC ? SW_LIMIT : SW_IO, "write %s: %s", path, strerror(errno));
    return 0;
}

int container_save(struct container *container, struct sw_err *err)
{
    json_t *file = json_pack("{s:s,s:s,s:i,s:b,s:O}", "container", container->container_id, "image", container->image,
                             "stop_signal", container->stop_signal, "tty", container->tty, "anonymous", container->anonymous);
    SW_AUTO(sw_free) char *text = json_dumps(file, JSON_SORT_KEYS);
    json_decref(file);
    return container_write(container, "container.json", 0600, text, err);
}

int container_load(struct container *container, struct sw_err *err)
{
    size_t len;
    SW_AUTO(sw_free) char *text = NULL;
    SW_AUTO(sw_free) char *path = sw_strf("%s/container.json", container->bundle);
    int rc = svc_file_read(path, 1u << 20, &text, &len, err);
    if (rc != 0)
        return rc;
    json_t *file = json_loadb(text, len, 0, NULL);
    const char *image = json_string_value(json_object_get(file, "image"));
    json_t *anonymous = json_object_get(file, "anonymous");
    if (image != NULL && json_is_array(anonymous)) {
        container->image = sw_strdup(image);
        container->stop_signal = (int)json_integer_value(json_object_get(file, "stop_signal"));
        container->tty = json_is_true(json_object_get(file, "tty"));
        json_decref(container->anonymous);
        container->anonymous = json_incref(anonymous);
    }
    json_decref(file);
    return container->image != NULL ? 0 : sw_fail(err, SW_CORRUPT, "%s does not parse", path);
}

bool container_read_exit(struct container *container)
{
    size_t len;
    int code, oom;
    SW_AUTO(sw_free) char *text = NULL;
    SW_AUTO(sw_free) char *path = sw_strf("%s/exit", container->bundle);
    if (svc_file_read(path, 4096, &text, &len, NULL) != 0 || sscanf(text, "code %d oom %d", &code, &oom) != 2)
        return false;
    const char *error = strstr(text, "\nerror ");
    container->ended = true;
    container->exit_code = code;
    container->oom = oom != 0;
    if (error != NULL && error[7] != '\n' && error[7] != '\0') {
        free(container->text);
        container->text = sw_strf("%.*s", (int)strcspn(error + 7, "\n"), error + 7);
        container->failed = true;
    }
    return true;
}

static void on_cleaned(void *arg, const struct svc_child_result *result)
{
    struct container *container = arg;
    struct executor *executor = container->executor;
    container->child = NULL;
    if (result->status != 0)
        svc_log(SVC_WARN, "container files not removed", "task=%s err=\"%.200s\"", container->id, result->err);
    if (container->removing)
        oci_post(executor, &(struct executor_event) { .type = EXECUTOR_REMOVED, .task_id = container->id });
    container_free(container);
    if (executor->count == 0)
        cgroups_rmdir(&executor->cgroups, executor->parent);
    oci_turns(executor);
}

/* Renames first, so that what is left by a cut removal is known for what it is. */
void container_clean(struct container *container)
{
    struct executor *executor = container->executor;
    const char *argv[8 + PLAN_MOUNTS_MAX];
    char *volumes[PLAN_MOUNTS_MAX];
    size_t n = 0, count = 0;
    struct sw_err err;
    SW_AUTO(sw_free) char *gone = sw_strf("%s/.%s.%u", executor->containers_dir, container->id, executor->serial++);
    SW_AUTO(sw_free) char *log = sw_strf("%s/%s", executor->logs_dir, container->id);
    SW_AUTO(sw_free) char *socket = sw_strf("%s/%s", executor->socket_dir, container->id);
    disconnect(container);
    (void)unlink(socket);
    container->state = CONTAINER_CLEANING;
    if (container->image != NULL)
        store_unuse(executor->images, container->image);
    if (rename(container->bundle, gone) != 0 && errno != ENOENT)
        svc_log(SVC_WARN, "container directory not moved", "task=%s err=\"%s\"", container->id, strerror(errno));
    argv[n++] = "rm";
    argv[n++] = "-rf";
    argv[n++] = "--one-file-system";
    argv[n++] = "--";
    argv[n++] = gone;
    argv[n++] = log;
    for (; count < json_array_size(container->anonymous) && count < PLAN_MOUNTS_MAX; count++)
        argv[n++] = volumes[count] =
            sw_strf("%s/volumes/%s", executor->state_dir, json_string_value(json_array_get(container->anonymous, count)));
    argv[n] = NULL;
    struct svc_child_spec spec = { .argv = argv, .done = on_cleaned, .arg = container };
    if (svc_child_run(executor->svc, &spec, &container->child, &err) != 0) {
        struct svc_child_result failed = { .status = -1, .err = err.text, .out = "" };
        on_cleaned(container, &failed);
    }
    for (size_t i = 0; i < count; i++)
        free(volumes[i]);
}

/* ---- the shim ---- */
void container_send(struct container *container, const char *text)
{
    if (container->socket >= 0)
        (void)send(container->socket, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void gone(struct container *container)
{
    disconnect(container);
    if (container->ended || container_read_exit(container))
        oci_finish(container);
    else
        container_lost(container);
}

static void on_deleted(void *arg, const struct svc_child_result *result)
{
    struct container *container = arg;
    (void)result;
    container->child = NULL;
    container->ended = true;
    container->exit_code = 137;
    free(container->text);
    container->text = sw_strdup("the container's monitor process was killed; the container was killed with it");
    cgroups_rmdir(&container->executor->cgroups, container->cgroup);
    oci_finish(container);
}

void container_lost(struct container *container)
{
    const char *argv[] = { container->executor->shim, "--delete", container->bundle, NULL };
    struct svc_child_spec spec = { .argv = argv, .timeout_ms = 20000, .done = on_deleted, .arg = container };
    container->failed = container->state == CONTAINER_STARTING || container->state == CONTAINER_TURN;
    container->state = CONTAINER_LOST;
    if (svc_child_run(container->executor->svc, &spec, &container->child, NULL) != 0) {
        struct svc_child_result failed = { .status = -1, .err = "", .out = "" };
        on_deleted(container, &failed);
    }
}

static void note_ended(struct container *container, const char *text, bool failed)
{
    int code = 128, oom = 0;
    container->ended = true;
    container->failed = failed;
    if (!failed)
        (void)sscanf(text, "%d %d", &code, &oom);
    container->exit_code = code;
    container->oom = oom != 0;
    if (failed) {
        free(container->text);
        container->text = sw_strdup(text);
    }
}

static void started(struct container *container, int pid)
{
    bool news = container->state == CONTAINER_STARTING;
    container->pid = pid;
    container->state = CONTAINER_RUNNING;
    if (!news)
        return;
    if (container->removing)
        container_send(container, "kill");
    oci_post(container->executor,
             &(struct executor_event) {
                 .type = EXECUTOR_STARTED, .task_id = container->id, .pid = pid, .container_id = container->container_id });
    oci_turns(container->executor);
}

static void hear(struct container *container, const char *text)
{
    int pid;
    if (strcmp(text, "waiting") == 0 && container->state == CONTAINER_SHIM)
        oci_prepared(container);
    else if (sscanf(text, "running %d", &pid) == 1)
        started(container, pid);
    else if (strncmp(text, "exited ", 7) == 0)
        note_ended(container, text + 7, false); /* told when the shim is gone: then the cgroup is as well */
    else if (strncmp(text, "failed ", 7) == 0)
        note_ended(container, text + 7, true);
}

static void on_socket(void *arg, int fd, uint32_t events)
{
    struct container *container = arg;
    char text[WORD_MAX];
    (void)events;
    ssize_t len = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0) {
        gone(container);
        return;
    }
    text[len] = '\0';
    hear(container, text);
}

int container_connect(struct container *container, struct sw_err *err)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    struct ucred peer;
    socklen_t size = sizeof peer;
    SW_AUTO(sw_close) int dir = open(container->executor->socket_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    SW_AUTO(sw_close) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    /* Through the descriptor, because a socket's path holds 107 bytes only. */
    int len = snprintf(name.sun_path, sizeof name.sun_path, "/proc/self/fd/%d/%s", dir, container->id);
    if (dir < 0 || fd < 0 || len >= (int)sizeof name.sun_path || connect(fd, (struct sockaddr *)&name, sizeof name) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return sw_fail(err, SW_UNAVAILABLE, "container monitor: %s", strerror(errno));
    container->shim = peer.pid;
    container->socket = fd;
    fd = -1;
    container->watch = svc_watch_add(container->executor->svc, container->socket, EPOLLIN, on_socket, container);
    return 0;
}

/* A monitor that is too busy to speak: the runtime's pid file says that its container was started. */
static void hello_from_files(struct container *container)
{
    size_t len;
    SW_AUTO(sw_free) char *text = NULL;
    SW_AUTO(sw_free) char *path = sw_strf("%s/pid", container->bundle);
    int pid = svc_file_read(path, 32, &text, &len, NULL) == 0 ? atoi(text) : 0;
    if (pid <= 0)
        return;
    container->pid = pid;
    container->state = CONTAINER_RUNNING;
}

void container_hello(struct container *container)
{
    char text[WORD_MAX];
    struct pollfd wait = { .fd = container->socket, .events = POLLIN };
    int pid;
    container->state = CONTAINER_PREPARED;
    if (poll(&wait, 1, 2000) != 1) {
        hello_from_files(container);
        return;
    }
    ssize_t len = recv(container->socket, text, sizeof text - 1, MSG_DONTWAIT);
    if (len <= 0) {
        disconnect(container);
        return;
    }
    text[len] = '\0';
    if (sscanf(text, "running %d", &pid) == 1) {
        container->pid = pid;
        container->state = CONTAINER_RUNNING;
    } else if (strcmp(text, "starting") == 0) {
        container->state = CONTAINER_STARTING;
    } else if (strncmp(text, "exited ", 7) == 0) {
        note_ended(container, text + 7, false);
    } else if (strncmp(text, "failed ", 7) == 0) {
        note_ended(container, text + 7, true);
    }
}
