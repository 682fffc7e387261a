#include "services/ingress-lb/core/table.h"

#include "common/base/buf.h"
#include "common/base/names.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int backend_order(const void *a, const void *b)
{
    const struct lb_backend *x = a, *y = b;
    int order = strcmp(x->address, y->address);
    return order != 0 ? order : (int)x->port - (int)y->port;
}

static int port_order(const void *a, const void *b)
{
    return lb_port_order(a, b);
}

static int network_order(const void *a, const void *b)
{
    const struct lb_network *x = a, *y = b;
    int order = strcmp(x->bridge, y->bridge);
    return order != 0 ? order : strcmp(x->subnet, y->subnet);
}

int lb_port_order(const struct lb_port *a, const struct lb_port *b)
{
    int order = (int)a->protocol - (int)b->protocol;
    return order != 0 ? order : (int)a->published - (int)b->published;
}

/* Any spelling of an address to the one that inet_ntop() gives. */
static bool address_canonical(const char *text, char ret[LB_ADDRESS_SIZE], bool *ret_ipv6)
{
    unsigned char wire[16];
    *ret_ipv6 = strchr(text, ':') != NULL;
    int family = *ret_ipv6 ? AF_INET6 : AF_INET;
    return inet_pton(family, text, wire) == 1 && inet_ntop(family, wire, ret, LB_ADDRESS_SIZE) != NULL;
}

static int backend_read(const Swarm__Backend *in, const struct lb_port *port, struct lb_backend *ret, struct sw_err *err)
{
    if (!address_canonical(in->address, ret->address, &ret->ipv6))
        return sw_fail(err, SW_INVALID, "port %u/%s: backend address '%.64s' is no IP address", port->published,
                       sw_protocol_name(port->protocol), in->address);
    if (in->port < 1 || in->port > 65535)
        return sw_fail(err, SW_INVALID, "port %u/%s: backend port %u: must be 1 to 65535", port->published,
                       sw_protocol_name(port->protocol), in->port);
    ret->port = (uint16_t)in->port;
    ret->draining = in->state == SWARM__BACKEND_STATE__BACKEND_DRAINING;
    return 0;
}

static int port_read(const Swarm__PublishedPort *in, struct lb_port *ret, struct sw_err *err)
{
    ret->protocol = in->protocol;
    if (in->published_port < 1 || in->published_port > 65535)
        return sw_fail(err, SW_INVALID, "published port %u: must be 1 to 65535", in->published_port);
    ret->published = (uint16_t)in->published_port;
    if (in->protocol != SWARM__PORT_PROTOCOL__PORT_TCP && in->protocol != SWARM__PORT_PROTOCOL__PORT_UDP &&
        in->protocol != SWARM__PORT_PROTOCOL__PORT_SCTP)
        return sw_fail(err, SW_INVALID, "published port %u: unknown protocol %d", in->published_port, (int)in->protocol);
    if (in->n_backends > LB_BACKENDS_MAX)
        return sw_fail(err, SW_LIMIT, "port %u/%s: %zu backends, at most %u", in->published_port, sw_protocol_name(in->protocol),
                       in->n_backends, LB_BACKENDS_MAX);

    ret->backends = sw_alloc0((in->n_backends + 1) * sizeof *ret->backends);
    for (; ret->backend_count < in->n_backends; ret->backend_count++) {
        int rc = backend_read(in->backends[ret->backend_count], ret, &ret->backends[ret->backend_count], err);
        if (rc < 0)
            return rc;
    }
    qsort(ret->backends, ret->backend_count, sizeof *ret->backends, backend_order);
    return 0;
}

static int network_read(const Swarm__LocalNetwork *in, struct lb_network *ret, struct sw_err *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t len = strlen(in->bridge);
    if (len == 0 || len >= LB_LINK_SIZE || strspn(in->bridge, allowed) != len || in->bridge[0] == '.')
        return sw_fail(err, SW_INVALID, "network bridge '%.32s': want 1 to %d letters, digits, '-', '_', '.'", in->bridge,
                       LB_LINK_SIZE - 1);
    memcpy(ret->bridge, in->bridge, len + 1);

    const char *slash = strchr(in->subnet, '/');
    char address[LB_ADDRESS_SIZE], canonical[LB_ADDRESS_SIZE];
    if (slash == NULL || (size_t)(slash - in->subnet) >= sizeof address)
        return sw_fail(err, SW_INVALID, "network %s: subnet '%.64s': want ADDRESS/PREFIX", in->bridge, in->subnet);
    memcpy(address, in->subnet, (size_t)(slash - in->subnet));
    address[slash - in->subnet] = '\0';
    char *end = NULL;
    unsigned long prefix = strtoul(slash + 1, &end, 10);
    if (!address_canonical(address, canonical, &ret->ipv6) || slash[1] < '0' || slash[1] > '9' || *end != '\0' || prefix < 1 ||
        prefix > (ret->ipv6 ? 128ul : 32ul))
        return sw_fail(err, SW_INVALID, "network %s: subnet '%.64s': want ADDRESS/PREFIX", in->bridge, in->subnet);
    (void)snprintf(ret->subnet, sizeof ret->subnet, "%s/%lu", canonical, prefix);
    ret->masquerade = in->masquerade;
    return 0;
}

static int fill_ports(const Swarm__EndpointTable *message, struct lb_table *table, struct sw_err *err)
{
    for (size_t i = 0; i < message->n_ports; i++) {
        table->port_count = i + 1; /* so that a half-read port is freed too */
        int rc = port_read(message->ports[i], &table->ports[i], err);
        if (rc < 0)
            return rc;
    }
    qsort(table->ports, table->port_count, sizeof *table->ports, port_order);
    for (size_t i = 1; i < table->port_count; i++)
        if (lb_port_order(&table->ports[i - 1], &table->ports[i]) == 0)
            return sw_fail(err, SW_INVALID, "port %u/%s is in the table twice", table->ports[i].published,
                           sw_protocol_name(table->ports[i].protocol));
    return 0;
}

int lb_table_new(const Swarm__EndpointTable *message, struct lb_table **ret_table, struct sw_err *err)
{
    if (message->n_ports > LB_PORTS_MAX)
        return sw_fail(err, SW_LIMIT, "endpoint table with %zu ports, at most %u", message->n_ports, LB_PORTS_MAX);
    if (message->n_networks > LB_NETWORKS_MAX)
        return sw_fail(err, SW_LIMIT, "endpoint table with %zu networks, at most %u", message->n_networks, LB_NETWORKS_MAX);

    SW_AUTO(lb_table_free) struct lb_table *table = sw_alloc0(sizeof *table);
    table->generation = message->generation;
    table->ports = sw_alloc0((message->n_ports + 1) * sizeof *table->ports);
    table->networks = sw_alloc0((message->n_networks + 1) * sizeof *table->networks);
    int rc = fill_ports(message, table, err);
    for (; rc == 0 && table->network_count < message->n_networks; table->network_count++)
        rc = network_read(message->networks[table->network_count], &table->networks[table->network_count], err);
    if (rc < 0)
        return sw_wrap(err, "endpoint table %llu", (unsigned long long)message->generation);
    qsort(table->networks, table->network_count, sizeof *table->networks, network_order);
    *ret_table = SW_TAKE(table);
    return 0;
}

void lb_table_free(struct lb_table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < table->port_count; i++)
        free(table->ports[i].backends);
    free(table->ports);
    free(table->networks);
    free(table);
}

bool lb_port_same(const struct lb_port *a, const struct lb_port *b)
{
    if (a->backend_count != b->backend_count)
        return false;
    for (size_t i = 0; i < a->backend_count; i++)
        if (backend_order(&a->backends[i], &b->backends[i]) != 0 || a->backends[i].draining != b->backends[i].draining)
            return false;
    return true;
}

bool lb_networks_same(const struct lb_table *a, const struct lb_table *b)
{
    if (a->network_count != b->network_count)
        return false;
    for (size_t i = 0; i < a->network_count; i++)
        if (network_order(&a->networks[i], &b->networks[i]) != 0 || a->networks[i].masquerade != b->networks[i].masquerade)
            return false;
    return true;
}

bool lb_port_has(const struct lb_port *port, const struct lb_backend *backend)
{
    return bsearch(backend, port->backends, port->backend_count, sizeof *backend, backend_order) != NULL;
}

size_t lb_port_ready(const struct lb_port *port, bool ipv6)
{
    size_t ready = 0;
    for (size_t i = 0; i < port->backend_count; i++)
        ready += port->backends[i].ipv6 == ipv6 && !port->backends[i].draining;
    return ready;
}
