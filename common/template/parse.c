#include "common/template/internal.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    const char *start; /* of the whole text */
    const char *at;
    const char *line_start;
    unsigned line;
    unsigned depth;
    unsigned loops;
    bool trim_next; /* the last action ended with "- }}" */
    const struct template_options *options;
    struct sw_err *err;
};

static void operand_free(struct operand *operand);

static void command_free(struct command *command)
{
    while (command != NULL) {
        struct command *next = command->next;
        while (command->operands != NULL) {
            struct operand *operand = command->operands;
            command->operands = operand->next;
            operand_free(operand);
        }
        free(command);
        command = next;
    }
}

static void pipe_free(struct pipe *pipe)
{
    command_free(pipe->commands);
    free(pipe->vars[0]);
    free(pipe->vars[1]);
    free(pipe);
}

static void operand_free(struct operand *operand)
{
    free(operand->name);
    free(operand->source);
    for (size_t i = 0; i < operand->chain_count; i++)
        free(operand->chain[i]);
    free(operand->chain);
    json_decref(operand->value);
    if (operand->pipe != NULL)
        pipe_free(operand->pipe);
    free(operand);
}

static void nodes_free(struct node *node)
{
    while (node != NULL) {
        struct node *next = node->next;
        free(node->text);
        if (node->pipe != NULL)
            pipe_free(node->pipe);
        nodes_free(node->body);
        nodes_free(node->other);
        free(node);
        node = next;
    }
}

SW_AUTO_DEFINE(struct operand, operand_free);
SW_AUTO_DEFINE(struct pipe, pipe_free);
SW_AUTO_DEFINE(struct node, nodes_free);
SW_AUTO_DEFINE(struct command, command_free);

__attribute__((format(printf, 2, 3))) static int bad(struct parser *p, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return sw_fail(p->err, SW_INVALID, "template parsing error: template: :%u: %s", p->line, text);
}

static char *copy(const char *from, size_t len)
{
    char *text = sw_alloc0(len + 1);
    memcpy(text, from, len);
    return text;
}

static void advance(struct parser *p, const char *to)
{
    for (; p->at < to; p->at++)
        if (*p->at == '\n') {
            p->line++;
            p->line_start = p->at + 1;
        }
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_blanks(struct parser *p)
{
    const char *to = p->at;
    while (blank(*to))
        to++;
    advance(p, to);
}

static bool word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static size_t word_len(const char *text)
{
    size_t len = 0;
    while (word_char(text[len]))
        len++;
    return len;
}

/* At the end of an action: "}}" or "-}}" after a blank. */
static bool at_end(const struct parser *p)
{
    return strncmp(p->at, "}}", 2) == 0 || (strncmp(p->at, "-}}", 3) == 0 && p->at > p->start && blank(p->at[-1]));
}

static int take_end(struct parser *p)
{
    skip_blanks(p);
    if (!at_end(p))
        return *p->at == '\0' ? bad(p, "unclosed action") : bad(p, "unexpected %.1s in operand", p->at);
    p->trim_next = *p->at == '-';
    advance(p, p->at + (p->trim_next ? 3 : 2));
    return 0;
}

static bool take_word(struct parser *p, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(p->at, word, len) != 0 || word_char(p->at[len]))
        return false;
    advance(p, p->at + len);
    return true;
}

/* ---- constants ---- */

static void add_utf8(struct sw_buf *buf, unsigned long point)
{
    char out[4];
    size_t len = 0;
    if (point < 0x80) {
        out[len++] = (char)point;
    } else if (point < 0x800) {
        out[len++] = (char)(0xc0 | point >> 6);
    } else if (point < 0x10000) {
        out[len++] = (char)(0xe0 | point >> 12);
        out[len++] = (char)(0x80 | (point >> 6 & 0x3f));
    } else {
        out[len++] = (char)(0xf0 | (point >> 18 & 7));
        out[len++] = (char)(0x80 | (point >> 12 & 0x3f));
        out[len++] = (char)(0x80 | (point >> 6 & 0x3f));
    }
    if (point >= 0x80)
        out[len++] = (char)(0x80 | (point & 0x3f));
    sw_buf_add(buf, out, len);
}

/* \xHH, \uHHHH, \UHHHHHHHH at text (behind the backslash); returns the characters used, 0 if wrong. */
static size_t unescape_hex(const char *text, struct sw_buf *out)
{
    size_t digits = *text == 'x' ? 2 : *text == 'u' ? 4 : 8;
    char hex[9] = { 0 };
    for (size_t i = 0; i < digits; i++) {
        if (!isxdigit((unsigned char)text[1 + i]))
            return 0;
        hex[i] = text[1 + i];
    }
    unsigned long point = strtoul(hex, NULL, 16);
    if (point == 0 || point > 0x10ffff || (point >= 0xd800 && point < 0xe000) || (digits == 2 && point >= 0x80))
        return 0;
    add_utf8(out, point);
    return digits + 1;
}

static size_t unescape(const char *text, struct sw_buf *out)
{
    static const char from[] = "abfnrtv\\'\"";
    static const char to[] = "\a\b\f\n\r\t\v\\'\"";
    const char *found = *text != '\0' ? strchr(from, *text) : NULL;
    if (found != NULL) {
        sw_buf_add(out, &to[found - from], 1);
        return 1;
    }
    return *text == 'x' || *text == 'u' || *text == 'U' ? unescape_hex(text, out) : 0;
}

static int take_string(struct parser *p, json_t **ret)
{
    SW_AUTO_BUF out = { 0 };
    const char *at = p->at + 1;
    if (*p->at == '`') {
        const char *end = strchr(at, '`');
        if (end == NULL)
            return bad(p, "unterminated raw quoted string");
        sw_buf_add(&out, at, (size_t)(end - at));
        at = end;
    } else {
        while (*at != '"') {
            if (*at == '\0' || *at == '\n')
                return bad(p, "unterminated quoted string");
            size_t used = 1;
            if (*at == '\\') {
                used = unescape(at + 1, &out);
                if (used == 0)
                    return bad(p, "invalid syntax in quoted string");
                at++;
            } else {
                sw_buf_add(&out, at, 1);
            }
            at += used;
        }
    }
    *ret = json_stringn(sw_buf_str(&out), out.len);
    if (*ret == NULL)
        return bad(p, "string is not valid UTF-8");
    advance(p, at + 1);
    return 0;
}

static int take_number(struct parser *p, json_t **ret)
{
    size_t len = *p->at == '-' || *p->at == '+';
    bool real = false;
    while (isalnum((unsigned char)p->at[len]) || p->at[len] == '.')
        real |= p->at[len++] == '.';
    SW_AUTO(sw_free) char *text = copy(p->at, len);
    char *end = NULL;
    if (real)
        *ret = json_real(strtod(text, &end));
    else
        *ret = json_integer(strtoll(text, &end, 0));
    if (*ret == NULL || *end != '\0') {
        json_decref(*ret);
        *ret = NULL;
        return bad(p, "bad number syntax: \"%.40s\"", text);
    }
    advance(p, p->at + len);
    return 0;
}

/* ---- operands, commands, pipes ---- */

static struct pipe *parse_pipe(struct parser *p, bool in_paren);

/* ".A.B" at p->at, if any. */
static int parse_chain(struct parser *p, struct operand *operand)
{
    while (*p->at == '.' && word_char(p->at[1])) {
        size_t len = word_len(p->at + 1);
        if (isdigit((unsigned char)p->at[1]))
            return bad(p, "bad character in field name");
        if (operand->chain_count >= TEMPLATE_ARGS_MAX)
            return bad(p, "more than %d fields in a chain", TEMPLATE_ARGS_MAX);
        operand->chain = sw_realloc_array(operand->chain, operand->chain_count + 1, sizeof *operand->chain);
        operand->chain[operand->chain_count++] = copy(p->at + 1, len);
        advance(p, p->at + 1 + len);
    }
    return 0;
}

static int parse_paren(struct parser *p, struct operand *operand)
{
    if (++p->depth > TEMPLATE_DEPTH_MAX)
        return bad(p, "nested deeper than %d levels", TEMPLATE_DEPTH_MAX);
    advance(p, p->at + 1);
    operand->kind = OP_PAREN;
    operand->pipe = parse_pipe(p, true);
    if (operand->pipe == NULL)
        return -SW_INVALID;
    skip_blanks(p);
    if (*p->at != ')')
        return bad(p, "unclosed left paren");
    advance(p, p->at + 1);
    p->depth--;
    return parse_chain(p, operand);
}

static bool func_known(const struct parser *p, const char *name)
{
    return template_func_lazy(name) || template_func_builtin(name) != NULL || template_func_own(p->options, name) != NULL;
}

static int parse_name(struct parser *p, struct operand *operand)
{
    size_t len = word_len(p->at);
    SW_AUTO(sw_free) char *name = copy(p->at, len);
    advance(p, p->at + len);
    operand->kind = OP_CONST;
    if (strcmp(name, "true") == 0 || strcmp(name, "false") == 0) {
        operand->value = json_boolean(name[0] == 't');
    } else if (strcmp(name, "nil") == 0) {
        operand->value = json_null();
    } else {
        operand->kind = OP_FUNC;
        if (!func_known(p, name))
            return bad(p, "function \"%.60s\" not defined", name);
        operand->name = SW_TAKE(name);
    }
    return 0;
}

static int parse_operand_body(struct parser *p, struct operand *operand)
{
    char c = *p->at;
    if (c == '(')
        return parse_paren(p, operand);
    if (c == '"' || c == '`') {
        operand->kind = OP_CONST;
        return take_string(p, &operand->value);
    }
    if (isdigit((unsigned char)c) || ((c == '-' || c == '+') && isdigit((unsigned char)p->at[1]))) {
        operand->kind = OP_CONST;
        return take_number(p, &operand->value);
    }
    if (c == '$') {
        size_t len = 1 + word_len(p->at + 1);
        operand->kind = OP_VARIABLE;
        operand->name = copy(p->at, len);
        advance(p, p->at + len);
        return parse_chain(p, operand);
    }
    if (c == '.') {
        operand->kind = word_char(p->at[1]) ? OP_FIELD : OP_DOT;
        if (operand->kind == OP_DOT)
            advance(p, p->at + 1);
        return parse_chain(p, operand);
    }
    if (word_char(c))
        return parse_name(p, operand);
    return c == '\0' ? bad(p, "unclosed action") : bad(p, "unexpected \"%.1s\" in operand", p->at);
}

static int parse_operand(struct parser *p, struct operand **ret)
{
    SW_AUTO(operand_free) struct operand *operand = sw_alloc0(sizeof *operand);
    const char *from = p->at;
    operand->column = (unsigned)(p->at - p->line_start);
    if (parse_operand_body(p, operand) < 0)
        return -SW_INVALID;
    if (word_char(*p->at) || *p->at == '"' || *p->at == '$')
        return bad(p, "unexpected \"%.1s\" after operand", p->at);
    operand->source = copy(from, (size_t)(p->at - from));
    *ret = SW_TAKE(operand);
    return 0;
}

static int parse_command(struct parser *p, struct command **ret)
{
    SW_AUTO(command_free) struct command *command = sw_alloc0(sizeof *command);
    struct operand **tail = &command->operands;
    size_t count = 0;
    for (skip_blanks(p); !at_end(p) && *p->at != '|' && *p->at != ')'; skip_blanks(p)) {
        if (++count > TEMPLATE_ARGS_MAX)
            return bad(p, "more than %d arguments", TEMPLATE_ARGS_MAX);
        if (parse_operand(p, tail) < 0)
            return -SW_INVALID;
        tail = &(*tail)->next;
    }
    if (command->operands == NULL)
        return bad(p, "missing value for command");
    if (count > 1 && command->operands->kind != OP_FUNC)
        return bad(p, "can't give argument to non-function %.60s", command->operands->source);
    *ret = SW_TAKE(command);
    return 0;
}

/* "$k, $v :=" or "$x :=" or "$x =" at p->at, if that is what stands there. */
static void parse_declaration(struct parser *p, struct pipe *pipe)
{
    const char *at = p->at;
    const char *names[2];
    size_t lens[2];
    size_t count = 0;
    while (count < 2 && *at == '$') {
        names[count] = at;
        lens[count] = 1 + word_len(at + 1);
        at += lens[count++];
        while (blank(*at))
            at++;
        if (*at != ',')
            break;
        for (at++; blank(*at); at++)
            continue;
    }
    if (count == 0 || !(strncmp(at, ":=", 2) == 0 || *at == '='))
        return;
    pipe->assign = *at == '=';
    for (size_t i = 0; i < count; i++)
        pipe->vars[i] = copy(names[i], lens[i]);
    pipe->var_count = count;
    advance(p, at + (pipe->assign ? 1 : 2));
}

static struct pipe *parse_pipe(struct parser *p, bool in_paren)
{
    SW_AUTO(pipe_free) struct pipe *pipe = sw_alloc0(sizeof *pipe);
    skip_blanks(p);
    pipe->line = p->line;
    if (!in_paren)
        parse_declaration(p, pipe);
    struct command **tail = &pipe->commands;
    for (size_t count = 0;; count++) {
        if (count >= TEMPLATE_ARGS_MAX) {
            (void)bad(p, "more than %d commands in a pipe", TEMPLATE_ARGS_MAX);
            return NULL;
        }
        if (parse_command(p, tail) < 0)
            return NULL;
        if (count > 0 && (*tail)->operands->kind != OP_FUNC) {
            (void)bad(p, "non executable command in pipeline stage %zu", count + 1);
            return NULL;
        }
        tail = &(*tail)->next;
        if (*p->at != '|')
            break;
        advance(p, p->at + 1);
    }
    if (*p->at == ')' && !in_paren) {
        (void)bad(p, "unexpected right paren");
        return NULL;
    }
    return SW_TAKE(pipe);
}

/* ---- nodes ---- */

enum stop { STOP_EOF, STOP_END, STOP_ELSE, STOP_ELSE_IF, STOP_ELSE_WITH };

static int parse_nodes(struct parser *p, struct node **ret, enum stop *ret_stop);

/* Text up to the next action; trim markers on both sides are applied. */
static struct node *parse_text(struct parser *p)
{
    const char *open = strstr(p->at, "{{");
    const char *end = open != NULL ? open : p->at + strlen(p->at);
    const char *from = p->at;
    const char *to = end;
    while (p->trim_next && from < to && blank(*from))
        from++;
    if (open != NULL && open[2] == '-' && blank(open[3]))
        while (to > from && blank(to[-1]))
            to--;
    p->trim_next = false;
    advance(p, end);
    if (to == from)
        return NULL;
    struct node *node = sw_alloc0(sizeof *node);
    node->kind = NODE_TEXT;
    node->text = copy(from, (size_t)(to - from));
    node->len = (size_t)(to - from);
    return node;
}

static int parse_comment(struct parser *p)
{
    const char *end = strstr(p->at, "*/");
    if (end == NULL)
        return bad(p, "unclosed comment");
    advance(p, end + 2);
    skip_blanks(p);
    return at_end(p) ? take_end(p) : bad(p, "comment ends before closing delimiter");
}

/* The rest of {{if}}, {{range}} or {{with}}: pipe, body, else parts, end. */
static int parse_control(struct parser *p, enum node_kind kind, struct node **ret)
{
    SW_AUTO(nodes_free) struct node *node = sw_alloc0(sizeof *node);
    enum stop stop = STOP_END;
    node->kind = kind;
    if (++p->depth > TEMPLATE_DEPTH_MAX)
        return bad(p, "nested deeper than %d levels", TEMPLATE_DEPTH_MAX);
    node->pipe = parse_pipe(p, false);
    if (node->pipe == NULL || take_end(p) < 0)
        return -SW_INVALID;
    if (node->pipe->var_count == 2 && kind != NODE_RANGE)
        return bad(p, "too many declarations");
    p->loops += kind == NODE_RANGE;
    int rc = parse_nodes(p, &node->body, &stop);
    p->loops -= kind == NODE_RANGE;
    if (rc < 0)
        return rc;
    if (stop == STOP_ELSE_IF || stop == STOP_ELSE_WITH) {
        if ((stop == STOP_ELSE_IF) != (kind == NODE_IF) || kind == NODE_RANGE)
            return bad(p, "unexpected \"else if\" or \"else with\" here");
        if (parse_control(p, kind, &node->other) < 0)
            return -SW_INVALID;
    } else if (stop == STOP_ELSE) {
        if (parse_nodes(p, &node->other, &stop) < 0)
            return -SW_INVALID;
        if (stop != STOP_END && stop != STOP_EOF)
            return bad(p, "expected end; found {{else}}");
    }
    if (stop == STOP_EOF)
        return bad(p, "unexpected EOF");
    p->depth--;
    *ret = SW_TAKE(node);
    return 0;
}

static int parse_else(struct parser *p, enum stop *ret_stop)
{
    skip_blanks(p);
    *ret_stop = STOP_ELSE;
    if (take_word(p, "if"))
        *ret_stop = STOP_ELSE_IF;
    else if (take_word(p, "with"))
        *ret_stop = STOP_ELSE_WITH;
    return *ret_stop == STOP_ELSE ? take_end(p) : 0;
}

static int parse_jump(struct parser *p, enum node_kind kind, struct node **ret)
{
    if (p->loops == 0)
        return bad(p, "{{%s}} outside {{range}}", kind == NODE_BREAK ? "break" : "continue");
    *ret = sw_alloc0(sizeof **ret);
    (*ret)->kind = kind;
    return take_end(p);
}

/* One action behind "{{". *ret stays NULL for a comment; *ret_stop >= 0 tells that a list ends here. */
static int parse_action(struct parser *p, struct node **ret, int *ret_stop)
{
    static const struct {
        const char *word;
        enum node_kind kind;
    } controls[] = { { "if", NODE_IF }, { "range", NODE_RANGE }, { "with", NODE_WITH } };
    skip_blanks(p);
    if (strncmp(p->at, "/*", 2) == 0)
        return parse_comment(p);
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++)
        if (take_word(p, controls[i].word))
            return parse_control(p, controls[i].kind, ret);
    if (take_word(p, "break"))
        return parse_jump(p, NODE_BREAK, ret);
    if (take_word(p, "continue"))
        return parse_jump(p, NODE_CONTINUE, ret);
    if (take_word(p, "end")) {
        *ret_stop = STOP_END;
        return take_end(p);
    }
    if (take_word(p, "else")) {
        enum stop stop = STOP_ELSE;
        int rc = parse_else(p, &stop);
        *ret_stop = (int)stop;
        return rc;
    }
    *ret = sw_alloc0(sizeof **ret);
    (*ret)->kind = NODE_PIPE;
    (*ret)->pipe = parse_pipe(p, false);
    return (*ret)->pipe == NULL ? -SW_INVALID : take_end(p);
}

static int parse_nodes(struct parser *p, struct node **ret, enum stop *ret_stop)
{
    struct node **tail = ret;
    *ret_stop = STOP_EOF;
    while (*p->at != '\0') {
        *tail = parse_text(p);
        if (*tail != NULL)
            tail = &(*tail)->next;
        if (*p->at == '\0')
            break;
        bool trim = p->at[2] == '-' && blank(p->at[3]);
        advance(p, p->at + (trim ? 4 : 2));
        int stop = -1;
        if (parse_action(p, tail, &stop) < 0)
            return -SW_INVALID;
        if (stop >= 0) {
            *ret_stop = (enum stop)stop;
            return 0;
        }
        if (*tail != NULL)
            tail = &(*tail)->next;
    }
    return 0;
}

struct template *template_parse(const char *text, const struct template_options *options, struct sw_err *err)
{
    static const struct template_options none = { 0 };
    struct parser p = { .start = text, .at = text, .line_start = text, .line = 1, .err = err };
    SW_AUTO(template_free) struct template *template = sw_alloc0(sizeof *template);
    enum stop stop = STOP_EOF;
    p.options = options != NULL ? options : &none;
    template->options = p.options;
    if (strnlen(text, TEMPLATE_TEXT_MAX + 1) > TEMPLATE_TEXT_MAX) {
        (void)sw_fail(err, SW_LIMIT, "template parsing error: template is longer than %d bytes", TEMPLATE_TEXT_MAX);
        return NULL;
    }
    if (parse_nodes(&p, &template->nodes, &stop) < 0)
        return NULL;
    if (stop != STOP_EOF) {
        (void)bad(&p, "unexpected {{%s}}", stop == STOP_END ? "end" : "else");
        return NULL;
    }
    return SW_TAKE(template);
}

void template_free(struct template *template)
{
    if (template == NULL)
        return;
    nodes_free(template->nodes);
    free(template);
}
