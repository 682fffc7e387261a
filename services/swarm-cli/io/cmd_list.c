#include "services/swarm-cli/io/cli.h"

#include "services/swarm-cli/core/rows.h"
#include "services/swarm-cli/core/table.h"
#include "services/swarm-cli/core/values.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- filters ---- */

void cli_filters_add(const char *key, const char *value, Swarm__Filter ***list, size_t *count)
{
    Swarm__Filter *filter = sw_alloc0(sizeof *filter);
    swarm__filter__init(filter);
    filter->key = sw_strdup(key);
    filter->value = sw_strdup(value);
    values_push(list, count, filter);
}

static char *trimmed(const char *from, size_t len)
{
    while (len > 0 && isspace((unsigned char)*from)) {
        from++;
        len--;
    }
    while (len > 0 && isspace((unsigned char)from[len - 1]))
        len--;
    return sw_strf("%.*s", (int)len, from);
}

void cli_filters(const struct flags *flags, Swarm__Filter ***list, size_t *count)
{
    const struct flag_values *typed = flags_list(flags, "filter");
    for (size_t i = 0; i < typed->count; i++) {
        const char *equal = strchr(typed->values[i], '=');
        SW_AUTO(sw_free) char *key = trimmed(typed->values[i], (size_t)(equal - typed->values[i]));
        SW_AUTO(sw_free) char *value = trimmed(equal + 1, strlen(equal + 1));
        for (char *p = key; *p != '\0'; p++)
            *p = (char)tolower((unsigned char)*p);
        cli_filters_add(key, value, list, count);
    }
}

void cli_filters_free(Swarm__Filter **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sw_pb_free(list[i]);
    free(list);
}

static int print_rows(const struct cli *cli, const struct table_kind *kind, const struct flags *flags, json_t *rows)
{
    SW_AUTO_BUF out = { 0 };
    struct sw_err err = { 0 };
    json_auto_t *owned = rows;
    int rc = table_print(kind, owned, flags_str(flags, "format"), flags_bool(flags, "quiet"), &out, &err);
    cli_print(&out);
    (void)cli;
    if (rc < 0)
        (void)fprintf(stderr, "%s\n", err.text);
    return rc < 0;
}

/* ---- services, nodes, images ---- */

int cmd_service_ls(struct cli *cli, const struct flags *flags)
{
    Swarm__ServiceListRequest request = SWARM__SERVICE_LIST_REQUEST__INIT;
    struct sw_err err = { 0 };
    void *message = NULL;
    cli_filters(flags, &request.filters, &request.n_filters);
    int rc = cli_ask(cli, &request, &message, &err);
    cli_filters_free(request.filters, request.n_filters);
    SW_AUTO(sw_pb_free) Swarm__ServiceListReply *reply = message;
    return rc < 0 ? cli_error(cli, &err) : print_rows(cli, &table_services, flags, rows_services(reply));
}

int cmd_node_ls(struct cli *cli, const struct flags *flags)
{
    Swarm__NodeListRequest request = SWARM__NODE_LIST_REQUEST__INIT;
    struct sw_err err = { 0 };
    void *message = NULL;
    cli_filters(flags, &request.filters, &request.n_filters);
    int rc = cli_ask(cli, &request, &message, &err);
    cli_filters_free(request.filters, request.n_filters);
    SW_AUTO(sw_pb_free) Swarm__NodeListReply *reply = message;
    return rc < 0 ? cli_error(cli, &err) : print_rows(cli, &table_nodes, flags, rows_nodes(reply));
}

int cmd_image_ls(struct cli *cli, const struct flags *flags)
{
    Swarm__ImageListRequest request = SWARM__IMAGE_LIST_REQUEST__INIT;
    struct sw_err err = { 0 };
    void *message = NULL;
    if (cli_ask_node(cli, &request, CLI_TIMEOUT_MS, &message, &err) < 0)
        return cli_error(cli, &err);
    SW_AUTO(sw_pb_free) Swarm__ImageListReply *reply = message;
    return print_rows(cli, &table_images, flags, rows_images(reply, flags_bool(flags, "no-trunc"), cli_wall_ns()));
}

/* ---- tasks: of services, of nodes, all ---- */

struct tasks {
    Swarm__TaskListReply **replies;
    size_t count;
};

static int tasks_add(struct cli *cli, const struct flags *flags, const char *key, const char *value, struct tasks *tasks,
                     struct sw_err *err)
{
    Swarm__TaskListRequest request = SWARM__TASK_LIST_REQUEST__INIT;
    void *reply = NULL;
    int rc = 0;
    cli_filters(flags, &request.filters, &request.n_filters);
    for (size_t i = 0; rc == 0 && i < request.n_filters; i++)
        if (strcmp(request.filters[i]->key, "node") == 0) {
            char *id = NULL;
            rc = cli_node_ref(cli, request.filters[i]->value, &id, err);
            if (rc == 0)
                sw_pb_set(&request.filters[i]->value, id);
            free(id);
        }
    if (key != NULL)
        cli_filters_add(key, value, &request.filters, &request.n_filters);
    if (rc == 0)
        rc = cli_ask(cli, &request, &reply, err);
    cli_filters_free(request.filters, request.n_filters);
    if (rc == 0)
        values_push(&tasks->replies, &tasks->count, reply);
    return rc;
}

static int tasks_print(const struct cli *cli, const struct flags *flags, struct tasks *tasks)
{
    struct rows_task_options options = { flags_bool(flags, "no-trunc"), flags_bool(flags, "no-resolve"),
                                         flags_bool(flags, "quiet"), cli_wall_ns() };
    Swarm__Task **all = NULL;
    Swarm__Node **nodes = NULL;
    size_t task_count = 0;
    size_t node_count = 0;
    for (size_t i = 0; i < tasks->count; i++) {
        for (size_t j = 0; j < tasks->replies[i]->n_tasks; j++)
            values_push(&all, &task_count, tasks->replies[i]->tasks[j]);
        for (size_t j = 0; j < tasks->replies[i]->n_nodes; j++)
            values_push(&nodes, &node_count, tasks->replies[i]->nodes[j]);
    }
    int code = print_rows(cli, &table_tasks, flags, rows_tasks(all, task_count, nodes, node_count, &options));
    free(all);
    free(nodes);
    for (size_t i = 0; i < tasks->count; i++)
        sw_pb_free(tasks->replies[i]);
    free(tasks->replies);
    return code;
}

int cmd_service_ps(struct cli *cli, const struct flags *flags)
{
    struct tasks tasks = { 0 };
    SW_AUTO_BUF missing = { 0 };
    struct sw_err err = { 0 };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < flags->arg_count; i++) {
        Swarm__ServiceGetRequest request = SWARM__SERVICE_GET_REQUEST__INIT;
        void *reply = NULL;
        request.ref = flags->args[i];
        rc = cli_ask(cli, &request, &reply, &err);
        if (rc == -SW_NOT_FOUND) {
            sw_buf_addf(&missing, "no such service: %s\n", flags->args[i]);
            rc = 0;
        } else if (rc == 0) {
            rc = tasks_add(cli, flags, "service", ((Swarm__ServiceGetReply *)reply)->service->id, &tasks, &err);
        }
        sw_pb_free(reply);
    }
    int code = rc < 0 ? cli_error(cli, &err) : 0;
    if (tasks.count > 0)
        code |= tasks_print(cli, flags, &tasks);
    (void)fputs(sw_buf_str(&missing), stderr);
    return code | (missing.len > 0);
}

static int node_tasks(struct cli *cli, const struct flags *flags, const char *typed, struct tasks *tasks, struct sw_err *err)
{
    SW_AUTO(sw_free) char *ref = NULL;
    int rc = cli_node_ref(cli, typed, &ref, err);
    if (rc < 0)
        return rc;
    Swarm__NodeGetRequest request = SWARM__NODE_GET_REQUEST__INIT;
    void *reply = NULL;
    request.ref = ref;
    rc = cli_ask(cli, &request, &reply, err);
    if (rc == 0)
        rc = tasks_add(cli, flags, "node", ((Swarm__NodeGetReply *)reply)->node->id, tasks, err);
    sw_pb_free(reply);
    return rc;
}

int cmd_node_ps(struct cli *cli, const struct flags *flags)
{
    struct tasks tasks = { 0 };
    int code = 0;
    for (size_t i = 0; i < flags->arg_count || i == 0; i++) {
        struct sw_err err = { 0 };
        if (node_tasks(cli, flags, flags->arg_count > 0 ? flags->args[i] : "self", &tasks, &err) < 0)
            code = cli_error(cli, &err);
    }
    return tasks.count > 0 ? code | tasks_print(cli, flags, &tasks) : code;
}

int cmd_task_ls(struct cli *cli, const struct flags *flags)
{
    struct tasks tasks = { 0 };
    struct sw_err err = { 0 };
    if (tasks_add(cli, flags, NULL, NULL, &tasks, &err) < 0)
        return cli_error(cli, &err);
    return tasks_print(cli, flags, &tasks);
}
