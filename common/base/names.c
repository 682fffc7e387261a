#include "common/base/names.h"

#include "common/base/buf.h"

#include <ctype.h>
#include <string.h>

static const struct {
    Swarm__TaskState state;
    const char *name;
} task_states[] = {
    { SWARM__TASK_STATE__TASK_NEW, "new" },
    { SWARM__TASK_STATE__TASK_PENDING, "pending" },
    { SWARM__TASK_STATE__TASK_ASSIGNED, "assigned" },
    { SWARM__TASK_STATE__TASK_ACCEPTED, "accepted" },
    { SWARM__TASK_STATE__TASK_PREPARING, "preparing" },
    { SWARM__TASK_STATE__TASK_READY, "ready" },
    { SWARM__TASK_STATE__TASK_STARTING, "starting" },
    { SWARM__TASK_STATE__TASK_RUNNING, "running" },
    { SWARM__TASK_STATE__TASK_COMPLETE, "complete" },
    { SWARM__TASK_STATE__TASK_SHUTDOWN, "shutdown" },
    { SWARM__TASK_STATE__TASK_FAILED, "failed" },
    { SWARM__TASK_STATE__TASK_REJECTED, "rejected" },
    { SWARM__TASK_STATE__TASK_REMOVE, "remove" },
    { SWARM__TASK_STATE__TASK_ORPHANED, "orphaned" },
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

const char *sw_task_state_name(Swarm__TaskState state)
{
    for (size_t i = 0; i < COUNT(task_states); i++)
        if (task_states[i].state == state)
            return task_states[i].name;
    return "unknown";
}

bool sw_task_state_parse(const char *word, Swarm__TaskState *ret_state)
{
    for (size_t i = 0; i < COUNT(task_states); i++)
        if (strcmp(task_states[i].name, word) == 0) {
            *ret_state = task_states[i].state;
            return true;
        }
    return false;
}

static const char *pick(const char *const *names, size_t count, size_t index)
{
    return index < count ? names[index] : "unknown";
}

const char *sw_node_state_name(Swarm__NodeState state)
{
    static const char *const names[] = { "unknown", "down", "ready", "disconnected" };
    return pick(names, COUNT(names), (size_t)state);
}

static const char *const availabilities[] = { "active", "pause", "drain" };

const char *sw_availability_name(Swarm__NodeAvailability availability)
{
    return pick(availabilities, COUNT(availabilities), (size_t)availability);
}

bool sw_availability_parse(const char *word, Swarm__NodeAvailability *ret)
{
    for (size_t i = 0; i < COUNT(availabilities); i++)
        if (strcmp(availabilities[i], word) == 0) {
            *ret = (Swarm__NodeAvailability)i;
            return true;
        }
    return false;
}

const char *sw_protocol_name(Swarm__PortProtocol protocol)
{
    static const char *const names[] = { "tcp", "udp", "sctp" };
    return pick(names, COUNT(names), (size_t)protocol);
}

static bool name_valid(const char *name, size_t len_max, const char *inside)
{
    size_t len = strnlen(name, len_max + 1);
    if (len == 0 || len > len_max || !isalnum((unsigned char)name[0]) || !isalnum((unsigned char)name[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && strchr(inside, name[i]) == NULL)
            return false;
    return true;
}

bool sw_service_name_valid(const char *name)
{
    return name_valid(name, SW_NAME_MAX, "-_");
}

bool sw_secret_name_valid(const char *name)
{
    return name_valid(name, SW_SECRET_NAME_MAX, "-_.");
}

char *sw_task_name(const Swarm__Task *task)
{
    if (task->slot != 0)
        return sw_strf("%s.%llu.%s", task->service_name, (unsigned long long)task->slot, task->id);
    return sw_strf("%s.%s.%s", task->service_name, task->node_id != NULL ? task->node_id : "", task->id);
}

const char *sw_pair_get(Swarm__Pair *const *pairs, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(pairs[i]->key, key) == 0)
            return pairs[i]->value;
    return NULL;
}
