/* links - the few netlink requests of the node's task network: a bridge, veth pairs, addresses and routes in a namespace.
 *
 * Place    agent, io. net.c decides, this file does; one request each, all synchronous, over sockets that are kept open.
 * Threads  the netns of a thread is switched for the moment in which a socket is opened (links_enter): a socket belongs to the
 *          namespace it was made in for ever, so that all later work needs no switching and no child process. If the way back
 *          fails the process aborts: going on in a container's namespace would be worse.
 * Errors   SW_DENIED without CAP_NET_ADMIN, SW_NOT_FOUND for a link or a process that is gone, SW_EXISTS, else SW_IO.
 */
#ifndef AGENT_NET_LINKS_H
#define AGENT_NET_LINKS_H

#include "common/base/err.h"

#include <netlink/socket.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LINKS_NAME_SIZE 16 /* with the NUL, as the kernel's IFNAMSIZ */

static inline void links_sock_free(struct nl_sock *sock)
{
    nl_socket_free(sock);
}
SW_AUTO_DEFINE(struct nl_sock, links_sock_free);

/* A route socket in this process's own namespace. */
int links_open(struct nl_sock **ret_sock, struct sw_err *err);
/* A route socket in the network namespace of `pid`, and its descriptor. A process that shares our own namespace is
 * SW_PRECONDITION. */
int links_enter(pid_t pid, struct nl_sock **ret_sock, int *ret_ns_fd, struct sw_err *err);

/* Index of a link, or -SW_NOT_FOUND. *ret_type ("bridge", "veth", "") may be NULL. */
int links_find(struct nl_sock *sock, const char *name, char ret_type[LINKS_NAME_SIZE], int *ret_index, struct sw_err *err);
/* MTU of the link that the IPv4 default route uses; 1500 without one. */
uint32_t links_default_mtu(struct nl_sock *sock);

struct links_bridge {
    const char *name;
    uint32_t address; /* host byte order */
    unsigned prefix;
    uint32_t mtu;
};
/* Make the bridge as described, or bring one that is there to this state. */
int links_bridge_ensure(struct nl_sock *sock, const struct links_bridge *bridge, int *ret_index, struct sw_err *err);
/* Another link has an address inside this subnet: *ret_name says which. */
bool links_subnet_taken(struct nl_sock *sock, uint32_t network, unsigned prefix, const char *except,
                        char ret_name[LINKS_NAME_SIZE]);

struct links_veth {
    const char *host_name;
    const char *task_name; /* inside the namespace */
    int ns_fd;
    int bridge_index;
    uint32_t address, gateway; /* host byte order */
    unsigned prefix;
    uint32_t mtu;
};
/* The pair: our end up and in the bridge, the other end born inside the namespace. */
int links_veth_add(struct nl_sock *sock, const struct links_veth *veth, struct sw_err *err);
/* Inside: loopback up, address, link up, default route. inside is a socket of links_enter(). */
int links_veth_configure(struct nl_sock *inside, const struct links_veth *veth, struct sw_err *err);
/* First IPv4 address of a link inside a namespace; -SW_NOT_FOUND without one. */
int links_address(struct nl_sock *inside, const char *name, uint32_t *ret_address, struct sw_err *err);

int links_delete(struct nl_sock *sock, const char *name, struct sw_err *err);
/* Calls fn for each veth that is a port of the bridge. fn may not change links: collect first. */
int links_ports(struct nl_sock *sock, int bridge_index, void (*fn)(void *arg, const char *name), void *arg, struct sw_err *err);

#endif
