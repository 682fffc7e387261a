#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ORPHAN_LOOK_MS 5000

enum shim_state { SHIM_WAITING, SHIM_STARTING, SHIM_RUNNING, SHIM_FAILED, SHIM_EXITED };

struct shim {
    const struct shim_conf *conf;
    enum shim_state state;
    int listener, signals;
    int clients[SHIM_CLIENTS_MAX];
    pid_t runtime, container;
    struct shim_stdio stdio;
    struct shim_log log;
    int pending; /* a signal that came while the runtime was at work */
    int code;
    bool oom, over;
    char error[SHIM_ERROR_MAX];
};

int shim_listen(const struct shim_conf *conf, char *error)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int dir = open(conf->socket_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Through the descriptor, because a socket's path holds 107 bytes only. */
    int len = snprintf(name.sun_path, sizeof name.sun_path, "/proc/self/fd/%d/%s", dir, conf->socket_name);
    if (dir < 0 || fd < 0 || len >= (int)sizeof name.sun_path)
        return shim_error(error, "socket in %s: %s", conf->socket_dir, strerror(errno));
    (void)unlink(name.sun_path);
    if (bind(fd, (struct sockaddr *)&name, sizeof name) != 0 || listen(fd, SHIM_CLIENTS_MAX) != 0)
        return shim_error(error, "socket in %s: %s", conf->socket_dir, strerror(errno));
    (void)close(dir);
    return fd;
}

static void tell(struct shim *shim, int fd)
{
    char text[SHIM_ERROR_MAX + 64];
    switch (shim->state) {
    case SHIM_WAITING:
        (void)snprintf(text, sizeof text, "waiting");
        break;
    case SHIM_STARTING:
        (void)snprintf(text, sizeof text, "starting");
        break;
    case SHIM_RUNNING:
        (void)snprintf(text, sizeof text, "running %d", (int)shim->container);
        break;
    case SHIM_FAILED:
        (void)snprintf(text, sizeof text, "failed %s", shim->error);
        break;
    case SHIM_EXITED:
        (void)snprintf(text, sizeof text, "exited %d %d", shim->code, shim->oom);
        break;
    }
    (void)send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void enter(struct shim *shim, enum shim_state state)
{
    shim->state = state;
    for (size_t i = 0; i < SHIM_CLIENTS_MAX; i++)
        if (shim->clients[i] >= 0)
            tell(shim, shim->clients[i]);
}

static void write_exit(const struct shim *shim)
{
    char text[SHIM_ERROR_MAX + 128];
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int len = snprintf(text, sizeof text, "code %d\noom %d\nfinished_ns %lld\nerror %s\n", shim->code, shim->oom,
                       (long long)now.tv_sec * 1000000000LL + now.tv_nsec, shim->error);
    int fd = open("exit.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0 && write(fd, text, (size_t)len) == len)
        (void)rename("exit.new", "exit");
    if (fd >= 0)
        (void)close(fd);
}

/* ---- output ---- */
#define READ_SIZE 16384
#define READS_A_TURN 4                     /* a container that never stops writing must not keep commands waiting */
#define READS_AT_END (1048576 / READ_SIZE) /* more than a pipe holds; nobody writes any more */

static void pump(struct shim *shim, int *fd, int stream, unsigned reads)
{
    char data[READ_SIZE];
    for (; *fd >= 0 && reads > 0; reads--) {
        ssize_t len = read(*fd, data, sizeof data);
        if (len > 0) {
            shim_log_write(&shim->log, stream, data, (size_t)len);
            continue;
        }
        if (len < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        (void)close(*fd); /* the end, or EIO from a terminal nobody holds any more */
        *fd = -1;
    }
}

static void trim(char *text)
{
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
        text[--len] = '\0';
    for (char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20)
            *p = ' ';
}

/* ---- life ---- */
static void fail(struct shim *shim, int code)
{
    trim(shim->error);
    shim->code = code;
    write_exit(shim);
    enter(shim, SHIM_FAILED);
    (void)shim_runtime_delete(shim->conf);
    shim->over = true;
}

static void start(struct shim *shim)
{
    if (shim->state != SHIM_WAITING)
        return;
    shim->runtime = -1;
    if (shim_sysctls(shim->conf, shim->error) == 0)
        shim->runtime = shim_runtime_run(shim->conf, &shim->stdio, shim->error);
    if (shim->runtime < 0)
        fail(shim, 128);
    else
        enter(shim, SHIM_STARTING);
}

static void started(struct shim *shim, int status)
{
    char text[32] = "";
    shim->runtime = -1;
    if (status != 0) { /* what it wrote to the container's stderr is why */
        ssize_t len = read(shim->stdio.err, shim->error, sizeof shim->error - 1);
        shim->error[len > 0 ? len : 0] = '\0';
        if (len <= 0)
            (void)shim_error(shim->error, "the runtime ended with status %d", status);
        fail(shim, WIFEXITED(status) && WEXITSTATUS(status) > 1 ? WEXITSTATUS(status) : 128);
        return;
    }
    int fd = open("pid", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof text - 1) > 0)
        shim->container = (pid_t)strtol(text, NULL, 10);
    if (fd >= 0)
        (void)close(fd);
    if (shim->container <= 0) {
        (void)shim_error(shim->error, "the runtime told no process id");
        fail(shim, 128);
        return;
    }
    if (shim->conf->tty) {
        (void)close(shim->stdio.out);
        shim->stdio.out = shim_console_take(&shim->stdio);
    }
    enter(shim, SHIM_RUNNING);
    if (shim->pending != 0)
        (void)kill(shim->container, shim->pending);
}

static void exited(struct shim *shim, int status)
{
    shim->code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    shim->oom = shim->code != 0 && shim_oom_seen(shim->conf);
    pump(shim, &shim->stdio.out, 0, READS_AT_END);
    pump(shim, &shim->stdio.err, 1, READS_AT_END);
    shim_log_close(&shim->log);
    write_exit(shim);
    enter(shim, SHIM_EXITED);
    (void)shim_runtime_delete(shim->conf);
    shim->over = true;
}

/* While the runtime is at work only it is waited for: the container's number is not known before. */
static void reap(struct shim *shim)
{
    int status;
    struct signalfd_siginfo info;
    while (read(shim->signals, &info, sizeof info) > 0)
        ;
    if (shim->state == SHIM_STARTING && waitpid(shim->runtime, &status, WNOHANG) == shim->runtime)
        started(shim, status);
    if (shim->state != SHIM_RUNNING)
        return;
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG))
        if (pid == shim->container) {
            exited(shim, status);
            return;
        }
}

static void signal_container(struct shim *shim, int number)
{
    if (number <= 0 || number > SIGRTMAX)
        return;
    if (shim->state == SHIM_RUNNING)
        (void)kill(shim->container, number); /* our child, not yet waited for: the number cannot be another's */
    else if (shim->state == SHIM_STARTING)
        shim->pending = number;
    else if (shim->state == SHIM_WAITING && number == SIGKILL)
        shim->over = true;
}

static void command(struct shim *shim, const char *text)
{
    unsigned rows, columns;
    if (strcmp(text, "start") == 0)
        start(shim);
    else if (strcmp(text, "kill") == 0)
        signal_container(shim, SIGKILL);
    else if (strncmp(text, "signal ", 7) == 0)
        signal_container(shim, atoi(text + 7));
    else if (sscanf(text, "resize %u %u", &rows, &columns) == 2 && shim->conf->tty && shim->stdio.out >= 0)
        (void)ioctl(shim->stdio.out, TIOCSWINSZ,
                    &(struct winsize) { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns });
}

static void hear(struct shim *shim, int *client)
{
    char text[128];
    ssize_t len = recv(*client, text, sizeof text - 1, MSG_DONTWAIT);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0) {
        (void)close(*client);
        *client = -1;
        return;
    }
    text[len] = '\0';
    command(shim, text);
}

static void greet(struct shim *shim)
{
    int fd = accept4(shim->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    for (size_t i = 0; i < SHIM_CLIENTS_MAX; i++)
        if (shim->clients[i] < 0) {
            shim->clients[i] = fd;
            tell(shim, fd);
            return;
        }
    (void)close(fd);
}

/* The agent was killed while it prepared us, and the next one took the bundle away before our socket was there to be told. */
static bool orphaned(const struct shim *shim)
{
    char path[4096];
    if (access("shim.conf", F_OK) == 0)
        return false;
    int len = snprintf(path, sizeof path, "%s/%s", shim->conf->socket_dir, shim->conf->socket_name);
    if (len < (int)sizeof path)
        (void)unlink(path);
    return true;
}

static void turn(struct shim *shim)
{
    struct pollfd fds[4 + SHIM_CLIENTS_MAX];
    /* Output waits until the runtime is done: until then stderr is where it says what is wrong. */
    bool running = shim->state == SHIM_RUNNING;
    fds[0] = (struct pollfd) { .fd = shim->signals, .events = POLLIN };
    fds[1] = (struct pollfd) { .fd = shim->listener, .events = POLLIN };
    fds[2] = (struct pollfd) { .fd = running ? shim->stdio.out : -1, .events = POLLIN };
    fds[3] = (struct pollfd) { .fd = running ? shim->stdio.err : -1, .events = POLLIN };
    for (size_t i = 0; i < SHIM_CLIENTS_MAX; i++)
        fds[4 + i] = (struct pollfd) { .fd = shim->clients[i], .events = POLLIN };
    bool waiting = shim->state == SHIM_WAITING;
    int ready = poll(fds, 4 + SHIM_CLIENTS_MAX, waiting ? ORPHAN_LOOK_MS : -1);
    if (ready == 0 && orphaned(shim))
        shim->over = true;
    if (ready <= 0)
        return;
    if (fds[2].revents != 0)
        pump(shim, &shim->stdio.out, 0, READS_A_TURN);
    if (fds[3].revents != 0)
        pump(shim, &shim->stdio.err, 1, READS_A_TURN);
    if (fds[0].revents != 0)
        reap(shim);
    for (size_t i = 0; i < SHIM_CLIENTS_MAX && !shim->over; i++)
        if (fds[4 + i].revents != 0)
            hear(shim, &shim->clients[i]);
    if (fds[1].revents != 0)
        greet(shim);
}

void shim_serve(const struct shim_conf *conf, int listener)
{
    static struct shim shim; /* holds the line buffers */
    sigset_t mask;
    shim = (struct shim) { .conf = conf, .listener = listener, .stdio = { -1, -1, -1 } };
    for (size_t i = 0; i < SHIM_CLIENTS_MAX; i++)
        shim.clients[i] = -1;
    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &mask, NULL);
    shim.signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    shim_log_open(&shim.log, conf->log_dir, conf->log_size_max, conf->log_files_max);
    while (!shim.over)
        turn(&shim);
}
