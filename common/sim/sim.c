#include "common/sim/sim.h"

#include "common/sim/parts.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- events: a binary heap by time, then order of posting ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void swap(struct sim_event *a, struct sim_event *b)
{
    struct sim_event t = *a;
    *a = *b;
    *b = t;
}

void sim_post(struct sim *sim, int64_t delay_ns, struct sim_event event)
{
    if (sim->count == sim->cap) {
        sim->cap = sim->cap == 0 ? 256 : 2 * sim->cap;
        sim->heap = sw_realloc_array(sim->heap, sim->cap, sizeof *sim->heap);
    }
    event.at_ns = sim->now_ns + (delay_ns > 0 ? delay_ns : 0);
    event.order = sim->posted++;
    event.life_number = event.life != NULL ? event.life->number : 0;
    size_t i = sim->count++;
    sim->heap[i] = event;
    for (; i > 0 && before(&sim->heap[i], &sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&sim->heap[i], &sim->heap[(i - 1) / 2]);
}

static struct sim_event pop(struct sim *sim)
{
    struct sim_event top = sim->heap[0];
    sim->heap[0] = sim->heap[--sim->count];
    for (size_t i = 0;;) {
        size_t first = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < sim->count; child++)
            if (before(&sim->heap[child], &sim->heap[first]))
                first = child;
        if (first == i)
            return top;
        swap(&sim->heap[i], &sim->heap[first]);
        i = first;
    }
}

static void mix(struct sim *sim, uint64_t value)
{
    sim->digest = (sim->digest ^ value) * UINT64_C(0x100000001b3);
}

bool sim_run_until(struct sim *sim, int64_t at_ns)
{
    while (sim->count > 0 && sim->heap[0].at_ns <= at_ns) {
        struct sim_event event = pop(sim);
        assert(event.at_ns >= sim->now_ns);
        sim->now_ns = event.at_ns;
        bool alive = event.life == NULL || (event.life->up && event.life->number == event.life_number);
        if (alive) {
            sim->delivered++;
            mix(sim, (uint64_t)event.at_ns ^ event.order);
            event.fn(sim, &event);
        }
        sw_pb_free(event.message);
    }
    sim->now_ns = at_ns;
    return sim->count > 0;
}

/* ---- chance ---- */

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return sw_rng_below(&sim->rng, bound);
}

bool sim_chance(struct sim *sim, unsigned per_mille)
{
    return sim->faults && sim_below(sim, 1000) < per_mille;
}

int64_t sim_delay_ns(struct sim *sim)
{
    int64_t us = 50 + (int64_t)sim_below(sim, 2000);
    if (sim_chance(sim, 20))
        us += (int64_t)sim_below(sim, 500000);
    return us * 1000;
}

int64_t sim_link_delay_ns(struct sim *sim, int64_t *last_ns)
{
    int64_t at_ns = sim->now_ns + sim_delay_ns(sim);
    if (at_ns <= *last_ns)
        at_ns = *last_ns + 1;
    *last_ns = at_ns;
    return at_ns - sim->now_ns;
}

/* ---- words ---- */

void sim_note(struct sim *sim, const char *fmt, ...)
{
    if (!sim->verbose)
        return;
    va_list args;
    va_start(args, fmt);
    printf("%9.3f  ", (double)(sim->now_ns / 1000) / 1e6);
    (void)vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

void sim_broken(struct sim *sim, int exit_code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("seed %llu, %.3f s: %s: ", (unsigned long long)sim->seed, (double)(sim->now_ns / 1000) / 1e6,
           exit_code == SIM_UNSAFE ? "unsafe" : "stuck");
    (void)vprintf(fmt, args);
    printf("\nreplay: swarm-sim --seed %llu --verbose\n", (unsigned long long)sim->seed);
    va_end(args);
    (void)fflush(stdout);
    exit(exit_code);
}

/* ---- a run ---- */

#define CONVERGE_S 900
#define QUIET_S 20

/* Converged, and still so for a while. */
static void converge(struct sim *sim)
{
    int quiet = 0;
    char why[256] = "";
    for (int second = 0; second < CONVERGE_S && quiet < QUIET_S; second++) {
        (void)sim_run_until(sim, sim->now_ns + SIM_S);
        quiet = check_converged(sim, why, sizeof why) ? quiet + 1 : 0;
    }
    if (quiet < QUIET_S)
        sim_broken(sim, SIM_STUCK, "not converged %d s after the last fault: %s", CONVERGE_S, why);
}

struct sim_result sim_play(uint64_t seed, unsigned steps, bool verbose)
{
    struct sim sim = { .seed = seed, .verbose = verbose };
    sw_rng_seed(&sim.rng, seed);
    store_open(&sim);
    scheduler_open(&sim);
    dispatcher_open(&sim);
    for (size_t i = 0; i < SIM_NODES; i++)
        agent_open(&sim, i);
    sim.faults = true;
    for (unsigned step = 0; step < steps; step++) {
        workload_step(&sim);
        (void)sim_run_until(&sim, sim.now_ns + (int64_t)(1 + sim_below(&sim, 2500)) * SIM_MS);
    }
    sim.faults = false;
    workload_heal(&sim);
    converge(&sim);
    struct sim_result result = { sim.delivered, sim.digest, store_task_count(&sim) };
    for (size_t i = 0; i < SIM_NODES; i++)
        agent_close(&sim, i);
    dispatcher_close(&sim);
    scheduler_close(&sim);
    store_close(&sim);
    while (sim.count > 0)
        sw_pb_free(pop(&sim).message);
    free(sim.heap);
    return result;
}
