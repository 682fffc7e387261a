/* The loop: zloop for ZeroMQ, one nested epoll for every plain descriptor (zloop costs 0.05 us a descriptor and wake-up). */
#include "common/service/svc_internal.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <utlist.h>

#define EVENTS_MAX 64

struct svc_watch {
    struct svc_loop *loop;
    int fd;
    svc_fd_fn *fn; /* NULL = deleted, freed after the batch */
    void *arg;
    struct svc_watch *prev, *next;
};

struct svc_timer {
    struct svc_loop *loop;
    svc_timer_fn *fn;
    void *arg;
    uint64_t at_ms; /* UINT64_MAX = off */
    bool dead;
    struct svc_timer *prev, *next;
};

struct svc_dirwatch {
    int fd;
    struct svc *svc;
    svc_timer_fn *fn;
    void *arg;
    struct svc_dirwatch *next;
};

struct soon {
    svc_timer_fn *fn;
    void *arg;
};

struct svc_loop {
    struct svc *svc;
    zloop_t *zloop;
    int epoll_fd, wake_fd, timer_fd, signal_fd;
    struct svc_watch *watches, *graveyard;
    struct svc_dirwatch *dirwatches;
    struct svc_timer *timers;
    uint64_t armed_ms;
    struct soon *soons;
    size_t soon_count, soon_cap;
};

struct svc_watch *svc_watch_add(struct svc *svc, int fd, uint32_t events, svc_fd_fn *fn, void *arg)
{
    struct svc_watch *watch = sw_alloc0(sizeof *watch);
    *watch = (struct svc_watch) { .loop = svc->loop, .fd = fd, .fn = fn, .arg = arg };
    struct epoll_event event = { .events = events, .data.ptr = watch };
    int rc = epoll_ctl(svc->loop->epoll_fd, EPOLL_CTL_ADD, fd, &event);
    assert(rc == 0);
    DL_APPEND(svc->loop->watches, watch);
    return watch;
}

void svc_watch_set(struct svc_watch *watch, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = watch };
    (void)epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void svc_watch_del(struct svc_watch *watch)
{
    if (watch == NULL)
        return;
    (void)epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->fn = NULL;
    DL_DELETE(watch->loop->watches, watch);
    DL_APPEND(watch->loop->graveyard, watch);
}

/* ---- timers: few, so a list; one timerfd stands at the nearest ---- */

static void timers_arm(struct svc_loop *loop)
{
    uint64_t nearest = UINT64_MAX;
    struct svc_timer *timer;
    DL_FOREACH(loop->timers, timer)
    {
        if (timer->at_ms < nearest)
            nearest = timer->at_ms;
    }
    if (nearest == loop->armed_ms)
        return;
    loop->armed_ms = nearest;
    struct itimerspec spec = { 0 };
    if (nearest != UINT64_MAX) {
        spec.it_value.tv_sec = (time_t)(nearest / 1000);
        spec.it_value.tv_nsec = (long)(nearest % 1000) * 1000000 + 1; /* never 0: that would disarm */
    }
    (void)timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

struct svc_timer *svc_timer_new(struct svc *svc, svc_timer_fn *fn, void *arg)
{
    struct svc_timer *timer = sw_alloc0(sizeof *timer);
    *timer = (struct svc_timer) { .loop = svc->loop, .fn = fn, .arg = arg, .at_ms = UINT64_MAX };
    DL_APPEND(svc->loop->timers, timer);
    return timer;
}

void svc_timer_at(struct svc_timer *timer, uint64_t mono_ms)
{
    timer->at_ms = mono_ms != 0 ? mono_ms : 1; /* armed_ms 0 means: not armed */
    timers_arm(timer->loop);
}

void svc_timer_off(struct svc_timer *timer)
{
    timer->at_ms = UINT64_MAX;
}

void svc_timer_free(struct svc_timer *timer)
{
    if (timer == NULL)
        return;
    timer->at_ms = UINT64_MAX; /* freed by the next run of the timers: it may be running now */
    timer->dead = true;
    svc_loop_wake(timer->loop->svc);
}

static void timers_run(struct svc_loop *loop)
{
    uint64_t now = svc_mono_ms();
    struct svc_timer *timer;
    DL_FOREACH(loop->timers, timer)
    {
        if (timer->at_ms > now)
            continue;
        timer->at_ms = UINT64_MAX;
        timer->fn(timer->arg);
    }
    struct svc_timer *next;
    DL_FOREACH_SAFE(loop->timers, timer, next)
    {
        if (timer->dead) {
            DL_DELETE(loop->timers, timer);
            free(timer);
        }
    }
    timers_arm(loop);
}

static void on_timer(void *arg, int fd, uint32_t events)
{
    struct svc_loop *loop = arg;
    uint64_t count;
    (void)events;
    if (read(fd, &count, sizeof count) == (ssize_t)sizeof count)
        loop->armed_ms = 0; /* spent: arm anew */
    timers_run(loop);
}

/* ---- soon ---- */

void svc_loop_wake(struct svc *svc)
{
    uint64_t one = 1;
    if (write(svc->loop->wake_fd, &one, sizeof one) < 0)
        return; /* already awake */
}

void svc_soon(struct svc *svc, svc_timer_fn *fn, void *arg)
{
    struct svc_loop *loop = svc->loop;
    for (size_t i = 0; i < loop->soon_count; i++)
        if (loop->soons[i].fn == fn && loop->soons[i].arg == arg)
            return;
    if (loop->soon_count == loop->soon_cap) {
        loop->soon_cap = loop->soon_cap == 0 ? 16 : loop->soon_cap * 2;
        loop->soons = sw_realloc_array(loop->soons, loop->soon_cap, sizeof *loop->soons);
    }
    loop->soons[loop->soon_count++] = (struct soon) { fn, arg };
    if (loop->soon_count == 1)
        svc_loop_wake(svc);
}

static void on_wake(void *arg, int fd, uint32_t events)
{
    struct svc_loop *loop = arg;
    uint64_t count;
    (void)events;
    if (read(fd, &count, sizeof count) < 0)
        return;
    struct soon *batch = loop->soons;
    size_t batch_count = loop->soon_count;
    loop->soons = NULL;
    loop->soon_count = loop->soon_cap = 0;
    for (size_t i = 0; i < batch_count; i++)
        batch[i].fn(batch[i].arg);
    free(batch);
    timers_run(loop);
}

/* ---- the epoll inside zloop ---- */

static void bury(struct svc_watch **list)
{
    struct svc_watch *watch;
    struct svc_watch *next;
    DL_FOREACH_SAFE(*list, watch, next)
    {
        free(watch);
    }
    *list = NULL;
}

static int on_epoll(zloop_t *zloop, zmq_pollitem_t *item, void *arg)
{
    struct svc_loop *loop = arg;
    struct epoll_event events[EVENTS_MAX];
    (void)zloop;
    (void)item;
    int count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        struct svc_watch *watch = events[i].data.ptr;
        if (watch->fn != NULL)
            watch->fn(watch->arg, watch->fd, events[i].events);
    }
    bury(&loop->graveyard);
    return loop->svc->quitting ? -1 : 0;
}

static void on_signal(void *arg, int fd, uint32_t events)
{
    struct svc *svc = arg;
    struct signalfd_siginfo info;
    (void)events;
    if (read(fd, &info, sizeof info) == (ssize_t)sizeof info) {
        svc_log(SVC_INFO, "stopping", "signal=%u", info.ssi_signo);
        svc_quit(svc, 0);
    }
}

static int open_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int svc_loop_open(struct svc *svc, struct sw_err *err)
{
    struct svc_loop *loop = sw_alloc0(sizeof *loop);
    svc->loop = loop;
    loop->svc = svc;
    loop->armed_ms = UINT64_MAX;
    loop->signal_fd = open_signals(); /* before libzmq makes its threads, so that they inherit the mask */
    if (zsys_init() == NULL)
        return sw_fail(err, SW_IO, "start ZeroMQ: %s", strerror(errno));
    zsys_handler_set(NULL);
    loop->zloop = zloop_new();
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (loop->zloop == NULL || loop->epoll_fd < 0 || loop->wake_fd < 0 || loop->timer_fd < 0 || loop->signal_fd < 0)
        return sw_fail(err, SW_IO, "make the event loop: %s", strerror(errno));
    (void)svc_watch_add(svc, loop->wake_fd, EPOLLIN, on_wake, loop);
    (void)svc_watch_add(svc, loop->timer_fd, EPOLLIN, on_timer, loop);
    (void)svc_watch_add(svc, loop->signal_fd, EPOLLIN, on_signal, svc);
    zmq_pollitem_t item = { .fd = loop->epoll_fd, .events = ZMQ_POLLIN };
    if (zloop_poller(loop->zloop, &item, on_epoll, loop) != 0)
        return sw_fail(err, SW_IO, "make the event loop: %s", strerror(errno));
    return 0;
}

void svc_loop_run(struct svc *svc)
{
    while (!svc->quitting)
        (void)zloop_start(svc->loop->zloop);
}

void svc_loop_close(struct svc *svc)
{
    struct svc_loop *loop = svc->loop;
    if (loop == NULL)
        return;
    zloop_destroy(&loop->zloop);
    struct svc_timer *timer;
    struct svc_timer *next;
    DL_FOREACH_SAFE(loop->timers, timer, next)
    {
        free(timer);
    }
    bury(&loop->graveyard);
    bury(&loop->watches);
    struct svc_dirwatch *dir;
    struct svc_dirwatch *next_dir;
    LL_FOREACH_SAFE(loop->dirwatches, dir, next_dir)
    {
        if (dir->fd >= 0)
            (void)close(dir->fd);
        free(dir);
    }
    int fds[] = { loop->epoll_fd, loop->wake_fd, loop->timer_fd, loop->signal_fd };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    free(loop->soons);
    free(loop);
    svc->loop = NULL;
}

void svc_quit(struct svc *svc, int exit_code)
{
    svc->quitting = true;
    svc->exit_code = exit_code;
    svc_loop_wake(svc);
}

zloop_t *svc_loop(struct svc *svc)
{
    return svc->loop->zloop;
}

/* ---- directories ---- */

static void on_inotify(void *arg, int fd, uint32_t events)
{
    struct svc_dirwatch *watch = arg;
    char buf[4096] __attribute__((aligned(8)));
    (void)events;
    while (read(fd, buf, sizeof buf) > 0)
        continue;
    svc_soon(watch->svc, watch->fn, watch->arg);
}

struct svc_dirwatch *svc_dirwatch_new(struct svc *svc, const char *dir, svc_timer_fn *fn, void *arg)
{
    struct svc_dirwatch *watch = sw_alloc0(sizeof *watch);
    *watch = (struct svc_dirwatch) { .fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), .svc = svc, .fn = fn, .arg = arg };
    LL_PREPEND(svc->loop->dirwatches, watch);
    if (svc_mkdirs(dir, 0700, NULL) != 0 || watch->fd < 0 ||
        inotify_add_watch(watch->fd, dir, IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE | IN_DELETE_SELF) < 0) {
        svc_log(SVC_ERROR, "cannot watch directory", "dir=%s err=\"%s\"", dir, strerror(errno));
        return watch;
    }
    (void)svc_watch_add(svc, watch->fd, EPOLLIN, on_inotify, watch);
    return watch;
}
