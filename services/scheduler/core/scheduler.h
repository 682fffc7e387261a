/* scheduler - the control loops of a cluster as one state machine: what the store says in, what to commit out.
 *
 * Place    scheduler process; fed by io/shell.c, by tests and by the simulator.
 * Round    SCHED_TICK decides: nodes (orphans.h, enforcer.h), then each dirty service (allocator.h, replicated.h or global.h with
 *          restart.h, updater.h and reaper.h), then placement.h. All of a round is committed before the next one begins; what
 *          comes up meanwhile is taken together by the next.
 * Time     event.now_ns: nanoseconds since 1970 on the caller's clock, which never goes back.
 * Memory   the update's commit is the scheduler's, good until the next scheduler_step().
 * Errors   SCHED_CORRUPT: the feed told something that does not parse or fit; subscribe again. A broken contract asserts.
 */
#ifndef SCHED_SCHEDULER_H
#define SCHED_SCHEDULER_H

#include "common/store/object.h"

#include <stdbool.h>
#include <stdint.h>

#define SCHED_NEVER INT64_MAX

struct scheduler;

enum sched_event_type {
    SCHED_TICK,     /* decide, if something has to be decided */
    SCHED_SNAPSHOT, /* a chunk of the feed's snapshot */
    SCHED_CHANGES,  /* an applied entry, or news of leadership */
    SCHED_RESULT,   /* the commit's answer */
    SCHED_LOST      /* the feed is gone, or a commit's fate is unknown: forget everything */
};
struct sched_event {
    enum sched_event_type type;
    int64_t now_ns;
    union {
        const Swarm__FeedSnapshot *snapshot;
        const Swarm__FeedChanges *changes;
        const Swarm__CommitReply *reply;
    };
};
struct sched_update {
    const Swarm__StoreBatch *commit; /* send this and bring its answer, or NULL */
    int64_t deadline_ns;             /* SCHED_TICK at this time at the latest; past = as soon as the events at hand are in */
};
enum sched_result { SCHED_OK, SCHED_CORRUPT };

struct scheduler *scheduler_new(uint64_t seed);
void scheduler_free(struct scheduler *scheduler); /* NULL is fine */
enum sched_result scheduler_step(struct scheduler *scheduler, const struct sched_event *event, struct sched_update *ret_update);

/* For metrics and tests. */
struct sched_stats {
    uint64_t decisions, placed, commits, conflicts, rounds;
    size_t waiting; /* tasks to be placed */
    bool leader, synced, busy;
    uint64_t version; /* of the mirror */
};
struct sched_stats scheduler_stats(const struct scheduler *scheduler);

#endif
