/* send_table ENDPOINT GENERATION [net:BRIDGE,SUBNET] [tcp:8080=ADDRESS:PORT[!],...] - sends one endpoint table as the agent does.
 * A backend with '!' is draining. Prints "ack GENERATION" and exits 0, or the error and exits 1. */
#include "common/bus/bus.h"
#include "proto/balance.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 64 };

/* The table in fixed memory; its strings are the arguments themselves, cut in place. */
static Swarm__PublishedPort ports[MAX];
static Swarm__PublishedPort *port_list[MAX];
static Swarm__Backend backends[MAX][MAX];
static Swarm__Backend *backend_list[MAX][MAX];
static Swarm__LocalNetwork networks[MAX];
static Swarm__LocalNetwork *network_list[MAX];

static Swarm__PortProtocol parse_protocol(const char *word)
{
    if (strcmp(word, "udp") == 0)
        return SWARM__PORT_PROTOCOL__PORT_UDP;
    return strcmp(word, "sctp") == 0 ? SWARM__PORT_PROTOCOL__PORT_SCTP : SWARM__PORT_PROTOCOL__PORT_TCP;
}

static void parse_backend(char *text, Swarm__Backend *backend)
{
    swarm__backend__init(backend);
    static char task[] = "task";
    backend->task_id = task;
    size_t len = strlen(text);
    if (len > 0 && text[len - 1] == '!') {
        text[len - 1] = '\0';
        backend->has_state = true;
        backend->state = SWARM__BACKEND_STATE__BACKEND_DRAINING;
    }
    char *colon = strrchr(text, ':');
    backend->address = text;
    if (colon != NULL) {
        *colon = '\0';
        backend->port = (uint32_t)atoi(colon + 1);
    }
}

static void parse_port(char *arg, size_t at)
{
    Swarm__PublishedPort *port = &ports[at];
    swarm__published_port__init(port);
    port->backends = backend_list[at];
    char *rest = NULL;
    port->protocol = parse_protocol(strtok_r(arg, ":", &rest));
    port->published_port = (uint32_t)atoi(strtok_r(NULL, "=", &rest));
    for (char *one = strtok_r(NULL, ",", &rest); one != NULL && port->n_backends < MAX; one = strtok_r(NULL, ",", &rest)) {
        backend_list[at][port->n_backends] = &backends[at][port->n_backends];
        parse_backend(one, &backends[at][port->n_backends++]);
    }
    port_list[at] = port;
}

static void parse_network(char *arg, size_t at)
{
    swarm__local_network__init(&networks[at]);
    char *rest = NULL;
    networks[at].bridge = strtok_r(arg + strlen("net:"), ",", &rest);
    networks[at].subnet = strtok_r(NULL, ",", &rest);
    networks[at].masquerade = true;
    network_list[at] = &networks[at];
}

int main(int argc, char **argv)
{
    static const struct bus_spec answers[] = { { &swarm__endpoint_table_ack__descriptor, 0, 64, NULL } };
    Swarm__EndpointTable table = SWARM__ENDPOINT_TABLE__INIT;
    table.ports = port_list;
    table.networks = network_list;
    if (argc < 3 || argc > MAX)
        return 125;
    table.generation = strtoull(argv[2], NULL, 10);
    for (int i = 3; i < argc; i++) {
        if (strncmp(argv[i], "net:", 4) == 0)
            parse_network(argv[i], table.n_networks++);
        else
            parse_port(argv[i], table.n_ports++);
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
    sw_pb_free(body);
    if (bus != NULL)
        bus_sync_close(bus);
    return rc == 0 ? 0 : 1;
}
