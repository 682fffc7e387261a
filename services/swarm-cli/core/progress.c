#include "services/swarm-cli/core/progress.h"

#include "common/base/names.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MONITOR_DEFAULT_MS 5000
#define BAR_WIDTH 50
#define BAR_TERMINAL_MIN 110
#define ERROR_SHOWN 75

void progress_init(struct progress *progress, const char *service_id, bool terminal, unsigned width, bool quiet)
{
    *progress = (struct progress) { .terminal = terminal, .width = width, .quiet = quiet, .monitor_ms = MONITOR_DEFAULT_MS };
    (void)snprintf(progress->service_id, sizeof progress->service_id, "%s", service_id);
}

/* ---- drawing ---- */

static void plain_line(struct progress *progress, struct sw_buf *out, const char *label, const char *text)
{
    if (!progress->quiet && !progress->terminal)
        sw_buf_addf(out, "%s: %s\n", label, text);
}

/* Terminal: all lines again, in place. */
static void draw(struct progress *progress, struct sw_buf *out)
{
    if (progress->quiet || !progress->terminal)
        return;
    if (progress->drawn > 0)
        sw_buf_addf(out, "\033[%zuA", progress->drawn);
    sw_buf_addf(out, "\r\033[2K%s\n", progress->overall);
    progress->drawn = 1;
    for (size_t i = 0; i < progress->line_count; i++, progress->drawn++)
        sw_buf_addf(out, "\033[2K%s: %s\n", progress->lines[i].label, progress->lines[i].text);
    if (progress->verify[0] != '\0') {
        sw_buf_addf(out, "\033[2Kverify: %s\n", progress->verify);
        progress->drawn++;
    }
    sw_buf_adds(out, "\033[J");
}

static void set_verify(struct progress *progress, const char *text, struct sw_buf *out)
{
    if (strcmp(progress->verify, text) == 0)
        return;
    (void)snprintf(progress->verify, sizeof progress->verify, "%s", text);
    plain_line(progress, out, "verify", text);
}

static void set_overall(struct progress *progress, uint64_t running, uint64_t wanted, struct sw_buf *out)
{
    char text[sizeof progress->overall];
    (void)snprintf(text, sizeof text, "%s: %llu out of %llu tasks",
                   progress->rolling_back ? "rolling back update" : "overall progress", (unsigned long long)running,
                   (unsigned long long)wanted);
    if (strcmp(text, progress->overall) == 0)
        return;
    memcpy(progress->overall, text, sizeof text);
    if (!progress->quiet && !progress->terminal)
        sw_buf_addf(out, "%s\n", text);
}

/* ---- one task's line ---- */

static const struct {
    Swarm__TaskState state;
    unsigned step;
} steps[] = {
    { SWARM__TASK_STATE__TASK_NEW, 1 },      { SWARM__TASK_STATE__TASK_PENDING, 3 },   { SWARM__TASK_STATE__TASK_ASSIGNED, 4 },
    { SWARM__TASK_STATE__TASK_ACCEPTED, 5 }, { SWARM__TASK_STATE__TASK_PREPARING, 6 }, { SWARM__TASK_STATE__TASK_READY, 7 },
    { SWARM__TASK_STATE__TASK_STARTING, 8 }, { SWARM__TASK_STATE__TASK_RUNNING, 9 },
};

static unsigned step_of(Swarm__TaskState state)
{
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (steps[i].state == state)
            return steps[i].step;
    return 0;
}

static void describe(const struct progress *progress, const Swarm__Task *task, struct progress_line *line)
{
    const char *err = task->status->err;
    char bar[BAR_WIDTH + 1];
    unsigned step = step_of(task->status->state);
    if (err != NULL && err[0] != '\0') {
        size_t len = strnlen(err, ERROR_SHOWN + 1);
        int shown = len > ERROR_SHOWN ? ERROR_SHOWN - 1 : (int)len;
        while (len > ERROR_SHOWN && shown > 0 && ((unsigned char)err[shown] & 0xc0) == 0x80)
            shown--;
        (void)snprintf(line->text, sizeof line->text, "%-9s %.*s%s", step != 0 ? sw_task_state_name(task->status->state) : "",
                       shown, err, len > ERROR_SHOWN ? "\xe2\x80\xa6" : "");
        return;
    }
    if (progress->width <= BAR_TERMINAL_MIN || step == 0) {
        (void)snprintf(line->text, sizeof line->text, "%-9s", sw_task_state_name(task->status->state));
        return;
    }
    size_t full = (size_t)BAR_WIDTH * step / 9;
    memset(bar, '=', full);
    bar[full - 1] = '>';
    memset(bar + full, ' ', BAR_WIDTH - full);
    bar[BAR_WIDTH] = '\0';
    (void)snprintf(line->text, sizeof line->text, "%-9s [%s]", sw_task_state_name(task->status->state), bar);
}

/* ---- counting ---- */

struct count {
    uint64_t running, wanted;
};

static bool listed(char *const *list, size_t count, const char *id)
{
    for (size_t i = 0; id != NULL && i < count; i++)
        if (strcmp(list[i], id) == 0)
            return true;
    return false;
}

/* Tasks that count: made by the present spec, wanted, not on a node that is down. */
static bool counts(const Swarm__ServiceWatchEvent *event, const Swarm__Task *task)
{
    return task->desired_state <= SWARM__TASK_STATE__TASK_RUNNING && !listed(event->outdated, event->n_outdated, task->id) &&
           !listed(event->down_nodes, event->n_down_nodes, task->node_id);
}

/* One task stands for its slot: the newest. */
static bool stands(const Swarm__ServiceWatchEvent *event, const Swarm__Task *task, bool global)
{
    for (size_t i = 0; i < event->n_tasks; i++) {
        const Swarm__Task *other = event->tasks[i];
        bool same = global ? other->node_id != NULL && task->node_id != NULL && strcmp(other->node_id, task->node_id) == 0
                           : other->slot == task->slot;
        if (other != task && same && counts(event, other) && other->meta->created_ns > task->meta->created_ns)
            return false;
    }
    return true;
}

static struct count tally(const Swarm__ServiceWatchEvent *event)
{
    const Swarm__ServiceMode *mode = event->service->spec->mode;
    bool global = mode->kind == SWARM__SERVICE_MODE_KIND__MODE_GLOBAL;
    struct count count = { 0, global ? event->eligible_nodes : mode->replicas };
    for (size_t i = 0; i < event->n_tasks; i++)
        count.running += counts(event, event->tasks[i]) && stands(event, event->tasks[i], global) &&
                         event->tasks[i]->status->state == SWARM__TASK_STATE__TASK_RUNNING;
    return count;
}

static int compare_slots(const void *a, const void *b)
{
    const Swarm__Task *x = *(const Swarm__Task *const *)a;
    const Swarm__Task *y = *(const Swarm__Task *const *)b;
    if (x->slot != y->slot)
        return x->slot < y->slot ? -1 : 1;
    return strcmp(x->node_id != NULL ? x->node_id : "", y->node_id != NULL ? y->node_id : "");
}

static void update_lines(struct progress *progress, const Swarm__ServiceWatchEvent *event, uint64_t wanted, struct sw_buf *out)
{
    bool global = event->service->spec->mode->kind == SWARM__SERVICE_MODE_KIND__MODE_GLOBAL;
    const Swarm__Task *shown[PROGRESS_SLOTS_MAX];
    size_t count = 0;
    progress->line_count = 0;
    if (wanted > PROGRESS_SLOTS_MAX)
        return;
    for (size_t i = 0; i < event->n_tasks && count < PROGRESS_SLOTS_MAX; i++)
        if (counts(event, event->tasks[i]) && stands(event, event->tasks[i], global))
            shown[count++] = event->tasks[i];
    qsort(shown, count, sizeof *shown, compare_slots);
    for (size_t i = 0; i < wanted; i++) {
        struct progress_line *line = &progress->lines[progress->line_count++];
        *line = (struct progress_line) { .label = "" };
        if (global && i < count && shown[i]->node_id != NULL)
            (void)snprintf(line->label, sizeof line->label, "%.12s", shown[i]->node_id);
        else
            (void)snprintf(line->label, sizeof line->label, "%zu/%llu", i + 1, (unsigned long long)wanted);
        if (i < count)
            describe(progress, shown[i], line);
    }
    if (progress->slots_shown)
        return;
    progress->slots_shown = true;
    for (size_t i = 0; i < progress->line_count; i++)
        plain_line(progress, out, progress->lines[i].label, " ");
}

/* ---- update status ---- */

static enum progress_result fail(struct progress *progress, const char *what, const char *reason)
{
    (void)snprintf(progress->failure, sizeof progress->failure, "%s: %s", what, reason != NULL ? reason : "");
    return PROGRESS_FAILED;
}

static enum progress_result read_status(struct progress *progress, const Swarm__UpdateStatus *status, struct sw_buf *out)
{
    if (status == NULL)
        return PROGRESS_GOES_ON;
    const char *message = status->message != NULL ? status->message : "";
    switch (status->state) {
    case SWARM__UPDATE_STATE__UPDATE_NONE:
        break;
    case SWARM__UPDATE_STATE__UPDATE_UPDATING:
        progress->rolling_back = false;
        break;
    case SWARM__UPDATE_STATE__UPDATE_COMPLETED:
        return progress->converged ? PROGRESS_GOES_ON : PROGRESS_DONE;
    case SWARM__UPDATE_STATE__UPDATE_PAUSED:
        return fail(progress, "service update paused", message);
    case SWARM__UPDATE_STATE__UPDATE_ROLLBACK_STARTED:
        if (!progress->rolling_back && message[0] != '\0')
            plain_line(progress, out, "rollback", message);
        progress->rolling_back = true;
        break;
    case SWARM__UPDATE_STATE__UPDATE_ROLLBACK_PAUSED:
        return fail(progress, "service rollback paused", message);
    case SWARM__UPDATE_STATE__UPDATE_ROLLBACK_COMPLETED:
        if (!progress->converged)
            (void)snprintf(progress->last, sizeof progress->last, "rollback: %s", message);
        progress->rolling_back = true;
        break;
    case _SWARM__UPDATE_STATE_IS_INT_SIZE:
        break;
    }
    return PROGRESS_GOES_ON;
}

/* ---- events ---- */

static void read_monitor(struct progress *progress, const Swarm__ServiceSpec *spec)
{
    progress->monitor_ms = MONITOR_DEFAULT_MS;
    if (spec->update != NULL && spec->update->has_monitor_ns && spec->update->monitor_ns > 0)
        progress->monitor_ms = (uint64_t)(spec->update->monitor_ns / 1000000);
}

enum progress_result progress_event(struct progress *progress, const Swarm__ServiceWatchEvent *event, uint64_t now_ms,
                                    struct sw_buf *out)
{
    if (event->service == NULL)
        return fail(progress, "service was removed", progress->service_id);
    read_monitor(progress, event->service->spec);
    struct count count = tally(event);
    enum progress_result result = read_status(progress, event->service->update_status, out);
    set_overall(progress, count.running, count.wanted, out);
    update_lines(progress, event, count.wanted, out);
    if (result != PROGRESS_GOES_ON) {
        draw(progress, out);
        return result;
    }
    if (count.running == count.wanted && !progress->converged) {
        progress->converged = true;
        progress->converged_ms = now_ms;
    } else if (count.running != count.wanted && progress->converged) {
        progress->converged = false;
        set_verify(progress, "Detected task failure", out);
    }
    draw(progress, out);
    return progress_tick(progress, now_ms, out);
}

enum progress_result progress_tick(struct progress *progress, uint64_t now_ms, struct sw_buf *out)
{
    char text[sizeof progress->verify];
    if (!progress->converged)
        return PROGRESS_GOES_ON;
    assert(now_ms >= progress->converged_ms);
    uint64_t waited = now_ms - progress->converged_ms;
    bool done = waited >= progress->monitor_ms;
    if (done)
        (void)snprintf(text, sizeof text, "Service %s converged", progress->service_id);
    else
        (void)snprintf(text, sizeof text, "Waiting %llu seconds to verify that tasks are stable...",
                       (unsigned long long)((progress->monitor_ms - waited + 999) / 1000));
    set_verify(progress, text, out);
    draw(progress, out);
    if (!done)
        return PROGRESS_GOES_ON;
    if (progress->last[0] != '\0' && !progress->quiet)
        sw_buf_addf(out, "%s\n", progress->last);
    return PROGRESS_DONE;
}

uint64_t progress_wait(const struct progress *progress, uint64_t now_ms)
{
    if (!progress->converged)
        return 0;
    uint64_t waited = now_ms - progress->converged_ms;
    uint64_t left = waited < progress->monitor_ms ? progress->monitor_ms - waited : 0;
    return left == 0 ? 1 : left % 1000 != 0 ? left % 1000 : 1000;
}

void progress_interrupted(const struct progress *progress, struct sw_buf *out)
{
    if (progress->converged)
        return;
    sw_buf_addf(out, "Operation continuing in background.\nUse `swarm-cli service ps %s` to check progress.\n",
                progress->service_id);
}
