#include "services/swarm-cli/io/cli.h"

#include "common/service/svc_version.h"
#include "services/swarm-cli/core/spec.h"
#include "services/swarm-cli/core/values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "swarm-cli"
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- flag tables that are not a service's ---- */

#define FLAG_FILTER                                                                                                              \
    {                                                                                                                            \
        "filter", 'f', FLAG_LIST, "Filter output based on conditions provided", "filter", NULL, values_check_filter              \
    }
#define FLAG_FORMAT(words)                                                                                                       \
    {                                                                                                                            \
        "format", 0, FLAG_STRING, words, NULL, NULL, NULL                                                                        \
    }
#define FLAG_FORMAT_SHORT                                                                                                        \
    {                                                                                                                            \
        "format", 'f', FLAG_STRING, "Format output using a template or 'json'", NULL, NULL, NULL                                 \
    }
#define FLAG_QUIET(words)                                                                                                        \
    {                                                                                                                            \
        "quiet", 'q', FLAG_BOOL, words, NULL, NULL, NULL                                                                         \
    }
#define FLAG_NO_TRUNC                                                                                                            \
    {                                                                                                                            \
        "no-trunc", 0, FLAG_BOOL, "Do not truncate output", NULL, NULL, NULL                                                     \
    }
#define FLAG_NO_RESOLVE                                                                                                          \
    {                                                                                                                            \
        "no-resolve", 0, FLAG_BOOL, "Do not map IDs to Names", NULL, NULL, NULL                                                  \
    }
#define FLAG_PRETTY                                                                                                              \
    {                                                                                                                            \
        "pretty", 0, FLAG_BOOL, "Print the information in a human friendly format", NULL, NULL, NULL                             \
    }
#define FLAG_DETACH                                                                                                              \
    {                                                                                                                            \
        "detach", 'd', FLAG_BOOL, "Exit immediately instead of waiting for the service to converge", NULL, NULL, NULL            \
    }
#define FLAG_FORCE(words)                                                                                                        \
    {                                                                                                                            \
        "force", 'f', FLAG_BOOL, words, NULL, NULL, NULL                                                                         \
    }
#define FORMAT_HELP "Format output: table, table TEMPLATE, json, raw or a template"

static const struct flag list_flags[] = { FLAG_FILTER, FLAG_FORMAT(FORMAT_HELP), FLAG_QUIET("Only display IDs") };
static const struct flag task_flags[] = { FLAG_FILTER, FLAG_FORMAT(FORMAT_HELP), FLAG_QUIET("Only display task IDs"),
                                          FLAG_NO_TRUNC, FLAG_NO_RESOLVE };
static const struct flag inspect_flags[] = { FLAG_FORMAT_SHORT, FLAG_PRETTY };
static const struct flag format_flags[] = { FLAG_FORMAT_SHORT };
static const struct flag init_flags[] = {
    { "advertise-addr", 0, FLAG_STRING, "Advertised address (format: <ip|interface>[:port])", NULL, NULL, NULL },
    { "availability", 0, FLAG_STRING, "Availability of the node (active, pause, drain)", NULL, "active", NULL },
    { "cert-expiry", 0, FLAG_DURATION, "Validity period for node certificates", NULL, "2160h", NULL },
    { "dispatcher-heartbeat", 0, FLAG_DURATION, "Dispatcher heartbeat period", NULL, "1s", NULL },
    { "listen-addr", 0, FLAG_STRING, "Listen address (format: <ip|interface>[:port])", "node-addr", NULL, NULL },
    { "task-history-limit", 0, FLAG_INT, "Task history retention limit", NULL, "5", NULL },
};
static const struct flag join_flags[] = {
    { "advertise-addr", 0, FLAG_STRING, "Advertised address (format: <ip|interface>[:port])", NULL, NULL, NULL },
    { "availability", 0, FLAG_STRING, "Availability of the node (active, pause, drain)", NULL, "active", NULL },
    { "listen-addr", 0, FLAG_STRING, "Listen address (format: <ip|interface>[:port])", "node-addr", NULL, NULL },
    { "token", 0, FLAG_STRING, "Token for entry into the swarm", NULL, NULL, NULL },
};
static const struct flag leave_flags[] = { FLAG_FORCE("Force this node to leave the swarm, ignoring warnings") };
static const struct flag token_flags[] = { FLAG_QUIET("Only display token"),
                                           { "rotate", 0, FLAG_BOOL, "Rotate join token", NULL, NULL, NULL } };
static const struct flag node_update_flags[] = {
    { "availability", 0, FLAG_STRING, "Availability of the node (active, pause, drain)", NULL, NULL, NULL },
    { "label-add", 0, FLAG_LIST, "Add or update a node label (key=value)", NULL, NULL, values_check_pair },
    { "label-rm", 0, FLAG_LIST, "Remove a node label if exists", NULL, NULL, NULL },
    { "role", 0, FLAG_STRING, "Role of the node (worker, manager)", NULL, NULL, NULL },
};
static const struct flag node_rm_flags[] = { FLAG_FORCE("Force remove a node from the swarm") };
static const struct flag scale_flags[] = { FLAG_DETACH };
static const struct flag rollback_flags[] = { FLAG_DETACH, FLAG_QUIET("Suppress progress output") };
static const struct flag logs_flags[] = {
    { "follow", 'f', FLAG_BOOL, "Follow log output", NULL, NULL, NULL },
    FLAG_NO_RESOLVE,
    { "no-task-ids", 0, FLAG_BOOL, "Do not include task IDs in output", NULL, NULL, NULL },
    FLAG_NO_TRUNC,
    { "raw", 0, FLAG_BOOL, "Do not neatly format logs", NULL, NULL, NULL },
    { "since", 0, FLAG_STRING, "Show logs since a time (RFC 3339), UNIX seconds or relative (\"42m\")", NULL, NULL, NULL },
    { "tail", 'n', FLAG_STRING, "Number of lines to show from the end of the logs", NULL, "all", NULL },
    { "timestamps", 't', FLAG_BOOL, "Show timestamps", NULL, NULL, NULL },
};
static const struct flag image_ls_flags[] = { FLAG_FORMAT(FORMAT_HELP), FLAG_QUIET("Only show image IDs"), FLAG_NO_TRUNC };
static const struct flag image_get_flags[] = { FLAG_QUIET("Suppress progress output") };
static const struct flag image_rm_flags[] = { FLAG_FORCE("Remove the image though it has other names") };

/* ---- the table ---- */

struct command {
    const char *words;
    const char *alias; /* other last word, or NULL */
    const char *args;
    int args_min, args_max;
    const struct flag *flags;
    size_t flag_count;
    cli_run_fn *run;
    const char *summary;
};

#define FLAGS(table) table, COUNT(table)

/* The two tables of spec_flags.c have their counts in variables: 0 here, see flags_of(). */
static const struct command commands[] = {
    { "init", NULL, "", 0, 0, FLAGS(init_flags), cmd_init, "Initialize a swarm" },
    { "join", NULL, "HOST:PORT", 1, 1, FLAGS(join_flags), cmd_join, "Join a swarm as a node and/or manager" },
    { "leave", NULL, "", 0, 0, FLAGS(leave_flags), cmd_leave, "Leave the swarm" },
    { "join-token", NULL, "(worker|manager)", 1, 1, FLAGS(token_flags), cmd_join_token, "Manage join tokens" },
    { "info", NULL, "", 0, 0, FLAGS(format_flags), cmd_info, "Display what this node is, and its swarm" },
    { "version", NULL, "", 0, 0, FLAGS(format_flags), cmd_version, "Show the version information" },
    { "node ls", "list", "", 0, 0, FLAGS(list_flags), cmd_node_ls, "List nodes in the swarm" },
    { "node inspect", NULL, "self|NODE [NODE...]", 1, -1, FLAGS(inspect_flags), cmd_node_inspect,
      "Display detailed information on one or more nodes" },
    { "node ps", NULL, "[NODE...]", 0, -1, FLAGS(task_flags), cmd_node_ps, "List tasks running on one or more nodes" },
    { "node update", NULL, "NODE", 1, 1, FLAGS(node_update_flags), cmd_node_update, "Update a node" },
    { "node rm", "remove", "NODE [NODE...]", 1, -1, FLAGS(node_rm_flags), cmd_node_rm,
      "Remove one or more nodes from the swarm" },
    { "service create", NULL, "IMAGE [COMMAND] [ARG...]", 1, -1, spec_create_flags, 0, cmd_service_create,
      "Create a new service" },
    { "service ls", "list", "", 0, 0, FLAGS(list_flags), cmd_service_ls, "List services" },
    { "service ps", NULL, "SERVICE [SERVICE...]", 1, -1, FLAGS(task_flags), cmd_service_ps,
      "List the tasks of one or more services" },
    { "service inspect", NULL, "SERVICE [SERVICE...]", 1, -1, FLAGS(inspect_flags), cmd_service_inspect,
      "Display detailed information on one or more services" },
    { "service update", NULL, "SERVICE", 1, 1, spec_update_flags, 0, cmd_service_update, "Update a service" },
    { "service scale", NULL, "SERVICE=REPLICAS [SERVICE=REPLICAS...]", 1, -1, FLAGS(scale_flags), cmd_service_scale,
      "Scale one or multiple replicated services" },
    { "service rollback", NULL, "SERVICE", 1, 1, FLAGS(rollback_flags), cmd_service_rollback,
      "Revert changes to a service's configuration" },
    { "service rm", "remove", "SERVICE [SERVICE...]", 1, -1, NULL, 0, cmd_service_rm, "Remove one or more services" },
    { "service logs", NULL, "SERVICE|TASK", 1, 1, FLAGS(logs_flags), cmd_service_logs, "Fetch the logs of a service or task" },
    { "task ls", "list", "", 0, 0, FLAGS(task_flags), cmd_task_ls, "List all tasks" },
    { "task inspect", NULL, "TASK [TASK...]", 1, -1, FLAGS(format_flags), cmd_task_inspect,
      "Display detailed information on one or more tasks" },
    { "image import", NULL, "SOURCE [NAME]", 1, 2, FLAGS(image_get_flags), cmd_image_import,
      "Import an image into this node: docker-archive:FILE, oci:DIR[:TAG] or docker-daemon:NAME" },
    { "image ls", "list", "", 0, 0, FLAGS(image_ls_flags), cmd_image_ls, "List images on this node" },
    { "image rm", "remove", "IMAGE [IMAGE...]", 1, -1, FLAGS(image_rm_flags), cmd_image_rm,
      "Remove one or more images from this node" },
    { "image pull", NULL, "NAME[:TAG|@DIGEST]", 1, 1, FLAGS(image_get_flags), cmd_image_pull, "Pull an image onto this node" },
};

static struct flags_usage usage_of(const struct command *command)
{
    struct flags_usage usage = { PROGRAM, command->words,   command->args,  command->args_min,  command->args_max,
                                 false,   command->summary, command->flags, command->flag_count };
    if (command->flags == spec_create_flags) {
        usage.spec_count = spec_create_flag_count;
        usage.stop_at_arg = true;
    } else if (command->flags == spec_update_flags) {
        usage.spec_count = spec_update_flag_count;
    }
    return usage;
}

/* ---- finding a row ---- */

/* How many of argv's words name this command; 0 = it is another. */
static int match(const struct command *command, int argc, char **argv)
{
    const char *rest = command->words;
    int count = 0;
    while (*rest != '\0') {
        size_t len = strcspn(rest, " ");
        bool last = rest[len] == '\0';
        if (count >= argc)
            return 0;
        bool same = strlen(argv[count]) == len && strncmp(argv[count], rest, len) == 0;
        if (!same && !(last && command->alias != NULL && strcmp(argv[count], command->alias) == 0))
            return 0;
        count++;
        rest += last ? len : len + 1;
    }
    return count;
}

static const struct command *find(int argc, char **argv, int *ret_words)
{
    for (size_t i = 0; i < COUNT(commands); i++) {
        *ret_words = match(&commands[i], argc, argv);
        if (*ret_words > 0)
            return &commands[i];
    }
    return NULL;
}

static bool is_group(const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i < COUNT(commands); i++)
        if (strncmp(commands[i].words, word, len) == 0 && commands[i].words[len] == ' ')
            return true;
    return false;
}

/* ---- help ---- */

static void help_list(FILE *out, const char *group)
{
    size_t len = strlen(group);
    for (size_t i = 0; i < COUNT(commands); i++) {
        bool inside = strncmp(commands[i].words, group, len) == 0 && commands[i].words[len] == ' ';
        if (len == 0 || inside)
            (void)fprintf(out, "  %-16s  %s\n", len == 0 ? commands[i].words : commands[i].words + len + 1, commands[i].summary);
    }
}

static int help(FILE *out, const char *group)
{
    if (group[0] != '\0') {
        (void)fprintf(out, "Usage:  " PROGRAM " %s COMMAND\n\nCommands:\n", group);
        help_list(out, group);
        (void)fprintf(out, "\nRun '" PROGRAM " %s COMMAND --help' for more information on a command.\n", group);
        return 0;
    }
    (void)fprintf(out, "Usage:  " PROGRAM " [OPTIONS] COMMAND\n\nThe command line of a swarm (every command also as '" PROGRAM
                       " swarm init' and the like)\n\nCommands:\n");
    help_list(out, "");
    (void)fprintf(out, "\nOptions (before the command):\n"
                       "  -H, --host tcp://HOST[:2377]  Manager to talk to (default: this node)\n"
                       "      --identity FILE           Administrator's key made at init (default: STATE-DIR/node/admin)\n"
                       "      --run-dir DIR             Where the local sockets are (default /run/swarm, or $SWARM_RUN_DIR)\n"
                       "      --state-dir DIR           State of this node (default /var/lib/swarm, or $SWARM_STATE_DIR)\n"
                       "  -v, --version                 Print version information and quit\n"
                       "\nRun '" PROGRAM " COMMAND --help' for more information on a command.\n");
    return 0;
}

static int unknown(const char *group, const char *word)
{
    (void)fprintf(stderr, PROGRAM ": unknown command: " PROGRAM " %s%s%s\n\nRun '" PROGRAM " %s%s--help' for more information\n",
                  group, group[0] != '\0' ? " " : "", word, group, group[0] != '\0' ? " " : "");
    return 1;
}

/* ---- running ---- */

static int run(struct cli *cli, const struct command *command, int argc, char **argv)
{
    struct flags_usage usage = usage_of(command);
    struct flags flags;
    SW_AUTO_BUF text = { 0 };
    int code = 0;
    enum flags_result result = flags_parse(&usage, argc, argv, &flags, &text);
    if (result == FLAGS_OK && flags.help) {
        flags_help(&usage, &text);
        cli_print(&text);
    } else if (result == FLAGS_OK) {
        code = command->run(cli, &flags);
    } else {
        (void)fputs(sw_buf_str(&text), stderr);
        code = result == FLAGS_USAGE ? EXIT_USAGE : 1;
    }
    flags_deinit(&flags);
    return code;
}

static int run_words(struct cli *cli, int argc, char **argv)
{
    int words = 0;
    if (argc > 0 && strcmp(argv[0], "swarm") == 0) { /* "swarm init" is "init" */
        argc--;
        argv++;
    }
    if (argc == 0)
        return help(stderr, "");
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0 || strcmp(argv[0], "help") == 0)
        return help(stdout, "");
    const struct command *command = find(argc, argv, &words);
    if (command != NULL)
        return run(cli, command, argc - words, argv + words);
    if (!is_group(argv[0]))
        return unknown("", argv[0]);
    if (argc == 1)
        return help(stderr, argv[0]);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help(stdout, argv[0]);
    return unknown(argv[0], argv[1]);
}

static const struct flag global_flags[] = {
    { "host", 'H', FLAG_STRING, "", NULL, NULL, NULL },  { "identity", 0, FLAG_STRING, "", NULL, NULL, NULL },
    { "run-dir", 0, FLAG_STRING, "", NULL, NULL, NULL }, { "state-dir", 0, FLAG_STRING, "", NULL, NULL, NULL },
    { "version", 'v', FLAG_BOOL, "", NULL, NULL, NULL },
};

static const char *setting(const struct flags *flags, const char *flag, const char *variable, const char *fallback)
{
    const char *value = variable != NULL ? getenv(variable) : NULL;
    if (flags_typed(flags, flag))
        return flags_str(flags, flag);
    return value != NULL && value[0] != '\0' ? value : fallback;
}

int commands_main(struct cli *cli, int argc, char **argv)
{
    struct flags_usage usage = { PROGRAM, "", "COMMAND", 0, -1, true, "", FLAGS(global_flags) };
    struct flags flags;
    SW_AUTO_BUF text = { 0 };
    int code = 0;
    enum flags_result result = flags_parse(&usage, argc, argv, &flags, &text);
    cli->run_dir = setting(&flags, "run-dir", "SWARM_RUN_DIR", "/run/swarm");
    cli->state_dir = setting(&flags, "state-dir", "SWARM_STATE_DIR", "/var/lib/swarm");
    cli->host = setting(&flags, "host", NULL, NULL);
    cli->identity = setting(&flags, "identity", NULL, NULL);
    if (result != FLAGS_OK) {
        (void)fputs(sw_buf_str(&text), stderr);
        code = EXIT_USAGE;
    } else if (flags.help) {
        code = help(stdout, "");
    } else if (flags_bool(&flags, "version")) {
        (void)printf(PROGRAM " %s, commit %s, built %s\n", SVC_VERSION, SVC_COMMIT, SVC_BUILT);
    } else {
        code = run_words(cli, (int)flags.arg_count, flags.args);
    }
    flags_deinit(&flags);
    return code;
}
