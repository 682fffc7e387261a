/* oci - the inside of the container executor: what its files share. The outside is io/executor.h.
 *
 * Files    executor.c calls and events, prepare.c from a task to a waiting shim, container.c one container's disk and socket,
 *          probe.c which runtime works here, cgroup.c where its groups are and what they say, logread.c logs.
 * Disk     <state>/agent/containers/TASK/ is the bundle: config.json, shim.conf, container.json (written last: its preparation
 *          ended), rootfs, upper, work, hosts, hostname, resolv.conf, pid, exit. <state>/logs/TASK/ the log.
 *          A name with a dot in front is on its way out.
 * Truth    a container lives as long as its shim, and the shim as long as its socket: the end of the connection is the news.
 */
#ifndef AGENT_OCI_OCI_H
#define AGENT_OCI_OCI_H

#include "services/agent/io/executor.h"
#include "services/agent/oci/config.h"
#include "services/agent/oci/store.h"

#include <jansson.h>

#define OCI_PARALLEL 4 /* preparations, and starts, at one time */
#define OCI_ID_MAX 64

enum container_state {
    CONTAINER_IMAGE,    /* waits for its image */
    CONTAINER_QUEUED,   /* waits for its turn to be prepared */
    CONTAINER_SHIM,     /* its shim is being started */
    CONTAINER_PREPARED, /* the shim waits */
    CONTAINER_TURN,     /* to be started when it is its turn */
    CONTAINER_STARTING,
    CONTAINER_RUNNING,
    CONTAINER_LOST, /* the shim was killed; the runtime is asked to clean up */
    CONTAINER_EXITED,
    CONTAINER_CLEANING /* its files are being removed */
};

struct container {
    struct container *next;
    struct executor *executor;
    enum container_state state;
    bool removing;
    char id[OCI_ID_MAX + 1]; /* the task's */
    char container_id[65];
    Swarm__Task *task; /* until prepared */
    char *bundle, *cgroup;
    char *image; /* digest; NULL before it is known */
    int stop_signal;
    bool tty;
    json_t *anonymous; /* names of volumes that go with it */
    struct images_job *job;
    struct svc_child *child;
    int socket;
    struct svc_watch *watch;
    pid_t shim, pid;
    bool ended;  /* exit_code and what follows are known */
    bool failed; /* it never ran */
    int exit_code;
    bool oom;
    char *text; /* why */
    struct attachment_result net;
};

enum cgroup_kind { CGROUP_V1, CGROUP_V2, CGROUP_HYBRID };
struct cgroups {
    enum cgroup_kind kind;
    char *unified;                         /* mount point of the v2 tree, or NULL */
    char *memory, *cpuacct, *pids, *blkio; /* v1 mount points, or NULL */
    char *mounts[24];                      /* all of them */
    size_t mount_count;
    bool swap_limits, pids_limits;
};

struct note;
struct executor {
    struct svc *svc;
    struct images *images;
    struct attachment *attachment;
    executor_event_fn *event;
    void *arg;
    char *state_dir, *containers_dir, *logs_dir, *socket_dir;
    char *shim; /* path of swarm-shim */
    char *runtime, *runtime_root, *runtime_text;
    char *broken;               /* why no container can be run here; NULL = one can */
    bool crun;
    uint64_t log_size_max;
    unsigned log_files_max;
    char *parent; /* "/swarm/ab12cd34" */
    struct cgroups cgroups;
    json_t *profile;              /* Docker's form; NULL when the distribution has none */
    json_t *filters;              /* capabilities in hex -> compiled filter */
    struct container *containers; /* oldest first */
    size_t count;
    unsigned serial;
    struct note *notes, **notes_end;
    struct svc_timer *timer; /* one: events to tell, turns to give */
    struct executor_logs *readers;
};

/* ---- executor.c ---- */
struct container *oci_find(struct executor *executor, const char *task_id);
/* Kept and told from the loop. type and task of `event`; texts are copied. */
void oci_post(struct executor *executor, const struct executor_event *event);
void oci_turns(struct executor *executor);    /* gives free places to those who wait */
void oci_finish(struct container *container); /* its shim is gone and all is known: tells, and removes if that is wanted */

/* ---- prepare.c ---- */
void oci_prepare(struct container *container);  /* CONTAINER_QUEUED -> CONTAINER_SHIM */
void oci_prepared(struct container *container); /* the shim said "waiting" */
void oci_prepare_failed(struct container *container, enum executor_failure failure, const char *text);
enum executor_failure oci_failure(const struct sw_err *err);
int oci_filter(struct executor *executor, uint64_t caps, const char **ret_bpf, json_t **ret_filter, struct sw_err *err);

/* ---- container.c ---- */
struct container *container_new(struct executor *executor, const char *task_id);
void container_free(struct container *container); /* off the list; files stay */
int container_connect(struct container *container, struct sw_err *err);
void container_send(struct container *container, const char *text);
int container_save(struct container *container, struct sw_err *err);
int container_load(struct container *container, struct sw_err *err);
bool container_read_exit(struct container *container); /* false: there is no record */
int container_write(const struct container *container, const char *name, mode_t mode, const char *text, struct sw_err *err);
void container_clean(struct container *container); /* removes its files in a child, then tells REMOVED if it was asked for */
void container_lost(struct container *container);  /* no shim and no record: the runtime is told to delete what is left */
void container_hello(struct container *container); /* at recovery: waits for the shim's first word, 2 s at most */

/* ---- probe.c ---- */
int probe_runtime(struct executor *executor, const char *wanted, struct sw_err *err);

/* ---- cgroup.c ---- */
int cgroups_find(struct cgroups *ret, struct sw_err *err);
void cgroups_deinit(struct cgroups *cgroups);
char *cgroups_oom_file(const struct cgroups *cgroups, const char *path); /* heap; NULL when memory is not counted */
int cgroups_stats(const struct cgroups *cgroups, const char *path, struct executor_stats *ret, struct sw_err *err);
void cgroups_rmdir(const struct cgroups *cgroups, const char *path); /* in every tree, if empty */

/* ---- logread.c ---- */
void logs_wake(struct executor *executor, const char *task_id); /* the container ended */

#endif
