#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int console_listen(char *error)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "console.sock" }; /* we stand in the bundle */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)unlink(name.sun_path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof name) != 0 || listen(fd, 1) != 0) {
        if (fd >= 0)
            (void)close(fd);
        return shim_error(error, "console socket: %s", strerror(errno));
    }
    return fd;
}

static int make_stdio(const struct shim_conf *conf, struct shim_stdio *stdio, int child[3], char *error)
{
    int out[2], err[2];
    *stdio = (struct shim_stdio) { .out = -1, .err = -1, .console = -1 };
    if (conf->tty && (stdio->console = console_listen(error)) < 0)
        return -1;
    child[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
        return shim_error(error, "pipe: %s", strerror(errno));
    (void)fcntl(out[0], F_SETFL, O_NONBLOCK);
    (void)fcntl(err[0], F_SETFL, O_NONBLOCK);
    stdio->out = out[0];
    stdio->err = err[0];
    child[1] = out[1];
    child[2] = err[1];
    return 0;
}

static pid_t spawn(const char *const *argv, const int child[3], char *error)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    pid_t pid = -1;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawnattr_init(&attr);
    for (int i = 0; i < 3; i++)
        (void)posix_spawn_file_actions_adddup2(&actions, child[i], i);
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setsigdefault(&attr, &all);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int rc = posix_spawn(&pid, argv[0], &actions, &attr, (char *const *)argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attr);
    if (rc != 0) {
        (void)shim_error(error, "%s: %s", argv[0], strerror(rc));
        return -1;
    }
    return pid;
}

pid_t shim_runtime_run(const struct shim_conf *conf, struct shim_stdio *ret_stdio, char *error)
{
    int child[3] = { -1, -1, -1 };
    const char *argv[16];
    size_t count = 0;
    if (make_stdio(conf, ret_stdio, child, error) != 0)
        return -1;
    argv[count++] = conf->runtime;
    argv[count++] = "--root";
    argv[count++] = conf->runtime_root;
    argv[count++] = "run";
    argv[count++] = "--detach";
    argv[count++] = "--pid-file";
    argv[count++] = "pid";
    if (conf->tty) {
        argv[count++] = "--console-socket";
        argv[count++] = "console.sock";
    }
    argv[count++] = conf->id;
    argv[count] = NULL;
    pid_t pid = spawn(argv, child, error);
    for (int i = 0; i < 3; i++)
        (void)close(child[i]);
    return pid;
}

int shim_console_take(struct shim_stdio *stdio)
{
    char byte[4096], control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = { byte, sizeof byte };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    int client = accept4(stdio->console, NULL, NULL, SOCK_CLOEXEC);
    int fd = -1;
    if (client >= 0 && recvmsg(client, &msg, MSG_CMSG_CLOEXEC) > 0) {
        struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
        if (head != NULL && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof fd))
            memcpy(&fd, CMSG_DATA(head), sizeof fd);
    }
    if (client >= 0)
        (void)close(client);
    (void)close(stdio->console);
    (void)unlink("console.sock");
    stdio->console = -1;
    if (fd >= 0)
        (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

int shim_runtime_delete(const struct shim_conf *conf)
{
    const char *argv[] = { conf->runtime, "--root", conf->runtime_root, "delete", "--force", conf->id, NULL };
    char error[SHIM_ERROR_MAX];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int child[3] = { null, null, null };
    int status = -1;
    pid_t pid = spawn(argv, child, error);
    if (null >= 0)
        (void)close(null);
    if (pid < 0)
        return -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status == 0 ? 0 : -1;
}

/* "oom_kill N" stands in memory.events (v2) and in memory.oom_control (v1). */
bool shim_oom_seen(const struct shim_conf *conf)
{
    char line[128];
    bool seen = false;
    FILE *file = conf->oom_file != NULL ? fopen(conf->oom_file, "re") : NULL;
    if (file == NULL)
        return false;
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "oom_kill ", 9) == 0)
            seen = strtoull(line + 9, NULL, 10) != 0;
    (void)fclose(file);
    return seen;
}
