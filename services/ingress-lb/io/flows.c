#include "services/ingress-lb/io/flows.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netlink/cache.h>
#include <netlink/netfilter/ct.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <string.h>

enum { ORIGINAL = 0, REPLY = 1 }; /* directions, as libnl-nf counts them */

static inline void sock_free(struct nl_sock *sock)
{
    nl_socket_free(sock);
}
SW_AUTO_DEFINE(struct nl_sock, sock_free);
SW_AUTO_DEFINE(struct nl_cache, nl_cache_free);
SW_AUTO_DEFINE(struct ifaddrs, freeifaddrs);

static bool text_is(struct nl_addr *addr, const char *text)
{
    char now[LB_ADDRESS_SIZE];
    return addr != NULL && inet_ntop(nl_addr_get_family(addr), nl_addr_get_binary_addr(addr), now, sizeof now) != NULL &&
           strcmp(now, text) == 0;
}

static bool is_local(const struct ifaddrs *locals, struct nl_addr *addr)
{
    if (addr == NULL)
        return false;
    const void *wire = nl_addr_get_binary_addr(addr);
    if (nl_addr_get_family(addr) == AF_INET && *(const unsigned char *)wire == 127)
        return true;
    for (; locals != NULL; locals = locals->ifa_next) {
        if (locals->ifa_addr == NULL || locals->ifa_addr->sa_family != nl_addr_get_family(addr))
            continue;
        if (locals->ifa_addr->sa_family == AF_INET &&
            memcmp(&((const struct sockaddr_in *)(const void *)locals->ifa_addr)->sin_addr, wire, 4) == 0)
            return true;
        if (locals->ifa_addr->sa_family == AF_INET6 &&
            memcmp(&((const struct sockaddr_in6 *)(const void *)locals->ifa_addr)->sin6_addr, wire, 16) == 0)
            return true;
    }
    return false;
}

static bool is_stale(const struct nfnl_ct *ct, const struct lb_flow *flow, const struct ifaddrs *locals)
{
    struct nl_addr *asked = nfnl_ct_get_dst(ct, ORIGINAL), *answers = nfnl_ct_get_src(ct, REPLY);
    if (nfnl_ct_get_dst_port(ct, ORIGINAL) != flow->published)
        return false;
    if (flow->backend.port != 0)
        return nfnl_ct_get_src_port(ct, REPLY) == flow->backend.port && text_is(answers, flow->backend.address);
    return asked != NULL && answers != NULL && nl_addr_cmp(asked, answers) == 0 && is_local(locals, asked);
}

int flows_forget(const struct lb_flow *flows, size_t count, struct sw_err *err)
{
    SW_AUTO(sock_free) struct nl_sock *sock = nl_socket_alloc();
    SW_AUTO(nl_cache_free) struct nl_cache *known = NULL;
    SW_AUTO(freeifaddrs) struct ifaddrs *locals = NULL;
    int rc = sock == NULL ? -NLE_NOMEM : nl_connect(sock, NETLINK_NETFILTER);
    if (rc >= 0)
        rc = nfnl_ct_alloc_cache(sock, &known);
    if (rc < 0 || getifaddrs(&locals) != 0)
        return sw_fail(err, SW_IO, "read the connection table: %s", rc < 0 ? nl_geterror(rc) : "addresses of this node");

    int gone = 0;
    for (struct nl_object *o = nl_cache_get_first(known); o != NULL; o = nl_cache_get_next(o)) {
        const struct nfnl_ct *ct = (const struct nfnl_ct *)o;
        if (nfnl_ct_get_proto(ct) != IPPROTO_UDP)
            continue;
        for (size_t i = 0; i < count; i++) {
            if (is_stale(ct, &flows[i], locals)) {
                gone += nfnl_ct_del(sock, ct, 0) >= 0;
                break;
            }
        }
    }
    return gone;
}
