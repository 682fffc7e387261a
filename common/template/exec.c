#include "common/template/internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VARS_MAX 64

struct variable {
    const char *name;
    json_t *value; /* owned */
};

enum jump { JUMP_NONE, JUMP_BREAK, JUMP_CONTINUE };

struct run {
    const struct template_options *options;
    struct sw_buf *out;
    size_t out_start, out_max;
    struct variable vars[VARS_MAX];
    size_t var_count;
    unsigned steps, depth;
    unsigned line;
    enum jump jump;
    struct sw_err *err;
};

__attribute__((format(printf, 3, 4))) static json_t *wrong(struct run *run, const struct operand *at, const char *fmt, ...)
{
    char text[300];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)sw_fail(run->err, SW_INVALID, "template parsing error: template: :%u:%u: executing \"\" at <%.80s>: %s", run->line,
                  at->column, at->source, text);
    return NULL;
}

static int limit(struct run *run, const char *what, unsigned max)
{
    return sw_fail(run->err, SW_LIMIT, "template parsing error: template: :%u: %s, at most %u are allowed", run->line, what, max);
}

static int step(struct run *run)
{
    return ++run->steps > TEMPLATE_STEPS_MAX ? limit(run, "too many evaluations", TEMPLATE_STEPS_MAX) : 0;
}

static int emit(struct run *run, const char *data, size_t len)
{
    if (run->out->len - run->out_start + len > run->out_max)
        return limit(run, "too many bytes of output", (unsigned)run->out_max);
    sw_buf_add(run->out, data, len);
    return 0;
}

static json_t *eval_pipe(struct run *run, const struct pipe *pipe, json_t *dot);

bool template_listed(const char *const *list, const char *name)
{
    for (; list != NULL && *list != NULL; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

static const char *type_word(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "list";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
        return "int";
    case JSON_REAL:
        return "float64";
    case JSON_TRUE:
    case JSON_FALSE:
        return "bool";
    case JSON_NULL:
        return "nil";
    }
    return "value";
}

/* value (a reference that is taken over) followed along the chain. */
static json_t *follow(struct run *run, const struct operand *at, json_t *value, const char *before)
{
    const char *holder = before;
    for (size_t i = 0; i < at->chain_count; i++) {
        json_auto_t *from = value;
        const char *name = at->chain[i];
        value = json_is_object(from) ? json_object_get(from, name) : NULL;
        if (value != NULL)
            value = json_incref(value);
        else if (json_is_null(from))
            return wrong(run, at, "nil pointer evaluating interface {}.%.60s", name);
        else if (json_is_object(from) &&
                 (template_listed(run->options->maps, holder) || template_listed(run->options->optional, name)))
            value = json_null();
        else
            return wrong(run, at, "can't evaluate field %.60s in type %s", name, type_word(from));
        holder = name;
    }
    return value;
}

static json_t *variable_get(struct run *run, const struct operand *at)
{
    for (size_t i = run->var_count; i-- > 0;)
        if (strcmp(run->vars[i].name, at->name) == 0)
            return json_incref(run->vars[i].value);
    return wrong(run, at, "undefined variable \"%.60s\"", at->name);
}

static int variable_push(struct run *run, const char *name, json_t *value)
{
    if (run->var_count >= VARS_MAX)
        return limit(run, "too many variables", VARS_MAX);
    run->vars[run->var_count++] = (struct variable) { name, json_incref(value) };
    return 0;
}

static void variable_pop(struct run *run, size_t keep)
{
    while (run->var_count > keep)
        json_decref(run->vars[--run->var_count].value);
}

static int variable_assign(struct run *run, const char *name, json_t *value)
{
    for (size_t i = run->var_count; i-- > 0;)
        if (strcmp(run->vars[i].name, name) == 0) {
            json_decref(run->vars[i].value);
            run->vars[i].value = json_incref(value);
            return 0;
        }
    return sw_fail(run->err, SW_INVALID, "template parsing error: template: :%u: undefined variable \"%.60s\"", run->line, name);
}

static json_t *eval_func(struct run *run, const struct operand *func, const struct operand *rest, json_t *final, json_t *dot);

static json_t *eval_operand(struct run *run, const struct operand *operand, json_t *dot)
{
    json_t *value = NULL;
    if (step(run) < 0)
        return NULL;
    switch (operand->kind) {
    case OP_DOT:
        return json_incref(dot);
    case OP_FIELD:
        return follow(run, operand, json_incref(dot), "");
    case OP_VARIABLE:
        value = variable_get(run, operand);
        return value == NULL ? NULL : follow(run, operand, value, "");
    case OP_FUNC:
        return eval_func(run, operand, NULL, NULL, dot);
    case OP_CONST:
        return json_incref(operand->value);
    case OP_PAREN:
        value = eval_pipe(run, operand->pipe, dot);
        return value == NULL ? NULL : follow(run, operand, value, "");
    }
    return NULL;
}

/* and, or: the first argument that decides, else the last. */
static json_t *eval_lazy(struct run *run, const struct operand *first, const struct operand *rest, json_t *final, json_t *dot)
{
    bool stop_at = strcmp(first->name, "or") == 0;
    json_t *value = NULL;
    for (const struct operand *arg = rest; arg != NULL; arg = arg->next) {
        json_decref(value);
        value = eval_operand(run, arg, dot);
        if (value == NULL || template_truth(value) == stop_at)
            return value;
    }
    if (final != NULL) {
        json_decref(value);
        value = json_incref(final);
    }
    return value != NULL ? value : wrong(run, first, "wrong number of args for %s: want at least 1 got 0", first->name);
}

/* Long values cost steps, so that a few doublings cannot fill the memory or the hour. */
static int charge(struct run *run, const json_t *value)
{
    run->steps += (unsigned)(json_string_length(value) / 64 + json_array_size(value) / 8);
    if (json_string_length(value) > run->out_max)
        return limit(run, "too many bytes in a value", (unsigned)run->out_max);
    return step(run);
}

static json_t *call(struct run *run, const struct operand *func, json_t *const *args, size_t count)
{
    struct sw_err reason = { 0 };
    const struct template_func *own = template_func_own(run->options, func->name);
    template_builtin_fn *builtin = template_func_builtin(func->name);
    assert(own != NULL || builtin != NULL);
    for (size_t i = 0; i < count; i++)
        if (charge(run, args[i]) < 0)
            return NULL;
    json_t *value = own != NULL ? own->call(run->options->arg, args, count, &reason) : builtin(args, count, &reason);
    if (value == NULL)
        return wrong(run, func, "error calling %s: %.200s", func->name, reason.text);
    if (charge(run, value) == 0)
        return value;
    json_decref(value);
    return NULL;
}

/* func applied to the operands in rest and, if it stands behind a "|", to final. */
static json_t *eval_func(struct run *run, const struct operand *func, const struct operand *rest, json_t *final, json_t *dot)
{
    json_t *args[TEMPLATE_ARGS_MAX + 1];
    size_t count = 0;
    json_t *value = NULL;
    if (template_func_lazy(func->name))
        return eval_lazy(run, func, rest, final, dot);
    for (const struct operand *arg = rest; arg != NULL; arg = arg->next) {
        args[count] = eval_operand(run, arg, dot);
        if (args[count] == NULL)
            goto out;
        count++;
    }
    if (final != NULL)
        args[count++] = json_incref(final);
    value = call(run, func, args, count);
out:
    for (size_t i = 0; i < count; i++)
        json_decref(args[i]);
    return value;
}

static json_t *eval_command(struct run *run, const struct command *command, json_t *final, json_t *dot)
{
    const struct operand *first = command->operands;
    return first->kind == OP_FUNC ? eval_func(run, first, first->next, final, dot) : eval_operand(run, first, dot);
}

static json_t *eval_pipe(struct run *run, const struct pipe *pipe, json_t *dot)
{
    json_t *value = NULL;
    run->line = pipe->line;
    if (++run->depth > TEMPLATE_DEPTH_MAX) {
        (void)limit(run, "nested too deep", TEMPLATE_DEPTH_MAX);
        return NULL;
    }
    for (const struct command *command = pipe->commands; command != NULL; command = command->next) {
        json_t *next = eval_command(run, command, value, dot);
        json_decref(value);
        value = next;
        if (value == NULL)
            break;
    }
    run->depth--;
    return value;
}

/* For everything but range: declare or assign the one variable. */
static int bind(struct run *run, const struct pipe *pipe, json_t *value)
{
    for (size_t i = 0; i < pipe->var_count; i++) {
        int rc = pipe->assign ? variable_assign(run, pipe->vars[i], value) : variable_push(run, pipe->vars[i], value);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int run_nodes(struct run *run, const struct node *node, json_t *dot);

static int range_turn(struct run *run, const struct node *node, json_t *key, json_t *value)
{
    size_t keep = run->var_count;
    int rc = 0;
    if (node->pipe->var_count == 2)
        rc = variable_push(run, node->pipe->vars[0], key);
    if (rc == 0 && node->pipe->var_count > 0)
        rc = variable_push(run, node->pipe->vars[node->pipe->var_count - 1], value);
    if (rc == 0)
        rc = step(run);
    if (rc == 0)
        rc = run_nodes(run, node->body, value);
    variable_pop(run, keep);
    return rc;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int range_object(struct run *run, const struct node *node, json_t *object)
{
    size_t count = json_object_size(object);
    SW_AUTO(sw_free) const char **keys = sw_alloc0((count + 1) * sizeof *keys);
    size_t at = 0;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) keys[at++] = key;
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < count && run->jump != JUMP_BREAK; i++) {
        json_auto_t *name = json_string(keys[i]);
        run->jump = JUMP_NONE;
        int rc = range_turn(run, node, name, json_object_get(object, keys[i]));
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int range_list(struct run *run, const struct node *node, json_t *list, size_t count)
{
    for (size_t i = 0; i < count && run->jump != JUMP_BREAK; i++) {
        json_auto_t *index = json_integer((json_int_t)i);
        run->jump = JUMP_NONE;
        int rc = range_turn(run, node, index, list != NULL ? json_array_get(list, i) : index);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int run_range(struct run *run, const struct node *node, json_t *dot)
{
    json_auto_t *value = eval_pipe(run, node->pipe, dot);
    int rc = 0;
    if (value == NULL)
        return -SW_INVALID;
    if (json_is_object(value) && json_object_size(value) > 0)
        rc = range_object(run, node, value);
    else if (json_is_array(value) && json_array_size(value) > 0)
        rc = range_list(run, node, value, json_array_size(value));
    else if (json_is_integer(value) && json_integer_value(value) > 0)
        rc = range_list(run, node, NULL, (size_t)json_integer_value(value));
    else if (json_is_string(value) || json_is_boolean(value) || json_is_real(value))
        return sw_fail(run->err, SW_INVALID, "template parsing error: template: :%u: range can't iterate over %s", run->line,
                       type_word(value));
    else
        return run_nodes(run, node->other, dot);
    run->jump = JUMP_NONE;
    return rc;
}

static int run_choice(struct run *run, const struct node *node, json_t *dot)
{
    size_t keep = run->var_count;
    json_auto_t *value = eval_pipe(run, node->pipe, dot);
    if (value == NULL)
        return -SW_INVALID;
    int rc = bind(run, node->pipe, value);
    if (rc == 0 && template_truth(value))
        rc = run_nodes(run, node->body, node->kind == NODE_WITH ? value : dot);
    else if (rc == 0)
        rc = run_nodes(run, node->other, dot);
    variable_pop(run, keep);
    return rc;
}

static int run_pipe(struct run *run, const struct node *node, json_t *dot)
{
    json_auto_t *value = eval_pipe(run, node->pipe, dot);
    if (value == NULL)
        return -SW_INVALID;
    if (node->pipe->var_count > 0)
        return bind(run, node->pipe, value);
    SW_AUTO_BUF text = { 0 };
    template_print(value, &text);
    return emit(run, sw_buf_str(&text), text.len);
}

static int run_node(struct run *run, const struct node *node, json_t *dot)
{
    switch (node->kind) {
    case NODE_TEXT:
        return emit(run, node->text, node->len);
    case NODE_PIPE:
        return run_pipe(run, node, dot);
    case NODE_IF:
    case NODE_WITH:
        return run_choice(run, node, dot);
    case NODE_RANGE:
        return run_range(run, node, dot);
    case NODE_BREAK:
        run->jump = JUMP_BREAK;
        return 0;
    case NODE_CONTINUE:
        run->jump = JUMP_CONTINUE;
        return 0;
    }
    return 0;
}

static int run_nodes(struct run *run, const struct node *node, json_t *dot)
{
    size_t keep = run->var_count;
    int rc = step(run);
    for (; rc == 0 && node != NULL && run->jump == JUMP_NONE; node = node->next)
        rc = run_node(run, node, dot);
    variable_pop(run, keep);
    return rc;
}

int template_run(const struct template *template, json_t *data, struct sw_buf *out, struct sw_err *err)
{
    struct run run = { .options = template->options, .out = out, .out_start = out->len, .line = 1, .err = err };
    run.out_max = run.options->output_max != 0 ? run.options->output_max : TEMPLATE_OUTPUT_MAX;
    run.vars[run.var_count++] = (struct variable) { "$", json_incref(data) };
    int rc = run_nodes(&run, template->nodes, data);
    variable_pop(&run, 0);
    return rc;
}

int template_expand(const char *text, const struct template_options *options, json_t *data, char **ret_text, struct sw_err *err)
{
    SW_AUTO_BUF out = { 0 };
    SW_AUTO(template_free) struct template *template = template_parse(text, options, err);
    if (template == NULL)
        return -SW_INVALID;
    int rc = template_run(template, data, &out, err);
    if (rc == 0)
        *ret_text = sw_buf_take(&out);
    return rc;
}
