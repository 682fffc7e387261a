#include "services/agent/net/portcheck.h"

#include "common/base/names.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* Kind of socket for a protocol. */
static int probe_open(Swarm__PortProtocol protocol, int family)
{
    switch (protocol) {
    case SWARM__PORT_PROTOCOL__PORT_TCP:
        return socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    case SWARM__PORT_PROTOCOL__PORT_UDP:
        return socket(family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP);
    case SWARM__PORT_PROTOCOL__PORT_SCTP:
        return socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_SCTP);
    case _SWARM__PORT_PROTOCOL_IS_INT_SIZE:
        break;
    }
    return -1;
}

static bool probe_taken(int fd, const void *address, socklen_t size, Swarm__PortProtocol protocol)
{
    /* Lets connections in TIME_WAIT pass; a listener still conflicts. For UDP it would share the port, so not there. */
    int on = protocol != SWARM__PORT_PROTOCOL__PORT_UDP;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return bind(fd, address, size) != 0 && errno == EADDRINUSE;
}

int portcheck(Swarm__PortProtocol protocol, uint32_t port, struct sw_err *err)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
    SW_AUTO(sw_close) int four = probe_open(protocol, AF_INET);
    bool taken = four >= 0 && probe_taken(four, &v4, sizeof v4, protocol);
    SW_AUTO(sw_close) int six = taken ? -1 : probe_open(protocol, AF_INET6);
    if (six >= 0) {
        int on = 1;
        (void)setsockopt(six, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
        taken = probe_taken(six, &v6, sizeof v6, protocol);
    }
    if (taken)
        return sw_fail(err, SW_CONFLICT, "port %u/%s is in use on this node", port, sw_protocol_name(protocol));
    return 0;
}
