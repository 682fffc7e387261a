/* Golden traces of the dispatcher's core: a scenario, and the exact text of its events and effects.
 * Usage: test-dispatch DIR; with UPDATE_TRACES=1 in the environment the traces are rewritten. */
#include "common/base/tests/golden.h"
#include "services/dispatcher/core/dispatch.h"
#include "common/base/names.h"
#include "common/store/tests/objects.h"

static const char *trace_dir;

struct scene {
    struct dispatch *d;
    uint64_t now_ms;
    uint64_t version;
    uint64_t deadline_ms;
    struct sw_buf out;
    struct sw_buf batch; /* the last commit, encoded */
    char session[64];    /* of the last SessionReply */
    unsigned asks;
};

static struct dispatch_peer peer_make(const char *name)
{
    struct dispatch_peer peer = { { 0 } };
    (void)snprintf((char *)peer.opaque, sizeof peer.opaque, "%s", name);
    return peer;
}

/* ---- printing ---- */
static void print_assignments(struct scene *s, const Swarm__Assignments *a)
{
    sw_buf_addf(&s->out, "Assignments seq=%llu%s%s", (unsigned long long)a->sequence, a->complete ? " complete" : "",
                a->more ? " more" : "");
    for (size_t i = 0; i < a->n_items && i < 4; i++) {
        const Swarm__Task *task = a->items[i]->task;
        bool remove = a->items[i]->action == SWARM__ASSIGNMENT_ACTION__ASSIGN_REMOVE;
        sw_buf_addf(&s->out, " %c%s", remove ? '-' : '+', task->id);
        if (!remove)
            sw_buf_addf(&s->out, "(%s, wanted %s)", sw_task_state_name(task->status->state),
                        sw_task_state_name(task->desired_state));
    }
    if (a->n_items > 4)
        sw_buf_addf(&s->out, " ... %zu items", a->n_items);
}

static void print_batch(struct scene *s, const Swarm__StoreBatch *batch)
{
    sw_buf_reset(&s->batch);
    sw_pb_pack(batch, &s->batch);
    sw_buf_addf(&s->out, "StoreBatch term=%llu", (unsigned long long)batch->term);
    for (size_t i = 0; i < batch->n_txns; i++) {
        const Swarm__StoreAction *action = batch->txns[i]->actions[0];
        sw_buf_addf(&s->out, "\n        %s ", action->id);
        void *record =
            sw_pb_unpack(store_table_of(action->table)->type, action->record.data, action->record.len, STORE_RECORD_MAX, NULL);
        assert_non_null(record);
        if (action->kind == SWARM__ACTION_KIND__ACTION_TASK_STATUS) {
            const Swarm__TaskStatus *status = ((const Swarm__Task *)record)->status;
            sw_buf_addf(&s->out, "task status %s err='%s' by=%s", sw_task_state_name(status->state),
                        status->err ? status->err : "", status->applied_by);
        } else {
            const Swarm__Node *node = record;
            sw_buf_addf(&s->out, "node status %s '%s' addr=%s%s", sw_node_state_name(node->status->state), node->status->message,
                        node->status->addr ? node->status->addr : "-", node->description != NULL ? " with description" : "");
        }
        sw_pb_free(record);
    }
}

static void print_body(struct scene *s, const void *body)
{
    const ProtobufCMessageDescriptor *type = ((const ProtobufCMessage *)body)->descriptor;
    if (type == &swarm__assignments__descriptor) {
        print_assignments(s, body);
    } else if (type == &swarm__store_batch__descriptor) {
        print_batch(s, body);
    } else if (type == &swarm__session_reply__descriptor) {
        const Swarm__SessionReply *reply = body;
        (void)snprintf(s->session, sizeof s->session, "%s", reply->session);
        sw_buf_addf(&s->out, "SessionReply node=%s heartbeat=%lldms managers=%zu", reply->node->id,
                    (long long)(reply->heartbeat_ns / 1000000), reply->n_managers);
    } else if (type == &swarm__session_news__descriptor) {
        const Swarm__SessionNews *news = body;
        sw_buf_addf(&s->out, "SessionNews%s heartbeat=%lldms managers=%zu", news->node != NULL ? " node" : "",
                    (long long)(news->heartbeat_ns / 1000000), news->n_managers);
    } else if (type == &swarm__log_message__descriptor) {
        const Swarm__LogMessage *log = body;
        sw_buf_addf(&s->out, "LogMessage %llu task=%s node=%s entries=%zu%s%s", (unsigned long long)log->subscription,
                    log->task_id, log->node_id != NULL ? log->node_id : "-", log->n_entries, log->end ? " end: " : "",
                    log->error != NULL ? log->error : "");
    } else if (type == &swarm__log_subscribe__descriptor) {
        const Swarm__LogSubscribe *log = body;
        sw_buf_addf(&s->out, "LogSubscribe %llu", (unsigned long long)log->subscription);
        for (size_t i = 0; i < log->n_task_ids; i++)
            sw_buf_addf(&s->out, " %s", log->task_ids[i]);
    } else if (type == &swarm__heartbeat_reply__descriptor) {
        sw_buf_addf(&s->out, "HeartbeatReply %lldms", (long long)(((const Swarm__HeartbeatReply *)body)->heartbeat_ns / 1000000));
    } else {
        sw_buf_adds(&s->out, type->short_name);
    }
}

static void print_effect(struct scene *s, const struct dispatch_effect *effect)
{
    static const char *const words[] = { "reply", "refuse", "send", "commit", "log-up", "note" };
    sw_buf_addf(&s->out, "    %s ", words[effect->type]);
    if (effect->peer != NULL)
        sw_buf_addf(&s->out, "%s: ", (const char *)effect->peer->opaque);
    if (effect->type == DISPATCH_NOTE)
        sw_buf_addf(&s->out, "%s: ", effect->node_id);
    if (effect->text != NULL)
        sw_buf_addf(&s->out, "%s%s%s", effect->text, effect->code != 0 ? " " : "",
                    effect->code != 0 ? sw_code_name((int)effect->code) : "");
    if (effect->message != NULL) {
        /* what is sent must be whole: it is packed and parsed as a peer would */
        SW_AUTO_BUF buf = { 0 };
        sw_pb_pack(effect->message, &buf);
        void *copy = sw_pb_unpack(((const ProtobufCMessage *)effect->message)->descriptor, buf.data, buf.len, 1u << 24, NULL);
        assert_non_null(copy);
        print_body(s, copy);
        sw_pb_free(copy);
    }
    sw_buf_adds(&s->out, "\n");
}

/* ---- feeding ---- */
static void step(struct scene *s, const char *what, struct dispatch_event event)
{
    struct dispatch_update update;
    event.now_ms = s->now_ms;
    event.wall_ns = INT64_C(1700000000000000000) + (int64_t)s->now_ms * 1000000;
    sw_buf_addf(&s->out, "%6llums %s\n", (unsigned long long)s->now_ms, what);
    dispatch_step(s->d, &event, &update);
    s->deadline_ms = update.deadline_ms;
    for (size_t i = 0; i < update.count; i++)
        print_effect(s, &update.effects[i]);
}

static void ask(struct scene *s, enum dispatch_event_type type, const char *node, const void *body, const char *what)
{
    SW_AUTO(sw_free) char *name = sw_strf("%s#%u", node, ++s->asks);
    SW_AUTO(sw_free) char *line = sw_strf("%s from %s", what, name);
    struct dispatch_peer peer = peer_make(name);
    step(s, line, (struct dispatch_event) { .type = type, .node_id = node, .peer = &peer, .body = body });
}

static void tick(struct scene *s)
{
    assert_true(s->deadline_ms != UINT64_MAX);
    if (s->deadline_ms > s->now_ms)
        s->now_ms = s->deadline_ms;
    step(s, "tick", (struct dispatch_event) { .type = DISPATCH_EV_TICK });
}

static Swarm__Node *node_new(const char *id, Swarm__NodeState state)
{
    Swarm__Node *node = sw_alloc0(sizeof *node);
    swarm__node__init(node);
    node->id = sw_strdup(id);
    node->meta = sw_alloc0(sizeof *node->meta);
    swarm__meta__init(node->meta);
    node->spec = sw_alloc0(sizeof *node->spec);
    swarm__node_spec__init(node->spec);
    node->status = sw_alloc0(sizeof *node->status);
    swarm__node_status__init(node->status);
    node->status->has_state = true;
    node->status->state = state;
    node->status->has_since_ns = true;
    node->status->since_ns = INT64_C(1700000000000000000);
    return node;
}

static Swarm__Task *task_new(const char *id, const char *node_id, Swarm__TaskState state, Swarm__TaskState desired)
{
    Swarm__Task *task = test_task(id, "svc", 1, node_id);
    task->desired_state = desired;
    task->status->state = state;
    return task;
}

static Swarm__Cluster *cluster_new(void)
{
    Swarm__Cluster *cluster = sw_alloc0(sizeof *cluster);
    swarm__cluster__init(cluster);
    cluster->id = sw_strdup("cluster");
    cluster->meta = sw_alloc0(sizeof *cluster->meta);
    swarm__meta__init(cluster->meta);
    cluster->spec = sw_alloc0(sizeof *cluster->spec);
    swarm__cluster_spec__init(cluster->spec);
    cluster->root_key = sw_pb_bytes("0123456789abcdef0123456789abcdef", 32);
    return cluster;
}

/* Takes the objects, NULL-terminated pairs of table and object follow. */
static void snapshot(struct scene *s, bool leader, ...)
{
    Swarm__FeedSnapshot chunk = SWARM__FEED_SNAPSHOT__INIT;
    Swarm__FeedObject objects[16], *list[16];
    va_list args;
    va_start(args, leader);
    for (int table = va_arg(args, int); table >= 0; table = va_arg(args, int)) {
        void *object = va_arg(args, void *);
        size_t i = chunk.n_objects++;
        SW_AUTO_BUF buf = { 0 };
        sw_pb_pack(object, &buf);
        sw_pb_free(object);
        swarm__feed_object__init(&objects[i]);
        objects[i].table = (Swarm__Table)table;
        objects[i].record = sw_pb_bytes(buf.data, buf.len);
        list[i] = &objects[i];
    }
    va_end(args);
    chunk.version = ++s->version;
    chunk.term = 3;
    chunk.leader = leader;
    chunk.done = true;
    chunk.objects = list;
    step(s, leader ? "snapshot, leader" : "snapshot, not leader",
         (struct dispatch_event) { .type = DISPATCH_EV_SNAPSHOT, .body = &chunk });
    for (size_t i = 0; i < chunk.n_objects; i++)
        free(objects[i].record.data);
}

static void change(struct scene *s, const char *what, Swarm__Table table, const char *id, void *object)
{
    SW_AUTO_BUF buf = { 0 };
    Swarm__FeedChange row = SWARM__FEED_CHANGE__INIT, *list[] = { &row };
    row.table = table;
    row.id = (char *)(uintptr_t)id;
    row.kind = object != NULL ? SWARM__ACTION_KIND__ACTION_UPDATE : SWARM__ACTION_KIND__ACTION_REMOVE;
    if (object != NULL) {
        sw_pb_pack(object, &buf);
        sw_pb_free(object);
        row.has_record = true;
        row.record.data = (uint8_t *)buf.data;
        row.record.len = buf.len;
    }
    Swarm__FeedChanges changes = SWARM__FEED_CHANGES__INIT;
    changes.version = ++s->version;
    changes.term = 3;
    changes.leader = true;
    changes.changes = list;
    changes.n_changes = 1;
    step(s, what, (struct dispatch_event) { .type = DISPATCH_EV_CHANGES, .body = &changes });
}

static void put_task(struct scene *s, const char *id, const char *node, Swarm__TaskState state, Swarm__TaskState desired)
{
    SW_AUTO(sw_free)
    char *what = sw_strf("feed: task %s on %s %s, wanted %s", id, node, sw_task_state_name(state), sw_task_state_name(desired));
    change(s, what, SWARM__TABLE__TABLE_TASK, id, task_new(id, node, state, desired));
}

/* manager-raft's part: the batch is applied, its changes come by the feed, then the answer. */
static void committed(struct scene *s)
{
    SW_AUTO(sw_pb_free)
    Swarm__StoreBatch *batch = sw_pb_unpack(&swarm__store_batch__descriptor, s->batch.data, s->batch.len, 1u << 24, NULL);
    assert_non_null(batch);
    for (size_t i = 0; i < batch->n_txns; i++) {
        const Swarm__StoreAction *action = batch->txns[i]->actions[0];
        const void *stored = mirror_get(dispatch_mirror(s->d), action->table, action->id);
        if (stored == NULL)
            continue;
        void *object = sw_pb_clone(stored);
        void *record =
            sw_pb_unpack(store_table_of(action->table)->type, action->record.data, action->record.len, STORE_RECORD_MAX, NULL);
        if (action->table == SWARM__TABLE__TABLE_TASK) {
            sw_pb_free(((Swarm__Task *)object)->status);
            ((Swarm__Task *)object)->status = sw_pb_clone(((Swarm__Task *)record)->status);
        } else {
            sw_pb_free(((Swarm__Node *)object)->status);
            ((Swarm__Node *)object)->status = sw_pb_clone(((Swarm__Node *)record)->status);
            if (((Swarm__Node *)record)->description != NULL) {
                sw_pb_free(((Swarm__Node *)object)->description);
                ((Swarm__Node *)object)->description = sw_pb_clone(((Swarm__Node *)record)->description);
            }
        }
        sw_pb_free(record);
        SW_AUTO(sw_free) char *what = sw_strf("feed: status of %s", action->id);
        change(s, what, action->table, action->id, object);
    }
    Swarm__CommitReply reply = SWARM__COMMIT_REPLY__INIT;
    reply.version = s->version;
    step(s, "committed", (struct dispatch_event) { .type = DISPATCH_EV_COMMITTED, .body = &reply });
}

static void commit_failed(struct scene *s)
{
    struct sw_err err;
    (void)sw_fail(&err, SW_UNAVAILABLE, "no leader");
    step(s, "commit failed", (struct dispatch_event) { .type = DISPATCH_EV_COMMITTED, .err = &err });
}

static void session(struct scene *s, const char *node)
{
    char hostname[] = "host", address[] = "10.9.0.1";
    Swarm__NodeDescription description = SWARM__NODE_DESCRIPTION__INIT;
    description.hostname = hostname;
    Swarm__SessionRequest request = SWARM__SESSION_REQUEST__INIT;
    request.description = &description;
    request.node_address = address;
    ask(s, DISPATCH_EV_SESSION, node, &request, "SessionRequest");
}

static void heartbeat(struct scene *s, const char *node, char *session_id)
{
    Swarm__Heartbeat beat = SWARM__HEARTBEAT__INIT;
    beat.session = session_id;
    ask(s, DISPATCH_EV_HEARTBEAT, node, &beat, "Heartbeat");
}

static void report(struct scene *s, const char *node, char *session_id, const char *task_id, Swarm__TaskState state,
                   const char *why)
{
    Swarm__TaskStatus status = SWARM__TASK_STATUS__INIT;
    status.has_state = true;
    status.state = state;
    status.err = (char *)(uintptr_t)why;
    Swarm__TaskReport row = SWARM__TASK_REPORT__INIT, *list[] = { &row };
    row.task_id = (char *)(uintptr_t)task_id;
    row.status = &status;
    Swarm__TaskReports reports = SWARM__TASK_REPORTS__INIT;
    reports.session = session_id;
    reports.reports = list;
    reports.n_reports = 1;
    SW_AUTO(sw_free) char *what = sw_strf("TaskReports %s %s", task_id, sw_task_state_name(state));
    ask(s, DISPATCH_EV_REPORTS, node, &reports, what);
}

static void scene_begin(struct scene *s)
{
    memset(s, 0, sizeof *s);
    s->d = dispatch_new("manager", 7);
}

static void scene_end(struct scene *s, const char *name)
{
    dispatch_free(s->d);
    SW_AUTO(sw_free) char *path = sw_strf("%s/%s.trace", trace_dir, name);
    golden_check(path, &s->out);
    sw_buf_deinit(&s->out);
    sw_buf_deinit(&s->batch);
}

#define T(state) SWARM__TASK_STATE__TASK_##state
#define UNKNOWN SWARM__NODE_STATE__NODE_UNKNOWN
#define READY SWARM__NODE_STATE__NODE_READY
#define NODE SWARM__TABLE__TABLE_NODE
#define TASK SWARM__TABLE__TABLE_TASK

/* ---- scenarios ---- */
static void test_session(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    session(&s, "n1"); /* no store yet */
    snapshot(&s, true, SWARM__TABLE__TABLE_CLUSTER, cluster_new(), NODE, node_new("n1", UNKNOWN), NODE, node_new("n2", READY),
             TASK, task_new("t1", "n1", T(ASSIGNED), T(RUNNING)), TASK, task_new("t2", "n1", T(PENDING), T(RUNNING)), -1);
    session(&s, "n9");
    session(&s, "n1");
    committed(&s);
    char first[64];
    strcpy(first, s.session);
    heartbeat(&s, "n1", first);
    s.now_ms += 500;
    session(&s, "n1"); /* a second agent with this key, or the same one again: the newest wins, without a write */
    heartbeat(&s, "n1", first);
    heartbeat(&s, "n1", s.session);
    Swarm__Node *relabelled = node_new("n1", READY);
    relabelled->spec->has_availability = true;
    relabelled->spec->availability = SWARM__NODE_AVAILABILITY__NODE_DRAIN;
    change(&s, "feed: node n1 drained", NODE, "n1", relabelled);
    Swarm__Cluster *cluster = cluster_new();
    cluster->spec->has_dispatcher_heartbeat_ns = true;
    cluster->spec->dispatcher_heartbeat_ns = 2000000000;
    change(&s, "feed: heartbeat every 2 s", SWARM__TABLE__TABLE_CLUSTER, "cluster", cluster);
    change(&s, "feed: node n1 removed", NODE, "n1", NULL);
    heartbeat(&s, "n1", s.session);
    for (int i = 0; i < 9; i++)
        session(&s, "n2");
    scene_end(&s, "session");
}

static void test_heartbeat(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    snapshot(&s, true, SWARM__TABLE__TABLE_CLUSTER, cluster_new(), NODE, node_new("n1", READY), NODE, node_new("n2", READY), -1);
    session(&s, "n1");
    committed(&s);
    char id[64];
    strcpy(id, s.session);
    for (int i = 0; i < 3; i++) {
        s.now_ms += 1000;
        heartbeat(&s, "n1", id);
    }
    tick(&s); /* grace of n2 or missed beats of n1, whichever is first */
    commit_failed(&s);
    tick(&s);
    committed(&s);
    heartbeat(&s, "n1", id);
    session(&s, "n1");
    committed(&s);
    Swarm__Goodbye goodbye = SWARM__GOODBYE__INIT;
    goodbye.session = s.session;
    ask(&s, DISPATCH_EV_GOODBYE, "n1", &goodbye, "Goodbye");
    committed(&s);
    scene_end(&s, "heartbeat");
}

static void test_assignments(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    snapshot(&s, true, SWARM__TABLE__TABLE_CLUSTER, cluster_new(), NODE, node_new("n1", READY), TASK,
             task_new("t1", "n1", T(RUNNING), T(RUNNING)), TASK, task_new("t0", "n1", T(COMPLETE), T(SHUTDOWN)), -1);
    session(&s, "n1");
    committed(&s);
    put_task(&s, "t2", "n1", T(PENDING), T(RUNNING));
    put_task(&s, "t2", "n1", T(ASSIGNED), T(RUNNING));
    put_task(&s, "t2", "n1", T(PREPARING), T(RUNNING)); /* its own echo */
    put_task(&s, "t1", "n1", T(RUNNING), T(SHUTDOWN));
    put_task(&s, "t1", "n1", T(SHUTDOWN), T(SHUTDOWN));
    change(&s, "feed: task t1 removed", TASK, "t1", NULL);
    put_task(&s, "t3", "n2", T(ASSIGNED), T(RUNNING));
    step(&s, "feed lost", (struct dispatch_event) { .type = DISPATCH_EV_FEED_LOST });
    snapshot(&s, true, SWARM__TABLE__TABLE_CLUSTER, cluster_new(), NODE, node_new("n1", READY), TASK,
             task_new("t2", "n1", T(RUNNING), T(SHUTDOWN)), TASK, task_new("t4", "n1", T(ASSIGNED), T(RUNNING)), -1);
    scene_end(&s, "assignments");
}

static void test_reports(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    snapshot(&s, true, SWARM__TABLE__TABLE_CLUSTER, cluster_new(), NODE, node_new("n1", READY), NODE, node_new("n2", READY), TASK,
             task_new("t1", "n1", T(ASSIGNED), T(RUNNING)), TASK, task_new("t2", "n1", T(ASSIGNED), T(RUNNING)), TASK,
             task_new("t3", "n2", T(ASSIGNED), T(RUNNING)), -1);
    session(&s, "n1");
    committed(&s);
    char id[64];
    strcpy(id, s.session);
    report(&s, "n1", id, "t1", T(PREPARING), NULL);      /* nothing in flight: at once */
    report(&s, "n1", id, "t1", T(STARTING), NULL);       /* waits */
    report(&s, "n1", id, "t2", T(REJECTED), "no image"); /* goes with it */
    report(&s, "n1", id, "t1", T(RUNNING), NULL);        /* replaces */
    committed(&s);
    committed(&s);
    report(&s, "n1", id, "t1", T(RUNNING), NULL);  /* known */
    report(&s, "n1", id, "t1", T(STARTING), NULL); /* backwards */
    report(&s, "n1", id, "t9", T(RUNNING), NULL);  /* unknown */
    report(&s, "n1", id, "t3", T(RUNNING), NULL);  /* another's */
    report(&s, "n1", id, "t1", T(ORPHANED), NULL); /* not an agent's */
    report(&s, "n1", (char *)(uintptr_t) "stale", "t1", T(RUNNING), NULL);
    report(&s, "n1", id, "t1", T(FAILED), "exit 1");
    commit_failed(&s);
    report(&s, "n1", id, "t1", T(FAILED), "exit 1"); /* held back a moment */
    tick(&s);
    report(&s, "n1", id, "t2", T(REJECTED), "other");
    step(&s, "feed lost", (struct dispatch_event) { .type = DISPATCH_EV_FEED_LOST });
    scene_end(&s, "reports");
}

static void test_logs(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    snapshot(&s, true, SWARM__TABLE__TABLE_CLUSTER, cluster_new(), NODE, node_new("n1", READY), NODE, node_new("n2", READY), TASK,
             task_new("t1", "n1", T(RUNNING), T(RUNNING)), TASK, task_new("t2", "n1", T(RUNNING), T(RUNNING)), TASK,
             task_new("t3", "n2", T(RUNNING), T(RUNNING)), -1);
    session(&s, "n1");
    committed(&s);
    char *ids[] = { (char *)(uintptr_t) "t2", (char *)(uintptr_t) "t3", (char *)(uintptr_t) "t1", (char *)(uintptr_t) "t8" };
    Swarm__LogSubscribe subscribe = SWARM__LOG_SUBSCRIBE__INIT;
    subscribe.subscription = 5;
    subscribe.task_ids = ids;
    subscribe.n_task_ids = 4;
    step(&s, "LogSubscribe 5", (struct dispatch_event) { .type = DISPATCH_EV_LOG_SUBSCRIBE, .body = &subscribe });
    Swarm__LogMessage message = SWARM__LOG_MESSAGE__INIT;
    message.subscription = 5;
    message.task_id = ids[2];
    ask(&s, DISPATCH_EV_LOG_MESSAGE, "n1", &message, "LogMessage t1");
    ask(&s, DISPATCH_EV_LOG_MESSAGE, "n2", &message, "LogMessage t1");
    message.has_end = true;
    message.end = true;
    ask(&s, DISPATCH_EV_LOG_MESSAGE, "n1", &message, "LogMessage t1 end");
    ask(&s, DISPATCH_EV_LOG_MESSAGE, "n1", &message, "LogMessage t1 end");
    subscribe.subscription = 6;
    step(&s, "LogSubscribe 6", (struct dispatch_event) { .type = DISPATCH_EV_LOG_SUBSCRIBE, .body = &subscribe });
    Swarm__LogUnsubscribe unsubscribe = SWARM__LOG_UNSUBSCRIBE__INIT;
    unsubscribe.subscription = 6;
    step(&s, "LogUnsubscribe 6", (struct dispatch_event) { .type = DISPATCH_EV_LOG_UNSUBSCRIBE, .body = &unsubscribe });
    struct dispatch_peer gone = peer_make("n1#1");
    step(&s, "send to n1 failed", (struct dispatch_event) { .type = DISPATCH_EV_SEND_FAILED, .node_id = "n1", .peer = &gone });
    assert_int_equal(dispatch_stats(s.d).subscriptions, 0);
    scene_end(&s, "logs");
}

static void test_orphans(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    s.now_ms = UINT64_C(25) * 3600 * 1000;
    snapshot(&s, true, SWARM__TABLE__TABLE_CLUSTER, cluster_new(), NODE, node_new("n1", SWARM__NODE_STATE__NODE_DOWN), TASK,
             task_new("t1", "n1", T(RUNNING), T(SHUTDOWN)), TASK, task_new("t2", "n1", T(COMPLETE), T(SHUTDOWN)), -1);
    committed(&s);
    session(&s, "n1");
    committed(&s);
    scene_end(&s, "orphans");
}

/* A complete list is cut into messages, and every task is in exactly one. */
static void test_chunks(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    snapshot(&s, true, SWARM__TABLE__TABLE_CLUSTER, cluster_new(), NODE, node_new("n1", READY), -1);
    for (int i = 0; i < 300; i++) {
        SW_AUTO(sw_free) char *id = sw_strf("t%03d", i);
        put_task(&s, id, "n1", T(ASSIGNED), T(RUNNING));
    }
    sw_buf_reset(&s.out);
    session(&s, "n1");
    committed(&s);
    assert_int_equal(dispatch_stats(s.d).assignments_sent, 300);
    scene_end(&s, "chunks");
}

int main(int argc, char **argv)
{
    trace_dir = argc > 1 ? argv[1] : ".";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session), cmocka_unit_test(test_heartbeat), cmocka_unit_test(test_assignments),
        cmocka_unit_test(test_reports), cmocka_unit_test(test_logs),      cmocka_unit_test(test_orphans),
        cmocka_unit_test(test_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
