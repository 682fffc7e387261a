#include "services/agent/core/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct worker *worker_new(const struct worker_config *config)
{
    struct worker *w = sw_alloc0(sizeof *w);
    w->config = *config;
    w->description = config->description != NULL ? sw_pb_clone(config->description) : NULL;
    w->generation = w->acked = config->generation;
    sw_rng_seed(&w->rng, config->seed);
    return w;
}

/* Expanded tasks are the only heap that effects own. */
static void effects_reset(struct worker *w)
{
    for (size_t i = 0; i < w->effect_count; i++)
        if (w->effects[i].type == WORKER_PREPARE)
            sw_pb_free((void *)(uintptr_t)w->effects[i].task);
    w->effect_count = 0;
    w->out_count = 0;
    sw_idmap_clear(&w->forgets);
    sw_scratch_reset(&w->scratch);
}

void worker_free(struct worker *w)
{
    if (w == NULL)
        return;
    effects_reset(w);
    for (size_t i = 0; i < w->tasks.count; i++)
        wtask_free(w->tasks.rows[i].value);
    sw_idmap_deinit(&w->tasks);
    sw_idmap_deinit(&w->strangers);
    sw_idmap_deinit(&w->forgets);
    sw_scratch_deinit(&w->scratch);
    sw_pb_free(w->description);
    free(w->session);
    free(w->effects);
    free(w->out);
    free(w);
}

struct worker_effect *effect_add(struct worker *w, enum worker_effect_type type, const char *task_id)
{
    if (w->effect_count == w->effect_cap) {
        w->effect_cap = w->effect_cap != 0 ? w->effect_cap * 2 : 32;
        w->effects = sw_realloc_array(w->effects, w->effect_cap, sizeof *w->effects);
    }
    struct worker_effect *effect = &w->effects[w->effect_count++];
    memset(effect, 0, sizeof *effect);
    effect->type = type;
    effect->task_id = sw_scratch_str(&w->scratch, task_id);
    return effect;
}

/* The row may be freed by this: rows are walked from the end. */
static void advance_all(struct worker *w)
{
    for (size_t i = w->tasks.count; i-- > 0;)
        task_advance(w, w->tasks.rows[i].value);
}

/* ---- recovery ---- */
static struct wtask *task_add(struct worker *w, const Swarm__Task *task)
{
    struct wtask *t = sw_alloc0(sizeof *t);
    t->task = sw_pb_clone(task);
    t->deadline_ms = NEVER;
    sw_idmap_put(&w->tasks, task->id, t);
    return t;
}

static void on_loaded(struct worker *w, const Swarm__Task *task)
{
    assert(!w->recovered);
    if (strlen(task->id) <= SW_ID_LEN && !sw_idmap_has(&w->tasks, task->id))
        (void)task_add(w, task);
}

static void on_found(struct worker *w, const struct worker_event *event)
{
    assert(!w->recovered);
    struct wtask *t = sw_idmap_get(&w->tasks, event->task_id);
    if (t == NULL) {
        if (strlen(event->task_id) <= SW_ID_LEN)
            sw_idmap_put(&w->strangers, event->task_id, NULL);
        return;
    }
    t->found = true;
    t->found_as = event->found;
    if (event->address != NULL)
        sw_pb_set(&t->address, event->address);
    Swarm__ContainerStatus *container = task_container(t);
    if (event->text != NULL)
        sw_pb_set(&container->container_id, event->text);
    if (event->found == WORKER_FOUND_EXITED) {
        container->exit_code = event->exit_code;
        container->oom_killed = event->oom_killed;
    } else if (event->found == WORKER_FOUND_RUNNING) {
        container->has_pid = true;
        container->pid = event->pid;
    }
}

static void on_recovered(struct worker *w)
{
    assert(!w->recovered);
    w->recovered = true;
    w->table_dirty = true;
    for (size_t i = 0; i < w->tasks.count; i++)
        task_recover(w, w->tasks.rows[i].value);
    for (size_t i = 0; i < w->strangers.count; i++)
        (void)effect_add(w, WORKER_REMOVE, w->strangers.rows[i].id);
    sw_idmap_clear(&w->strangers);
    advance_all(w);
}

/* ---- assignments ---- */
static void session_reset(struct worker *w)
{
    free(w->session);
    w->session = NULL;
    w->sequence = 0;
    w->synced = w->reporting = false;
    for (size_t i = 0; i < w->tasks.count; i++) {
        struct wtask *t = w->tasks.rows[i].value;
        t->reported = t->in_report = false;
    }
}

static void on_session_up(struct worker *w, const char *session)
{
    session_reset(w);
    w->session = sw_strdup(session);
    w->report_ms = 0;
}

static void resync(struct worker *w)
{
    session_reset(w);
    w->stats.resyncs++;
    (void)effect_add(w, WORKER_RESYNC, NULL);
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

/* A desired state never goes back; the status kept here stays. A complete list tells what the manager knows of it. */
static void task_update(struct wtask *t, const Swarm__Task *task, bool complete)
{
    Swarm__Task *fresh = sw_pb_clone(task);
    if (complete)
        t->reported = fresh->status->state == task_state(t) && same_text(fresh->status->err, t->task->status->err);
    if (fresh->desired_state < t->task->desired_state)
        fresh->desired_state = t->task->desired_state;
    sw_pb_free(fresh->status);
    fresh->status = SW_TAKE(t->task->status);
    sw_pb_free(t->task);
    t->task = fresh;
    t->unsaved = true;
}

/* A task never heard of that the manager believes far on: its container is not here, so it is lost, or prepared anew. */
static struct wtask *task_take(struct worker *w, const Swarm__Task *task)
{
    struct wtask *t = task_add(w, task);
    t->unsaved = true;
    t->reported = true;
    if (w->tasks.count > WORKER_TASKS_MAX && task_state(t) < SWARM__TASK_STATE__TASK_STARTING) {
        w->stats.rejected++;
        task_set_state(w, t, SWARM__TASK_STATE__TASK_REJECTED, "rejected", "the node has 4096 tasks already");
    }
    task_recover(w, t);
    return t;
}

static void assign(struct worker *w, const Swarm__Task *task)
{
    if (task->id[0] == '\0' || strlen(task->id) > SW_ID_LEN)
        return;
    struct wtask *t = sw_idmap_get(&w->tasks, task->id);
    if (t == NULL)
        t = task_take(w, task);
    else if (!t->removing)
        task_update(t, task, !w->synced);
    t->seen = true;
    task_advance(w, t);
}

static void unassign(struct worker *w, const char *task_id)
{
    struct wtask *t = sw_idmap_get(&w->tasks, task_id);
    if (t == NULL)
        return;
    t->removing = true;
    task_advance(w, t);
}

static void complete_end(struct worker *w)
{
    w->synced = true;
    for (size_t i = w->tasks.count; i-- > 0;) {
        struct wtask *t = w->tasks.rows[i].value;
        if (t->seen)
            continue;
        t->removing = true;
        task_advance(w, t);
    }
}

static void items_apply(struct worker *w, const Swarm__Assignments *a)
{
    for (size_t i = 0; i < a->n_items; i++) {
        const Swarm__Assignment *item = a->items[i];
        if (item->task == NULL)
            continue; /* secrets and configs are not used by tasks yet */
        if (item->action == SWARM__ASSIGNMENT_ACTION__ASSIGN_REMOVE)
            unassign(w, item->task->id);
        else
            assign(w, item->task);
    }
}

static void on_assignments(struct worker *w, const Swarm__Assignments *a)
{
    if (w->session == NULL || strcmp(w->session, a->session) != 0 || w->leaving)
        return;
    if (a->sequence != w->sequence + 1 || a->complete == w->synced) {
        resync(w);
        return;
    }
    if (a->complete && a->sequence == 1)
        for (size_t i = 0; i < w->tasks.count; i++)
            ((struct wtask *)w->tasks.rows[i].value)->seen = false;
    w->sequence = a->sequence;
    items_apply(w, a);
    if (a->complete && !a->more)
        complete_end(w);
}

/* ---- reports ---- */
static bool to_be_reported(const struct wtask *t)
{
    return !t->reported && !t->removing && task_state(t) > SWARM__TASK_STATE__TASK_ASSIGNED;
}

static void report_add(struct worker *w, Swarm__TaskReports *reports, struct wtask *t)
{
    Swarm__TaskReport *report = sw_scratch_alloc(&w->scratch, sizeof *report);
    swarm__task_report__init(report);
    report->task_id = t->task->id;
    report->status = t->task->status;
    t->in_report = true;
    reports->reports[reports->n_reports++] = report;
}

static void report_flush(struct worker *w)
{
    if (w->session == NULL || !w->synced || w->reporting || w->now_ms < w->report_ms)
        return;
    size_t count = 0;
    for (size_t i = 0; i < w->tasks.count; i++)
        count += to_be_reported(w->tasks.rows[i].value) ? 1 : 0;
    if (count == 0)
        return;
    Swarm__TaskReports *reports = sw_scratch_alloc(&w->scratch, sizeof *reports);
    swarm__task_reports__init(reports);
    reports->session = sw_scratch_str(&w->scratch, w->session);
    reports->reports = sw_scratch_alloc(&w->scratch, count * sizeof(Swarm__TaskReport *));
    for (size_t i = 0; i < w->tasks.count && reports->n_reports < WORKER_REPORTS_MAX; i++)
        if (to_be_reported(w->tasks.rows[i].value))
            report_add(w, reports, w->tasks.rows[i].value);
    w->reporting = true;
    w->stats.reports++;
    effect_add(w, WORKER_REPORT, NULL)->reports = reports;
}

static void on_reported(struct worker *w, bool ok)
{
    if (!w->reporting)
        return;
    w->reporting = false;
    for (size_t i = 0; i < w->tasks.count; i++) {
        struct wtask *t = w->tasks.rows[i].value;
        t->reported = t->reported || (ok && t->in_report);
        t->in_report = false;
    }
    if (ok)
        return;
    w->stats.report_failures++;
    w->report_ms = w->now_ms + WORKER_REPORT_RETRY_MS;
}

/* ---- the executor's and the balancer's answers ---- */
static void on_executor(struct worker *w, const struct worker_event *event)
{
    struct wtask *t = sw_idmap_get(&w->tasks, event->task_id);
    if (t == NULL)
        return;
    if (event->type == WORKER_EV_PREPARED)
        task_prepared(w, t, event);
    else if (event->type == WORKER_EV_STARTED)
        task_started(w, t, event);
    else if (event->type == WORKER_EV_EXITED)
        task_exited(w, t, event->exit_code, event->oom_killed);
    else
        task_removed(w, t, event);
    task_advance(w, t);
}

static void on_acked(struct worker *w, uint64_t generation)
{
    if (!w->table_flying || generation != w->generation)
        return;
    w->table_flying = false;
    w->acked = generation;
    advance_all(w);
}

static void on_table(struct worker *w, bool up)
{
    w->table_up = up;
    w->table_flying = false;
    w->table_dirty = true;
}

/* Tasks are shut down and reported so, that the cluster need not guess what became of them. */
static void on_leave(struct worker *w)
{
    w->leaving = true;
    for (size_t i = w->tasks.count; i-- > 0;) {
        struct wtask *t = w->tasks.rows[i].value;
        if (t->task->desired_state < SWARM__TASK_STATE__TASK_SHUTDOWN)
            t->task->desired_state = SWARM__TASK_STATE__TASK_SHUTDOWN;
        t->unsaved = true;
        task_advance(w, t);
    }
}

static bool leave_done(const struct worker *w)
{
    for (size_t i = 0; i < w->tasks.count; i++) {
        const struct wtask *t = w->tasks.rows[i].value;
        if (t->alive || t->op != WOP_NONE || task_state(t) < SWARM__TASK_STATE__TASK_COMPLETE)
            return false;
        if (w->session != NULL && to_be_reported(t))
            return false;
    }
    return true;
}

static void handle(struct worker *w, const struct worker_event *event)
{
    switch (event->type) {
    case WORKER_EV_LOADED:
        on_loaded(w, event->task);
        return;
    case WORKER_EV_FOUND:
        on_found(w, event);
        return;
    case WORKER_EV_RECOVERED:
        on_recovered(w);
        return;
    case WORKER_EV_SESSION_UP:
        on_session_up(w, event->text);
        return;
    case WORKER_EV_SESSION_DOWN:
        session_reset(w);
        return;
    case WORKER_EV_ASSIGNMENTS:
        on_assignments(w, event->assignments);
        return;
    case WORKER_EV_REPORTED:
        on_reported(w, event->ok);
        return;
    case WORKER_EV_PREPARED:
    case WORKER_EV_STARTED:
    case WORKER_EV_EXITED:
    case WORKER_EV_REMOVED:
        on_executor(w, event);
        return;
    case WORKER_EV_TABLE_ACKED:
        on_acked(w, event->generation);
        return;
    case WORKER_EV_TABLE_DOWN:
        on_table(w, false);
        return;
    case WORKER_EV_TABLE_UP:
        on_table(w, true);
        return;
    case WORKER_EV_LEAVE:
        on_leave(w);
        return;
    case WORKER_EV_TICK:
        return; /* deadlines are looked at after every event */
    }
    assert(!"event type");
}

/* ---- the step ---- */
static void deadlines_run(struct worker *w)
{
    for (size_t i = w->tasks.count; i-- > 0;) {
        struct wtask *t = w->tasks.rows[i].value;
        if (t->deadline_ms <= w->now_ms)
            task_advance(w, t);
    }
}

static uint64_t deadline(const struct worker *w)
{
    uint64_t at = NEVER;
    bool unreported = false;
    for (size_t i = 0; i < w->tasks.count; i++) {
        const struct wtask *t = w->tasks.rows[i].value;
        at = t->deadline_ms < at ? t->deadline_ms : at;
        unreported = unreported || to_be_reported(t);
    }
    if (unreported && w->session != NULL && w->synced && !w->reporting && w->report_ms < at)
        at = w->report_ms;
    return at;
}

static void out_add(struct worker *w, struct worker_effect effect)
{
    if (w->out_count == w->out_cap) {
        w->out_cap = w->out_cap != 0 ? w->out_cap * 2 : 32;
        w->out = sw_realloc_array(w->out, w->out_cap, sizeof *w->out);
    }
    w->out[w->out_count++] = effect;
}

/* What is to be durable comes first. */
static void out_build(struct worker *w)
{
    for (size_t i = 0; i < w->tasks.count; i++) {
        struct wtask *t = w->tasks.rows[i].value;
        if (t->unsaved)
            out_add(w, (struct worker_effect) { .type = WORKER_SAVE, .task_id = t->task->id, .task = t->task });
        t->unsaved = false;
    }
    for (size_t i = 0; i < w->forgets.count; i++)
        out_add(w, (struct worker_effect) { .type = WORKER_FORGET, .task_id = w->forgets.rows[i].id });
    for (size_t i = 0; i < w->effect_count; i++)
        out_add(w, w->effects[i]);
}

void worker_step(struct worker *w, const struct worker_event *event, struct worker_update *ret_update)
{
    assert(event->now_ms >= w->now_ms);
    w->now_ms = event->now_ms;
    w->wall_ns = event->wall_ns;
    effects_reset(w);
    handle(w, event);
    if (w->recovered) {
        deadlines_run(w);
        table_flush(w);
        report_flush(w);
        if (w->leaving && !w->left && leave_done(w)) {
            w->left = true;
            (void)effect_add(w, WORKER_EMPTY, NULL);
        }
        out_build(w);
    }
    *ret_update = (struct worker_update) { w->out, w->out_count, w->recovered ? deadline(w) : NEVER };
}

struct worker_stats worker_stats(const struct worker *w)
{
    struct worker_stats stats = w->stats;
    stats.tasks = w->tasks.count;
    stats.backends = w->backends;
    for (size_t i = 0; i < w->tasks.count; i++) {
        const struct wtask *t = w->tasks.rows[i].value;
        stats.running += t->alive ? 1 : 0;
        stats.operations += t->op != WOP_NONE ? 1 : 0;
        stats.unreported += to_be_reported(t) ? 1 : 0;
    }
    return stats;
}

const Swarm__Task *worker_task(const struct worker *w, const char *task_id)
{
    const struct wtask *t = sw_idmap_get(&w->tasks, task_id);
    return t != NULL ? t->task : NULL;
}

void worker_each_running(const struct worker *w, void (*fn)(void *arg, const Swarm__Task *task), void *arg)
{
    for (size_t i = 0; i < w->tasks.count; i++) {
        const struct wtask *t = w->tasks.rows[i].value;
        if (t->alive)
            fn(arg, t->task);
    }
}
