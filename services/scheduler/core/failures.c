#include "services/scheduler/core/failures.h"

#include "common/base/buf.h"
#include "common/base/id.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE_ID_SIZE 72

struct failure {
    int64_t at_ns;
    uint64_t spec_version;
    char node_id[NODE_ID_SIZE];
};
struct service_failures {
    UT_hash_handle hh;
    struct failure ring[FAILURES_KEPT];
    size_t count; /* ever; the ring holds the last FAILURES_KEPT */
    char id[];
};
struct failures {
    struct service_failures *first;
};

struct failures *failures_new(void)
{
    return sw_alloc0(sizeof(struct failures));
}

static struct service_failures *find(const struct failures *failures, const char *service_id)
{
    struct service_failures *found = NULL;
    HASH_FIND(hh, failures->first, service_id, strlen(service_id), found);
    return found;
}

static void drop(struct failures *failures, struct service_failures *service)
{
    HASH_DEL(failures->first, service);
    free(service);
}

void failures_drop(struct failures *failures, const char *service_id)
{
    struct service_failures *service = find(failures, service_id);
    if (service != NULL)
        drop(failures, service);
}

void failures_clear(struct failures *failures)
{
    while (failures->first != NULL)
        drop(failures, failures->first);
}

void failures_free(struct failures *failures)
{
    failures_clear(failures);
    free(failures);
}

void failures_note(struct failures *failures, const Swarm__Task *task, int64_t now_ns)
{
    struct service_failures *service = find(failures, task->service_id);
    if (service == NULL) {
        size_t len = strlen(task->service_id);
        service = sw_alloc0(sizeof *service + len + 1);
        memcpy(service->id, task->service_id, len + 1);
        HASH_ADD_KEYPTR(hh, failures->first, service->id, len, service);
    }
    struct failure *failure = &service->ring[service->count++ % FAILURES_KEPT];
    failure->at_ns = now_ns;
    failure->spec_version = task->spec_version;
    (void)snprintf(failure->node_id, sizeof failure->node_id, "%s", task->node_id);
}

void failures_count(const struct failures *failures, const Swarm__Task *task, int64_t now_ns, struct nodes *nodes)
{
    const struct service_failures *service = find(failures, task->service_id);
    for (size_t i = 0; service != NULL && i < service->count && i < FAILURES_KEPT; i++) {
        const struct failure *failure = &service->ring[i];
        if (failure->spec_version != task->spec_version || failure->at_ns + FAILURES_WINDOW_NS < now_ns)
            continue;
        struct node_info *info = nodes_get(nodes, failure->node_id);
        if (info != NULL)
            info->failures++;
    }
}
