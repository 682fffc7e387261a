/* send_table ENDPOINT GENERATION [net:BRIDGE,SUBNET] [tcp:8080=ADDRESS:PORT[!],...] - sends one endpoint table as the agent does.
 * A backend with '!' is draining. Prints "ack GENERATION" and exits 0, or the error and exits 1. */
#include "common/bus/bus.h"
#include "proto/balance.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 64 };


static Swarm__PortProtocol parse_protocol(const char *word)
{
    if (strcmp(word, "udp") == 0)
        return SWARM__PORT_PROTOCOL__PORT_UDP;
    return strcmp(word, "sctp") == 0 ? SWARM__PORT_PROTOCOL__PORT_SCTP : SWARM__PORT_PROTOCOL__PORT_TCP;
}

static Swarm__Backend *parse_backend(char *text)
{
    Swarm__Backend *backend = sw_alloc0(sizeof *backend);
    swarm__backend__init(backend);
    backend->task_id = sw_strdup(text);
    size_t len = strlen(text);
    if (len > 0 && text[len - 1] == '!') {
        text[len - 1] = '\0';
        backend->has_state = true;
        backend->state = SWARM__BACKEND_STATE__BACKEND_DRAINING;
    }
    char *colon = strrchr(text, ':');
    backend->port = colon != NULL ? (uint32_t)atoi(colon + 1) : 0;
    backend->address = colon != NULL ? strndup(text, (size_t)(colon - text)) : sw_strdup(text);
    return backend;
}

static Swarm__PublishedPort *parse_port(char *arg)
{
    Swarm__PublishedPort *port = sw_alloc0(sizeof *port);
    swarm__published_port__init(port);
    port->backends = sw_alloc0(MAX * sizeof(Swarm__Backend *));
    char *rest = NULL;
    port->protocol = parse_protocol(strtok_r(arg, ":", &rest));
    port->published_port = (uint32_t)atoi(strtok_r(NULL, "=", &rest));
    for (char *one = strtok_r(NULL, ",", &rest); one != NULL && port->n_backends < MAX; one = strtok_r(NULL, ",", &rest))
        port->backends[port->n_backends++] = parse_backend(one);
    return port;
}

static Swarm__LocalNetwork *parse_network(char *arg)
{
    Swarm__LocalNetwork *network = sw_alloc0(sizeof *network);
    swarm__local_network__init(network);
    char *rest = NULL;
    network->bridge = strtok_r(arg + strlen("net:"), ",", &rest);
    network->subnet = strtok_r(NULL, ",", &rest);
    network->masquerade = true;
    return network;
}

int main(int argc, char **argv)
{
    static const struct bus_spec answers[] = { { &swarm__endpoint_table_ack__descriptor, 0, 64, NULL } };
    Swarm__PublishedPort *ports[MAX];
    Swarm__LocalNetwork *networks[MAX];
    Swarm__EndpointTable table = SWARM__ENDPOINT_TABLE__INIT;
    table.ports = ports;
    table.networks = networks;
    if (argc < 3 || argc > MAX)
        return 125;
    table.generation = strtoull(argv[2], NULL, 10);
    for (int i = 3; i < argc; i++) {
        if (strncmp(argv[i], "net:", 4) == 0)
            networks[table.n_networks++] = parse_network(argv[i]);
        else
            ports[table.n_ports++] = parse_port(argv[i]);
    }

    struct bus_client_spec spec = { .endpoint = argv[1], .specs = answers, .spec_count = 1 };
    struct bus_sync *bus = NULL;
    struct sw_err err = { 0 };
    void *body = NULL;
    bool more = false;
    int rc = bus_sync_open(&spec, &bus, &err);
    if (rc == 0)
        rc = bus_sync_ask(bus, &table, 10000, &body, &more, &err);
    if (rc == 0)
        printf("ack %llu\n", (unsigned long long)((Swarm__EndpointTableAck *)body)->generation);
    else
        fprintf(stderr, "%s\n", err.text);
    return rc == 0 ? 0 : 1;
}
