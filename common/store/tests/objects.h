/* objects - small objects for the tests of the store. */
#ifndef STORE_TESTS_OBJECTS_H
#define STORE_TESTS_OBJECTS_H

#include "common/store/object.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static inline Swarm__Meta *test_meta(void)
{
    Swarm__Meta *meta = sw_alloc0(sizeof *meta);
    swarm__meta__init(meta);
    return meta;
}

static inline Swarm__TaskSpec *test_task_spec(void)
{
    Swarm__TaskSpec *spec = sw_alloc0(sizeof *spec);
    swarm__task_spec__init(spec);
    spec->container = sw_alloc0(sizeof *spec->container);
    swarm__container_spec__init(spec->container);
    spec->container->image = sw_strdup("web:1");
    return spec;
}

static inline Swarm__Service *test_service(const char *id, const char *name)
{
    Swarm__Service *service = sw_alloc0(sizeof *service);
    swarm__service__init(service);
    service->id = sw_strdup(id);
    service->meta = test_meta();
    service->spec = sw_alloc0(sizeof *service->spec);
    swarm__service_spec__init(service->spec);
    service->spec->name = sw_strdup(name);
    service->spec->task = test_task_spec();
    service->spec->mode = sw_alloc0(sizeof *service->spec->mode);
    swarm__service_mode__init(service->spec->mode);
    return service;
}

static inline Swarm__Task *test_task(const char *id, const char *service_id, uint64_t slot, const char *node_id)
{
    Swarm__Task *task = sw_alloc0(sizeof *task);
    swarm__task__init(task);
    task->id = sw_strdup(id);
    task->meta = test_meta();
    task->service_id = sw_strdup(service_id);
    task->service_name = sw_strdup("web");
    task->has_slot = true;
    task->slot = slot;
    task->node_id = sw_strdup(node_id);
    task->spec = test_task_spec();
    task->desired_state = SWARM__TASK_STATE__TASK_RUNNING;
    task->status = sw_alloc0(sizeof *task->status);
    swarm__task_status__init(task->status);
    task->status->has_state = true;
    return task;
}

static inline Swarm__Node *test_node(const char *id, const char *hostname)
{
    Swarm__Node *node = sw_alloc0(sizeof *node);
    swarm__node__init(node);
    node->id = sw_strdup(id);
    node->meta = test_meta();
    node->spec = sw_alloc0(sizeof *node->spec);
    swarm__node_spec__init(node->spec);
    node->description = sw_alloc0(sizeof *node->description);
    swarm__node_description__init(node->description);
    node->description->hostname = sw_strdup(hostname);
    return node;
}

/* Add an action that carries object, and free object. */
static inline void test_act(Swarm__StoreTxn *txn, Swarm__ActionKind kind, Swarm__Table table, uint64_t version, void *object)
{
    store_txn_add(txn, store_action_new(kind, table, store_object_id(object), version, object));
    sw_pb_free(object);
}

#define T_TASK SWARM__TABLE__TABLE_TASK
#define T_SERVICE SWARM__TABLE__TABLE_SERVICE
#define T_NODE SWARM__TABLE__TABLE_NODE
#define A_CREATE SWARM__ACTION_KIND__ACTION_CREATE
#define A_UPDATE SWARM__ACTION_KIND__ACTION_UPDATE
#define A_REMOVE SWARM__ACTION_KIND__ACTION_REMOVE
#define A_TASK_STATUS SWARM__ACTION_KIND__ACTION_TASK_STATUS
#define A_NODE_STATUS SWARM__ACTION_KIND__ACTION_NODE_STATUS

#endif
