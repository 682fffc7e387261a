#include "services/manager-raft/core/validate.h"

#include "common/base/constraint.h"
#include "common/base/names.h"
#include "services/manager-raft/core/control.h"

#include <inttypes.h>
#include <string.h>

#define NANO_CPUS_MIN INT64_C(1000000)
#define MEMORY_MIN (INT64_C(4) << 20)
#define NANO_CPUS_MAX (INT64_C(1000000) * 1000000000)
#define PPM INT64_C(1000000)

/* ---- small checks that all parts use ---- */

int validate_text(const char *field, const char *text, size_t max, struct sw_err *err)
{
    if (text == NULL || strnlen(text, max + 1) <= max)
        return 0;
    return sw_fail(err, SW_LIMIT, "%s: at most %zu bytes are allowed", field, max);
}

int validate_count(const char *field, size_t count, struct sw_err *err)
{
    if (count <= CONTROL_LIST_MAX)
        return 0;
    return sw_fail(err, SW_LIMIT, "%s: %zu given, at most %u are allowed", field, count, CONTROL_LIST_MAX);
}

int validate_range(const char *field, int64_t value, int64_t min, const char *min_text, struct sw_err *err)
{
    if (value >= min)
        return 0;
    return sw_fail(err, SW_INVALID, "%s cannot be %s", field, min_text);
}

int validate_labels(const char *field, Swarm__Pair *const *pairs, size_t count, struct sw_err *err)
{
    int rc = validate_count(field, count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (pairs[i]->key[0] == '\0')
            return sw_fail(err, SW_INVALID, "%s: a key must not be empty", field);
        if (sw_pair_get(pairs, i, pairs[i]->key) != NULL)
            return sw_fail(err, SW_INVALID, "%s: '%.64s' is given twice", field, pairs[i]->key);
        rc = validate_text(field, pairs[i]->key, CONTROL_TEXT_MAX, err);
        if (rc == 0)
            rc = validate_text(field, pairs[i]->value, CONTROL_TEXT_MAX, err);
    }
    return rc;
}

/* ---- name, mode, update ---- */

static int check_name(const char *name, struct sw_err *err)
{
    if (name[0] == '\0')
        return sw_fail(err, SW_INVALID, "meta: name must be provided");
    if (strlen(name) > SW_NAME_MAX)
        return sw_fail(err, SW_INVALID, "meta: name must be 63 characters or fewer");
    if (!sw_service_name_valid(name))
        return sw_fail(err, SW_INVALID, "meta: name must be valid as a DNS name component");
    return 0;
}

static int check_mode(const Swarm__ServiceSpec *spec, struct sw_err *err)
{
    const Swarm__ServiceMode *mode = spec->mode;
    if (mode->replicas > INT64_MAX || mode->max_concurrent > INT64_MAX)
        return sw_fail(err, SW_INVALID, "Number of replicas must be non-negative");
    if (mode->replicas > CONTROL_REPLICAS_MAX || mode->max_concurrent > CONTROL_REPLICAS_MAX)
        return sw_fail(err, SW_LIMIT, "replicas: at most %u are allowed", CONTROL_REPLICAS_MAX);
    switch (mode->kind) {
    case SWARM__SERVICE_MODE_KIND__MODE_REPLICATED:
        return 0;
    case SWARM__SERVICE_MODE_KIND__MODE_GLOBAL:
        return mode->has_replicas ? sw_fail(err, SW_INVALID, "replicas can only be used with replicated or replicated-job mode")
                                  : 0;
    case SWARM__SERVICE_MODE_KIND__MODE_REPLICATED_JOB:
    case SWARM__SERVICE_MODE_KIND__MODE_GLOBAL_JOB:
        return spec->update != NULL ? sw_fail(err, SW_INVALID, "Jobs may not have an update config") : 0;
    case _SWARM__SERVICE_MODE_KIND_IS_INT_SIZE:
        break;
    }
    return sw_fail(err, SW_INVALID, "mode: %d is not known", (int)mode->kind);
}

static int check_update(const char *word, const Swarm__UpdateConfig *update, struct sw_err *err)
{
    if (update == NULL)
        return 0;
    if (update->delay_ns < 0)
        return sw_fail(err, SW_INVALID, "TaskSpec: %s-delay cannot be negative", word);
    if (update->monitor_ns < 0)
        return sw_fail(err, SW_INVALID, "TaskSpec: %s-monitor cannot be negative", word);
    if (update->max_failure_ppm > PPM)
        return sw_fail(err, SW_INVALID, "TaskSpec: %s-maxfailureratio cannot be less than 0 or bigger than 1", word);
    return 0;
}

/* ---- resources, restart, placement, networks ---- */

static int check_amounts(const char *word, const Swarm__Resources *resources, struct sw_err *err)
{
    if (resources == NULL)
        return 0;
    if (resources->nano_cpus < 0)
        return sw_fail(err, SW_INVALID, "invalid cpu value (%s): must not be negative", word);
    if (resources->nano_cpus != 0 && resources->nano_cpus < NANO_CPUS_MIN)
        return sw_fail(err, SW_INVALID, "invalid cpu value 0.%09" PRId64 " (%s): Must be at least 0.001", resources->nano_cpus,
                       word);
    if (resources->nano_cpus > NANO_CPUS_MAX)
        return sw_fail(err, SW_INVALID, "invalid cpu value (%s): Must be at most 1000000", word);
    if (resources->memory_bytes != 0 && resources->memory_bytes < MEMORY_MIN)
        return sw_fail(err, SW_INVALID, "invalid memory value %" PRId64 " (%s): Must be at least 4MiB", resources->memory_bytes,
                       word);
    int rc = validate_count("generic resources", resources->n_generic, err);
    for (size_t i = 0; rc == 0 && i < resources->n_generic; i++) {
        const Swarm__GenericResource *generic = resources->generic[i];
        if (generic->kind == NULL || generic->kind[0] == '\0' || generic->value != NULL || generic->count <= 0)
            return sw_fail(err, SW_INVALID, "generic resource %.64s: a reservation needs a kind and a count of at least 1",
                           generic->kind != NULL ? generic->kind : "");
    }
    return rc;
}

static int check_resources(const Swarm__ResourceRequirements *resources, struct sw_err *err)
{
    if (resources == NULL)
        return 0;
    int rc = check_amounts("limit", resources->limits, err);
    if (rc == 0)
        rc = check_amounts("reservation", resources->reservations, err);
    if (rc != 0 || resources->limits == NULL || resources->reservations == NULL)
        return rc;
    int64_t memory = resources->limits->memory_bytes;
    if (memory != 0 && resources->reservations->memory_bytes > memory)
        return sw_fail(err, SW_INVALID, "memory reservation (%" PRId64 ") is over the memory limit (%" PRId64 ")",
                       resources->reservations->memory_bytes, memory);
    return 0;
}

static int check_restart(const Swarm__RestartPolicy *restart, struct sw_err *err)
{
    if (restart == NULL)
        return 0;
    int rc = validate_range("TaskSpec: restart-delay", restart->delay_ns, 0, "negative", err);
    return rc != 0 ? rc : validate_range("TaskSpec: restart-window", restart->window_ns, 0, "negative", err);
}

static int check_placement(const Swarm__Placement *placement, struct sw_err *err)
{
    if (placement == NULL)
        return 0;
    struct constraints parsed = { 0 };
    int rc = constraints_parse(placement->constraints, placement->n_constraints, &parsed, err);
    constraints_deinit(&parsed);
    if (rc == 0)
        rc = validate_count("placement preferences", placement->n_preferences, err);
    for (size_t i = 0; rc == 0 && i < placement->n_preferences; i++) {
        const char *preference = placement->preferences[i];
        if (strncmp(preference, "node.labels.", 12) != 0 && strncmp(preference, "engine.labels.", 14) != 0)
            return sw_fail(err, SW_INVALID,
                           "placement preference '%.64s': only node.labels.NAME and engine.labels.NAME can be spread over",
                           preference);
        rc = validate_text("placement preference", preference, CONTROL_TEXT_MAX, err);
    }
    return rc != 0 ? rc : validate_count("placement platforms", placement->n_platforms, err);
}

static int check_task(const Swarm__TaskSpec *task, struct sw_err *err)
{
    int rc = check_resources(task->resources, err);
    if (rc == 0)
        rc = check_restart(task->restart, err);
    if (rc == 0)
        rc = check_placement(task->placement, err);
    if (rc == 0)
        rc = validate_count("networks", task->n_networks, err);
    for (size_t i = 0; rc == 0 && i < task->n_networks; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(task->networks[i]->target, task->networks[k]->target) == 0)
                return sw_fail(err, SW_INVALID, "network %.64s is attached twice", task->networks[i]->target);
    if (rc == 0 && task->log_driver != NULL)
        rc = validate_labels("log driver options", task->log_driver->options, task->log_driver->n_options, err);
    return rc != 0 ? rc : validate_container(task->container, err);
}

/* ---- ports ---- */

static int check_port(const Swarm__EndpointSpec *endpoint, size_t i, struct sw_err *err)
{
    const Swarm__PortConfig *port = endpoint->ports[i];
    if (port->target_port < 1 || port->target_port > 65535)
        return sw_fail(err, SW_INVALID, "EndpointSpec: target port %" PRIu32 " must be 1 to 65535", port->target_port);
    if (port->published_port > 65535)
        return sw_fail(err, SW_INVALID, "EndpointSpec: published port %" PRIu32 " must be 0 to 65535", port->published_port);
    if (endpoint->mode == SWARM__ENDPOINT_MODE__ENDPOINT_DNSRR && port->publish_mode == SWARM__PUBLISH_MODE__PUBLISH_INGRESS)
        return sw_fail(err, SW_INVALID, "EndpointSpec: port published with ingress mode can't be used with dnsrr mode");
    for (size_t k = 0; k < i && port->published_port != 0; k++)
        if (endpoint->ports[k]->published_port == port->published_port && endpoint->ports[k]->protocol == port->protocol)
            return sw_fail(err, SW_INVALID, "EndpointSpec: duplicate published ports provided");
    return 0;
}

static int check_endpoint(const Swarm__EndpointSpec *endpoint, struct sw_err *err)
{
    if (endpoint == NULL)
        return 0;
    int rc = validate_count("ports", endpoint->n_ports, err);
    for (size_t i = 0; rc == 0 && i < endpoint->n_ports; i++)
        rc = check_port(endpoint, i, err);
    return rc;
}

int validate_spec(const Swarm__ServiceSpec *spec, struct sw_err *err)
{
    int rc = check_name(spec->name, err);
    if (rc == 0)
        rc = validate_labels("labels", spec->labels, spec->n_labels, err);
    if (rc == 0)
        rc = check_mode(spec, err);
    if (rc == 0)
        rc = check_update("update", spec->update, err);
    if (rc == 0)
        rc = check_update("rollback", spec->rollback, err);
    if (rc == 0)
        rc = check_task(spec->task, err);
    if (rc == 0)
        rc = check_endpoint(spec->endpoint, err);
    if (rc != 0)
        return rc;
    size_t size = protobuf_c_message_get_packed_size(&spec->base);
    if (size > CONTROL_SPEC_BYTES_MAX)
        return sw_fail(err, SW_LIMIT, "service spec: %zu bytes, at most %u are allowed", size, CONTROL_SPEC_BYTES_MAX);
    uint64_t most = CONTROL_TASKS_BYTES_MAX / size;
    if (spec->mode->replicas > most)
        return sw_fail(err, SW_LIMIT, "replicas: at most %" PRIu64 " are allowed with a spec of %zu bytes", most, size);
    return 0;
}

/* ---- against the cluster ---- */

static int check_refs(const struct mirror *mirror, Swarm__Table table, Swarm__SecretRef *const *refs, size_t count,
                      struct sw_err *err)
{
    const char *word = store_table_of(table)->word;
    SW_AUTO_BUF missing = { 0 };
    size_t missing_count = 0;
    for (size_t i = 0; i < count; i++) {
        const void *object = mirror_get(mirror, table, refs[i]->id);
        if (object != NULL && strcmp(store_object_name(object), refs[i]->name) == 0)
            continue;
        sw_buf_adds(&missing, missing_count++ == 0 ? "" : ", ");
        sw_buf_adds(&missing, refs[i]->name);
    }
    if (missing_count == 0)
        return 0;
    return sw_fail(err, SW_INVALID, "%s%s not found: %.300s", word, missing_count > 1 ? "s" : "", sw_buf_str(&missing));
}

int validate_references(const struct mirror *mirror, const Swarm__ServiceSpec *spec, struct sw_err *err)
{
    const Swarm__ContainerSpec *container = spec->task->container;
    int rc = check_refs(mirror, SWARM__TABLE__TABLE_SECRET, container->secrets, container->n_secrets, err);
    if (rc == 0)
        rc = check_refs(mirror, SWARM__TABLE__TABLE_CONFIG, container->configs, container->n_configs, err);
    for (size_t i = 0; rc == 0 && i < spec->task->n_networks; i++) {
        const char *target = spec->task->networks[i]->target;
        const Swarm__Network *network = mirror_get(mirror, SWARM__TABLE__TABLE_NETWORK, target);
        if (network == NULL)
            return sw_fail(err, SW_NOT_FOUND, "network %.64s not found", target);
        if (network->spec->ingress)
            return sw_fail(err, SW_INVALID, "Service cannot be explicitly attached to the ingress network \"%s\"",
                           network->spec->name);
    }
    return rc;
}
