/* attachment - how a task's network namespace gets its links and addresses. Implemented by services/agent/net.
 *
 * Place    called by the executor between "the shim has made its network namespace and waits" and "go"; the shell asks it for the
 *          node-local networks that ingress-lb masquerades. A table of functions, so that tests of the executor bring their own.
 * Shape    the namespace belongs to the shim process (unshare); it is entered by the shim's pid, nothing is bind mounted.
 *          When the last process in it ends, the kernel takes the namespace and its end of the veth away.
 * Calls    synchronous and short (a few netlink messages, about 1 ms). Threads: one.
 * Later    overlay networks come as further implementations behind the same functions: task.attachments names the networks.
 */
#ifndef AGENT_ATTACHMENT_H
#define AGENT_ATTACHMENT_H

#include "common/base/err.h"
#include "common/service/svc.h"
#include "proto/balance.pb-c.h"
#include "proto/types.pb-c.h"

#include <stdint.h>
#include <sys/types.h>

#define ATTACHMENT_ADDRESSES_MAX 16

struct attachment_address {
    char network[64];   /* network id; "local" for the node's own bridge */
    char address[64];   /* "172.30.0.7/16" */
    char interface[16]; /* name inside the task's namespace: "eth0" */
};
struct attachment_result {
    struct attachment_address addresses[ATTACHMENT_ADDRESSES_MAX];
    size_t count;
};

struct attachment {
    const struct attachment_ops *ops;
};
struct attachment_ops {
    /* Give the namespace of process `pid` its loopback, links, addresses, routes. Undone by itself when it fails.
     * SW_LIMIT: no address is free (the executor calls that temporary). */
    int (*attach)(struct attachment *self, const Swarm__Task *task, pid_t pid, struct attachment_result *ret, struct sw_err *err);
    /* Free the addresses and the host's ends of the links; of an unknown task nothing happens. */
    void (*detach)(struct attachment *self, const char *task_id);
    /* After a restart of the agent: task is alive in pid's namespace; take its links and addresses over as they are. */
    int (*adopt)(struct attachment *self, const char *task_id, pid_t pid, struct attachment_result *ret, struct sw_err *err);
    /* Called once when every survivor was adopted: what is left over from earlier may be taken away. */
    void (*recovered)(struct attachment *self);
    /* The node-local networks for EndpointTable.networks; pointers live as long as self. */
    size_t (*networks)(struct attachment *self, const Swarm__LocalNetwork *const **ret_networks);
};

/* The node-local bridge of services/agent/net. */
struct net_spec {
    struct svc *svc;
    const char *state_dir; /* may keep what it needs to recover below <state_dir>/agent/net */
    const char *bridge;    /* "swarm0" */
    const char *subnet;    /* "172.30.0.0/16"; the bridge has the first address */
    uint32_t mtu;          /* 0 = the default route's */
};
/* SW_INVALID names the option that does not fit; SW_DENIED without the right to change links. */
int net_open(const struct net_spec *spec, struct attachment **ret_attachment, struct sw_err *err);
/* Links of living containers stay. remove_links: the bridge goes as well, if no task is attached (the node left its cluster). */
void net_close(struct attachment *attachment, bool remove_links); /* NULL is fine */

#endif
