#include "services/swarm-cli/core/objects.h"

#include "common/base/names.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *const objects_optional[] = {
    "PreviousSpec",
    "UpdateStatus",
    "ManagerStatus",
    "Labels",
    "Command",
    "Args",
    "Hostname",
    "Env",
    "Dir",
    "User",
    "Groups",
    "TTY",
    "Init",
    "ReadOnly",
    "Mounts",
    "StopSignal",
    "StopGracePeriod",
    "Hosts",
    "DNSConfig",
    "Nameservers",
    "Search",
    "Sysctls",
    "CapabilityAdd",
    "CapabilityDrop",
    "Ulimits",
    "Resources",
    "Limits",
    "Reservations",
    "NanoCPUs",
    "MemoryBytes",
    "Pids",
    "RestartPolicy",
    "Condition",
    "Delay",
    "MaxAttempts",
    "Window",
    "Placement",
    "Constraints",
    "Preferences",
    "MaxReplicas",
    "Platforms",
    "Networks",
    "ForceUpdate",
    "Replicated",
    "Global",
    "UpdateConfig",
    "RollbackConfig",
    "EndpointSpec",
    "Ports",
    "VirtualIPs",
    "PublishedPort",
    "Message",
    "Err",
    "Addr",
    "ContainerStatus",
    "PortStatus",
    "Slot",
    "NodeID",
    "Name",
    "Source",
    "StartedAt",
    "CompletedAt",
    "Engine",
    "EngineVersion",
    "OomScoreAdj",
    "Secrets",
    "Configs",
    "NetworksAttachments",
    "ReadOnly",
    "Description",
    "Healthcheck",
    "LogDriver",
    "Error",
    NULL,
};
const char *const objects_maps[] = { "Labels", "Sysctls", "Options", "DriverOpts", NULL };

/* ---- small things ---- */

static void text(json_t *object, const char *key, const char *value)
{
    if (value != NULL && value[0] != '\0')
        json_object_set_new(object, key, json_string(value));
}

static void number(json_t *object, const char *key, int64_t value)
{
    if (value != 0)
        json_object_set_new(object, key, json_integer(value));
}

static void truth(json_t *object, const char *key, bool has, bool value)
{
    if (has)
        json_object_set_new(object, key, json_boolean(value));
}

static void texts(json_t *object, const char *key, char *const *list, size_t count)
{
    if (count == 0)
        return;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_string(list[i]));
    json_object_set_new(object, key, array);
}

static json_t *pairs(Swarm__Pair *const *list, size_t count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++)
        json_object_set_new(object, list[i]->key, json_string(list[i]->value));
    return object;
}

/* An object is set only if something is in it. */
static void part(json_t *object, const char *key, json_t *value)
{
    if (json_object_size(value) > 0 || json_array_size(value) > 0)
        json_object_set_new(object, key, value);
    else
        json_decref(value);
}

static const char *word(const char *const *words, size_t count, int index)
{
    return index >= 0 && (size_t)index < count ? words[index] : "unknown";
}
#define WORD(words, index) word(words, sizeof(words) / sizeof *(words), (int)(index))

/* Days since 1970 to a date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"). */
static void civil(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    *ret_day = (int)(of_year - (153 * month + 2) / 5 + 1);
    *ret_month = (int)(month < 10 ? month + 3 : month - 9);
    *ret_year = (int)(year + era * 400 + (*ret_month <= 2));
}

void objects_time(int64_t ns, char *ret, size_t size)
{
    int64_t seconds = ns >= 0 ? ns / 1000000000 : -((-ns + 999999999) / 1000000000);
    int64_t days = seconds >= 0 ? seconds / 86400 : -((-seconds + 86399) / 86400);
    int rest = (int)(seconds - days * 86400);
    int nanos = (int)(ns - seconds * 1000000000);
    int year = 0;
    int month = 0;
    int day = 0;
    char fraction[16] = "";
    civil(days, &year, &month, &day);
    if (nanos != 0) {
        (void)snprintf(fraction, sizeof fraction, ".%09d", nanos);
        for (size_t len = strlen(fraction); len > 1 && fraction[len - 1] == '0'; len--)
            fraction[len - 1] = '\0';
    }
    (void)snprintf(ret, size, "%04d-%02d-%02dT%02d:%02d:%02d%sZ", year, month, day, rest / 3600, rest / 60 % 60, rest % 60,
                   fraction);
}

static void when(json_t *object, const char *key, int64_t ns)
{
    char value[64];
    objects_time(ns, value, sizeof value);
    json_object_set_new(object, key, json_string(value));
}

static void meta(json_t *object, const char *id, const Swarm__Meta *from)
{
    json_object_set_new(object, "ID", json_string(id));
    json_object_set_new(object, "Version", json_pack("{s:I}", "Index", (json_int_t)from->version));
    when(object, "CreatedAt", from->created_ns);
    when(object, "UpdatedAt", from->updated_ns);
}

static json_t *platform(const Swarm__Platform *from)
{
    json_t *object = json_object();
    text(object, "Architecture", from->architecture);
    text(object, "OS", from->os);
    return object;
}

/* ---- container ---- */

static json_t *mount(const Swarm__Mount *from)
{
    static const char *const types[] = { "bind", "volume", "tmpfs" };
    json_t *object = json_object();
    text(object, "Type", WORD(types, from->type));
    text(object, "Source", from->source);
    text(object, "Target", from->target);
    truth(object, "ReadOnly", from->read_only, true);
    json_t *bind = json_object();
    text(bind, "Propagation", from->bind_propagation);
    truth(bind, "NonRecursive", from->bind_nonrecursive, true);
    part(object, "BindOptions", bind);
    json_t *volume = json_object();
    truth(volume, "NoCopy", from->volume_nocopy, true);
    part(volume, "Labels", pairs(from->volume_labels, from->n_volume_labels));
    text(volume, "Subpath", from->volume_subpath);
    json_t *driver = json_object();
    text(driver, "Name", from->volume_driver);
    part(driver, "Options", pairs(from->volume_opts, from->n_volume_opts));
    part(volume, "DriverConfig", driver);
    part(object, "VolumeOptions", volume);
    json_t *tmpfs = json_object();
    number(tmpfs, "SizeBytes", from->tmpfs_size);
    number(tmpfs, "Mode", from->tmpfs_mode);
    part(object, "TmpfsOptions", tmpfs);
    return object;
}

static void container_lists(json_t *object, const Swarm__ContainerSpec *from)
{
    json_t *mounts = json_array();
    json_t *ulimits = json_array();
    for (size_t i = 0; i < from->n_mounts; i++)
        json_array_append_new(mounts, mount(from->mounts[i]));
    for (size_t i = 0; i < from->n_ulimits; i++)
        json_array_append_new(ulimits, json_pack("{s:s,s:I,s:I}", "Name", from->ulimits[i]->name, "Hard",
                                                 (json_int_t)from->ulimits[i]->hard, "Soft", (json_int_t)from->ulimits[i]->soft));
    part(object, "Mounts", mounts);
    text(object, "StopSignal", from->stop_signal);
    if (from->has_stop_grace_ns)
        json_object_set_new(object, "StopGracePeriod", json_integer(from->stop_grace_ns));
    texts(object, "Hosts", from->hosts, from->n_hosts);
    json_t *dns = json_object();
    if (from->dns != NULL) {
        texts(dns, "Nameservers", from->dns->nameservers, from->dns->n_nameservers);
        texts(dns, "Search", from->dns->search, from->dns->n_search);
        texts(dns, "Options", from->dns->options, from->dns->n_options);
    }
    part(object, "DNSConfig", dns);
    json_object_set_new(object, "Isolation", json_string("default"));
    part(object, "Sysctls", pairs(from->sysctls, from->n_sysctls));
    texts(object, "CapabilityAdd", from->cap_add, from->n_cap_add);
    texts(object, "CapabilityDrop", from->cap_drop, from->n_cap_drop);
    part(object, "Ulimits", ulimits);
    number(object, "OomScoreAdj", from->oom_score_adj);
}

static json_t *container(const Swarm__ContainerSpec *from)
{
    json_t *object = json_object();
    text(object, "Image", from->image);
    part(object, "Labels", pairs(from->labels, from->n_labels));
    texts(object, "Command", from->command, from->n_command);
    texts(object, "Args", from->args, from->n_args);
    text(object, "Hostname", from->hostname);
    texts(object, "Env", from->env, from->n_env);
    text(object, "Dir", from->dir);
    text(object, "User", from->user);
    texts(object, "Groups", from->groups, from->n_groups);
    truth(object, "Init", from->has_init, from->init);
    truth(object, "TTY", from->tty, true);
    truth(object, "ReadOnly", from->read_only, true);
    container_lists(object, from);
    return object;
}

/* ---- task template ---- */

static json_t *resources(const Swarm__Resources *from, int64_t pids)
{
    json_t *object = json_object();
    if (from != NULL) {
        number(object, "NanoCPUs", from->nano_cpus);
        number(object, "MemoryBytes", from->memory_bytes);
    }
    number(object, "Pids", pids);
    return object;
}

static json_t *restart(const Swarm__RestartPolicy *from)
{
    static const char *const words[] = { "none", "on-failure", "any" };
    json_t *object = json_object();
    text(object, "Condition", WORD(words, from->condition));
    if (from->has_delay_ns)
        json_object_set_new(object, "Delay", json_integer(from->delay_ns));
    json_object_set_new(object, "MaxAttempts", json_integer((json_int_t)from->max_attempts));
    number(object, "Window", from->window_ns);
    return object;
}

static json_t *placement(const Swarm__Placement *from)
{
    json_t *object = json_object();
    json_t *preferences = json_array();
    json_t *platforms = json_array();
    texts(object, "Constraints", from->constraints, from->n_constraints);
    for (size_t i = 0; i < from->n_preferences; i++)
        json_array_append_new(preferences, json_pack("{s:{s:s}}", "Spread", "SpreadDescriptor", from->preferences[i]));
    for (size_t i = 0; i < from->n_platforms; i++)
        json_array_append_new(platforms, platform(from->platforms[i]));
    part(object, "Preferences", preferences);
    number(object, "MaxReplicas", (int64_t)from->max_replicas);
    part(object, "Platforms", platforms);
    return object;
}

static json_t *task_template(const Swarm__TaskSpec *from)
{
    json_t *object = json_object();
    json_object_set_new(object, "ContainerSpec", container(from->container));
    json_t *both = json_object();
    part(both, "Limits", resources(from->resources != NULL ? from->resources->limits : NULL, from->container->pids_limit));
    part(both, "Reservations", resources(from->resources != NULL ? from->resources->reservations : NULL, 0));
    json_object_set_new(object, "Resources", both);
    if (from->restart != NULL)
        json_object_set_new(object, "RestartPolicy", restart(from->restart));
    json_object_set_new(object, "Placement", from->placement != NULL ? placement(from->placement) : json_object());
    json_t *networks = json_array();
    for (size_t i = 0; i < from->n_networks; i++) {
        json_t *network = json_object();
        text(network, "Target", from->networks[i]->target);
        texts(network, "Aliases", from->networks[i]->aliases, from->networks[i]->n_aliases);
        json_array_append_new(networks, network);
    }
    part(object, "Networks", networks);
    json_object_set_new(object, "ForceUpdate", json_integer((json_int_t)from->force_update));
    json_object_set_new(object, "Runtime", json_string("container"));
    return object;
}

/* ---- service ---- */

static json_t *mode(const Swarm__ServiceMode *from)
{
    switch (from->kind) {
    case SWARM__SERVICE_MODE_KIND__MODE_REPLICATED:
        return json_pack("{s:{s:I}}", "Replicated", "Replicas", (json_int_t)from->replicas);
    case SWARM__SERVICE_MODE_KIND__MODE_GLOBAL:
        return json_pack("{s:{}}", "Global");
    case SWARM__SERVICE_MODE_KIND__MODE_REPLICATED_JOB:
        return json_pack("{s:{s:I,s:I}}", "ReplicatedJob", "MaxConcurrent", (json_int_t)from->max_concurrent, "TotalCompletions",
                         (json_int_t)from->replicas);
    case SWARM__SERVICE_MODE_KIND__MODE_GLOBAL_JOB:
        return json_pack("{s:{}}", "GlobalJob");
    case _SWARM__SERVICE_MODE_KIND_IS_INT_SIZE:
        break;
    }
    return json_object();
}

static json_t *update_config(const Swarm__UpdateConfig *from)
{
    static const char *const actions[] = { "pause", "continue", "rollback" };
    json_t *object = json_object();
    json_object_set_new(object, "Parallelism", json_integer((json_int_t)from->parallelism));
    number(object, "Delay", from->delay_ns);
    text(object, "FailureAction", WORD(actions, from->failure_action));
    number(object, "Monitor", from->monitor_ns);
    if (from->max_failure_ppm % 1000000 == 0)
        json_object_set_new(object, "MaxFailureRatio", json_integer(from->max_failure_ppm / 1000000));
    else
        json_object_set_new(object, "MaxFailureRatio", json_real(from->max_failure_ppm / 1e6));
    text(object, "Order", from->order == SWARM__UPDATE_ORDER__START_FIRST ? "start-first" : "stop-first");
    return object;
}

static json_t *ports(Swarm__PortConfig *const *list, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *port = json_object();
        text(port, "Name", list[i]->name);
        text(port, "Protocol", sw_protocol_name(list[i]->protocol));
        number(port, "TargetPort", list[i]->target_port);
        number(port, "PublishedPort", list[i]->published_port);
        text(port, "PublishMode", list[i]->publish_mode == SWARM__PUBLISH_MODE__PUBLISH_HOST ? "host" : "ingress");
        json_array_append_new(array, port);
    }
    return array;
}

static json_t *endpoint_spec(const Swarm__EndpointSpec *from)
{
    json_t *object = json_object();
    text(object, "Mode", from != NULL && from->mode == SWARM__ENDPOINT_MODE__ENDPOINT_DNSRR ? "dnsrr" : "vip");
    if (from != NULL)
        part(object, "Ports", ports(from->ports, from->n_ports));
    return object;
}

json_t *objects_service_spec(const Swarm__ServiceSpec *spec)
{
    json_t *object = json_object();
    text(object, "Name", spec->name);
    json_object_set_new(object, "Labels", pairs(spec->labels, spec->n_labels));
    json_object_set_new(object, "TaskTemplate", task_template(spec->task));
    json_object_set_new(object, "Mode", mode(spec->mode));
    if (spec->update != NULL)
        json_object_set_new(object, "UpdateConfig", update_config(spec->update));
    if (spec->rollback != NULL)
        json_object_set_new(object, "RollbackConfig", update_config(spec->rollback));
    json_object_set_new(object, "EndpointSpec", endpoint_spec(spec->endpoint));
    return object;
}

static json_t *endpoint(const Swarm__Endpoint *from)
{
    json_t *object = json_object();
    json_object_set_new(object, "Spec", from != NULL && from->spec != NULL ? endpoint_spec(from->spec) : json_object());
    if (from == NULL)
        return object;
    part(object, "Ports", ports(from->ports, from->n_ports));
    json_t *addresses = json_array();
    for (size_t i = 0; i < from->n_virtual_ips; i++)
        json_array_append_new(
            addresses, json_pack("{s:s,s:s}", "NetworkID", from->virtual_ips[i]->network_id, "Addr", from->virtual_ips[i]->addr));
    part(object, "VirtualIPs", addresses);
    return object;
}

static json_t *update_status(const Swarm__UpdateStatus *from)
{
    static const char *const words[] = {
        "", "updating", "paused", "completed", "rollback_started", "rollback_paused", "rollback_completed"
    };
    json_t *object = json_object();
    text(object, "State", WORD(words, from->state));
    if (from->has_started_ns)
        when(object, "StartedAt", from->started_ns);
    if (from->has_completed_ns)
        when(object, "CompletedAt", from->completed_ns);
    text(object, "Message", from->message);
    return object;
}

json_t *objects_service(const Swarm__Service *service)
{
    json_t *object = json_object();
    meta(object, service->id, service->meta);
    json_object_set_new(object, "Spec", objects_service_spec(service->spec));
    if (service->previous_spec != NULL)
        json_object_set_new(object, "PreviousSpec", objects_service_spec(service->previous_spec));
    json_object_set_new(object, "Endpoint", endpoint(service->endpoint));
    if (service->update_status != NULL && service->update_status->state != SWARM__UPDATE_STATE__UPDATE_NONE)
        json_object_set_new(object, "UpdateStatus", update_status(service->update_status));
    return object;
}

/* ---- node ---- */

static json_t *description(const Swarm__NodeDescription *from)
{
    json_t *object = json_object();
    text(object, "Hostname", from->hostname);
    if (from->platform != NULL)
        part(object, "Platform", platform(from->platform));
    part(object, "Resources", resources(from->resources, 0));
    json_t *engine = json_object();
    text(engine, "EngineVersion", from->engine_version);
    text(engine, "Runtime", from->runtime);
    text(engine, "Cgroup", from->cgroup);
    part(engine, "Labels", pairs(from->engine_labels, from->n_engine_labels));
    json_object_set_new(object, "Engine", engine);
    return object;
}

/* "tcp://HOST:PORT" to "HOST:PORT", as people write it. */
static const char *without_scheme(const char *address)
{
    const char *rest = address != NULL ? strstr(address, "://") : NULL;
    return rest != NULL ? rest + 3 : address;
}

json_t *objects_node(const Swarm__Node *node, const Swarm__ManagerStatus *manager)
{
    json_t *object = json_object();
    meta(object, node->id, node->meta);
    json_t *spec = json_object();
    text(spec, "Name", node->spec->name);
    json_object_set_new(spec, "Labels", pairs(node->spec->labels, node->spec->n_labels));
    text(spec, "Role", node->spec->desired_role == SWARM__NODE_ROLE__NODE_MANAGER ? "manager" : "worker");
    text(spec, "Availability", sw_availability_name(node->spec->availability));
    json_object_set_new(object, "Spec", spec);
    json_object_set_new(object, "Description", node->description != NULL ? description(node->description) : json_object());
    json_t *status = json_object();
    if (node->status != NULL) {
        text(status, "State", sw_node_state_name(node->status->state));
        text(status, "Message", node->status->message);
        text(status, "Addr", node->status->addr);
    }
    json_object_set_new(object, "Status", status);
    if (manager == NULL)
        return object;
    json_t *raft = json_object();
    truth(raft, "Leader", manager->leader, true);
    text(raft, "Reachability", manager->reachable ? "reachable" : "unreachable");
    text(raft, "Addr", without_scheme(manager->addr));
    json_object_set_new(object, "ManagerStatus", raft);
    return object;
}

/* ---- task ---- */

static json_t *task_status(const Swarm__TaskStatus *from)
{
    json_t *object = json_object();
    when(object, "Timestamp", from->timestamp_ns);
    text(object, "State", sw_task_state_name(from->state));
    text(object, "Message", from->message);
    text(object, "Err", from->err);
    if (from->container != NULL) {
        json_t *status = json_object();
        text(status, "ContainerID", from->container->container_id);
        json_object_set_new(status, "PID", json_integer(from->container->pid));
        json_object_set_new(status, "ExitCode", json_integer(from->container->exit_code));
        truth(status, "OOMKilled", from->container->oom_killed, true);
        json_object_set_new(object, "ContainerStatus", status);
    }
    json_t *port_status = json_object();
    part(port_status, "Ports", ports(from->host_ports, from->n_host_ports));
    json_object_set_new(object, "PortStatus", port_status);
    return object;
}

json_t *objects_task(const Swarm__Task *task)
{
    json_t *object = json_object();
    meta(object, task->id, task->meta);
    json_object_set_new(object, "Labels", json_object());
    json_object_set_new(object, "Spec", task_template(task->spec));
    text(object, "ServiceID", task->service_id);
    number(object, "Slot", (int64_t)task->slot);
    text(object, "NodeID", task->node_id);
    json_object_set_new(object, "Status", task_status(task->status));
    text(object, "DesiredState", sw_task_state_name(task->desired_state));
    json_t *attachments = json_array();
    for (size_t i = 0; i < task->n_attachments; i++) {
        json_t *attachment = json_object();
        text(attachment, "NetworkID", task->attachments[i]->network_id);
        texts(attachment, "Addresses", task->attachments[i]->addresses, task->attachments[i]->n_addresses);
        json_array_append_new(attachments, attachment);
    }
    part(object, "NetworksAttachments", attachments);
    return object;
}
