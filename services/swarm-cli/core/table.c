#include "services/swarm-cli/core/table.h"

#include "common/template/template.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define CELL_MIN 10
#define CELL_GAP 3
#define COLUMNS_MAX 16

static const struct table_column service_columns[] = {
    { "ID", "ID" },       { "Name", "NAME" },   { "Mode", "MODE" }, { "Replicas", "REPLICAS" },
    { "Image", "IMAGE" }, { "Ports", "PORTS" },
};
static const struct table_column task_columns[] = {
    { "ID", "ID" },
    { "Name", "NAME" },
    { "Image", "IMAGE" },
    { "Node", "NODE" },
    { "DesiredState", "DESIRED STATE" },
    { "CurrentState", "CURRENT STATE" },
    { "Error", "ERROR" },
    { "Ports", "PORTS" },
};
static const struct table_column node_columns[] = {
    { "Star", "ID" },
    { "Hostname", "HOSTNAME" },
    { "Status", "STATUS" },
    { "Availability", "AVAILABILITY" },
    { "ManagerStatus", "MANAGER STATUS" },
    { "EngineVersion", "ENGINE VERSION" },
};
static const struct table_column node_others[] = {
    { "ID", "ID" }, { "Self", "SELF" }, { "TLSStatus", "TLS STATUS" }, { NULL, NULL }
};
static const struct table_column image_columns[] = {
    { "Repository", "REPOSITORY" }, { "Tag", "TAG" }, { "ID", "IMAGE ID" }, { "CreatedSince", "CREATED" }, { "Size", "SIZE" },
};
static const struct table_column image_others[] = { { "Digest", "DIGEST" }, { "CreatedAt", "CREATED AT" }, { NULL, NULL } };

#define COUNT(a) (sizeof(a) / sizeof *(a))

const struct table_kind table_services = {
    service_columns,
    COUNT(service_columns),
    NULL,
    "id: {{.ID}}\nname: {{.Name}}\nmode: {{.Mode}}\nreplicas: {{.Replicas}}\nimage: {{.Image}}\nports: {{.Ports}}\n",
    "ID",
};
const struct table_kind table_tasks = {
    task_columns,
    COUNT(task_columns),
    NULL,
    "id: {{.ID}}\nname: {{.Name}}\nimage: {{.Image}}\nnode: {{.Node}}\ndesired_state: {{.DesiredState}}\n"
    "current_state: {{.CurrentState}}\nerror: {{.Error}}\nports: {{.Ports}}\n",
    "ID",
};
const struct table_kind table_nodes = {
    node_columns,
    COUNT(node_columns),
    node_others,
    "node_id: {{.ID}}\nhostname: {{.Hostname}}\nstatus: {{.Status}}\navailability: {{.Availability}}\n"
    "manager_status: {{.ManagerStatus}}\n",
    "ID",
};
const struct table_kind table_images = { image_columns, COUNT(image_columns), image_others, NULL, "ID" };

/* ---- sorting ---- */

int table_natural(const char *a, const char *b)
{
    while (*a != '\0' && *b != '\0') {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            a += strspn(a, "0");
            b += strspn(b, "0");
            size_t la = strspn(a, "0123456789");
            size_t lb = strspn(b, "0123456789");
            if (la != lb)
                return la < lb ? -1 : 1;
            int order = strncmp(a, b, la);
            if (order != 0)
                return order;
            a += la;
            b += lb;
            continue;
        }
        if (*a != *b)
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        a++;
        b++;
    }
    return (*a != '\0') - (*b != '\0');
}

static const char *cell(const json_t *row, const char *field)
{
    const char *text = json_string_value(json_object_get(row, field));
    return text != NULL ? text : "";
}

void table_sort(json_t *rows, const char *field)
{
    for (size_t i = 1; i < json_array_size(rows); i++) { /* insertion: stable; lists come nearly sorted */
        json_t *row = json_incref(json_array_get(rows, i));
        size_t at = i;
        while (at > 0 && table_natural(cell(json_array_get(rows, at - 1), field), cell(row, field)) > 0)
            at--;
        if (at != i) {
            json_array_remove(rows, i);
            json_array_insert(rows, at, row);
        }
        json_decref(row);
    }
}

/* ---- grids ---- */

/* Characters, not bytes. */
static size_t columns_of(const char *text, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* Lines with cells separated by tabs, to padded lines. */
static void lay_out(const struct sw_buf *lines, struct sw_buf *out)
{
    size_t widths[COLUMNS_MAX] = { 0 };
    for (int pass = 0; pass < 2; pass++) {
        const char *at = sw_buf_str(lines);
        for (size_t column = 0; *at != '\0';) {
            size_t len = strcspn(at, "\t\n");
            size_t wide = columns_of(at, len);
            size_t *width = &widths[column < COLUMNS_MAX ? column : COLUMNS_MAX - 1];
            if (pass == 0 && at[len] == '\t')
                *width = wide + CELL_GAP > *width ? wide + CELL_GAP : *width;
            if (pass == 1) {
                size_t pad = *width > CELL_MIN ? *width : CELL_MIN;
                sw_buf_add(out, at, len);
                if (at[len] == '\t')
                    sw_buf_addf(out, "%*s", (int)(pad > wide ? pad - wide : 0), "");
                else
                    sw_buf_adds(out, "\n");
            }
            column = at[len] == '\t' ? column + 1 : 0;
            at += at[len] != '\0' ? len + 1 : len;
        }
    }
}

static void add_cells(const struct table_kind *kind, const json_t *row, struct sw_buf *lines)
{
    for (size_t i = 0; i < kind->column_count; i++) {
        const char *text = row != NULL ? cell(row, kind->columns[i].field) : kind->columns[i].header;
        sw_buf_adds(lines, i > 0 ? "\t" : "");
        for (; *text != '\0'; text++)
            sw_buf_add(lines, *text == '\t' || *text == '\n' ? " " : text, 1);
    }
    sw_buf_adds(lines, "\n");
}

static void print_table(const struct table_kind *kind, json_t *rows, struct sw_buf *out)
{
    SW_AUTO_BUF lines = { 0 };
    add_cells(kind, NULL, &lines);
    for (size_t i = 0; i < json_array_size(rows); i++)
        add_cells(kind, json_array_get(rows, i), &lines);
    lay_out(&lines, out);
}

/* ---- formats ---- */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* One object a line, keys in order; "Star" is no placeholder. */
static void print_json(json_t *rows, struct sw_buf *out)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const char *keys[32];
        size_t count = 0;
        json_t *row = json_array_get(rows, i);
        json_auto_t *sorted = json_object();
        for (void *it = json_object_iter(row); it != NULL && count < 32; it = json_object_iter_next(row, it))
            if (strcmp(json_object_iter_key(it), "Star") != 0)
                keys[count++] = json_object_iter_key(it);
        qsort(keys, count, sizeof *keys, compare_keys);
        for (size_t k = 0; k < count; k++)
            json_object_set(sorted, keys[k], json_object_get(row, keys[k]));
        template_json(sorted, 1, out);
        sw_buf_adds(out, "\n");
    }
}

/* "\t" and "\n" typed literally. */
static char *unescape(const char *text)
{
    SW_AUTO_BUF out = { 0 };
    for (; *text != '\0'; text++) {
        if (text[0] == '\\' && (text[1] == 't' || text[1] == 'n')) {
            text++;
            sw_buf_adds(&out, *text == 't' ? "\t" : "\n");
        } else {
            sw_buf_add(&out, text, 1);
        }
    }
    return sw_buf_take(&out);
}

static int run_rows(const struct template *template, json_t *rows, const char *after, struct sw_buf *out, struct sw_err *err)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        int rc = template_run(template, json_array_get(rows, i), out, err);
        if (rc < 0)
            return rc;
        sw_buf_adds(out, after);
    }
    return 0;
}

static json_t *header_row(const struct table_kind *kind)
{
    json_t *row = json_object();
    for (size_t i = 0; i < kind->column_count; i++)
        json_object_set_new(row, kind->columns[i].field, json_string(kind->columns[i].header));
    for (const struct table_column *column = kind->others; column != NULL && column->field != NULL; column++)
        json_object_set_new(row, column->field, json_string(column->header));
    return row;
}

static int print_template(const struct table_kind *kind, json_t *rows, const char *format, bool table, struct sw_buf *out,
                          struct sw_err *err)
{
    SW_AUTO(sw_free) char *text = unescape(format);
    SW_AUTO(template_free) struct template *template = template_parse(text, NULL, err);
    SW_AUTO_BUF lines = { 0 };
    if (template == NULL)
        return -SW_INVALID;
    if (!table)
        return run_rows(template, rows, "\n", out, err);
    json_auto_t *headers = json_pack("[o]", header_row(kind));
    int rc = run_rows(template, headers, "\n", &lines, err);
    if (rc == 0)
        rc = run_rows(template, rows, "\n", &lines, err);
    lay_out(&lines, out);
    return rc;
}

int table_print(const struct table_kind *kind, json_t *rows, const char *format, bool quiet, struct sw_buf *out,
                struct sw_err *err)
{
    SW_AUTO_BUF field = { 0 };
    bool plain = format == NULL || format[0] == '\0' || strcmp(format, "table") == 0;
    bool raw = kind->raw != NULL && format != NULL && strcmp(format, "raw") == 0;
    if (quiet && (plain || raw || strncmp(format, "table ", 6) == 0)) {
        const char *key = raw ? kind->raw : "";
        sw_buf_addf(&field, "%.*s{{.%s}}", (int)(raw ? strcspn(key, "{") : 0), key, kind->quiet_field);
        return print_template(kind, rows, sw_buf_str(&field), false, out, err);
    }
    if (plain) {
        print_table(kind, rows, out);
        return 0;
    }
    if (raw)
        return print_template(kind, rows, kind->raw, false, out, err);
    if (strcmp(format, "json") == 0) {
        print_json(rows, out);
        return 0;
    }
    bool table = strncmp(format, "table ", 6) == 0;
    return print_template(kind, rows, table ? format + 6 : format, table, out, err);
}
