/* net - the node-local bridge behind services/agent/io/attachment.h: one veth pair and one address a task.
 *
 * Truth    the kernel. Nothing is kept on disk: after a restart the address of a living task is read from its namespace.
 * Names    the host's end is "sw" + the first 13 characters of the task id: the 15 that a link name may have.
 */
#include "services/agent/io/attachment.h"

#include "services/agent/net/addresses.h"
#include "services/agent/net/links.h"
#include "services/agent/net/portcheck.h"

#include "common/base/buf.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#define NET_TASK_LINK "eth0"
#define NET_HOST_ID_CHARS 13
#define NET_MTU_MIN 576

struct net_task {
    char id[32];
    char host_name[LINKS_NAME_SIZE];
    uint32_t address;
    UT_hash_handle by_id;
    UT_hash_handle by_link;
};
struct net {
    struct attachment base; /* first: the attachment handed out is this struct */
    struct nl_sock *sock;
    char bridge[LINKS_NAME_SIZE];
    int bridge_index;
    uint32_t mtu;
    struct addresses addresses;
    struct net_task *tasks;    /* by id */
    struct net_task *by_links; /* the same ones by host_name */
    char subnet[64];
    Swarm__LocalNetwork network;
    const Swarm__LocalNetwork *networks[1];
};

static struct net *from_base(struct attachment *attachment)
{
    return (struct net *)attachment;
}

static void host_name(const char *task_id, char ret_name[LINKS_NAME_SIZE])
{
    (void)snprintf(ret_name, LINKS_NAME_SIZE, "sw%.*s", NET_HOST_ID_CHARS, task_id);
}

static struct net_task *task_find(struct net *net, const char *task_id)
{
    struct net_task *task = NULL;
    HASH_FIND(by_id, net->tasks, task_id, strlen(task_id), task);
    return task;
}

static struct net_task *task_add(struct net *net, const char *task_id, uint32_t address)
{
    struct net_task *task = sw_alloc0(sizeof *task);
    (void)snprintf(task->id, sizeof task->id, "%s", task_id);
    host_name(task_id, task->host_name);
    task->address = address;
    HASH_ADD(by_id, net->tasks, id[0], strlen(task->id), task);
    HASH_ADD(by_link, net->by_links, host_name[0], strlen(task->host_name), task);
    return task;
}

static void task_drop(struct net *net, struct net_task *task)
{
    HASH_DELETE(by_id, net->tasks, task);
    HASH_DELETE(by_link, net->by_links, task);
    addresses_free(&net->addresses, task->address);
    free(task);
}

static void tell_address(const struct net *net, uint32_t address, struct attachment_result *ret)
{
    memset(ret, 0, sizeof *ret);
    struct in_addr wire = { .s_addr = htonl(address) };
    char text[INET_ADDRSTRLEN];
    (void)inet_ntop(AF_INET, &wire, text, sizeof text);
    struct attachment_address *first = &ret->addresses[0];
    (void)snprintf(first->network, sizeof first->network, "local");
    (void)snprintf(first->address, sizeof first->address, "%s/%u", text, addresses_prefix(&net->addresses));
    (void)snprintf(first->interface, sizeof first->interface, NET_TASK_LINK);
    ret->count = 1;
}

static void net_detach(struct attachment *self, const char *task_id)
{
    struct net *net = from_base(self);
    struct net_task *task = task_find(net, task_id);
    if (task == NULL)
        return;
    /* The kernel has often taken it away already, with the namespace of its other end. */
    (void)links_delete(net->sock, task->host_name, NULL);
    task_drop(net, task);
}

/* The pair and what belongs inside; the pair is gone again when any of it fails. */
static int make_links(struct net *net, const struct net_task *task, pid_t pid, struct sw_err *err)
{
    SW_AUTO(links_sock_free) struct nl_sock *inside = NULL;
    SW_AUTO(sw_close) int ns_fd = -1;
    int rc = links_enter(pid, &inside, &ns_fd, err);
    if (rc < 0)
        return rc;

    struct links_veth veth = {
        .host_name = task->host_name,
        .task_name = NET_TASK_LINK,
        .ns_fd = ns_fd,
        .bridge_index = net->bridge_index,
        .address = task->address,
        .gateway = addresses_gateway(&net->addresses),
        .prefix = addresses_prefix(&net->addresses),
        .mtu = net->mtu,
    };
    rc = links_veth_add(net->sock, &veth, err);
    if (rc == -SW_EXISTS && links_delete(net->sock, task->host_name, NULL) == 0)
        rc = links_veth_add(net->sock, &veth, err); /* a left-over of the same task */
    if (rc < 0)
        return rc;
    rc = links_veth_configure(inside, &veth, err);
    if (rc < 0)
        (void)links_delete(net->sock, task->host_name, NULL);
    return rc;
}

/* A host-mode port that a program of the node listens on would be taken from it by our rules: the task is refused instead. */
static int check_host_ports(const Swarm__Task *task, struct sw_err *err)
{
    for (size_t i = 0; task->endpoint != NULL && i < task->endpoint->n_ports; i++) {
        const Swarm__PortConfig *port = task->endpoint->ports[i];
        if (port->publish_mode != SWARM__PUBLISH_MODE__PUBLISH_HOST || port->published_port == 0)
            continue;
        int rc = portcheck(port->protocol, port->published_port, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int net_attach(struct attachment *self, const Swarm__Task *swarm_task, pid_t pid, struct attachment_result *ret,
                      struct sw_err *err)
{
    struct net *net = from_base(self);
    net_detach(self, swarm_task->id);
    uint32_t address = 0;
    int rc = check_host_ports(swarm_task, err);
    if (rc == 0)
        rc = addresses_take(&net->addresses, &address, err);
    if (rc < 0)
        return rc;

    struct net_task *task = task_add(net, swarm_task->id, address);
    rc = make_links(net, task, pid, err);
    if (rc < 0) {
        task_drop(net, task);
        return sw_wrap(err, "attach to bridge %s", net->bridge);
    }
    tell_address(net, address, ret);
    return 0;
}

static int net_adopt(struct attachment *self, const char *task_id, pid_t pid, struct attachment_result *ret, struct sw_err *err)
{
    struct net *net = from_base(self);
    struct net_task *known = task_find(net, task_id);
    if (known != NULL) {
        tell_address(net, known->address, ret);
        return 0;
    }
    SW_AUTO(links_sock_free) struct nl_sock *inside = NULL;
    SW_AUTO(sw_close) int ns_fd = -1;
    uint32_t address = 0;
    int rc = links_enter(pid, &inside, &ns_fd, err);
    if (rc < 0 || (rc = links_address(inside, NET_TASK_LINK, &address, err)) < 0)
        return sw_wrap(err, "adopt the links of task %s", task_id);
    if (!addresses_claim(&net->addresses, address)) {
        struct in_addr wire = { .s_addr = htonl(address) };
        char text[INET_ADDRSTRLEN];
        return sw_fail(err, SW_CONFLICT, "task %s has %s, which is taken or outside %s", task_id,
                       inet_ntop(AF_INET, &wire, text, sizeof text), net->subnet);
    }
    (void)task_add(net, task_id, address);
    tell_address(net, address, ret);
    return 0;
}

struct stale {
    const struct net *net;
    struct sw_buf names; /* LINKS_NAME_SIZE bytes each */
};

static void collect_stale(void *arg, const char *name)
{
    struct stale *stale = arg;
    struct net_task *task = NULL;
    HASH_FIND(by_link, stale->net->by_links, name, strlen(name), task);
    if (task != NULL || strncmp(name, "sw", 2) != 0 || strlen(name) != 2 + NET_HOST_ID_CHARS)
        return;
    char entry[LINKS_NAME_SIZE] = "";
    (void)snprintf(entry, sizeof entry, "%s", name);
    sw_buf_add(&stale->names, entry, sizeof entry);
}

/* Links of no living task: their container died while no agent watched, or a crash came between two steps. */
static void net_recovered(struct attachment *self)
{
    struct net *net = from_base(self);
    struct stale stale = { .net = net };
    (void)links_ports(net->sock, net->bridge_index, collect_stale, &stale, NULL);
    for (size_t at = 0; at + LINKS_NAME_SIZE <= stale.names.len; at += LINKS_NAME_SIZE)
        (void)links_delete(net->sock, stale.names.data + at, NULL);
    sw_buf_deinit(&stale.names);
}

static size_t net_networks(struct attachment *self, const Swarm__LocalNetwork *const **ret_networks)
{
    *ret_networks = from_base(self)->networks;
    return 1;
}

static const struct attachment_ops net_ops = {
    .attach = net_attach,
    .detach = net_detach,
    .adopt = net_adopt,
    .recovered = net_recovered,
    .networks = net_networks,
};

static int forwarding_on(struct sw_err *err)
{
    static const char path[] = "/proc/sys/net/ipv4/ip_forward";
    char now = '0';
    SW_AUTO(sw_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, &now, 1) == 1 && now == '1')
        return 0; /* also where /proc/sys can't be written: enough that it is on */
    SW_AUTO(sw_close) int out = open(path, O_WRONLY | O_CLOEXEC);
    if (out < 0 || write(out, "1", 1) != 1)
        return sw_fail(err, SW_DENIED, "switch on IPv4 forwarding (%s): %s", path, strerror(errno));
    return 0;
}

static bool name_valid(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len < LINKS_NAME_SIZE &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == len && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static int bring_up(struct net *net, const struct net_spec *spec, struct sw_err *err)
{
    int rc = links_open(&net->sock, err);
    if (rc < 0)
        return rc;
    char other[LINKS_NAME_SIZE];
    unsigned prefix = addresses_prefix(&net->addresses);
    if (links_subnet_taken(net->sock, net->addresses.network, prefix, net->bridge, other))
        return sw_fail(err, SW_INVALID, "task subnet '%s' overlaps with the addresses of link %s: choose another", spec->subnet,
                       other);

    net->mtu = spec->mtu != 0 ? spec->mtu : links_default_mtu(net->sock);
    if (net->mtu < NET_MTU_MIN || net->mtu > UINT16_MAX)
        return sw_fail(err, SW_INVALID, "bridge mtu %u: must be %d to %d", net->mtu, NET_MTU_MIN, UINT16_MAX);
    struct links_bridge bridge = { net->bridge, addresses_gateway(&net->addresses), prefix, net->mtu };
    if ((rc = links_bridge_ensure(net->sock, &bridge, &net->bridge_index, err)) < 0)
        return rc;
    return forwarding_on(err);
}

int net_open(const struct net_spec *spec, struct attachment **ret_attachment, struct sw_err *err)
{
    if (!name_valid(spec->bridge))
        return sw_fail(err, SW_INVALID, "bridge '%.32s': want 1 to %d letters, digits, '-', '_' or '.'", spec->bridge,
                       LINKS_NAME_SIZE - 1);
    struct net *net = sw_alloc0(sizeof *net);
    net->base.ops = &net_ops;
    (void)snprintf(net->bridge, sizeof net->bridge, "%s", spec->bridge);
    int rc = addresses_init(&net->addresses, spec->subnet, err);
    if (rc == 0)
        rc = bring_up(net, spec, err);
    if (rc < 0) {
        net_close(&net->base, false);
        return rc;
    }
    (void)snprintf(net->subnet, sizeof net->subnet, "%s", spec->subnet);
    swarm__local_network__init(&net->network);
    net->network.bridge = net->bridge;
    net->network.subnet = net->subnet;
    net->network.masquerade = true;
    net->networks[0] = &net->network;
    *ret_attachment = &net->base;
    return 0;
}

void net_close(struct attachment *attachment, bool remove_links)
{
    if (attachment == NULL)
        return;
    struct net *net = from_base(attachment);
    if (remove_links && net->tasks == NULL && net->sock != NULL) {
        net_recovered(attachment);
        (void)links_delete(net->sock, net->bridge, NULL);
    }
    struct net_task *task, *next;
    HASH_ITER(by_id, net->tasks, task, next)
    task_drop(net, task);
    nl_socket_free(net->sock);
    free(net);
}
