/* Golden traces of the agent's core, over a fake executor and a fake balancer that answer when the scenario says so.
 * Usage: test-worker DIR; with UPDATE_TRACES=1 in the environment the traces are rewritten. */
#include "common/base/tests/golden.h"
#include "services/agent/core/worker.h"
#include "common/base/idmap.h"
#include "common/base/names.h"
#include "common/base/pb.h"
#include "common/store/tests/objects.h"

static const char *trace_dir;

struct scene {
    struct worker *w;
    uint64_t now_ms, deadline_ms;
    struct sw_buf out;
    struct sw_idmap disk; /* id -> Swarm__Task: what was saved */
    uint64_t table;       /* generation of the last one sent */
    uint64_t sequence;
    bool quiet; /* nothing is printed */
};

#define T(state) SWARM__TASK_STATE__TASK_##state

/* ---- printing ---- */
static void print_table(struct scene *s, const Swarm__EndpointTable *table)
{
    s->table = table->generation;
    sw_buf_addf(&s->out, " %llu", (unsigned long long)table->generation);
    for (size_t i = 0; i < table->n_ports; i++) {
        const Swarm__PublishedPort *port = table->ports[i];
        sw_buf_addf(&s->out, " %s/%u%s ->", sw_protocol_name(port->protocol), port->published_port,
                    port->mode == SWARM__PUBLISH_MODE__PUBLISH_HOST ? "(host)" : "");
        for (size_t b = 0; b < port->n_backends; b++)
            sw_buf_addf(&s->out, " %s:%u%s", port->backends[b]->address, port->backends[b]->port,
                        port->backends[b]->state == SWARM__BACKEND_STATE__BACKEND_DRAINING ? "(draining)" : "");
    }
    for (size_t i = 0; i < table->n_networks; i++)
        sw_buf_addf(&s->out, " net %s", table->networks[i]->subnet);
}

static void print_status(struct scene *s, const Swarm__TaskStatus *status)
{
    sw_buf_addf(&s->out, " %s", sw_task_state_name(status->state));
    if (status->err != NULL)
        sw_buf_addf(&s->out, " err='%s'", status->err);
    if (status->container != NULL && status->container->has_exit_code)
        sw_buf_addf(&s->out, " exit=%d%s", status->container->exit_code, status->container->oom_killed ? " oom" : "");
    for (size_t i = 0; i < status->n_host_ports; i++)
        sw_buf_addf(&s->out, " host-port=%s", status->host_ports[i]->published_port >= WORKER_HOST_PORT_MIN ? "chosen" : "given");
}

static void print_effect(struct scene *s, const struct worker_effect *effect)
{
    static const char *const words[] = { "save",   "forget", "prepare", "start",  "signal", "kill",
                                         "remove", "report", "table",   "resync", "empty" };
    sw_buf_addf(&s->out, "    %s", words[effect->type]);
    if (effect->task_id != NULL)
        sw_buf_addf(&s->out, " %s", effect->task_id);
    if (effect->type == WORKER_SAVE)
        print_status(s, effect->task->status);
    if (effect->type == WORKER_PREPARE && effect->task->spec->container->hostname != NULL)
        sw_buf_addf(&s->out, " hostname=%s %s", effect->task->spec->container->hostname, effect->task->spec->container->env[0]);
    if (effect->type == WORKER_SIGNAL)
        sw_buf_addf(&s->out, " %s", effect->text != NULL ? effect->text : "(image's)");
    if (effect->type == WORKER_TABLE)
        print_table(s, effect->table);
    for (size_t i = 0; effect->type == WORKER_REPORT && i < effect->reports->n_reports; i++) {
        sw_buf_addf(&s->out, "%s %s:", i > 0 ? "," : "", effect->reports->reports[i]->task_id);
        print_status(s, effect->reports->reports[i]->status);
    }
    sw_buf_adds(&s->out, "\n");
}

static void disk_put(struct scene *s, const struct worker_effect *effect)
{
    if (effect->type == WORKER_SAVE) {
        sw_pb_free(sw_idmap_get(&s->disk, effect->task_id));
        sw_idmap_put(&s->disk, effect->task_id, sw_pb_clone(effect->task));
    } else if (effect->type == WORKER_FORGET) {
        sw_pb_free(sw_idmap_remove(&s->disk, effect->task_id));
    }
}

/* ---- feeding ---- */
static void step(struct scene *s, const char *what, struct worker_event event)
{
    struct worker_update update;
    event.now_ms = s->now_ms;
    event.wall_ns = INT64_C(1700000000000000000) + (int64_t)s->now_ms * 1000000;
    sw_buf_addf(&s->out, "%6llums %s\n", (unsigned long long)s->now_ms, what);
    worker_step(s->w, &event, &update);
    s->deadline_ms = update.deadline_ms;
    bool acting = false;
    for (size_t i = 0; i < update.count; i++) {
        bool durable = update.effects[i].type == WORKER_SAVE || update.effects[i].type == WORKER_FORGET;
        assert_false(durable && acting); /* written before acted on */
        acting = acting || !durable;
        disk_put(s, &update.effects[i]);
        print_effect(s, &update.effects[i]);
    }
}

static void tick(struct scene *s)
{
    assert_true(s->deadline_ms != UINT64_MAX);
    if (s->deadline_ms > s->now_ms)
        s->now_ms = s->deadline_ms;
    step(s, "tick", (struct worker_event) { .type = WORKER_EV_TICK });
}

static Swarm__Task *task_new(const char *id, Swarm__TaskState state, Swarm__TaskState desired)
{
    Swarm__Task *task = test_task(id, "svc", 3, "n1");
    task->desired_state = desired;
    task->status->state = state;
    return task;
}

static Swarm__Task *with_port(Swarm__Task *task, uint32_t published, Swarm__PublishMode mode)
{
    Swarm__PortConfig *port = sw_alloc0(sizeof *port);
    swarm__port_config__init(port);
    port->target_port = 80;
    port->has_published_port = true;
    port->published_port = published;
    port->has_publish_mode = true;
    port->publish_mode = mode;
    task->endpoint = sw_alloc0(sizeof *task->endpoint);
    swarm__endpoint__init(task->endpoint);
    task->endpoint->ports = sw_alloc0(sizeof port);
    task->endpoint->ports[0] = port;
    task->endpoint->n_ports = 1;
    return task;
}

/* Takes the tasks; NULL-terminated. */
static void assign(struct scene *s, bool complete, Swarm__Task *first, ...)
{
    Swarm__Assignment rows[8], *list[8];
    Swarm__Assignments a = SWARM__ASSIGNMENTS__INIT;
    SW_AUTO_BUF what = { 0 };
    sw_buf_adds(&what, complete ? "assignments, complete:" : "assignments:");
    va_list args;
    va_start(args, first);
    for (Swarm__Task *task = first; task != NULL; task = va_arg(args, Swarm__Task *)) {
        swarm__assignment__init(&rows[a.n_items]);
        bool remove = task->desired_state == T(REMOVE);
        rows[a.n_items].action = remove ? SWARM__ASSIGNMENT_ACTION__ASSIGN_REMOVE : SWARM__ASSIGNMENT_ACTION__ASSIGN_UPDATE;
        rows[a.n_items].task = task;
        list[a.n_items] = &rows[a.n_items];
        a.n_items++;
        sw_buf_addf(&what, " %s(%s, wanted %s)", task->id, sw_task_state_name(task->status->state),
                    sw_task_state_name(task->desired_state));
    }
    va_end(args);
    char session[] = "s";
    a.session = session;
    a.sequence = ++s->sequence;
    a.complete = complete;
    a.items = list;
    step(s, sw_buf_str(&what), (struct worker_event) { .type = WORKER_EV_ASSIGNMENTS, .assignments = &a });
    for (size_t i = 0; i < a.n_items; i++)
        sw_pb_free(rows[i].task);
}

static void session_up(struct scene *s)
{
    s->sequence = 0;
    step(s, "session up", (struct worker_event) { .type = WORKER_EV_SESSION_UP, .text = "s" });
}

static void reported(struct scene *s, bool ok)
{
    step(s, ok ? "reported" : "report failed", (struct worker_event) { .type = WORKER_EV_REPORTED, .ok = ok });
}

static void acked(struct scene *s)
{
    step(s, "table acknowledged", (struct worker_event) { .type = WORKER_EV_TABLE_ACKED, .generation = s->table });
}

static void prepared(struct scene *s, const char *id, enum worker_failure failure, const char *why)
{
    SW_AUTO(sw_free) char *what = sw_strf("prepared %s %s", id, why != NULL ? why : "");
    step(s, what,
         (struct worker_event) { .type = WORKER_EV_PREPARED,
                                 .task_id = id,
                                 .failure = failure,
                                 .text = why,
                                 .container_id = "c",
                                 .address = "172.30.0.7" });
}

static void started(struct scene *s, const char *id, enum worker_failure failure, const char *why)
{
    SW_AUTO(sw_free) char *what = sw_strf("started %s %s", id, why != NULL ? why : "");
    step(s, what, (struct worker_event) { .type = WORKER_EV_STARTED, .task_id = id, .failure = failure, .text = why, .pid = 42 });
}

static void exited(struct scene *s, const char *id, int code, bool oom)
{
    SW_AUTO(sw_free) char *what = sw_strf("exited %s %d", id, code);
    step(s, what, (struct worker_event) { .type = WORKER_EV_EXITED, .task_id = id, .exit_code = code, .oom_killed = oom });
}

static void removed(struct scene *s, const char *id, enum worker_failure failure)
{
    SW_AUTO(sw_free) char *what = sw_strf("removed %s%s", id, failure != WORKER_OK ? ", failed" : "");
    step(s, what, (struct worker_event) { .type = WORKER_EV_REMOVED, .task_id = id, .failure = failure, .text = "busy" });
}

static void agent_start(struct scene *s)
{
    static const Swarm__LocalNetwork network = { PROTOBUF_C_MESSAGE_INIT(&swarm__local_network__descriptor),
                                                 (char *)(uintptr_t) "swarm0", (char *)(uintptr_t) "172.30.0.0/16", 1 };
    static const Swarm__LocalNetwork *const networks[] = { &network };
    char hostname[] = "alpha";
    Swarm__NodeDescription description = SWARM__NODE_DESCRIPTION__INIT;
    description.hostname = hostname;
    worker_free(s->w);
    s->w = worker_new(&(struct worker_config) {
        .seed = 1, .drain_ms = 1000, .generation = 100, .description = &description, .networks = networks, .network_count = 1 });
}

/* A first life with nothing on disk, a session and a balancer. */
static void scene_begin(struct scene *s)
{
    memset(s, 0, sizeof *s);
    agent_start(s);
    step(s, "recovered", (struct worker_event) { .type = WORKER_EV_RECOVERED });
    step(s, "balancer up", (struct worker_event) { .type = WORKER_EV_TABLE_UP });
    acked(s);
    session_up(s);
    assign(s, true, NULL);
    sw_buf_reset(&s->out);
}

static void scene_end(struct scene *s, const char *name)
{
    worker_free(s->w);
    for (size_t i = 0; i < s->disk.count; i++)
        sw_pb_free(s->disk.rows[i].value);
    sw_idmap_deinit(&s->disk);
    SW_AUTO(sw_free) char *path = sw_strf("%s/%s.trace", trace_dir, name);
    golden_check(path, &s->out);
    sw_buf_deinit(&s->out);
}

/* ---- scenarios ---- */
static void test_life(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    assign(&s, false, with_port(task_new("t1", T(ASSIGNED), T(RUNNING)), 8080, SWARM__PUBLISH_MODE__PUBLISH_INGRESS), NULL);
    reported(&s, true);
    prepared(&s, "t1", WORKER_OK, NULL);
    started(&s, "t1", WORKER_OK, NULL);
    reported(&s, true);
    acked(&s);
    reported(&s, true);
    assign(&s, false, with_port(task_new("t1", T(RUNNING), T(SHUTDOWN)), 8080, SWARM__PUBLISH_MODE__PUBLISH_INGRESS), NULL);
    acked(&s);
    tick(&s); /* drain time over: the stop signal */
    exited(&s, "t1", 143, false);
    acked(&s);
    reported(&s, true);
    assign(&s, false, task_new("t1", T(SHUTDOWN), T(REMOVE)), NULL);
    removed(&s, "t1", WORKER_TEMPORARY);
    tick(&s);
    removed(&s, "t1", WORKER_OK);
    assert_int_equal(s.disk.count, 0);
    scene_end(&s, "life");
}

static void test_failures(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    assign(&s, false, task_new("t1", T(ASSIGNED), T(RUNNING)), task_new("t2", T(ASSIGNED), T(RUNNING)),
           task_new("t3", T(ASSIGNED), T(RUNNING)), NULL);
    prepared(&s, "t1", WORKER_TEMPORARY, "registry does not answer");
    prepared(&s, "t2", WORKER_FATAL, "no such image: demo");
    reported(&s, false); /* the manager did not commit */
    tick(&s);
    reported(&s, true);
    prepared(&s, "t1", WORKER_TEMPORARY, "registry does not answer");
    tick(&s);
    prepared(&s, "t1", WORKER_OK, NULL);
    reported(&s, true);
    started(&s, "t1", WORKER_FATAL, "exec: \"nope\": not found");
    prepared(&s, "t3", WORKER_OK, NULL);
    started(&s, "t3", WORKER_OK, NULL);
    exited(&s, "t3", 137, true);
    assign(&s, false, task_new("t4", T(ASSIGNED), T(RUNNING)), NULL);
    prepared(&s, "t4", WORKER_OK, NULL);
    started(&s, "t4", WORKER_OK, NULL);
    exited(&s, "t4", 0, false);
    Swarm__Task *bad = task_new("t5", T(ASSIGNED), T(RUNNING));
    bad->spec->container->hostname = sw_strdup("{{.Node.Nothing}}");
    assign(&s, false, bad, NULL);
    scene_end(&s, "failures");
}

static void test_stopping(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    Swarm__Task *task = task_new("t1", T(ASSIGNED), T(RUNNING));
    task->spec->container->stop_signal = sw_strdup("SIGQUIT");
    task->spec->container->has_stop_grace_ns = true;
    task->spec->container->stop_grace_ns = 2000000000;
    Swarm__Task *stop = sw_pb_clone(task);
    stop->desired_state = T(SHUTDOWN);
    assign(&s, false, task, task_new("t2", T(ASSIGNED), T(RUNNING)), task_new("t3", T(ASSIGNED), T(READY)), NULL);
    prepared(&s, "t1", WORKER_OK, NULL);
    started(&s, "t1", WORKER_OK, NULL);
    prepared(&s, "t3", WORKER_OK, NULL); /* parked at READY */
    assign(&s, false, stop, task_new("t2", T(ASSIGNED), T(SHUTDOWN)), task_new("t3", T(READY), T(SHUTDOWN)), NULL);
    prepared(&s, "t2", WORKER_FATAL, "cancelled");
    removed(&s, "t2", WORKER_OK);
    removed(&s, "t3", WORKER_OK);
    assign(&s, false, task_new("t1", T(RUNNING), T(RUNNING)), NULL); /* desired never goes back */
    tick(&s);                                                        /* the grace period is over */
    tick(&s);                                                        /* and still there */
    exited(&s, "t1", 137, false);
    scene_end(&s, "stopping");
}

/* The balancer does not answer: starts and stops are held up, but not for ever. */
static void test_balancer_down(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    step(&s, "balancer down", (struct worker_event) { .type = WORKER_EV_TABLE_DOWN });
    assign(&s, false, with_port(task_new("t1", T(ASSIGNED), T(RUNNING)), 0, SWARM__PUBLISH_MODE__PUBLISH_HOST), NULL);
    prepared(&s, "t1", WORKER_OK, NULL);
    started(&s, "t1", WORKER_OK, NULL);
    tick(&s);
    step(&s, "balancer up", (struct worker_event) { .type = WORKER_EV_TABLE_UP });
    assign(&s, false, with_port(task_new("t1", T(RUNNING), T(SHUTDOWN)), 0, SWARM__PUBLISH_MODE__PUBLISH_HOST), NULL);
    tick(&s);
    acked(&s); /* the first table's, late: what changed since goes out now */
    tick(&s);
    exited(&s, "t1", 0, false);
    scene_end(&s, "balancer-down");
}

/* The agent was killed; containers went on. */
static void test_restart(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    assign(&s, false, with_port(task_new("run", T(ASSIGNED), T(RUNNING)), 80, SWARM__PUBLISH_MODE__PUBLISH_INGRESS),
           task_new("end", T(ASSIGNED), T(RUNNING)), task_new("lost", T(ASSIGNED), T(RUNNING)),
           task_new("parked", T(ASSIGNED), T(READY)), task_new("pull", T(ASSIGNED), T(RUNNING)), NULL);
    static const char *const ran[] = { "run", "end", "lost" };
    for (size_t i = 0; i < 3; i++) {
        prepared(&s, ran[i], WORKER_OK, NULL);
        started(&s, ran[i], WORKER_OK, NULL);
    }
    acked(&s);
    prepared(&s, "parked", WORKER_OK, NULL);
    sw_buf_reset(&s.out);
    agent_start(&s);
    for (size_t i = 0; i < s.disk.count; i++)
        step(&s, s.disk.rows[i].id, (struct worker_event) { .type = WORKER_EV_LOADED, .task = s.disk.rows[i].value });
    step(&s, "found run",
         (struct worker_event) {
             .type = WORKER_EV_FOUND, .task_id = "run", .found = WORKER_FOUND_RUNNING, .pid = 42, .address = "172.30.0.7" });
    step(&s, "found end",
         (struct worker_event) { .type = WORKER_EV_FOUND, .task_id = "end", .found = WORKER_FOUND_EXITED, .exit_code = 3 });
    step(&s, "found stranger",
         (struct worker_event) { .type = WORKER_EV_FOUND, .task_id = "stranger", .found = WORKER_FOUND_RUNNING });
    step(&s, "balancer up", (struct worker_event) { .type = WORKER_EV_TABLE_UP });
    step(&s, "recovered", (struct worker_event) { .type = WORKER_EV_RECOVERED });
    session_up(&s);
    assign(&s, true, with_port(task_new("run", T(RUNNING), T(RUNNING)), 80, SWARM__PUBLISH_MODE__PUBLISH_INGRESS),
           task_new("end", T(RUNNING), T(RUNNING)), task_new("parked", T(READY), T(RUNNING)),
           task_new("other", T(RUNNING), T(RUNNING)), NULL);
    scene_end(&s, "restart");
}

static void test_sessions(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    assign(&s, false, task_new("t1", T(ASSIGNED), T(RUNNING)), NULL);
    s.sequence++; /* one message was lost */
    assign(&s, false, task_new("t2", T(ASSIGNED), T(RUNNING)), NULL);
    prepared(&s, "t1", WORKER_OK, NULL);
    session_up(&s);
    assign(&s, true, task_new("t1", T(PREPARING), T(RUNNING)), NULL);
    step(&s, "session down", (struct worker_event) { .type = WORKER_EV_SESSION_DOWN });
    started(&s, "t1", WORKER_OK, NULL); /* goes on without a session */
    session_up(&s);
    assign(&s, true, task_new("t1", T(STARTING), T(RUNNING)), NULL);
    scene_end(&s, "sessions");
}

static void test_templates(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    Swarm__Task *task = task_new("t1", T(ASSIGNED), T(RUNNING));
    task->spec->container->hostname = sw_strdup("{{.Service.Name}}-{{.Task.Slot}}-{{.Node.Hostname}}");
    task->spec->container->env = sw_alloc0(sizeof(char *));
    task->spec->container->env[0] = sw_strdup("WHO={{.Task.Name}} on {{.Node.ID}} {{index .Service.Labels \"none\"}}");
    task->spec->container->n_env = 1;
    assign(&s, false, task, NULL);
    scene_end(&s, "templates");
}

static void test_leave(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    assign(&s, false, task_new("t1", T(ASSIGNED), T(RUNNING)), task_new("t2", T(COMPLETE), T(SHUTDOWN)), NULL);
    prepared(&s, "t1", WORKER_OK, NULL);
    started(&s, "t1", WORKER_OK, NULL);
    step(&s, "leave", (struct worker_event) { .type = WORKER_EV_LEAVE });
    exited(&s, "t1", 0, false);
    reported(&s, true);
    reported(&s, true);
    scene_end(&s, "leave");
}

int main(int argc, char **argv)
{
    trace_dir = argc > 1 ? argv[1] : ".";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),          cmocka_unit_test(test_failures), cmocka_unit_test(test_stopping),
        cmocka_unit_test(test_balancer_down), cmocka_unit_test(test_restart),  cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_templates),     cmocka_unit_test(test_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
