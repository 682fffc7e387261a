/* table - an endpoint table that was checked and put in order, ready to be compared and written as rules.
 *
 * Place    ingress-lb core. Everything that goes into rule text comes from here and is canonical: addresses were parsed and
 *          printed again, link names hold harmless characters only. So nothing a sender writes can become a rule of its own.
 * Memory   heap; lb_table_free(). Copied from the message.
 * Errors   SW_INVALID names the port or network and the bound; SW_LIMIT.
 * Limits   LB_PORTS_MAX ports, LB_BACKENDS_MAX backends a port, LB_NETWORKS_MAX networks.
 */
#ifndef LB_TABLE_H
#define LB_TABLE_H

#include "common/base/err.h"
#include "proto/balance.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LB_PORTS_MAX 65536u
#define LB_BACKENDS_MAX 4096u
#define LB_NETWORKS_MAX 1024u
#define LB_ADDRESS_SIZE 46 /* INET6_ADDRSTRLEN */
#define LB_LINK_SIZE 16    /* IFNAMSIZ */

struct lb_backend {
    char address[LB_ADDRESS_SIZE];
    uint16_t port;
    bool ipv6;
    bool draining; /* takes no new connection; known ones are the kernel's and go on */
};
struct lb_port {
    Swarm__PortProtocol protocol;
    uint16_t published;
    struct lb_backend *backends; /* ordered by address, port */
    size_t backend_count;
};
struct lb_network {
    char bridge[LB_LINK_SIZE];
    char subnet[LB_ADDRESS_SIZE + 4];
    bool ipv6;
    bool masquerade;
};
struct lb_table {
    uint64_t generation;
    struct lb_port *ports; /* ordered by protocol, published port */
    size_t port_count;
    struct lb_network *networks; /* ordered by bridge, subnet */
    size_t network_count;
};

int lb_table_new(const Swarm__EndpointTable *message, struct lb_table **ret_table, struct sw_err *err);
void lb_table_free(struct lb_table *table); /* NULL is fine */
SW_AUTO_DEFINE(struct lb_table, lb_table_free);

/* Order of ports: <0, 0, >0. */
int lb_port_order(const struct lb_port *a, const struct lb_port *b);
/* The same backends in the same states. */
bool lb_port_same(const struct lb_port *a, const struct lb_port *b);
bool lb_networks_same(const struct lb_table *a, const struct lb_table *b);
/* "10.213.0.7" port 80 is among the port's backends, ready or draining. */
bool lb_port_has(const struct lb_port *port, const struct lb_backend *backend);
size_t lb_port_ready(const struct lb_port *port, bool ipv6);

#endif
