#include "services/ingress-lb/io/shell.h"

#include <string.h>

struct program {
    struct shell_options options;
    struct shell *shell;
};

static int start(struct svc *svc, void *state, struct sw_err *err)
{
    struct program *program = state;
    if (!program->options.cleanup)
        return shell_open(svc, &program->options, &program->shell, err);
    svc_quit(svc, 0);
    return shell_cleanup(&program->options, svc_state_dir(svc), err);
}

static void stop(struct svc *svc, void *state)
{
    struct program *program = state;
    (void)svc;
    shell_close(program->shell);
    program->shell = NULL;
}

static void scrape(struct svc *svc, void *state)
{
    struct program *program = state;
    (void)svc;
    if (program->shell != NULL)
        shell_scrape(program->shell);
}

static bool healthy(struct svc *svc, void *state, char *why, size_t why_size)
{
    struct program *program = state;
    (void)svc;
    return program->shell == NULL || shell_healthy(program->shell, why, why_size);
}

int main(int argc, char **argv)
{
    struct program state = { 0 };
    const struct svc_option options[] = {
        { "table", SVC_STRING, "swarm", &state.options.table, 0, 0, "name of the nft table (family inet) that is ours alone" },
        { "check-interval", SVC_DURATION_MS, "2s", &state.options.check_interval_ms, 50, 3600000,
          "how often the kernel's table is compared with the wanted one" },
        { "cleanup", SVC_BOOL, NULL, &state.options.cleanup, 0, 0, "take the table away and exit" },
    };
    struct svc_program program = {
        .name = "swarm-ingress-lb",
        .summary = "balances published ports of this node over its tasks, by nftables",
        .metrics_address = "127.0.0.1:9381",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .state = &state,
        .start = start,
        .stop = stop,
        .scrape = scrape,
        .healthy = healthy,
    };
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--cleanup") == 0)
            program.metrics_address = "off"; /* a daemon may still be running */
    return svc_main(&program, argc, argv);
}
