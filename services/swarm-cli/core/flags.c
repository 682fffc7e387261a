#include "services/swarm-cli/core/flags.h"

#include "common/base/units.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values by type ---- */

/* "0.25" in millionths, for the types that need no more. */
static bool parse_ratio(const char *text, int64_t *ret_ppm)
{
    int64_t nano = 0;
    if (strchr(text, '/') != NULL || !sw_parse_cpus(text, &nano))
        return false;
    *ret_ppm = nano / 1000;
    return true;
}

static bool parse_bool(const char *text, bool *ret)
{
    static const char *const words[] = { "0", "f", "F", "false", "FALSE", "False", "1", "t", "T", "true", "TRUE", "True" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], text) == 0) {
            *ret = i >= 6;
            return true;
        }
    return false;
}

static int check_duration(const char *text, struct sw_err *err)
{
    int64_t value = 0;
    if (sw_parse_duration(text, &value))
        return 0;
    uint64_t bare = 0;
    if (sw_parse_u64(text, &bare))
        return sw_fail(err, SW_INVALID, "time: missing unit in duration \"%s\"", text);
    return sw_fail(err, SW_INVALID, "time: invalid duration \"%s\"", text);
}

static int check_bytes(const char *text, struct sw_err *err)
{
    int64_t value = 0;
    if (sw_parse_bytes(text, &value))
        return 0;
    size_t digits = strspn(text, "0123456789.");
    if (digits == 0)
        return sw_fail(err, SW_INVALID, "invalid size: '%s'", text);
    return sw_fail(err, SW_INVALID, "invalid suffix: '%s'", text + digits);
}

static int check_integer(const char *text, enum flag_type type, struct sw_err *err)
{
    int64_t number = 0;
    uint64_t natural = 0;
    const char *go = type == FLAG_INT ? "ParseInt" : "ParseUint";
    bool fits = type == FLAG_INT ? sw_parse_i64(text, &number) : sw_parse_u64(text, &natural);
    if (!fits)
        return sw_fail(err, SW_INVALID, "strconv.%s: parsing \"%s\": invalid syntax", go, text);
    if (type == FLAG_UINT32 && natural > UINT32_MAX)
        return sw_fail(err, SW_INVALID, "strconv.%s: parsing \"%s\": value out of range", go, text);
    return 0;
}

static int check_value(const struct flag *spec, const char *text, struct sw_err *err)
{
    int64_t number = 0;
    bool truth = false;
    int rc = 0;
    switch (spec->type) {
    case FLAG_BOOL:
        if (!parse_bool(text, &truth))
            rc = sw_fail(err, SW_INVALID, "strconv.ParseBool: parsing \"%s\": invalid syntax", text);
        break;
    case FLAG_STRING:
    case FLAG_LIST:
        break;
    case FLAG_INT:
    case FLAG_UINT:
    case FLAG_UINT32:
        rc = check_integer(text, spec->type, err);
        break;
    case FLAG_FLOAT:
        if (!parse_ratio(text, &number))
            rc = sw_fail(err, SW_INVALID, "strconv.ParseFloat: parsing \"%s\": invalid syntax", text);
        break;
    case FLAG_DURATION:
        rc = check_duration(text, err);
        break;
    case FLAG_BYTES:
        rc = check_bytes(text, err);
        break;
    case FLAG_CPUS:
        if (!sw_parse_cpus(text, &number))
            rc = sw_fail(err, SW_INVALID, "failed to parse '%s' as a rational number of at most 9 decimals", text);
        break;
    }
    if (rc == 0 && spec->check != NULL)
        rc = spec->check(text, err);
    return rc;
}

/* ---- parsing ---- */

struct parse {
    const struct flags_usage *usage;
    struct flags *flags;
    struct sw_buf *err;
};

/* Group words have no row of their own: they print "COMMAND" instead of options. */
static void add_usage(const struct flags_usage *usage, struct sw_buf *out)
{
    sw_buf_addf(out, "Usage:  %s %s%s%s%s", usage->program, usage->words, usage->spec_count > 0 ? " [OPTIONS]" : "",
                usage->args[0] != '\0' ? " " : "", usage->args);
}

__attribute__((format(printf, 3, 4))) static enum flags_result refuse(struct parse *p, enum flags_result result, const char *fmt,
                                                                      ...)
{
    char text[SW_ERR_TEXT_MAX + 512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    sw_buf_addf(p->err, "%s\n\n", text);
    add_usage(p->usage, p->err);
    sw_buf_addf(p->err, "\n\nRun '%s %s --help' for more information\n", p->usage->program, p->usage->words);
    return result;
}

static int find_name(const struct flags_usage *usage, const char *name, size_t len)
{
    for (size_t i = 0; i < usage->spec_count; i++)
        if (strlen(usage->specs[i].name) == len && memcmp(usage->specs[i].name, name, len) == 0)
            return (int)i;
    return -1;
}

static int find_letter(const struct flags_usage *usage, char letter)
{
    for (size_t i = 0; i < usage->spec_count; i++)
        if (usage->specs[i].letter == letter)
            return (int)i;
    return -1;
}

static enum flags_result store(struct parse *p, int at, const char *value)
{
    const struct flag *spec = &p->usage->specs[at];
    struct flag_values *values = &p->flags->values[at];
    struct sw_err why = { 0 };
    int rc = values->count < FLAGS_VALUES_MAX ? check_value(spec, value, &why)
                                              : sw_fail(&why, SW_LIMIT, "given more than %d times", FLAGS_VALUES_MAX);
    if (rc < 0 && spec->letter != '\0')
        return refuse(p, FLAGS_USAGE, "invalid argument \"%.300s\" for \"-%c, --%s\" flag: %s", value, spec->letter, spec->name,
                      why.text);
    if (rc < 0)
        return refuse(p, FLAGS_USAGE, "invalid argument \"%.300s\" for \"--%s\" flag: %s", value, spec->name, why.text);
    values->values = sw_realloc_array(values->values, values->count + 1, sizeof *values->values);
    values->values[values->count++] = value;
    return FLAGS_OK;
}

/* argv[*at] is "--name" or "--name=value". */
static enum flags_result parse_long(struct parse *p, int argc, char **argv, int *at)
{
    const char *name = argv[*at] + 2;
    size_t len = strcspn(name, "=");
    if (len == 4 && strncmp(name, "help", 4) == 0) {
        p->flags->help = true;
        return FLAGS_OK;
    }
    int found = len > 0 ? find_name(p->usage, name, len) : -1;
    if (found < 0)
        return refuse(p, FLAGS_USAGE, "unknown flag: --%.*s", (int)(len < 200 ? len : 200), name);
    if (name[len] == '=')
        return store(p, found, name + len + 1);
    if (p->usage->specs[found].type == FLAG_BOOL)
        return store(p, found, "true");
    if (*at + 1 >= argc)
        return refuse(p, FLAGS_USAGE, "flag needs an argument: --%s", p->usage->specs[found].name);
    return store(p, found, argv[++*at]);
}

/* argv[*at] is "-x", "-xvalue", "-x=value" or a group "-dq". */
static enum flags_result parse_letters(struct parse *p, int argc, char **argv, int *at)
{
    for (const char *letter = argv[*at] + 1; *letter != '\0'; letter++) {
        int found = find_letter(p->usage, *letter);
        if (found < 0 && *letter == 'h') {
            p->flags->help = true;
            return FLAGS_OK;
        }
        if (found < 0)
            return refuse(p, FLAGS_USAGE, "unknown shorthand flag: '%c' in %.200s", *letter, argv[*at]);
        const char *rest = letter[1] == '=' ? letter + 2 : letter + 1;
        if (p->usage->specs[found].type == FLAG_BOOL && letter[1] != '=') {
            enum flags_result result = store(p, found, "true");
            if (result != FLAGS_OK)
                return result;
            continue;
        }
        if (letter[1] != '\0')
            return store(p, found, rest);
        if (*at + 1 >= argc)
            return refuse(p, FLAGS_USAGE, "flag needs an argument: '%c' in %.200s", *letter, argv[*at]);
        return store(p, found, argv[++*at]);
    }
    return FLAGS_OK;
}

static enum flags_result check_args(struct parse *p)
{
    const struct flags_usage *usage = p->usage;
    size_t count = p->flags->arg_count;
    size_t min = (size_t)usage->args_min;
    bool more = usage->args_max >= 0 && count > (size_t)usage->args_max;
    if (count >= min && !more)
        return FLAGS_OK;
    char need[64];
    if (usage->args_max == 0)
        (void)snprintf(need, sizeof need, "accepts no arguments");
    else if (usage->args_min == usage->args_max)
        (void)snprintf(need, sizeof need, "requires %zu argument%s", min, min == 1 ? "" : "s");
    else if (count < min)
        (void)snprintf(need, sizeof need, "requires at least %zu argument%s", min, min == 1 ? "" : "s");
    else
        (void)snprintf(need, sizeof need, "requires at most %d argument%s", usage->args_max, usage->args_max == 1 ? "" : "s");
    return refuse(p, FLAGS_ARGS, "%s: '%s %s' %s", usage->program, usage->program, usage->words, need);
}

static enum flags_result parse_all(struct parse *p, int argc, char **argv)
{
    bool only_args = false;
    for (int i = 0; i < argc; i++) {
        enum flags_result result = FLAGS_OK;
        if (only_args || argv[i][0] != '-' || argv[i][1] == '\0') {
            p->flags->args[p->flags->arg_count++] = argv[i];
            only_args |= p->usage->stop_at_arg;
        } else if (strcmp(argv[i], "--") == 0) {
            only_args = true;
        } else if (argv[i][1] == '-') {
            result = parse_long(p, argc, argv, &i);
        } else {
            result = parse_letters(p, argc, argv, &i);
        }
        if (result != FLAGS_OK || p->flags->help)
            return result;
    }
    return check_args(p);
}

enum flags_result flags_parse(const struct flags_usage *usage, int argc, char **argv, struct flags *ret, struct sw_buf *err)
{
    assert(usage->spec_count <= FLAGS_MAX);
    *ret = (struct flags) { .specs = usage->specs, .spec_count = usage->spec_count };
    ret->args = sw_alloc0(((size_t)argc + 1) * sizeof *ret->args);
    struct parse p = { usage, ret, err };
    return parse_all(&p, argc, argv);
}

void flags_deinit(struct flags *flags)
{
    for (size_t i = 0; i < flags->spec_count; i++)
        free(flags->values[i].values);
    free(flags->args);
    *flags = (struct flags) { 0 };
}

/* ---- help ---- */

static const char *value_word(const struct flag *spec)
{
    if (spec->value_name != NULL)
        return spec->value_name;
    switch (spec->type) {
    case FLAG_BOOL:
        return "";
    case FLAG_STRING:
        return "string";
    case FLAG_LIST:
        return "list";
    case FLAG_INT:
        return "int";
    case FLAG_UINT:
        return "uint";
    case FLAG_UINT32:
        return "uint32";
    case FLAG_FLOAT:
        return "float";
    case FLAG_DURATION:
        return "duration";
    case FLAG_BYTES:
        return "bytes";
    case FLAG_CPUS:
        return "decimal";
    }
    return "";
}

static int compare_specs(const void *a, const void *b)
{
    return strcmp((*(const struct flag *const *)a)->name, (*(const struct flag *const *)b)->name);
}

void flags_help(const struct flags_usage *usage, struct sw_buf *out)
{
    const struct flag *sorted[FLAGS_MAX];
    size_t width = 0;
    add_usage(usage, out);
    sw_buf_addf(out, "\n\n%s\n", usage->summary);
    for (size_t i = 0; i < usage->spec_count; i++) {
        size_t len = strlen(usage->specs[i].name) + 1 + strlen(value_word(&usage->specs[i]));
        width = len > width ? len : width;
        sorted[i] = &usage->specs[i];
    }
    qsort(sorted, usage->spec_count, sizeof *sorted, compare_specs);
    sw_buf_adds(out, usage->spec_count > 0 ? "\nOptions:\n" : "");
    for (size_t i = 0; i < usage->spec_count; i++) {
        const struct flag *spec = sorted[i];
        int left = (int)(width - strlen(spec->name));
        sw_buf_addf(out, spec->letter != '\0' ? "  -%c, " : "      ", spec->letter);
        sw_buf_addf(out, "--%s %-*s  %s", spec->name, left - 1, value_word(spec), spec->help);
        if (spec->fallback != NULL)
            sw_buf_addf(out, " (default %s)", spec->fallback);
        sw_buf_adds(out, "\n");
    }
}

/* ---- asking ---- */

static size_t index_of(const struct flags *flags, const char *name)
{
    for (size_t i = 0; i < flags->spec_count; i++)
        if (strcmp(flags->specs[i].name, name) == 0)
            return i;
    return FLAGS_MAX;
}

bool flags_known(const struct flags *flags, const char *name)
{
    return index_of(flags, name) != FLAGS_MAX;
}

const struct flag_values *flags_list(const struct flags *flags, const char *name)
{
    size_t at = index_of(flags, name);
    assert(at != FLAGS_MAX);
    return &flags->values[at];
}

bool flags_typed(const struct flags *flags, const char *name)
{
    return flags_list(flags, name)->count > 0;
}

const char *flags_str(const struct flags *flags, const char *name)
{
    const struct flag_values *values = flags_list(flags, name);
    const char *fallback = flags->specs[index_of(flags, name)].fallback;
    if (values->count > 0)
        return values->values[values->count - 1];
    return fallback != NULL ? fallback : "";
}

bool flags_bool(const struct flags *flags, const char *name)
{
    bool value = false;
    (void)parse_bool(flags_str(flags, name), &value);
    return value;
}

uint64_t flags_u64(const struct flags *flags, const char *name)
{
    uint64_t value = 0;
    (void)sw_parse_u64(flags_str(flags, name), &value);
    return value;
}

int64_t flags_i64(const struct flags *flags, const char *name)
{
    const char *text = flags_str(flags, name);
    int64_t value = 0;
    switch (flags->specs[index_of(flags, name)].type) {
    case FLAG_DURATION:
        (void)sw_parse_duration(text, &value);
        break;
    case FLAG_BYTES:
        (void)sw_parse_bytes(text, &value);
        break;
    case FLAG_CPUS:
        (void)sw_parse_cpus(text, &value);
        break;
    case FLAG_BOOL:
    case FLAG_STRING:
    case FLAG_LIST:
    case FLAG_INT:
    case FLAG_UINT:
    case FLAG_UINT32:
    case FLAG_FLOAT:
        (void)sw_parse_i64(text, &value);
        break;
    }
    return value;
}

uint32_t flags_ppm(const struct flags *flags, const char *name)
{
    int64_t ppm = 0;
    (void)parse_ratio(flags_str(flags, name), &ppm);
    return (uint32_t)ppm;
}
