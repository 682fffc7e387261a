#include "services/swarm-cli/io/cli.h"

#include "common/base/names.h"
#include "common/template/template.h"
#include "services/swarm-cli/core/objects.h"
#include "services/swarm-cli/core/pretty.h"
#include "services/swarm-cli/core/values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct template_options object_options = { .optional = objects_optional, .maps = objects_maps };

/* ---- printing ---- */

/* EXIT_FORMAT: the text does not parse; 1: it fails on a field. */
static int print_with(json_t *const *objects, size_t count, const char *format)
{
    struct sw_err err = { 0 };
    SW_AUTO_BUF out = { 0 };
    SW_AUTO(template_free) struct template *template = template_parse(format, &object_options, &err);
    int code = template == NULL ? EXIT_FORMAT : 0;
    for (size_t i = 0; code == 0 && i < count; i++) {
        if (template_run(template, objects[i], &out, &err) < 0)
            code = 1;
        else
            sw_buf_adds(&out, "\n");
    }
    cli_print(&out);
    if (code != 0)
        (void)fprintf(stderr, "%s\n", err.text);
    return code;
}

static void print_json(const json_t *value, size_t flags)
{
    SW_AUTO(sw_free) char *text = json_dumps(value, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    (void)printf("%s\n", text != NULL ? text : "");
}

int cli_inspect_print(json_t *objects, const char *format)
{
    size_t count = json_array_size(objects);
    if (format[0] == '\0' || strcmp(format, "json") == 0) {
        print_json(objects, format[0] == '\0' ? JSON_INDENT(4) : JSON_COMPACT);
        return 0;
    }
    json_t **list = sw_alloc0((count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++)
        list[i] = json_array_get(objects, i);
    int code = print_with(list, count, format);
    if (count == 0 && code == 0)
        (void)printf("\n");
    free(list);
    return code;
}

int cli_format_print(json_t *object, const char *format)
{
    if (strcmp(format, "json") != 0)
        return print_with(&object, 1, format);
    print_json(object, JSON_COMPACT);
    return 0;
}

/* ---- inspect ---- */

/* A getter's answer as JSON; NULL with *err filled. */
typedef json_t *get_fn(struct cli *cli, const char *ref, struct sw_err *err);

static json_t *get_service(struct cli *cli, const char *ref, struct sw_err *err)
{
    Swarm__ServiceGetRequest request = SWARM__SERVICE_GET_REQUEST__INIT;
    void *message = NULL;
    request.ref = (char *)ref;
    request.has_insert_defaults = 1;
    request.insert_defaults = 1;
    int rc = cli_ask(cli, &request, &message, err);
    SW_AUTO(sw_pb_free) Swarm__ServiceGetReply *reply = message;
    return rc == 0 ? objects_service(reply->service) : NULL;
}

static json_t *get_task(struct cli *cli, const char *ref, struct sw_err *err)
{
    Swarm__TaskGetRequest request = SWARM__TASK_GET_REQUEST__INIT;
    void *message = NULL;
    request.ref = (char *)ref;
    int rc = cli_ask(cli, &request, &message, err);
    SW_AUTO(sw_pb_free) Swarm__TaskGetReply *reply = message;
    return rc == 0 ? objects_task(reply->task) : NULL;
}

static json_t *get_node(struct cli *cli, const char *ref, struct sw_err *err)
{
    Swarm__NodeGetRequest request = SWARM__NODE_GET_REQUEST__INIT;
    void *message = NULL;
    int rc = cli_node_ref(cli, ref, &request.ref, err);
    SW_AUTO(sw_free) char *named = request.ref;
    if (rc == 0)
        rc = cli_ask(cli, &request, &message, err);
    SW_AUTO(sw_pb_free) Swarm__NodeGetReply *reply = message;
    return rc == 0 ? objects_node(reply->node, reply->manager) : NULL;
}

static int inspect(struct cli *cli, const struct flags *flags, get_fn *get, const char *kind,
                   void (*pretty)(const json_t *, struct sw_buf *))
{
    json_auto_t *objects = json_array();
    SW_AUTO_BUF missing = { 0 };
    SW_AUTO_BUF human = { 0 };
    int code = 0;
    for (size_t i = 0; i < flags->arg_count; i++) {
        struct sw_err err = { 0 };
        json_t *object = get(cli, flags->args[i], &err);
        if (object != NULL)
            json_array_append_new(objects, object);
        else if (err.code == SW_NOT_FOUND && cli->said_by_daemon)
            sw_buf_addf(&missing, "Error: no such %s: %s\n", kind, flags->args[i]);
        else
            sw_buf_addf(&missing, "%s%s\n", cli->said_by_daemon ? "Error response from daemon: " : "", err.text);
    }
    if (pretty != NULL && flags_bool(flags, "pretty")) {
        for (size_t i = 0; i < json_array_size(objects); i++)
            pretty(json_array_get(objects, i), &human);
        cli_print(&human);
    } else {
        code = cli_inspect_print(objects, flags_str(flags, "format"));
    }
    (void)fflush(stdout);
    (void)fputs(sw_buf_str(&missing), stderr);
    return code != 0 ? code : missing.len > 0;
}

int cmd_service_inspect(struct cli *cli, const struct flags *flags)
{
    if (flags_bool(flags, "pretty") && flags_typed(flags, "format")) {
        (void)fprintf(stderr, "--format is incompatible with human friendly format\n");
        return 1;
    }
    return inspect(cli, flags, get_service, "service", pretty_service);
}

int cmd_node_inspect(struct cli *cli, const struct flags *flags)
{
    return inspect(cli, flags, get_node, "node", pretty_node);
}

int cmd_task_inspect(struct cli *cli, const struct flags *flags)
{
    return inspect(cli, flags, get_task, "task", NULL);
}

/* ---- node update, rm ---- */

static int change_labels(const struct flags *flags, Swarm__NodeSpec *spec, struct sw_err *err)
{
    const struct flag_values *gone = flags_list(flags, "label-rm");
    const struct flag_values *come = flags_list(flags, "label-add");
    for (size_t i = 0; i < gone->count; i++)
        if (!values_pair_unset(&spec->labels, &spec->n_labels, gone->values[i]))
            return sw_fail(err, SW_INVALID, "key %.100s doesn't exist in node's labels", gone->values[i]);
    for (size_t i = 0; i < come->count; i++) {
        SW_AUTO(sw_pb_free) Swarm__Pair *pair = NULL;
        int rc = values_pair(come->values[i], &pair, err);
        if (rc < 0)
            return rc;
        values_pair_set(&spec->labels, &spec->n_labels, pair->key, pair->value);
    }
    return 0;
}

static int change_node(const struct flags *flags, Swarm__NodeSpec *spec, struct sw_err *err)
{
    if (flags_typed(flags, "availability")) {
        spec->has_availability = 1;
        if (!sw_availability_parse(flags_str(flags, "availability"), &spec->availability))
            return sw_fail(err, SW_INVALID, "invalid availability \"%.60s\", only active, pause and drain are supported",
                           flags_str(flags, "availability"));
    }
    if (flags_typed(flags, "role")) {
        const char *role = flags_str(flags, "role");
        spec->has_desired_role = 1;
        spec->desired_role = strcmp(role, "manager") == 0 ? SWARM__NODE_ROLE__NODE_MANAGER : SWARM__NODE_ROLE__NODE_WORKER;
        if (strcmp(role, "manager") != 0 && strcmp(role, "worker") != 0)
            return sw_fail(err, SW_INVALID, "invalid role \"%.60s\", only worker and manager are supported", role);
    }
    return change_labels(flags, spec, err);
}

int cmd_node_update(struct cli *cli, const struct flags *flags)
{
    Swarm__NodeGetRequest get = SWARM__NODE_GET_REQUEST__INIT;
    Swarm__NodeUpdateRequest request = SWARM__NODE_UPDATE_REQUEST__INIT;
    struct sw_err err = { 0 };
    void *message = NULL;
    get.ref = flags->args[0];
    if (cli_ask(cli, &get, &message, &err) < 0)
        return cli_error(cli, &err);
    SW_AUTO(sw_pb_free) Swarm__NodeGetReply *reply = message;
    if (change_node(flags, reply->node->spec, &err) < 0)
        return cli_error(cli, &err);
    request.id = reply->node->id;
    request.version = reply->node->meta->version;
    request.spec = reply->node->spec;
    return cli_do(cli, &request, flags->args[0]);
}

int cmd_node_rm(struct cli *cli, const struct flags *flags)
{
    int code = 0;
    for (size_t i = 0; i < flags->arg_count; i++) {
        Swarm__NodeRemoveRequest request = SWARM__NODE_REMOVE_REQUEST__INIT;
        request.ref = flags->args[i];
        request.has_force = 1;
        request.force = flags_bool(flags, "force");
        code |= cli_do(cli, &request, flags->args[i]);
    }
    return code;
}
