/* flags - command lines: one table a command, from which parsing, errors and help text are made. Source: cli-surface G1 to G8.
 *
 * Syntax   --flag value, --flag=value, -f value, -fvalue, grouped booleans -dq, -- ends flags. A flag not typed is not "typed":
 *          an update changes nothing by it.
 * Errors   flags_parse() returns FLAGS_USAGE (exit 125: unknown flag, or a value that its type or check refuses) or FLAGS_ARGS
 *          (exit 1: number of arguments), the whole text to print in *err. It never prints.
 * Memory   values point into argv; deinit frees what the struct holds.
 * Limits   FLAGS_MAX flags a command; FLAGS_VALUES_MAX values a flag.
 */
#ifndef CLI_FLAGS_H
#define CLI_FLAGS_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define FLAGS_MAX 128
#define FLAGS_VALUES_MAX 4096

#define EXIT_USAGE 125
#define EXIT_FORMAT 64

enum flag_type {
    FLAG_BOOL,
    FLAG_STRING,
    FLAG_LIST, /* repeatable, commas kept */
    FLAG_INT,
    FLAG_UINT,
    FLAG_UINT32,
    FLAG_FLOAT, /* 0.25; kept as text, read by flags_ppm() */
    FLAG_DURATION,
    FLAG_BYTES,
    FLAG_CPUS,
};

/* Says why a value is refused; nothing is kept (the spec builder parses again). */
typedef int flag_check_fn(const char *value, struct sw_err *err);

struct flag {
    const char *name;
    char letter; /* or 0 */
    enum flag_type type;
    const char *help;
    const char *value_name; /* NULL = by type */
    const char *fallback;   /* shown as (default ...); NULL = none */
    flag_check_fn *check;   /* or NULL */
};

struct flag_values {
    const char **values;
    size_t count;
};

struct flags {
    const struct flag *specs;
    size_t spec_count;
    struct flag_values values[FLAGS_MAX];
    char **args;
    size_t arg_count;
    bool help;
};

/* What a command takes; words is "service create", aliases "service list" or NULL. */
struct flags_usage {
    const char *program; /* "swarm-cli" */
    const char *words;
    const char *args; /* "IMAGE [COMMAND] [ARG...]" */
    int args_min;
    int args_max;     /* -1 = any number */
    bool stop_at_arg; /* everything behind the first argument belongs to it */
    const char *summary;
    const struct flag *specs;
    size_t spec_count;
};

enum flags_result { FLAGS_OK = 0, FLAGS_ARGS = 1, FLAGS_USAGE = 2 };
enum flags_result flags_parse(const struct flags_usage *usage, int argc, char **argv, struct flags *ret, struct sw_buf *err);
void flags_deinit(struct flags *flags);
void flags_help(const struct flags_usage *usage, struct sw_buf *out);

/* Asking for a name that is not in the table is a bug (asserts). */
bool flags_typed(const struct flags *flags, const char *name);
bool flags_known(const struct flags *flags, const char *name);
bool flags_bool(const struct flags *flags, const char *name);       /* false when not typed */
const char *flags_str(const struct flags *flags, const char *name); /* the last value; the fallback, else "" */
const struct flag_values *flags_list(const struct flags *flags, const char *name);
uint64_t flags_u64(const struct flags *flags, const char *name);
int64_t flags_i64(const struct flags *flags, const char *name);  /* ints, durations (ns), bytes, nano-CPUs */
uint32_t flags_ppm(const struct flags *flags, const char *name); /* a ratio of 0 to 1 in millionths */

#endif
