#include "common/sim/parts.h"

#include "services/scheduler/core/scheduler.h"

#include <stdlib.h>

struct sim_scheduler {
    struct sim_life life;
    struct scheduler *core;
    unsigned conn;
    uint64_t timer; /* tag of the one timer that counts */
};

static void step(struct sim *sim, struct sched_event event);

static void on_tick(struct sim *sim, struct sim_event *event)
{
    if (event->tag == sim->scheduler->timer)
        step(sim, (struct sched_event) { .type = SCHED_TICK });
}

static void on_store(struct sim *sim, struct sim_event *event);

static void subscribe(struct sim *sim)
{
    store_subscribe(sim, SIM_SCHEDULER, &sim->scheduler->life, on_store, ++sim->scheduler->conn);
}

static void step(struct sim *sim, struct sched_event event)
{
    struct sim_scheduler *self = sim->scheduler;
    struct sched_update update;
    event.now_ns = SIM_EPOCH_NS + sim->now_ns;
    enum sched_result result = scheduler_step(self->core, &event, &update);
    self->timer++;
    if (update.deadline_ns != SCHED_NEVER)
        sim_post(sim, update.deadline_ns - event.now_ns,
                 (struct sim_event) { .fn = on_tick, .life = &self->life, .tag = self->timer });
    if (result == SCHED_CORRUPT)
        subscribe(sim);
    else if (update.commit != NULL)
        store_commit(sim, SIM_SCHEDULER, update.commit);
}

static void on_store(struct sim *sim, struct sim_event *event)
{
    if (event->conn != sim->scheduler->conn)
        return;
    switch ((enum sim_answer)event->kind) {
    case ANSWER_SNAPSHOT:
        step(sim, (struct sched_event) { .type = SCHED_SNAPSHOT, .snapshot = event->message });
        return;
    case ANSWER_CHANGES:
        step(sim, (struct sched_event) { .type = SCHED_CHANGES, .changes = event->message });
        return;
    case ANSWER_REPLY:
        step(sim, (struct sched_event) { .type = SCHED_RESULT, .reply = event->message });
        return;
    case ANSWER_FAILED:
    case ANSWER_LOST:
        subscribe(sim);
        step(sim, (struct sched_event) { .type = SCHED_LOST });
        return;
    }
}

static void on_start(struct sim *sim, struct sim_event *event)
{
    (void)event;
    sim->scheduler->life.up = true;
    sim->scheduler->core = scheduler_new(sim_below(sim, UINT64_MAX));
    subscribe(sim);
}

void scheduler_crash(struct sim *sim)
{
    struct sim_scheduler *self = sim->scheduler;
    if (!self->life.up)
        return;
    sim_note(sim, "scheduler crashes");
    self->life.up = false;
    self->life.number++;
    scheduler_free(self->core);
    self->core = NULL;
    sim_post(sim, (int64_t)(20 + sim_below(sim, 3000)) * SIM_MS, (struct sim_event) { .fn = on_start });
}

void scheduler_open(struct sim *sim)
{
    sim->scheduler = sw_alloc0(sizeof *sim->scheduler);
    on_start(sim, NULL);
}

void scheduler_close(struct sim *sim)
{
    scheduler_free(sim->scheduler->core);
    free(sim->scheduler);
}
