/* swarm-manager-raft - see README.md. */
#include "services/manager-raft/io/shell.h"

int main(int argc, char **argv)
{
    struct shell shell = { 0 };
    const struct svc_option options[] = {
        { .name = "listen",
          .kind = SVC_STRING,
          .fallback = "0.0.0.0:2377",
          .value = &shell.options.listen,
          .help = "IP:PORT of the control API, and of joins" },
        { .name = "raft-listen",
          .kind = SVC_STRING,
          .fallback = "0.0.0.0:2477",
          .value = &shell.options.raft_listen,
          .help = "IP:PORT for the other managers" },
        { .name = "dispatcher-port",
          .kind = SVC_UINT,
          .fallback = "2577",
          .value = &shell.options.dispatcher_port,
          .min = 1,
          .max = 65535,
          .help = "port of this node's dispatcher, told to agents at init" },
        { .name = "raft-heartbeat",
          .kind = SVC_DURATION_MS,
          .fallback = "50ms",
          .value = &shell.options.heartbeat_ms,
          .min = 10,
          .max = 10000,
          .help = "time between the leader's heartbeats" },
        { .name = "raft-election",
          .kind = SVC_DURATION_MS,
          .fallback = "300ms",
          .value = &shell.options.election_ms,
          .min = 50,
          .max = 60000,
          .help = "time without a leader before an election" },
    };
    const struct svc_program program = {
        .name = "swarm-manager-raft",
        .summary = "Raft log, replicated store, control API and certificate authority of a cswarm manager",
        .metrics_address = "127.0.0.1:9377",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .state = &shell,
        .start = shell_start,
        .stop = shell_stop,
        .scrape = shell_scrape,
        .healthy = shell_healthy,
    };
    return svc_main(&program, argc, argv);
}
