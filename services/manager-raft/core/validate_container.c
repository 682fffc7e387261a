#include "services/manager-raft/core/validate.h"

#include "common/template/template.h"
#include "services/manager-raft/core/control.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#define IMAGE_MAX 1024
#define MS INT64_C(1000000)

/* ---- image names ---- */

static bool all_of(const char *text, size_t len, const char *also)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && strchr(also, text[i]) == NULL)
            return false;
    return len > 0;
}

/* A path component: lower case, digits, and separators inside. */
static bool component_valid(const char *text, size_t len)
{
    if (len == 0 || !isalnum((unsigned char)text[0]) || !isalnum((unsigned char)text[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (isupper((unsigned char)text[i]) || (!isalnum((unsigned char)text[i]) && strchr("._-", text[i]) == NULL))
            return false;
    return true;
}

/* Everything before ':tag' and '@digest'. The first component may be a registry: it then has a dot, a port or is localhost. */
static bool path_valid(const char *text, size_t len)
{
    const char *slash = memchr(text, '/', len);
    size_t first = slash != NULL ? (size_t)(slash - text) : 0;
    bool registry = slash != NULL && (memchr(text, '.', first) != NULL || memchr(text, ':', first) != NULL ||
                                      strncmp(text, "localhost/", 10) == 0);
    if (registry) {
        if (!all_of(text, first, ".-:[]"))
            return false;
        text += first + 1;
        len -= first + 1;
    }
    for (;;) {
        slash = memchr(text, '/', len);
        size_t part = slash != NULL ? (size_t)(slash - text) : len;
        if (!component_valid(text, part))
            return false;
        if (slash == NULL)
            return true;
        text += part + 1;
        len -= part + 1;
    }
}

static bool digest_valid(const char *digest)
{
    return strncmp(digest, "sha256:", 7) == 0 && strlen(digest) == 71 && strspn(digest + 7, "0123456789abcdef") == 64;
}

bool validate_image_name(const char *image)
{
    static const char *const local[] = { "docker-archive:", "oci:", "docker-daemon:" };
    size_t len = strlen(image);
    if (len == 0 || len > IMAGE_MAX)
        return false;
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        if (strncmp(image, local[i], strlen(local[i])) == 0)
            return image[strlen(local[i])] != '\0';
    const char *digest = strchr(image, '@');
    if (digest != NULL && !digest_valid(digest + 1))
        return false;
    len = digest != NULL ? (size_t)(digest - image) : len;
    const char *slash = memrchr(image, '/', len);
    const char *tag = memrchr(image, ':', len);
    if (tag != NULL && (slash == NULL || tag > slash)) {
        size_t tag_len = (size_t)(image + len - tag) - 1;
        if (tag_len > 128 || !all_of(tag + 1, tag_len, "_.-") || tag[1] == '.' || tag[1] == '-')
            return false;
        len = (size_t)(tag - image);
    }
    return path_valid(image, len);
}

/* ---- templates: they must expand for some task ---- */

static int check_template(const char *field, const char *text, struct sw_err *err)
{
    static const char *const maps[] = { "Labels", NULL };
    if (text == NULL || strstr(text, "{{") == NULL)
        return 0;
    const struct template_options options = { .maps = maps };
    json_t *data = json_pack("{s:{s:s,s:s,s:{}},s:{s:s,s:s,s:{s:s,s:s}},s:{s:s,s:s,s:s}}", "Service", "ID", "id", "Name", "name",
                             "Labels", "Node", "ID", "id", "Hostname", "host", "Platform", "Architecture", "amd64", "OS", "linux",
                             "Task", "ID", "id", "Name", "name.1.id", "Slot", "1");
    SW_AUTO(sw_free) char *ignored = NULL;
    int rc = template_expand(text, &options, data, &ignored, err);
    json_decref(data);
    return rc != 0 ? sw_wrap(err, "ContainerSpec: %s: invalid template \"%.64s\"", field, text) : 0;
}

/* ---- mounts ---- */

static int check_mount_source(const Swarm__Mount *mount, struct sw_err *err)
{
    bool named = mount->source != NULL && mount->source[0] != '\0';
    switch (mount->type) {
    case SWARM__MOUNT_TYPE__MOUNT_BIND:
        if (!named)
            return sw_fail(err, SW_INVALID, "invalid mount config for type \"bind\": field Source must not be empty");
        if (mount->source[0] != '/' && strncmp(mount->source, "{{", 2) != 0)
            return sw_fail(err, SW_INVALID,
                           "invalid mount config for type \"bind\": invalid mount path: '%.200s' mount path must be absolute",
                           mount->source);
        return 0;
    case SWARM__MOUNT_TYPE__MOUNT_VOLUME:
        if (named && mount->source[0] == '/')
            return sw_fail(err, SW_INVALID,
                           "invalid mount config for type \"volume\": source '%.200s' is a path; a volume has a name",
                           mount->source);
        return 0;
    case SWARM__MOUNT_TYPE__MOUNT_TMPFS:
        if (named)
            return sw_fail(err, SW_INVALID, "invalid mount config for type \"tmpfs\": field Source must not be specified");
        if (mount->tmpfs_size < 0)
            return sw_fail(err, SW_INVALID, "invalid mount config for type \"tmpfs\": size must not be negative");
        if (mount->tmpfs_mode > 07777)
            return sw_fail(err, SW_INVALID, "invalid mount config for type \"tmpfs\": mode must be at most 07777");
        return 0;
    case _SWARM__MOUNT_TYPE_IS_INT_SIZE:
        break;
    }
    return sw_fail(err, SW_INVALID, "mount type %d is not known", (int)mount->type);
}

static bool propagation_valid(const char *word)
{
    static const char *const words[] = { "private", "rprivate", "shared", "rshared", "slave", "rslave" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return false;
}

static int check_mount(const Swarm__Mount *mount, struct sw_err *err)
{
    if (mount->target[0] == '\0')
        return sw_fail(err, SW_INVALID, "invalid mount config: field Target must not be empty");
    if (mount->target[0] != '/' && strncmp(mount->target, "{{", 2) != 0)
        return sw_fail(err, SW_INVALID, "invalid mount config: invalid mount path: '%.200s' mount path must be absolute",
                       mount->target);
    if (strcmp(mount->target, "/") == 0)
        return sw_fail(err, SW_INVALID, "invalid mount config: invalid specification: destination can't be '/'");
    if (mount->bind_propagation != NULL && mount->bind_propagation[0] != '\0' && !propagation_valid(mount->bind_propagation))
        return sw_fail(err, SW_INVALID, "invalid mount config: propagation '%.64s' is not known", mount->bind_propagation);
    int rc = check_mount_source(mount, err);
    if (rc == 0)
        rc = validate_text("mount target", mount->target, CONTROL_TEXT_MAX, err);
    if (rc == 0)
        rc = validate_text("mount source", mount->source, CONTROL_TEXT_MAX, err);
    if (rc == 0)
        rc = check_template("mount target", mount->target, err);
    if (rc == 0)
        rc = check_template("mount source", mount->source, err);
    return rc != 0 ? rc : validate_labels("volume labels", mount->volume_labels, mount->n_volume_labels, err);
}

static int check_mounts(const Swarm__ContainerSpec *container, struct sw_err *err)
{
    int rc = validate_count("mounts", container->n_mounts, err);
    for (size_t i = 0; rc == 0 && i < container->n_mounts; i++) {
        rc = check_mount(container->mounts[i], err);
        for (size_t k = 0; rc == 0 && k < i; k++)
            if (strcmp(container->mounts[i]->target, container->mounts[k]->target) == 0)
                return sw_fail(err, SW_INVALID, "ContainerSpec: duplicate mount point: %.200s", container->mounts[i]->target);
    }
    return rc;
}

/* ---- lists of words ---- */

static int check_env(const Swarm__ContainerSpec *container, struct sw_err *err)
{
    int rc = validate_count("env", container->n_env, err);
    for (size_t i = 0; rc == 0 && i < container->n_env; i++) {
        if (container->env[i][0] == '\0' || container->env[i][0] == '=')
            return sw_fail(err, SW_INVALID, "invalid environment variable: %.64s", container->env[i]);
        rc = validate_text("env", container->env[i], CONTROL_ENV_MAX, err);
        if (rc == 0)
            rc = check_template("env", container->env[i], err);
    }
    return rc;
}

static int check_texts(const char *field, char *const *texts, size_t count, size_t max, struct sw_err *err)
{
    int rc = validate_count(field, count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = validate_text(field, texts[i], max, err);
    return rc;
}

static int check_capabilities(const char *field, char *const *names, size_t count, struct sw_err *err)
{
    int rc = validate_count(field, count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const char *name = names[i];
        size_t len = strlen(name);
        bool words = len < 64 && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == len;
        if (strcmp(name, "ALL") != 0 && !(words && len > 4 && strncmp(name, "CAP_", 4) == 0))
            return sw_fail(err, SW_INVALID, "%s: '%.64s' is not a capability", field, name);
    }
    return rc;
}

static int check_ulimits(const Swarm__ContainerSpec *container, struct sw_err *err)
{
    int rc = validate_count("ulimits", container->n_ulimits, err);
    for (size_t i = 0; rc == 0 && i < container->n_ulimits; i++) {
        const Swarm__Ulimit *ulimit = container->ulimits[i];
        if (ulimit->name[0] == '\0')
            return sw_fail(err, SW_INVALID, "ulimit: the name must not be empty");
        if (ulimit->soft < -1 || ulimit->hard < -1)
            return sw_fail(err, SW_INVALID, "ulimit %.64s: a value must be at least -1 (unlimited)", ulimit->name);
        if (ulimit->hard != -1 && (ulimit->soft == -1 || ulimit->soft > ulimit->hard))
            return sw_fail(err, SW_INVALID, "ulimit soft limit must be less than or equal to hard limit: %" PRId64 " > %" PRId64,
                           ulimit->soft, ulimit->hard);
    }
    return rc;
}

/* ---- health, secrets ---- */

static int check_health(const Swarm__HealthConfig *health, struct sw_err *err)
{
    if (health == NULL)
        return 0;
    const struct {
        const char *word;
        int64_t value;
    } times[] = {
        { "Interval", health->interval_ns },
        { "Timeout", health->timeout_ns },
        { "StartPeriod", health->start_period_ns },
        { "StartInterval", health->start_interval_ns },
    };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i].value != 0 && times[i].value < MS)
            return sw_fail(err, SW_INVALID, "ContainerSpec: %s in HealthConfig cannot be less than 1ms", times[i].word);
    if (health->n_test > 0 && strcmp(health->test[0], "NONE") != 0 && strcmp(health->test[0], "CMD") != 0 &&
        strcmp(health->test[0], "CMD-SHELL") != 0)
        return sw_fail(err, SW_INVALID, "ContainerSpec: unknown type '%.64s' in HealthConfig", health->test[0]);
    return check_texts("health check", health->test, health->n_test, CONTROL_ENV_MAX, err);
}

static int check_file_refs(const char *word, Swarm__SecretRef *const *refs, size_t count, struct sw_err *err)
{
    int rc = validate_count(word, count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const Swarm__SecretRef *ref = refs[i];
        if (ref->id[0] == '\0' || ref->name[0] == '\0')
            return sw_fail(err, SW_INVALID, "malformed %s reference", word);
        if (ref->file->name[0] == '\0')
            return sw_fail(err, SW_INVALID, "malformed file %s reference, no target file provided", word);
        for (size_t k = 0; k < i; k++)
            if (strcmp(refs[k]->file->name, ref->file->name) == 0)
                return sw_fail(err, SW_INVALID, "%s references '%s' and '%s' have a conflicting target: '%s'", word,
                               refs[k]->name, ref->name, ref->file->name);
        rc = validate_text(word, ref->file->name, CONTROL_TEXT_MAX, err);
    }
    return rc;
}

/* ---- the container ---- */

static int check_scalars(const Swarm__ContainerSpec *container, struct sw_err *err)
{
    if (container->image[0] == '\0')
        return sw_fail(err, SW_INVALID, "ContainerSpec: image reference must be provided");
    if (!validate_image_name(container->image))
        return sw_fail(err, SW_INVALID, "ContainerSpec: \"%.200s\" is not a valid repository/tag", container->image);
    if (container->stop_grace_ns < 0)
        return sw_fail(err, SW_INVALID, "ContainerSpec: stop-grace-period cannot be negative");
    if (container->pids_limit < -1)
        return sw_fail(err, SW_INVALID, "ContainerSpec: limit-pids must be at least -1 (unlimited)");
    if (container->oom_score_adj < -1000 || container->oom_score_adj > 1000)
        return sw_fail(err, SW_INVALID, "ContainerSpec: oom-score-adj must be -1000 to 1000");
    int rc = validate_text("hostname", container->hostname, 256, err);
    if (rc == 0)
        rc = check_template("hostname", container->hostname, err);
    if (rc == 0)
        rc = validate_text("workdir", container->dir, CONTROL_TEXT_MAX, err);
    if (rc == 0)
        rc = validate_text("user", container->user, 256, err);
    return rc != 0 ? rc : validate_text("stop-signal", container->stop_signal, 32, err);
}

/* They become lines of files in the container: one word or line each. */
static int check_lines(const char *field, char *const *texts, size_t count, struct sw_err *err)
{
    int rc = check_texts(field, texts, count, CONTROL_TEXT_MAX, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        for (const char *p = texts[i]; *p != '\0'; p++)
            if (iscntrl((unsigned char)*p))
                return sw_fail(err, SW_INVALID, "%s: control characters are not allowed", field);
    return rc;
}

static int check_resolver(const Swarm__ContainerSpec *container, struct sw_err *err)
{
    const Swarm__DnsConfig *dns = container->dns;
    unsigned char bytes[16];
    int rc = check_lines("hosts", container->hosts, container->n_hosts, err);
    if (rc != 0 || dns == NULL)
        return rc;
    rc = validate_count("dns", dns->n_nameservers, err);
    for (size_t i = 0; rc == 0 && i < dns->n_nameservers; i++)
        if (inet_pton(AF_INET, dns->nameservers[i], bytes) != 1 && inet_pton(AF_INET6, dns->nameservers[i], bytes) != 1)
            return sw_fail(err, SW_INVALID, "dns: '%.64s' is not an ip address", dns->nameservers[i]);
    if (rc == 0)
        rc = check_lines("dns-search", dns->search, dns->n_search, err);
    return rc != 0 ? rc : check_lines("dns-option", dns->options, dns->n_options, err);
}

static int check_lists(const Swarm__ContainerSpec *container, struct sw_err *err)
{
    int rc = check_texts("entrypoint", container->command, container->n_command, CONTROL_ENV_MAX, err);
    if (rc == 0)
        rc = check_texts("args", container->args, container->n_args, CONTROL_ENV_MAX, err);
    if (rc == 0)
        rc = check_texts("groups", container->groups, container->n_groups, CONTROL_TEXT_MAX, err);
    if (rc == 0)
        rc = check_resolver(container, err);
    if (rc == 0)
        rc = validate_labels("container labels", container->labels, container->n_labels, err);
    if (rc == 0)
        rc = validate_labels("sysctls", container->sysctls, container->n_sysctls, err);
    if (rc == 0)
        rc = check_env(container, err);
    if (rc == 0)
        rc = check_capabilities("cap-add", container->cap_add, container->n_cap_add, err);
    if (rc == 0)
        rc = check_capabilities("cap-drop", container->cap_drop, container->n_cap_drop, err);
    return rc != 0 ? rc : check_ulimits(container, err);
}

int validate_container(const Swarm__ContainerSpec *container, struct sw_err *err)
{
    int rc = check_scalars(container, err);
    if (rc == 0)
        rc = check_lists(container, err);
    if (rc == 0)
        rc = check_mounts(container, err);
    if (rc == 0)
        rc = check_health(container->health, err);
    if (rc == 0)
        rc = check_file_refs("secret", container->secrets, container->n_secrets, err);
    return rc != 0 ? rc : check_file_refs("config", container->configs, container->n_configs, err);
}
