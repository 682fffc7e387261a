#include "services/swarm-cli/io/cli.h"

#include "services/swarm-cli/core/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static unsigned terminal_width(void)
{
    struct winsize size = { 0 };
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* Ctrl-C only stops the waiting. */
static int interrupted(const struct progress *progress)
{
    SW_AUTO_BUF out = { 0 };
    progress_interrupted(progress, &out);
    if (!progress->quiet)
        cli_print(&out);
    return 0;
}

static int finish(const struct progress *progress, enum progress_result result)
{
    if (result == PROGRESS_FAILED)
        (void)fprintf(stderr, "%s\n", progress->failure);
    return result == PROGRESS_FAILED;
}

/* One turn: a message, or the time for a tick. */
static int turn(struct cli *cli, struct progress *progress, void **message, bool *more, enum progress_result *ret,
                struct sw_err *err)
{
    SW_AUTO_BUF out = { 0 };
    if (*message != NULL) {
        *ret = progress_event(progress, *message, cli_mono_ms(), &out);
        sw_pb_free(SW_TAKE(*message));
    } else {
        *ret = progress_tick(progress, cli_mono_ms(), &out);
    }
    cli_print(&out);
    if (*ret != PROGRESS_GOES_ON)
        return 0;
    if (!*more)
        return sw_fail(err, SW_UNAVAILABLE, "the daemon ended the progress report");
    int rc = cli_next(cli, false, progress_wait(progress, cli_mono_ms()), message, more, err);
    return rc == -SW_TIMEOUT && !bus_sync_interrupted() ? 0 : rc;
}

int cli_wait(struct cli *cli, const char *service_id, bool quiet)
{
    Swarm__ServiceWatchRequest request = SWARM__SERVICE_WATCH_REQUEST__INIT;
    struct progress progress;
    struct sw_err err = { 0 };
    void *message = NULL;
    bool more = false;
    enum progress_result result = PROGRESS_GOES_ON;
    progress_init(&progress, service_id, isatty(STDOUT_FILENO) == 1, terminal_width(), quiet);
    request.id = (char *)service_id;
    int rc = cli_stream(cli, false, &request, &message, &more, &err);
    while (rc == 0 && result == PROGRESS_GOES_ON)
        rc = turn(cli, &progress, &message, &more, &result, &err);
    sw_pb_free(message);
    if (bus_sync_interrupted())
        return interrupted(&progress);
    return rc < 0 ? cli_error(cli, &err) : finish(&progress, result);
}
