/* The bus as processes use it: a server and clients in one loop, over real sockets (loopback and ipc), with real CURVE keys. */
#include "common/bus/wire.h"
#include "common/service/tests/daemon.h"
#include "proto/control.pb-c.h"
#include "proto/store.pb-c.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOG_MAX 4096

struct rig {
    struct svc *svc;
    struct bus *bus;
    struct bus_server *server;
    struct bus_client *client;
    struct bus_keys server_keys, client_keys;
    enum bus_role role; /* what admit() says */
    struct bus_sender kept;
    char dir[64];
    char log[LOG_MAX]; /* what happened, one word each */
    int asked, answered;
    unsigned port;
    struct svc_timer *guard, *again;
    void (*begin)(struct rig *rig);
    void (*on_state)(struct rig *rig, bool up, bool denied);
    pthread_t thread;
};

static void say(struct rig *rig, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct rig *rig, const char *fmt, ...)
{
    size_t len = strlen(rig->log);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(rig->log + len, sizeof rig->log - len, fmt, args);
    va_end(args);
    len = strlen(rig->log);
    (void)snprintf(rig->log + len, sizeof rig->log - len, " ");
}

static void done(struct rig *rig)
{
    svc_quit(rig->svc, 0);
}

/* ---- server ---- */

static struct bus_peer_info admit(void *arg, const uint8_t key[32])
{
    struct rig *rig = arg;
    struct bus_peer_info info = { .role = rig->role };
    (void)snprintf(info.id, sizeof info.id, "%s", memcmp(key, rig->client_keys.public_key, 32) == 0 ? "client" : "stranger");
    return info;
}

static Swarm__VersionReply version_reply(const char *version)
{
    Swarm__VersionReply reply = SWARM__VERSION_REPLY__INIT;
    reply.version = (char *)(uintptr_t)version;
    reply.commit = (char *)(uintptr_t) "c";
    reply.built = (char *)(uintptr_t) "b";
    return reply;
}

static int on_node_get(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct rig *rig = self;
    const char *ref = ((const Swarm__NodeGetRequest *)body)->ref;
    Swarm__VersionReply reply = version_reply(ref);
    rig->kept = *sender;
    if (strcmp(ref, "fail") == 0)
        return sw_fail(err, SW_NOT_FOUND, "no\nsuch \xff thing");
    if (strcmp(ref, "keep") == 0)
        return 0;
    if (strcmp(ref, "close") == 0) {
        bus_server_close(rig->server);
        rig->server = NULL;
        return 0;
    }
    if (strcmp(ref, "stream") == 0)
        for (int i = 0; i < 3; i++)
            assert_int_equal(bus_reply_more(sender, &reply), 0);
    if (strcmp(ref, "event") == 0)
        assert_int_equal(bus_event(sender, &reply), 0);
    assert_int_equal(bus_reply(sender, &reply), 0);
    return 0;
}

static int on_version(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct rig *rig = self;
    Swarm__VersionReply reply = version_reply(sender->id);
    (void)body;
    (void)err;
    rig->asked++;
    return bus_reply(sender, &reply);
}

static const struct bus_spec server_specs[] = {
    { &swarm__node_get_request__descriptor, BUS_WORKER | BUS_LOCAL, 64, on_node_get },
    { &swarm__version_request__descriptor, BUS_ADMIN | BUS_WORKER | BUS_JOINER | BUS_LOCAL, 16, on_version },
    { &swarm__node_list_request__descriptor, BUS_ADMIN, 16, on_version },
};

static int on_event(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    (void)sender;
    (void)err;
    say(self, "event=%s", ((const Swarm__VersionReply *)body)->version);
    return 0;
}

static const struct bus_spec client_specs[] = {
    { &swarm__version_reply__descriptor, 0, 1024, on_event },
};

static void rig_serve(struct rig *rig, const char *endpoint, bool curve)
{
    struct sw_err err = { 0 };
    const char *const endpoints[] = { endpoint, NULL };
    struct bus_server_spec spec = { .endpoints = endpoints,
                                    .keys = curve ? &rig->server_keys : NULL,
                                    .specs = server_specs,
                                    .spec_count = 3,
                                    .self = rig,
                                    .admit = admit,
                                    .admit_arg = rig,
                                    .rate_joiner = 2 };
    if (bus_server_open(rig->bus, &spec, &rig->server, &err) != 0)
        fail_msg("%s", err.text);
    rig->port = bus_server_port(rig->server, 0);
}

/* ---- client ---- */

static void on_state(void *self, bool up, bool denied)
{
    struct rig *rig = self;
    say(rig, up ? "up" : denied ? "denied" : "down");
    if (rig->on_state != NULL)
        rig->on_state(rig, up, denied);
}

static struct bus_client_spec client_spec(struct rig *rig, const char *endpoint, bool curve)
{
    return (struct bus_client_spec) { .endpoint = endpoint,
                                      .keys = curve ? &rig->client_keys : NULL,
                                      .server_key = rig->server_keys.public_key,
                                      .specs = client_specs,
                                      .spec_count = 1,
                                      .self = rig,
                                      .state = on_state };
}

static void rig_connect(struct rig *rig, const char *endpoint, bool curve)
{
    struct sw_err err;
    struct bus_client_spec spec = client_spec(rig, endpoint, curve);
    if (bus_client_open(rig->bus, &spec, &rig->client, &err) != 0)
        fail_msg("%s", err.text);
}

static void on_answer(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct rig *rig = arg;
    if (body == NULL)
        say(rig, "%s", sw_code_name(err->code));
    else
        say(rig, "%s%s", ((const Swarm__VersionReply *)body)->version, more ? "+" : "");
    rig->answered += !more;
}

static uint64_t ask_node(struct rig *rig, const char *ref, uint64_t timeout_ms)
{
    Swarm__NodeGetRequest request = SWARM__NODE_GET_REQUEST__INIT;
    request.ref = (char *)(uintptr_t)ref;
    return bus_ask(rig->client, &request, timeout_ms, on_answer, rig);
}

static uint64_t ask_version(struct rig *rig, bus_answer_fn *fn)
{
    Swarm__VersionRequest request = SWARM__VERSION_REQUEST__INIT;
    return bus_ask(rig->client, &request, 5000, fn, rig);
}

static void last_answer(void *arg, const void *body, bool more, const struct sw_err *err)
{
    on_answer(arg, body, more, err);
    if (!more)
        done(arg);
}

/* ---- running ---- */

static void on_guard(void *arg)
{
    struct rig *rig = arg;
    say(rig, "STUCK");
    done(rig);
}

static int rig_start(struct svc *svc, void *state, struct sw_err *err)
{
    struct rig *rig = state;
    rig->svc = svc;
    rig->guard = svc_timer_new(svc, on_guard, rig);
    svc_timer_at(rig->guard, svc_mono_ms() + DAEMON_GUARD_MS);
    if (bus_new(svc, &rig->bus, err) < 0)
        return -1;
    rig->begin(rig);
    return 0;
}

static void rig_stop(struct svc *svc, void *state)
{
    struct rig *rig = state;
    (void)svc;
    bus_free(rig->bus);
}

static void curve_keys(struct bus_keys *keys)
{
    char text_public[41], text_secret[41];
    assert_int_equal(zmq_curve_keypair(text_public, text_secret), 0);
    assert_non_null(zmq_z85_decode(keys->public_key, text_public));
    assert_non_null(zmq_z85_decode(keys->secret_key, text_secret));
}

static void run(struct rig *rig, void (*begin)(struct rig *rig), const char *want)
{
    (void)strcpy(rig->dir, "/tmp/test-bus-XXXXXX");
    if (rig->role == BUS_NOBODY)
        rig->role = BUS_WORKER;
    rig->begin = begin;
    curve_keys(&rig->server_keys);
    curve_keys(&rig->client_keys);
    assert_int_equal(daemon_run(rig->dir, rig_start, rig_stop, rig), 0);
    if (want != NULL)
        assert_string_equal(rig->log, want);
}

static void begin_tcp(struct rig *rig)
{
    char endpoint[64];
    rig_serve(rig, "tcp://127.0.0.1:*", true);
    (void)snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", rig->port);
    rig_connect(rig, endpoint, true);
}

/* ---- tests ---- */

static void talk(struct rig *rig, bool up, bool denied)
{
    (void)denied;
    if (!up)
        return;
    char long_ref[200];
    memset(long_ref, 'x', sizeof long_ref);
    long_ref[sizeof long_ref - 1] = '\0';
    Swarm__NodeListRequest list = SWARM__NODE_LIST_REQUEST__INIT;
    Swarm__TaskListRequest unknown = SWARM__TASK_LIST_REQUEST__INIT;
    assert_true(ask_node(rig, "one", 5000) != 0);
    assert_true(ask_node(rig, "fail", 5000) != 0);
    assert_true(ask_node(rig, "stream", 0) != 0);
    assert_true(ask_node(rig, "event", 5000) != 0);
    assert_true(ask_node(rig, long_ref, 5000) != 0);
    assert_true(bus_ask(rig->client, &list, 5000, on_answer, rig) != 0);
    assert_true(bus_ask(rig->client, &unknown, 5000, on_answer, rig) != 0);
    uint64_t forgotten = ask_node(rig, "forgotten", 5000);
    bus_forget(rig->client, forgotten);
    assert_true(ask_version(rig, last_answer) != 0);
}

static void test_talk(void **state)
{
    (void)state;
    struct rig rig = { .on_state = talk };
    run(&rig, begin_tcp, "up one not-found stream+ stream+ stream+ stream event=event event limit denied denied client ");
}

static void begin_ipc(struct rig *rig)
{
    char endpoint[128];
    struct stat st;
    (void)snprintf(endpoint, sizeof endpoint, "ipc://%s/run/x.sock", rig->dir);
    rig_serve(rig, endpoint, false);
    assert_int_equal(stat(endpoint + 6, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    const char *const endpoints[] = { endpoint, NULL };
    struct bus_server_spec again = { .endpoints = endpoints, .specs = server_specs, .spec_count = 1 };
    struct bus_server *second = NULL;
    struct sw_err err;
    assert_int_equal(bus_server_open(rig->bus, &again, &second, &err), -SW_EXISTS);
    assert_non_null(strstr(err.text, "in use"));
    const char *const open_tcp[] = { "tcp://127.0.0.1:*", NULL };
    again.endpoints = open_tcp;
    assert_int_equal(bus_server_open(rig->bus, &again, &second, &err), -SW_INVALID);
    rig_connect(rig, endpoint, false);
}

static void ask_last(struct rig *rig, bool up, bool denied)
{
    (void)denied;
    if (up)
        assert_true(ask_version(rig, last_answer) != 0);
}

static void test_ipc(void **state)
{
    (void)state;
    struct rig rig = { .on_state = ask_last };
    run(&rig, begin_ipc, "up  ");
}

static void begin_stale(struct rig *rig)
{
    char endpoint[100];
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    (void)snprintf(endpoint, sizeof endpoint, "ipc://%s/run/x.sock", rig->dir);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", endpoint + 6);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    (void)close(fd); /* the file stays, as after kill -9 */
    rig_serve(rig, endpoint, false);
    rig_connect(rig, endpoint, false);
}

static void test_stale_socket_file(void **state)
{
    (void)state;
    struct rig rig = { .on_state = ask_last };
    run(&rig, begin_stale, "up  ");
}

static void begin_denied(struct rig *rig)
{
    rig->role = BUS_NOBODY;
    begin_tcp(rig);
}

static void admit_later(struct rig *rig, bool up, bool denied)
{
    if (denied)
        rig->role = BUS_WORKER; /* the next attempt gets in */
    if (up)
        done(rig);
}

static void test_denied_then_admitted(void **state)
{
    (void)state;
    struct rig rig = { .on_state = admit_later };
    run(&rig, begin_denied, "denied up ");
}

static void after_revoke(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct rig *rig = arg;
    on_answer(rig, body, more, err);
    rig->role = BUS_NOBODY; /* the connection stays, its messages count no more */
    assert_true(ask_version(rig, last_answer) != 0);
}

static void ask_and_revoke(struct rig *rig, bool up, bool denied)
{
    (void)denied;
    if (up)
        assert_true(ask_version(rig, after_revoke) != 0);
}

static void test_revoked_at_once(void **state)
{
    (void)state;
    struct rig rig = { .on_state = ask_and_revoke };
    run(&rig, begin_tcp, "up client denied ");
    assert_int_equal(rig.asked, 1);
}

static void after_stream_revoke(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct rig *rig = arg;
    Swarm__VersionReply part = version_reply("part");
    on_answer(rig, body, more, err);
    assert_int_equal(bus_reply_more(&rig->kept, &part), 0);
    rig->role = BUS_JOINER; /* known no more, though it may still ask to join */
    assert_int_equal(bus_reply_more(&rig->kept, &part), -SW_UNAVAILABLE);
    assert_int_equal(bus_event(&rig->kept, &part), -SW_UNAVAILABLE);
    done(rig);
}

static void stream_and_revoke(struct rig *rig, bool up, bool denied)
{
    (void)denied;
    if (up) {
        assert_true(ask_node(rig, "keep", 0) != 0);
        assert_true(ask_version(rig, after_stream_revoke) != 0);
    }
}

static void test_stream_revoked(void **state)
{
    (void)state;
    struct rig rig = { .on_state = stream_and_revoke };
    run(&rig, begin_tcp, NULL); /* the part sent before the end may be seen or not */
    assert_int_equal(rig.answered, 1);
}

static void joiner_answer(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct rig *rig = arg;
    on_answer(arg, body, more, err);
    if (rig->answered == 6)
        done(rig);
}

static void ask_many(struct rig *rig, bool up, bool denied)
{
    (void)denied;
    for (int i = 0; up && i < 6; i++)
        assert_true(ask_version(rig, joiner_answer) != 0);
}

static void test_joiner_rate(void **state)
{
    (void)state;
    struct rig rig = { .on_state = ask_many, .role = BUS_JOINER };
    run(&rig, begin_tcp, "up client client limit limit limit limit ");
}

static void after_timeout(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct rig *rig = arg;
    on_answer(arg, body, more, err);
    Swarm__VersionReply late = version_reply("late");
    assert_int_equal(bus_reply(&rig->kept, &late), 0); /* nobody waits any more: dropped by the client */
    assert_true(ask_version(rig, last_answer) != 0);
}

static void ask_kept(struct rig *rig, bool up, bool denied)
{
    Swarm__NodeGetRequest request = SWARM__NODE_GET_REQUEST__INIT;
    (void)denied;
    request.ref = (char *)(uintptr_t) "keep";
    if (up)
        assert_true(bus_ask(rig->client, &request, 20, after_timeout, rig) != 0);
}

static void test_timeout(void **state)
{
    (void)state;
    struct rig rig = { .on_state = ask_kept };
    run(&rig, begin_tcp, "up timeout client ");
}

static void reopen(void *arg)
{
    struct rig *rig = arg;
    char endpoint[64];
    (void)snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", rig->port);
    rig_serve(rig, endpoint, true);
}

static void lose_server(struct rig *rig, bool up, bool denied)
{
    assert_false(denied);
    if (up && rig->answered == 0) {
        assert_true(ask_node(rig, "keep", 0) != 0);
        assert_true(ask_node(rig, "close", 5000) != 0);
    } else if (up) {
        assert_true(ask_version(rig, last_answer) != 0);
    } else {
        assert_false(bus_client_up(rig->client));
        assert_true(ask_node(rig, "x", 5000) == 0);
        rig->again = svc_timer_new(rig->svc, reopen, rig);
        svc_timer_at(rig->again, svc_mono_ms() + 50);
    }
}

static void test_server_lost_and_back(void **state)
{
    (void)state;
    struct rig rig = { .on_state = lose_server };
    run(&rig, begin_tcp, "up unavailable unavailable down up client ");
}

static void close_client(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct rig *rig = arg;
    on_answer(arg, body, more, err);
    bus_client_close(rig->client); /* from inside its own callback, with a question open */
    done(rig);
}

static void ask_and_close(struct rig *rig, bool up, bool denied)
{
    (void)denied;
    if (up) {
        assert_true(ask_node(rig, "keep", 0) != 0);
        assert_true(ask_version(rig, close_client) != 0);
    }
}

static void test_close_inside(void **state)
{
    (void)state;
    struct rig rig = { .on_state = ask_and_close };
    run(&rig, begin_tcp, "up client ");
}

static void on_done(void *arg)
{
    done(arg);
}

static void begin_wrong_server_key(struct rig *rig)
{
    char endpoint[64];
    rig_serve(rig, "tcp://127.0.0.1:*", true);
    (void)snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", rig->port);
    rig->server_keys = rig->client_keys;
    rig_connect(rig, endpoint, true);
    rig->again = svc_timer_new(rig->svc, on_done, rig);
    svc_timer_at(rig->again, svc_mono_ms() + 300);
}

static void test_wrong_server_key(void **state)
{
    (void)state;
    struct rig rig = { 0 };
    run(&rig, begin_wrong_server_key, "");
}

/* ---- bad bytes from someone who may connect ---- */

static void raw_send(void *socket, const char *const *frames, const size_t *sizes, int count)
{
    for (int i = 0; i < count; i++)
        assert_true(zmq_send(socket, frames[i], sizes[i], i + 1 < count ? ZMQ_SNDMORE : 0) >= 0);
}

static void *bad_peer(void *arg)
{
    struct rig *rig = arg;
    char endpoint[128];
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_DEALER);
    int none = 0;
    int wait_ms = 5000;
    (void)zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    (void)zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    (void)snprintf(endpoint, sizeof endpoint, "ipc://%s/run/x.sock", rig->dir);
    assert_int_equal(zmq_connect(socket, endpoint), 0);

    uint8_t good[64];
    Swarm__Envelope head = SWARM__ENVELOPE__INIT;
    head.version = 1;
    head.name = (char *)(uintptr_t) "swarm.NodeGetRequest";
    head.seq = 7;
    size_t size = swarm__envelope__pack(&head, good);
    uint64_t seed = 1;
    for (int i = 0; i < 3000; i++) { /* every byte changed somehow, every length cut, one to four frames */
        char bad[64];
        memcpy(bad, good, size);
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        bad[(seed >> 33) % size] ^= (char)(1 << ((seed >> 20) & 7));
        const char *frames[] = { bad, (char *)good, (char *)good, bad };
        size_t sizes[] = { (seed >> 40) % (size + 1), (seed >> 50) % (size + 1), size, size };
        raw_send(socket, frames, sizes, 1 + (int)(seed >> 62));
    }
    head.version = 9;
    head.seq = 4711;
    size = swarm__envelope__pack(&head, good);
    const char *last[] = { (char *)good, "" };
    raw_send(socket, last, (size_t[]) { size, 0 }, 2);
    for (bool found = false; !found;) { /* each question that could be read is answered; ours is the last */
        char answer[2048], body[64];
        int got = zmq_recv(socket, answer, sizeof answer, 0);
        assert_true(got > 0);
        (void)zmq_recv(socket, body, sizeof body, 0);
        Swarm__Envelope *reply = swarm__envelope__unpack(NULL, (size_t)got, (uint8_t *)answer);
        assert_non_null(reply);
        assert_true(reply->code != 0);
        found = reply->seq == 4711 && reply->code == SW_UNSUPPORTED;
        swarm__envelope__free_unpacked(reply, NULL);
    }
    (void)zmq_close(socket);
    (void)zmq_ctx_term(context);
    done(rig);
    return NULL;
}

static void begin_bad(struct rig *rig)
{
    char endpoint[128];
    (void)snprintf(endpoint, sizeof endpoint, "ipc://%s/run/x.sock", rig->dir);
    rig_serve(rig, endpoint, false);
    assert_int_equal(pthread_create(&rig->thread, NULL, bad_peer, rig), 0);
}

static void test_bad_bytes(void **state)
{
    (void)state;
    struct rig rig = { 0 };
    run(&rig, begin_bad, "");
    (void)pthread_join(rig.thread, NULL);
}

/* ---- the client without a loop ---- */

static void *blocking(void *arg)
{
    struct rig *rig = arg;
    char endpoint[64];
    struct bus_sync *sync = NULL;
    struct sw_err err;
    (void)snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", rig->port);
    struct bus_client_spec spec = client_spec(rig, endpoint, true);
    assert_int_equal(bus_sync_open(&spec, &sync, &err), 0);

    void *body = NULL;
    bool more = true;
    Swarm__NodeGetRequest request = SWARM__NODE_GET_REQUEST__INIT;
    request.ref = (char *)(uintptr_t) "stream";
    assert_int_equal(bus_sync_ask(sync, &request, 5000, &body, &more, &err), 0);
    for (int i = 0; i < 3; i++) {
        assert_true(more);
        sw_pb_free(body);
        assert_int_equal(bus_sync_next(sync, 5000, &body, &more, &err), 0);
    }
    assert_false(more);
    sw_pb_free(body);
    request.ref = (char *)(uintptr_t) "fail";
    assert_int_equal(bus_sync_ask(sync, &request, 5000, &body, &more, &err), -SW_NOT_FOUND);
    assert_string_equal(err.text, "no such ? thing");
    request.ref = (char *)(uintptr_t) "keep";
    assert_int_equal(bus_sync_ask(sync, &request, 10, &body, &more, &err), -SW_TIMEOUT);
    request.ref = (char *)(uintptr_t) "close";
    assert_int_equal(bus_sync_ask(sync, &request, 5000, &body, &more, &err), -SW_UNAVAILABLE);
    bus_sync_close(sync);

    struct bus_client_spec nowhere = { .endpoint = "ipc:///nonexistent/x.sock" };
    assert_int_equal(bus_sync_open(&nowhere, &sync, &err), -SW_UNAVAILABLE);
    say(rig, "ok");
    done(rig);
    return NULL;
}

static void begin_blocking(struct rig *rig)
{
    rig_serve(rig, "tcp://127.0.0.1:*", true);
    assert_int_equal(pthread_create(&rig->thread, NULL, blocking, rig), 0);
}

static void test_sync(void **state)
{
    (void)state;
    struct rig rig = { 0 };
    run(&rig, begin_blocking, "ok ");
    (void)pthread_join(rig.thread, NULL);
}

static void *blocking_denied(void *arg)
{
    struct rig *rig = arg;
    char endpoint[64];
    struct bus_sync *sync = NULL;
    struct sw_err err;
    (void)snprintf(endpoint, sizeof endpoint, "tcp://127.0.0.1:%u", rig->port);
    struct bus_client_spec spec = client_spec(rig, endpoint, true);
    say(rig, "%s", bus_sync_open(&spec, &sync, &err) == -SW_DENIED ? "denied" : "no");
    done(rig);
    return NULL;
}

static void begin_blocking_denied(struct rig *rig)
{
    rig->role = BUS_NOBODY;
    rig_serve(rig, "tcp://127.0.0.1:*", true);
    assert_int_equal(pthread_create(&rig->thread, NULL, blocking_denied, rig), 0);
}

static void test_sync_denied(void **state)
{
    (void)state;
    struct rig rig = { 0 };
    run(&rig, begin_blocking_denied, "denied ");
    (void)pthread_join(rig.thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_talk),
        cmocka_unit_test(test_ipc),
        cmocka_unit_test(test_stale_socket_file),
        cmocka_unit_test(test_denied_then_admitted),
        cmocka_unit_test(test_revoked_at_once),
        cmocka_unit_test(test_joiner_rate),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_server_lost_and_back),
        cmocka_unit_test(test_close_inside),
        cmocka_unit_test(test_wrong_server_key),
        cmocka_unit_test(test_bad_bytes),
        cmocka_unit_test(test_sync),
        cmocka_unit_test(test_sync_denied),
        cmocka_unit_test(test_stream_revoked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
