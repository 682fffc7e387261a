#include "services/agent/io/agent.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static void labels_add(Swarm__NodeDescription *d, const struct svc_list *labels)
{
    if (labels->count == 0)
        return;
    d->engine_labels = sw_alloc0(labels->count * sizeof *d->engine_labels);
    for (size_t i = 0; i < labels->count; i++) {
        const char *equals = strchr(labels->items[i], '=');
        Swarm__Pair *pair = sw_alloc0(sizeof *pair);
        swarm__pair__init(pair);
        pair->key =
            equals != NULL ? sw_strf("%.*s", (int)(equals - labels->items[i]), labels->items[i]) : sw_strdup(labels->items[i]);
        pair->value = sw_strdup(equals != NULL ? equals + 1 : "");
        d->engine_labels[d->n_engine_labels++] = pair;
    }
}

Swarm__NodeDescription *node_description(const struct agent *agent)
{
    struct utsname names;
    Swarm__NodeDescription *d = sw_alloc0(sizeof *d);
    swarm__node_description__init(d);
    if (uname(&names) != 0)
        memset(&names, 0, sizeof names);
    d->hostname = sw_strdup(names.nodename);
    sw_pb_text_clean(d->hostname);
    d->platform = sw_alloc0(sizeof *d->platform);
    swarm__platform__init(d->platform);
    d->platform->architecture = sw_strdup(names.machine);
    d->platform->os = sw_strdup("linux");
    d->resources = sw_alloc0(sizeof *d->resources);
    swarm__resources__init(d->resources);
    d->resources->has_nano_cpus = true;
    d->resources->nano_cpus = (int64_t)sysconf(_SC_NPROCESSORS_ONLN) * 1000000000;
    d->resources->has_memory_bytes = true;
    d->resources->memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE);
    d->engine_version = sw_strdup(svc_version());
    labels_add(d, &agent->options.labels);
    d->runtime = sw_strdup(executor_runtime(agent->executor));
    d->cgroup = sw_strdup(executor_cgroup(agent->executor));
    return d;
}

/* ---- addresses ---- */
struct usable {
    char interface[IF_NAMESIZE];
    char address[INET_ADDRSTRLEN];
};

/* IPv4, up, and none that only this machine knows: loopback, link-local, bridges of containers. */
static bool is_usable(const struct agent *agent, const struct ifaddrs *item)
{
    if (item->ifa_addr == NULL || item->ifa_addr->sa_family != AF_INET)
        return false;
    if ((item->ifa_flags & IFF_UP) == 0 || (item->ifa_flags & IFF_LOOPBACK) != 0)
        return false;
    if (strcmp(item->ifa_name, agent->options.bridge) == 0 || strncmp(item->ifa_name, "docker", 6) == 0)
        return false;
    uint32_t address = ntohl(((const struct sockaddr_in *)(const void *)item->ifa_addr)->sin_addr.s_addr);
    return address >> 16 != 0xa9fe;
}

static size_t usable_list(const struct agent *agent, const char *interface, struct usable *ret, size_t max)
{
    struct ifaddrs *all = NULL;
    size_t count = 0;
    if (getifaddrs(&all) != 0)
        return 0;
    for (const struct ifaddrs *item = all; item != NULL && count < max; item = item->ifa_next) {
        bool wanted = interface != NULL ? strcmp(item->ifa_name, interface) == 0 && item->ifa_addr != NULL &&
                                              item->ifa_addr->sa_family == AF_INET
                                        : is_usable(agent, item);
        if (!wanted)
            continue;
        const struct sockaddr_in *in = (const void *)item->ifa_addr;
        (void)snprintf(ret[count].interface, sizeof ret[count].interface, "%s", item->ifa_name);
        if (inet_ntop(AF_INET, &in->sin_addr, ret[count].address, sizeof ret[count].address) != NULL)
            count++;
    }
    freeifaddrs(all);
    return count;
}

static int choose(const struct agent *agent, char **ret_host, struct sw_err *err)
{
    struct usable list[32];
    size_t count = usable_list(agent, NULL, list, sizeof list / sizeof list[0]);
    if (count == 0)
        return sw_fail(err, SW_INVALID, "could not find the system's IP address - specify one with --advertise-addr");
    if (count > 1)
        return sw_fail(
            err, SW_INVALID,
            "could not choose an IP address to advertise since this system has multiple addresses on %s (%s on %s and %s on "
            "%s) - specify one with --advertise-addr",
            strcmp(list[0].interface, list[1].interface) == 0 ? "one interface" : "different interfaces", list[0].address,
            list[0].interface, list[1].address, list[1].interface);
    *ret_host = sw_strdup(list[0].address);
    return 0;
}

int node_advertise(const struct agent *agent, const char *text, char **ret_host, struct sw_err *err)
{
    if (text == NULL || text[0] == '\0')
        text = agent->options.advertise;
    if (text == NULL || text[0] == '\0')
        return choose(agent, ret_host, err);
    size_t len = strcspn(text, ":"); /* the port is manager-raft's own option */
    SW_AUTO(sw_free) char *host = sw_strf("%.*s", (int)len, text);
    struct in_addr address;
    if (inet_pton(AF_INET, host, &address) == 1) {
        if (address.s_addr == 0)
            return sw_fail(err, SW_INVALID,
                           "advertise address must be a non-zero IP address or network interface (with optional port number)");
        *ret_host = SW_TAKE(host);
        return 0;
    }
    struct usable found[2];
    size_t count = usable_list(agent, host, found, 2);
    if (count == 0)
        return sw_fail(err, SW_INVALID, "advertise address: '%.64s' is neither an IPv4 address nor an interface that has one",
                       host);
    if (count > 1)
        return sw_fail(err, SW_INVALID,
                       "interface %.32s has more than one IPv4 address (%s and %s) - specify one with --advertise-addr", host,
                       found[0].address, found[1].address);
    *ret_host = sw_strdup(found[0].address);
    return 0;
}

/* Connecting a datagram socket sends nothing, but makes the kernel choose the source address. */
static char *source_towards(const struct addrinfo *to)
{
    struct sockaddr_in from = { 0 };
    socklen_t len = sizeof from;
    char text[INET_ADDRSTRLEN];
    SW_AUTO(sw_close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, to->ai_addr, to->ai_addrlen) != 0 || getsockname(fd, (struct sockaddr *)&from, &len) != 0)
        return NULL;
    return inet_ntop(AF_INET, &from.sin_addr, text, sizeof text) != NULL ? sw_strdup(text) : NULL;
}

char *node_address_towards(const char *remote)
{
    const char *colon = strrchr(remote, ':');
    SW_AUTO(sw_free) char *host = colon != NULL ? sw_strf("%.*s", (int)(colon - remote), remote) : sw_strdup(remote);
    const struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_DGRAM };
    struct addrinfo *list = NULL;
    if (getaddrinfo(host, "2377", &hints, &list) != 0)
        return NULL;
    char *address = list != NULL ? source_towards(list) : NULL;
    freeaddrinfo(list);
    return address;
}
