#include "services/scheduler/core/updater.h"

#include "services/scheduler/core/restart.h"

#include <assert.h>

enum slot_phase {
    SLOT_CLEAN,    /* nothing to do, and not of this run or done with it */
    SLOT_DIRTY,    /* waits for its turn */
    SLOT_UNDER_WAY /* its turn: the new task is not running yet, or runs for less than the delay */
};
struct run {
    struct world *world;
    struct spec_check *check;
    const Swarm__Service *service;
    const Swarm__UpdateConfig *config;
    size_t slots, dirty, under_way, failures;
    int64_t watched_until_ns; /* when the last new task has run for `monitor` */
    const char *failed_task;
};

static const Swarm__UpdateConfig default_config = SWARM__UPDATE_CONFIG__INIT;

static Swarm__UpdateState state_of(const Swarm__Service *service)
{
    return service->update_status != NULL ? service->update_status->state : SWARM__UPDATE_STATE__UPDATE_NONE;
}

bool updater_rolling_back(const Swarm__Service *service)
{
    Swarm__UpdateState state = state_of(service);
    return state == SWARM__UPDATE_STATE__UPDATE_ROLLBACK_STARTED || state == SWARM__UPDATE_STATE__UPDATE_ROLLBACK_PAUSED;
}

static bool under_way(const Swarm__Service *service)
{
    Swarm__UpdateState state = state_of(service);
    return state == SWARM__UPDATE_STATE__UPDATE_UPDATING || state == SWARM__UPDATE_STATE__UPDATE_ROLLBACK_STARTED;
}

static bool paused(const Swarm__Service *service)
{
    Swarm__UpdateState state = state_of(service);
    return state == SWARM__UPDATE_STATE__UPDATE_PAUSED || state == SWARM__UPDATE_STATE__UPDATE_ROLLBACK_PAUSED;
}

static int64_t monitor_ns(const Swarm__UpdateConfig *config)
{
    return config->has_monitor_ns ? config->monitor_ns : UPDATER_MONITOR_NS;
}

/* ---- update_status ---- */

static void set_status(struct run *run, Swarm__Service *edit, Swarm__UpdateState state, const char *message)
{
    int64_t now_ns = run->world->now_ns;
    if (edit->update_status == NULL) {
        edit->update_status = sw_alloc0(sizeof *edit->update_status);
        swarm__update_status__init(edit->update_status);
    }
    Swarm__UpdateStatus *status = edit->update_status;
    bool starts = state == SWARM__UPDATE_STATE__UPDATE_UPDATING || state == SWARM__UPDATE_STATE__UPDATE_ROLLBACK_STARTED;
    status->has_state = true;
    status->state = state;
    status->has_started_ns = status->has_started_ns || starts;
    status->started_ns = starts ? now_ns : status->started_ns;
    status->has_completed_ns =
        state == SWARM__UPDATE_STATE__UPDATE_COMPLETED || state == SWARM__UPDATE_STATE__UPDATE_ROLLBACK_COMPLETED;
    status->completed_ns = status->has_completed_ns ? now_ns : 0;
    sw_pb_set(&status->message, message);
}

static void write_service(struct run *run, Swarm__Service *edit)
{
    plan_txn(&run->world->plan);
    run->service = world_update(run->world, SWARM__TABLE__TABLE_SERVICE, edit);
    run->check->service = run->service;
}

static void enter(struct run *run, Swarm__UpdateState state, const char *message)
{
    Swarm__Service *edit = world_edit(run->service);
    set_status(run, edit, state, message);
    write_service(run, edit);
}

static void roll_back(struct run *run, const char *message)
{
    Swarm__Service *edit = world_edit(run->service);
    sw_pb_free(edit->spec);
    edit->spec = SW_TAKE(edit->previous_spec);
    edit->spec_version = edit->previous_spec_version;
    edit->has_previous_spec_version = false;
    edit->previous_spec_version = 0;
    set_status(run, edit, SWARM__UPDATE_STATE__UPDATE_ROLLBACK_STARTED, message);
    write_service(run, edit);
}

static void fail(struct run *run)
{
    bool back = state_of(run->service) == SWARM__UPDATE_STATE__UPDATE_ROLLBACK_STARTED;
    bool can_roll = run->config->failure_action == SWARM__UPDATE_FAILURE_ACTION__UPDATE_ROLLBACK && !back &&
                    run->service->previous_spec != NULL;
    SW_AUTO(sw_free)
    char *message = sw_strf("%s due to failure or early termination of task %s",
                            back       ? "rollback paused"
                            : can_roll ? "update rolled back"
                                       : "update paused",
                            run->failed_task);
    if (can_roll)
        roll_back(run, message);
    else
        enter(run, back ? SWARM__UPDATE_STATE__UPDATE_ROLLBACK_PAUSED : SWARM__UPDATE_STATE__UPDATE_PAUSED, message);
}

/* ---- slots ---- */

/* The first task of the new version that this run made in the slot, or NULL. */
static const Swarm__Task *first_of_run(const struct run *run, const struct slot *slot)
{
    for (size_t i = 0; under_way(run->service) && i < slot->count; i++) {
        const Swarm__Task *task = slot->tasks[i];
        if (task->spec_version == run->service->spec_version && task->meta->created_ns >= run->service->update_status->started_ns)
            return task;
    }
    return NULL;
}

static const Swarm__Task *live_task(const struct run *run, const struct slot *slot, bool dirty)
{
    const Swarm__Task *found = NULL;
    for (size_t i = 0; i < slot->count; i++) {
        const Swarm__Task *task = slot->tasks[i];
        if (task_live(task) && spec_dirty(run->check, task) == dirty &&
            (found == NULL || task->desired_state > found->desired_state))
            found = task;
    }
    return found;
}

static bool failed_early(const struct run *run, const Swarm__Task *task)
{
    if (task->status->state == SWARM__TASK_STATE__TASK_COMPLETE && task->spec->restart != NULL &&
        task->spec->restart->condition != SWARM__RESTART_CONDITION__RESTART_ANY)
        return false;
    if (task->status->state == SWARM__TASK_STATE__TASK_SHUTDOWN || task->status->state == SWARM__TASK_STATE__TASK_ORPHANED)
        return false; /* taken away, as by a drain */
    int64_t since_ns = idset_get(&run->world->running, task->id, 0);
    if (since_ns != 0)
        return task_since_ns(task) < since_ns + monitor_ns(run->config);
    return task_since_ns(task) < task->meta->created_ns + TASK_OLD_WAIT_NS + monitor_ns(run->config);
}

/* Judge the slot's new task: whether it is under way, failed, or still watched. */
static bool new_task_under_way(struct run *run, const Swarm__Task *task)
{
    int64_t now_ns = run->world->now_ns;
    if (task_dead(task)) {
        if (failed_early(run, task)) {
            run->failures++;
            run->failed_task = task->id;
        }
        return false;
    }
    if (task->status->state < SWARM__TASK_STATE__TASK_RUNNING) {
        int64_t until_ns = task->meta->created_ns + UPDATER_PROGRESS_NS;
        if (now_ns < until_ns) {
            world_wake_service(run->world, run->service->id, until_ns);
            return true;
        }
        run->failures++;
        run->failed_task = task->id;
        return false;
    }
    (void)idset_add(&run->world->running, task->id, task_since_ns(task));
    int64_t since_ns = idset_get(&run->world->running, task->id, now_ns);
    int64_t watched_ns = since_ns + monitor_ns(run->config);
    run->watched_until_ns = watched_ns > run->watched_until_ns ? watched_ns : run->watched_until_ns;
    if (now_ns >= since_ns + run->config->delay_ns)
        return false;
    world_wake_service(run->world, run->service->id, since_ns + run->config->delay_ns);
    return true;
}

/* Ask the slot's dirty tasks to stop, all but one (NULL: all). */
static void stop_dirty_but(struct run *run, struct slot *slot, const Swarm__Task *keep)
{
    for (size_t i = 0; i < slot->count; i++)
        if (slot->tasks[i] != keep && task_live(slot->tasks[i]) && spec_dirty(run->check, slot->tasks[i]))
            slot->tasks[i] = task_want(run->world, slot->tasks[i], SWARM__TASK_STATE__TASK_SHUTDOWN);
}

static void stop_dirty(struct run *run, struct slot *slot)
{
    stop_dirty_but(run, slot, NULL);
}

/* The dirty task that serves until the new one does: the one that has come furthest. */
static const Swarm__Task *serving(const struct run *run, const struct slot *slot)
{
    const Swarm__Task *best = NULL;
    for (size_t i = 0; i < slot->count; i++) {
        const Swarm__Task *task = slot->tasks[i];
        bool counts = task_live(task) && !task_dead(task) && spec_dirty(run->check, task);
        if (counts && (best == NULL || task->status->state > best->status->state))
            best = task;
    }
    return best;
}

/* At most one live task of the new version; the best one stays. */
static void stop_doubles(struct run *run, struct slot *slot)
{
    const Swarm__Task *keep = live_task(run, slot, false);
    for (size_t i = 0; keep != NULL && i < slot->count; i++)
        if (slot->tasks[i] != keep && task_live(slot->tasks[i]) && !spec_dirty(run->check, slot->tasks[i]))
            slot->tasks[i] = task_want(run->world, slot->tasks[i], SWARM__TASK_STATE__TASK_SHUTDOWN);
}

static bool start_first(const struct run *run)
{
    return run->config->order == SWARM__UPDATE_ORDER__START_FIRST;
}

/* Neither a start-first pair that may become one, nor two of the new version. */
static void tidy(struct run *run, struct slot *slot)
{
    const Swarm__Task *clean = live_task(run, slot, false);
    plan_txn(&run->world->plan);
    if (clean != NULL && (!start_first(run) || clean->status->state == SWARM__TASK_STATE__TASK_RUNNING))
        stop_dirty(run, slot);
    stop_doubles(run, slot);
}

/* The newest task has the new version and is dead, and no other is coming: done with its work, or given up on. */
static bool new_one_ended(struct run *run, struct slot *slot)
{
    const Swarm__Task *newest = slot_newest(slot);
    if (newest->spec_version != run->service->spec_version || !task_dead(newest) || restart_wanted(run->service, slot, newest))
        return false;
    plan_txn(&run->world->plan);
    if (newest->status->state == SWARM__TASK_STATE__TASK_COMPLETE)
        stop_dirty(run, slot);
    return true;
}

static enum slot_phase look(struct run *run, struct slot *slot)
{
    tidy(run, slot);
    const Swarm__Task *clean = live_task(run, slot, false);
    const Swarm__Task *dirty = live_task(run, slot, true);
    const Swarm__Task *first = first_of_run(run, slot);
    bool wait = first != NULL && new_task_under_way(run, first);
    if (wait || (clean != NULL && dirty != NULL)) /* start-first: the new one is on its way, the old one serves */
        return SLOT_UNDER_WAY;
    if (clean != NULL || new_one_ended(run, slot))
        return SLOT_CLEAN;
    return dirty != NULL || spec_dirty(run->check, slot_newest(slot)) ? SLOT_DIRTY : SLOT_CLEAN;
}

/* One slot's turn: the new task, and stop-first the end of the old one, in one transaction. */
static void replace(struct run *run, struct slot *slot)
{
    const Swarm__Task *old = slot_newest(slot);
    bool was_live = slot_live(slot);
    Swarm__TaskState desired = was_live && start_first(run) ? SWARM__TASK_STATE__TASK_RUNNING : SWARM__TASK_STATE__TASK_READY;
    SW_AUTO(sw_free) char *node_id = slot->number == 0 ? sw_strdup(old->node_id) : NULL;
    plan_txn(&run->world->plan);
    stop_dirty_but(run, slot, start_first(run) ? serving(run, slot) : NULL);
    slot_add(slot, task_create(run->world, run->service, slot->number, node_id, desired));
}

static bool too_many_failures(const struct run *run)
{
    if (run->failures == 0 || run->config->failure_action == SWARM__UPDATE_FAILURE_ACTION__UPDATE_CONTINUE)
        return false;
    return (uint64_t)run->failures * 1000000 > (uint64_t)run->config->max_failure_ppm * run->slots;
}

static void complete(struct run *run)
{
    if (run->world->now_ns < run->watched_until_ns) {
        world_wake_service(run->world, run->service->id, run->watched_until_ns);
        return;
    }
    if (state_of(run->service) == SWARM__UPDATE_STATE__UPDATE_UPDATING)
        enter(run, SWARM__UPDATE_STATE__UPDATE_COMPLETED, "update completed");
    else
        enter(run, SWARM__UPDATE_STATE__UPDATE_ROLLBACK_COMPLETED, "rollback completed");
}

/* A task with another spec, or two live ones: both of a start-first pair have the present spec when an update is taken back. */
static bool slot_dirty(struct run *run, const struct slot *slot)
{
    size_t live = 0;
    for (size_t i = 0; i < slot->count; i++) {
        const Swarm__Task *task = slot->tasks[i];
        live += task_live(task) ? 1 : 0;
        bool counts = task_live(task) || (i + 1 == slot->count && restart_settled(run->service, slot));
        if (counts && spec_dirty(run->check, task))
            return true;
    }
    return live > 1;
}

static bool any_dirty(struct run *run, struct slot *const *slots, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (slot_dirty(run, slots[i]))
            return true;
    return false;
}

/* Begin a run if there is need of one; false: there is nothing to do. */
static bool begin(struct run *run, struct slot *const *slots, size_t count)
{
    switch (state_of(run->service)) {
    case SWARM__UPDATE_STATE__UPDATE_PAUSED:
    case SWARM__UPDATE_STATE__UPDATE_ROLLBACK_PAUSED:
        return false;
    case SWARM__UPDATE_STATE__UPDATE_UPDATING:
        return true;
    case SWARM__UPDATE_STATE__UPDATE_ROLLBACK_STARTED:
        if (!run->service->update_status->has_started_ns) {
            SW_AUTO(sw_free) char *message = sw_strdup(run->service->update_status->message);
            enter(run, SWARM__UPDATE_STATE__UPDATE_ROLLBACK_STARTED, message);
        }
        return true;
    case SWARM__UPDATE_STATE__UPDATE_NONE:
    case SWARM__UPDATE_STATE__UPDATE_COMPLETED:
    case SWARM__UPDATE_STATE__UPDATE_ROLLBACK_COMPLETED:
        if (!any_dirty(run, slots, count))
            return false;
        enter(run, SWARM__UPDATE_STATE__UPDATE_UPDATING, "update in progress");
        return true;
    case _SWARM__UPDATE_STATE_IS_INT_SIZE:
        break;
    }
    return false;
}

static const Swarm__UpdateConfig *config_of(const Swarm__Service *service)
{
    const Swarm__UpdateConfig *config = updater_rolling_back(service) ? service->spec->rollback : service->spec->update;
    return config != NULL ? config : &default_config;
}

const Swarm__Service *updater_step(struct world *world, struct spec_check *check, struct slot *const *slots, size_t count)
{
    struct run run = { .world = world, .check = check, .service = check->service, .slots = count };
    run.config = config_of(run.service);
    if (paused(run.service))
        for (size_t i = 0; i < count; i++)
            tidy(&run, slots[i]);
    if (!begin(&run, slots, count))
        return run.service;
    run.config = config_of(run.service);
    SW_AUTO(sw_free) struct slot **waiting = sw_realloc_array(NULL, count, sizeof *waiting);
    for (size_t i = 0; i < count; i++) {
        enum slot_phase phase = look(&run, slots[i]);
        run.under_way += phase == SLOT_UNDER_WAY ? 1 : 0;
        if (phase == SLOT_DIRTY)
            waiting[run.dirty++] = slots[i];
    }
    if (too_many_failures(&run)) {
        fail(&run);
        return run.service;
    }
    size_t parallel = run.config->parallelism == 0 ? SIZE_MAX : run.config->parallelism;
    for (size_t i = 0; i < run.dirty && run.under_way < parallel; i++, run.under_way++)
        replace(&run, waiting[i]);
    if (run.dirty == 0 && run.under_way == 0)
        complete(&run);
    return run.service;
}
