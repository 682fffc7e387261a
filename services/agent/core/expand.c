#include "services/agent/core/internal.h"

#include "common/base/names.h"
#include "common/template/template.h"

#include <string.h>

/* Placeholders of cli-surface 15.2: .Service .Node .Task. */
static json_t *text_or_empty(const char *text)
{
    return json_string(text != NULL ? text : "");
}

static json_t *labels_json(Swarm__Pair *const *pairs, size_t count)
{
    json_t *labels = json_object();
    for (size_t i = 0; i < count; i++)
        (void)json_object_set_new(labels, pairs[i]->key, text_or_empty(pairs[i]->value));
    return labels;
}

static json_t *service_json(const Swarm__Task *task)
{
    json_t *service = json_object();
    (void)json_object_set_new(service, "ID", text_or_empty(task->service_id));
    (void)json_object_set_new(service, "Name", text_or_empty(task->service_name));
    (void)json_object_set_new(service, "Labels", labels_json(task->service_labels, task->n_service_labels));
    return service;
}

static json_t *node_json(const struct worker *w, const Swarm__Task *task)
{
    const Swarm__NodeDescription *description = w->description;
    const Swarm__Platform *platform = description != NULL ? description->platform : NULL;
    json_t *node = json_object(), *words = json_object();
    (void)json_object_set_new(words, "Architecture", text_or_empty(platform != NULL ? platform->architecture : NULL));
    (void)json_object_set_new(words, "OS", text_or_empty(platform != NULL ? platform->os : NULL));
    (void)json_object_set_new(node, "ID", text_or_empty(task->node_id));
    (void)json_object_set_new(node, "Hostname", text_or_empty(description != NULL ? description->hostname : NULL));
    (void)json_object_set_new(node, "Platform", words);
    return node;
}

static json_t *task_json(const Swarm__Task *task)
{
    json_t *object = json_object();
    SW_AUTO(sw_free) char *name = sw_task_name(task);
    SW_AUTO(sw_free) char *slot = sw_strf("%llu", (unsigned long long)task->slot);
    (void)json_object_set_new(object, "ID", text_or_empty(task->id));
    (void)json_object_set_new(object, "Name", text_or_empty(name));
    (void)json_object_set_new(object, "Slot", text_or_empty(task->slot != 0 ? slot : task->node_id));
    return object;
}

static const char *const free_maps[] = { "Labels", NULL };

/* In place; *text is the task's own. `from` characters in front are kept as they are. */
static int expand_text(char **text, size_t from, const char *field, json_t *data, struct sw_err *err)
{
    if (*text == NULL || strstr(*text + from, "{{") == NULL)
        return 0;
    const struct template_options options = { .maps = free_maps, .output_max = 65536 };
    SW_AUTO(sw_free) char *expanded = NULL;
    if (template_expand(*text + from, &options, data, &expanded, err) != 0)
        return sw_wrap(err, "%s", field);
    SW_AUTO(sw_free) char *whole = sw_strf("%.*s%s", (int)from, *text, expanded);
    sw_pb_text_clean(whole);
    sw_pb_set(text, whole);
    return 0;
}

static int expand_pairs(Swarm__Pair **pairs, size_t count, const char *field, json_t *data, struct sw_err *err)
{
    for (size_t i = 0; i < count; i++)
        if (expand_text(&pairs[i]->value, 0, field, data, err) != 0)
            return -(int)err->code;
    return 0;
}

static int expand_mount(Swarm__Mount *mount, json_t *data, struct sw_err *err)
{
    if (expand_text(&mount->source, 0, "mount source", data, err) != 0 ||
        expand_text(&mount->target, 0, "mount target", data, err) != 0 ||
        expand_pairs(mount->volume_labels, mount->n_volume_labels, "volume label", data, err) != 0)
        return -(int)err->code;
    return expand_pairs(mount->volume_opts, mount->n_volume_opts, "volume option", data, err);
}

static int expand_container(Swarm__ContainerSpec *container, json_t *data, struct sw_err *err)
{
    if (expand_text(&container->hostname, 0, "hostname", data, err) != 0)
        return -(int)err->code;
    for (size_t i = 0; i < container->n_env; i++) {
        const char *value = strchr(container->env[i], '=');
        if (value == NULL)
            continue;
        size_t from = (size_t)(value + 1 - container->env[i]);
        if (expand_text(&container->env[i], from, "env", data, err) != 0)
            return -(int)err->code;
    }
    for (size_t i = 0; i < container->n_mounts; i++)
        if (expand_mount(container->mounts[i], data, err) != 0)
            return -(int)err->code;
    return 0;
}

Swarm__Task *task_expand(const struct worker *w, const Swarm__Task *task, struct sw_err *err)
{
    Swarm__Task *expanded = sw_pb_clone(task);
    json_t *data = json_object();
    (void)json_object_set_new(data, "Service", service_json(task));
    (void)json_object_set_new(data, "Node", node_json(w, task));
    (void)json_object_set_new(data, "Task", task_json(task));
    int rc = expand_container(expanded->spec->container, data, err);
    json_decref(data);
    if (rc == 0)
        return expanded;
    sw_pb_free(expanded);
    return NULL;
}
