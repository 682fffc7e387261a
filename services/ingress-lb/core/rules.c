#include "services/ingress-lb/core/rules.h"

#include "common/base/names.h"

#include <assert.h>
#include <string.h>

bool rules_name_valid(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char all[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t len = strlen(name);
    return len > 0 && len <= LB_NAME_MAX && strchr(letters, name[0]) != NULL && strspn(name, all) == len;
}

/* "tcp_8080": name of a port's chain. */
static void chain_name(const struct lb_port *port, struct sw_buf *ret)
{
    sw_buf_addf(ret, "%s_%u", sw_protocol_name(port->protocol), port->published);
}

static void rule_begin(const char *name, const char *chain, struct sw_buf *ret)
{
    sw_buf_addf(ret, "add rule inet %s %s ", name, chain);
}

/* One rule an address family: a number below N, drawn for each new connection, picks the backend. */
static void balance_rule(const char *name, const char *chain, const struct lb_port *port, bool ipv6, struct sw_buf *ret)
{
    size_t ready = lb_port_ready(port, ipv6), at = 0;
    if (ready == 0)
        return;
    rule_begin(name, chain, ret);
    sw_buf_addf(ret, "meta nfproto %s meta l4proto %s dnat %s to numgen random mod %zu map {", ipv6 ? "ipv6" : "ipv4",
                sw_protocol_name(port->protocol), ipv6 ? "ip6" : "ip", ready);
    for (size_t i = 0; i < port->backend_count; i++) {
        const struct lb_backend *backend = &port->backends[i];
        if (backend->ipv6 == ipv6 && !backend->draining) {
            sw_buf_addf(ret, "%s %zu : %s . %u", at == 0 ? "" : ",", at, backend->address, backend->port);
            at++;
        }
    }
    assert(at == ready);
    sw_buf_adds(ret, " }\n");
}

/* No ready backend: an answer at once, where a packet let through might meet silence or a stranger's socket. */
static void chain_rules(const char *name, const struct lb_port *port, struct sw_buf *ret)
{
    SW_AUTO_BUF chain = { 0 };
    chain_name(port, &chain);
    balance_rule(name, chain.data, port, false, ret);
    balance_rule(name, chain.data, port, true, ret);
    rule_begin(name, chain.data, ret);
    if (port->protocol == SWARM__PORT_PROTOCOL__PORT_TCP)
        sw_buf_adds(ret, "meta l4proto tcp reject with tcp reset\n");
    else
        sw_buf_adds(ret, "reject with icmpx type port-unreachable\n");
}

static void port_command(const char *command, const char *name, const struct lb_port *port, struct sw_buf *ret)
{
    sw_buf_addf(ret, "%s inet %s ", command, name);
    chain_name(port, ret);
    sw_buf_adds(ret, "\n");
}

static void port_element(const char *command, const char *name, const struct lb_port *port, struct sw_buf *ret)
{
    sw_buf_addf(ret, "%s element inet %s ports { %s . %u : goto ", command, name, sw_protocol_name(port->protocol),
                port->published);
    chain_name(port, ret);
    sw_buf_adds(ret, " }\n");
}

static void port_add(const char *name, const struct lb_port *port, struct sw_buf *ret)
{
    port_command("add chain", name, port, ret);
    chain_rules(name, port, ret);
    port_element("add", name, port, ret);
}

static void port_remove(const char *name, const struct lb_port *port, struct sw_buf *ret)
{
    port_element("delete", name, port, ret);
    port_command("flush chain", name, port, ret);
    port_command("delete chain", name, port, ret);
}

static void port_rewrite(const char *name, const struct lb_port *port, struct sw_buf *ret)
{
    port_command("flush chain", name, port, ret);
    chain_rules(name, port, ret);
}

static void network_rules(const char *name, const struct lb_network *network, struct sw_buf *ret)
{
    const char *bridge = network->bridge, *subnet = network->subnet, *ip = network->ipv6 ? "ip6" : "ip";
    if (!network->ipv6) {
        /* route_localnet on the bridge lets answers to 127.0.0.1 in; nothing else may use it. */
        sw_buf_addf(ret, "add rule inet %s guard iifname \"%s\" ip daddr 127.0.0.0/8 drop\n", name, bridge);
        sw_buf_addf(ret, "add rule inet %s postrouting oifname \"%s\" ip saddr 127.0.0.0/8 masquerade\n", name, bridge);
    }
    sw_buf_addf(ret, "add rule inet %s postrouting oifname \"%s\" ct status dnat %s saddr %s %s daddr %s masquerade\n", name,
                bridge, ip, subnet, ip, subnet);
    if (network->masquerade)
        sw_buf_addf(ret, "add rule inet %s postrouting oifname != \"%s\" %s saddr %s masquerade\n", name, bridge, ip, subnet);
    /* Tasks reach out; in come answers and what a published port let in, nothing that merely knows a task's address. */
    sw_buf_addf(ret, "add rule inet %s forward oifname \"%s\" ct state established,related accept\n", name, bridge);
    sw_buf_addf(ret, "add rule inet %s forward oifname \"%s\" ct status dnat accept\n", name, bridge);
    sw_buf_addf(ret, "add rule inet %s forward iifname != \"%s\" oifname \"%s\" %s daddr %s drop\n", name, bridge, bridge, ip,
                subnet);
    sw_buf_addf(ret, "add rule inet %s forward iifname \"%s\" accept\n", name, bridge);
}

static void networks_all(const char *name, const struct lb_table *table, struct sw_buf *ret)
{
    for (size_t i = 0; i < table->network_count; i++)
        network_rules(name, &table->networks[i], ret);
}

void rules_full(const char *name, const struct lb_table *table, struct sw_buf *ret)
{
    static const char look_up[] = "fib daddr type local meta l4proto . th dport vmap @ports";
    rules_delete(name, ret);
    sw_buf_addf(ret, "add table inet %s\n", name);
    sw_buf_addf(ret, "add map inet %s ports { type inet_proto . inet_service : verdict; }\n", name);
    sw_buf_addf(ret, "add chain inet %s guard { type filter hook prerouting priority -300; policy accept; }\n", name);
    sw_buf_addf(ret, "add chain inet %s prerouting { type nat hook prerouting priority -100; policy accept; }\n", name);
    sw_buf_addf(ret, "add chain inet %s output { type nat hook output priority -100; policy accept; }\n", name);
    sw_buf_addf(ret, "add chain inet %s forward { type filter hook forward priority 0; policy accept; }\n", name);
    sw_buf_addf(ret, "add chain inet %s postrouting { type nat hook postrouting priority 100; policy accept; }\n", name);
    sw_buf_addf(ret, "add rule inet %s prerouting %s\n", name, look_up);
    sw_buf_addf(ret, "add rule inet %s output %s\n", name, look_up);
    networks_all(name, table, ret);
    for (size_t i = 0; i < table->port_count; i++)
        port_add(name, &table->ports[i], ret);
}

void rules_change(const char *name, const struct lb_table *from, const struct lb_table *to, struct sw_buf *ret)
{
    if (!lb_networks_same(from, to)) {
        sw_buf_addf(ret, "flush chain inet %s guard\nflush chain inet %s postrouting\nflush chain inet %s forward\n", name, name,
                    name);
        networks_all(name, to, ret);
    }
    size_t i = 0, j = 0;
    while (i < from->port_count || j < to->port_count) {
        const struct lb_port *old = i < from->port_count ? &from->ports[i] : NULL;
        const struct lb_port *new = j < to->port_count ? &to->ports[j] : NULL;
        int order = old == NULL ? 1 : new == NULL ? -1 : lb_port_order(old, new);
        if (order < 0)
            port_remove(name, old, ret);
        else if (order > 0)
            port_add(name, new, ret);
        else if (!lb_port_same(old, new))
            port_rewrite(name, new, ret);
        i += order <= 0;
        j += order >= 0;
    }
}

void rules_delete(const char *name, struct sw_buf *ret)
{
    sw_buf_addf(ret, "add table inet %s\ndelete table inet %s\n", name,
                name); /* "add" first: deleting nothing would be an error */
}
