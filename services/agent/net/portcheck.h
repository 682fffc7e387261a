/* portcheck - is a port of this node taken by some process of the host?
 *
 * Place    agent, io. A published port is answered by rules in front of all sockets, so the kernel would not say that it hides
 *          a local listener: the agent asks before it starts a task that publishes.
 * How      a socket is bound to the wildcard address without SO_REUSEADDR's sharing and closed again. Nothing stays behind.
 */
#ifndef AGENT_NET_PORTCHECK_H
#define AGENT_NET_PORTCHECK_H

#include "common/base/err.h"
#include "proto/types.pb-c.h"

#include <stdint.h>

/* 0 = free; -SW_CONFLICT with "port 8080/tcp is in use on this node". What can't be probed (SCTP without its module) counts as
 * free. */
int portcheck(Swarm__PortProtocol protocol, uint32_t port, struct sw_err *err);

#endif
