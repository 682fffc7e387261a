#include "services/swarm-cli/core/spec.h"

#include "services/swarm-cli/core/values.h"

#include <stdlib.h>
#include <string.h>

/* Everywhere: what is removed goes first, then what is added comes (SU1). */

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_texts(char **list, size_t count)
{
    if (count > 1)
        qsort(list, count, sizeof *list, compare_text);
}

static void remove_text(char **list, size_t *count, const char *text)
{
    for (size_t i = *count; i-- > 0;)
        if (strcmp(list[i], text) == 0)
            free(values_remove(list, count, i));
}

/* ---- pairs: labels, container labels, sysctls ---- */

static int change_pairs(const struct flags *flags, const char *add, const char *rm, Swarm__Pair ***list, size_t *count,
                        struct sw_err *err)
{
    const struct flag_values *gone = flags_list(flags, rm);
    const struct flag_values *come = flags_list(flags, add);
    for (size_t i = 0; i < gone->count; i++)
        (void)values_pair_unset(list, count, gone->values[i]);
    for (size_t i = 0; i < come->count; i++) {
        SW_AUTO(sw_pb_free) Swarm__Pair *pair = NULL;
        int rc = values_pair(come->values[i], &pair, err);
        if (rc < 0)
            return rc;
        values_pair_set(list, count, pair->key, pair->value);
    }
    return 0;
}

/* ---- environment: by name, sorted only if it changed ---- */

static int change_env(const struct spec_input *input, Swarm__ContainerSpec *container, struct sw_err *err)
{
    const struct flag_values *gone = flags_list(input->flags, "env-rm");
    const struct flag_values *come = flags_list(input->flags, "env-add");
    if (gone->count + come->count == 0)
        return 0;
    for (size_t i = 0; i < gone->count; i++)
        for (size_t j = container->n_env; j-- > 0;) {
            size_t len = strcspn(container->env[j], "=");
            if (strlen(gone->values[i]) == len && strncmp(container->env[j], gone->values[i], len) == 0)
                free(values_remove(container->env, &container->n_env, j));
        }
    int rc = spec_env(input, come, &container->env, &container->n_env, err);
    sort_texts(container->env, container->n_env);
    return rc;
}

/* ---- placement ---- */

static void change_constraints(const struct flags *flags, Swarm__Placement *placement)
{
    const struct flag_values *gone = flags_list(flags, "constraint-rm");
    const struct flag_values *come = flags_list(flags, "constraint-add");
    for (size_t i = 0; i < gone->count; i++)
        remove_text(placement->constraints, &placement->n_constraints, gone->values[i]);
    for (size_t i = 0; i < come->count; i++)
        if (!values_has(placement->constraints, placement->n_constraints, come->values[i]))
            values_push(&placement->constraints, &placement->n_constraints, sw_strdup(come->values[i]));
    if (gone->count + come->count > 0)
        sort_texts(placement->constraints, placement->n_constraints);
}

static int change_preferences(const struct flags *flags, Swarm__Placement *placement, struct sw_err *err)
{
    const struct flag_values *gone = flags_list(flags, "placement-pref-rm");
    const struct flag_values *come = flags_list(flags, "placement-pref-add");
    const char *label = NULL;
    for (size_t i = 0; i < gone->count; i++) {
        if (values_preference(gone->values[i], &label, err) < 0)
            return -SW_INVALID;
        remove_text(placement->preferences, &placement->n_preferences, label);
    }
    for (size_t i = 0; i < come->count; i++) {
        if (values_preference(come->values[i], &label, err) < 0)
            return -SW_INVALID;
        if (!values_has(placement->preferences, placement->n_preferences, label))
            values_push(&placement->preferences, &placement->n_preferences, sw_strdup(label));
    }
    return 0;
}

static int change_placement(const struct flags *flags, Swarm__TaskSpec *task, struct sw_err *err)
{
    if (!flags_typed(flags, "constraint-add") && !flags_typed(flags, "constraint-rm") &&
        !flags_typed(flags, "placement-pref-add") && !flags_typed(flags, "placement-pref-rm"))
        return 0;
    if (task->placement == NULL) {
        task->placement = sw_alloc0(sizeof *task->placement);
        swarm__placement__init(task->placement);
    }
    change_constraints(flags, task->placement);
    return change_preferences(flags, task->placement, err);
}

/* ---- mounts: by target ---- */

static void remove_mount(Swarm__ContainerSpec *container, const char *target)
{
    for (size_t i = container->n_mounts; i-- > 0;)
        if (strcmp(container->mounts[i]->target, target) == 0)
            sw_pb_free(values_remove(container->mounts, &container->n_mounts, i));
}

static int change_mounts(const struct flags *flags, Swarm__ContainerSpec *container, struct sw_err *err)
{
    const struct flag_values *gone = flags_list(flags, "mount-rm");
    const struct flag_values *come = flags_list(flags, "mount-add");
    for (size_t i = 0; i < gone->count; i++)
        remove_mount(container, gone->values[i]);
    for (size_t i = 0; i < come->count; i++) {
        Swarm__Mount *mount = NULL;
        int rc = values_mount(come->values[i], &mount, err);
        if (rc < 0)
            return rc;
        remove_mount(container, mount->target);
        values_push(&container->mounts, &container->n_mounts, mount);
    }
    for (size_t i = 0; come->count > 1 && i < come->count; i++)
        for (size_t j = 0; j < i; j++) {
            SW_AUTO(sw_pb_free) Swarm__Mount *a = NULL;
            SW_AUTO(sw_pb_free) Swarm__Mount *b = NULL;
            if (values_mount(come->values[i], &a, err) == 0 && values_mount(come->values[j], &b, err) == 0 &&
                strcmp(a->target, b->target) == 0)
                return sw_fail(err, SW_INVALID, "duplicate mount target");
        }
    return 0;
}

/* ---- ports ---- */

static bool port_same(const Swarm__PortConfig *a, const Swarm__PortConfig *b)
{
    return a->target_port == b->target_port && a->protocol == b->protocol && a->publish_mode == b->publish_mode;
}

static void remove_port(Swarm__EndpointSpec *endpoint, const Swarm__PortConfig *like, bool published)
{
    for (size_t i = endpoint->n_ports; i-- > 0;)
        if (port_same(endpoint->ports[i], like) && (!published || endpoint->ports[i]->published_port == like->published_port))
            sw_pb_free(values_remove(endpoint->ports, &endpoint->n_ports, i));
}

/* -rm names the container port; with a published port too, only that one goes. */
static int change_ports_list(Swarm__EndpointSpec *endpoint, const struct flag_values *typed, bool add, struct sw_err *err)
{
    for (size_t i = 0; i < typed->count; i++) {
        Swarm__EndpointSpec made = SWARM__ENDPOINT_SPEC__INIT;
        int rc = values_publish(typed->values[i], &made.ports, &made.n_ports, err);
        for (size_t j = 0; j < made.n_ports; j++) {
            remove_port(endpoint, made.ports[j], add || made.ports[j]->published_port != 0);
            if (add)
                values_push(&endpoint->ports, &endpoint->n_ports, made.ports[j]);
            else
                sw_pb_free(made.ports[j]);
        }
        free(made.ports);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int change_ports(const struct flags *flags, Swarm__ServiceSpec *spec, struct sw_err *err)
{
    const struct flag_values *gone = flags_list(flags, "publish-rm");
    const struct flag_values *come = flags_list(flags, "publish-add");
    if (gone->count + come->count == 0)
        return 0;
    if (spec->endpoint == NULL) {
        spec->endpoint = sw_alloc0(sizeof *spec->endpoint);
        swarm__endpoint_spec__init(spec->endpoint);
    }
    int rc = change_ports_list(spec->endpoint, gone, false, err);
    return rc < 0 ? rc : change_ports_list(spec->endpoint, come, true, err);
}

/* ---- capabilities, ulimits ---- */

static void change_caps(const struct flag_values *typed, char ***into, size_t *into_count, char ***other, size_t *other_count)
{
    for (size_t i = 0; i < typed->count; i++) {
        SW_AUTO(sw_free) char *cap = values_capability(typed->values[i]);
        if (strcmp(cap, "CAP_RESET") == 0) {
            values_strings_clear(into, into_count);
            values_strings_clear(other, other_count);
        } else if (values_has(*other, *other_count, cap)) {
            remove_text(*other, other_count, cap);
        } else if (!values_has(*into, *into_count, cap)) {
            values_push(into, into_count, SW_TAKE(cap));
        }
    }
    if (typed->count > 0)
        sort_texts(*into, *into_count);
}

static void remove_ulimit(Swarm__ContainerSpec *container, const char *name)
{
    for (size_t i = container->n_ulimits; i-- > 0;)
        if (strcmp(container->ulimits[i]->name, name) == 0)
            sw_pb_free(values_remove(container->ulimits, &container->n_ulimits, i));
}

static int change_limits(const struct flags *flags, Swarm__ContainerSpec *container, struct sw_err *err)
{
    const struct flag_values *gone = flags_list(flags, "ulimit-rm");
    const struct flag_values *come = flags_list(flags, "ulimit-add");
    change_caps(flags_list(flags, "cap-add"), &container->cap_add, &container->n_cap_add, &container->cap_drop,
                &container->n_cap_drop);
    change_caps(flags_list(flags, "cap-drop"), &container->cap_drop, &container->n_cap_drop, &container->cap_add,
                &container->n_cap_add);
    for (size_t i = 0; i < gone->count; i++)
        remove_ulimit(container, gone->values[i]);
    for (size_t i = 0; i < come->count; i++) {
        Swarm__Ulimit *ulimit = NULL;
        int rc = values_ulimit(come->values[i], &ulimit, err);
        if (rc < 0)
            return rc;
        remove_ulimit(container, ulimit->name);
        values_push(&container->ulimits, &container->n_ulimits, ulimit);
    }
    return 0;
}

/* ---- all of it ---- */

static int change_words(const struct flags *flags, Swarm__TaskSpec *task, struct sw_err *err)
{
    Swarm__ContainerSpec *container = task->container;
    if (flags_typed(flags, "image")) {
        SW_AUTO(sw_free) char *image = NULL;
        int rc = values_image(flags_str(flags, "image"), &image, err);
        if (rc < 0)
            return rc;
        sw_pb_set(&container->image, image);
    }
    if (flags_bool(flags, "force")) {
        task->has_force_update = 1;
        task->force_update++;
    }
    if (!flags_typed(flags, "args"))
        return 0;
    values_strings_clear(&container->args, &container->n_args);
    return values_words(flags_str(flags, "args"), &container->args, &container->n_args, err);
}

int spec_update(const struct spec_input *input, Swarm__ServiceSpec *spec, struct sw_err *err)
{
    const struct flags *flags = input->flags;
    Swarm__ContainerSpec *container = spec->task->container;
    if (flags_typed(flags, "replicas") && spec->mode->kind == SWARM__SERVICE_MODE_KIND__MODE_GLOBAL)
        return sw_fail(err, SW_INVALID, "replicas can only be used with replicated mode");
    int rc = spec_set_common(flags, spec, err);
    if (rc == 0)
        rc = change_words(flags, spec->task, err);
    if (rc == 0)
        rc = change_pairs(flags, "label-add", "label-rm", &spec->labels, &spec->n_labels, err);
    if (rc == 0)
        rc = change_pairs(flags, "container-label-add", "container-label-rm", &container->labels, &container->n_labels, err);
    if (rc == 0)
        rc = change_pairs(flags, "sysctl-add", "sysctl-rm", &container->sysctls, &container->n_sysctls, err);
    if (rc == 0)
        rc = change_env(input, container, err);
    if (rc == 0)
        rc = spec_change_names(flags, container, err);
    if (rc == 0)
        rc = change_placement(flags, spec->task, err);
    if (rc == 0)
        rc = change_mounts(flags, container, err);
    if (rc == 0)
        rc = change_ports(flags, spec, err);
    return rc == 0 ? change_limits(flags, container, err) : rc;
}

int spec_rollback_check(const struct flags *flags, struct sw_err *err)
{
    static const char *const fine[] = { "rollback", "detach", "quiet" };
    for (size_t i = 0; i < flags->spec_count; i++) {
        bool other = flags->values[i].count > 0;
        for (size_t j = 0; j < 3; j++)
            other = other && strcmp(flags->specs[i].name, fine[j]) != 0;
        if (other)
            return sw_fail(err, SW_INVALID, "other flags may not be combined with --rollback");
    }
    return 0;
}
