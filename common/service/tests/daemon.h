/* daemon - a daemon for a test: svc_main() in the test's own process, with directories of its own. */
#ifndef SERVICE_TESTS_DAEMON_H
#define SERVICE_TESTS_DAEMON_H

#include "common/base/buf.h"
#include "common/service/svc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#define DAEMON_GUARD_MS 20000 /* how long a test's loop may run: set a timer in start() */

/* Runs start() and the loop in <dir>/state and <dir>/run; `dir` ends in XXXXXX and is made and removed here. The exit code. */
static inline int daemon_run(char *dir, int (*start)(struct svc *svc, void *state, struct sw_err *err),
                             void (*stop)(struct svc *svc, void *state), void *state)
{
    assert_non_null(mkdtemp(dir));
    SW_AUTO(sw_free) char *state_dir = sw_strf("--state-dir=%s/state", dir);
    SW_AUTO(sw_free) char *run_dir = sw_strf("--run-dir=%s/run", dir);
    char metrics[] = "--metrics-address=off", name[] = "test";
    char *argv[] = { name, state_dir, run_dir, metrics };
    const struct svc_program program = {
        .name = name, .summary = "test", .metrics_address = "off", .state = state, .start = start, .stop = stop
    };
    int code = svc_main(&program, sizeof argv / sizeof *argv, argv);
    assert_int_equal(svc_rmtree(dir, NULL), 0);
    return code;
}

#endif
