/* config - the OCI runtime's config.json for a task: its spec, the image's config and the node's ways put together.
 *
 * Place    pure but for the user look-up beneath root_fd. Rules follow Docker's: entrypoint and command, environment, default
 *          mounts, masked paths, capabilities, device list.
 * Errors   SW_INVALID / SW_UNSUPPORTED with one line for the task's status.err.
 */
#ifndef AGENT_OCI_CONFIG_H
#define AGENT_OCI_CONFIG_H

#include "common/base/err.h"
#include "proto/types.pb-c.h"
#include "services/agent/oci/volumes.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct config_input {
    const Swarm__Task *task;
    json_t *image; /* the `config` object of the image, may be NULL */
    const struct plan *plan;
    int root_fd;        /* the mounted root */
    const char *bundle; /* absolute; holds rootfs, hosts, hostname, resolv.conf */
    const char *hostname;
    const char *cgroup_path; /* "/swarm/..." */
    const char *init_path;   /* of swarm-shim, for --init */
    const char *filter_bpf;  /* compiled filter for crun, or */
    json_t *filter;          /* the OCI form, or neither: no filter */
    uint64_t caps;           /* by caps_choose() */
    bool swap_limits;        /* the kernel counts swap */
    bool pids_limits;
};

int config_make(const struct config_input *input, json_t **ret_config, struct sw_err *err);

/* Splits the task's sysctls: calls net(arg, "net/ipv4/x=1") for those of the network namespace.
 * SW_INVALID for one that is not of a container's own. */
int config_net_sysctls(const Swarm__ContainerSpec *spec, void (*net)(void *arg, const char *setting), void *arg,
                       struct sw_err *err);

/* Signal number of "SIGTERM", "TERM", "15", "SIGRTMIN+3"; 0 = none. */
int config_signal_number(const char *name);

/* Text of the files that are mounted over the image's. Heap. */
char *config_hosts(const Swarm__ContainerSpec *spec, const char *hostname, const char *const *addresses, size_t count);
char *config_resolv(const Swarm__ContainerSpec *spec, const char *host_text);

#endif
