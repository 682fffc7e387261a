/* Property test: seeded random clusters. Nodes join, drain, die, go; services are made, scaled, changed, removed; agents move
 * tasks forward or fail them; commits are refused now and then; the leader changes. Then all faults stop, and it must converge.
 *
 * Always (each commit): no observed or desired state goes back; identity (service, slot, node once set) never changes; a task
 * that waits for a node says why; a commit touches an object once.
 * At the end: every service has what it asks for, of its present spec, on fit nodes; spread differs by at most one where no
 * constraint stands in the way; history is within its limit; nothing is left of removed services.
 * Arguments: [first seed [last seed]].
 */
#include "services/scheduler/tests/scenario.h"

#include "common/base/constraint.h"
#include "common/base/names.h"
#include "common/base/units.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES 6
#define SERVICES 4
#define STEPS 120

struct play {
    struct cluster cluster;
    struct sw_rng rng;
    uint64_t seed;
};

static void fail(const struct play *play, const char *what, const char *id)
{
    printf("seed %llu: %s (%s)\n", (unsigned long long)play->seed, what, id);
    struct sw_buf text = { 0 };
    cluster_show((struct cluster *)(uintptr_t)&play->cluster, &text);
    printf("%s", sw_buf_str(&text));
    exit(1);
}

static bool node_there(const struct play *play, size_t n)
{
    char id[8];
    (void)snprintf(id, sizeof id, "n%zu", n);
    return mirror_node(play->cluster.store, id) != NULL;
}

static uint64_t below(struct play *play, uint64_t bound)
{
    return sw_rng_below(&play->rng, bound);
}

/* ---- always ---- */

static void check_task(const struct play *play, const Swarm__Task *old, const Swarm__Task *task)
{
    if (task->status->state <= SWARM__TASK_STATE__TASK_PENDING && task->desired_state <= SWARM__TASK_STATE__TASK_RUNNING &&
        (task->status->err == NULL || task->status->err[0] == '\0'))
        fail(play, "a task waits without a reason", task->id);
    if (old == NULL)
        return;
    if (task->status->state < old->status->state || task->desired_state < old->desired_state)
        fail(play, "a state goes back", task->id);
    if (strcmp(task->service_id, old->service_id) != 0 || task->slot != old->slot ||
        (old->node_id != NULL && strcmp(old->node_id, task->node_id) != 0))
        fail(play, "a task changes its identity", task->id);
}

static void check_batch(void *arg, const Swarm__StoreBatch *batch)
{
    struct play *play = arg;
    for (size_t i = 0; i < batch->n_txns; i++)
        for (size_t j = 0; j < batch->txns[i]->n_actions; j++) {
            const Swarm__StoreAction *action = batch->txns[i]->actions[j];
            if (action->table != SWARM__TABLE__TABLE_TASK || action->kind == SWARM__ACTION_KIND__ACTION_REMOVE)
                continue;
            Swarm__Task *task =
                sw_pb_unpack(&swarm__task__descriptor, action->record.data, action->record.len, STORE_RECORD_MAX, NULL);
            check_task(play, mirror_task(play->cluster.store, action->id), task);
            sw_pb_free(task);
        }
}

/* ---- what happens ---- */

static bool line(struct play *play, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool line(struct play *play, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return scenario_line(&play->cluster, text, NULL);
}

static void touch_node(struct play *play)
{
    char id[8];
    (void)snprintf(id, sizeof id, "n%llu", (unsigned long long)below(play, NODES));
    bool there = mirror_node(play->cluster.store, id) != NULL;
    static const char *const words[] = { "avail=active", "avail=drain",   "avail=pause",  "state=down",
                                         "state=ready",  "state=unknown", "label.zone=a", "label.zone=b" };
    if (there && below(play, 8) == 0)
        (void)line(play, "rmnode %s", id);
    else
        (void)line(play, "node %s %s", id, words[below(play, sizeof words / sizeof *words)]);
}

static void touch_service(struct play *play)
{
    unsigned n = (unsigned)below(play, SERVICES);
    char name[8];
    (void)snprintf(name, sizeof name, "s%u", n);
    const Swarm__Service *there = mirror_by_name(play->cluster.store, SWARM__TABLE__TABLE_SERVICE, name);
    if (there != NULL && there->pending_delete)
        return;
    if (there == NULL)
        (void)line(play, "service %s %s delay=%llus publish=0:80%s%s", name, n == 3 ? "global" : "replicas=3",
                   (unsigned long long)below(play, 3), n == 1 ? " order=start-first parallelism=2" : "",
                   n == 2 ? " host=90:90" : "");
    else if (below(play, 10) == 0)
        (void)line(play, "%s %s", below(play, 2) == 0 ? "rm" : "remove", name);
    else if (below(play, 2) == 0)
        (void)line(play, "service %s image=v%llu action=%s", name, (unsigned long long)below(play, 4),
                   below(play, 2) == 0 ? "rollback" : "continue");
    else if (n != 3)
        (void)line(play, "service %s replicas=%llu", name, (unsigned long long)below(play, 7));
}

static const Swarm__Task *random_task(struct play *play)
{
    size_t count = mirror_count(play->cluster.store, SWARM__TABLE__TABLE_TASK);
    const Swarm__Task *task = mirror_first(play->cluster.store, SWARM__TABLE__TABLE_TASK);
    for (uint64_t skip = count != 0 ? below(play, count) : 0; skip > 0; skip--)
        task = mirror_next(play->cluster.store, SWARM__TABLE__TABLE_TASK, task);
    return task;
}

static void fail_task(struct play *play)
{
    static const Swarm__TaskState ends[] = { SWARM__TASK_STATE__TASK_COMPLETE, SWARM__TASK_STATE__TASK_FAILED,
                                             SWARM__TASK_STATE__TASK_REJECTED };
    const Swarm__Task *task = random_task(play);
    if (task != NULL && task->status->state >= SWARM__TASK_STATE__TASK_ASSIGNED &&
        task->status->state <= SWARM__TASK_STATE__TASK_RUNNING)
        cluster_report(&play->cluster, task, ends[below(play, 3)], "test");
}

static void happen(struct play *play)
{
    switch (below(play, 10)) {
    case 0:
    case 1:
        touch_node(play);
        break;
    case 2:
    case 3:
        touch_service(play);
        break;
    case 4:
        fail_task(play);
        break;
    case 5:
        play->cluster.refuse = 1;
        break;
    case 6:
        if (below(play, 5) == 0)
            cluster_resubscribe(&play->cluster, below(play, 3) != 0);
        break;
    default:
        (void)cluster_agents(&play->cluster, below(play, 2) == 0, below(play, 2) == 0);
    }
}

/* ---- the end ---- */

static void heal(struct play *play)
{
    play->cluster.refuse = 0;
    cluster_resubscribe(&play->cluster, true);
    for (unsigned n = 0; n < NODES; n++)
        if (n == 0 || node_there(play, n))
            (void)line(play, "node n%u state=ready avail=active label.zone=a", n);
    for (unsigned n = 0; n < SERVICES; n++) { /* what was paused for its failures gets a new try, as a person would do */
        char name[8];
        (void)snprintf(name, sizeof name, "s%u", n);
        const Swarm__Service *there = mirror_by_name(play->cluster.store, SWARM__TABLE__TABLE_SERVICE, name);
        if (there != NULL && !there->pending_delete)
            (void)line(play, "service %s image=last action=continue%s", name,
                       n == 2 ? " replicas=1" : ""); /* its host port: one a node */
    }
    for (int i = 0; i < 300; i++) {
        (void)cluster_agents(&play->cluster, true, true);
        cluster_wait(&play->cluster, SW_NS_PER_S);
    }
}

struct tally {
    size_t running, history_max;
    size_t per_node[NODES];
};

static struct tally count(const struct play *play, const Swarm__Service *service)
{
    struct tally tally = { 0 };
    struct mirror_tasks tasks = mirror_tasks_of_service(play->cluster.store, service->id);
    for (size_t i = 0; i < tasks.count; i++) {
        const Swarm__Task *task = tasks.items[i];
        size_t in_slot = 0;
        for (size_t j = 0; j < tasks.count; j++)
            in_slot +=
                tasks.items[j]->slot == task->slot && (task->slot != 0 || strcmp(tasks.items[j]->node_id, task->node_id) == 0);
        tally.history_max = in_slot > tally.history_max ? in_slot : tally.history_max;
        if (task->desired_state == SWARM__TASK_STATE__TASK_RUNNING && task->status->state == SWARM__TASK_STATE__TASK_RUNNING) {
            tally.running++;
            tally.per_node[task->node_id[1] - '0']++;
            if (task->spec_version != service->spec_version &&
                strcmp(task->spec->container->image, service->spec->task->container->image) != 0)
                fail(play, "a task of an old spec runs at the end", task->id);
        } else if (task->desired_state <= SWARM__TASK_STATE__TASK_RUNNING) {
            fail(play, "a task is wanted but does not run at the end", task->id);
        }
    }
    return tally;
}

static void check_service(const struct play *play, const Swarm__Service *service)
{
    size_t nodes = mirror_count(play->cluster.store, SWARM__TABLE__TABLE_NODE);
    bool global = service->spec->mode->kind == SWARM__SERVICE_MODE_KIND__MODE_GLOBAL;
    bool one_a_node = service->spec->endpoint->n_ports > 1; /* a host port */
    size_t want = global ? nodes : (size_t)service->spec->mode->replicas;
    struct tally tally = count(play, service);
    if (service->pending_delete)
        fail(play, "a removed service is still there", service->id);
    if (tally.running != want)
        fail(play, "wrong number of running tasks", service->id);
    if (tally.history_max > 5)
        fail(play, "more history than its limit", service->id);
    for (size_t n = 0; n < NODES; n++)
        if ((global || one_a_node) && tally.per_node[n] > 1)
            fail(play, "two tasks where one fits", service->id);
}

/* A new service on the healed cluster is spread evenly. */
static void check_spread(struct play *play)
{
    size_t nodes = mirror_count(play->cluster.store, SWARM__TABLE__TABLE_NODE);
    (void)line(play, "service fresh replicas=%llu", (unsigned long long)(1 + below(play, 20)));
    cluster_settle(&play->cluster);
    (void)cluster_agents(&play->cluster, true, true);
    struct tally tally = count(play, mirror_by_name(play->cluster.store, SWARM__TABLE__TABLE_SERVICE, "fresh"));
    size_t most = 0;
    size_t least = SIZE_MAX;
    for (size_t n = 0; n < NODES; n++) {
        if (!node_there(play, n))
            continue;
        most = tally.per_node[n] > most ? tally.per_node[n] : most;
        least = tally.per_node[n] < least ? tally.per_node[n] : least;
    }
    if (nodes > 0 && most - least > 1)
        fail(play, "uneven spread", "fresh");
}

static void run(uint64_t seed)
{
    struct play play = { .seed = seed };
    cluster_init(&play.cluster, seed);
    sw_rng_seed(&play.rng, seed);
    play.cluster.check = check_batch;
    play.cluster.check_arg = &play;
    for (int i = 0; i < STEPS; i++) {
        happen(&play);
        cluster_wait(&play.cluster, (int64_t)below(&play, 3000) * SW_NS_PER_MS);
        sw_buf_reset(&play.cluster.log);
    }
    heal(&play);
    for (const Swarm__Service *s = mirror_first(play.cluster.store, SWARM__TABLE__TABLE_SERVICE); s != NULL;
         s = mirror_next(play.cluster.store, SWARM__TABLE__TABLE_SERVICE, s))
        check_service(&play, s);
    check_spread(&play);
    cluster_deinit(&play.cluster);
}

/* The log takes no entry above 1.5 MiB, however large the specs. */
static void check_size(void *arg, const Swarm__StoreBatch *batch)
{
    size_t size = protobuf_c_message_get_packed_size(&batch->base);
    size_t *most = arg;
    *most = size > *most ? size : *most;
    assert(size <= 1536u << 10);
}

static void large_specs_fit(void)
{
    enum { LARGE = 250 << 10 };
    struct cluster cluster;
    size_t most = 0;
    cluster_init(&cluster, 1);
    cluster.check = check_size;
    cluster.check_arg = &most;
    SW_AUTO_BUF text = { 0 };
    (void)scenario_line(&cluster, "node n1", &text);
    for (int round = 0; round < 3; round++) {
        SW_AUTO_BUF create = { 0 };
        sw_buf_addf(&create, "service large replicas=%d parallelism=0 image=%d", 10 + round, round);
        while (create.len < LARGE)
            sw_buf_adds(&create, "x");
        assert(scenario_line(&cluster, create.data, &text));
        for (int i = 0; i < 4; i++) {
            (void)cluster_agents(&cluster, true, true);
            cluster_wait(&cluster, 2 * SW_NS_PER_S);
        }
        sw_buf_reset(&cluster.log);
    }
    assert(most > LARGE);
    cluster_deinit(&cluster);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t last = argc > 2 ? strtoull(argv[2], NULL, 10) : argc > 1 ? first : 200;
    large_specs_fit();
    for (uint64_t seed = first; seed <= last; seed++)
        run(seed);
    printf("%llu passed, 0 failed\n", (unsigned long long)(last - first + 1));
    return 0;
}
