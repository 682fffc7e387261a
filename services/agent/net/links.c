#include "services/agent/net/links.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/route.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

SW_AUTO_DEFINE(struct rtnl_link, rtnl_link_put);
SW_AUTO_DEFINE(struct rtnl_addr, rtnl_addr_put);
SW_AUTO_DEFINE(struct rtnl_route, rtnl_route_put);
SW_AUTO_DEFINE(struct nl_addr, nl_addr_put);
SW_AUTO_DEFINE(struct nl_cache, nl_cache_free);

static int fail_nl(struct sw_err *err, int rc, const char *what, const char *name)
{
    enum sw_code code = SW_IO;
    if (rc == -NLE_PERM)
        code = SW_DENIED;
    else if (rc == -NLE_EXIST)
        code = SW_EXISTS;
    else if (rc == -NLE_NODEV || rc == -NLE_OBJ_NOTFOUND)
        code = SW_NOT_FOUND;
    return sw_fail(err, code, "%s '%s': %s", what, name, nl_geterror(rc));
}

static struct nl_addr *addr_make(uint32_t address, unsigned prefix)
{
    uint32_t wire = htonl(address);
    struct nl_addr *addr = nl_addr_build(AF_INET, &wire, sizeof wire);
    if (addr == NULL)
        abort();
    nl_addr_set_prefixlen(addr, (int)prefix);
    return addr;
}

/* A locally administered MAC that follows from the address: a neighbour's cached entry can't be wrong after a restart,
 * and a bridge with a fixed MAC does not change it as ports come and go. */
static struct nl_addr *mac_make(uint32_t address)
{
    uint8_t mac[6] = {
        0x02, 0x73, (uint8_t)(address >> 24), (uint8_t)(address >> 16), (uint8_t)(address >> 8), (uint8_t)address
    };
    struct nl_addr *addr = nl_addr_build(AF_LLC, mac, sizeof mac);
    if (addr == NULL)
        abort();
    return addr;
}

int links_open(struct nl_sock **ret_sock, struct sw_err *err)
{
    SW_AUTO(links_sock_free) struct nl_sock *sock = nl_socket_alloc();
    if (sock == NULL)
        return sw_fail(err, SW_NOMEM, "open a netlink socket");
    int rc = nl_connect(sock, NETLINK_ROUTE);
    if (rc < 0)
        return fail_nl(err, rc, "open netlink socket", "route");
    *ret_sock = SW_TAKE(sock);
    return 0;
}

static bool same_file(int a, int b)
{
    struct stat sa, sb;
    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_ino == sb.st_ino && sa.st_dev == sb.st_dev;
}

int links_enter(pid_t pid, struct nl_sock **ret_sock, int *ret_ns_fd, struct sw_err *err)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    SW_AUTO(sw_close) int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    SW_AUTO(sw_close) int target = open(path, O_RDONLY | O_CLOEXEC);
    if (own < 0 || target < 0)
        return sw_fail(err, errno == ENOENT ? SW_NOT_FOUND : SW_IO, "open network namespace %s: %s", path, strerror(errno));
    if (same_file(own, target))
        return sw_fail(err, SW_PRECONDITION, "process %d has no network namespace of its own", (int)pid);

    if (setns(target, CLONE_NEWNET) != 0)
        return sw_fail(err, errno == EPERM ? SW_DENIED : SW_IO, "enter network namespace %s: %s", path, strerror(errno));
    int rc = links_open(ret_sock, err);
    if (setns(own, CLONE_NEWNET) != 0)
        abort();
    if (rc < 0)
        return sw_wrap(err, "in %s", path);
    *ret_ns_fd = target;
    target = -1; /* the caller's now */
    return 0;
}

int links_find(struct nl_sock *sock, const char *name, char ret_type[LINKS_NAME_SIZE], int *ret_index, struct sw_err *err)
{
    SW_AUTO(rtnl_link_put) struct rtnl_link *link = NULL;
    int rc = rtnl_link_get_kernel(sock, 0, name, &link);
    if (rc < 0)
        return fail_nl(err, rc, "find link", name);
    if (ret_type != NULL) {
        const char *type = rtnl_link_get_type(link);
        (void)snprintf(ret_type, LINKS_NAME_SIZE, "%s", type != NULL ? type : "");
    }
    *ret_index = rtnl_link_get_ifindex(link);
    return 0;
}

static int default_route_index(struct nl_sock *sock)
{
    SW_AUTO(nl_cache_free) struct nl_cache *routes = NULL;
    if (rtnl_route_alloc_cache(sock, AF_INET, 0, &routes) < 0)
        return 0;
    for (struct nl_object *o = nl_cache_get_first(routes); o != NULL; o = nl_cache_get_next(o)) {
        struct rtnl_route *route = (struct rtnl_route *)o;
        struct nl_addr *dst = rtnl_route_get_dst(route);
        if (dst != NULL && nl_addr_get_prefixlen(dst) == 0 && rtnl_route_get_table(route) == RT_TABLE_MAIN &&
            rtnl_route_get_nnexthops(route) > 0)
            return rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, 0));
    }
    return 0;
}

uint32_t links_default_mtu(struct nl_sock *sock)
{
    SW_AUTO(rtnl_link_put) struct rtnl_link *link = NULL;
    int index = default_route_index(sock);
    if (index == 0 || rtnl_link_get_kernel(sock, index, NULL, &link) < 0)
        return 1500;
    return rtnl_link_get_mtu(link);
}

static int bridge_address(struct nl_sock *sock, const struct links_bridge *bridge, int index, struct sw_err *err)
{
    SW_AUTO(rtnl_addr_put) struct rtnl_addr *addr = rtnl_addr_alloc();
    SW_AUTO(nl_addr_put) struct nl_addr *local = addr_make(bridge->address, bridge->prefix);
    SW_AUTO(nl_addr_put) struct nl_addr *broadcast = addr_make(bridge->address | (UINT32_MAX >> bridge->prefix), 32);
    if (addr == NULL)
        abort();
    rtnl_addr_set_ifindex(addr, index);
    (void)rtnl_addr_set_local(addr, local);
    (void)rtnl_addr_set_broadcast(addr, broadcast);
    int rc = rtnl_addr_add(sock, addr, NLM_F_REPLACE);
    return rc < 0 ? fail_nl(err, rc, "set the address of bridge", bridge->name) : 0;
}

int links_bridge_ensure(struct nl_sock *sock, const struct links_bridge *bridge, int *ret_index, struct sw_err *err)
{
    char type[LINKS_NAME_SIZE];
    int index = 0;
    int found = links_find(sock, bridge->name, type, &index, NULL);
    if (found == 0 && strcmp(type, "bridge") != 0)
        return sw_fail(err, SW_EXISTS, "link '%s' is there and is no bridge", bridge->name);

    SW_AUTO(rtnl_link_put) struct rtnl_link *link = rtnl_link_alloc();
    SW_AUTO(nl_addr_put) struct nl_addr *mac = mac_make(bridge->address);
    if (link == NULL)
        abort();
    rtnl_link_set_name(link, bridge->name);
    rtnl_link_set_addr(link, mac);
    rtnl_link_set_mtu(link, bridge->mtu);
    rtnl_link_set_flags(link, IFF_UP);
    (void)rtnl_link_set_type(link, "bridge");
    int rc = rtnl_link_add(sock, link, NLM_F_CREATE);
    if (rc < 0)
        return fail_nl(err, rc, "make bridge", bridge->name);
    if (found != 0 && (rc = links_find(sock, bridge->name, NULL, &index, err)) < 0)
        return rc;
    if ((rc = bridge_address(sock, bridge, index, err)) < 0)
        return rc;
    *ret_index = index;
    return 0;
}

bool links_subnet_taken(struct nl_sock *sock, uint32_t network, unsigned prefix, const char *except,
                        char ret_name[LINKS_NAME_SIZE])
{
    SW_AUTO(nl_cache_free) struct nl_cache *addrs = NULL;
    if (rtnl_addr_alloc_cache(sock, &addrs) < 0)
        return false;
    for (struct nl_object *o = nl_cache_get_first(addrs); o != NULL; o = nl_cache_get_next(o)) {
        struct rtnl_addr *addr = (struct rtnl_addr *)o;
        struct nl_addr *local = rtnl_addr_get_local(addr);
        if (local == NULL || nl_addr_get_family(local) != AF_INET)
            continue;
        uint32_t wire;
        memcpy(&wire, nl_addr_get_binary_addr(local), sizeof wire);
        unsigned shorter = nl_addr_get_prefixlen(local) < prefix ? nl_addr_get_prefixlen(local) : prefix;
        uint32_t mask = shorter == 0 ? 0 : UINT32_MAX << (32 - shorter);
        SW_AUTO(rtnl_link_put) struct rtnl_link *link = NULL;
        if (((ntohl(wire) ^ network) & mask) != 0 || rtnl_link_get_kernel(sock, rtnl_addr_get_ifindex(addr), NULL, &link) < 0)
            continue;
        if (strcmp(rtnl_link_get_name(link), except) != 0) {
            (void)snprintf(ret_name, LINKS_NAME_SIZE, "%s", rtnl_link_get_name(link));
            return true;
        }
    }
    return false;
}

/* A task that reaches itself through the node's published port gets its own packet back: where br_netfilter is on, the rewritten
 * packet is sent out of the bridge port that it came in by, which a bridge refuses unless told. */
static int hairpin_on(struct nl_sock *sock, const char *name, struct sw_err *err)
{
    int index = 0;
    int rc = links_find(sock, name, NULL, &index, err);
    if (rc < 0)
        return rc;
    struct ifinfomsg head = { .ifi_family = AF_BRIDGE, .ifi_index = index };
    struct nl_msg *msg = nlmsg_alloc_simple(RTM_SETLINK, 0);
    struct nlattr *port = NULL;
    if (msg == NULL || nlmsg_append(msg, &head, sizeof head, NLMSG_ALIGNTO) < 0 ||
        (port = nla_nest_start(msg, IFLA_PROTINFO | NLA_F_NESTED)) == NULL || nla_put_u8(msg, IFLA_BRPORT_MODE, 1) < 0)
        abort();
    (void)nla_nest_end(msg, port);
    rc = nl_send_sync(sock, msg); /* frees msg */
    return rc < 0 ? fail_nl(err, rc, "set hairpin mode of", name) : 0;
}

int links_veth_add(struct nl_sock *sock, const struct links_veth *veth, struct sw_err *err)
{
    SW_AUTO(rtnl_link_put) struct rtnl_link *link = rtnl_link_veth_alloc();
    if (link == NULL)
        abort();
    SW_AUTO(nl_addr_put) struct nl_addr *mac = mac_make(veth->address);
    struct rtnl_link *peer = rtnl_link_veth_get_peer(link);
    rtnl_link_set_name(peer, veth->task_name);
    rtnl_link_set_ns_fd(peer, veth->ns_fd);
    rtnl_link_set_addr(peer, mac);
    rtnl_link_set_mtu(peer, veth->mtu);
    rtnl_link_put(peer);

    rtnl_link_set_name(link, veth->host_name);
    rtnl_link_set_master(link, veth->bridge_index);
    rtnl_link_set_mtu(link, veth->mtu);
    rtnl_link_set_flags(link, IFF_UP);
    int rc = rtnl_link_add(sock, link, NLM_F_CREATE | NLM_F_EXCL);
    if (rc < 0)
        return fail_nl(err, rc, "make veth", veth->host_name);
    rc = hairpin_on(sock, veth->host_name, err);
    if (rc < 0)
        (void)links_delete(sock, veth->host_name, NULL);
    return rc;
}

static int link_up(struct nl_sock *sock, int index, const char *name, struct sw_err *err)
{
    SW_AUTO(rtnl_link_put) struct rtnl_link *link = rtnl_link_alloc();
    if (link == NULL)
        abort();
    rtnl_link_set_ifindex(link, index);
    rtnl_link_set_flags(link, IFF_UP);
    int rc = rtnl_link_change(sock, link, link, 0);
    return rc < 0 ? fail_nl(err, rc, "bring up", name) : 0;
}

static int default_route(struct nl_sock *sock, int index, uint32_t gateway, struct sw_err *err)
{
    SW_AUTO(rtnl_route_put) struct rtnl_route *route = rtnl_route_alloc();
    SW_AUTO(nl_addr_put) struct nl_addr *any = addr_make(0, 0);
    SW_AUTO(nl_addr_put) struct nl_addr *via = addr_make(gateway, 32);
    struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
    if (route == NULL || hop == NULL)
        abort();
    (void)rtnl_route_set_family(route, AF_INET);
    (void)rtnl_route_set_dst(route, any);
    rtnl_route_nh_set_ifindex(hop, index);
    rtnl_route_nh_set_gateway(hop, via);
    rtnl_route_add_nexthop(route, hop); /* the route owns it now */
    int rc = rtnl_route_add(sock, route, NLM_F_EXCL);
    return rc < 0 ? fail_nl(err, rc, "add the default route in the namespace of", "task") : 0;
}

int links_veth_configure(struct nl_sock *inside, const struct links_veth *veth, struct sw_err *err)
{
    int index = 0;
    int rc = link_up(inside, 1, "lo", err); /* the loopback of every namespace has index 1 */
    if (rc < 0 || (rc = links_find(inside, veth->task_name, NULL, &index, err)) < 0)
        return rc;

    struct links_bridge as_address = { .name = veth->task_name, .address = veth->address, .prefix = veth->prefix };
    if ((rc = bridge_address(inside, &as_address, index, err)) < 0 || (rc = link_up(inside, index, veth->task_name, err)) < 0)
        return rc;
    return default_route(inside, index, veth->gateway, err);
}

int links_address(struct nl_sock *inside, const char *name, uint32_t *ret_address, struct sw_err *err)
{
    int index = 0;
    int rc = links_find(inside, name, NULL, &index, err);
    if (rc < 0)
        return rc;
    SW_AUTO(nl_cache_free) struct nl_cache *addrs = NULL;
    if ((rc = rtnl_addr_alloc_cache(inside, &addrs)) < 0)
        return fail_nl(err, rc, "read the addresses of", name);
    for (struct nl_object *o = nl_cache_get_first(addrs); o != NULL; o = nl_cache_get_next(o)) {
        struct rtnl_addr *addr = (struct rtnl_addr *)o;
        struct nl_addr *local = rtnl_addr_get_local(addr);
        if (rtnl_addr_get_ifindex(addr) == index && local != NULL && nl_addr_get_family(local) == AF_INET) {
            uint32_t wire;
            memcpy(&wire, nl_addr_get_binary_addr(local), sizeof wire);
            *ret_address = ntohl(wire);
            return 0;
        }
    }
    return sw_fail(err, SW_NOT_FOUND, "link '%s' has no IPv4 address", name);
}

int links_delete(struct nl_sock *sock, const char *name, struct sw_err *err)
{
    SW_AUTO(rtnl_link_put) struct rtnl_link *link = rtnl_link_alloc();
    if (link == NULL)
        abort();
    rtnl_link_set_name(link, name);
    int rc = rtnl_link_delete(sock, link);
    return rc < 0 ? fail_nl(err, rc, "delete link", name) : 0;
}

int links_ports(struct nl_sock *sock, int bridge_index, void (*fn)(void *arg, const char *name), void *arg, struct sw_err *err)
{
    SW_AUTO(nl_cache_free) struct nl_cache *links = NULL;
    int rc = rtnl_link_alloc_cache(sock, AF_UNSPEC, &links);
    if (rc < 0)
        return fail_nl(err, rc, "list links of", "the bridge");
    for (struct nl_object *o = nl_cache_get_first(links); o != NULL; o = nl_cache_get_next(o)) {
        struct rtnl_link *link = (struct rtnl_link *)o;
        const char *type = rtnl_link_get_type(link);
        if (rtnl_link_get_master(link) == bridge_index && type != NULL && strcmp(type, "veth") == 0)
            fn(arg, rtnl_link_get_name(link));
    }
    return 0;
}
