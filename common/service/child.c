/* Children: posix_spawn (never a fork of the daemon: LMDB and ZeroMQ do not survive one), watched by pidfd. */
#include "common/service/svc_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUT_MAX_DEFAULT (64u << 10)
#define ERR_KEPT 4096

struct svc_child {
    struct svc *svc;
    pid_t pid;
    int pid_fd;
    int in_fd, out_fd, err_fd;
    struct svc_watch *pid_watch, *in_watch, *out_watch, *err_watch;
    struct svc_timer *timer;
    struct sw_buf input, out, err, line;
    size_t input_sent, out_max;
    bool timed_out;
    svc_child_fn *done;
    void (*on_line)(void *arg, const char *line);
    void *arg;
};

static void shut(struct svc_watch **watch, int *fd)
{
    svc_watch_del(*watch);
    *watch = NULL;
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void child_free(struct svc_child *child)
{
    shut(&child->pid_watch, &child->pid_fd);
    shut(&child->in_watch, &child->in_fd);
    shut(&child->out_watch, &child->out_fd);
    shut(&child->err_watch, &child->err_fd);
    svc_timer_free(child->timer);
    sw_buf_deinit(&child->input);
    sw_buf_deinit(&child->out);
    sw_buf_deinit(&child->err);
    sw_buf_deinit(&child->line);
    free(child);
}

static void feed_lines(struct svc_child *child, const char *data, size_t len)
{
    if (child->on_line == NULL)
        return;
    for (size_t i = 0; i < len; i++) {
        if (data[i] != '\n' && data[i] != '\r' && child->line.len < 1024) {
            sw_buf_add(&child->line, &data[i], 1);
            continue;
        }
        if (child->line.len > 0)
            child->on_line(child->arg, child->line.data);
        sw_buf_reset(&child->line);
    }
}

/* Keep the head of stdout and the tail of stderr. */
static void keep(struct svc_child *child, bool is_out, const char *data, size_t len)
{
    if (is_out) {
        size_t room = child->out_max - child->out.len;
        sw_buf_add(&child->out, data, len < room ? len : room);
        return;
    }
    sw_buf_add(&child->err, data, len);
    if (child->err.len > ERR_KEPT) {
        memmove(child->err.data, child->err.data + child->err.len - ERR_KEPT, ERR_KEPT + 1);
        child->err.len = ERR_KEPT;
    }
}

/* Reads all there is; true at the end of the file. */
static bool drain(struct svc_child *child, int fd, bool is_out)
{
    char buf[8192];
    while (fd >= 0) {
        ssize_t got = read(fd, buf, sizeof buf);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            return true;
        keep(child, is_out, buf, (size_t)got);
        feed_lines(child, buf, (size_t)got);
    }
    return true;
}

static void on_out(void *arg, int fd, uint32_t events)
{
    struct svc_child *child = arg;
    (void)events;
    if (drain(child, fd, true))
        shut(&child->out_watch, &child->out_fd);
}

static void on_err(void *arg, int fd, uint32_t events)
{
    struct svc_child *child = arg;
    (void)events;
    if (drain(child, fd, false))
        shut(&child->err_watch, &child->err_fd);
}

static void on_in(void *arg, int fd, uint32_t events)
{
    struct svc_child *child = arg;
    (void)events;
    ssize_t wrote = write(fd, child->input.data + child->input_sent, child->input.len - child->input_sent);
    if (wrote > 0)
        child->input_sent += (size_t)wrote;
    if ((wrote < 0 && errno != EAGAIN && errno != EINTR) || child->input_sent == child->input.len)
        shut(&child->in_watch, &child->in_fd);
}

static void on_exit_of(void *arg, int fd, uint32_t events)
{
    struct svc_child *child = arg;
    int status = 0;
    (void)fd, (void)events;
    if (waitpid(child->pid, &status, WNOHANG) != child->pid)
        return;
    (void)drain(child, child->out_fd, true);
    (void)drain(child, child->err_fd, false);
    feed_lines(child, "\n", 1);
    struct svc_child_result result = { .status = status,
                                       .timed_out = child->timed_out,
                                       .out = sw_buf_str(&child->out),
                                       .out_len = child->out.len,
                                       .err = sw_buf_str(&child->err) };
    child->done(child->arg, &result);
    child_free(child);
}

static void on_deadline(void *arg)
{
    struct svc_child *child = arg;
    child->timed_out = true;
    (void)kill(-child->pid, SIGKILL);
}

static int spawn(const struct svc_child_spec *spec, const int fds[3], pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    sigset_t all;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attr);
    for (int i = 0; i < 3; i++)
        (void)posix_spawn_file_actions_adddup2(&actions, fds[i], i);
    (void)posix_spawn_file_actions_addchdir_np(&actions, spec->cwd != NULL ? spec->cwd : "/");
    (void)posix_spawnattr_setpgroup(&attr, 0);
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setsigdefault(&attr, &all);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    char *const *argv = (char *const *)(uintptr_t)spec->argv;
    char *const *env = spec->env != NULL ? (char *const *)(uintptr_t)spec->env : environ;
    int rc = posix_spawnp(ret_pid, spec->argv[0], &actions, &attr, argv, env);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attr);
    return rc;
}

static void watch_all(struct svc_child *child, const struct svc_child_spec *spec)
{
    child->pid_watch = svc_watch_add(child->svc, child->pid_fd, EPOLLIN, on_exit_of, child);
    child->out_watch = svc_watch_add(child->svc, child->out_fd, EPOLLIN, on_out, child);
    child->err_watch = svc_watch_add(child->svc, child->err_fd, EPOLLIN, on_err, child);
    if (spec->input_len > 0)
        child->in_watch = svc_watch_add(child->svc, child->in_fd, EPOLLOUT, on_in, child);
    else
        shut(&child->in_watch, &child->in_fd);
    if (spec->timeout_ms > 0) {
        child->timer = svc_timer_new(child->svc, on_deadline, child);
        svc_timer_at(child->timer, svc_mono_ms() + spec->timeout_ms);
    }
}

static bool make_pipes(int pipes[3][2])
{
    for (int i = 0; i < 3; i++)
        if (pipe2(pipes[i], O_CLOEXEC) != 0)
            return false;
    return fcntl(pipes[0][1], F_SETFL, O_NONBLOCK) == 0 && fcntl(pipes[1][0], F_SETFL, O_NONBLOCK) == 0 &&
           fcntl(pipes[2][0], F_SETFL, O_NONBLOCK) == 0;
}

static void close_pipes(int pipes[3][2])
{
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 2; j++)
            if (pipes[i][j] >= 0)
                (void)close(pipes[i][j]);
}

int svc_child_run(struct svc *svc, const struct svc_child_spec *spec, struct svc_child **ret_child, struct sw_err *err)
{
    int pipes[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
    pid_t pid = -1;
    int rc = make_pipes(pipes) ? spawn(spec, (int[]) { pipes[0][0], pipes[1][1], pipes[2][1] }, &pid) : errno;
    if (rc != 0) {
        close_pipes(pipes);
        return sw_fail(err, rc == ENOENT ? SW_NOT_FOUND : SW_IO, "run '%s': %s", spec->argv[0], strerror(rc));
    }
    (void)close(pipes[0][0]);
    (void)close(pipes[1][1]);
    (void)close(pipes[2][1]);
    struct svc_child *child = sw_alloc0(sizeof *child);
    *child = (struct svc_child) { .svc = svc,
                                  .pid = pid,
                                  .pid_fd = (int)syscall(SYS_pidfd_open, pid, 0),
                                  .in_fd = pipes[0][1],
                                  .out_fd = pipes[1][0],
                                  .err_fd = pipes[2][0],
                                  .out_max = spec->out_max != 0 ? spec->out_max : OUT_MAX_DEFAULT,
                                  .done = spec->done,
                                  .on_line = spec->line,
                                  .arg = spec->arg };
    sw_buf_add(&child->input, spec->input, spec->input_len);
    watch_all(child, spec);
    if (ret_child != NULL)
        *ret_child = child;
    return 0;
}

void svc_child_kill(struct svc_child *child)
{
    (void)kill(-child->pid, SIGKILL);
    (void)waitpid(child->pid, NULL, 0); /* SIGKILL: returns at once */
    child_free(child);
}
