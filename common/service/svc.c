#include "common/service/svc_internal.h"

#include "svc_version.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define TRIM_FIRST_MS 2000u
#define TRIM_EVERY_MS 60000u

const char *svc_version(void)
{
    return SVC_VERSION;
}

const char *svc_commit(void)
{
    return SVC_COMMIT;
}

const char *svc_built(void)
{
    return SVC_BUILT;
}

const char *svc_state_dir(const struct svc *svc)
{
    return svc->state_dir;
}

const char *svc_run_dir(const struct svc *svc)
{
    return svc->run_dir;
}

struct svc_metrics *svc_metrics(struct svc *svc)
{
    return svc->metrics;
}

/* sd_notify(3) by hand; "@" stands for the NUL of an abstract name. */
static void notify_systemd(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    SW_AUTO(sw_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (const struct sockaddr *)&address,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}

void svc_notify_ready(const struct svc *svc)
{
    const char *path = getenv("NOTIFY_SOCKET");
    if (path != NULL)
        notify_systemd(path);
    if (svc->ready_fd > 2) {
        if (write((int)svc->ready_fd, "\n", 1) < 0)
            svc_log(SVC_WARN, "cannot tell readiness", "fd=%llu", (unsigned long long)svc->ready_fd);
        (void)close((int)svc->ready_fd);
    }
}

/* Each peer is a descriptor; the usual soft limit of 1024 is no reason to turn one away. */
static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max > 1048576 ? 1048576 : limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    struct rlimit none = { 0, 0 };
    (void)setrlimit(RLIMIT_CORE, &none); /* a core file would hold keys in clear */
}

static int prepare(struct svc *svc, struct sw_err *err)
{
    (void)umask(077);
    raise_limits();
    int rc = svc_mkdirs(svc->state_dir, 0700, err);
    if (rc == 0)
        rc = svc_mkdirs(svc->run_dir, 0700, err);
    if (rc == 0)
        rc = svc_loop_open(svc, err);
    if (rc == 0)
        rc = svc_http_open(svc, err);
    if (rc == 0)
        rc = svc->program->start(svc, svc->program->state, err);
    return rc;
}

/* One thread does nearly all allocation: more arenas would only hold more free memory. What a burst leaves free goes back to
 * the kernel a little later (0.1 ms a time). */
static void give_memory_back(void *arg)
{
    struct svc *svc = arg;
    (void)malloc_trim(0);
    svc_timer_at(svc->trim, svc_mono_ms() + TRIM_EVERY_MS);
}

static void serve(struct svc *svc)
{
    svc->trim = svc_timer_new(svc, give_memory_back, svc);
    svc_timer_at(svc->trim, svc_mono_ms() + TRIM_FIRST_MS);
    svc_notify_ready(svc);
    svc_log(SVC_INFO, "ready", "version=%s commit=%s", svc_version(), svc_commit());
    svc_loop_run(svc);
    if (svc->program->stop != NULL)
        svc->program->stop(svc, svc->program->state);
}

int svc_main(const struct svc_program *program, int argc, char **argv)
{
    struct svc svc = { .program = program };
    struct sw_err err = { 0 };
    svc_log_setup(program->name);
    (void)mallopt(M_ARENA_MAX, 1);
    int rc = svc_options_parse(&svc, argc, argv, &err);
    if (rc < 0)
        fprintf(stderr, "%s: %s\nSee '%s --help'.\n", program->name, err.text, program->name);
    if (rc != 0) {
        svc_options_free(&svc);
        return rc < 0 ? 125 : 0;
    }
    svc.metrics = svc_metrics_new();
    rc = prepare(&svc, &err);
    if (rc == 0) {
        serve(&svc);
    } else {
        svc_log(SVC_ERROR, "cannot start", "err=\"%s\"", err.text);
        svc.exit_code = 1;
    }
    svc_http_close(&svc);
    svc_loop_close(&svc);
    svc_metrics_free(svc.metrics);
    svc_options_free(&svc);
    return svc.exit_code;
}
