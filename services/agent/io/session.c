#include "services/agent/io/agent.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 10000u
#define REPORT_MS 20000u
#define GOODBYE_MS 5000u
#define BACKOFF_MAX_MS 8000u
#define ELSEWHERE_MS 3000u /* not connected for so long: try another manager */
#define BEAT_MIN_MS 100u
#define WARN_MIN_MS 10000u /* between two warnings that nobody answers: doubled each time */
#define WARN_MAX_MS 300000u

struct session {
    struct agent *agent;
    struct bus_client *client;
    struct bus_keys keys;
    size_t manager;          /* index into identity->managers that the client is for */
    struct svc_timer *beat;  /* heartbeats of an open session */
    struct svc_timer *again; /* next request, or next manager */
    char *id;                /* NULL while not open */
    bool asking;
    uint64_t beat_ms;
    uint64_t backoff_ms;
    uint64_t warn_at_ms; /* not before: the next warning that no dispatcher answers */
    uint64_t warn_every_ms;
    void (*goodbye)(void *arg);
    void *goodbye_arg;
};

static void request(struct session *session);

static void drop(struct session *session)
{
    if (session->id == NULL)
        return;
    free(session->id);
    session->id = NULL;
    svc_timer_off(session->beat);
    relay_drop_all(session->agent->relay);
    agent_step(session->agent, (struct worker_event) { .type = WORKER_EV_SESSION_DOWN });
}

/* b := min(100 ms + 2b, 8 s); the delay is uniform in [0, b). */
static void later(struct session *session)
{
    uint64_t b = 100 + 2 * session->backoff_ms;
    session->backoff_ms = b < BACKOFF_MAX_MS ? b : BACKOFF_MAX_MS;
    svc_timer_at(session->again, svc_mono_ms() + svc_random_u64() % session->backoff_ms);
}

static void lost(struct session *session, const char *why)
{
    if (session->id != NULL)
        svc_log(SVC_WARN, "session lost", "err=\"%s\"", why);
    drop(session);
    if (bus_client_up(session->client))
        later(session);
}

/* ---- managers ---- */
static bool managers_differ(const Swarm__NodeIdentity *identity, Swarm__ManagerAddress *const *managers, size_t count)
{
    if (identity->n_managers != count)
        return true;
    for (size_t i = 0; i < count; i++)
        if (!sw_pb_equal(identity->managers[i], managers[i]))
            return true;
    return false;
}

/* The node remembers where managers are, so that it finds them after any restart. */
static void managers_take(struct session *session, Swarm__ManagerAddress *const *managers, size_t count)
{
    Swarm__NodeIdentity *identity = session->agent->identity;
    if (count == 0 || !managers_differ(identity, managers, count))
        return;
    const char *current = session->manager < identity->n_managers ? identity->managers[session->manager]->node_id : "";
    Swarm__ManagerAddress **list = sw_alloc0(count * sizeof *list);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        list[i] = sw_pb_clone(managers[i]);
        at = strcmp(list[i]->node_id, current) == 0 ? i : at;
    }
    for (size_t i = 0; i < identity->n_managers; i++)
        sw_pb_free(identity->managers[i]);
    free(identity->managers);
    identity->managers = list;
    identity->n_managers = count;
    session->manager = at;
    struct sw_err err;
    if (identity_node_save(svc_state_dir(session->agent->svc), identity, &err) != 0)
        svc_log(SVC_WARN, "the managers' addresses were not written down", "err=\"%s\"", err.text);
}

/* ---- heartbeats ---- */
static void on_beat_answer(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct session *session = arg;
    (void)more;
    if (body == NULL) {
        lost(session, err->text);
        return;
    }
    if (((const ProtobufCMessage *)body)->descriptor != &swarm__heartbeat_reply__descriptor)
        return;
    uint64_t ms = (uint64_t)(((const Swarm__HeartbeatReply *)body)->heartbeat_ns / 1000000);
    session->beat_ms = ms < BEAT_MIN_MS ? BEAT_MIN_MS : ms;
}

static void on_beat(void *arg)
{
    struct session *session = arg;
    Swarm__Heartbeat beat = SWARM__HEARTBEAT__INIT;
    beat.session = session->id;
    svc_timer_at(session->beat, svc_mono_ms() + session->beat_ms);
    if (bus_ask(session->client, &beat, session->beat_ms * 2 + 1000, on_beat_answer, session) == 0)
        lost(session, "the heartbeat could not be sent");
}

/* ---- opening ---- */
static void on_session(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct session *session = arg;
    (void)more;
    session->asking = false;
    if (body == NULL || ((const ProtobufCMessage *)body)->descriptor != &swarm__session_reply__descriptor) {
        svc_log(SVC_WARN, "no session", "err=\"%s\"", err != NULL ? err->text : "unknown answer");
        if (bus_client_up(session->client))
            later(session);
        return;
    }
    const Swarm__SessionReply *reply = body;
    uint64_t ms = reply->heartbeat_ns > 0 ? (uint64_t)(reply->heartbeat_ns / 1000000) : 1000;
    session->beat_ms = ms < BEAT_MIN_MS ? BEAT_MIN_MS : ms;
    session->backoff_ms = 0;
    session->id = sw_strdup(reply->session);
    svc_log(SVC_INFO, "session open", "heartbeat_ms=%llu", (unsigned long long)session->beat_ms);
    managers_take(session, reply->managers, reply->n_managers);
    svc_timer_at(session->beat, svc_mono_ms() + session->beat_ms);
    agent_step(session->agent, (struct worker_event) { .type = WORKER_EV_SESSION_UP, .text = session->id });
}

static void request(struct session *session)
{
    if (session->asking || session->id != NULL || !bus_client_up(session->client))
        return;
    Swarm__SessionRequest ask = SWARM__SESSION_REQUEST__INIT;
    ask.description = session->agent->description;
    ask.node_address = session->agent->identity->node_address;
    session->asking = bus_ask(session->client, &ask, ANSWER_MS, on_session, session) != 0;
    if (!session->asking)
        later(session);
}

/* A node that reaches nobody says so, but not every ELSEWHERE_MS. */
static void warn_unreached(struct session *session)
{
    uint64_t now = svc_mono_ms();
    if (now < session->warn_at_ms)
        return;
    uint64_t every = session->warn_every_ms * 2;
    session->warn_every_ms = every < WARN_MIN_MS ? WARN_MIN_MS : every < WARN_MAX_MS ? every : WARN_MAX_MS;
    session->warn_at_ms = now + session->warn_every_ms;
    const Swarm__NodeIdentity *identity = session->agent->identity;
    svc_log(SVC_WARN, "no dispatcher answers: containers go on, but nothing new reaches this node",
            "address=%s managers=%zu next_s=%llu", identity->managers[session->manager]->dispatcher, identity->n_managers,
            (unsigned long long)(session->warn_every_ms / 1000));
}

static int connect_manager(struct session *session, struct sw_err *err);

static void on_again(void *arg)
{
    struct session *session = arg;
    struct sw_err err;
    if (bus_client_up(session->client)) {
        request(session);
        return;
    }
    size_t count = session->agent->identity->n_managers;
    warn_unreached(session);
    svc_timer_at(session->again, svc_mono_ms() + ELSEWHERE_MS);
    if (count < 2)
        return; /* the client goes on trying the only one */
    session->manager = (session->manager + 1 + svc_random_u64() % (count - 1)) % count;
    bus_client_close(session->client);
    session->client = NULL;
    session->asking = false;
    if (connect_manager(session, &err) != 0)
        svc_log(SVC_ERROR, "cannot connect to a dispatcher", "err=\"%s\"", err.text);
}

static void on_state(void *self, bool up, bool denied)
{
    struct session *session = self;
    if (up) {
        session->backoff_ms = 0;
        session->warn_at_ms = session->warn_every_ms = 0;
        request(session);
        return;
    }
    svc_log(SVC_WARN, denied ? "the dispatcher does not know this node's key" : "no connection to the dispatcher", NULL);
    session->asking = false;
    drop(session);
    svc_timer_at(session->again, svc_mono_ms() + ELSEWHERE_MS);
}

/* ---- what the dispatcher sends by itself ---- */
static int on_assignments(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct session *session = self;
    (void)sender;
    (void)err;
    agent_step(session->agent, (struct worker_event) { .type = WORKER_EV_ASSIGNMENTS, .assignments = body });
    return 0;
}

static int on_news(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    struct session *session = self;
    const Swarm__SessionNews *news = body;
    (void)sender;
    (void)err;
    if (session->id == NULL || strcmp(session->id, news->session) != 0)
        return 0;
    if (news->has_heartbeat_ns && news->heartbeat_ns > 0) {
        uint64_t ms = (uint64_t)(news->heartbeat_ns / 1000000);
        session->beat_ms = ms < BEAT_MIN_MS ? BEAT_MIN_MS : ms;
        svc_timer_at(session->beat, svc_mono_ms() + session->beat_ms);
    }
    managers_take(session, news->managers, news->n_managers);
    return 0;
}

static int on_log_subscribe(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    (void)sender;
    (void)err;
    relay_subscribe(((struct session *)self)->agent->relay, body);
    return 0;
}

static int on_log_unsubscribe(void *self, const struct bus_sender *sender, const void *body, struct sw_err *err)
{
    (void)sender;
    (void)err;
    relay_unsubscribe(((struct session *)self)->agent->relay, ((const Swarm__LogUnsubscribe *)body)->subscription);
    return 0;
}

static const struct bus_spec specs[] = {
    { &swarm__session_reply__descriptor, 0, 1u << 20, NULL },
    { &swarm__heartbeat_reply__descriptor, 0, 64, NULL },
    { &swarm__assignments__descriptor, 0, BUS_SIZE_MAX, on_assignments },
    { &swarm__session_news__descriptor, 0, 1u << 20, on_news },
    { &swarm__log_subscribe__descriptor, 0, 1u << 20, on_log_subscribe },
    { &swarm__log_unsubscribe__descriptor, 0, 256, on_log_unsubscribe },
};

static int connect_manager(struct session *session, struct sw_err *err)
{
    const Swarm__NodeIdentity *identity = session->agent->identity;
    const Swarm__ManagerAddress *manager = identity->managers[session->manager];
    if (manager->curve_key.len != IDENTITY_KEY_SIZE)
        return sw_fail(err, SW_CORRUPT, "the key of manager %s has the wrong size", manager->node_id);
    const struct bus_client_spec spec = {
        .endpoint = manager->dispatcher,
        .keys = &session->keys,
        .server_key = manager->curve_key.data,
        .specs = specs,
        .spec_count = sizeof specs / sizeof specs[0],
        .self = session,
        .state = on_state,
    };
    return bus_client_open(session->agent->bus, &spec, &session->client, err);
}

/* A manager's own agent prefers the dispatcher beside it. */
static size_t manager_first(const Swarm__NodeIdentity *identity)
{
    for (size_t i = 0; i < identity->n_managers; i++)
        if (strcmp(identity->managers[i]->node_id, identity->node_id) == 0)
            return i;
    return svc_random_u64() % identity->n_managers;
}

int session_open(struct agent *agent, struct session **ret_session, struct sw_err *err)
{
    const Swarm__NodeIdentity *identity = agent->identity;
    if (identity->n_managers == 0)
        return sw_fail(err, SW_CORRUPT, "the identity file names no manager");
    if (identity->curve_public.len != IDENTITY_KEY_SIZE || identity->curve_secret.len != IDENTITY_KEY_SIZE)
        return sw_fail(err, SW_CORRUPT, "the identity file has a key of the wrong size");
    struct session *session = sw_alloc0(sizeof *session);
    session->agent = agent;
    memcpy(session->keys.public_key, identity->curve_public.data, IDENTITY_KEY_SIZE);
    memcpy(session->keys.secret_key, identity->curve_secret.data, IDENTITY_KEY_SIZE);
    session->beat = svc_timer_new(agent->svc, on_beat, session);
    session->again = svc_timer_new(agent->svc, on_again, session);
    session->manager = manager_first(identity);
    if (connect_manager(session, err) != 0) {
        session_close(session);
        return -(int)err->code;
    }
    svc_timer_at(session->again, svc_mono_ms() + ELSEWHERE_MS);
    *ret_session = session;
    return 0;
}

void session_close(struct session *session)
{
    if (session == NULL)
        return;
    bus_client_close(session->client);
    svc_timer_free(session->beat);
    svc_timer_free(session->again);
    sodium_memzero(&session->keys, sizeof session->keys);
    free(session->id);
    free(session);
}

bool session_is_open(const struct session *session)
{
    return session != NULL && session->id != NULL;
}

struct bus_client *session_client(struct session *session)
{
    return session_is_open(session) ? session->client : NULL;
}

static void on_reported(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct session *session = arg;
    (void)more;
    if (body == NULL)
        svc_log(SVC_WARN, "statuses were not committed", "err=\"%s\"", err->text);
    agent_step(session->agent, (struct worker_event) { .type = WORKER_EV_REPORTED, .ok = body != NULL });
    if (body == NULL && err->code == SW_PRECONDITION)
        lost(session, err->text);
}

bool session_report(struct session *session, const Swarm__TaskReports *reports)
{
    return session_is_open(session) && bus_ask(session->client, reports, REPORT_MS, on_reported, session) != 0;
}

void session_renew(struct session *session)
{
    svc_log(SVC_WARN, "assignments were missed: opening a new session", NULL);
    free(session->id);
    session->id = NULL;
    svc_timer_off(session->beat);
    relay_drop_all(session->agent->relay);
    later(session);
}

static void on_goodbye(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct session *session = arg;
    (void)more;
    if (body == NULL)
        svc_log(SVC_WARN, "the cluster was not told of the leave", "err=\"%s\"", err->text);
    session->goodbye(session->goodbye_arg);
}

void session_goodbye(struct session *session, void (*done)(void *arg), void *arg)
{
    Swarm__Goodbye goodbye = SWARM__GOODBYE__INIT;
    if (session_is_open(session)) {
        goodbye.session = session->id;
        session->goodbye = done;
        session->goodbye_arg = arg;
        if (bus_ask(session->client, &goodbye, GOODBYE_MS, on_goodbye, session) != 0) {
            svc_timer_off(session->beat);
            return;
        }
    }
    done(arg);
}
