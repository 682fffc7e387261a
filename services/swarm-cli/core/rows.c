#include "services/swarm-cli/core/rows.h"

#include "common/base/buf.h"
#include "common/base/names.h"
#include "common/base/units.h"
#include "services/swarm-cli/core/objects.h"
#include "services/swarm-cli/core/table.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_SHORT 12
#define ERROR_SHOWN 30

static void put(json_t *row, const char *key, const char *text)
{
    json_object_set_new(row, key, json_string(text != NULL ? text : ""));
}

static void put_title(json_t *row, const char *key, const char *text)
{
    SW_AUTO(sw_free) char *copy = sw_strdup(text);
    copy[0] = (char)toupper((unsigned char)copy[0]);
    put(row, key, copy);
}

static void put_id(json_t *row, const char *key, const char *id, bool whole)
{
    json_object_set_new(row, key, json_stringn(id, strnlen(id, whole ? 256 : ID_SHORT)));
}

void rows_ago(int64_t then_ns, int64_t now_ns, char *ret, size_t size)
{
    char human[64];
    sw_format_human_duration(now_ns > then_ns ? now_ns - then_ns : 0, human, sizeof human);
    (void)snprintf(ret, size, "%s ago", human);
}

char *rows_image_name(const char *image)
{
    size_t len = strcspn(image, "@");
    const char *last = image;
    if (strncmp(image, "docker.io/library/", 18) == 0) {
        image += 18;
        len -= 18;
    } else if (strncmp(image, "docker.io/", 10) == 0) {
        image += 10;
        len -= 10;
    }
    for (const char *p = image; p < image + len; p++)
        if (*p == '/')
            last = p + 1;
    bool tagged = last < image + len &&
                  memchr(last > image ? last : image, ':', (size_t)(image + len - (last > image ? last : image))) != NULL;
    return tagged ? sw_strf("%.*s", (int)len, image) : sw_strdup(image);
}

/* ---- ports ---- */

static int compare_ports(const void *a, const void *b)
{
    const Swarm__PortConfig *x = *(const Swarm__PortConfig *const *)a;
    const Swarm__PortConfig *y = *(const Swarm__PortConfig *const *)b;
    if (x->protocol != y->protocol)
        return x->protocol < y->protocol ? -1 : 1;
    if (x->published_port != y->published_port)
        return x->published_port < y->published_port ? -1 : 1;
    return x->target_port < y->target_port ? -1 : x->target_port > y->target_port;
}

static void add_run(struct sw_buf *out, const Swarm__PortConfig *first, const Swarm__PortConfig *last)
{
    sw_buf_adds(out, out->len > 0 ? ", " : "");
    if (first == last)
        sw_buf_addf(out, "*:%u->%u/%s", first->published_port, first->target_port, sw_protocol_name(first->protocol));
    else
        sw_buf_addf(out, "*:%u-%u->%u-%u/%s", first->published_port, last->published_port, first->target_port, last->target_port,
                    sw_protocol_name(first->protocol));
}

char *rows_ports(Swarm__PortConfig *const *ports, size_t count, Swarm__PublishMode mode)
{
    SW_AUTO_BUF out = { 0 };
    SW_AUTO(sw_free) const Swarm__PortConfig **sorted = sw_alloc0((count + 1) * sizeof *sorted);
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        if (ports[i]->publish_mode == mode)
            sorted[used++] = ports[i];
    qsort(sorted, used, sizeof *sorted, compare_ports);
    for (size_t i = 0, start = 0; i < used; i++) {
        bool goes_on = i + 1 < used && sorted[i + 1]->protocol == sorted[i]->protocol &&
                       sorted[i + 1]->published_port == sorted[i]->published_port + 1 &&
                       sorted[i + 1]->target_port == sorted[i]->target_port + 1;
        if (goes_on)
            continue;
        add_run(&out, sorted[start], sorted[i]);
        start = i + 1;
    }
    return sw_buf_take(&out);
}

/* ---- services ---- */

static const Swarm__ServiceCount *count_of(const Swarm__ServiceListReply *reply, const char *id)
{
    for (size_t i = 0; i < reply->n_counts; i++)
        if (strcmp(reply->counts[i]->service_id, id) == 0)
            return reply->counts[i];
    return NULL;
}

static void put_replicas(json_t *row, const Swarm__ServiceListReply *reply, const Swarm__Service *service)
{
    char text[128];
    const Swarm__ServiceCount *count = count_of(reply, service->id);
    const Swarm__Placement *placement = service->spec->task->placement;
    int len = snprintf(text, sizeof text, "%llu/%llu", count != NULL ? (unsigned long long)count->running : 0ULL,
                       count != NULL ? (unsigned long long)count->desired : 0ULL);
    if (placement != NULL && placement->max_replicas > 0)
        (void)snprintf(text + len, sizeof text - (size_t)len, " (max %llu per node)",
                       (unsigned long long)placement->max_replicas);
    put(row, "Replicas", text);
}

json_t *rows_services(const Swarm__ServiceListReply *reply)
{
    static const char *const modes[] = { "replicated", "global", "replicated job", "global job" };
    json_t *rows = json_array();
    for (size_t i = 0; i < reply->n_services; i++) {
        const Swarm__Service *service = reply->services[i];
        json_t *row = json_object();
        unsigned kind = (unsigned)service->spec->mode->kind;
        SW_AUTO(sw_free) char *image = rows_image_name(service->spec->task->container->image);
        SW_AUTO(sw_free) char *ports = NULL;
        if (service->endpoint != NULL)
            ports = rows_ports(service->endpoint->ports, service->endpoint->n_ports, SWARM__PUBLISH_MODE__PUBLISH_INGRESS);
        put_id(row, "ID", service->id, false);
        put(row, "Name", service->spec->name);
        put(row, "Mode", kind < 4 ? modes[kind] : "unknown");
        put_replicas(row, reply, service);
        put(row, "Image", image);
        put(row, "Ports", ports);
        json_array_append_new(rows, row);
    }
    table_sort(rows, "Name");
    return rows;
}

/* ---- tasks ---- */

struct named {
    const Swarm__Task *task;
    char *name;
};

static int compare_named(const void *a, const void *b)
{
    const struct named *x = a;
    const struct named *y = b;
    int order = table_natural(x->name, y->name);
    if (order != 0)
        return order;
    if (x->task->meta->created_ns != y->task->meta->created_ns)
        return x->task->meta->created_ns > y->task->meta->created_ns ? -1 : 1;
    return strcmp(x->task->id, y->task->id);
}

static char *name_of(const Swarm__Task *task, bool no_resolve)
{
    const char *service = no_resolve ? task->service_id : task->service_name;
    if (task->slot != 0)
        return sw_strf("%s.%llu", service, (unsigned long long)task->slot);
    return sw_strf("%s.%s", service, task->node_id != NULL ? task->node_id : "");
}

static const char *hostname_of(const char *id, Swarm__Node *const *nodes, size_t count)
{
    for (size_t i = 0; id != NULL && i < count; i++)
        if (strcmp(nodes[i]->id, id) == 0 && nodes[i]->description != NULL && nodes[i]->description->hostname != NULL)
            return nodes[i]->description->hostname;
    return id;
}

static void put_error(json_t *row, const char *err, bool no_trunc)
{
    SW_AUTO_BUF text = { 0 };
    size_t keep = 0;
    size_t chars = 0;
    if (err == NULL || err[0] == '\0') {
        put(row, "Error", "");
        return;
    }
    for (const char *p = err; *p != '\0'; p++) {
        chars += ((unsigned char)*p & 0xc0) != 0x80;
        if (chars < ERROR_SHOWN)
            keep = (size_t)(p - err) + 1;
    }
    if (no_trunc || chars <= ERROR_SHOWN)
        sw_buf_addf(&text, "\"%s\"", err);
    else
        sw_buf_addf(&text, "\"%.*s\xe2\x80\xa6\"", (int)keep, err);
    put(row, "Error", sw_buf_str(&text));
}

static void put_state(json_t *row, const Swarm__Task *task, int64_t now_ns)
{
    char ago[96];
    int64_t since = task->status->has_timestamp_ns ? task->status->timestamp_ns : task->meta->updated_ns;
    rows_ago(since, now_ns, ago, sizeof ago);
    ago[0] = (char)tolower((unsigned char)ago[0]);
    SW_AUTO(sw_free) char *text = sw_strf("%s %s", sw_task_state_name(task->status->state), ago);
    put_title(row, "CurrentState", text);
}

static json_t *task_row(const struct named *named, bool older, Swarm__Node *const *nodes, size_t node_count,
                        const struct rows_task_options *options)
{
    const Swarm__Task *task = named->task;
    json_t *row = json_object();
    SW_AUTO(sw_free) char *name = sw_strf("%s%s", older ? " \\_ " : "", named->name);
    SW_AUTO(sw_free)
    char *image = options->no_trunc ? sw_strdup(task->spec->container->image) : rows_image_name(task->spec->container->image);
    SW_AUTO(sw_free) char *ports = NULL;
    if (task->status->state <= SWARM__TASK_STATE__TASK_RUNNING)
        ports = rows_ports(task->status->host_ports, task->status->n_host_ports, SWARM__PUBLISH_MODE__PUBLISH_HOST);
    put_id(row, "ID", task->id, options->no_trunc || options->full_ids);
    put(row, "Name", name);
    put(row, "Image", image);
    put(row, "Node", options->no_resolve ? task->node_id : hostname_of(task->node_id, nodes, node_count));
    put_title(row, "DesiredState", sw_task_state_name(task->desired_state));
    put_state(row, task, options->now_ns);
    put_error(row, task->status->err, options->no_trunc);
    put(row, "Ports", ports);
    return row;
}

json_t *rows_tasks(Swarm__Task *const *tasks, size_t count, Swarm__Node *const *nodes, size_t node_count,
                   const struct rows_task_options *options)
{
    json_t *rows = json_array();
    struct named *sorted = sw_alloc0((count + 1) * sizeof *sorted);
    for (size_t i = 0; i < count; i++)
        sorted[i] = (struct named) { tasks[i], name_of(tasks[i], options->no_resolve) };
    qsort(sorted, count, sizeof *sorted, compare_named);
    for (size_t i = 0; i < count; i++) {
        bool older = i > 0 && strcmp(sorted[i].name, sorted[i - 1].name) == 0;
        json_array_append_new(rows, task_row(&sorted[i], older, nodes, node_count, options));
    }
    for (size_t i = 0; i < count; i++)
        free(sorted[i].name);
    free(sorted);
    return rows;
}

/* ---- nodes ---- */

static const char *manager_word(const Swarm__NodeListReply *reply, const Swarm__Node *node)
{
    for (size_t i = 0; i < reply->n_managers; i++)
        if (strcmp(reply->managers[i]->node_id, node->id) == 0)
            return reply->managers[i]->leader ? "Leader" : reply->managers[i]->reachable ? "Reachable" : "Unreachable";
    return node->role == SWARM__NODE_ROLE__NODE_MANAGER ? "Unknown" : "";
}

json_t *rows_nodes(const Swarm__NodeListReply *reply)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < reply->n_nodes; i++) {
        const Swarm__Node *node = reply->nodes[i];
        bool self = reply->self != NULL && strcmp(reply->self, node->id) == 0;
        json_t *row = json_object();
        SW_AUTO(sw_free) char *star = sw_strf("%s%s", node->id, self ? " *" : "  ");
        put(row, "ID", node->id);
        put(row, "Star", star);
        json_object_set_new(row, "Self", json_boolean(self));
        put(row, "Hostname", node->description != NULL ? node->description->hostname : "");
        put_title(row, "Status",
                  sw_node_state_name(node->status != NULL ? node->status->state : SWARM__NODE_STATE__NODE_UNKNOWN));
        put_title(row, "Availability", sw_availability_name(node->spec->availability));
        put(row, "ManagerStatus", manager_word(reply, node));
        put(row, "TLSStatus", node->curve_key.len > 0 ? "Ready" : "Unknown");
        put(row, "EngineVersion", node->description != NULL ? node->description->engine_version : "");
        json_array_append_new(rows, row);
    }
    table_sort(rows, "Hostname");
    return rows;
}

/* ---- images ---- */

static json_t *image_row(const Swarm__Image *image, const char *name, bool no_trunc, int64_t now_ns)
{
    char text[96];
    json_t *row = json_object();
    SW_AUTO(sw_free) char *shown = rows_image_name(name);
    char *tag = strrchr(shown, ':');
    if (tag != NULL && strchr(tag, '/') == NULL)
        *tag++ = '\0';
    else
        tag = NULL;
    put(row, "Repository", shown);
    put(row, "Tag", tag != NULL ? tag : "<none>");
    const char *digest = strchr(image->digest, ':');
    if (no_trunc || digest == NULL)
        put(row, "ID", image->digest);
    else
        put_id(row, "ID", digest + 1, false);
    put(row, "Digest", image->digest);
    rows_ago(image->created_ns, now_ns, text, sizeof text);
    put(row, "CreatedSince", text);
    objects_time(image->created_ns, text, sizeof text);
    put(row, "CreatedAt", text);
    sw_format_bytes_decimal(image->size, text, sizeof text);
    put(row, "Size", text);
    return row;
}

json_t *rows_images(const Swarm__ImageListReply *reply, bool no_trunc, int64_t now_ns)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < reply->n_images; i++) {
        for (size_t j = 0; j < reply->images[i]->n_names; j++)
            json_array_append_new(rows, image_row(reply->images[i], reply->images[i]->names[j], no_trunc, now_ns));
        if (reply->images[i]->n_names == 0)
            json_array_append_new(rows, image_row(reply->images[i], "<none>", no_trunc, now_ns));
    }
    table_sort(rows, "Repository");
    return rows;
}
