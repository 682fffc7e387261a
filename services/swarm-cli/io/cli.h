/* cli - what the commands share: connections to the local node and to the control API, errors, output.
 *
 * Connections are made when first asked for. Nothing is initialised that a command does not need: `--help` and usage errors
 * touch neither ZeroMQ nor libsodium.
 * Errors   commands return an exit code; cli_error() prints one line: "Error response from daemon: ..." if a daemon said it.
 */
#ifndef CLI_H
#define CLI_H

#include "common/base/err.h"
#include "common/bus/bus.h"
#include "proto/control.pb-c.h"
#include "proto/node.pb-c.h"
#include "services/swarm-cli/core/flags.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define CLI_TIMEOUT_MS 30000

struct cli {
    const char *run_dir;
    const char *state_dir;
    const char *host;     /* --host, or NULL */
    const char *identity; /* --identity, or NULL */
    bool said_by_daemon;  /* the last failure came from the other side */
    struct bus_sync *node;
    struct bus_sync *control;
    Swarm__NodeInfoReply *info;
};

void cli_close(struct cli *cli);

/* One question, one answer (sw_pb_free; may be swarm.Empty). */
int cli_ask_node(struct cli *cli, const void *request, uint64_t timeout_ms, void **ret_reply, struct sw_err *err);
int cli_ask(struct cli *cli, const void *request, void **ret_reply, struct sw_err *err);
/* A stream: the first answer, then cli_next() while *ret_more. The node's streams likewise with `sync` = cli->node. */
int cli_stream(struct cli *cli, bool node, const void *request, void **ret_reply, bool *ret_more, struct sw_err *err);
int cli_next(struct cli *cli, bool node, uint64_t timeout_ms, void **ret_reply, bool *ret_more, struct sw_err *err);
/* A request about `name` whose answer says nothing: prints the name, or the failure. Returns an exit code. */
int cli_do(struct cli *cli, const void *request, const char *name);
/* A node as typed, "self" made the local node, or the manager that answers; heap. */
int cli_node_ref(struct cli *cli, const char *typed, char **ret, struct sw_err *err);
/* What the local agent says of its node; kept for the run. */
int cli_info(struct cli *cli, const Swarm__NodeInfoReply **ret, struct sw_err *err);

/* Prints the failure to stderr; returns 1. */
int cli_error(const struct cli *cli, const struct sw_err *err);
/* "Error: text" for what was not found by an inspect. */
void cli_print(const struct sw_buf *text);

uint64_t cli_mono_ms(void);
int64_t cli_wall_ns(void);

/* ---- pieces that several commands use ---- */
/* Prints objects for inspect: array, --format template per object, or json. Returns an exit code. */
int cli_inspect_print(json_t *objects, const char *format);
/* A single object with a template (info, version). */
int cli_format_print(json_t *object, const char *format);
/* --filter values as messages; false after a bad one. The caller frees with cli_filters_free(). */
void cli_filters(const struct flags *flags, Swarm__Filter ***list, size_t *count);
void cli_filters_add(const char *key, const char *value, Swarm__Filter ***list, size_t *count);
void cli_filters_free(Swarm__Filter **list, size_t count);
/* Waits for a service to converge, as section 13 says. Returns an exit code. */
int cli_wait(struct cli *cli, const char *service_id, bool quiet);
/* Pins spec's image by the local agent's word; warns when nobody knows it. */
void cli_resolve_image(struct cli *cli, Swarm__ServiceSpec *spec);

/* ---- commands: one function a row of the table in commands.c ---- */
typedef int cli_run_fn(struct cli *cli, const struct flags *flags);
cli_run_fn cmd_init, cmd_join, cmd_leave, cmd_info, cmd_version, cmd_join_token;
cli_run_fn cmd_node_ls, cmd_node_inspect, cmd_node_ps, cmd_node_update, cmd_node_rm;
cli_run_fn cmd_service_create, cmd_service_ls, cmd_service_ps, cmd_service_inspect, cmd_service_update, cmd_service_scale,
    cmd_service_rm, cmd_service_rollback, cmd_service_logs;
cli_run_fn cmd_task_ls, cmd_task_inspect;
cli_run_fn cmd_image_import, cmd_image_ls, cmd_image_rm, cmd_image_pull;

/* commands.c: find the row for the words in argv and run it. */
int commands_main(struct cli *cli, int argc, char **argv);

#endif
