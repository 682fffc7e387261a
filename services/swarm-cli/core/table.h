/* table - lists for people and scripts: tables, --format templates, json, raw, -q. Source: cli-surface 2.1 to 2.4.
 *
 * Rows     a json array of objects, every member a string (or bool) named as its placeholder (".Name").
 * Layout   an own writer, not libsmartcols: Docker's columns are "widest cell + 3, at least 10", a last column unpadded,
 *          and an empty last cell keeps the blanks; libsmartcols can give neither that minimum nor those blanks.
 * Errors   SW_INVALID from templates ("template parsing error: ..."); out may hold the header then.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <jansson.h>
#include <stdbool.h>

struct table_column {
    const char *field;  /* "CurrentState" */
    const char *header; /* "CURRENT STATE" */
};

struct table_kind {
    const struct table_column *columns; /* those shown by default, in order */
    size_t column_count;
    const struct table_column *others; /* placeholders that only templates use; NULL-terminated, or NULL */
    const char *raw;                   /* the raw template; NULL = none */
    const char *quiet_field;           /* what -q prints */
};

extern const struct table_kind table_services, table_tasks, table_nodes, table_images;

/* format NULL or "" = table. Natural sorting of rows is table_sort()'s business. */
int table_print(const struct table_kind *kind, json_t *rows, const char *format, bool quiet, struct sw_buf *out,
                struct sw_err *err);
/* Stable, digits compared as numbers, by one field. */
void table_sort(json_t *rows, const char *field);
/* <0, 0, >0; "web2" before "web10". */
int table_natural(const char *a, const char *b);

#endif
