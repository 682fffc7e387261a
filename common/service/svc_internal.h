/* Shared by the files of common/service only. */
#ifndef SW_SVC_INTERNAL_H
#define SW_SVC_INTERNAL_H

#include "common/base/buf.h"
#include "common/service/svc.h"

struct svc_loop; /* loop.c */
struct svc_http; /* http.c */

struct svc {
    const struct svc_program *program;
    char *state_dir, *run_dir, *config_file, *log_level, *metrics_address;
    uint64_t ready_fd;
    struct svc_loop *loop;
    struct svc_http *http;
    struct svc_metrics *metrics;
    struct svc_timer *trim;
    bool quitting;
    int exit_code;
};

/* options.c: 0 = go on; > 0 = printed something, exit with 0 (--help, --version); < 0 = usage error in *err. */
int svc_options_parse(struct svc *svc, int argc, char **argv, struct sw_err *err);
void svc_options_free(struct svc *svc);

int svc_loop_open(struct svc *svc, struct sw_err *err);
void svc_loop_run(struct svc *svc);
void svc_loop_close(struct svc *svc);
void svc_loop_wake(struct svc *svc);

int svc_http_open(struct svc *svc, struct sw_err *err);
void svc_http_close(struct svc *svc);

struct svc_metrics *svc_metrics_new(void);
void svc_metrics_free(struct svc_metrics *metrics);
void svc_metrics_write(const struct svc_metrics *metrics, struct sw_buf *out);

void svc_log_setup(const char *daemon_name);
bool svc_log_level_set(const char *word);

void svc_notify_ready(const struct svc *svc);

#endif
