#include "services/swarm-cli/io/cli.h"

#include "common/base/units.h"
#include "services/swarm-cli/core/objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct printer {
    const struct flags *flags;
    char *service_id; /* --no-resolve */
    int widest;       /* of the prefixes so far, so that the bars align */
    bool broken;      /* nobody reads our output any more */
};

/* RFC 3339, UNIX seconds, or how long ago. */
static int parse_since(const char *text, int64_t *ret_ns, struct sw_err *err)
{
    int64_t ago = 0;
    struct tm tm = { 0 };
    char *end = NULL;
    if (sw_parse_duration(text, &ago)) {
        *ret_ns = cli_wall_ns() - ago;
        return 0;
    }
    double seconds = strtod(text, &end);
    if (end != text && *end == '\0' && seconds >= 0 && seconds < 9e9) {
        *ret_ns = (int64_t)(seconds * 1e9);
        return 0;
    }
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL)
        rest = strptime(text, "%Y-%m-%d", &tm);
    if (rest == NULL)
        return sw_fail(err, SW_INVALID, "invalid value for \"--since\": %.60s: use a time (RFC 3339), UNIX seconds or a duration",
                       text);
    *ret_ns = (int64_t)timegm(&tm) * SW_NS_PER_S;
    if (*rest == '.')
        *ret_ns += (int64_t)(strtod(rest, NULL) * 1e9);
    return 0;
}

static int parse_tail(const char *text, int64_t *ret, struct sw_err *err)
{
    uint64_t lines = 0;
    *ret = -1;
    if (text[0] == '\0' || strcmp(text, "all") == 0)
        return 0;
    if (!sw_parse_u64(text, &lines) || lines > INT64_MAX)
        return sw_fail(err, SW_INVALID, "invalid value for \"--tail\": %.60s: a number of lines, or all", text);
    *ret = (int64_t)lines;
    return 0;
}

static char *prefix_of(const struct printer *printer, const Swarm__LogsEvent *event)
{
    const Swarm__LogMessage *message = event->message;
    const char *node = message->node_id != NULL ? message->node_id : "";
    const char *service = event->service_name != NULL ? event->service_name : "";
    int task = flags_bool(printer->flags, "no-trunc") ? 64 : 12;
    if (printer->service_id != NULL)
        service = printer->service_id;
    else if (event->hostname != NULL)
        node = event->hostname;
    SW_AUTO(sw_free)
    char *slot = event->slot != 0 ? sw_strf("%llu", (unsigned long long)event->slot)
                                  : sw_strdup(message->node_id != NULL ? message->node_id : "");
    if (flags_bool(printer->flags, "no-task-ids"))
        return sw_strf("%s.%s@%s", service, slot, node);
    return sw_strf("%s.%s.%.*s@%s", service, slot, task, message->task_id, node);
}

static void print_entry(struct printer *printer, const Swarm__LogEntry *entry, const char *prefix)
{
    FILE *out = entry->stream == SWARM__LOG_STREAM__LOG_STDERR ? stderr : stdout;
    char when[64];
    size_t len = entry->data.len;
    if (len > 0 && entry->data.data[len - 1] == '\n')
        len--;
    if (flags_bool(printer->flags, "timestamps")) {
        objects_time(entry->time_ns, when, sizeof when);
        (void)fprintf(out, "%s ", when);
    }
    if (!flags_bool(printer->flags, "raw"))
        (void)fprintf(out, "%-*s    | ", printer->widest, prefix);
    (void)fwrite(entry->data.data, 1, len, out);
    (void)fputc('\n', out);
}

static void print_event(struct printer *printer, const Swarm__LogsEvent *event)
{
    for (size_t i = 0; i < event->n_warnings; i++)
        (void)fprintf(stderr, "warning: %s\n", event->warnings[i]);
    if (event->message == NULL)
        return;
    SW_AUTO(sw_free) char *prefix = prefix_of(printer, event);
    int len = (int)strlen(prefix);
    printer->widest = len > printer->widest ? len : printer->widest;
    for (size_t i = 0; i < event->message->n_entries; i++)
        print_entry(printer, event->message->entries[i], prefix);
    if (event->message->error != NULL && event->message->error[0] != '\0')
        (void)fprintf(stderr, "warning: %s: %s\n", prefix, event->message->error);
    printer->broken = fflush(stdout) != 0 || ferror(stdout) != 0;
}

/* A service's terminal has no lines of its own to put a prefix before. */
static int look_up(struct cli *cli, struct printer *printer, struct sw_err *err)
{
    Swarm__ServiceGetRequest request = SWARM__SERVICE_GET_REQUEST__INIT;
    void *message = NULL;
    request.ref = printer->flags->args[0];
    int rc = cli_ask(cli, &request, &message, err);
    SW_AUTO(sw_pb_free) Swarm__ServiceGetReply *reply = message;
    if (rc == -SW_NOT_FOUND)
        return 0; /* a task, perhaps */
    if (rc < 0)
        return rc;
    if (flags_bool(printer->flags, "no-resolve"))
        printer->service_id = sw_strdup(reply->service->id);
    cli->said_by_daemon = false;
    if (reply->service->spec->task->container->tty && !flags_bool(printer->flags, "raw"))
        return sw_fail(err, SW_UNSUPPORTED, "tty service logs only supported with --raw");
    return 0;
}

static int stream(struct cli *cli, struct printer *printer, const Swarm__LogsRequest *request, struct sw_err *err)
{
    void *message = NULL;
    bool more = false;
    int rc = cli_stream(cli, false, request, &message, &more, err);
    while (rc == 0) {
        print_event(printer, message);
        sw_pb_free(SW_TAKE(message));
        if (!more || printer->broken)
            break;
        rc = cli_next(cli, false, 0, &message, &more, err);
    }
    return rc;
}

int cmd_service_logs(struct cli *cli, const struct flags *flags)
{
    Swarm__LogsRequest request = SWARM__LOGS_REQUEST__INIT;
    struct printer printer = { .flags = flags };
    struct sw_err err = { 0 };
    request.ref = flags->args[0];
    request.has_follow = 1;
    request.follow = flags_bool(flags, "follow");
    request.has_tail = 1;
    int rc = parse_tail(flags_str(flags, "tail"), &request.tail, &err);
    if (rc == 0 && flags_typed(flags, "since")) {
        request.has_since_ns = 1;
        rc = parse_since(flags_str(flags, "since"), &request.since_ns, &err);
    }
    if (rc == 0)
        rc = look_up(cli, &printer, &err);
    if (rc == 0)
        rc = stream(cli, &printer, &request, &err);
    free(printer.service_id);
    if (bus_sync_interrupted())
        return 130;
    if (rc == -SW_NOT_FOUND) {
        (void)fprintf(stderr, "no such task or service: %s\n", flags->args[0]);
        return 1;
    }
    return rc < 0 ? cli_error(cli, &err) : 0;
}
