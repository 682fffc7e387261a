#include "services/agent/oci/volumes.h"

#include "common/base/buf.h"
#include "common/service/svc.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VOLUME_NAME_MAX 255

void plan_deinit(struct plan *plan)
{
    for (size_t i = 0; i < plan->mount_count; i++) {
        free(plan->mounts[i].type);
        free(plan->mounts[i].source);
        free(plan->mounts[i].target);
        free(plan->mounts[i].options);
    }
    for (size_t i = 0; i < plan->copy_count; i++)
        free(plan->copies[i]);
    for (size_t i = 0; i < plan->anonymous_count; i++)
        free(plan->anonymous[i]);
    *plan = (struct plan) { .mount_count = 0 };
}

static bool volume_name_valid(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > VOLUME_NAME_MAX || !isalnum((unsigned char)name[0]))
        return false;
    for (const char *p = name; *p != '\0'; p++)
        if (!isalnum((unsigned char)*p) && strchr("_.-", *p) == NULL)
            return false;
    return true;
}

static bool propagation_valid(const char *word)
{
    static const char *const words[] = { "private", "rprivate", "slave", "rslave", "shared", "rshared" };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

/* ---- one mount of each type ---- */
static int plan_bind(const Swarm__Mount *mount, struct plan_mount *ret, struct sw_err *err)
{
    struct stat st;
    const char *source = mount->source != NULL ? mount->source : "";
    const char *propagation = mount->bind_propagation != NULL ? mount->bind_propagation : "rprivate";
    if (source[0] != '/')
        return sw_fail(err, SW_INVALID,
                       "invalid mount config for type \"bind\": invalid mount path: '%.200s' mount path must be absolute",
                       source);
    if (stat(source, &st) != 0)
        return sw_fail(err, SW_INVALID, "invalid mount config for type \"bind\": bind source path does not exist: %.300s",
                       source);
    if (!propagation_valid(propagation))
        return sw_fail(err, SW_INVALID, "invalid mount config for type \"bind\": invalid propagation mode: %.32s", propagation);
    ret->type = sw_strdup("bind");
    ret->source = sw_strdup(source);
    ret->options = sw_strf("%s,%s,%s", mount->bind_nonrecursive ? "bind" : "rbind", propagation, mount->read_only ? "ro" : "rw");
    return 0;
}

static int plan_tmpfs(const Swarm__Mount *mount, struct plan_mount *ret, struct sw_err *err)
{
    SW_AUTO_BUF options = { 0 };
    if (mount->source != NULL && mount->source[0] != '\0')
        return sw_fail(err, SW_INVALID, "invalid mount config for type \"tmpfs\": field Source must not be specified");
    sw_buf_adds(&options, "noexec,nosuid,nodev");
    sw_buf_addf(&options, ",%s", mount->read_only ? "ro" : "rw");
    if (mount->tmpfs_size > 0)
        sw_buf_addf(&options, ",size=%lld", (long long)mount->tmpfs_size);
    sw_buf_addf(&options, ",mode=%o", mount->has_tmpfs_mode ? mount->tmpfs_mode & 07777 : 01777);
    ret->type = sw_strdup("tmpfs");
    ret->source = sw_strdup("tmpfs");
    ret->options = sw_buf_take(&options);
    return 0;
}

static int check_volume(const Swarm__Mount *mount, const char *name, struct sw_err *err)
{
    if (!volume_name_valid(name))
        return sw_fail(err, SW_INVALID,
                       "create %.64s: \"%.64s\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9]"
                       "[a-zA-Z0-9_.-]\" are allowed",
                       name, name);
    if (mount->volume_driver != NULL && mount->volume_driver[0] != '\0' && strcmp(mount->volume_driver, "local") != 0)
        return sw_fail(err, SW_UNSUPPORTED, "create %.64s: error looking up volume plugin %.64s: plugin \"%.64s\" not found",
                       name, mount->volume_driver, mount->volume_driver);
    if (mount->n_volume_opts != 0)
        return sw_fail(err, SW_UNSUPPORTED, "create %.64s: option \"%.64s\" is not supported by the local volume driver", name,
                       mount->volume_opts[0]->key);
    if (mount->volume_subpath != NULL && mount->volume_subpath[0] != '\0')
        return sw_fail(err, SW_UNSUPPORTED, "mount of volume %.64s: volume-subpath is not supported", name);
    return 0;
}

static int keep_labels(const Swarm__Mount *mount, const char *dir, struct sw_err *err)
{
    if (mount->n_volume_labels == 0)
        return 0;
    json_t *labels = json_object();
    for (size_t i = 0; i < mount->n_volume_labels; i++)
        (void)json_object_set_new(labels, mount->volume_labels[i]->key, json_string(mount->volume_labels[i]->value));
    SW_AUTO(sw_free) char *text = json_dumps(labels, JSON_COMPACT | JSON_SORT_KEYS);
    SW_AUTO(sw_free) char *path = sw_strf("%s/labels.json", dir);
    json_decref(labels);
    return svc_file_write(path, text, strlen(text), 0600, err);
}

static int plan_volume(const char *state_dir, const Swarm__Mount *mount, const char *name, struct plan *plan,
                       struct plan_mount *ret, struct sw_err *err)
{
    int rc = check_volume(mount, name, err);
    if (rc != 0)
        return rc;
    SW_AUTO(sw_free) char *dir = sw_strf("%s/volumes/%s", state_dir, name);
    ret->source = sw_strf("%s/_data", dir);
    if (access(ret->source, F_OK) != 0) {
        rc = svc_mkdirs(dir, 0711, err);
        if (rc == 0 && ((mkdir(ret->source, 0755) != 0 && errno != EEXIST) || chmod(ret->source, 0755) != 0))
            rc = sw_fail(err, SW_IO, "create volume %s: %s", name, strerror(errno));
        if (rc == 0)
            rc = keep_labels(mount, dir, err);
        if (rc != 0)
            return rc;
    }
    if (!mount->volume_nocopy)
        plan->copies[plan->copy_count++] = sw_strf("%s\t%s", dir, mount->target);
    ret->type = sw_strdup("bind");
    ret->options = sw_strf("rbind,rprivate,%s", mount->read_only ? "ro" : "rw");
    return 0;
}

/* ---- the whole ---- */
static bool has_target(const struct plan *plan, const char *target)
{
    for (size_t i = 0; i < plan->mount_count; i++)
        if (strcmp(plan->mounts[i].target, target) == 0)
            return true;
    return false;
}

static char *anonymous_name(struct plan *plan, const char *task_id)
{
    char *name = sw_strf("%s-%zu", task_id, plan->anonymous_count);
    plan->anonymous[plan->anonymous_count++] = sw_strdup(name);
    return name;
}

static int add(const char *state_dir, const char *task_id, const Swarm__Mount *mount, struct plan *plan, struct sw_err *err)
{
    const char *target = mount->target;
    if (plan->mount_count == PLAN_MOUNTS_MAX)
        return sw_fail(err, SW_LIMIT, "more than %d mounts", PLAN_MOUNTS_MAX);
    if (target[0] != '/' || strpbrk(target, "\n\t") != NULL)
        return sw_fail(err, SW_INVALID, "invalid mount config: invalid mount path: '%.200s' mount path must be absolute", target);
    if (strcmp(target, "/") == 0)
        return sw_fail(err, SW_INVALID, "invalid mount config: invalid specification: destination can't be '/'");
    if (has_target(plan, target))
        return sw_fail(err, SW_INVALID, "Duplicate mount point: %.200s", target);
    struct plan_mount *row = &plan->mounts[plan->mount_count++];
    row->target = sw_strdup(target);
    switch (mount->type) {
    case SWARM__MOUNT_TYPE__MOUNT_BIND:
        return plan_bind(mount, row, err);
    case SWARM__MOUNT_TYPE__MOUNT_TMPFS:
        return plan_tmpfs(mount, row, err);
    case SWARM__MOUNT_TYPE__MOUNT_VOLUME: {
        bool named = mount->source != NULL && mount->source[0] != '\0';
        SW_AUTO(sw_free) char *name = named ? sw_strdup(mount->source) : anonymous_name(plan, task_id);
        return plan_volume(state_dir, mount, name, plan, row, err);
    }
    case _SWARM__MOUNT_TYPE_IS_INT_SIZE:
        break;
    }
    return sw_fail(err, SW_UNSUPPORTED, "mount type %d is not supported", (int)mount->type);
}

static size_t depth(const char *path)
{
    size_t count = 0;
    for (; *path != '\0'; path++)
        count += *path == '/';
    return count;
}

static int by_depth(const void *a, const void *b)
{
    const struct plan_mount *left = a, *right = b;
    size_t l = depth(left->target), r = depth(right->target);
    return l != r ? (l < r ? -1 : 1) : strcmp(left->target, right->target);
}

int plan_make(const char *state_dir, const Swarm__Task *task, json_t *image_volumes, struct plan *ret, struct sw_err *err)
{
    const Swarm__ContainerSpec *spec = task->spec->container;
    struct plan plan = { .mount_count = 0 };
    const char *target;
    json_t *unused;
    int rc = 0;
    for (size_t i = 0; i < spec->n_mounts && rc == 0; i++)
        rc = add(state_dir, task->id, spec->mounts[i], &plan, err);
    json_object_foreach(image_volumes, target, unused)
    {
        if (rc != 0 || has_target(&plan, target))
            continue;
        Swarm__Mount mount = SWARM__MOUNT__INIT;
        SW_AUTO(sw_free) char *copy = sw_strdup(target);
        mount.target = copy;
        rc = add(state_dir, task->id, &mount, &plan, err);
    }
    if (rc == 0)
        qsort(plan.mounts, plan.mount_count, sizeof plan.mounts[0], by_depth);
    *ret = plan; /* also when it failed: the volumes made for this task are to be removed with it */
    return rc;
}
