#include "services/swarm-cli/core/spec.h"

#include "services/swarm-cli/core/values.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- words ---- */

static int pick_word(const char *what, const char *word, const char *const *words, size_t count, int *ret, struct sw_err *err)
{
    SW_AUTO_BUF all = { 0 };
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i], word) == 0) {
            *ret = (int)i;
            return 0;
        }
        sw_buf_addf(&all, "%s%s", i > 0 ? ", " : "", words[i]);
    }
    return sw_fail(err, SW_INVALID, "invalid --%s \"%.60s\": must be one of %s", what, word, sw_buf_str(&all));
}

/* ---- groups that are made when one of their flags is typed ---- */

static bool any_typed(const struct flags *flags, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (flags_typed(flags, names[i]))
            return true;
    return false;
}

static int set_restart(const struct flags *flags, Swarm__TaskSpec *task, struct sw_err *err)
{
    static const char *const names[] = { "restart-condition", "restart-delay", "restart-max-attempts", "restart-window" };
    static const char *const words[] = { "none", "on-failure", "any" };
    if (!any_typed(flags, names, 4))
        return 0;
    if (task->restart == NULL) {
        task->restart = sw_alloc0(sizeof *task->restart);
        swarm__restart_policy__init(task->restart);
        task->restart->condition = SWARM__RESTART_CONDITION__RESTART_ANY;
        task->restart->has_delay_ns = 1;
        task->restart->delay_ns = INT64_C(5000000000);
    }
    Swarm__RestartPolicy *restart = task->restart;
    restart->has_condition = 1;
    if (flags_typed(flags, names[0])) {
        int word = 0;
        int rc = pick_word(names[0], flags_str(flags, names[0]), words, 3, &word, err);
        if (rc < 0)
            return rc;
        restart->condition = (Swarm__RestartCondition)word;
    }
    if (flags_typed(flags, names[1])) {
        restart->has_delay_ns = 1;
        restart->delay_ns = flags_i64(flags, names[1]);
    }
    if (flags_typed(flags, names[2])) {
        restart->has_max_attempts = 1;
        restart->max_attempts = flags_u64(flags, names[2]);
    }
    if (flags_typed(flags, names[3])) {
        restart->has_window_ns = 1;
        restart->window_ns = flags_i64(flags, names[3]);
    }
    if (restart->delay_ns < 0 || restart->window_ns < 0)
        return sw_fail(err, SW_INVALID, "--restart-delay and --restart-window must be at least 0");
    return 0;
}

static Swarm__UpdateConfig *config_make(void)
{
    Swarm__UpdateConfig *config = sw_alloc0(sizeof *config);
    swarm__update_config__init(config);
    config->has_parallelism = config->has_failure_action = config->has_order = 1;
    config->has_delay_ns = config->has_monitor_ns = config->has_max_failure_ppm = 1;
    config->monitor_ns = INT64_C(5000000000);
    return config;
}

static int config_words(const struct flags *flags, const char *action, const char *order, Swarm__UpdateConfig *config,
                        struct sw_err *err)
{
    static const char *const actions[] = { "pause", "continue", "rollback" };
    static const char *const orders[] = { "stop-first", "start-first" };
    int word = 0;
    if (flags_typed(flags, action)) {
        int rc = pick_word(action, flags_str(flags, action), actions, action[0] == 'r' ? 2 : 3, &word, err);
        if (rc < 0)
            return rc;
        config->has_failure_action = 1;
        config->failure_action = (Swarm__UpdateFailureAction)word;
    }
    if (flags_typed(flags, order)) {
        int rc = pick_word(order, flags_str(flags, order), orders, 2, &word, err);
        if (rc < 0)
            return rc;
        config->has_order = 1;
        config->order = (Swarm__UpdateOrder)word;
    }
    return 0;
}

/* names: parallelism, delay, monitor, max-failure-ratio, failure-action, order. */
static int set_config(const struct flags *flags, const char *const names[6], Swarm__UpdateConfig **config, struct sw_err *err)
{
    if (!any_typed(flags, names, 6))
        return 0;
    if (*config == NULL)
        *config = config_make();
    if (flags_typed(flags, names[0])) {
        (*config)->has_parallelism = 1;
        (*config)->parallelism = flags_u64(flags, names[0]);
    }
    if (flags_typed(flags, names[1])) {
        (*config)->has_delay_ns = 1;
        (*config)->delay_ns = flags_i64(flags, names[1]);
    }
    if (flags_typed(flags, names[2])) {
        (*config)->has_monitor_ns = 1;
        (*config)->monitor_ns = flags_i64(flags, names[2]);
    }
    if (flags_typed(flags, names[3])) {
        (*config)->has_max_failure_ppm = 1;
        (*config)->max_failure_ppm = flags_ppm(flags, names[3]);
    }
    if ((*config)->delay_ns < 0 || (*config)->monitor_ns < 0)
        return sw_fail(err, SW_INVALID, "--%s and --%s must be at least 0", names[1], names[2]);
    return config_words(flags, names[4], names[5], *config, err);
}

static int set_updates(const struct flags *flags, Swarm__ServiceSpec *spec, struct sw_err *err)
{
    static const char *const update[6] = { "update-parallelism",       "update-delay",          "update-monitor",
                                           "update-max-failure-ratio", "update-failure-action", "update-order" };
    static const char *const rollback[6] = { "rollback-parallelism",       "rollback-delay",          "rollback-monitor",
                                             "rollback-max-failure-ratio", "rollback-failure-action", "rollback-order" };
    int rc = set_config(flags, update, &spec->update, err);
    return rc < 0 ? rc : set_config(flags, rollback, &spec->rollback, err);
}

/* ---- resources ---- */

static Swarm__Resources *resources_of(Swarm__TaskSpec *task, bool limits)
{
    if (task->resources == NULL) {
        task->resources = sw_alloc0(sizeof *task->resources);
        swarm__resource_requirements__init(task->resources);
    }
    Swarm__Resources **which = limits ? &task->resources->limits : &task->resources->reservations;
    if (*which == NULL) {
        *which = sw_alloc0(sizeof **which);
        swarm__resources__init(*which);
    }
    return *which;
}

static int set_resources(const struct flags *flags, Swarm__TaskSpec *task, struct sw_err *err)
{
    static const char *const cpu[] = { "reserve-cpu", "limit-cpu" };
    static const char *const memory[] = { "reserve-memory", "limit-memory" };
    for (int limits = 0; limits < 2; limits++) {
        if (flags_typed(flags, cpu[limits])) {
            Swarm__Resources *resources = resources_of(task, limits);
            resources->has_nano_cpus = 1;
            resources->nano_cpus = flags_i64(flags, cpu[limits]);
        }
        if (flags_typed(flags, memory[limits])) {
            Swarm__Resources *resources = resources_of(task, limits);
            resources->has_memory_bytes = 1;
            resources->memory_bytes = flags_i64(flags, memory[limits]);
        }
    }
    if (!flags_typed(flags, "limit-pids"))
        return 0;
    task->container->has_pids_limit = 1;
    task->container->pids_limit = flags_i64(flags, "limit-pids");
    return task->container->pids_limit >= 0 ? 0 : sw_fail(err, SW_INVALID, "--limit-pids must be at least 0");
}

/* ---- container ---- */

static void set_text(const struct flags *flags, const char *name, char **field)
{
    if (!flags_typed(flags, name))
        return;
    sw_pb_set(field, flags_str(flags, name)[0] != '\0' ? flags_str(flags, name) : NULL);
}

static void set_bool(const struct flags *flags, const char *name, protobuf_c_boolean *has, protobuf_c_boolean *field)
{
    if (!flags_typed(flags, name))
        return;
    *has = 1;
    *field = flags_bool(flags, name);
}

static int set_container(const struct flags *flags, Swarm__ContainerSpec *container, struct sw_err *err)
{
    set_text(flags, "hostname", &container->hostname);
    set_text(flags, "user", &container->user);
    set_text(flags, "workdir", &container->dir);
    set_text(flags, "stop-signal", &container->stop_signal);
    set_bool(flags, "tty", &container->has_tty, &container->tty);
    set_bool(flags, "init", &container->has_init, &container->init);
    set_bool(flags, "read-only", &container->has_read_only, &container->read_only);
    if (flags_typed(flags, "oom-score-adj")) {
        int64_t score = flags_i64(flags, "oom-score-adj");
        if (score < -1000 || score > 1000)
            return sw_fail(err, SW_INVALID, "--oom-score-adj must be -1000 to 1000");
        container->has_oom_score_adj = 1;
        container->oom_score_adj = (int32_t)score;
    }
    if (flags_typed(flags, "stop-grace-period")) {
        container->has_stop_grace_ns = 1;
        container->stop_grace_ns = flags_i64(flags, "stop-grace-period");
        if (container->stop_grace_ns < 0)
            return sw_fail(err, SW_INVALID, "--stop-grace-period must be at least 0");
    }
    if (!flags_typed(flags, "entrypoint"))
        return 0;
    values_strings_clear(&container->command, &container->n_command);
    return values_words(flags_str(flags, "entrypoint"), &container->command, &container->n_command, err);
}

/* ---- mode ---- */

static int set_mode(const struct flags *flags, Swarm__ServiceSpec *spec, struct sw_err *err)
{
    bool global = spec->mode->kind == SWARM__SERVICE_MODE_KIND__MODE_GLOBAL;
    if (flags_typed(flags, "replicas")) {
        if (global)
            return sw_fail(err, SW_INVALID, "replicas can only be used with replicated or replicated-job mode");
        spec->mode->has_replicas = 1;
        spec->mode->replicas = flags_u64(flags, "replicas");
    }
    if (!flags_typed(flags, "replicas-max-per-node"))
        return 0;
    if (global)
        return sw_fail(err, SW_INVALID, "replicas-max-per-node can only be used with replicated or replicated-job mode");
    if (spec->task->placement == NULL) {
        spec->task->placement = sw_alloc0(sizeof *spec->task->placement);
        swarm__placement__init(spec->task->placement);
    }
    spec->task->placement->has_max_replicas = 1;
    spec->task->placement->max_replicas = flags_u64(flags, "replicas-max-per-node");
    return 0;
}

int spec_set_common(const struct flags *flags, Swarm__ServiceSpec *spec, struct sw_err *err)
{
    int rc = set_mode(flags, spec, err);
    if (rc == 0)
        rc = set_container(flags, spec->task->container, err);
    if (rc == 0)
        rc = set_resources(flags, spec->task, err);
    if (rc == 0)
        rc = set_restart(flags, spec->task, err);
    if (rc == 0)
        rc = set_updates(flags, spec, err);
    return rc;
}

/* ---- environment ---- */

static const char *environ_get(const char *const *environ, const char *name, size_t len)
{
    for (; environ != NULL && *environ != NULL; environ++)
        if (strncmp(*environ, name, len) == 0 && (*environ)[len] == '=')
            return *environ + len + 1;
    return NULL;
}

/* The last of a name stays, at its own place. Takes text over. */
static void env_put(char ***list, size_t *count, char *text)
{
    size_t len = strcspn(text, "=");
    for (size_t i = 0; i < *count; i++)
        if (strcspn((*list)[i], "=") == len && strncmp((*list)[i], text, len) == 0) {
            free(values_remove(*list, count, i));
            break;
        }
    values_push(list, count, text);
}

/* Lines "K=V", "K" (taken from the client, else dropped), "# comment". */
static int env_file(const struct spec_input *input, const char *text, char ***list, size_t *count, struct sw_err *err)
{
    for (const char *line = text; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        const char *next = line[len] == '\n' ? line + len + 1 : line + len;
        while (len > 0 && (*line == ' ' || *line == '\t')) {
            line++;
            len--;
        }
        if (len > 0 && line[len - 1] == '\r')
            len--;
        SW_AUTO(sw_free) char *copy = sw_strf("%.*s", (int)len, line);
        line = next;
        if (copy[0] == '\0' || copy[0] == '#')
            continue;
        size_t name = strcspn(copy, "=");
        if (name == 0 || strcspn(copy, " \t") < name)
            return sw_fail(err, SW_INVALID, "poorly formatted environment: variable '%.100s' contains whitespaces or no name",
                           copy);
        if (copy[name] == '=') {
            env_put(list, count, SW_TAKE(copy));
            continue;
        }
        const char *value = environ_get(input->environ, copy, name);
        if (value != NULL)
            env_put(list, count, sw_strf("%s=%s", copy, value));
    }
    return 0;
}

int spec_env(const struct spec_input *input, const struct flag_values *typed, char ***list, size_t *count, struct sw_err *err)
{
    for (size_t i = 0; i < input->env_file_count; i++) {
        int rc = env_file(input, input->env_files[i], list, count, err);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < typed->count; i++) {
        const char *text = typed->values[i];
        const char *value = strchr(text, '=') == NULL ? environ_get(input->environ, text, strlen(text)) : NULL;
        env_put(list, count, value != NULL ? sw_strf("%s=%s", text, value) : sw_strdup(text));
    }
    return 0;
}

/* ---- lists of a new service ---- */

static int add_pairs(const struct flags *flags, const char *name, Swarm__Pair ***list, size_t *count, struct sw_err *err)
{
    const struct flag_values *typed = flags_list(flags, name);
    for (size_t i = 0; i < typed->count; i++) {
        SW_AUTO(sw_pb_free) Swarm__Pair *pair = NULL;
        int rc = values_pair(typed->values[i], &pair, err);
        if (rc < 0)
            return rc;
        values_pair_set(list, count, pair->key, pair->value);
    }
    return 0;
}

static int add_placement(const struct flags *flags, Swarm__TaskSpec *task, struct sw_err *err)
{
    const struct flag_values *constraints = flags_list(flags, "constraint");
    const struct flag_values *preferences = flags_list(flags, "placement-pref");
    if (constraints->count + preferences->count == 0)
        return 0;
    if (task->placement == NULL) {
        task->placement = sw_alloc0(sizeof *task->placement);
        swarm__placement__init(task->placement);
    }
    Swarm__Placement *placement = task->placement;
    for (size_t i = 0; i < constraints->count; i++)
        values_push(&placement->constraints, &placement->n_constraints, sw_strdup(constraints->values[i]));
    for (size_t i = 0; i < preferences->count; i++) {
        const char *label = NULL;
        int rc = values_preference(preferences->values[i], &label, err);
        if (rc < 0)
            return rc;
        values_push(&placement->preferences, &placement->n_preferences, sw_strdup(label));
    }
    return 0;
}

static int add_mounts(const struct flags *flags, Swarm__ContainerSpec *container, struct sw_err *err)
{
    const struct flag_values *typed = flags_list(flags, "mount");
    for (size_t i = 0; i < typed->count; i++) {
        Swarm__Mount *mount = NULL;
        int rc = values_mount(typed->values[i], &mount, err);
        if (rc < 0)
            return rc;
        values_push(&container->mounts, &container->n_mounts, mount);
    }
    return 0;
}

static int add_ports(const struct flags *flags, Swarm__ServiceSpec *spec, struct sw_err *err)
{
    const struct flag_values *typed = flags_list(flags, "publish");
    if (typed->count == 0)
        return 0;
    spec->endpoint = sw_alloc0(sizeof *spec->endpoint);
    swarm__endpoint_spec__init(spec->endpoint);
    for (size_t i = 0; i < typed->count; i++) {
        int rc = values_publish(typed->values[i], &spec->endpoint->ports, &spec->endpoint->n_ports, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_caps(const struct flag_values *typed, char ***list, size_t *count)
{
    for (size_t i = 0; i < typed->count; i++) {
        SW_AUTO(sw_free) char *cap = values_capability(typed->values[i]);
        if (strcmp(cap, "ALL") == 0)
            values_strings_clear(list, count);
        if (!values_has(*list, *count, cap) && !values_has(*list, *count, "ALL"))
            values_push(list, count, SW_TAKE(cap));
    }
    if (*count > 1)
        qsort(*list, *count, sizeof **list, compare_text);
}

static int add_limits(const struct flags *flags, Swarm__ContainerSpec *container, struct sw_err *err)
{
    const struct flag_values *ulimits = flags_list(flags, "ulimit");
    for (size_t i = 0; i < ulimits->count; i++) {
        Swarm__Ulimit *ulimit = NULL;
        int rc = values_ulimit(ulimits->values[i], &ulimit, err);
        if (rc < 0)
            return rc;
        values_push(&container->ulimits, &container->n_ulimits, ulimit);
    }
    add_caps(flags_list(flags, "cap-add"), &container->cap_add, &container->n_cap_add);
    add_caps(flags_list(flags, "cap-drop"), &container->cap_drop, &container->n_cap_drop);
    return add_pairs(flags, "sysctl", &container->sysctls, &container->n_sysctls, err);
}

static int add_all(const struct spec_input *input, Swarm__ServiceSpec *spec, struct sw_err *err)
{
    const struct flags *flags = input->flags;
    Swarm__ContainerSpec *container = spec->task->container;
    int rc = add_pairs(flags, "label", &spec->labels, &spec->n_labels, err);
    if (rc == 0)
        rc = add_pairs(flags, "container-label", &container->labels, &container->n_labels, err);
    if (rc == 0)
        rc = add_placement(flags, spec->task, err);
    if (rc == 0)
        rc = add_mounts(flags, container, err);
    if (rc == 0)
        rc = add_ports(flags, spec, err);
    if (rc == 0)
        rc = add_limits(flags, container, err);
    if (rc == 0)
        rc = spec_add_names(flags, container, err);
    if (rc == 0)
        rc = spec_env(input, flags_list(flags, "env"), &container->env, &container->n_env, err);
    return rc;
}

static int mode_make(const struct flags *flags, Swarm__ServiceSpec *spec, struct sw_err *err)
{
    const char *word = flags_str(flags, "mode");
    spec->mode = sw_alloc0(sizeof *spec->mode);
    swarm__service_mode__init(spec->mode);
    if (strcmp(word, "global") == 0) {
        spec->mode->kind = SWARM__SERVICE_MODE_KIND__MODE_GLOBAL;
        return 0;
    }
    if (strcmp(word, "replicated-job") == 0 || strcmp(word, "global-job") == 0)
        return sw_fail(err, SW_UNSUPPORTED, "mode %s is not supported by this version: use replicated or global", word);
    if (strcmp(word, "replicated") != 0)
        return sw_fail(err, SW_INVALID, "Unknown mode: %.60s, only replicated and global supported", word);
    spec->mode->has_replicas = 1;
    spec->mode->replicas = 1;
    return 0;
}

int spec_create(const struct spec_input *input, Swarm__ServiceSpec **ret, struct sw_err *err)
{
    const struct flags *flags = input->flags;
    assert(flags->arg_count >= 1);
    SW_AUTO(sw_pb_free) Swarm__ServiceSpec *spec = sw_alloc0(sizeof *spec);
    swarm__service_spec__init(spec);
    spec->name = sw_strdup(flags_typed(flags, "name") ? flags_str(flags, "name") : input->name);
    spec->task = sw_alloc0(sizeof *spec->task);
    swarm__task_spec__init(spec->task);
    spec->task->container = sw_alloc0(sizeof *spec->task->container);
    swarm__container_spec__init(spec->task->container);
    Swarm__ContainerSpec *container = spec->task->container;
    int rc = values_image(flags->args[0], &container->image, err);
    for (size_t i = 1; i < flags->arg_count; i++)
        values_push(&container->args, &container->n_args, sw_strdup(flags->args[i]));
    if (rc == 0)
        rc = mode_make(flags, spec, err);
    if (rc == 0)
        rc = spec_set_common(flags, spec, err);
    if (rc == 0)
        rc = add_all(input, spec, err);
    if (rc == 0)
        *ret = SW_TAKE(spec);
    return rc;
}

int spec_scale(Swarm__ServiceSpec *spec, uint64_t replicas, struct sw_err *err)
{
    if (spec->mode->kind != SWARM__SERVICE_MODE_KIND__MODE_REPLICATED)
        return sw_fail(err, SW_INVALID, "scale can only be used with replicated or replicated-job mode");
    spec->mode->has_replicas = 1;
    spec->mode->replicas = replicas;
    return 0;
}
