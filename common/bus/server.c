#include "common/bus/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

/* ---- one message ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The key that the connection's handshake proved, as zap.c noted it. */
static bool peer_key(zmq_msg_t *frame, uint8_t ret_key[32])
{
    const char *user = zmq_msg_gets(frame, "User-Id");
    if (user == NULL || strlen(user) != 64)
        return false;
    for (size_t i = 0; i < 32; i++) {
        int high = hex_digit(user[2 * i]);
        int low = hex_digit(user[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret_key[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* Joiners may be anybody: together they get so many messages a second, and as many at once. */
static bool joiner_allowed(struct bus_server *server)
{
    uint64_t now_ms = svc_mono_ms();
    uint64_t most = server->rate_joiner * UINT64_C(1000);
    uint64_t gained = (now_ms - server->joiner_filled_ms) * server->rate_joiner;
    server->joiner_filled_ms = now_ms;
    server->joiner_tokens = gained > most - server->joiner_tokens ? most : server->joiner_tokens + gained;
    if (server->joiner_tokens < 1000)
        return false;
    server->joiner_tokens -= 1000;
    return true;
}

/* Who is it, now? Fills role, id and key of *sender. */
static int admit(struct bus_server *server, zmq_msg_t *head, struct bus_sender *sender, struct sw_err *err)
{
    if (server->admit == NULL) {
        sender->role = BUS_LOCAL;
        return 0;
    }
    if (!peer_key(head, sender->curve_key))
        return sw_fail(err, SW_DENIED, "connection without a key");
    struct bus_peer_info info = server->admit(server->admit_arg, sender->curve_key);
    if (info.role == BUS_NOBODY)
        return sw_fail(err, SW_DENIED, "this key is not accepted here any more");
    if (info.role == BUS_JOINER && server->rate_joiner != 0 && !joiner_allowed(server))
        return sw_fail(err, SW_LIMIT, "too many requests to join at the moment: try again");
    sender->role = info.role;
    memcpy(sender->id, info.id, sizeof sender->id);
    sender->id[sizeof sender->id - 1] = '\0';
    return 0;
}

static int handle(struct bus_server *server, struct wire_in *in, const Swarm__Envelope *head, struct bus_sender *sender,
                  struct sw_err *err)
{
    SW_AUTO(sw_pb_free) void *body = NULL;
    const struct bus_spec *spec = NULL;
    if (admit(server, &in->frames[1], sender, err) < 0)
        return -(int)err->code;
    if (head->version != WIRE_VERSION)
        return sw_fail(err, SW_UNSUPPORTED, "message of protocol version %u, only %d is spoken here", head->version,
                       WIRE_VERSION);
    if (in->count != 3)
        return sw_fail(err, SW_CORRUPT, "message '%.64s' has %u frames instead of 2", head->name, in->count - 1);
    if (wire_check(&server->table, sender->role, head->name, zmq_msg_data(&in->frames[2]), zmq_msg_size(&in->frames[2]), &spec,
                   &body, err) < 0)
        return -(int)err->code;
    int rc = spec->handle(server->self, sender, body, err);
    if (rc >= 0 || err->code != SW_OK)
        return rc;
    int code = -rc; /* a handler that gave no reason */
    return sw_fail(err, code <= SW_CODE_MAX ? (enum sw_code)code : SW_IO, "message '%s' failed", head->name);
}

static void take(struct bus_server *server, struct wire_in *in)
{
    struct sw_err err = { .code = SW_CORRUPT, .text = "message of one frame" };
    size_t route_len = zmq_msg_size(&in->frames[0]);
    struct bus_sender sender = { .server = server, .role = BUS_NOBODY, .route_len = (uint8_t)route_len };
    SW_AUTO(sw_pb_free) Swarm__Envelope *head = NULL;

    if (route_len == 0 || route_len > sizeof sender.route)
        (void)sw_fail(&err, SW_LIMIT, "routing id of %zu bytes", route_len);
    else if (in->count >= 2)
        head = wire_head(zmq_msg_data(&in->frames[1]), zmq_msg_size(&in->frames[1]), &err);
    if (head == NULL) { /* nothing to answer to */
        bus_refused(server->bus, &err, "");
        return;
    }
    err = (struct sw_err) { 0 };
    memcpy(sender.route, zmq_msg_data(&in->frames[0]), route_len);
    sender.seq = head->seq;
    if (handle(server, in, head, &sender, &err) >= 0)
        return;
    bus_refused(server->bus, &err, sender.id);
    if (server->socket != NULL)
        (void)bus_reply_error(&sender, &err);
}

static void release(struct bus_server *server)
{
    if (--server->busy != 0 || server->socket != NULL)
        return;
    wire_table_deinit(&server->table);
    free(server->ports);
    free(server);
}

static int on_readable(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    struct bus_server *server = arg;
    struct wire_in in;
    (void)loop;
    (void)item;
    server->busy++;
    for (unsigned i = 0; i < BUS_TURN_MAX && server->socket != NULL && wire_recv(server->socket, &in); i++) {
        (*server->bus->received)++;
        take(server, &in);
        wire_in_deinit(&in);
    }
    release(server);
    return 0;
}

/* ---- opening ---- */

static int server_keys(struct bus_server *server, const struct bus_keys *keys, struct sw_err *err)
{
    int yes = 1;
    if (keys == NULL)
        return 0;
    (void)snprintf(server->domain, sizeof server->domain, "bus-%u", ++server->bus->domains);
    if (zmq_setsockopt(server->socket, ZMQ_CURVE_SERVER, &yes, sizeof yes) != 0 ||
        zmq_setsockopt(server->socket, ZMQ_CURVE_SECRETKEY, keys->secret_key, 32) != 0 ||
        zmq_setsockopt(server->socket, ZMQ_ZAP_DOMAIN, server->domain, strlen(server->domain)) != 0)
        return sw_fail(err, SW_UNSUPPORTED, "CURVE: %s", zmq_strerror(errno));
    return 0;
}

/* libzmq would take the path away from a live server without a word: only what a dead process left behind may be replaced. */
static int ipc_check(const char *path, struct sw_err *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat st;
    if (strlen(path) >= sizeof address.sun_path)
        return sw_fail(err, SW_INVALID, "socket path '%s' is longer than %zu bytes", path, sizeof address.sun_path - 1);
    if (lstat(path, &st) != 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return sw_fail(err, SW_EXISTS, "'%s' exists and is not a socket", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    SW_AUTO(sw_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return sw_fail(err, SW_IO, "socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return sw_fail(err, SW_EXISTS, "'%s' is in use by another process", path);
    return 0;
}

static unsigned port_of(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    return colon != NULL ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
}

static int server_bind(struct bus_server *server, const char *endpoint, struct sw_err *err)
{
    const char *path = wire_ipc_path(endpoint);
    if (path == NULL && (!wire_is_tcp(endpoint) || server->admit == NULL))
        return sw_fail(err, SW_INVALID, "listen on '%s': only ipc:// without keys, tcp:// or ipc:// with keys", endpoint);
    if (path != NULL && ipc_check(path, err) < 0)
        return sw_wrap(err, "listen on '%s'", endpoint);
    if (path == NULL) {
        int ipv6 = strchr(endpoint, '[') != NULL;
        (void)zmq_setsockopt(server->socket, ZMQ_IPV6, &ipv6, sizeof ipv6);
    }
    mode_t mask = umask(0177); /* the socket file is made in this thread: 0600 */
    int rc = zmq_bind(server->socket, endpoint);
    int error = errno;
    (void)umask(mask);
    if (rc != 0)
        return sw_fail(err, error == EADDRINUSE ? SW_EXISTS : SW_IO, "listen on '%s': %s", endpoint, zmq_strerror(error));

    char bound[256] = "";
    size_t size = sizeof bound;
    (void)zmq_getsockopt(server->socket, ZMQ_LAST_ENDPOINT, bound, &size);
    server->ports = sw_realloc_array(server->ports, server->port_count + 1, sizeof *server->ports);
    server->ports[server->port_count++] = path == NULL ? port_of(bound) : 0;
    return 0;
}

int bus_server_open(struct bus *bus, const struct bus_server_spec *spec, struct bus_server **ret_server, struct sw_err *err)
{
    assert(spec->keys == NULL || spec->admit != NULL);
    struct bus_server *server = sw_alloc0(sizeof *server);
    server->bus = bus;
    server->self = spec->self;
    server->admit = spec->keys != NULL ? spec->admit : NULL;
    server->admit_arg = spec->admit_arg;
    server->rate_joiner = spec->rate_joiner;
    server->joiner_tokens = spec->rate_joiner * UINT64_C(1000);
    server->joiner_filled_ms = svc_mono_ms();
    wire_table_init(&server->table, spec->specs, spec->spec_count);
    server->socket = wire_socket(bus->context, ZMQ_ROUTER, server->table.size_max, err);
    int rc = server->socket != NULL ? server_keys(server, spec->keys, err) : -(int)err->code;
    for (size_t i = 0; rc == 0 && spec->endpoints[i] != NULL; i++)
        rc = server_bind(server, spec->endpoints[i], err);
    if (rc < 0) {
        wire_close(SW_TAKE(server->socket));
        server->busy = 1;
        release(server);
        return rc;
    }
    bus_watch(bus, server->socket, on_readable, server);
    DL_APPEND(bus->servers, server);
    *ret_server = server;
    return 0;
}

void bus_server_close(struct bus_server *server)
{
    if (server == NULL || server->socket == NULL)
        return;
    bus_unwatch(server->bus, server->socket);
    wire_close(SW_TAKE(server->socket));
    DL_DELETE(server->bus->servers, server);
    server->busy++; /* freed now, or by the callback that called us */
    release(server);
}

unsigned bus_server_port(const struct bus_server *server, size_t i)
{
    assert(i < server->port_count);
    return server->ports[i];
}

/* ---- answers ---- */

static int send_to(const struct bus_sender *to, struct wire_out out)
{
    if (to->server->socket == NULL)
        return -SW_UNAVAILABLE;
    out.route = to->route;
    out.route_len = to->route_len;
    int rc = wire_send(to->server->socket, &out);
    if (rc == 0)
        (*to->server->bus->sent)++;
    return rc;
}

/* What is sent unasked, or long after it was asked for, ends when the key is revoked. (A joiner that has become a node is fine.)
 */
static bool still_admitted(const struct bus_sender *to)
{
    const struct bus_server *server = to->server;
    if (server->socket == NULL || server->admit == NULL)
        return true;
    enum bus_role role = server->admit(server->admit_arg, to->curve_key).role;
    return role != BUS_NOBODY && (role != BUS_JOINER || to->role == BUS_JOINER);
}

int bus_reply(const struct bus_sender *to, const void *body)
{
    return to->seq == 0 ? 0 : send_to(to, (struct wire_out) { .seq = to->seq, .body = body });
}

int bus_reply_more(const struct bus_sender *to, const void *body)
{
    if (to->seq == 0)
        return 0;
    return still_admitted(to) ? send_to(to, (struct wire_out) { .seq = to->seq, .more = true, .body = body }) : -SW_UNAVAILABLE;
}

int bus_reply_error(const struct bus_sender *to, const struct sw_err *err)
{
    return to->seq == 0 ? 0 : send_to(to, (struct wire_out) { .seq = to->seq, .failure = err });
}

int bus_event(const struct bus_sender *to, const void *body)
{
    return still_admitted(to) ? send_to(to, (struct wire_out) { .body = body }) : -SW_UNAVAILABLE;
}
