/* Options: one table gives flags, configuration file, bounds and --help, so they cannot drift apart. */
#include "common/base/units.h"
#include "common/service/svc_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX (256u << 10)
#define LIST_MAX 256
#define COUNT(a) (sizeof(a) / sizeof *(a))

enum { OWN_OPTIONS = 6 };

static void own_options(struct svc *svc, struct svc_option own[OWN_OPTIONS])
{
    own[0] = (struct svc_option) { "state-dir", SVC_STRING, "/var/lib/swarm", &svc->state_dir, 0, 0, "where state is kept" };
    own[1] =
        (struct svc_option) { "run-dir", SVC_STRING, "/run/swarm", &svc->run_dir, 0, 0, "where the local sockets are (0700)" };
    own[2] =
        (struct svc_option) { "config", SVC_STRING, NULL, &svc->config_file, 0, 0, "file of 'name = value' lines; flags win" };
    own[3] = (struct svc_option) { "log-level", SVC_STRING, "info", &svc->log_level, 0, 0, "error, warn, info or debug" };
    own[4] = (struct svc_option) { "metrics-address",
                                   SVC_STRING,
                                   svc->program->metrics_address,
                                   &svc->metrics_address,
                                   0,
                                   0,
                                   "IP:PORT of /metrics and /healthz; 'off' for none" };
    own[5] = (struct svc_option) { "ready-fd", SVC_UINT, "0", &svc->ready_fd, 0, 1023, "write a line here when ready (s6)" };
}

static const struct svc_option *find(struct svc *svc, const struct svc_option *own, const char *name, size_t len)
{
    for (size_t i = 0; i < OWN_OPTIONS; i++)
        if (strlen(own[i].name) == len && strncmp(own[i].name, name, len) == 0)
            return &own[i];
    for (size_t i = 0; i < svc->program->option_count; i++) {
        const struct svc_option *option = &svc->program->options[i];
        if (strlen(option->name) == len && strncmp(option->name, name, len) == 0)
            return option;
    }
    return NULL;
}

static int set_number(const struct svc_option *option, uint64_t value, const char *text, struct sw_err *err)
{
    if ((option->min != 0 || option->max != 0) && (value < option->min || value > option->max))
        return sw_fail(err, SW_INVALID, "--%s: '%s' is not between %llu and %llu%s", option->name, text,
                       (unsigned long long)option->min, (unsigned long long)option->max,
                       option->kind == SVC_DURATION_MS ? " ms" : "");
    *(uint64_t *)option->value = value;
    return 0;
}

static int set_value(const struct svc_option *option, const char *text, struct sw_err *err)
{
    uint64_t number = 0;
    int64_t ns = 0;
    switch (option->kind) {
    case SVC_STRING:
        free(*(char **)option->value);
        *(char **)option->value = sw_strdup(text);
        return 0;
    case SVC_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return sw_fail(err, SW_INVALID, "--%s: '%s' is not true or false", option->name, text);
        *(bool *)option->value = strcmp(text, "true") == 0;
        return 0;
    case SVC_UINT:
        if (!sw_parse_u64(text, &number))
            return sw_fail(err, SW_INVALID, "--%s: '%s' is not a number", option->name, text);
        return set_number(option, number, text, err);
    case SVC_DURATION_MS:
        if (!sw_parse_duration(text, &ns) || ns < 0)
            return sw_fail(err, SW_INVALID, "--%s: '%s' is not a duration such as 500ms or 2s", option->name, text);
        return set_number(option, (uint64_t)(ns / SW_NS_PER_MS), text, err);
    case SVC_LIST: {
        struct svc_list *list = option->value;
        if (list->count == LIST_MAX)
            return sw_fail(err, SW_LIMIT, "--%s: given more than %d times", option->name, LIST_MAX);
        list->items = sw_realloc_array(list->items, list->count + 1, sizeof *list->items);
        list->items[list->count++] = sw_strdup(text);
        return 0;
    }
    }
    return 0;
}

static int set_fallbacks(const struct svc_option *options, size_t count, struct sw_err *err)
{
    for (size_t i = 0; i < count; i++)
        if (options[i].fallback != NULL) {
            int rc = set_value(&options[i], options[i].fallback, err);
            if (rc < 0)
                return rc;
        }
    return 0;
}

static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t len = strlen(text);
    while (len > 0 && strchr(" \t\r", text[len - 1]) != NULL)
        text[--len] = '\0';
    return text;
}

static int read_file(struct svc *svc, const struct svc_option *own, const char *path, struct sw_err *err)
{
    SW_AUTO(sw_free) char *data = NULL;
    size_t len = 0;
    int rc = svc_file_read(path, CONFIG_MAX, &data, &len, err);
    if (rc < 0)
        return rc;
    char *save = NULL;
    int number = 0;
    for (char *line = strtok_r(data, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        number++;
        line = trim(line);
        if (*line == '\0' || *line == '#')
            continue;
        char *equals = strchr(line, '=');
        if (equals == NULL)
            return sw_fail(err, SW_INVALID, "%s:%d: expected 'name = value'", path, number);
        *equals = '\0';
        char *name = trim(line);
        const struct svc_option *option = find(svc, own, name, strlen(name));
        if (option == NULL)
            return sw_fail(err, SW_INVALID, "%s:%d: unknown option '%s'", path, number, name);
        if (set_value(option, trim(equals + 1), err) < 0)
            return sw_wrap(err, "%s:%d", path, number);
    }
    return 0;
}

static int read_flag(struct svc *svc, const struct svc_option *own, int argc, char **argv, int *i, struct sw_err *err)
{
    const char *arg = argv[*i];
    if (strncmp(arg, "--", 2) != 0)
        return sw_fail(err, SW_INVALID, "unexpected argument '%s'", arg);
    const char *name = arg + 2;
    size_t len = strcspn(name, "=");
    const struct svc_option *option = find(svc, own, name, len);
    if (option == NULL)
        return sw_fail(err, SW_INVALID, "unknown flag: --%.*s", (int)len, name);
    if (name[len] == '=')
        return set_value(option, name + len + 1, err);
    if (option->kind == SVC_BOOL)
        return set_value(option, "true", err);
    if (*i + 1 >= argc)
        return sw_fail(err, SW_INVALID, "flag needs an argument: --%s", option->name);
    return set_value(option, argv[++*i], err);
}

static void help_row(const struct svc_option *option)
{
    static const char *const kinds[] = { "string", "", "number", "duration", "list" };
    char left[64];
    (void)snprintf(left, sizeof left, "--%s %s", option->name, kinds[option->kind]);
    printf("  %-34s %s%s%s%s\n", left, option->help, option->fallback != NULL ? " (default " : "",
           option->fallback != NULL ? option->fallback : "", option->fallback != NULL ? ")" : "");
}

static int print_help(struct svc *svc, const struct svc_option *own)
{
    printf("Usage:  %s [OPTIONS]\n\n%s\n\nOptions:\n", svc->program->name, svc->program->summary);
    for (size_t i = 0; i < svc->program->option_count; i++)
        help_row(&svc->program->options[i]);
    for (size_t i = 0; i < OWN_OPTIONS; i++)
        help_row(&own[i]);
    printf("  %-34s %s\n  %-34s %s\n", "--help", "this text", "--version", "version, commit and date of the build");
    return 1;
}

/* --config is looked for first: the file lies below the flags. */
static const char *config_of(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0)
            return argv[i] + 9;
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            return argv[i + 1];
    }
    return NULL;
}

int svc_options_parse(struct svc *svc, int argc, char **argv, struct sw_err *err)
{
    struct svc_option own[OWN_OPTIONS];
    own_options(svc, own);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return print_help(svc, own);
        if (strcmp(argv[i], "--version") == 0)
            return printf("%s %s, commit %s, built %s\n", svc->program->name, svc_version(), svc_commit(), svc_built());
    }
    const char *config = config_of(argc, argv);
    int rc = set_fallbacks(own, OWN_OPTIONS, err);
    if (rc == 0)
        rc = set_fallbacks(svc->program->options, svc->program->option_count, err);
    if (rc == 0 && config != NULL)
        rc = read_file(svc, own, config, err);
    for (int i = 1; rc == 0 && i < argc; i++)
        rc = read_flag(svc, own, argc, argv, &i, err);
    if (rc == 0 && !svc_log_level_set(svc->log_level))
        rc = sw_fail(err, SW_INVALID, "--log-level: '%s' is not error, warn, info or debug", svc->log_level);
    return rc;
}

static void free_option(const struct svc_option *option)
{
    if (option->kind == SVC_STRING) {
        free(*(char **)option->value);
        *(char **)option->value = NULL;
    }
    if (option->kind == SVC_LIST) {
        struct svc_list *list = option->value;
        for (size_t i = 0; i < list->count; i++)
            free(list->items[i]);
        free(list->items);
        *list = (struct svc_list) { 0 };
    }
}

void svc_options_free(struct svc *svc)
{
    struct svc_option own[OWN_OPTIONS];
    own_options(svc, own);
    for (size_t i = 0; i < OWN_OPTIONS; i++)
        free_option(&own[i]);
    for (size_t i = 0; i < svc->program->option_count; i++)
        free_option(&svc->program->options[i]);
}
