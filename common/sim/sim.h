/* sim - a whole cluster in one process on virtual time: the store, one scheduler, one dispatcher, agents with played
 * containers, and everything that can go wrong between them, drawn from a seed. The cores are the real ones.
 *
 * Time     sim.now_ns: virtual nanoseconds; it jumps from event to event. Each process sees its own clock, a little skewed.
 * Order    events by time, ties by the order of posting: one seed, one history (sim.digest tells).
 * Travel   messages are encoded and decoded on their way. A link keeps order, may delay, lose, and be cut.
 * Faults   only while sim.faults: lost messages, slow links, crashes of every process, cut nodes, refused terms, failing
 *          containers. After that the cluster has to converge.
 * Broken   a checker that finds something wrong calls sim_broken(), which prints the seed and ends the process:
 *          SIM_UNSAFE for what must never be, SIM_STUCK for what has not come about.
 */
#ifndef SIM_H
#define SIM_H

#include "common/base/id.h"
#include "common/base/idmap.h"
#include "common/store/apply.h"
#include "common/store/mirror.h"
#include "common/store/object.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_NODES 5
#define SIM_MS INT64_C(1000000)
#define SIM_S (1000 * SIM_MS)
#define SIM_EPOCH_NS (INT64_C(1700000000) * SIM_S)
#define SIM_UNSAFE 2
#define SIM_STUCK 3

struct sim;
struct sim_event;
typedef void sim_fn(struct sim *sim, struct sim_event *event);

/* A process: what was meant for an earlier life of it never arrives. */
struct sim_life {
    unsigned number;
    bool up;
};
struct sim_event {
    int64_t at_ns;
    uint64_t order;
    sim_fn *fn;
    const struct sim_life *life; /* NULL: always delivered */
    unsigned life_number;
    size_t node;   /* of agents */
    unsigned conn; /* of links */
    uint64_t tag;
    int kind;
    char id[SW_ID_SIZE];
    void *message; /* owned; freed after delivery */
};

struct sim_store;
struct sim_scheduler;
struct sim_dispatcher;
struct sim_agent;

struct sim {
    uint64_t seed;
    int64_t now_ns;
    struct sw_rng rng;
    bool faults, verbose;
    uint64_t posted, delivered, digest;
    struct sim_event *heap;
    size_t count, cap;
    struct sim_store *store;
    struct sim_scheduler *scheduler;
    struct sim_dispatcher *dispatcher;
    struct sim_agent *agents[SIM_NODES];
};

/* ---- the loop ---- */
void sim_post(struct sim *sim, int64_t delay_ns, struct sim_event event); /* takes event.message */
bool sim_run_until(struct sim *sim, int64_t at_ns);                       /* deliver all that is due by then */
uint64_t sim_below(struct sim *sim, uint64_t bound);
bool sim_chance(struct sim *sim, unsigned per_mille); /* only while there are faults */
int64_t sim_delay_ns(struct sim *sim);                /* of one message */
/* When a message posted now on a link arrives: after the one before it. */
int64_t sim_link_delay_ns(struct sim *sim, int64_t *last_ns);
void sim_note(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* with --verbose */
_Noreturn void sim_broken(struct sim *sim, int exit_code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- a run ---- */
struct sim_result {
    uint64_t events, digest, tasks;
};
struct sim_result sim_play(uint64_t seed, unsigned steps, bool verbose);

#endif
