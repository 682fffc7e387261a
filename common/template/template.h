/* template - the part of Go's text/template that Docker users type, over JSON values.
 *
 * Known    {{.A.B}} {{$x}} {{range}} {{range $k, $v := }} {{if}} {{else if}} {{else}} {{with}} {{break}} {{continue}} {{end}},
 *          pipes, variables (:= and =), parentheses, comments, trim markers; and or not eq ne lt le gt ge len index slice
 *          print printf println json join split lower upper title pad truncate html js urlquery, and the caller's own.
 *          Not known: define, template, block; function values; methods.
 * Values   json_t. A member that is missing is an error ("can't evaluate field Foo") unless template_options says otherwise.
 *          An absent value prints as "<no value>". Objects range in key order, as Go's maps do.
 * Pure     no I/O, no writable globals; a parsed template may be run any number of times.
 * Errors   SW_INVALID, text "template parsing error: template: :LINE: ..." (the syntax) or
 *          "template parsing error: template: :LINE:COL: executing "" at <.Foo>: ..." (a run). SW_LIMIT when a limit is met.
 * Limits   TEMPLATE_TEXT_MAX bytes of text, TEMPLATE_DEPTH_MAX levels, TEMPLATE_STEPS_MAX evaluations a run, output_max bytes.
 */
#ifndef TEMPLATE_H
#define TEMPLATE_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <jansson.h>

#define TEMPLATE_TEXT_MAX 65536
#define TEMPLATE_DEPTH_MAX 48
#define TEMPLATE_STEPS_MAX 200000
#define TEMPLATE_OUTPUT_MAX (1u << 20)
#define TEMPLATE_ARGS_MAX 32

struct template;

/* A function of the caller: returns a new reference, or NULL with *err filled. */
typedef json_t *template_func_fn(void *arg, json_t *const *args, size_t count, struct sw_err *err);
struct template_func {
    const char *name;
    template_func_fn *call;
};

/* Everything may be zero. Must outlive the template. */
struct template_options {
    const struct template_func *funcs;
    size_t func_count;
    void *arg;                   /* handed to funcs */
    const char *const *optional; /* NULL-terminated: members that may be missing; they then are null */
    const char *const *maps;     /* NULL-terminated: members that are free maps; a key missing in them is "no value" */
    size_t output_max;           /* 0 = TEMPLATE_OUTPUT_MAX */
};

/* NULL with *err filled if the text does not parse or names an unknown function. options may be NULL. */
struct template *template_parse(const char *text, const struct template_options *options, struct sw_err *err);
void template_free(struct template *template);
SW_AUTO_DEFINE(struct template, template_free);

/* Appends to out; on failure out holds what was written so far. */
int template_run(const struct template *template, json_t *data, struct sw_buf *out, struct sw_err *err);
/* Parse and run at once. *ret_text is heap. */
int template_expand(const char *text, const struct template_options *options, json_t *data, char **ret_text, struct sw_err *err);

/* JSON as Go writes it: compact, members in their order; with escape_html, < > & become \u003c \u003e \u0026. */
void template_json(const json_t *value, int escape_html, struct sw_buf *out);

#endif
