/* ports - may a service have the published ports it asks for? Asked by the control API before a change is proposed, and by apply
 * when its turn comes: two changes proposed at once would else both be granted.
 *
 * A number is one service's in the whole cluster, for each protocol; only host mode leaves it to the nodes whether two fit.
 * Errors   SW_INVALID with the port and the service that has it.
 */
#ifndef STORE_PORTS_H
#define STORE_PORTS_H

#include "common/store/mirror.h"

/* `service_id` is the asking service (NULL = a new one): it does not stand in its own way. endpoint may be NULL. */
int store_ports_check(const struct mirror *mirror, const char *service_id, const Swarm__EndpointSpec *endpoint,
                      struct sw_err *err);

#endif
