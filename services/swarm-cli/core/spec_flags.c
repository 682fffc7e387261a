#include "services/swarm-cli/core/spec.h"
#include "services/swarm-cli/core/values.h"

/* What create and update have in common: each sets one value. */
#define SPEC_COMMON_FLAGS                                                                                                           \
    { "detach", 'd', FLAG_BOOL, "Exit immediately instead of waiting for the service to converge", NULL, NULL, NULL },              \
        { "quiet", 'q', FLAG_BOOL, "Suppress progress output", NULL, NULL, NULL },                                                  \
        { "entrypoint", 0, FLAG_STRING, "Overwrite the default ENTRYPOINT of the image", "command", NULL, NULL },                   \
        { "hostname", 0, FLAG_STRING, "Container hostname (template)", NULL, NULL, NULL },                                          \
        { "init", 0, FLAG_BOOL, "Use an init inside each container to forward signals and reap processes", NULL, NULL, NULL },      \
        { "limit-cpu", 0, FLAG_CPUS, "Limit CPUs", NULL, NULL, NULL },                                                              \
        { "limit-memory", 0, FLAG_BYTES, "Limit memory", NULL, NULL, NULL },                                                        \
        { "limit-pids", 0, FLAG_INT, "Limit maximum number of processes (0 = unlimited)", NULL, NULL, NULL },                       \
        { "no-resolve-image", 0, FLAG_BOOL, "Do not query the registry to resolve image digest and platforms", NULL, NULL, NULL },  \
        { "oom-score-adj", 0, FLAG_INT, "Tune host's OOM preferences (-1000 to 1000)", NULL, NULL, NULL },                          \
        { "read-only", 0, FLAG_BOOL, "Mount the container's root filesystem as read only", NULL, NULL, NULL },                      \
        { "replicas", 0, FLAG_UINT, "Number of tasks", NULL, NULL, NULL },                                                          \
        { "replicas-max-per-node", 0, FLAG_UINT, "Maximum number of tasks per node (0 = unlimited)", NULL, NULL, NULL },            \
        { "reserve-cpu", 0, FLAG_CPUS, "Reserve CPUs", NULL, NULL, NULL },                                                          \
        { "reserve-memory", 0, FLAG_BYTES, "Reserve memory", NULL, NULL, NULL },                                                    \
        { "restart-condition", 0, FLAG_STRING, "Restart when condition is met (none, on-failure, any)", NULL, NULL, NULL },         \
        { "restart-delay", 0, FLAG_DURATION, "Delay between restart attempts (default 5s)", NULL, NULL, NULL },                     \
        { "restart-max-attempts", 0, FLAG_UINT, "Maximum number of restarts before giving up", NULL, NULL, NULL },                  \
        { "restart-window", 0, FLAG_DURATION, "Window used to evaluate the restart policy", NULL, NULL, NULL },                     \
        { "rollback-delay", 0, FLAG_DURATION, "Delay between task rollbacks", NULL, NULL, NULL },                                   \
        { "rollback-failure-action", 0, FLAG_STRING, "Action on rollback failure (pause, continue)", NULL, NULL, NULL },            \
        { "rollback-max-failure-ratio",                                                                                             \
          0,                                                                                                                        \
          FLAG_FLOAT,                                                                                                               \
          "Failure rate to tolerate during a rollback",                                                                             \
          NULL,                                                                                                                     \
          NULL,                                                                                                                     \
          values_check_ratio },                                                                                                     \
        { "rollback-monitor", 0, FLAG_DURATION, "Duration after each task rollback to monitor for failure", NULL, NULL, NULL },     \
        { "rollback-order", 0, FLAG_STRING, "Rollback order (start-first, stop-first)", NULL, NULL, NULL },                         \
        { "rollback-parallelism", 0, FLAG_UINT, "Maximum number of tasks rolled back simultaneously (0 = all)", NULL, NULL, NULL }, \
        { "stop-grace-period", 0, FLAG_DURATION, "Time to wait before force killing a container (default 10s)", NULL, NULL, NULL }, \
        { "stop-signal", 0, FLAG_STRING, "Signal to stop the container", NULL, NULL, NULL },                                        \
        { "tty", 't', FLAG_BOOL, "Allocate a pseudo-TTY", NULL, NULL, NULL },                                                       \
        { "update-delay", 0, FLAG_DURATION, "Delay between updates", NULL, NULL, NULL },                                            \
        { "update-failure-action", 0, FLAG_STRING, "Action on update failure (pause, continue, rollback)", NULL, NULL, NULL },      \
        { "update-max-failure-ratio", 0, FLAG_FLOAT, "Failure rate to tolerate during an update", NULL, NULL, values_check_ratio }, \
        { "update-monitor", 0, FLAG_DURATION, "Duration after each task update to monitor for failure", NULL, NULL, NULL },         \
        { "update-order", 0, FLAG_STRING, "Update order (start-first, stop-first)", NULL, NULL, NULL },                             \
        { "update-parallelism", 0, FLAG_UINT, "Maximum number of tasks updated simultaneously (0 = all)", NULL, NULL, NULL },       \
        { "user", 'u', FLAG_STRING, "Username or UID (format: <name|uid>[:<group|gid>])", NULL, NULL, NULL },                       \
        { "workdir", 'w', FLAG_STRING, "Working directory inside the container", NULL, NULL, NULL },                                \
        { "cap-add", 0, FLAG_LIST, "Add Linux capabilities", NULL, NULL, NULL },                                                    \
    {                                                                                                                               \
        "cap-drop", 0, FLAG_LIST, "Drop Linux capabilities", NULL, NULL, NULL                                                       \
    }

const struct flag spec_create_flags[] = {
    SPEC_COMMON_FLAGS,
    { "name", 0, FLAG_STRING, "Service name", NULL, NULL, NULL },
    { "mode", 0, FLAG_STRING, "Service mode (replicated, global)", NULL, "replicated", NULL },
    { "label", 'l', FLAG_LIST, "Service labels", NULL, NULL, values_check_pair },
    { "container-label", 0, FLAG_LIST, "Container labels", NULL, NULL, values_check_pair },
    { "constraint", 0, FLAG_LIST, "Placement constraints", NULL, NULL, NULL },
    { "placement-pref", 0, FLAG_LIST, "Add a placement preference", "pref", NULL, values_check_preference },
    { "env", 'e', FLAG_LIST, "Set environment variables", NULL, NULL, values_check_env },
    { "env-file", 0, FLAG_LIST, "Read in a file of environment variables", NULL, NULL, NULL },
    { "mount", 0, FLAG_LIST, "Attach a filesystem mount to the service", "mount", NULL, values_check_mount },
    { "publish", 'p', FLAG_LIST, "Publish a port as a node port", "port", NULL, values_check_publish },
    { "sysctl", 0, FLAG_LIST, "Sysctl options", NULL, NULL, values_check_sysctl },
    { "ulimit", 0, FLAG_LIST, "Ulimit options", "ulimit", NULL, values_check_ulimit },
    { "group", 0, FLAG_LIST, "Set one or more supplementary user groups for the container", NULL, NULL, NULL },
    { "host", 0, FLAG_LIST, "Set one or more custom host-to-IP mappings (host:ip)", NULL, NULL, values_check_host },
    { "dns", 0, FLAG_LIST, "Set custom DNS servers", NULL, NULL, values_check_ip },
    { "dns-search", 0, FLAG_LIST, "Set custom DNS search domains", NULL, NULL, values_check_word },
    { "dns-option", 0, FLAG_LIST, "Set DNS options", NULL, NULL, values_check_word },
};
const size_t spec_create_flag_count = sizeof spec_create_flags / sizeof *spec_create_flags;

const struct flag spec_update_flags[] = {
    SPEC_COMMON_FLAGS,
    { "args", 0, FLAG_STRING, "Service command args", "command", NULL, NULL },
    { "image", 0, FLAG_STRING, "Service image tag", NULL, NULL, NULL },
    { "force", 0, FLAG_BOOL, "Force update even if no changes require it", NULL, NULL, NULL },
    { "rollback", 0, FLAG_BOOL, "Rollback to previous specification", NULL, NULL, NULL },
    { "label-add", 0, FLAG_LIST, "Add or update a service label", NULL, NULL, values_check_pair },
    { "label-rm", 0, FLAG_LIST, "Remove a label by its key", NULL, NULL, NULL },
    { "container-label-add", 0, FLAG_LIST, "Add or update a container label", NULL, NULL, values_check_pair },
    { "container-label-rm", 0, FLAG_LIST, "Remove a container label by its key", NULL, NULL, NULL },
    { "constraint-add", 0, FLAG_LIST, "Add or update a placement constraint", NULL, NULL, NULL },
    { "constraint-rm", 0, FLAG_LIST, "Remove a constraint", NULL, NULL, NULL },
    { "placement-pref-add", 0, FLAG_LIST, "Add a placement preference", "pref", NULL, values_check_preference },
    { "placement-pref-rm", 0, FLAG_LIST, "Remove a placement preference", "pref", NULL, values_check_preference },
    { "env-add", 0, FLAG_LIST, "Add or update an environment variable", NULL, NULL, values_check_env },
    { "env-rm", 0, FLAG_LIST, "Remove an environment variable", NULL, NULL, NULL },
    { "mount-add", 0, FLAG_LIST, "Add or update a mount on a service", "mount", NULL, values_check_mount },
    { "mount-rm", 0, FLAG_LIST, "Remove a mount by its target path", NULL, NULL, NULL },
    { "publish-add", 0, FLAG_LIST, "Add or update a published port", "port", NULL, values_check_publish },
    { "publish-rm", 0, FLAG_LIST, "Remove a published port by its target port", "port", NULL, values_check_publish },
    { "sysctl-add", 0, FLAG_LIST, "Add or update a Sysctl option", NULL, NULL, values_check_sysctl },
    { "sysctl-rm", 0, FLAG_LIST, "Remove a Sysctl option", NULL, NULL, NULL },
    { "ulimit-add", 0, FLAG_LIST, "Add or update a ulimit option", "ulimit", NULL, values_check_ulimit },
    { "ulimit-rm", 0, FLAG_LIST, "Remove a ulimit option", NULL, NULL, NULL },
    { "group-add", 0, FLAG_LIST, "Add an additional supplementary user group to the container", NULL, NULL, NULL },
    { "group-rm", 0, FLAG_LIST, "Remove a previously added supplementary user group from the container", NULL, NULL, NULL },
    { "host-add", 0, FLAG_LIST, "Add a custom host-to-IP mapping (host:ip)", NULL, NULL, values_check_host },
    { "host-rm", 0, FLAG_LIST, "Remove a custom host-to-IP mapping (host or host:ip)", NULL, NULL, NULL },
    { "dns-add", 0, FLAG_LIST, "Add or update a custom DNS server", NULL, NULL, values_check_ip },
    { "dns-rm", 0, FLAG_LIST, "Remove a custom DNS server", NULL, NULL, NULL },
    { "dns-search-add", 0, FLAG_LIST, "Add or update a custom DNS search domain", NULL, NULL, values_check_word },
    { "dns-search-rm", 0, FLAG_LIST, "Remove a DNS search domain", NULL, NULL, NULL },
    { "dns-option-add", 0, FLAG_LIST, "Add or update a DNS option", NULL, NULL, values_check_word },
    { "dns-option-rm", 0, FLAG_LIST, "Remove a DNS option", NULL, NULL, NULL },
};
const size_t spec_update_flag_count = sizeof spec_update_flags / sizeof *spec_update_flags;
