#include "services/manager-raft/io/raft_links.h"

#include "services/manager-raft/core/raft_wire.h"

#include <stdlib.h>
#include <string.h>

struct raft_link {
    struct raft_links *links;
    uint64_t raft_id; /* 0 = free */
    char *node_id, *endpoint;
    uint8_t key[32];
    struct bus_client *client; /* NULL: the address is not known */
    struct bus_sender route;   /* where it last spoke from, if `routed` */
    bool routed, wanted;
    uint64_t seq_out, boot_in, seq_in;
};
struct raft_links {
    struct raft_links_spec spec;
    struct bus_keys keys;
    struct bus_server *server;
    struct raft_link links[RAFT_MEMBERS_MAX];
    uint64_t removed[64]; /* the newest of those that were members once */
    size_t removed_count;
};
SW_AUTO_DEFINE(struct raft_links, raft_links_close);

static struct raft_link *find(struct raft_links *links, uint64_t raft_id)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        if (links->links[i].raft_id == raft_id)
            return &links->links[i];
    }
    return NULL;
}

static bool is_removed(const struct raft_links *links, uint64_t raft_id)
{
    for (size_t i = 0; i < links->removed_count; i++) {
        if (links->removed[i] == raft_id)
            return true;
    }
    return false;
}

/* node_id: who the key belongs to; NULL where the server's key has already proved it. */
static int check_sender(struct raft_links *links, const Swarm__RaftMessage *message, const char *node_id, struct sw_err *err)
{
    struct raft_link *link = message->from != 0 ? find(links, message->from) : NULL;
    if (message->to != links->spec.raft_id)
        return sw_fail(err, SW_NOT_FOUND, "raft message for member %llx, this is %llx", (unsigned long long)message->to,
                       (unsigned long long)links->spec.raft_id);
    if (is_removed(links, message->from))
        return sw_fail(err, SW_NOT_FOUND, "member %llx was removed from the cluster", (unsigned long long)message->from);
    if (link != NULL && node_id != NULL && strcmp(link->node_id, node_id) != 0)
        return sw_fail(err, SW_DENIED, "raft message from member %llx by another node's key", (unsigned long long)message->from);
    return 0;
}

/* What a link has brought already; nothing is assumed about members that have no link yet. */
static bool is_repeat(struct raft_link *link, const Swarm__RaftMessage *message)
{
    if (link == NULL || !message->has_boot_id || !message->has_link_seq)
        return false;
    if (link->boot_in == message->boot_id && message->link_seq <= link->seq_in)
        return true;
    link->boot_in = message->boot_id;
    link->seq_in = message->link_seq;
    return false;
}

static int receive(struct raft_links *links, const Swarm__RaftMessage *message, const struct bus_sender *sender,
                   struct sw_err *err)
{
    struct raft_wire_in in;
    int rc = check_sender(links, message, sender != NULL ? sender->id : NULL, err);
    if (rc != 0)
        return rc;
    struct raft_link *link = find(links, message->from);
    if (link != NULL && sender != NULL) {
        link->route = *sender;
        link->routed = true;
    }
    if (is_repeat(link, message))
        return 0;
    rc = raft_wire_decode(message, &in, err);
    if (rc != 0)
        return rc;
    links->spec.receive(links->spec.arg, &in.msg);
    raft_wire_in_deinit(&in);
    return 0;
}

static int on_server_message(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    return receive(self, body, sender, err);
}

static int on_client_message(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct raft_link *link = self;
    (void)sender;
    return receive(link->links, body, NULL, err);
}

static void on_client_state(void *self, bool up, bool denied)
{
    struct raft_link *link = self;
    struct raft_links *links = link->links;
    svc_log(up ? SVC_INFO : SVC_WARN,
            up       ? "raft link up"
            : denied ? "raft link denied"
                     : "raft link down",
            "member=%llx node=%s", (unsigned long long)link->raft_id, link->node_id);
    if (!up)
        links->spec.lost(links->spec.arg, link->raft_id);
}

/* ---- opening and closing ---- */

static struct bus_peer_info admit_managers(void *arg, const uint8_t curve_key[32])
{
    const struct raft_links *links = arg;
    const Swarm__Node *node = mirror_node_by_key(links->spec.mirror, curve_key);
    struct bus_peer_info info = { .role = BUS_NOBODY };
    if (node == NULL || node->role != SWARM__NODE_ROLE__NODE_MANAGER)
        return info;
    info.role = BUS_MANAGER;
    (void)snprintf(info.id, sizeof info.id, "%s", node->id);
    return info;
}

int raft_links_open(const struct raft_links_spec *spec, struct raft_links **ret_links, struct sw_err *err)
{
    static const struct bus_spec specs[] = { { &swarm__raft_message__descriptor, BUS_MANAGER, BUS_SIZE_MAX, on_server_message } };
    SW_AUTO(raft_links_close) struct raft_links *links = sw_alloc0(sizeof *links);
    links->spec = *spec;
    links->keys = *spec->keys;
    links->spec.keys = &links->keys;
    if (spec->listen != NULL) {
        const char *endpoints[] = { spec->listen, NULL };
        struct bus_server_spec server = { .endpoints = endpoints,
                                          .keys = &links->keys,
                                          .specs = specs,
                                          .spec_count = 1,
                                          .self = links,
                                          .admit = spec->admit != NULL ? spec->admit : admit_managers,
                                          .admit_arg = spec->admit != NULL ? spec->admit_arg : links };
        int rc = bus_server_open(spec->bus, &server, &links->server, err);
        if (rc != 0)
            return rc;
    }
    *ret_links = SW_TAKE(links);
    return 0;
}

static void link_drop(struct raft_link *link)
{
    bus_client_close(link->client);
    free(link->node_id);
    free(link->endpoint);
    *link = (struct raft_link) { 0 };
}

void raft_links_close(struct raft_links *links)
{
    if (links == NULL)
        return;
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        link_drop(&links->links[i]);
    bus_server_close(links->server);
    explicit_bzero(&links->keys, sizeof links->keys);
    free(links);
}

static void link_connect(struct raft_link *link)
{
    static const struct bus_spec specs[] = { { &swarm__raft_message__descriptor, BUS_MANAGER, BUS_SIZE_MAX, on_client_message } };
    struct raft_links *links = link->links;
    const Swarm__Node *node = mirror_node(links->spec.mirror, link->node_id);
    if (node == NULL || node->manager == NULL || node->manager->curve_key.len != sizeof link->key)
        return;
    const Swarm__ManagerAddress *address = node->manager;
    if (link->client != NULL && strcmp(link->endpoint, address->raft) == 0 &&
        memcmp(link->key, address->curve_key.data, sizeof link->key) == 0)
        return;
    bus_client_close(link->client);
    link->client = NULL;
    sw_pb_set(&link->endpoint, address->raft);
    memcpy(link->key, address->curve_key.data, sizeof link->key);
    struct bus_client_spec spec = { .endpoint = link->endpoint,
                                    .keys = &links->keys,
                                    .server_key = link->key,
                                    .specs = specs,
                                    .spec_count = 1,
                                    .self = link,
                                    .state = on_client_state };
    struct sw_err err;
    if (bus_client_open(links->spec.bus, &spec, &link->client, &err) != 0)
        svc_log(SVC_WARN, "raft link cannot be opened", "node=%s err=\"%s\"", link->node_id, err.text);
}

static void member_wanted(struct raft_links *links, const Swarm__RaftMember *member)
{
    struct raft_link *link = find(links, member->raft_id);
    if (link == NULL) {
        link = find(links, 0);
        if (link == NULL)
            return; /* members are at most RAFT_MEMBERS_MAX, and this node has no link to itself */
        link->links = links;
        link->raft_id = member->raft_id;
        link->node_id = sw_strdup(member->node_id);
    }
    link->wanted = true;
    link_connect(link);
}

void raft_links_update(struct raft_links *links, const Swarm__RaftConfig *config)
{
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        links->links[i].wanted = false;
    /* First what goes, so that there is room for what comes. */
    for (size_t i = 0; i < config->n_members; i++) {
        struct raft_link *link = find(links, config->members[i]->raft_id);
        if (link != NULL)
            link->wanted = true;
    }
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        if (links->links[i].raft_id != 0 && !links->links[i].wanted)
            link_drop(&links->links[i]);
    }
    for (size_t i = 0; i < config->n_members; i++) {
        if (config->members[i]->raft_id != links->spec.raft_id)
            member_wanted(links, config->members[i]);
    }
    size_t room = sizeof links->removed / sizeof links->removed[0];
    size_t skip = config->n_removed > room ? config->n_removed - room : 0;
    links->removed_count = config->n_removed - skip;
    for (size_t i = 0; i < links->removed_count; i++)
        links->removed[i] = config->removed[skip + i];
}

bool raft_links_send(struct raft_links *links, const struct raft_msg *msg)
{
    struct raft_link *link = find(links, msg->to);
    if (link == NULL)
        return false;
    bool up = link->client != NULL && bus_client_up(link->client);
    if (!up && !link->routed)
        return false;
    struct raft_wire_out out;
    raft_wire_encode(msg, &out);
    out.message.boot_id = links->spec.boot_id;
    out.message.link_seq = ++link->seq_out;
    out.message.has_boot_id = out.message.has_link_seq = true;
    int rc = up ? bus_tell(link->client, &out.message) : bus_event(&link->route, &out.message);
    raft_wire_out_deinit(&out);
    if (rc != 0 && !up)
        link->routed = false;
    return rc == 0;
}

bool raft_links_up(const struct raft_links *links, uint64_t raft_id)
{
    struct raft_link *link = find((struct raft_links *)(uintptr_t)links, raft_id);
    return link != NULL && link->client != NULL && bus_client_up(link->client);
}

unsigned raft_links_port(const struct raft_links *links)
{
    return links->server != NULL ? bus_server_port(links->server, 0) : 0;
}
