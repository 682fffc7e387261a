#include "common/template/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH_MAX 1000

/* ---- what values look like ---- */

bool template_truth(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return json_object_size(value) > 0;
    case JSON_ARRAY:
        return json_array_size(value) > 0;
    case JSON_STRING:
        return json_string_length(value) > 0;
    case JSON_INTEGER:
        return json_integer_value(value) != 0;
    case JSON_REAL:
        return json_real_value(value) < 0 || json_real_value(value) > 0;
    case JSON_TRUE:
        return true;
    case JSON_FALSE:
    case JSON_NULL:
        return false;
    }
    return false;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print_deep(const json_t *value, struct sw_buf *out, unsigned depth);

static void print_object(const json_t *object, struct sw_buf *out, unsigned depth)
{
    size_t count = 0;
    SW_AUTO(sw_free) const char **keys = sw_alloc0((json_object_size(object) + 1) * sizeof *keys);
    for (void *it = json_object_iter((json_t *)object); it != NULL; it = json_object_iter_next((json_t *)object, it))
        keys[count++] = json_object_iter_key(it);
    qsort(keys, count, sizeof *keys, compare_keys);
    sw_buf_adds(out, "map[");
    for (size_t i = 0; i < count; i++) {
        sw_buf_addf(out, "%s%s:", i > 0 ? " " : "", keys[i]);
        print_deep(json_object_get(object, keys[i]), out, depth + 1);
    }
    sw_buf_adds(out, "]");
}

static void print_deep(const json_t *value, struct sw_buf *out, unsigned depth)
{
    if (depth > TEMPLATE_DEPTH_MAX) {
        sw_buf_adds(out, "...");
        return;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        print_object(value, out, depth);
        return;
    case JSON_ARRAY:
        sw_buf_adds(out, "[");
        for (size_t i = 0; i < json_array_size(value); i++) {
            sw_buf_adds(out, i > 0 ? " " : "");
            print_deep(json_array_get(value, i), out, depth + 1);
        }
        sw_buf_adds(out, "]");
        return;
    case JSON_STRING:
        sw_buf_add(out, json_string_value(value), json_string_length(value));
        return;
    case JSON_INTEGER:
        sw_buf_addf(out, "%lld", (long long)json_integer_value(value));
        return;
    case JSON_REAL:
        sw_buf_addf(out, "%.15g", json_real_value(value));
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        sw_buf_adds(out, json_is_true(value) ? "true" : "false");
        return;
    case JSON_NULL:
        sw_buf_adds(out, "<no value>");
        return;
    }
}

void template_print(const json_t *value, struct sw_buf *out)
{
    print_deep(value, out, 0);
}

void template_json(const json_t *value, int escape_html, struct sw_buf *out)
{
    SW_AUTO(sw_free) char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    for (const char *p = text; p != NULL && *p != '\0'; p++) {
        if (escape_html && (*p == '<' || *p == '>' || *p == '&'))
            sw_buf_addf(out, "\\u%04x", (unsigned)*p);
        else
            sw_buf_add(out, p, 1);
    }
}

/* ---- helpers of the functions ---- */

static json_t *text_of(struct sw_buf *buf)
{
    return json_stringn_nocheck(sw_buf_str(buf), buf->len);
}

static json_t *need(size_t count, size_t want, struct sw_err *err)
{
    (void)sw_fail(err, SW_INVALID, "wrong number of args: want %zu got %zu", want, count);
    return NULL;
}

static json_t *wrong_type(const char *want, const json_t *got, struct sw_err *err)
{
    SW_AUTO_BUF text = { 0 };
    template_print(got, &text);
    (void)sw_fail(err, SW_INVALID, "wrong type for value; expected %s, got '%.60s'", want, sw_buf_str(&text));
    return NULL;
}

/* ---- text ---- */

static json_t *case_of(json_t *const *args, size_t count, int (*first)(int), int (*others)(int), struct sw_err *err)
{
    if (count != 1)
        return need(count, 1, err);
    if (!json_is_string(args[0]))
        return wrong_type("string", args[0], err);
    SW_AUTO_BUF out = { 0 };
    bool start = true;
    for (const char *p = json_string_value(args[0]); *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        char made = c >= 0x80 ? *p : (char)(start ? first(c) : others(c));
        sw_buf_add(&out, &made, 1);
        start = c < 0x80 && !isalnum(c) && c != '_' && c != '\'';
    }
    return text_of(&out);
}

static int same(int c)
{
    return c;
}

static json_t *fn_lower(json_t *const *args, size_t count, struct sw_err *err)
{
    return case_of(args, count, tolower, tolower, err);
}

static json_t *fn_upper(json_t *const *args, size_t count, struct sw_err *err)
{
    return case_of(args, count, toupper, toupper, err);
}

static json_t *fn_title(json_t *const *args, size_t count, struct sw_err *err)
{
    return case_of(args, count, toupper, same, err);
}

static json_t *fn_split(json_t *const *args, size_t count, struct sw_err *err)
{
    if (count != 2)
        return need(count, 2, err);
    if (!json_is_string(args[0]) || !json_is_string(args[1]))
        return wrong_type("string", json_is_string(args[0]) ? args[1] : args[0], err);
    const char *at = json_string_value(args[0]);
    const char *separator = json_string_value(args[1]);
    size_t len = strlen(separator);
    json_t *list = json_array();
    for (const char *next = len > 0 ? strstr(at, separator) : NULL; next != NULL; next = strstr(at, separator)) {
        json_array_append_new(list, json_stringn_nocheck(at, (size_t)(next - at)));
        at = next + len;
    }
    json_array_append_new(list, json_string_nocheck(at));
    return list;
}

static json_t *fn_join(json_t *const *args, size_t count, struct sw_err *err)
{
    if (count != 2)
        return need(count, 2, err);
    if (!(json_is_array(args[0]) || json_is_null(args[0])) || !json_is_string(args[1]))
        return wrong_type("list and string", json_is_string(args[1]) ? args[0] : args[1], err);
    SW_AUTO_BUF out = { 0 };
    for (size_t i = 0; i < json_array_size(args[0]); i++) {
        if (i > 0)
            sw_buf_adds(&out, json_string_value(args[1]));
        template_print(json_array_get(args[0], i), &out);
    }
    return text_of(&out);
}

static json_t *fn_pad(json_t *const *args, size_t count, struct sw_err *err)
{
    if (count != 3)
        return need(count, 3, err);
    if (!json_is_string(args[0]) || !json_is_integer(args[1]) || !json_is_integer(args[2]))
        return wrong_type("string, int, int", args[0], err);
    json_int_t before = json_integer_value(args[1]);
    json_int_t after = json_integer_value(args[2]);
    if (before < 0 || after < 0 || before > WIDTH_MAX || after > WIDTH_MAX) {
        (void)sw_fail(err, SW_INVALID, "padding must be 0 to %d", WIDTH_MAX);
        return NULL;
    }
    SW_AUTO_BUF out = { 0 };
    if (json_string_length(args[0]) > 0)
        sw_buf_addf(&out, "%*s%s%*s", (int)before, "", json_string_value(args[0]), (int)after, "");
    return text_of(&out);
}

/* At most `max` bytes of text, never half a character. */
static size_t cut_at(const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    while (text[len] != '\0' && len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--;
    return len;
}

static json_t *fn_truncate(json_t *const *args, size_t count, struct sw_err *err)
{
    if (count != 2)
        return need(count, 2, err);
    if (!json_is_string(args[0]) || !json_is_integer(args[1]) || json_integer_value(args[1]) < 0)
        return wrong_type("string and length", args[1], err);
    const char *text = json_string_value(args[0]);
    return json_stringn_nocheck(text, cut_at(text, (size_t)json_integer_value(args[1])));
}

static void escape_html(char c, struct sw_buf *out)
{
    static const char from[] = "<>&'\"";
    static const char *const to[] = { "&lt;", "&gt;", "&amp;", "&#39;", "&#34;" };
    const char *found = strchr(from, c);
    if (found != NULL)
        sw_buf_adds(out, to[found - from]);
    else
        sw_buf_add(out, &c, 1);
}

static void escape_query(char c, struct sw_buf *out)
{
    if (c == ' ')
        sw_buf_adds(out, "+");
    else if (isalnum((unsigned char)c) || strchr("-_.~", c) != NULL)
        sw_buf_add(out, &c, 1);
    else
        sw_buf_addf(out, "%%%02X", (unsigned)(unsigned char)c);
}

static void escape_js(char c, struct sw_buf *out)
{
    if (strchr("\\'\"", c) != NULL)
        sw_buf_addf(out, "\\%c", c);
    else if ((unsigned char)c < 0x20 || strchr("<>&=", c) != NULL)
        sw_buf_addf(out, "\\u%04X", (unsigned)(unsigned char)c);
    else
        sw_buf_add(out, &c, 1);
}

static void print_all(json_t *const *args, size_t count, bool always_space, struct sw_buf *out)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && (always_space || (!json_is_string(args[i]) && !json_is_string(args[i - 1]))))
            sw_buf_adds(out, " ");
        template_print(args[i], out);
    }
}

static json_t *escaped(json_t *const *args, size_t count, void (*escape)(char c, struct sw_buf *out))
{
    SW_AUTO_BUF plain = { 0 };
    SW_AUTO_BUF out = { 0 };
    print_all(args, count, false, &plain);
    for (size_t i = 0; i < plain.len; i++)
        escape(plain.data[i], &out);
    return text_of(&out);
}

static json_t *fn_html(json_t *const *args, size_t count, struct sw_err *err)
{
    (void)err;
    return escaped(args, count, escape_html);
}

static json_t *fn_js(json_t *const *args, size_t count, struct sw_err *err)
{
    (void)err;
    return escaped(args, count, escape_js);
}

static json_t *fn_urlquery(json_t *const *args, size_t count, struct sw_err *err)
{
    (void)err;
    return escaped(args, count, escape_query);
}

static json_t *fn_print(json_t *const *args, size_t count, struct sw_err *err)
{
    SW_AUTO_BUF out = { 0 };
    (void)err;
    print_all(args, count, false, &out);
    return text_of(&out);
}

static json_t *fn_println(json_t *const *args, size_t count, struct sw_err *err)
{
    SW_AUTO_BUF out = { 0 };
    (void)err;
    print_all(args, count, true, &out);
    sw_buf_adds(&out, "\n");
    return text_of(&out);
}

static json_t *fn_json(json_t *const *args, size_t count, struct sw_err *err)
{
    SW_AUTO_BUF out = { 0 };
    if (count != 1)
        return need(count, 1, err);
    template_json(args[0], 0, &out);
    return text_of(&out);
}

/* ---- printf ---- */

struct verb {
    bool left, zero, plus, space;
    int width, precision; /* precision -1 = none */
    char letter;
};

static const char *take_int(const char *at, int *ret)
{
    *ret = 0;
    for (; isdigit((unsigned char)*at); at++)
        *ret = *ret < WIDTH_MAX ? *ret * 10 + (*at - '0') : WIDTH_MAX;
    if (*ret > WIDTH_MAX)
        *ret = WIDTH_MAX;
    return at;
}

static const char *take_verb(const char *at, struct verb *ret)
{
    *ret = (struct verb) { .precision = -1 };
    for (;; at++) {
        if (*at == '-')
            ret->left = true;
        else if (*at == '0')
            ret->zero = true;
        else if (*at == '+')
            ret->plus = true;
        else if (*at == ' ')
            ret->space = true;
        else if (*at != '#')
            break;
    }
    at = take_int(at, &ret->width);
    if (*at == '.')
        at = take_int(at + 1, &ret->precision);
    ret->letter = *at;
    return *at != '\0' ? at + 1 : at;
}

static void add_padded(const struct verb *verb, const char *text, size_t len, struct sw_buf *out)
{
    size_t columns = 0;
    for (size_t i = 0; i < len; i++)
        columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    int fill = verb->width > (int)columns ? verb->width - (int)columns : 0;
    if (!verb->left)
        sw_buf_addf(out, "%*s", fill, "");
    sw_buf_add(out, text, len);
    if (verb->left)
        sw_buf_addf(out, "%*s", fill, "");
}

static void add_quoted(const struct verb *verb, const char *text, struct sw_buf *out)
{
    SW_AUTO_BUF quoted = { 0 };
    sw_buf_adds(&quoted, "\"");
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            sw_buf_addf(&quoted, "\\%c", *p);
        else if (*p == '\n' || *p == '\t' || *p == '\r')
            sw_buf_adds(&quoted, *p == '\n' ? "\\n" : *p == '\t' ? "\\t" : "\\r");
        else if ((unsigned char)*p < 0x20 || *p == 0x7f)
            sw_buf_addf(&quoted, "\\x%02x", (unsigned)(unsigned char)*p);
        else
            sw_buf_add(&quoted, p, 1);
    }
    sw_buf_adds(&quoted, "\"");
    add_padded(verb, sw_buf_str(&quoted), quoted.len, out);
}

static void add_number(const struct verb *verb, const json_t *value, struct sw_buf *out)
{
    long long number = json_integer_value(value);
    char text[64];
    const char *sign = number < 0 ? "-" : verb->plus ? "+" : verb->space ? " " : "";
    unsigned long long size = number < 0 ? 0ULL - (unsigned long long)number : (unsigned long long)number;
    if (verb->letter == 'x' || verb->letter == 'X')
        (void)snprintf(text, sizeof text, verb->letter == 'x' ? "%s%llx" : "%s%llX", sign, size);
    else if (verb->letter == 'o')
        (void)snprintf(text, sizeof text, "%s%llo", sign, size);
    else
        (void)snprintf(text, sizeof text, "%s%llu", sign, size);
    if (!verb->zero || verb->left) {
        add_padded(verb, text, strlen(text), out);
        return;
    }
    sw_buf_adds(out, sign);
    for (int i = (int)strlen(text); i < verb->width; i++)
        sw_buf_adds(out, "0");
    sw_buf_adds(out, text + strlen(sign));
}

static void add_real(const struct verb *verb, const json_t *value, struct sw_buf *out)
{
    char text[WIDTH_MAX + 400];
    double number = json_number_value(value);
    int precision = verb->precision >= 0 ? verb->precision : 6;
    if (verb->letter == 'e')
        (void)snprintf(text, sizeof text, verb->plus ? "%+.*e" : "%.*e", precision, number);
    else if (verb->letter == 'g')
        (void)snprintf(text, sizeof text, "%.*g", verb->precision >= 0 ? precision : 15, number);
    else
        (void)snprintf(text, sizeof text, verb->plus ? "%+.*f" : "%.*f", precision, number);
    add_padded(verb, text, strlen(text), out);
}

static void add_plain(const struct verb *verb, const json_t *value, struct sw_buf *out)
{
    SW_AUTO_BUF text = { 0 };
    template_print(value, &text);
    size_t len = text.len;
    if (verb->precision >= 0 && json_is_string(value))
        len = cut_at(sw_buf_str(&text), (size_t)verb->precision);
    add_padded(verb, sw_buf_str(&text), len, out);
}

static void add_mismatch(const struct verb *verb, const json_t *value, struct sw_buf *out)
{
    static const char *const words[] = { "map", "list", "string", "int", "float64", "bool", "bool", "<nil>" };
    sw_buf_addf(out, "%%!%c(%s=", verb->letter, words[json_typeof(value)]);
    template_print(value, out);
    sw_buf_adds(out, ")");
}

static void add_verb(const struct verb *verb, const json_t *value, struct sw_buf *out)
{
    char c = verb->letter;
    if (c == 'v' || (c == 's' && !json_is_number(value) && !json_is_boolean(value)) || (c == 't' && json_is_boolean(value)))
        add_plain(verb, value, out);
    else if (c == 'q' && json_is_string(value))
        add_quoted(verb, json_string_value(value), out);
    else if (json_is_integer(value) && strchr("dxXo", c) != NULL)
        add_number(verb, value, out);
    else if (json_is_real(value) && strchr("feg", c) != NULL)
        add_real(verb, value, out);
    else if (json_is_string(value) && c == 'x')
        for (const char *p = json_string_value(value); *p != '\0'; p++)
            sw_buf_addf(out, "%02x", (unsigned)(unsigned char)*p);
    else
        add_mismatch(verb, value, out);
}

static json_t *fn_printf(json_t *const *args, size_t count, struct sw_err *err)
{
    if (count == 0 || !json_is_string(args[0])) {
        (void)sw_fail(err, SW_INVALID, "wants a format string first");
        return NULL;
    }
    SW_AUTO_BUF out = { 0 };
    size_t used = 1;
    for (const char *at = json_string_value(args[0]); *at != '\0';) {
        if (*at != '%') {
            sw_buf_add(&out, at++, 1);
            continue;
        }
        struct verb verb;
        at = take_verb(at + 1, &verb);
        if (verb.letter == '%')
            sw_buf_adds(&out, "%");
        else if (verb.letter == '\0' || (unsigned char)verb.letter >= 0x80)
            sw_buf_adds(&out, "%!(NOVERB)");
        else if (used >= count)
            sw_buf_addf(&out, "%%!%c(MISSING)", verb.letter);
        else
            add_verb(&verb, args[used++], &out);
    }
    if (used < count)
        sw_buf_adds(&out, "%!(EXTRA)");
    json_t *text = json_stringn(sw_buf_str(&out), out.len);
    if (text == NULL)
        (void)sw_fail(err, SW_INVALID, "result is not valid UTF-8");
    return text;
}

/* ---- lists and maps ---- */

static json_t *fn_len(json_t *const *args, size_t count, struct sw_err *err)
{
    if (count != 1)
        return need(count, 1, err);
    if (json_is_string(args[0]))
        return json_integer((json_int_t)json_string_length(args[0]));
    if (json_is_array(args[0]))
        return json_integer((json_int_t)json_array_size(args[0]));
    if (json_is_object(args[0]))
        return json_integer((json_int_t)json_object_size(args[0]));
    return json_is_null(args[0]) ? json_integer(0) : wrong_type("a value with a length", args[0], err);
}

static json_t *index_one(json_t *from, const json_t *key, struct sw_err *err)
{
    if (json_is_object(from) && json_is_string(key)) {
        json_t *value = json_object_get(from, json_string_value(key));
        return value != NULL ? json_incref(value) : json_string("");
    }
    if (json_is_null(from) && json_is_string(key))
        return json_string("");
    if (!json_is_integer(key) || !(json_is_array(from) || json_is_string(from)))
        return wrong_type("a list or map and its key", json_is_integer(key) ? from : key, err);
    json_int_t at = json_integer_value(key);
    size_t size = json_is_array(from) ? json_array_size(from) : json_string_length(from);
    if (at < 0 || (size_t)at >= size) {
        (void)sw_fail(err, SW_INVALID, "index out of range: %lld", (long long)at);
        return NULL;
    }
    return json_is_array(from) ? json_incref(json_array_get(from, (size_t)at))
                               : json_integer((unsigned char)json_string_value(from)[at]);
}

static json_t *fn_index(json_t *const *args, size_t count, struct sw_err *err)
{
    if (count == 0)
        return need(count, 1, err);
    json_t *value = json_incref(args[0]);
    for (size_t i = 1; i < count && value != NULL; i++) {
        json_t *next = index_one(value, args[i], err);
        json_decref(value);
        value = next;
    }
    return value;
}

static json_t *fn_slice(json_t *const *args, size_t count, struct sw_err *err)
{
    if (count == 0 || count > 3)
        return need(count, 3, err);
    if (!json_is_string(args[0]) && !json_is_array(args[0]))
        return wrong_type("list or string", args[0], err);
    size_t size = json_is_array(args[0]) ? json_array_size(args[0]) : json_string_length(args[0]);
    json_int_t bounds[2] = { 0, (json_int_t)size };
    for (size_t i = 1; i < count; i++) {
        if (!json_is_integer(args[i]))
            return wrong_type("int", args[i], err);
        bounds[i - 1] = json_integer_value(args[i]);
    }
    if (bounds[0] < 0 || bounds[0] > bounds[1] || bounds[1] > (json_int_t)size) {
        (void)sw_fail(err, SW_INVALID, "slice index out of range: %lld:%lld", (long long)bounds[0], (long long)bounds[1]);
        return NULL;
    }
    if (json_is_string(args[0])) {
        json_t *text = json_stringn(json_string_value(args[0]) + bounds[0], (size_t)(bounds[1] - bounds[0]));
        if (text == NULL)
            (void)sw_fail(err, SW_INVALID, "slice cuts a character in half");
        return text;
    }
    json_t *list = json_array();
    for (json_int_t i = bounds[0]; i < bounds[1]; i++)
        json_array_append(list, json_array_get(args[0], (size_t)i));
    return list;
}

/* ---- comparison ---- */

/* -1, 0 or 1 in *ret; false if the two cannot be compared. */
static bool compare(const json_t *a, const json_t *b, int *ret)
{
    if (json_is_string(a) && json_is_string(b)) {
        int order = strcmp(json_string_value(a), json_string_value(b));
        *ret = order < 0 ? -1 : order > 0;
    } else if (json_is_integer(a) && json_is_integer(b)) {
        json_int_t x = json_integer_value(a);
        json_int_t y = json_integer_value(b);
        *ret = x < y ? -1 : x > y;
    } else if (json_is_number(a) && json_is_number(b)) {
        double x = json_number_value(a);
        double y = json_number_value(b);
        *ret = x < y ? -1 : x > y;
    } else if (json_is_boolean(a) && json_is_boolean(b)) {
        *ret = (int)json_is_true(a) - (int)json_is_true(b);
    } else if (json_is_null(a) || json_is_null(b)) {
        *ret = json_typeof(a) != json_typeof(b);
    } else {
        return false;
    }
    return true;
}

static json_t *fn_eq(json_t *const *args, size_t count, struct sw_err *err)
{
    if (count < 2)
        return need(count, 2, err);
    for (size_t i = 1; i < count; i++) {
        int order = 0;
        if (!compare(args[0], args[i], &order))
            return wrong_type("two values of one basic kind", args[i], err);
        if (order == 0)
            return json_true();
    }
    return json_false();
}

/* Is the order of two values in the set {below, same, above}? */
static json_t *ordered(json_t *const *args, size_t count, bool below, bool equal, bool above, struct sw_err *err)
{
    int order = 0;
    if (count != 2)
        return need(count, 2, err);
    if (!compare(args[0], args[1], &order))
        return wrong_type("two values of one basic kind", args[1], err);
    return json_boolean(order < 0 ? below : order > 0 ? above : equal);
}

static json_t *fn_ne(json_t *const *args, size_t count, struct sw_err *err)
{
    return ordered(args, count, true, false, true, err);
}

static json_t *fn_lt(json_t *const *args, size_t count, struct sw_err *err)
{
    return ordered(args, count, true, false, false, err);
}

static json_t *fn_le(json_t *const *args, size_t count, struct sw_err *err)
{
    return ordered(args, count, true, true, false, err);
}

static json_t *fn_gt(json_t *const *args, size_t count, struct sw_err *err)
{
    return ordered(args, count, false, false, true, err);
}

static json_t *fn_ge(json_t *const *args, size_t count, struct sw_err *err)
{
    return ordered(args, count, false, true, true, err);
}

static json_t *fn_not(json_t *const *args, size_t count, struct sw_err *err)
{
    return count == 1 ? json_boolean(!template_truth(args[0])) : need(count, 1, err);
}

/* ---- the table ---- */

template_builtin_fn *template_func_builtin(const char *name)
{
    static const struct {
        const char *name;
        template_builtin_fn *call;
    } table[] = {
        { "eq", fn_eq },
        { "ne", fn_ne },
        { "lt", fn_lt },
        { "le", fn_le },
        { "gt", fn_gt },
        { "ge", fn_ge },
        { "not", fn_not },
        { "len", fn_len },
        { "index", fn_index },
        { "slice", fn_slice },
        { "print", fn_print },
        { "println", fn_println },
        { "printf", fn_printf },
        { "json", fn_json },
        { "join", fn_join },
        { "split", fn_split },
        { "lower", fn_lower },
        { "upper", fn_upper },
        { "title", fn_title },
        { "pad", fn_pad },
        { "html", fn_html },
        { "js", fn_js },
        { "urlquery", fn_urlquery },
        { "truncate", fn_truncate },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].call;
    return NULL;
}

const struct template_func *template_func_own(const struct template_options *options, const char *name)
{
    for (size_t i = 0; i < options->func_count; i++)
        if (strcmp(options->funcs[i].name, name) == 0)
            return &options->funcs[i];
    return NULL;
}

bool template_func_lazy(const char *name)
{
    return strcmp(name, "and") == 0 || strcmp(name, "or") == 0;
}
