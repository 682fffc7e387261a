#include "services/agent/core/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RUNNING SWARM__TASK_STATE__TASK_RUNNING
#define COMPLETE SWARM__TASK_STATE__TASK_COMPLETE
#define SHUTDOWN SWARM__TASK_STATE__TASK_SHUTDOWN

void wtask_free(struct wtask *t)
{
    sw_pb_free(t->task);
    free(t->address);
    free(t);
}

/* The only writer of a status' state: it never goes back. */
void task_set_state(struct worker *w, struct wtask *t, Swarm__TaskState state, const char *message, const char *why)
{
    Swarm__TaskStatus *status = t->task->status;
    assert(state >= status->state);
    status->has_state = true;
    status->state = state;
    status->has_timestamp_ns = true;
    status->timestamp_ns = w->wall_ns;
    sw_pb_set(&status->message, message);
    sw_pb_set(&status->err, why);
    t->unsaved = true;
    t->reported = t->in_report = false;
}

Swarm__ContainerStatus *task_container(struct wtask *t)
{
    Swarm__TaskStatus *status = t->task->status;
    if (status->container == NULL) {
        status->container = sw_alloc0(sizeof *status->container);
        swarm__container_status__init(status->container);
    }
    return status->container;
}

static bool winding_down(const struct wtask *t)
{
    return t->removing || t->task->desired_state >= SHUTDOWN;
}

/* Before STARTING the task never ran: rejected. From STARTING on it failed. */
static void task_fail(struct worker *w, struct wtask *t, const char *why)
{
    t->deadline_ms = NEVER;
    if (task_state(t) < SWARM__TASK_STATE__TASK_STARTING) {
        w->stats.rejected++;
        task_set_state(w, t, SWARM__TASK_STATE__TASK_REJECTED, "rejected", why);
        return;
    }
    w->stats.failures++;
    task_set_state(w, t, SWARM__TASK_STATE__TASK_FAILED, "started", why);
}

/* Keep the state, say why in err, and come back later: 1 s, doubling to 30 s, a tenth of it at random. */
static void task_retry_later(struct worker *w, struct wtask *t, const char *why)
{
    uint64_t delay = WORKER_RETRY_MIN_MS << (t->failures < 5 ? t->failures : 5);
    if (delay > WORKER_RETRY_MAX_MS)
        delay = WORKER_RETRY_MAX_MS;
    t->failures++;
    t->deadline_ms = w->now_ms + delay + sw_rng_below(&w->rng, delay / 10);
    w->stats.retries++;
    const char *message = t->task->status->message;
    if (t->task->status->err == NULL || strcmp(t->task->status->err, why) != 0)
        task_set_state(w, t, task_state(t), sw_scratch_str(&w->scratch, message), why);
}

static void ask_remove(struct worker *w, struct wtask *t)
{
    t->op = WOP_REMOVE;
    t->deadline_ms = NEVER;
    (void)effect_add(w, WORKER_REMOVE, t->task->id);
}

/* ---- down ---- */
static uint64_t grace_ms(const struct wtask *t)
{
    const Swarm__ContainerSpec *spec = t->task->spec->container;
    if (!spec->has_stop_grace_ns)
        return WORKER_GRACE_DEFAULT_MS;
    return spec->stop_grace_ns > 0 ? (uint64_t)spec->stop_grace_ns / 1000000 : 0;
}

static void stop_enter(struct worker *w, struct wtask *t, enum wstop stop, uint64_t wait_ms)
{
    t->stop = stop;
    t->deadline_ms = w->now_ms + wait_ms;
}

static void stop_signal(struct worker *w, struct wtask *t)
{
    const char *signal = t->task->spec->container->stop_signal;
    struct worker_effect *effect = effect_add(w, WORKER_SIGNAL, t->task->id);
    effect->text = signal != NULL && signal[0] != '\0' ? sw_scratch_str(&w->scratch, signal) : NULL;
    stop_enter(w, t, WSTOP_GRACE, grace_ms(t));
}

static void stop_kill(struct worker *w, struct wtask *t)
{
    (void)effect_add(w, WORKER_KILL, t->task->id);
    stop_enter(w, t, WSTOP_KILL, WORKER_GRACE_DEFAULT_MS); /* and again, should the process not be gone by then */
}

/* A running container, one step nearer to its end. */
static void stop_advance(struct worker *w, struct wtask *t)
{
    bool due = w->now_ms >= t->deadline_ms;
    switch (t->stop) {
    case WSTOP_NO:
        if (!t->serving) {
            stop_signal(w, t);
            return;
        }
        stop_enter(w, t, WSTOP_DRAIN, WORKER_TABLE_WAIT_MS);
        table_changed(w, t);
        return;
    case WSTOP_DRAIN:
        if (due || table_settled(w, t))
            stop_enter(w, t, WSTOP_LINGER, w->config.drain_ms);
        return;
    case WSTOP_LINGER:
        if (due)
            stop_signal(w, t);
        return;
    case WSTOP_GRACE:
    case WSTOP_KILL:
        if (due)
            stop_kill(w, t);
        return;
    }
    assert(!"stop");
}

static void forget(struct worker *w, struct wtask *t)
{
    sw_idmap_put(&w->forgets, t->task->id, NULL);
    (void)sw_idmap_remove(&w->tasks, t->task->id);
    wtask_free(t);
}

static void advance_down(struct worker *w, struct wtask *t)
{
    if (t->op == WOP_START || t->op == WOP_REMOVE) {
        if (t->op == WOP_REMOVE && w->now_ms >= t->deadline_ms)
            ask_remove(w, t);
        return;
    }
    if (t->op == WOP_PREPARE) {
        ask_remove(w, t); /* cancels it */
        return;
    }
    if (t->alive) {
        stop_advance(w, t);
        return;
    }
    bool finished = task_state(t) >= COMPLETE;
    if (t->exists && (t->removing || !finished)) {
        ask_remove(w, t);
        return;
    }
    t->deadline_ms = NEVER;
    if (!finished)
        task_set_state(w, t, SHUTDOWN, "shutdown", NULL);
    if (t->removing)
        forget(w, t);
}

/* ---- up ---- */
static void ask_prepare(struct worker *w, struct wtask *t)
{
    struct sw_err err;
    Swarm__Task *expanded = task_expand(w, t->task, &err);
    if (expanded == NULL) {
        task_fail(w, t, err.text);
        return;
    }
    t->op = WOP_PREPARE;
    t->exists = true;
    t->deadline_ms = NEVER;
    effect_add(w, WORKER_PREPARE, t->task->id)->task = expanded; /* freed at the next step */
}

static void ask_start(struct worker *w, struct wtask *t)
{
    t->op = WOP_START;
    t->deadline_ms = NEVER;
    w->stats.starts++;
    (void)effect_add(w, WORKER_START, t->task->id);
}

/* The container runs: the task does when the balancer knows it, or has had its time. */
static void advance_running(struct worker *w, struct wtask *t)
{
    if (!t->serving && t->address != NULL && table_has_ports(t)) {
        t->serving = true;
        table_choose_ports(w, t);
        table_changed(w, t);
        t->deadline_ms = w->now_ms + WORKER_TABLE_WAIT_MS;
    }
    if (t->serving && !table_settled(w, t) && w->now_ms < t->deadline_ms)
        return;
    t->deadline_ms = NEVER;
    task_set_state(w, t, RUNNING, "started", NULL);
}

static void advance_up(struct worker *w, struct wtask *t)
{
    Swarm__TaskState desired = t->task->desired_state;
    if (t->op != WOP_NONE)
        return;
    if (task_state(t) < SWARM__TASK_STATE__TASK_ACCEPTED)
        task_set_state(w, t, SWARM__TASK_STATE__TASK_ACCEPTED, "accepted", NULL);
    if (task_state(t) == SWARM__TASK_STATE__TASK_ACCEPTED && desired > SWARM__TASK_STATE__TASK_ACCEPTED)
        task_set_state(w, t, SWARM__TASK_STATE__TASK_PREPARING, "preparing", NULL);
    bool waiting = t->deadline_ms != NEVER && w->now_ms < t->deadline_ms;
    if (task_state(t) == SWARM__TASK_STATE__TASK_PREPARING) {
        if (!t->prepared) {
            if (!waiting)
                ask_prepare(w, t);
            return;
        }
        task_set_state(w, t, SWARM__TASK_STATE__TASK_READY, "prepared", NULL);
    }
    if (task_state(t) == SWARM__TASK_STATE__TASK_READY && desired > SWARM__TASK_STATE__TASK_READY) {
        if (!t->prepared) { /* parked before a restart that lost the container */
            if (!waiting)
                ask_prepare(w, t);
            return;
        }
        task_set_state(w, t, SWARM__TASK_STATE__TASK_STARTING, "starting", NULL);
    }
    if (task_state(t) != SWARM__TASK_STATE__TASK_STARTING)
        return;
    if (t->alive)
        advance_running(w, t);
    else if (!waiting)
        ask_start(w, t);
}

void task_advance(struct worker *w, struct wtask *t)
{
    if (!w->recovered)
        return;
    if (winding_down(t))
        advance_down(w, t);
    else if (task_state(t) < RUNNING)
        advance_up(w, t);
}

/* ---- what the executor says ---- */
static const char *reason(const struct worker_event *event)
{
    return event->text != NULL && event->text[0] != '\0' ? event->text : "no reason was given";
}

static void take_address(struct wtask *t, const char *address)
{
    if (address != NULL)
        sw_pb_set(&t->address, address);
}

void task_prepared(struct worker *w, struct wtask *t, const struct worker_event *event)
{
    if (t->op != WOP_PREPARE)
        return; /* cancelled meanwhile: REMOVED is the answer that counts */
    t->op = WOP_NONE;
    if (event->failure == WORKER_OK) {
        t->prepared = true;
        t->failures = 0;
        t->deadline_ms = NEVER;
        take_address(t, event->address);
        if (event->container_id != NULL)
            sw_pb_set(&task_container(t)->container_id, event->container_id);
        if (t->task->status->err != NULL)
            task_set_state(w, t, task_state(t), "preparing", NULL);
    } else if (event->failure == WORKER_TEMPORARY) {
        task_retry_later(w, t, reason(event));
    } else {
        task_fail(w, t, reason(event));
    }
}

void task_started(struct worker *w, struct wtask *t, const struct worker_event *event)
{
    if (t->op != WOP_START)
        return;
    t->op = WOP_NONE;
    if (event->failure == WORKER_OK) {
        t->prepared = false;
        t->alive = true;
        t->failures = 0;
        t->deadline_ms = NEVER;
        Swarm__ContainerStatus *container = task_container(t);
        if (event->container_id != NULL)
            sw_pb_set(&container->container_id, event->container_id);
        container->has_pid = true;
        container->pid = event->pid;
    } else if (event->failure == WORKER_TEMPORARY && !winding_down(t)) {
        task_retry_later(w, t, reason(event));
    } else if (!winding_down(t)) {
        t->prepared = false;
        task_fail(w, t, reason(event));
    }
}

static void record_exit(struct wtask *t, int exit_code, bool oom_killed)
{
    Swarm__ContainerStatus *container = task_container(t);
    container->has_pid = false;
    container->pid = 0;
    container->has_exit_code = true;
    container->exit_code = exit_code;
    container->has_oom_killed = oom_killed;
    container->oom_killed = oom_killed;
}

void task_exited(struct worker *w, struct wtask *t, int exit_code, bool oom_killed)
{
    if (!t->alive)
        return;
    t->alive = t->prepared = false;
    t->stop = WSTOP_NO;
    t->deadline_ms = NEVER;
    if (t->serving) {
        t->serving = false;
        table_changed(w, t);
    }
    if (task_state(t) >= COMPLETE)
        return;
    record_exit(t, exit_code, oom_killed);
    if (winding_down(t))
        task_set_state(w, t, SHUTDOWN, "shutdown", NULL);
    else if (exit_code == 0)
        task_set_state(w, t, COMPLETE, "finished", NULL);
    else
        task_fail(w, t,
                  sw_scratch_strf(&w->scratch, "task: non-zero exit (%d)%s", exit_code, oom_killed ? ": out of memory" : ""));
}

void task_removed(struct worker *w, struct wtask *t, const struct worker_event *event)
{
    if (t->op != WOP_REMOVE)
        return;
    if (event->failure != WORKER_OK) {
        t->deadline_ms = w->now_ms + WORKER_REMOVE_RETRY_MS;
        return;
    }
    t->op = WOP_NONE;
    t->exists = t->prepared = t->alive = false;
    if (t->serving) {
        t->serving = false;
        table_changed(w, t);
    }
}

/* ---- after a restart of the agent, or of the whole machine ---- */
static void recover_running(struct worker *w, struct wtask *t)
{
    if (task_state(t) >= COMPLETE)
        return; /* says it ended, yet it lives: stopped and removed with the task */
    if (task_state(t) < SWARM__TASK_STATE__TASK_STARTING)
        task_set_state(w, t, SWARM__TASK_STATE__TASK_STARTING, "starting", NULL);
    if (task_state(t) == RUNNING && t->address != NULL && table_has_ports(t)) {
        t->serving = true;
        table_choose_ports(w, t);
        table_changed(w, t);
    }
}

/* What is not finished and not there any more: prepared anew, or failed if it had been started. */
void task_recover(struct worker *w, struct wtask *t)
{
    if (t->found) {
        t->exists = true;
        t->prepared = t->found_as == WORKER_FOUND_PREPARED;
        t->alive = t->found_as == WORKER_FOUND_RUNNING;
    }
    if (t->alive) {
        recover_running(w, t);
        return;
    }
    if (t->found && t->found_as == WORKER_FOUND_EXITED && task_state(t) < COMPLETE) {
        const Swarm__ContainerStatus *container = task_container(t);
        if (task_state(t) < SWARM__TASK_STATE__TASK_STARTING)
            task_set_state(w, t, SWARM__TASK_STATE__TASK_STARTING, "starting", NULL);
        t->alive = true;
        task_exited(w, t, container->exit_code, container->oom_killed);
        return;
    }
    bool lost = task_state(t) >= SWARM__TASK_STATE__TASK_STARTING && task_state(t) < COMPLETE && !t->prepared;
    if (lost && !winding_down(t))
        task_fail(w, t, "the container is gone: the node was restarted, or it was removed by hand");
}
