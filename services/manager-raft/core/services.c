/* The service requests of the control API. */
#include "services/manager-raft/core/control.h"

#include "common/store/ports.h"
#include "services/manager-raft/core/counts.h"
#include "services/manager-raft/core/filters.h"
#include "services/manager-raft/core/refs.h"
#include "services/manager-raft/core/validate.h"

#include <assert.h>
#include <string.h>

#define TABLE SWARM__TABLE__TABLE_SERVICE

/* ---- what create and update share ---- */

static bool is_job(const Swarm__ServiceSpec *spec)
{
    switch (spec->mode->kind) {
    case SWARM__SERVICE_MODE_KIND__MODE_REPLICATED:
    case SWARM__SERVICE_MODE_KIND__MODE_GLOBAL:
        return false;
    case SWARM__SERVICE_MODE_KIND__MODE_REPLICATED_JOB:
    case SWARM__SERVICE_MODE_KIND__MODE_GLOBAL_JOB:
        return true;
    case _SWARM__SERVICE_MODE_KIND_IS_INT_SIZE:
        break;
    }
    return false;
}

/* Say what an absent number means, so that every reader sees the same: one replica; a job runs all at once. */
static void normalize(Swarm__ServiceSpec *spec)
{
    Swarm__ServiceMode *mode = spec->mode;
    if (mode->kind == SWARM__SERVICE_MODE_KIND__MODE_REPLICATED && !mode->has_replicas) {
        mode->has_replicas = true;
        mode->replicas = 1;
    }
    if (mode->kind != SWARM__SERVICE_MODE_KIND__MODE_REPLICATED_JOB)
        return;
    if (!mode->has_max_concurrent)
        mode->max_concurrent = mode->has_replicas ? mode->replicas : 1;
    if (!mode->has_replicas)
        mode->replicas = mode->max_concurrent;
    mode->has_replicas = true;
    mode->has_max_concurrent = true;
}

static void start_job(const struct control *control, Swarm__Service *service)
{
    bool first = service->job == NULL;
    if (first) {
        service->job = sw_alloc0(sizeof *service->job);
        swarm__job_status__init(service->job);
    }
    service->job->iteration = first ? 0 : service->job->iteration + 1;
    service->job->has_last_execution_ns = true;
    service->job->last_execution_ns = control->now_ns;
}

static void add_action(struct control_answer *ret, Swarm__ActionKind kind, uint64_t version, const Swarm__Service *service)
{
    store_txn_add(ret->batch->txns[0], store_action_new(kind, TABLE, service->id, version, service));
}

/* ---- create ---- */

static Swarm__Service *service_new(const struct control *control, const Swarm__ServiceSpec *spec)
{
    Swarm__Service *service = sw_alloc0(sizeof *service);
    swarm__service__init(service);
    char id[SW_ID_SIZE];
    sw_id_make(control->rng, id);
    service->id = sw_strdup(id);
    service->meta = sw_alloc0(sizeof *service->meta);
    swarm__meta__init(service->meta);
    service->spec = sw_pb_clone(spec);
    normalize(service->spec);
    if (is_job(spec))
        start_job(control, service);
    return service; /* spec_version 0: the version of this very write */
}

int control_service_create(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    const Swarm__ServiceSpec *spec = ((const Swarm__ServiceCreateRequest *)body)->spec;
    int rc = validate_spec(spec, err);
    if (rc == 0)
        rc = validate_references(control->mirror, spec, err);
    if (rc != 0)
        return rc;
    if (mirror_by_name(control->mirror, TABLE, spec->name) != NULL)
        return sw_fail(err, SW_EXISTS, "name conflicts with an existing object: service %s already exists", spec->name);
    if (mirror_count(control->mirror, TABLE) >= CONTROL_SERVICES_MAX)
        return sw_fail(err, SW_LIMIT, "services: at most %u are allowed", CONTROL_SERVICES_MAX);
    rc = store_ports_check(control->mirror, NULL, spec->endpoint, err);
    if (rc != 0)
        return rc;
    SW_AUTO(sw_pb_free) void *service = service_new(control, spec);
    control_write(control, ret, CONTROL_DONE_CREATED, store_object_id(service));
    add_action(ret, SWARM__ACTION_KIND__ACTION_CREATE, 0, service);
    return 0;
}

/* ---- update ---- */

static int check_update(const struct control *control, const Swarm__Service *service, const Swarm__ServiceSpec *spec,
                        struct sw_err *err)
{
    int rc = validate_spec(spec, err);
    if (rc == 0)
        rc = validate_references(control->mirror, spec, err);
    if (rc != 0)
        return rc;
    if (strcmp(spec->name, service->spec->name) != 0)
        return sw_fail(err, SW_UNSUPPORTED, "renaming services is not supported");
    if (spec->mode->kind != service->spec->mode->kind)
        return sw_fail(err, SW_UNSUPPORTED, "service mode change is not allowed");
    if (sw_pb_equal(spec->endpoint, service->spec->endpoint))
        return 0;
    return store_ports_check(control->mirror, service->id, spec->endpoint, err);
}

/* Both specs swap, versions included: tasks that still have the previous one are clean again. */
static void roll_back(const struct control *control, Swarm__Service *service)
{
    Swarm__ServiceSpec *spec = service->previous_spec;
    uint64_t version = service->previous_spec_version;
    service->previous_spec = service->spec;
    service->previous_spec_version = service->spec_version;
    service->spec = spec;
    service->spec_version = version;
    sw_pb_free(service->update_status);
    Swarm__UpdateStatus *status = sw_alloc0(sizeof *status);
    swarm__update_status__init(status);
    status->has_state = true;
    status->state = SWARM__UPDATE_STATE__UPDATE_ROLLBACK_STARTED;
    status->has_started_ns = true;
    status->started_ns = control->now_ns;
    status->message = sw_strdup("manually requested rollback");
    service->update_status = status;
}

int control_service_update(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    const Swarm__ServiceUpdateRequest *request = body;
    const Swarm__Service *old = NULL;
    int rc = refs_service(control->mirror, request->id, &old, err);
    if (rc != 0)
        return rc;
    if (request->version != old->meta->version)
        return sw_fail(err, SW_CONFLICT, "update out of sequence");
    if (request->rollback && old->previous_spec == NULL)
        return sw_fail(err, SW_PRECONDITION, "service %s does not have a previous spec", old->id);
    if (!request->rollback && request->spec == NULL)
        return sw_fail(err, SW_INVALID, "spec: must be given");
    SW_AUTO(sw_pb_free) void *spec = sw_pb_clone(request->rollback ? old->previous_spec : request->spec);
    normalize(spec);
    rc = check_update(control, old, spec, err);
    if (rc != 0)
        return rc;
    SW_AUTO(sw_pb_free) void *copy = sw_pb_clone(old);
    Swarm__Service *service = copy;
    if (request->rollback)
        roll_back(control, service);
    else
        store_object_take_spec(service, SW_TAKE(spec));
    if (is_job(service->spec))
        start_job(control, service);
    control_write(control, ret, CONTROL_DONE_UPDATED, service->id);
    add_action(ret, SWARM__ACTION_KIND__ACTION_UPDATE, request->version, service);
    return 0;
}

/* ---- remove: the object goes at once and with it the name; the scheduler ends the tasks ---- */

int control_service_remove(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    const Swarm__Service *service = NULL;
    int rc = refs_service(control->mirror, ((const Swarm__ServiceRemoveRequest *)body)->ref, &service, err);
    if (rc != 0)
        return rc;
    control_write(control, ret, CONTROL_DONE_REMOVED, service->id);
    store_txn_add(ret->batch->txns[0], store_action_new(SWARM__ACTION_KIND__ACTION_REMOVE, TABLE, service->id, 0, NULL));
    return 0;
}

/* ---- get: with what the absent members mean, if asked ---- */

static Swarm__UpdateConfig *update_defaults(const struct control *control, Swarm__UpdateConfig *update)
{
    Swarm__UpdateConfig *full =
        update != NULL ? control_copy(control, update) : control_message(control, &swarm__update_config__descriptor);
    full->has_parallelism = full->has_failure_action = full->has_max_failure_ppm = full->has_order = full->has_delay_ns = true;
    if (!full->has_monitor_ns)
        full->monitor_ns = INT64_C(5000000000);
    full->has_monitor_ns = true;
    return full;
}

static Swarm__RestartPolicy *restart_defaults(const struct control *control, Swarm__RestartPolicy *restart)
{
    Swarm__RestartPolicy *full =
        restart != NULL ? control_copy(control, restart) : control_message(control, &swarm__restart_policy__descriptor);
    full->has_condition = full->has_max_attempts = full->has_window_ns = true;
    if (!full->has_delay_ns)
        full->delay_ns = INT64_C(5000000000);
    full->has_delay_ns = true;
    return full;
}

static Swarm__Service *with_defaults(const struct control *control, const Swarm__Service *stored)
{
    Swarm__Service *service = control_copy(control, stored);
    Swarm__ServiceSpec *spec = service->spec = control_copy(control, stored->spec);
    Swarm__TaskSpec *task = spec->task = control_copy(control, spec->task);
    Swarm__ContainerSpec *container = task->container = control_copy(control, task->container);
    if (!container->has_stop_grace_ns)
        container->stop_grace_ns = INT64_C(10000000000);
    container->has_stop_grace_ns = true;
    task->restart = restart_defaults(control, task->restart);
    if (!is_job(spec)) {
        spec->update = update_defaults(control, spec->update);
        spec->rollback = update_defaults(control, spec->rollback);
    }
    Swarm__EndpointSpec *endpoint = control_message(control, &swarm__endpoint_spec__descriptor);
    spec->endpoint = spec->endpoint != NULL ? control_copy(control, spec->endpoint) : endpoint;
    spec->endpoint->has_mode = true;
    return service;
}

int control_service_get(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    const Swarm__ServiceGetRequest *request = body;
    const Swarm__Service *service = NULL;
    int rc = refs_service(control->mirror, request->ref, &service, err);
    if (rc != 0)
        return rc;
    Swarm__ServiceGetReply *reply = control_message(control, &swarm__service_get_reply__descriptor);
    reply->service = request->insert_defaults ? with_defaults(control, service) : (Swarm__Service *)service;
    ret->reply = reply;
    return 0;
}

/* ---- list ---- */

int control_service_list(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    const Swarm__ServiceListRequest *request = body;
    const struct filters filters = { request->filters, request->n_filters };
    int rc = filters_check(FILTERS_SERVICES, filters, err);
    if (rc != 0)
        return rc;
    size_t room = mirror_count(control->mirror, TABLE);
    Swarm__ServiceListReply *reply = control_message(control, &swarm__service_list_reply__descriptor);
    reply->services = sw_scratch_alloc(control->scratch, room * sizeof *reply->services);
    reply->counts = sw_scratch_alloc(control->scratch, room * sizeof *reply->counts);
    for (const void *o = mirror_first(control->mirror, TABLE); o != NULL; o = mirror_next(control->mirror, TABLE, o)) {
        if (!filters_service(filters, o))
            continue;
        assert(reply->n_services < room);
        reply->services[reply->n_services++] = (Swarm__Service *)o;
        Swarm__ServiceCount *count = control_message(control, &swarm__service_count__descriptor);
        counts_of(control->mirror, o, count);
        reply->counts[reply->n_counts++] = count;
    }
    ret->reply = reply;
    return 0;
}
