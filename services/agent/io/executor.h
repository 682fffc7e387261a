/* executor - what the agent asks of the thing that runs containers. Implemented by services/agent/oci.
 *
 * Place    below io/shell.c, which performs the effects of core/worker.c with these calls and feeds their events back.
 *          Nothing here decides: no retries, no grace timers, no restart policy; the core does that.
 * Keys     a task is named by its id everywhere; one task = at most one container, one shim, one bundle, one log.
 * Order    prepare -> PREPARED -> start -> STARTED -> EXITED; remove at any time -> REMOVED. An operation is asked for only
 *          after the one before it was answered, except that signal, kill and remove may come at any time (remove cancels
 *          a prepare that is under way, and kills what still runs).
 * Calls    return at once. Every prepare, start and remove is answered by exactly one event, never from within the call.
 *          signal and kill are answered by EXITED only; they do nothing when there is no process.
 * Survival containers and shims live on when the agent ends in any way. executor_open() finds them again; EXITED is then sent
 *          for those that ended meanwhile or end later. executor_close() stops nothing.
 * Threads  one: the svc loop's. Memory: arguments are copied; event contents die when the callback returns.
 * Limits   EXECUTOR_TASKS_MAX containers known; beyond it prepare fails (EXECUTOR_FAILED_FATAL).
 */
#ifndef AGENT_EXECUTOR_H
#define AGENT_EXECUTOR_H

#include "common/base/err.h"
#include "common/service/svc.h"
#include "proto/types.pb-c.h"
#include "proto/store.pb-c.h"
#include "services/agent/io/attachment.h"
#include "services/agent/io/images.h"

#define EXECUTOR_TASKS_MAX 4096
#define EXECUTOR_ADDRESSES_MAX 16           /* of one task */
#define EXECUTOR_LOG_CHUNK_MAX (192u << 10) /* bytes of text given to one log callback */

struct executor;

enum executor_event_type {
    EXECUTOR_PREPARED, /* image unpacked, root mounted, shim waiting in its own network namespace, networks attached */
    EXECUTOR_STARTED,  /* the container's process runs */
    EXECUTOR_EXITED,   /* it ended, by itself or not, every process of it; addresses, links, mounts and cgroup are freed, while
                          the written layer and the log stay until remove (a finished task is kept as history) */
    EXECUTOR_REMOVED   /* everything of it is gone */
};
enum executor_failure {
    EXECUTOR_OK = 0,
    EXECUTOR_FAILED_TEMPORARY, /* worth trying again here: disk full, no address free */
    EXECUTOR_FAILED_FATAL      /* no such image, registry not reachable and image not local, bad mount source, the command is not in
                                  the image... */
};
struct executor_event {
    enum executor_event_type type;
    const char *task_id;
    enum executor_failure failure;              /* PREPARED, STARTED, REMOVED; after a failed STARTED no EXITED follows */
    const char *text;                           /* one line for status.err: what went wrong; NULL when nothing did */
    const char *container_id;                   /* PREPARED, STARTED */
    int pid;                                    /* STARTED: of the container's first process, in the host's pid namespace */
    int exit_code;                              /* EXITED: as a shell tells it: 0-255, 128 + signal number when killed */
    bool oom_killed;                            /* EXITED */
    const struct attachment_address *addresses; /* PREPARED */
    size_t address_count;
};
typedef void executor_event_fn(void *arg, const struct executor_event *event);

struct executor_spec {
    struct svc *svc;
    const char *state_dir; /* bundles and logs go below <state_dir>/agent and <state_dir>/logs */
    const char *run_dir;   /* shim sockets, one directory a container, below <run_dir>/containers */
    struct images *images;
    struct attachment *attachment;
    const char *runtime;       /* "crun", "runc", a path; NULL = probe, crun first */
    const char *cgroup_parent; /* NULL = "swarm" */
    uint64_t log_size_max;     /* bytes of one log file before it rotates; 0 = 10 MiB */
    unsigned log_files_max;    /* kept, the current one included; 0 = 3 */
    executor_event_fn *event;
    void *arg;
};
/* Probes the runtime (SW_UNSUPPORTED when the one named does not work; when none is named and none works, executor_runtime() is
 * "none" and every prepare fails with the reason), finds what exists, sets up its own watching. */
int executor_open(const struct executor_spec *spec, struct executor **ret_executor, struct sw_err *err);
void executor_close(struct executor *executor); /* NULL is fine */

/* "crun 1.8.1" and "v1", "v2" or "hybrid": for the node's description. */
const char *executor_runtime(const struct executor *executor);
const char *executor_cgroup(const struct executor *executor);

/* Everything to be known is in the task: spec (templates already expanded), service and node ids, slot, resources,
 * endpoint (ports), attachments. Preparing a task that is prepared already answers PREPARED again. */
void executor_prepare(struct executor *executor, const Swarm__Task *task);
void executor_start(struct executor *executor, const char *task_id);
/* signal: "SIGTERM", "TERM", "15"; NULL = the image's stop signal, else SIGTERM. Sent to the container's first process. */
void executor_signal(struct executor *executor, const char *task_id, const char *signal);
void executor_kill(struct executor *executor, const char *task_id);   /* SIGKILL to every process of it */
void executor_remove(struct executor *executor, const char *task_id); /* of an unknown task: REMOVED as well */

/* ---- recovery: what exists, asked once after executor_open() ---- */
enum executor_state { EXECUTOR_IS_PREPARED, EXECUTOR_IS_RUNNING, EXECUTOR_IS_EXITED };
struct executor_found {
    const char *task_id;
    enum executor_state state;
    const char *container_id;
    int pid;       /* RUNNING */
    int exit_code; /* EXITED */
    bool oom_killed;
    const struct attachment_address *addresses; /* through attachment_ops.adopt */
    size_t address_count;
};
typedef void executor_found_fn(void *arg, const struct executor_found *found);
/* Calls fn for each, before returning. A container whose preparation had not ended is cleaned up and not told. */
void executor_list(struct executor *executor, executor_found_fn *fn, void *arg);

/* ---- logs ---- */
struct executor_logs;
struct executor_log_options {
    bool follow;
    int64_t tail;     /* last N lines; negative = all */
    int64_t since_ns; /* 0 = from the start */
};
/* entries: at most EXECUTOR_LOG_CHUNK_MAX bytes of data together. end: no more will come (err may say why), the handle is still
 * to be closed. Return false to hold: nothing comes until executor_logs_resume(). Never called from within _open(). */
typedef bool executor_log_fn(void *arg, const Swarm__LogEntry *const *entries, size_t count, bool end, const struct sw_err *err);
int executor_logs_open(struct executor *executor, const char *task_id, const struct executor_log_options *options,
                       executor_log_fn *fn, void *arg, struct executor_logs **ret_logs, struct sw_err *err); /* SW_NOT_FOUND */
void executor_logs_resume(struct executor_logs *logs);
void executor_logs_close(struct executor_logs *logs); /* NULL is fine; safe inside its callback */

/* ---- stats: read from the cgroup files now ---- */
struct executor_stats {
    uint64_t cpu_ns;
    uint64_t memory_bytes;       /* usage less inactive file pages */
    uint64_t memory_limit_bytes; /* 0 = none */
    uint64_t pids;
    uint64_t io_read_bytes, io_written_bytes;
};
int executor_stats(struct executor *executor, const char *task_id, struct executor_stats *ret_stats, struct sw_err *err);

#endif
