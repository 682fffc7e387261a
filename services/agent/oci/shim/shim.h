/* swarm-shim - the small process that stands beside one container and outlives the agent.
 *
 * Purpose  holds the container's mount and network namespaces from its preparation on, starts it with the OCI runtime when told,
 *          writes its log, notes how it ended, and takes it away again. One shim per container, one thread, plain libc.
 * Start    `swarm-shim BUNDLE` reads BUNDLE/shim.conf, makes everything ready, leaves a daemon behind and ends: exit code 0,
 *          or 1 with one line on stderr. The daemon is a session of its own, child of init, and a subreaper.
 * Talk     SOCK_SEQPACKET socket `socket` of shim.conf, one text message a packet. To the shim: "start", "signal N", "kill",
 *          "resize ROWS COLUMNS". From it: on connecting and after each change "waiting", "starting", "running PID",
 *          "failed TEXT" (the runtime could not start it), "exited CODE OOM". The end of the connection is the end of the shim.
 * Files    BUNDLE/exit, written atomically before "exited" or "failed" is told: "code N\noom 0|1\nfinished_ns N\nerror TEXT\n".
 * Mounts   the root is mounted in the shim's own mount namespace: nothing is visible on the host, nothing can leak there,
 *          and the kernel takes everything away with the last process.
 * Limits   SHIM_CLIENTS_MAX connections, SHIM_LINE_MAX bytes of a log line before it is split.
 */
#ifndef SWARM_SHIM_H
#define SWARM_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SHIM_CLIENTS_MAX 8
#define SHIM_LAYERS_MAX 128
#define SHIM_ITEMS_MAX 256
#define SHIM_LINE_MAX 16384
#define SHIM_ERROR_MAX 400

/* One line of shim.conf is "key value"; the value runs to the end of the line. */
struct shim_conf {
    const char *id;           /* the container's name for the runtime */
    const char *runtime;      /* absolute path */
    const char *runtime_root; /* its state directory */
    const char *socket_dir, *socket_name;
    const char *log_dir;   /* absent: output is thrown away */
    uint64_t log_size_max; /* bytes; then json.log becomes json.log.1 ... */
    unsigned log_files_max;
    bool tty, keep_stdin;
    const char *oom_file; /* memory.events or memory.oom_control of its cgroup */
    const char *hide[4];  /* mounts that the runtime must not see */
    size_t hide_count;
    const char *layers[SHIM_LAYERS_MAX]; /* absolute paths, the top layer first */
    size_t layer_count;
    const char *sysctls[SHIM_ITEMS_MAX]; /* "net/ipv4/ip_forward=1": of the network namespace */
    size_t sysctl_count;
    const char *copies[SHIM_ITEMS_MAX]; /* "VOLUME_DIR\tTARGET": image content that fills an empty volume */
    size_t copy_count;
    char *text; /* owns all the strings */
};

/* Answers 0, or -1 with the reason in `error` (SHIM_ERROR_MAX bytes). */
int shim_conf_load(const char *path, struct shim_conf *ret, char *error);

/* sandbox.c: own mount and network namespace, cgroup trees hidden, root mounted on ./rootfs, volumes filled. */
int shim_sandbox(const struct shim_conf *conf, char *error);
int shim_sandbox_hide(const struct shim_conf *conf, char *error); /* only a mount namespace without the hidden mounts */
int shim_sysctls(const struct shim_conf *conf, char *error);

/* log.c: the json-file form, {"log":"...\n","stream":"stdout","time":"..."} a line. */
struct shim_line {
    char data[SHIM_LINE_MAX];
    size_t len;
};
struct shim_log {
    const char *dir; /* NULL: thrown away */
    uint64_t size_max, size;
    unsigned files_max;
    int fd;
    struct shim_line lines[2]; /* stdout, stderr: what has no newline yet */
};
void shim_log_open(struct shim_log *log, const char *dir, uint64_t size_max, unsigned files_max);
void shim_log_write(struct shim_log *log, int stream, const char *data, size_t len);
void shim_log_close(struct shim_log *log); /* writes what is left without its newline */

/* run.c: the runtime. */
struct shim_stdio {
    int out, err; /* what the shim reads: pipes, or the terminal's master in `out` */
    int console;  /* listening socket for the terminal */
};
pid_t shim_runtime_run(const struct shim_conf *conf, struct shim_stdio *ret_stdio, char *error);
int shim_console_take(struct shim_stdio *stdio); /* after the runtime ended well: the terminal's master */
int shim_runtime_delete(const struct shim_conf *conf);
bool shim_oom_seen(const struct shim_conf *conf);

/* serve.c: the daemon's loop; returns when the container is gone. */
int shim_listen(const struct shim_conf *conf, char *error);
void shim_serve(const struct shim_conf *conf, int listener);

/* init.c: the first process of a container with --init; never returns. */
int shim_init(int argc, char **argv);

int shim_error(char *error, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* -1 */

#endif
