/* A client is a DEALER that lives for one connection: when the connection ends, or the server turns the key away, socket and
 * route are thrown away and made anew after a random, growing delay. So no answer meant for an earlier connection can arrive on
 * a later one, and a server that was gone is not met by everybody at once. */
#include "common/bus/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
/* The keys are our own numbers, counted up: their low bits spread best as they are. */
#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = (unsigned)*(const uint64_t *)(keyptr))
#include <uthash.h>
#include <utlist.h>

#define QUESTIONS_MAX 65536
#define TICK_MS 5 /* time-outs may be told this late, so that many close to each other need one look */
#define BACKOFF_MIN_MS 20
#define BACKOFF_MAX_MS 2000
#define ATTEMPT_MS (WIRE_HANDSHAKE_MS + 1000)
#define STABLE_MS 2000       /* a connection that held this long starts the delays from the beginning */
#define LAST_WORDS_MAX 65536 /* messages read from a connection that has ended */
#define NEVER UINT64_MAX

struct question {
    uint64_t seq;
    uint64_t timeout_ms; /* 0 = none; for streams, between answers */
    uint64_t deadline_ms;
    bus_answer_fn *fn;
    void *arg;
    UT_hash_handle hh;
};

struct bus_client {
    struct bus *bus;
    struct bus_client_spec spec; /* endpoint and keys point to the copies below */
    struct bus_keys keys;
    uint8_t server_key[32];
    struct wire_table table;
    void *socket, *monitor; /* NULL between two attempts */
    struct svc_timer *timer;
    struct question *questions;
    uint64_t last_seq;
    uint64_t due_ms;         /* what the timer is set to */
    uint64_t ask_due_ms;     /* nearest time-out of a question, or earlier */
    uint64_t attempt_due_ms; /* next attempt while there is no socket; end of this attempt while not up */
    uint64_t up_since_ms;
    unsigned attempts; /* since the last stable connection */
    bool up, denied;
    bool told_up, told_denied;
    bool closed;
    unsigned busy;
    struct bus_client *prev, *next;
};

static int on_readable(zloop_t *loop, zmq_pollitem_t *item, void *arg);
static int on_monitor(zloop_t *loop, zmq_pollitem_t *item, void *arg);

static void hold(struct bus_client *client)
{
    client->busy++;
}

static void release(struct bus_client *client)
{
    if (--client->busy != 0 || !client->closed)
        return;
    wire_table_deinit(&client->table);
    free((char *)client->spec.endpoint);
    explicit_bzero(&client->keys, sizeof client->keys);
    free(client);
}

static void rearm(struct bus_client *client)
{
    uint64_t due_ms = client->ask_due_ms < client->attempt_due_ms ? client->ask_due_ms : client->attempt_due_ms;
    if (client->closed || due_ms == client->due_ms)
        return;
    client->due_ms = due_ms;
    if (due_ms == NEVER)
        svc_timer_off(client->timer);
    else
        svc_timer_at(client->timer, due_ms);
}

/* ---- questions ---- */

static void question_free(struct bus_client *client, struct question *question)
{
    HASH_DEL(client->questions, question);
    free(question);
}

static struct question *question_find(struct bus_client *client, uint64_t seq)
{
    struct question *question;
    HASH_FIND(hh, client->questions, &seq, sizeof seq, question);
    return question;
}

static void question_fail(struct bus_client *client, struct question *question, const struct sw_err *err)
{
    bus_answer_fn *fn = question->fn;
    void *arg = question->arg;
    question_free(client, question);
    fn(arg, NULL, false, err);
}

/* Those asked from inside the callbacks are not among them: while not up nothing can be asked. */
static void questions_fail(struct bus_client *client, const struct sw_err *err)
{
    assert(!client->up);
    while (!client->closed && client->questions != NULL)
        question_fail(client, client->questions, err);
    client->ask_due_ms = NEVER;
}

static struct question *question_expired(struct bus_client *client, uint64_t now_ms)
{
    client->ask_due_ms = NEVER;
    for (struct question *q = client->questions; q != NULL; q = q->hh.next) {
        if (q->timeout_ms == 0)
            continue;
        if (q->deadline_ms <= now_ms)
            return q;
        if (q->deadline_ms + TICK_MS < client->ask_due_ms)
            client->ask_due_ms = q->deadline_ms + TICK_MS;
    }
    return NULL;
}

static void questions_expire(struct bus_client *client, uint64_t now_ms)
{
    struct question *question;
    while (!client->closed && (question = question_expired(client, now_ms)) != NULL) {
        struct sw_err err;
        (void)sw_fail(&err, SW_TIMEOUT, "no answer from %s within %llu ms", client->spec.endpoint,
                      (unsigned long long)question->timeout_ms);
        question_fail(client, question, &err);
    }
}

/* ---- the connection ---- */

static void tell_state(struct bus_client *client)
{
    if (client->closed || (client->told_up == client->up && client->told_denied == client->denied))
        return;
    client->told_up = client->up;
    client->told_denied = client->denied;
    if (client->spec.state != NULL)
        client->spec.state(client->spec.self, client->up, client->denied);
}

static void drop_sockets(struct bus_client *client)
{
    void *sockets[] = { client->monitor, client->socket };
    client->monitor = NULL;
    client->socket = NULL;
    for (size_t i = 0; i < 2; i++)
        if (sockets[i] != NULL) {
            bus_unwatch(client->bus, sockets[i]);
            wire_close(sockets[i]);
        }
}

static void schedule(struct bus_client *client)
{
    uint64_t spread_ms = client->attempts < 7 ? (uint64_t)BACKOFF_MIN_MS << client->attempts : BACKOFF_MAX_MS;
    if (client->denied)
        spread_ms = BACKOFF_MAX_MS;
    else
        client->attempts++;
    uint64_t floor_ms = client->denied ? BACKOFF_MAX_MS / 2 : BACKOFF_MIN_MS;
    client->attempt_due_ms = svc_mono_ms() + floor_ms + svc_random_u64() % spread_ms;
}

/* The connection is over, or never came to be. */
static void lose(struct bus_client *client, bool denied)
{
    struct sw_err err;
    bool was_up = client->up;
    client->up = false;
    client->denied = denied;
    drop_sockets(client);
    if (was_up && svc_mono_ms() - client->up_since_ms >= STABLE_MS)
        client->attempts = 0;
    schedule(client);
    (void)sw_fail(&err, SW_UNAVAILABLE, "connection to %s lost", client->spec.endpoint);
    questions_fail(client, &err);
    tell_state(client);
    rearm(client);
}

static int attempt(struct bus_client *client, struct sw_err *err)
{
    int never = -1;
    client->socket = wire_socket(client->bus->context, ZMQ_DEALER, client->table.size_max, err);
    if (client->socket == NULL)
        return -(int)err->code;
    if (wire_socket_client(client->socket, &client->spec, err) < 0) {
        wire_close(SW_TAKE(client->socket));
        return -(int)err->code;
    }
    (void)zmq_setsockopt(client->socket, ZMQ_RECONNECT_IVL, &never, sizeof never);
    client->monitor = wire_monitor(client->bus->context, client->socket, err);
    if (client->monitor == NULL) {
        wire_close(SW_TAKE(client->socket));
        return -(int)err->code;
    }
    bus_watch(client->bus, client->socket, on_readable, client);
    bus_watch(client->bus, client->monitor, on_monitor, client);
    if (zmq_connect(client->socket, client->spec.endpoint) != 0) {
        (void)sw_fail(err, SW_INVALID, "connect to '%s': %s", client->spec.endpoint, zmq_strerror(errno));
        drop_sockets(client);
        return -SW_INVALID;
    }
    client->attempt_due_ms = svc_mono_ms() + ATTEMPT_MS;
    return 0;
}

static void on_timer(void *arg)
{
    struct bus_client *client = arg;
    struct sw_err err;
    uint64_t now_ms = svc_mono_ms();
    hold(client);
    client->due_ms = NEVER;
    if (client->ask_due_ms <= now_ms)
        questions_expire(client, now_ms);
    if (!client->closed && client->attempt_due_ms <= now_ms) {
        if (client->socket != NULL)
            lose(client, false);
        else if (attempt(client, &err) < 0)
            schedule(client);
    }
    rearm(client);
    release(client);
}

static void connected(struct bus_client *client)
{
    client->up = true;
    client->denied = false;
    client->up_since_ms = svc_mono_ms();
    client->attempt_due_ms = NEVER;
    rearm(client);
    tell_state(client);
}

/* ---- messages ---- */

static void take_event(struct bus_client *client, const char *name, zmq_msg_t *frame, struct sw_err *err)
{
    SW_AUTO(sw_pb_free) void *body = NULL;
    const struct bus_spec *spec = NULL;
    struct bus_sender nobody = { .role = BUS_NOBODY };
    if (wire_check(&client->table, 0, name, zmq_msg_data(frame), zmq_msg_size(frame), &spec, &body, err) < 0)
        return;
    if (spec->handle == NULL)
        (void)sw_fail(err, SW_DENIED, "message '%s' is no event here", name);
    else if (spec->handle(client->spec.self, &nobody, body, err) < 0 && err->code == SW_OK)
        (void)sw_fail(err, SW_IO, "event '%s' failed", name);
}

/* Empty needs no row: it is the plain "done". */
static void *answer_body(struct bus_client *client, const Swarm__Envelope *head, zmq_msg_t *frame, struct sw_err *err)
{
    const struct bus_spec *spec = NULL;
    void *body = NULL;
    if (head->code != 0)
        wire_head_error(head, err);
    else if (strcmp(head->name, swarm__empty__descriptor.name) == 0)
        body = sw_pb_unpack(&swarm__empty__descriptor, zmq_msg_data(frame), zmq_msg_size(frame), 0, err);
    else
        (void)wire_check(&client->table, 0, head->name, zmq_msg_data(frame), zmq_msg_size(frame), &spec, &body, err);
    return body;
}

static void take_answer(struct bus_client *client, const Swarm__Envelope *head, zmq_msg_t *frame)
{
    struct question *question = question_find(client, head->seq);
    if (question == NULL) /* forgotten, or timed out */
        return;
    struct sw_err err = { 0 };
    SW_AUTO(sw_pb_free) void *body = answer_body(client, head, frame, &err);
    if (body == NULL) {
        question_fail(client, question, &err);
        return;
    }
    bus_answer_fn *fn = question->fn;
    void *arg = question->arg;
    bool more = head->more;
    if (more)
        question->deadline_ms = svc_mono_ms() + question->timeout_ms;
    else
        question_free(client, question);
    fn(arg, body, more, NULL);
}

static void take(struct bus_client *client, struct wire_in *in)
{
    struct sw_err err = { 0 };
    SW_AUTO(sw_pb_free) Swarm__Envelope *head = wire_head(zmq_msg_data(&in->frames[0]), zmq_msg_size(&in->frames[0]), &err);
    (*client->bus->received)++;
    if (head != NULL && (in->count != 2 || head->version != WIRE_VERSION))
        (void)sw_fail(&err, SW_CORRUPT, "message '%.64s' of version %u with %u frames", head->name, head->version, in->count);
    else if (head != NULL && head->seq == 0)
        take_event(client, head->name, &in->frames[1], &err);
    else if (head != NULL)
        take_answer(client, head, &in->frames[1]);
    if (err.code != SW_OK)
        bus_refused(client->bus, &err, client->spec.endpoint);
}

static void drain(struct bus_client *client, unsigned most)
{
    struct wire_in in;
    for (unsigned i = 0; i < most && client->socket != NULL && wire_recv(client->socket, &in); i++) {
        take(client, &in);
        wire_in_deinit(&in);
    }
}

static int on_readable(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    struct bus_client *client = arg;
    (void)loop;
    (void)item;
    hold(client);
    drain(client, BUS_TURN_MAX);
    release(client);
    return 0;
}

static int on_monitor(zloop_t *loop, zmq_pollitem_t *item, void *arg)
{
    struct bus_client *client = arg;
    (void)loop;
    (void)item;
    hold(client);
    unsigned event;
    while (client->monitor != NULL && (event = wire_monitor_next(client->monitor)) != 0) {
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            connected(client);
            continue;
        }
        if (client->up) /* answers that came before the end still count */
            drain(client, LAST_WORDS_MAX);
        if (!client->closed)
            lose(client, event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
    }
    release(client);
    return 0;
}

/* ---- interface ---- */

int bus_client_open(struct bus *bus, const struct bus_client_spec *spec, struct bus_client **ret_client, struct sw_err *err)
{
    struct bus_client *client = sw_alloc0(sizeof *client);
    client->bus = bus;
    client->spec = *spec;
    client->spec.endpoint = sw_strdup(spec->endpoint);
    if (spec->keys != NULL) {
        client->keys = *spec->keys;
        client->spec.keys = &client->keys;
    }
    if (spec->server_key != NULL) {
        memcpy(client->server_key, spec->server_key, 32);
        client->spec.server_key = client->server_key;
    }
    client->due_ms = client->ask_due_ms = client->attempt_due_ms = NEVER;
    wire_table_init(&client->table, spec->specs, spec->spec_count);
    client->timer = svc_timer_new(bus->svc, on_timer, client);
    DL_APPEND(bus->clients, client);
    if (attempt(client, err) < 0) {
        bus_client_close(client);
        return -(int)err->code;
    }
    rearm(client);
    *ret_client = client;
    return 0;
}

void bus_client_close(struct bus_client *client)
{
    if (client == NULL || client->closed)
        return;
    client->closed = true;
    client->up = false;
    drop_sockets(client);
    svc_timer_free(client->timer);
    DL_DELETE(client->bus->clients, client);
    while (client->questions != NULL)
        question_free(client, client->questions);
    hold(client);
    release(client);
}

bool bus_client_up(const struct bus_client *client)
{
    return client->up;
}

static int client_send(struct bus_client *client, uint64_t seq, const void *body)
{
    struct wire_out out = { .seq = seq, .body = body };
    if (!client->up)
        return -SW_UNAVAILABLE;
    int rc = wire_send(client->socket, &out);
    if (rc == 0)
        (*client->bus->sent)++;
    return rc;
}

uint64_t bus_ask(struct bus_client *client, const void *body, uint64_t timeout_ms, bus_answer_fn *fn, void *arg)
{
    if (HASH_COUNT(client->questions) >= QUESTIONS_MAX || client_send(client, client->last_seq + 1, body) != 0)
        return 0;
    struct question *question = sw_alloc0(sizeof *question);
    question->seq = ++client->last_seq;
    question->timeout_ms = timeout_ms;
    question->deadline_ms = svc_mono_ms() + timeout_ms;
    question->fn = fn;
    question->arg = arg;
    HASH_ADD(hh, client->questions, seq, sizeof question->seq, question);
    if (timeout_ms != 0 && question->deadline_ms < client->ask_due_ms) {
        client->ask_due_ms = question->deadline_ms;
        rearm(client);
    }
    return question->seq;
}

void bus_forget(struct bus_client *client, uint64_t seq)
{
    struct question *question = question_find(client, seq);
    if (question != NULL)
        question_free(client, question);
}

int bus_tell(struct bus_client *client, const void *body)
{
    return client_send(client, 0, body);
}
