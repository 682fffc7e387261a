/* A started container is told to the core once it listens: between its first instruction and its first accept() the balancer
 * would send it connections that it refuses, and a rolling update would lose them. What /proc says is enough: no probe
 * connection that the program would have to answer. A program that takes longer than LIMIT_MS is taken as it is.
 */
#include "common/base/id.h"
#include "common/base/id.h"
#include "services/agent/io/agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define LIMIT_MS 3000u
#define PAUSE_FIRST_MS 1u
#define PAUSE_MAX_MS 50u
#define PORTS_MAX 32u
#define TCP_LISTEN 0x0a

struct expected {
    char task_id[SW_ID_SIZE];
    unsigned ports[PORTS_MAX];
    size_t port_count;
    bool held; /* started, not told yet: what follows is set */
    char container_id[96];
    int pid;
    uint64_t end_ms, next_ms, pause_ms;
    struct expected *prev, *next;
};

struct listening {
    listening_tell_fn *tell;
    struct agent *agent;
    struct expected *tasks;
    struct svc_timer *timer;
};

static struct expected *find(struct listening *listening, const char *task_id)
{
    struct expected *task;
    DL_FOREACH(listening->tasks, task)
    {
        if (strcmp(task->task_id, task_id) == 0)
            return task;
    }
    return NULL;
}

static void drop(struct listening *listening, struct expected *task)
{
    DL_DELETE(listening->tasks, task);
    free(task);
}

void listening_expect(struct listening *listening, const Swarm__Task *task)
{
    struct expected *known = find(listening, task->id);
    if (known != NULL || task->endpoint == NULL || strlen(task->id) >= SW_ID_SIZE)
        return;
    struct expected *fresh = sw_alloc0(sizeof *fresh);
    (void)snprintf(fresh->task_id, sizeof fresh->task_id, "%s", task->id);
    for (size_t i = 0; i < task->endpoint->n_ports && fresh->port_count < PORTS_MAX; i++)
        if (task->endpoint->ports[i]->protocol == SWARM__PORT_PROTOCOL__PORT_TCP)
            fresh->ports[fresh->port_count++] = task->endpoint->ports[i]->target_port;
    DL_APPEND(listening->tasks, fresh);
    if (fresh->port_count == 0)
        drop(listening, fresh);
}

/* Marks the ports that a socket of the process's network namespace listens on, other than on loopback. */
static uint32_t listened(const struct expected *task, const char *file)
{
    char path[64], line[256];
    uint32_t seen = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/net/%s", task->pid, file);
    FILE *table = fopen(path, "re");
    if (table == NULL)
        return 0;
    while (fgets(line, sizeof line, table) != NULL) {
        char address[40];
        unsigned port, state;
        if (sscanf(line, " %*u: %39[0-9A-F]:%X %*[0-9A-F]:%*X %X", address, &port, &state) != 3 || state != TCP_LISTEN ||
            strcmp(address, "0100007F") == 0)
            continue;
        for (size_t i = 0; i < task->port_count; i++)
            if (task->ports[i] == port)
                seen |= 1u << i;
    }
    (void)fclose(table);
    return seen;
}

static bool listens(const struct expected *task)
{
    uint32_t wanted = (uint32_t)((UINT64_C(1) << task->port_count) - 1);
    return (listened(task, "tcp") | listened(task, "tcp6")) == wanted;
}

/* The event that was held, then the task is forgotten. */
static void release(struct listening *listening, struct expected *task)
{
    DL_DELETE(listening->tasks, task);
    struct executor_event event = {
        .type = EXECUTOR_STARTED, .task_id = task->task_id, .container_id = task->container_id, .pid = task->pid
    };
    listening->tell(listening->agent, &event);
    free(task);
}

static void arm(struct listening *listening)
{
    uint64_t next_ms = UINT64_MAX;
    struct expected *task;
    DL_FOREACH(listening->tasks, task)
    {
        if (task->held && task->next_ms < next_ms)
            next_ms = task->next_ms;
    }
    if (next_ms == UINT64_MAX)
        svc_timer_off(listening->timer);
    else
        svc_timer_at(listening->timer, next_ms);
}

static void on_timer(void *arg)
{
    struct listening *listening = arg;
    uint64_t now_ms = svc_mono_ms();
    struct expected *task;
    struct expected *next;
    DL_FOREACH_SAFE(listening->tasks, task, next)
    {
        if (!task->held || task->next_ms > now_ms)
            continue;
        if (listens(task) || now_ms >= task->end_ms) {
            release(listening, task);
            continue;
        }
        task->pause_ms = task->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : task->pause_ms * 2;
        task->next_ms = now_ms + task->pause_ms;
    }
    arm(listening);
}

bool listening_hold(struct listening *listening, const struct executor_event *event)
{
    struct expected *task = find(listening, event->task_id);
    if (task == NULL)
        return false;
    if (event->type == EXECUTOR_PREPARED)
        return false;
    if (event->type != EXECUTOR_STARTED || event->failure != EXECUTOR_OK) {
        if (task->held)
            release(listening, task);
        else
            drop(listening, task);
        return false;
    }
    uint64_t now_ms = svc_mono_ms();
    (void)snprintf(task->container_id, sizeof task->container_id, "%s", event->container_id != NULL ? event->container_id : "");
    task->pid = event->pid;
    task->pause_ms = PAUSE_FIRST_MS;
    task->next_ms = now_ms + PAUSE_FIRST_MS;
    task->end_ms = now_ms + LIMIT_MS;
    task->held = true;
    arm(listening);
    return true;
}

struct listening *listening_new(struct agent *agent, listening_tell_fn *tell)
{
    struct listening *listening = sw_alloc0(sizeof *listening);
    listening->agent = agent;
    listening->tell = tell;
    listening->timer = svc_timer_new(agent->svc, on_timer, listening);
    return listening;
}

void listening_free(struct listening *listening)
{
    if (listening == NULL)
        return;
    while (listening->tasks != NULL)
        drop(listening, listening->tasks);
    svc_timer_free(listening->timer);
    free(listening);
}
