/* Words: node ID [state= avail= cpus= mem= arch= label.X=]   rmnode ID
 *        service NAME [replicas= global image= constraint= publish=P:T host=P:T cpus= mem= max-replicas= condition= delay=
 *                      attempts= window= parallelism= order= action= monitor= update-delay= ratio= grace=]   (made or updated)
 *        rm NAME (pending_delete)   remove NAME (at once)   history N   report TASK STATE [ERR]   agents [stop|start]   wait
 * DURATION   refuse   leader on|off   show
 */
#include "services/scheduler/tests/scenario.h"

#include "common/base/names.h"
#include "common/base/units.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEW(type, init)                                                                                                          \
    __extension__({                                                                                                              \
        type *made = sw_alloc0(sizeof *made);                                                                                    \
        init(made);                                                                                                              \
        made;                                                                                                                    \
    })

static int64_t number(const char *text)
{
    int64_t value = 0;
    if (!sw_parse_duration(text, &value) && !sw_parse_i64(text, &value) && !sw_parse_bytes(text, &value))
        abort();
    return value;
}

static Swarm__Meta *new_meta(void)
{
    return NEW(Swarm__Meta, swarm__meta__init);
}

/* ---- nodes ---- */

Swarm__Node *scenario_node(const char *id)
{
    Swarm__Node *node = NEW(Swarm__Node, swarm__node__init);
    node->id = sw_strdup(id);
    node->meta = new_meta();
    node->spec = NEW(Swarm__NodeSpec, swarm__node_spec__init);
    node->description = NEW(Swarm__NodeDescription, swarm__node_description__init);
    node->description->hostname = sw_strdup(id);
    node->description->resources = NEW(Swarm__Resources, swarm__resources__init);
    node->description->resources->has_nano_cpus = true;
    node->description->resources->nano_cpus = 4 * SW_NS_PER_S;
    node->description->resources->has_memory_bytes = true;
    node->description->resources->memory_bytes = INT64_C(4) << 30;
    node->status = NEW(Swarm__NodeStatus, swarm__node_status__init);
    node->status->has_state = true;
    node->status->state = SWARM__NODE_STATE__NODE_READY;
    return node;
}

static void add_label(Swarm__NodeSpec *spec, const char *key, const char *value)
{
    for (size_t i = 0; i < spec->n_labels; i++)
        if (strcmp(spec->labels[i]->key, key) == 0) {
            sw_pb_set(&spec->labels[i]->value, value);
            return;
        }
    Swarm__Pair *pair = NEW(Swarm__Pair, swarm__pair__init);
    pair->key = sw_strdup(key);
    pair->value = sw_strdup(value);
    spec->labels = sw_realloc_array(spec->labels, spec->n_labels + 1, sizeof *spec->labels);
    spec->labels[spec->n_labels++] = pair;
}

static Swarm__NodeState node_state(const char *word)
{
    for (int s = SWARM__NODE_STATE__NODE_UNKNOWN; s <= SWARM__NODE_STATE__NODE_DISCONNECTED; s++)
        if (strcmp(sw_node_state_name((Swarm__NodeState)s), word) == 0)
            return (Swarm__NodeState)s;
    abort();
}

static bool node_word(struct cluster *cluster, Swarm__Node *node, const char *key, const char *value)
{
    if (strcmp(key, "state") == 0) {
        node->status->state = node_state(value);
        node->status->has_since_ns = true;
        node->status->since_ns = cluster->now_ns;
    } else if (strcmp(key, "avail") == 0) {
        node->spec->has_availability = sw_availability_parse(value, &node->spec->availability);
    } else if (strcmp(key, "cpus") == 0) {
        return sw_parse_cpus(value, &node->description->resources->nano_cpus);
    } else if (strcmp(key, "mem") == 0) {
        node->description->resources->memory_bytes = number(value);
    } else if (strcmp(key, "arch") == 0) {
        node->description->platform = NEW(Swarm__Platform, swarm__platform__init);
        node->description->platform->architecture = sw_strdup(value);
    } else if (strncmp(key, "label.", 6) == 0) {
        add_label(node->spec, key + 6, value);
    } else {
        return false;
    }
    return true;
}

/* ---- services ---- */

Swarm__Service *scenario_service(const char *name)
{
    Swarm__Service *service = NEW(Swarm__Service, swarm__service__init);
    service->id = sw_strf("s-%s", name);
    service->meta = new_meta();
    service->spec = NEW(Swarm__ServiceSpec, swarm__service_spec__init);
    service->spec->name = sw_strdup(name);
    service->spec->task = NEW(Swarm__TaskSpec, swarm__task_spec__init);
    service->spec->task->container = NEW(Swarm__ContainerSpec, swarm__container_spec__init);
    service->spec->task->container->image = sw_strdup("busybox");
    service->spec->mode = NEW(Swarm__ServiceMode, swarm__service_mode__init);
    service->spec->mode->has_replicas = true;
    service->spec->mode->replicas = 1;
    return service;
}

void scenario_update_service(struct cluster *cluster, Swarm__Service *edit)
{
    const Swarm__Service *old = mirror_service(cluster->store, edit->id);
    Swarm__ServiceSpec *spec = edit->spec;
    edit->spec = sw_pb_clone(old->spec);
    store_object_take_spec(edit, spec);
    cluster_write(cluster, SWARM__ACTION_KIND__ACTION_UPDATE, SWARM__TABLE__TABLE_SERVICE, edit->id, edit);
}

static Swarm__RestartPolicy *restart_of(Swarm__TaskSpec *task)
{
    if (task->restart == NULL)
        task->restart = NEW(Swarm__RestartPolicy, swarm__restart_policy__init);
    return task->restart;
}

static Swarm__Placement *placement_of(Swarm__TaskSpec *task)
{
    if (task->placement == NULL)
        task->placement = NEW(Swarm__Placement, swarm__placement__init);
    return task->placement;
}

static Swarm__UpdateConfig *update_of(Swarm__ServiceSpec *spec)
{
    if (spec->update == NULL)
        spec->update = NEW(Swarm__UpdateConfig, swarm__update_config__init);
    return spec->update;
}

static Swarm__Resources *reserve_of(Swarm__TaskSpec *task)
{
    if (task->resources == NULL) {
        task->resources = NEW(Swarm__ResourceRequirements, swarm__resource_requirements__init);
        task->resources->reservations = NEW(Swarm__Resources, swarm__resources__init);
    }
    return task->resources->reservations;
}

static void add_port(Swarm__ServiceSpec *spec, const char *value, Swarm__PublishMode mode)
{
    if (spec->endpoint == NULL)
        spec->endpoint = NEW(Swarm__EndpointSpec, swarm__endpoint_spec__init);
    Swarm__PortConfig *port = NEW(Swarm__PortConfig, swarm__port_config__init);
    assert(sscanf(value, "%u:%u", &port->published_port, &port->target_port) == 2);
    port->has_published_port = true;
    port->has_publish_mode = true;
    port->publish_mode = mode;
    spec->endpoint->ports = sw_realloc_array(spec->endpoint->ports, spec->endpoint->n_ports + 1, sizeof port);
    spec->endpoint->ports[spec->endpoint->n_ports++] = port;
}

static bool restart_word(Swarm__TaskSpec *task, const char *key, const char *value)
{
    if (strcmp(key, "condition") == 0) {
        restart_of(task)->has_condition = true;
        restart_of(task)->condition = strcmp(value, "none") == 0         ? SWARM__RESTART_CONDITION__RESTART_NONE
                                      : strcmp(value, "on-failure") == 0 ? SWARM__RESTART_CONDITION__RESTART_ON_FAILURE
                                                                         : SWARM__RESTART_CONDITION__RESTART_ANY;
    } else if (strcmp(key, "delay") == 0) {
        restart_of(task)->has_delay_ns = true;
        restart_of(task)->delay_ns = number(value);
    } else if (strcmp(key, "attempts") == 0) {
        restart_of(task)->has_max_attempts = true;
        restart_of(task)->max_attempts = (uint64_t)number(value);
    } else if (strcmp(key, "window") == 0) {
        restart_of(task)->has_window_ns = true;
        restart_of(task)->window_ns = number(value);
    } else {
        return false;
    }
    return true;
}

static bool update_word(Swarm__ServiceSpec *spec, const char *key, const char *value)
{
    if (strcmp(key, "parallelism") == 0) {
        update_of(spec)->has_parallelism = true;
        update_of(spec)->parallelism = (uint64_t)number(value);
    } else if (strcmp(key, "order") == 0) {
        update_of(spec)->has_order = true;
        update_of(spec)->order =
            strcmp(value, "start-first") == 0 ? SWARM__UPDATE_ORDER__START_FIRST : SWARM__UPDATE_ORDER__STOP_FIRST;
    } else if (strcmp(key, "action") == 0) {
        update_of(spec)->has_failure_action = true;
        update_of(spec)->failure_action = strcmp(value, "rollback") == 0   ? SWARM__UPDATE_FAILURE_ACTION__UPDATE_ROLLBACK
                                          : strcmp(value, "continue") == 0 ? SWARM__UPDATE_FAILURE_ACTION__UPDATE_CONTINUE
                                                                           : SWARM__UPDATE_FAILURE_ACTION__UPDATE_PAUSE;
    } else if (strcmp(key, "monitor") == 0) {
        update_of(spec)->has_monitor_ns = true;
        update_of(spec)->monitor_ns = number(value);
    } else if (strcmp(key, "update-delay") == 0) {
        update_of(spec)->has_delay_ns = true;
        update_of(spec)->delay_ns = number(value);
    } else if (strcmp(key, "ratio") == 0) {
        update_of(spec)->has_max_failure_ppm = true;
        update_of(spec)->max_failure_ppm = (uint32_t)number(value);
    } else {
        return false;
    }
    return true;
}

static bool task_word(Swarm__TaskSpec *task, const char *key, const char *value)
{
    if (strcmp(key, "image") == 0) {
        sw_pb_set(&task->container->image, value);
    } else if (strcmp(key, "grace") == 0) {
        task->container->has_stop_grace_ns = true;
        task->container->stop_grace_ns = number(value);
    } else if (strcmp(key, "constraint") == 0) {
        Swarm__Placement *placement = placement_of(task);
        placement->constraints = sw_realloc_array(placement->constraints, placement->n_constraints + 1, sizeof(char *));
        placement->constraints[placement->n_constraints++] = sw_strdup(value);
    } else if (strcmp(key, "max-replicas") == 0) {
        placement_of(task)->has_max_replicas = true;
        placement_of(task)->max_replicas = (uint64_t)number(value);
    } else if (strcmp(key, "cpus") == 0) {
        reserve_of(task)->has_nano_cpus = sw_parse_cpus(value, &reserve_of(task)->nano_cpus);
    } else if (strcmp(key, "mem") == 0) {
        reserve_of(task)->has_memory_bytes = true;
        reserve_of(task)->memory_bytes = number(value);
    } else {
        return false;
    }
    return true;
}

static bool service_word(Swarm__ServiceSpec *spec, const char *key, const char *value)
{
    if (strcmp(key, "replicas") == 0)
        spec->mode->replicas = (uint64_t)number(value);
    else if (strcmp(key, "global") == 0)
        spec->mode->kind = SWARM__SERVICE_MODE_KIND__MODE_GLOBAL;
    else if (strcmp(key, "publish") == 0)
        add_port(spec, value, SWARM__PUBLISH_MODE__PUBLISH_INGRESS);
    else if (strcmp(key, "host") == 0)
        add_port(spec, value, SWARM__PUBLISH_MODE__PUBLISH_HOST);
    else
        return task_word(spec->task, key, value) || restart_word(spec->task, key, value) || update_word(spec, key, value);
    return true;
}

/* ---- commands ---- */

/* "key=value" words of the rest of a line; a value runs to the next blank. */
static bool next_word(char **rest, char **key, char **value)
{
    char *word = strtok_r(NULL, " ", rest);
    if (word == NULL)
        return false;
    *key = word;
    *value = strchr(word, '=');
    if (*value != NULL)
        *(*value)++ = '\0';
    else
        *value = word + strlen(word);
    return true;
}

static bool do_node(struct cluster *cluster, char *rest)
{
    const char *id = strtok_r(NULL, " ", &rest);
    const Swarm__Node *there = mirror_node(cluster->store, id);
    Swarm__Node *node = there != NULL ? sw_pb_clone(there) : scenario_node(id);
    char *key = NULL;
    char *value = NULL;
    while (next_word(&rest, &key, &value))
        if (!node_word(cluster, node, key, value))
            return false;
    cluster_write(cluster, there != NULL ? SWARM__ACTION_KIND__ACTION_UPDATE : SWARM__ACTION_KIND__ACTION_CREATE,
                  SWARM__TABLE__TABLE_NODE, id, node);
    return true;
}

static bool do_service(struct cluster *cluster, char *rest)
{
    const char *name = strtok_r(NULL, " ", &rest);
    const Swarm__Service *there = mirror_by_name(cluster->store, SWARM__TABLE__TABLE_SERVICE, name);
    Swarm__Service *service = there != NULL ? sw_pb_clone(there) : scenario_service(name);
    char *key = NULL;
    char *value = NULL;
    while (next_word(&rest, &key, &value))
        if (!service_word(service->spec, key, value))
            return false;
    if (there != NULL)
        scenario_update_service(cluster, service);
    else
        cluster_write(cluster, SWARM__ACTION_KIND__ACTION_CREATE, SWARM__TABLE__TABLE_SERVICE, service->id, service);
    return true;
}

static bool do_rm(struct cluster *cluster, char *rest)
{
    const Swarm__Service *there = mirror_by_name(cluster->store, SWARM__TABLE__TABLE_SERVICE, strtok_r(NULL, " ", &rest));
    Swarm__Service *service = sw_pb_clone(there);
    service->has_pending_delete = true;
    service->pending_delete = true;
    scenario_update_service(cluster, service);
    return true;
}

/* As the control API removes: the object goes at once. */
static void do_remove(struct cluster *cluster, const char *name)
{
    const Swarm__Service *there = mirror_by_name(cluster->store, SWARM__TABLE__TABLE_SERVICE, name);
    cluster_write(cluster, SWARM__ACTION_KIND__ACTION_REMOVE, SWARM__TABLE__TABLE_SERVICE, there->id, NULL);
}

static bool do_history(struct cluster *cluster, char *rest)
{
    Swarm__Cluster *object = NEW(Swarm__Cluster, swarm__cluster__init);
    object->id = sw_strdup("c");
    object->meta = new_meta();
    object->spec = NEW(Swarm__ClusterSpec, swarm__cluster_spec__init);
    object->spec->has_task_history_limit = true;
    object->spec->task_history_limit = number(strtok_r(NULL, " ", &rest));
    object->root_key = sw_pb_bytes("k", 1);
    cluster_write(cluster, SWARM__ACTION_KIND__ACTION_CREATE, SWARM__TABLE__TABLE_CLUSTER, "c", object);
    return true;
}

static bool do_report(struct cluster *cluster, char *rest)
{
    const Swarm__Task *task = cluster_task_by_name(cluster, strtok_r(NULL, " ", &rest));
    Swarm__TaskState state;
    if (task == NULL || !sw_task_state_parse(strtok_r(NULL, " ", &rest), &state))
        return false;
    cluster_report(cluster, task, state, rest != NULL && *rest != '\0' ? rest : NULL);
    return true;
}

static bool do_agents(struct cluster *cluster, char *rest)
{
    const char *only = strtok_r(NULL, " ", &rest);
    (void)cluster_agents(cluster, only == NULL || strcmp(only, "stop") == 0, only == NULL || strcmp(only, "start") == 0);
    return true;
}

bool scenario_line(struct cluster *cluster, const char *line, struct sw_buf *text)
{
    SW_AUTO(sw_free) char *copy = sw_strdup(line);
    char *rest = NULL;
    const char *word = strtok_r(copy, " ", &rest);
    if (strcmp(word, "node") == 0)
        return do_node(cluster, rest);
    if (strcmp(word, "service") == 0)
        return do_service(cluster, rest);
    if (strcmp(word, "rm") == 0)
        return do_rm(cluster, rest);
    if (strcmp(word, "history") == 0)
        return do_history(cluster, rest);
    if (strcmp(word, "report") == 0)
        return do_report(cluster, rest);
    if (strcmp(word, "agents") == 0)
        return do_agents(cluster, rest);
    if (strcmp(word, "rmnode") == 0)
        cluster_write(cluster, SWARM__ACTION_KIND__ACTION_REMOVE, SWARM__TABLE__TABLE_NODE, rest, NULL);
    else if (strcmp(word, "remove") == 0)
        do_remove(cluster, rest);
    else if (strcmp(word, "wait") == 0)
        cluster_wait(cluster, number(rest));
    else if (strcmp(word, "refuse") == 0)
        cluster->refuse = 1;
    else if (strcmp(word, "leader") == 0)
        cluster_resubscribe(cluster, strcmp(rest, "on") == 0);
    else if (strcmp(word, "show") == 0)
        cluster_show(cluster, text);
    else
        return false;
    return true;
}
