#include "services/agent/io/agent.h"

#include <stdlib.h>
#include <string.h>

#define CLEANUP_LIMIT_MS 45000u

/* ---- effects out ---- */
static void perform(struct agent *agent, const struct worker_effect *effect, bool *report_failed)
{
    switch (effect->type) {
    case WORKER_SAVE:
    case WORKER_FORGET:
        return; /* written already, all of the step at once */
    case WORKER_PREPARE:
        listening_expect(agent->listening, effect->task);
        executor_prepare(agent->executor, effect->task);
        return;
    case WORKER_START:
        executor_start(agent->executor, effect->task_id);
        return;
    case WORKER_SIGNAL:
        executor_signal(agent->executor, effect->task_id, effect->text);
        return;
    case WORKER_KILL:
        executor_kill(agent->executor, effect->task_id);
        return;
    case WORKER_REMOVE:
        executor_remove(agent->executor, effect->task_id);
        return;
    case WORKER_REPORT:
        *report_failed = !session_report(agent->session, effect->reports);
        return;
    case WORKER_TABLE:
        balancer_send(agent->balancer, effect->table);
        return;
    case WORKER_RESYNC:
        session_renew(agent->session);
        return;
    case WORKER_EMPTY:
        agent->empty = true;
        return;
    }
}

static void log_states(const struct worker_effect *effects, size_t count)
{
    for (size_t i = 0; i < count && effects[i].type == WORKER_SAVE; i++) {
        const Swarm__Task *task = effects[i].task;
        const char *why = task->status->err;
        svc_log(why != NULL ? SVC_WARN : SVC_DEBUG, "task", "task=%s service=%s state=%s desired=%s err=\"%s\"", task->id,
                task->service_name, sw_task_state_name(task->status->state), sw_task_state_name(task->desired_state),
                why != NULL ? why : "");
    }
}

/* Saved first; a write that fails ends the process, so that nothing later can rest on what was not kept. */
void agent_step(struct agent *agent, struct worker_event event)
{
    struct worker_update update;
    struct sw_err err;
    bool report_failed = false;
    if (agent->failed)
        return;
    event.now_ms = svc_mono_ms();
    event.wall_ns = svc_wall_ns();
    worker_step(agent->worker, &event, &update);
    if (records_write(agent->records, update.effects, update.count, &err) != 0) {
        svc_log(SVC_ERROR, "cannot write down what tasks do", "err=\"%s\"", err.text);
        agent->failed = true;
        svc_quit(agent->svc, 1);
        return;
    }
    log_states(update.effects, update.count);
    for (size_t i = 0; i < update.count; i++)
        perform(agent, &update.effects[i], &report_failed);
    if (update.deadline_ms == UINT64_MAX)
        svc_timer_off(agent->timer);
    else
        svc_timer_at(agent->timer, update.deadline_ms);
    if (report_failed)
        agent_step(agent, (struct worker_event) { .type = WORKER_EV_REPORTED, .ok = false });
    if (agent->empty) {
        agent->empty = false;
        local_tasks_gone(agent->local);
    }
}

static void on_timer(void *arg)
{
    agent_step(arg, (struct worker_event) { .type = WORKER_EV_TICK });
}

/* ---- the executor's events in ---- */
static const char *bare_address(const struct attachment_address *addresses, size_t count, char *ret, size_t size)
{
    if (count == 0)
        return NULL;
    (void)snprintf(ret, size, "%.*s", (int)strcspn(addresses[0].address, "/"), addresses[0].address);
    return ret;
}

static enum worker_failure failure_of(enum executor_failure failure)
{
    switch (failure) {
    case EXECUTOR_OK:
        return WORKER_OK;
    case EXECUTOR_FAILED_TEMPORARY:
        return WORKER_TEMPORARY;
    case EXECUTOR_FAILED_FATAL:
        return WORKER_FATAL;
    }
    return WORKER_FATAL;
}

static enum worker_event_type type_of(enum executor_event_type type)
{
    switch (type) {
    case EXECUTOR_PREPARED:
        return WORKER_EV_PREPARED;
    case EXECUTOR_STARTED:
        return WORKER_EV_STARTED;
    case EXECUTOR_EXITED:
        return WORKER_EV_EXITED;
    case EXECUTOR_REMOVED:
        return WORKER_EV_REMOVED;
    }
    return WORKER_EV_REMOVED;
}

static void cleanup_one(struct agent *agent);

static void tell_core(struct agent *agent, const struct executor_event *event)
{
    char address[64], text[SW_ERR_TEXT_MAX] = "";
    if (event->text != NULL)
        (void)snprintf(text, sizeof text, "%s", event->text);
    sw_pb_text_clean(text);
    agent_step(agent, (struct worker_event) {
                          .type = type_of(event->type),
                          .task_id = event->task_id,
                          .failure = failure_of(event->failure),
                          .text = text,
                          .container_id = event->container_id,
                          .address = bare_address(event->addresses, event->address_count, address, sizeof address),
                          .pid = event->pid,
                          .exit_code = event->exit_code,
                          .oom_killed = event->oom_killed,
                      });
}

static void on_executor(void *arg, const struct executor_event *event)
{
    struct agent *agent = arg;
    if (agent->options.cleanup) {
        if (event->type == EXECUTOR_REMOVED)
            cleanup_one(agent);
        return;
    }
    if (!listening_hold(agent->listening, event))
        tell_core(agent, event);
}

/* ---- recovery ---- */
static void on_loaded(void *arg, const Swarm__Task *task)
{
    agent_step(arg, (struct worker_event) { .type = WORKER_EV_LOADED, .task = task });
}

static enum worker_found found_of(enum executor_state state)
{
    switch (state) {
    case EXECUTOR_IS_PREPARED:
        return WORKER_FOUND_PREPARED;
    case EXECUTOR_IS_RUNNING:
        return WORKER_FOUND_RUNNING;
    case EXECUTOR_IS_EXITED:
        return WORKER_FOUND_EXITED;
    }
    return WORKER_FOUND_EXITED;
}

static void on_found(void *arg, const struct executor_found *found)
{
    char address[64];
    agent_step(arg, (struct worker_event) {
                        .type = WORKER_EV_FOUND,
                        .task_id = found->task_id,
                        .text = found->container_id,
                        .found = found_of(found->state),
                        .pid = found->pid,
                        .exit_code = found->exit_code,
                        .oom_killed = found->oom_killed,
                        .address = bare_address(found->addresses, found->address_count, address, sizeof address),
                    });
}

/* A core that knows what is on disk and what is alive. */
static int core_start(struct agent *agent, struct sw_err *err)
{
    struct worker_config config = { .seed = svc_random_u64(),
                                    .drain_ms = agent->options.drain_ms,
                                    .description = agent->description };
    if (records_generation(agent->records, (uint64_t)(svc_wall_ns() / 1000000000), &config.generation, err) != 0)
        return -(int)err->code;
    config.network_count = agent->attachment->ops->networks(agent->attachment, &config.networks);
    agent->worker = worker_new(&config);
    if (records_each(agent->records, on_loaded, agent, err) != 0)
        return -(int)err->code;
    executor_list(agent->executor, on_found, agent);
    agent->attachment->ops->recovered(agent->attachment);
    agent_step(agent, (struct worker_event) { .type = WORKER_EV_RECOVERED });
    return 0;
}

/* ---- in and out of a cluster ---- */
int agent_enter(struct agent *agent, Swarm__NodeIdentity *identity, const Swarm__AdminIdentity *admin, struct sw_err *err)
{
    const char *state_dir = svc_state_dir(agent->svc);
    SW_AUTO(sw_free) char *path = identity_admin_path(state_dir);
    agent->identity = identity;
    if ((admin == NULL || identity_admin_save(path, admin, err) == 0) && identity_node_save(state_dir, identity, err) == 0 &&
        session_open(agent, &agent->session, err) == 0) {
        svc_log(SVC_INFO, "part of a cluster", "node=%s cluster=%s", identity->node_id, identity->cluster_id);
        return 0;
    }
    identity_wipe(state_dir);
    sw_pb_free(agent->identity);
    agent->identity = NULL;
    return sw_wrap(err, "keep the node's identity");
}

void agent_forget(struct agent *agent)
{
    struct sw_err err;
    session_close(agent->session);
    agent->session = NULL;
    relay_drop_all(agent->relay);
    identity_wipe(svc_state_dir(agent->svc));
    sw_pb_free(agent->identity);
    agent->identity = NULL;
    worker_free(agent->worker);
    agent->worker = NULL;
    svc_log(SVC_INFO, "left the cluster", NULL);
    if (records_clear(agent->records, &err) == 0 && core_start(agent, &err) == 0) {
        balancer_close(agent->balancer); /* a new connection tells the new core that the balancer is there */
        if (balancer_open(agent, &agent->balancer, &err) == 0)
            return;
    }
    svc_log(SVC_ERROR, "cannot start over after the leave", "err=\"%s\"", err.text);
    svc_quit(agent->svc, 1);
}

static int identity_load(struct agent *agent, struct sw_err *err)
{
    int rc = identity_node_load(svc_state_dir(agent->svc), &agent->identity, err);
    if (rc == -SW_NOT_FOUND)
        return 0;
    return rc != 0 ? rc : session_open(agent, &agent->session, err);
}

/* ---- start ---- */
static int images_start(struct agent *agent, struct sw_err *err)
{
    const struct svc_list *plain = &agent->options.plain_registries;
    const char **list = sw_alloc0((plain->count + 1) * sizeof *list);
    for (size_t i = 0; i < plain->count; i++)
        list[i] = plain->items[i];
    const struct images_spec spec = {
        .svc = agent->svc,
        .state_dir = svc_state_dir(agent->svc),
        .plain_registries = list,
        .auth_file = agent->options.registry_auth,
        .docker_host = agent->options.docker_host,
    };
    int rc = images_open(&spec, &agent->images, err);
    free(list);
    return rc;
}

static int executor_start_up(struct agent *agent, struct sw_err *err)
{
    const struct net_spec net = {
        .svc = agent->svc,
        .state_dir = svc_state_dir(agent->svc),
        .bridge = agent->options.bridge,
        .subnet = agent->options.subnet,
        .mtu = (uint32_t)agent->options.mtu,
    };
    if (images_start(agent, err) != 0 || net_open(&net, &agent->attachment, err) != 0)
        return -(int)err->code;
    const struct executor_spec spec = {
        .svc = agent->svc,
        .state_dir = svc_state_dir(agent->svc),
        .run_dir = svc_run_dir(agent->svc),
        .images = agent->images,
        .attachment = agent->attachment,
        .runtime = agent->options.runtime,
        .cgroup_parent = agent->options.cgroup_parent,
        .log_size_max = agent->options.log_size_max,
        .log_files_max = (unsigned)agent->options.log_files_max,
        .event = on_executor,
        .arg = agent,
    };
    return executor_open(&spec, &agent->executor, err);
}

/* ---- --cleanup: take every container and link of this node away, and end ---- */
static void cleanup_end(void *arg)
{
    struct agent *agent = arg;
    net_close(agent->attachment, true);
    agent->attachment = NULL;
    svc_log(agent->cleanup_left == 0 ? SVC_INFO : SVC_ERROR, "cleaned up", "left=%zu", agent->cleanup_left);
    svc_quit(agent->svc, agent->cleanup_left == 0 ? 0 : 1);
}

static void cleanup_one(struct agent *agent)
{
    if (--agent->cleanup_left == 0)
        svc_soon(agent->svc, cleanup_end, agent);
}

static void cleanup_found(void *arg, const struct executor_found *found)
{
    struct agent *agent = arg;
    agent->cleanup_left++;
    executor_remove(agent->executor, found->task_id);
}

static int cleanup_start(struct agent *agent, struct sw_err *err)
{
    executor_list(agent->executor, cleanup_found, agent);
    agent->attachment->ops->recovered(agent->attachment);
    agent->cleanup_timer = svc_timer_new(agent->svc, cleanup_end, agent);
    svc_timer_at(agent->cleanup_timer, svc_mono_ms() + CLEANUP_LIMIT_MS);
    if (agent->cleanup_left == 0)
        svc_soon(agent->svc, cleanup_end, agent);
    return records_open(svc_state_dir(agent->svc), &agent->records, err) == 0 ? records_clear(agent->records, err)
                                                                              : -(int)err->code;
}

static int start(struct svc *svc, void *state, struct sw_err *err)
{
    struct agent *agent = state;
    agent->svc = svc;
    if (identity_init(err) != 0 || executor_start_up(agent, err) != 0)
        return -(int)err->code;
    if (agent->options.cleanup)
        return cleanup_start(agent, err);
    agent->description = node_description(agent);
    agent->timer = svc_timer_new(svc, on_timer, agent);
    agent->relay = relay_new(agent);
    agent->listening = listening_new(agent, tell_core);
    if (bus_new(svc, &agent->bus, err) != 0 || records_open(svc_state_dir(svc), &agent->records, err) != 0 ||
        balancer_open(agent, &agent->balancer, err) != 0 || core_start(agent, err) != 0 || identity_load(agent, err) != 0)
        return -(int)err->code;
    return local_open(agent, &agent->local, err);
}

/* Containers go on: only what is ours is let go of. */
static void stop(struct svc *svc, void *state)
{
    struct agent *agent = state;
    (void)svc;
    svc_timer_free(agent->cleanup_timer);
    local_close(agent->local);
    if (agent->relay != NULL)
        relay_free(agent->relay);
    listening_free(agent->listening);
    session_close(agent->session);
    balancer_close(agent->balancer);
    svc_timer_free(agent->timer);
    executor_close(agent->executor);
    net_close(agent->attachment, false);
    images_close(agent->images);
    bus_free(agent->bus);
    records_close(agent->records);
    worker_free(agent->worker);
    sw_pb_free(agent->description);
    sw_pb_free(agent->identity);
}

/* ---- metrics ---- */
static void gauge(struct agent *agent, const char *name, const char *help, double value)
{
    *svc_metric(svc_metrics(agent->svc), SVC_GAUGE, name, "", help) = value;
}

static void counter(struct agent *agent, const char *name, const char *help, uint64_t value)
{
    *svc_metric(svc_metrics(agent->svc), SVC_COUNTER, name, "", help) = (double)value;
}

struct usage {
    struct agent *agent;
    double cpu_seconds, memory_bytes, processes;
};

static void usage_add(void *arg, const Swarm__Task *task)
{
    struct usage *usage = arg;
    struct executor_stats stats;
    struct sw_err err;
    if (executor_stats(usage->agent->executor, task->id, &stats, &err) != 0)
        return;
    usage->cpu_seconds += (double)stats.cpu_ns / 1e9;
    usage->memory_bytes += (double)stats.memory_bytes;
    usage->processes += (double)stats.pids;
}

static void scrape(struct svc *svc, void *state)
{
    struct agent *agent = state;
    (void)svc;
    if (agent->worker == NULL)
        return;
    struct worker_stats stats = worker_stats(agent->worker);
    struct usage usage = { .agent = agent };
    worker_each_running(agent->worker, usage_add, &usage);
    gauge(agent, "swarm_agent_session_up", "1 if a dispatcher serves this node.", session_is_open(agent->session) ? 1 : 0);
    gauge(agent, "swarm_agent_tasks", "Tasks known, finished ones included.", (double)stats.tasks);
    gauge(agent, "swarm_agent_tasks_running", "Containers that run.", (double)stats.running);
    gauge(agent, "swarm_agent_operations", "Operations asked of the executor and not yet answered.", (double)stats.operations);
    gauge(agent, "swarm_agent_unreported_statuses", "Statuses the cluster has not committed yet.", (double)stats.unreported);
    gauge(agent, "swarm_agent_backends", "Backends in the last endpoint table.", (double)stats.backends);
    gauge(agent, "swarm_agent_log_streams", "Logs on their way to readers.", (double)relay_count(agent->relay));
    gauge(agent, "swarm_agent_containers_cpu_seconds", "CPU time of the containers that run now.", usage.cpu_seconds);
    gauge(agent, "swarm_agent_containers_memory_bytes", "Memory of the containers that run now.", usage.memory_bytes);
    gauge(agent, "swarm_agent_containers_processes", "Processes of the containers that run now.", usage.processes);
    counter(agent, "swarm_agent_starts_total", "Containers started.", stats.starts);
    counter(agent, "swarm_agent_failures_total", "Tasks that failed.", stats.failures);
    counter(agent, "swarm_agent_rejections_total", "Tasks rejected.", stats.rejected);
    counter(agent, "swarm_agent_retries_total", "Operations put off after a temporary failure.", stats.retries);
    counter(agent, "swarm_agent_reports_total", "Messages with statuses sent.", stats.reports);
    counter(agent, "swarm_agent_report_failures_total", "Messages with statuses that were not committed.", stats.report_failures);
    counter(agent, "swarm_agent_tables_total", "Endpoint tables sent.", stats.tables);
    counter(agent, "swarm_agent_resyncs_total", "Sessions renewed because assignments were missed.", stats.resyncs);
}

static bool healthy(struct svc *svc, void *state, char *why, size_t why_size)
{
    struct agent *agent = state;
    (void)svc;
    if (agent->identity == NULL || session_is_open(agent->session))
        return true;
    (void)snprintf(why, why_size, "no session with a dispatcher");
    return false;
}

int agent_main(int argc, char **argv)
{
    struct agent agent = { 0 };
    struct agent_options *o = &agent.options;
    const struct svc_option options[] = {
        { "advertise-addr", SVC_STRING, NULL, &o->advertise, 0, 0,
          "IP or interface told to other nodes when init and join name none" },
        { "bridge", SVC_STRING, "swarm0", &o->bridge, 0, 0, "name of the bridge that tasks are attached to" },
        { "cgroup-parent", SVC_STRING, "swarm", &o->cgroup_parent, 0, 0, "cgroup below which containers are put" },
        { "cleanup", SVC_BOOL, "false", &o->cleanup, 0, 0,
          "remove every container and link of this node, then end (the agent must not run)" },
        { "docker-host", SVC_STRING, "unix:///var/run/docker.sock", &o->docker_host, 0, 0,
          "Docker engine that images are imported from as docker-daemon:NAME" },
        { "drain-time", SVC_DURATION_MS, "1s", &o->drain_ms, 0, 600000, "between leaving the balancer and the stop signal" },
        { "label", SVC_LIST, NULL, &o->labels, 0, 0, "KEY=VALUE label of this node's engine; may be repeated" },
        { "log-files", SVC_UINT, "3", &o->log_files_max, 1, 100, "log files kept of a container" },
        { "log-size", SVC_UINT, "10485760", &o->log_size_max, 65536, 1u << 30,
          "bytes of a container's log file before it is rotated" },
        { "mtu", SVC_UINT, "0", &o->mtu, 0, 65535, "of task networks; 0 = as the default route's" },
        { "plain-registry", SVC_LIST, NULL, &o->plain_registries, 0, 0, "HOST:PORT of a registry without TLS; may be repeated" },
        { "registry-auth", SVC_STRING, NULL, &o->registry_auth, 0, 0, "file with registry credentials, as skopeo reads it" },
        { "runtime", SVC_STRING, NULL, &o->runtime, 0, 0, "OCI runtime; tried in turn when not given: crun, runc" },
        { "task-subnet", SVC_STRING, "172.30.0.0/16", &o->subnet, 0, 0, "addresses of this node's own task network" },
    };
    const struct svc_program program = {
        .name = "swarm-agent",
        .summary = "runs this node's tasks, and is the way for this node to enter and leave a cluster",
        .metrics_address = "127.0.0.1:9380",
        .options = options,
        .option_count = sizeof options / sizeof options[0],
        .state = &agent,
        .start = start,
        .stop = stop,
        .scrape = scrape,
        .healthy = healthy,
    };
    return svc_main(&program, argc, argv);
}
