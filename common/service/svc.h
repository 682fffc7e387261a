/* svc - the skeleton every daemon has: options, event loop, signals, readiness, logging, metrics, children.
 *
 * Place    io/ of each service and nothing else; cores never see it.
 * Threads  one: everything runs in the loop of svc_main(). libzmq has its own I/O threads.
 * Time     svc_mono_ms() and svc_wall_ns() are the only clocks a shell reads; cores get them inside events.
 * Loop     ZeroMQ sockets are zloop readers (common/bus adds them); all plain descriptors share one nested epoll.
 */
#ifndef SW_SVC_H
#define SW_SVC_H

#include "common/base/err.h"

#include <czmq.h>
#include <stdbool.h>
#include <stdint.h>

struct svc;

/* ---- clocks ---- */
uint64_t svc_mono_ms(void);
int64_t svc_wall_ns(void);
uint64_t svc_random_u64(void); /* from the kernel; to seed cores */

/* ---- options: one table a program; flags, the file and --help all come from it ---- */
enum svc_option_kind { SVC_STRING, SVC_BOOL, SVC_UINT, SVC_DURATION_MS, SVC_LIST };
struct svc_list {
    char **items;
    size_t count;
};
struct svc_option {
    const char *name; /* long flag without dashes; "--name VALUE", "--name=VALUE", or "name = VALUE" in the file */
    enum svc_option_kind kind;
    const char *fallback; /* as it would be typed; NULL = unset (NULL, false, 0) */
    void *value;          /* char **, bool *, uint64_t *, uint64_t *, struct svc_list * */
    uint64_t min, max;    /* numbers and durations (ms); 0,0 = any */
    const char *help;
};
/* Each daemon has these without asking: --state-dir /var/lib/swarm, --run-dir /run/swarm, --config FILE, --log-level,
 * --metrics-address (program.metrics_address), --help, --version. */
struct svc_program {
    const char *name;            /* "swarm-agent" */
    const char *summary;         /* one line for --help */
    const char *metrics_address; /* "127.0.0.1:9380" */
    const struct svc_option *options;
    size_t option_count;
    void *state; /* passed to the hooks */
    /* Set everything up; sockets may be added here. Failure ends the process with exit code 1. READY=1 follows success. */
    int (*start)(struct svc *svc, void *state, struct sw_err *err);
    void (*stop)(struct svc *svc, void *state);   /* SIGTERM or svc_quit(); may be NULL */
    void (*scrape)(struct svc *svc, void *state); /* before each /metrics answer: set gauges; may be NULL */
    bool (*healthy)(struct svc *svc, void *state, char *why, size_t why_size); /* /healthz; NULL = always */
};
/* Runs the daemon; returns its exit code: 0 after a clean stop, 1 failure, 125 usage. main() is only this call. */
int svc_main(const struct svc_program *program, int argc, char **argv);
void svc_quit(struct svc *svc, int exit_code);

const char *svc_state_dir(const struct svc *svc);
const char *svc_run_dir(const struct svc *svc);
zloop_t *svc_loop(struct svc *svc);

/* ---- descriptors and timers ---- */
struct svc_watch;
typedef void svc_fd_fn(void *arg, int fd, uint32_t events /* EPOLL* */);
struct svc_watch *svc_watch_add(struct svc *svc, int fd, uint32_t events, svc_fd_fn *fn, void *arg); /* fd stays the caller's */
void svc_watch_set(struct svc_watch *watch, uint32_t events);
void svc_watch_del(struct svc_watch *watch); /* NULL is fine; safe inside any callback */

struct svc_timer;
typedef void svc_timer_fn(void *arg);
struct svc_timer *svc_timer_new(struct svc *svc, svc_timer_fn *fn, void *arg);
void svc_timer_at(struct svc_timer *timer, uint64_t mono_ms); /* one shot; replaces an earlier setting; past = at once */
void svc_timer_off(struct svc_timer *timer);
void svc_timer_free(struct svc_timer *timer); /* NULL is fine; safe inside its own callback */

/* Runs fn once after the current batch of events: for work that should be done once per turn. Coalesced by (fn, arg). */
void svc_soon(struct svc *svc, svc_timer_fn *fn, void *arg);

/* Called after any entry of `dir` is created, renamed into it or removed (inotify; the directory is made if absent). */
struct svc_dirwatch;
struct svc_dirwatch *svc_dirwatch_new(struct svc *svc, const char *dir, svc_timer_fn *fn, void *arg);

/* ---- children: no shell, no inherited descriptors beyond 0-2, own process group, killed as a group at the deadline ---- */
struct svc_child_result {
    int status; /* as waitpid() */
    bool timed_out;
    const char *out; /* stdout, at most out_max bytes, NUL-terminated */
    size_t out_len;
    const char *err; /* stderr, last 4 KiB */
};
typedef void svc_child_fn(void *arg, const struct svc_child_result *result);
struct svc_child_spec {
    const char *const *argv; /* argv[0] is looked up in PATH */
    const char *const *env;  /* NULL = the daemon's */
    const char *cwd;         /* NULL = / */
    const void *input;       /* written to stdin, may be NULL */
    size_t input_len;
    size_t out_max;      /* 0 = 64 KiB */
    uint64_t timeout_ms; /* 0 = none */
    svc_child_fn *done;
    void *arg;
    void (*line)(void *arg, const char *line); /* each line of stdout or stderr as it comes; may be NULL */
};
struct svc_child;
/* done is called exactly once unless svc_child_kill() came first. *ret_child may be NULL. */
int svc_child_run(struct svc *svc, const struct svc_child_spec *spec, struct svc_child **ret_child, struct sw_err *err);
void svc_child_kill(struct svc_child *child); /* ends it silently; the handle is gone */

/* ---- logging: one line on stderr, "<6>ts=... level=info daemon=... msg=\"...\" key=value ..." ---- */
enum svc_level { SVC_ERROR = 3, SVC_WARN = 4, SVC_INFO = 6, SVC_DEBUG = 7 };
/* `keys` is a printf format of space-separated key=value pairs, or NULL: svc_log(SVC_INFO, "node joined", "node=%s", id).
 * Values with blanks must be wrapped by the caller: "err=\"%s\"". Line breaks are escaped here. */
void svc_log(enum svc_level level, const char *msg, const char *keys, ...) __attribute__((format(printf, 3, 4)));
bool svc_log_on(enum svc_level level);

/* ---- metrics: Prometheus text 0.0.4 on /metrics; names start with swarm_<process>_ ---- */
enum svc_metric_kind { SVC_COUNTER, SVC_GAUGE };
struct svc_metrics;
struct svc_metrics *svc_metrics(struct svc *svc);
/* The value's address, for the life of the process; the same (name, labels) gives the same address.
 * labels: "" or `state="running",node="x"` (values already escaped). At most 4096 series; beyond that a shared dummy. */
double *svc_metric(struct svc_metrics *metrics, enum svc_metric_kind kind, const char *name, const char *labels,
                   const char *help);
/* Histogram of seconds with the fixed buckets 100us .. 30s. */
struct svc_histogram;
struct svc_histogram *svc_histogram(struct svc_metrics *metrics, const char *name, const char *help);
void svc_observe(struct svc_histogram *histogram, double seconds);

/* ---- files ---- */
/* Replace `path` atomically and durably: temp file in the same directory, fsync, rename, fsync of the directory. */
int svc_file_write(const char *path, const void *data, size_t len, unsigned mode, struct sw_err *err);
/* Whole file, at most max bytes; heap, NUL-terminated. SW_NOT_FOUND when absent. */
int svc_file_read(const char *path, size_t max, char **ret_data, size_t *ret_len, struct sw_err *err);
int svc_mkdirs(const char *path, unsigned mode, struct sw_err *err); /* mkdir -p */
int svc_rmtree(const char *path, struct sw_err *err);                /* rm -rf, one file system, never follows links */

/* Version words compiled in: "0.1.0", the commit, the build date (of the commit). */
const char *svc_version(void);
const char *svc_commit(void);
const char *svc_built(void);

#endif
