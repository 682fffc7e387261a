#include "services/swarm-cli/core/pretty.h"

#include "common/base/units.h"

#include <ctype.h>
#include <string.h>

/* ---- getting at things: paths like "Spec.TaskTemplate.ContainerSpec" ---- */

static const json_t *at(const json_t *object, const char *path)
{
    while (object != NULL && *path != '\0') {
        char key[64];
        size_t len = strcspn(path, ".");
        if (len >= sizeof key)
            return NULL;
        memcpy(key, path, len);
        key[len] = '\0';
        object = json_object_get(object, key);
        path += path[len] == '.' ? len + 1 : len;
    }
    return object;
}

static const char *text_at(const json_t *object, const char *path)
{
    const char *text = json_string_value(at(object, path));
    return text != NULL ? text : "";
}

static void line(struct sw_buf *out, const char *label, const char *text)
{
    if (text[0] != '\0')
        sw_buf_addf(out, "%s%s\n", label, text);
}

static void title(struct sw_buf *out, const char *label, const char *text)
{
    if (text[0] != '\0')
        sw_buf_addf(out, "%s%c%s\n", label, toupper((unsigned char)text[0]), text + 1);
}

static void joined(struct sw_buf *out, const char *label, const json_t *list)
{
    if (json_array_size(list) == 0)
        return;
    sw_buf_adds(out, label);
    for (size_t i = 0; i < json_array_size(list); i++)
        sw_buf_addf(out, "%s%s", i > 0 ? " " : "", json_string_value(json_array_get(list, i)));
    sw_buf_adds(out, "\n");
}

static void map(struct sw_buf *out, const char *label, const char *item, const json_t *object)
{
    if (json_object_size(object) > 0)
        sw_buf_adds(out, label);
    for (void *it = json_object_iter((json_t *)object); it != NULL; it = json_object_iter_next((json_t *)object, it)) {
        const char *value = json_string_value(json_object_iter_value(it));
        sw_buf_addf(out, "%s%s%s%s\n", item, json_object_iter_key(it), value[0] != '\0' ? "=" : "", value);
    }
}

static void duration(struct sw_buf *out, const char *label, const json_t *value)
{
    char text[64];
    if (value == NULL)
        return;
    sw_format_duration(json_integer_value(value), text, sizeof text);
    line(out, label, text);
}

static void sizes(struct sw_buf *out, const char *label, const json_t *resources)
{
    char text[64];
    if (json_object_size(resources) == 0)
        return;
    sw_buf_addf(out, "%s\n", label);
    if (at(resources, "NanoCPUs") != NULL)
        sw_buf_addf(out, "  CPU:\t\t%.15g\n", (double)json_integer_value(at(resources, "NanoCPUs")) / 1e9);
    if (at(resources, "MemoryBytes") != NULL) {
        sw_format_bytes(json_integer_value(at(resources, "MemoryBytes")), text, sizeof text);
        line(out, "  Memory:\t", text);
    }
    if (at(resources, "Pids") != NULL)
        sw_buf_addf(out, "  Pids:\t\t%lld\n", (long long)json_integer_value(at(resources, "Pids")));
}

/* ---- service ---- */

static void service_mode(const json_t *service, struct sw_buf *out)
{
    const json_t *replicated = at(service, "Spec.Mode.Replicated");
    sw_buf_addf(out, "Service Mode:\t%s\n", replicated != NULL ? "Replicated" : "Global");
    if (replicated != NULL)
        sw_buf_addf(out, " Replicas:\t%lld\n", (long long)json_integer_value(at(replicated, "Replicas")));
    const json_t *status = at(service, "UpdateStatus");
    if (status == NULL)
        return;
    sw_buf_adds(out, "UpdateStatus:\n");
    line(out, " State:\t\t", text_at(status, "State"));
    line(out, " Started:\t", text_at(status, "StartedAt"));
    line(out, " Completed:\t", text_at(status, "CompletedAt"));
    line(out, " Message:\t", text_at(status, "Message"));
}

static void service_placement(const json_t *placement, struct sw_buf *out)
{
    if (json_object_size(placement) == 0 ||
        (at(placement, "Constraints") == NULL && at(placement, "Preferences") == NULL && at(placement, "MaxReplicas") == NULL))
        return;
    sw_buf_adds(out, "Placement:\n");
    joined(out, " Constraints:\t", at(placement, "Constraints"));
    for (size_t i = 0; i < json_array_size(at(placement, "Preferences")); i++)
        line(out, " Preferences:\tspread=", text_at(json_array_get(at(placement, "Preferences"), i), "Spread.SpreadDescriptor"));
    if (at(placement, "MaxReplicas") != NULL)
        sw_buf_addf(out, " Max Replicas Per Node:\t%lld\n", (long long)json_integer_value(at(placement, "MaxReplicas")));
}

static void service_config(const char *label, const json_t *config, const char *word, struct sw_buf *out)
{
    if (config == NULL)
        return;
    sw_buf_addf(out, "%s\n Parallelism:\t%lld\n", label, (long long)json_integer_value(at(config, "Parallelism")));
    duration(out, " Delay:\t\t", at(config, "Delay"));
    line(out, " On failure:\t", text_at(config, "FailureAction"));
    duration(out, word, at(config, "Monitor"));
    sw_buf_addf(out, " Max failure ratio: %.15g\n", json_number_value(at(config, "MaxFailureRatio")));
    line(out, " Order:\t\t", text_at(config, "Order"));
}

static void service_container(const json_t *container, struct sw_buf *out)
{
    sw_buf_adds(out, "ContainerSpec:\n");
    line(out, " Image:\t\t", text_at(container, "Image"));
    joined(out, " Command:\t", at(container, "Command"));
    joined(out, " Args:\t\t", at(container, "Args"));
    joined(out, " Env:\t\t", at(container, "Env"));
    line(out, " Dir:\t\t", text_at(container, "Dir"));
    if (at(container, "Init") != NULL)
        sw_buf_addf(out, " Init:\t\t%s\n", json_is_true(at(container, "Init")) ? "true" : "false");
    line(out, " User:\t\t", text_at(container, "User"));
    joined(out, " CapabilityAdd:\t", at(container, "CapabilityAdd"));
    joined(out, " CapabilityDrop:\t", at(container, "CapabilityDrop"));
    map(out, "SysCtls:\n", " ", at(container, "Sysctls"));
    const json_t *ulimits = at(container, "Ulimits");
    sw_buf_adds(out, json_array_size(ulimits) > 0 ? "Ulimits:\n" : "");
    for (size_t i = 0; i < json_array_size(ulimits); i++) {
        const json_t *limit = json_array_get(ulimits, i);
        sw_buf_addf(out, " %s=%lld:%lld\n", text_at(limit, "Name"), (long long)json_integer_value(at(limit, "Soft")),
                    (long long)json_integer_value(at(limit, "Hard")));
    }
    const json_t *mounts = at(container, "Mounts");
    sw_buf_adds(out, json_array_size(mounts) > 0 ? "Mounts:\n" : "");
    for (size_t i = 0; i < json_array_size(mounts); i++) {
        const json_t *mount = json_array_get(mounts, i);
        sw_buf_addf(out, " Target:\t%s\n  Source:\t%s\n  ReadOnly:\t%s\n  Type:\t\t%s\n", text_at(mount, "Target"),
                    text_at(mount, "Source"), json_is_true(at(mount, "ReadOnly")) ? "true" : "false", text_at(mount, "Type"));
    }
}

static void service_ports(const json_t *service, struct sw_buf *out)
{
    const json_t *ports = at(service, "Endpoint.Ports");
    line(out, "Endpoint Mode:\t", text_at(service, "Spec.EndpointSpec.Mode"));
    sw_buf_adds(out, json_array_size(ports) > 0 ? "Ports:\n" : "");
    for (size_t i = 0; i < json_array_size(ports); i++) {
        const json_t *port = json_array_get(ports, i);
        sw_buf_addf(out, " PublishedPort = %lld\n  Protocol = %s\n  TargetPort = %lld\n  PublishMode = %s\n",
                    (long long)json_integer_value(at(port, "PublishedPort")), text_at(port, "Protocol"),
                    (long long)json_integer_value(at(port, "TargetPort")), text_at(port, "PublishMode"));
    }
}

void pretty_service(const json_t *service, struct sw_buf *out)
{
    const json_t *template = at(service, "Spec.TaskTemplate");
    sw_buf_adds(out, "\n");
    line(out, "ID:\t\t", text_at(service, "ID"));
    line(out, "Name:\t\t", text_at(service, "Spec.Name"));
    map(out, "Labels:\n", " ", at(service, "Spec.Labels"));
    service_mode(service, out);
    service_placement(at(template, "Placement"), out);
    service_config("UpdateConfig:", at(service, "Spec.UpdateConfig"), " Monitoring Period: ", out);
    service_config("RollbackConfig:", at(service, "Spec.RollbackConfig"), " Monitoring Period: ", out);
    service_container(at(template, "ContainerSpec"), out);
    const json_t *resources = at(template, "Resources");
    if (json_object_size(resources) > 0) {
        sw_buf_adds(out, "Resources:\n");
        sizes(out, " Reservations:", at(resources, "Reservations"));
        sizes(out, " Limits:", at(resources, "Limits"));
    }
    service_ports(service, out);
}

/* ---- node ---- */

void pretty_node(const json_t *node, struct sw_buf *out)
{
    char text[64];
    line(out, "ID:\t\t\t", text_at(node, "ID"));
    line(out, "Name:\t\t\t", text_at(node, "Spec.Name"));
    map(out, "Labels:\n", " - ", at(node, "Spec.Labels"));
    line(out, "Hostname:              \t", text_at(node, "Description.Hostname"));
    line(out, "Joined at:             \t", text_at(node, "CreatedAt"));
    sw_buf_adds(out, "Status:\n");
    title(out, " State:\t\t\t", text_at(node, "Status.State"));
    line(out, " Message:\t\t", text_at(node, "Status.Message"));
    title(out, " Availability:         \t", text_at(node, "Spec.Availability"));
    line(out, " Address:\t\t", text_at(node, "Status.Addr"));
    const json_t *manager = at(node, "ManagerStatus");
    if (manager != NULL) {
        sw_buf_adds(out, "Manager Status:\n");
        line(out, " Address:\t\t", text_at(manager, "Addr"));
        title(out, " Raft Status:\t\t", text_at(manager, "Reachability"));
        line(out, " Leader:\t\t", json_is_true(at(manager, "Leader")) ? "Yes" : "No");
    }
    sw_buf_adds(out, "Platform:\n");
    line(out, " Operating System:\t", text_at(node, "Description.Platform.OS"));
    line(out, " Architecture:\t\t", text_at(node, "Description.Platform.Architecture"));
    const json_t *resources = at(node, "Description.Resources");
    if (resources != NULL) {
        sw_format_bytes(json_integer_value(at(resources, "MemoryBytes")), text, sizeof text);
        sw_buf_addf(out, "Resources:\n CPUs:\t\t\t%lld\n Memory:\t\t%s\n",
                    (long long)(json_integer_value(at(resources, "NanoCPUs")) / 1000000000), text);
    }
    line(out, "Engine Version:\t\t", text_at(node, "Description.Engine.EngineVersion"));
    line(out, "Runtime:\t\t", text_at(node, "Description.Engine.Runtime"));
    map(out, "Engine Labels:\n", " - ", at(node, "Description.Engine.Labels"));
}

/* ---- info ---- */

static void info_cluster(const json_t *cluster, struct sw_buf *out)
{
    char text[64];
    const json_t *pools = at(cluster, "DefaultAddrPool");
    sw_buf_adds(out, " Default Address Pool: ");
    for (size_t i = 0; i < json_array_size(pools); i++)
        sw_buf_addf(out, "%s%s", i > 0 ? "  " : "", json_string_value(json_array_get(pools, i)));
    sw_buf_addf(out, "\n SubnetSize: %lld\n Data Path Port: %lld\n", (long long)json_integer_value(at(cluster, "SubnetSize")),
                (long long)json_integer_value(at(cluster, "DataPathPort")));
    sw_buf_addf(out, " Orchestration:\n  Task History Retention Limit: %lld\n",
                (long long)json_integer_value(at(cluster, "Spec.Orchestration.TaskHistoryRetentionLimit")));
    sw_buf_addf(out, " Raft:\n  Term: %lld\n  Index: %lld\n", (long long)json_integer_value(at(cluster, "Raft.Term")),
                (long long)json_integer_value(at(cluster, "Raft.Index")));
    sw_format_human_duration(json_integer_value(at(cluster, "Spec.Dispatcher.HeartbeatPeriod")), text, sizeof text);
    sw_buf_addf(out, " Dispatcher:\n  Heartbeat Period: %s\n", text);
    sw_format_human_duration(json_integer_value(at(cluster, "Spec.CAConfig.NodeCertExpiry")), text, sizeof text);
    sw_buf_addf(out, " CA Configuration:\n  Expiry Duration: %s\n Autolock Managers: %s\n", text,
                json_is_true(at(cluster, "Spec.EncryptionConfig.AutoLockManagers")) ? "true" : "false");
}

void pretty_info(const json_t *info, struct sw_buf *out)
{
    char text[64];
    const json_t *swarm = at(info, "Swarm");
    line(out, "Name: ", text_at(info, "Name"));
    line(out, "Server Version: ", text_at(info, "ServerVersion"));
    line(out, "Runtime: ", text_at(info, "Runtime"));
    line(out, "Cgroup: ", text_at(info, "Cgroup"));
    sw_buf_addf(out, "CPUs: %lld\n", (long long)json_integer_value(at(info, "NCPU")));
    sw_format_bytes(json_integer_value(at(info, "MemTotal")), text, sizeof text);
    line(out, "Total Memory: ", text);
    sw_buf_addf(out, "Tasks Running: %lld\n", (long long)json_integer_value(at(info, "TasksRunning")));
    line(out, "Swarm: ", text_at(swarm, "LocalNodeState"));
    line(out, " NodeID: ", text_at(swarm, "NodeID"));
    line(out, " Error: ", text_at(swarm, "Error"));
    if (strcmp(text_at(swarm, "LocalNodeState"), "active") != 0)
        return;
    sw_buf_addf(out, " Is Manager: %s\n", json_is_true(at(swarm, "ControlAvailable")) ? "true" : "false");
    if (at(swarm, "Cluster") != NULL) {
        line(out, " ClusterID: ", text_at(swarm, "Cluster.ID"));
        sw_buf_addf(out, " Managers: %lld\n Nodes: %lld\n", (long long)json_integer_value(at(swarm, "Managers")),
                    (long long)json_integer_value(at(swarm, "Nodes")));
        info_cluster(at(swarm, "Cluster"), out);
    }
    line(out, " Node Address: ", text_at(swarm, "NodeAddr"));
    const json_t *managers = at(swarm, "RemoteManagers");
    sw_buf_adds(out, json_array_size(managers) > 0 ? " Manager Addresses:\n" : "");
    for (size_t i = 0; i < json_array_size(managers); i++)
        line(out, "  ", text_at(json_array_get(managers, i), "Addr"));
}
