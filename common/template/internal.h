/* internal - the tree that template_parse() builds and template_run() walks. Not for users. */
#ifndef TEMPLATE_INTERNAL_H
#define TEMPLATE_INTERNAL_H

#include "common/template/template.h"

#include <stdbool.h>

struct pipe;

enum operand_kind { OP_DOT, OP_FIELD, OP_VARIABLE, OP_FUNC, OP_CONST, OP_PAREN };

/* One word of a command; chain is the ".A.B" behind it. */
struct operand {
    enum operand_kind kind;
    char *name; /* variable (with $) or function */
    char **chain;
    size_t chain_count;
    json_t *value;     /* OP_CONST */
    struct pipe *pipe; /* OP_PAREN */
    char *source;      /* as typed, for errors */
    unsigned column;
    struct operand *next;
};

struct command {
    struct operand *operands;
    struct command *next;
};

struct pipe {
    char *vars[2];
    size_t var_count;
    bool assign; /* "=" rather than ":=" */
    struct command *commands;
    unsigned line;
};

enum node_kind { NODE_TEXT, NODE_PIPE, NODE_IF, NODE_RANGE, NODE_WITH, NODE_BREAK, NODE_CONTINUE };

struct node {
    enum node_kind kind;
    char *text;
    size_t len;
    struct pipe *pipe;
    struct node *body;
    struct node *other; /* else */
    struct node *next;
};

struct template
{
    struct node *nodes;
    const struct template_options *options;
};

/* Functions: template_func_builtin() is NULL for a name that is none. and, or are not in it: they are short-circuit. */
typedef json_t *template_builtin_fn(json_t *const *args, size_t count, struct sw_err *err);
template_builtin_fn *template_func_builtin(const char *name);
const struct template_func *template_func_own(const struct template_options *options, const char *name);
bool template_func_lazy(const char *name);
bool template_truth(const json_t *value);
void template_print(const json_t *value, struct sw_buf *out);
bool template_listed(const char *const *list, const char *name);

#endif
