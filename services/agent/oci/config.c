#include "services/agent/oci/config.h"

#include "common/base/buf.h"
#include "services/agent/oci/caps.h"
#include "services/agent/oci/users.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define CPU_PERIOD_US 100000

static json_t *strings(const char *const *list, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(array, json_string(list[i]));
    return array;
}
#define STRINGS(list) strings((list), sizeof(list) / sizeof(list)[0])

static void append_strings(json_t *to, char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(to, json_string(list[i]));
}

/* ---- process ---- */
/* An entrypoint given by the service also takes the image's command away. */
static int make_args(const struct config_input *in, json_t **ret, struct sw_err *err)
{
    const Swarm__ContainerSpec *spec = in->task->spec->container;
    json_t *args = json_array();
    if (spec->init) {
        (void)json_array_append_new(args, json_string("/sbin/docker-init"));
        (void)json_array_append_new(args, json_string("--"));
    }
    size_t head = json_array_size(args);
    if (spec->n_command != 0)
        append_strings(args, spec->command, spec->n_command);
    else if (json_is_array(json_object_get(in->image, "Entrypoint")))
        (void)json_array_extend(args, json_object_get(in->image, "Entrypoint"));
    if (spec->n_args != 0)
        append_strings(args, spec->args, spec->n_args);
    else if (spec->n_command == 0 && json_is_array(json_object_get(in->image, "Cmd")))
        (void)json_array_extend(args, json_object_get(in->image, "Cmd"));
    if (json_array_size(args) == head) {
        json_decref(args);
        return sw_fail(err, SW_INVALID, "no command specified: neither the service nor the image names one");
    }
    *ret = args;
    return 0;
}

static size_t key_len(const char *entry)
{
    return strcspn(entry, "=");
}

/* Later entries replace earlier ones of the same name; a name alone takes the variable away. */
static void put_env(json_t *env, const char *entry)
{
    size_t i, len = key_len(entry);
    json_t *item;
    json_array_foreach(env, i, item)
    {
        const char *have = json_string_value(item);
        if (key_len(have) != len || strncmp(have, entry, len) != 0)
            continue;
        if (entry[len] == '=')
            (void)json_array_set_new(env, i, json_string(entry));
        else
            (void)json_array_remove(env, i);
        return;
    }
    if (entry[len] == '=')
        (void)json_array_append_new(env, json_string(entry));
}

static bool has_env(json_t *env, const char *name)
{
    size_t i;
    json_t *item;
    json_array_foreach(env, i, item) if (key_len(json_string_value(item)) == strlen(name) &&
                                         strncmp(json_string_value(item), name, strlen(name)) == 0) return true;
    return false;
}

static void put_resources(json_t *env, const Swarm__Task *task)
{
    for (size_t i = 0; i < task->n_assigned_generic; i++) {
        const Swarm__GenericResource *res = task->assigned_generic[i];
        SW_AUTO(sw_free)
        char *entry = res->value != NULL ? sw_strf("DOCKER_RESOURCE_%s=%s", res->kind, res->value)
                                         : sw_strf("DOCKER_RESOURCE_%s=%lld", res->kind, (long long)res->count);
        for (char *p = entry + sizeof "DOCKER_RESOURCE_" - 1; *p != '\0' && *p != '='; p++)
            *p = (char)toupper((unsigned char)*p);
        put_env(env, entry);
    }
}

static json_t *make_env(const struct config_input *in, const struct users *users)
{
    const Swarm__ContainerSpec *spec = in->task->spec->container;
    json_t *item, *env = json_array();
    size_t i;
    SW_AUTO(sw_free) char *host = sw_strf("HOSTNAME=%s", in->hostname);
    put_env(env, DEFAULT_PATH);
    put_env(env, host);
    if (spec->tty)
        put_env(env, "TERM=xterm");
    json_array_foreach(json_object_get(in->image, "Env"), i, item) if (json_is_string(item))
        put_env(env, json_string_value(item));
    put_resources(env, in->task);
    for (i = 0; i < spec->n_env; i++)
        put_env(env, spec->env[i]);
    if (!has_env(env, "HOME")) {
        SW_AUTO(sw_free) char *home = sw_strf("HOME=%s", users->home);
        put_env(env, home);
    }
    return env;
}

static json_t *make_caps(const struct config_input *in, const struct users *users)
{
    json_t *list = json_array(), *none = json_array(), *caps = json_object();
    for (unsigned i = 0; i < CAPS_COUNT; i++)
        if ((in->caps >> i & 1) != 0)
            (void)json_array_append_new(list, json_string(caps_name(i)));
    /* As for any program started by another user than root: bounding only. */
    json_t *held = users->uid == 0 ? list : none;
    (void)json_object_set(caps, "bounding", list);
    (void)json_object_set(caps, "effective", held);
    (void)json_object_set(caps, "permitted", held);
    json_decref(list);
    json_decref(none);
    return caps;
}

static int make_rlimits(const Swarm__ContainerSpec *spec, json_t **ret, struct sw_err *err)
{
    static const char *const known[] = { "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
                                         "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack" };
    json_t *list = json_array();
    for (size_t i = 0; i < spec->n_ulimits; i++) {
        const Swarm__Ulimit *limit = spec->ulimits[i];
        size_t k = 0;
        while (k < sizeof known / sizeof known[0] && strcmp(known[k], limit->name) != 0)
            k++;
        bool fits = limit->hard == -1 || (limit->soft >= 0 && limit->soft <= limit->hard);
        if (k == sizeof known / sizeof known[0] || !fits) {
            json_decref(list);
            return k == sizeof known / sizeof known[0]
                       ? sw_fail(err, SW_INVALID, "invalid ulimit type: %.64s", limit->name)
                       : sw_fail(err, SW_INVALID, "ulimit %s: soft limit must be 0 to the hard limit", limit->name);
        }
        SW_AUTO(sw_free) char *name = sw_strf("RLIMIT_%s", limit->name);
        for (char *p = name; *p != '\0'; p++)
            *p = (char)toupper((unsigned char)*p);
        /* -1 is "unlimited"; the runtime gets the largest number that JSON carries. */
        (void)json_array_append_new(list, json_pack("{s:s,s:I,s:I}", "type", name, "soft",
                                                    (json_int_t)(limit->soft < 0 ? INT64_MAX : limit->soft), "hard",
                                                    (json_int_t)(limit->hard < 0 ? INT64_MAX : limit->hard)));
    }
    *ret = list;
    return 0;
}

static json_t *make_user(const struct users *users)
{
    json_t *user = json_pack("{s:I,s:I}", "uid", (json_int_t)users->uid, "gid", (json_int_t)users->gid);
    json_t *groups = json_array();
    for (size_t i = 0; i < users->group_count; i++)
        (void)json_array_append_new(groups, json_integer(users->groups[i]));
    (void)json_object_set_new(user, "additionalGids", groups);
    return user;
}

static const char *choose(const char *first, json_t *image, const char *key, const char *fallback)
{
    const char *second = json_string_value(json_object_get(image, key));
    if (first != NULL && first[0] != '\0')
        return first;
    return second != NULL && second[0] != '\0' ? second : fallback;
}

static int make_process(const struct config_input *in, json_t **ret, struct sw_err *err)
{
    const Swarm__ContainerSpec *spec = in->task->spec->container;
    const char *cwd = choose(spec->dir, in->image, "WorkingDir", "/");
    json_t *args = NULL, *limits = NULL;
    struct users users;
    if (cwd[0] != '/')
        return sw_fail(err, SW_INVALID, "the working directory '%.200s' is invalid, it needs to be an absolute path", cwd);
    int rc = users_find(in->root_fd, choose(spec->user, in->image, "User", ""), spec->groups, spec->n_groups, &users, err);
    if (rc == 0)
        rc = make_args(in, &args, err);
    if (rc == 0)
        rc = make_rlimits(spec, &limits, err);
    if (rc != 0) {
        json_decref(args);
        return rc;
    }
    json_t *process = json_object();
    (void)json_object_set_new(process, "terminal", json_boolean(spec->tty));
    (void)json_object_set_new(process, "user", make_user(&users));
    (void)json_object_set_new(process, "args", args);
    (void)json_object_set_new(process, "env", make_env(in, &users));
    (void)json_object_set_new(process, "cwd", json_string(cwd));
    (void)json_object_set_new(process, "capabilities", make_caps(in, &users));
    (void)json_object_set_new(process, "rlimits", limits);
    (void)json_object_set_new(process, "noNewPrivileges", json_boolean(spec->no_new_privileges));
    if (spec->has_oom_score_adj) /* else the daemon's, which needs no right to set */
        (void)json_object_set_new(process, "oomScoreAdj", json_integer(spec->oom_score_adj));
    *ret = process;
    return 0;
}

/* ---- mounts ---- */
struct mount_row {
    const char *target, *type, *source, *options;
};
static const struct mount_row usual_mounts[] = {
    { "/proc", "proc", "proc", "nosuid,noexec,nodev" },
    { "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k" },
    { "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5" },
    { "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro" },
    { "/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid,noexec,nodev" },
    { "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev" },
    { "/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=67108864" },
};

static void add_mount(json_t *mounts, const char *target, const char *type, const char *source, const char *options)
{
    json_t *list = json_array();
    SW_AUTO(sw_free) char *copy = sw_strdup(options);
    char *rest = copy;
    for (char *word = strsep(&rest, ","); word != NULL; word = strsep(&rest, ","))
        (void)json_array_append_new(list, json_string(word));
    (void)json_array_append_new(
        mounts, json_pack("{s:s,s:s,s:s,s:o}", "destination", target, "type", type, "source", source, "options", list));
}

static bool planned(const struct plan *plan, const char *target)
{
    for (size_t i = 0; i < plan->mount_count; i++)
        if (strcmp(plan->mounts[i].target, target) == 0)
            return true;
    return false;
}

static json_t *make_mounts(const struct config_input *in)
{
    static const char *const files[] = { "hosts", "hostname", "resolv.conf" };
    const Swarm__ContainerSpec *spec = in->task->spec->container;
    json_t *mounts = json_array();
    for (size_t i = 0; i < sizeof usual_mounts / sizeof usual_mounts[0]; i++) {
        const struct mount_row *row = &usual_mounts[i];
        if (!planned(in->plan, row->target))
            add_mount(mounts, row->target, row->type, row->source, row->options);
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        SW_AUTO(sw_free) char *target = sw_strf("/etc/%s", files[i]);
        SW_AUTO(sw_free) char *source = sw_strf("%s/%s", in->bundle, files[i]);
        if (!planned(in->plan, target))
            add_mount(mounts, target, "bind", source, spec->read_only ? "rbind,rprivate,ro" : "rbind,rprivate");
    }
    if (spec->init)
        add_mount(mounts, "/sbin/docker-init", "bind", in->init_path, "bind,rprivate,ro");
    for (size_t i = 0; i < in->plan->mount_count; i++) {
        const struct plan_mount *row = &in->plan->mounts[i];
        add_mount(mounts, row->target, row->type, row->source, row->options);
    }
    return mounts;
}

/* ---- linux ---- */
static json_t *make_devices(void)
{
    /* All denied, then what Docker allows; null, zero, tty and the like are added by every runtime. */
    return json_pack("[{s:b,s:s},{s:b,s:s,s:s},{s:b,s:s,s:s}]", "allow", 0, "access", "rwm", "allow", 1, "type", "c", "access",
                     "m", "allow", 1, "type", "b", "access", "m");
}

static json_t *make_resources(const struct config_input *in)
{
    const Swarm__TaskSpec *spec = in->task->spec;
    const Swarm__Resources *limits = spec->resources != NULL ? spec->resources->limits : NULL;
    json_t *resources = json_pack("{s:o}", "devices", make_devices());
    if (limits != NULL && limits->nano_cpus > 0)
        (void)json_object_set_new(resources, "cpu",
                                  json_pack("{s:I,s:i}", "quota", (json_int_t)(limits->nano_cpus / (1000000000 / CPU_PERIOD_US)),
                                            "period", CPU_PERIOD_US));
    if (limits != NULL && limits->memory_bytes > 0) {
        json_t *memory = json_pack("{s:I}", "limit", (json_int_t)limits->memory_bytes);
        if (in->swap_limits) /* as much swap again, as Docker does */
            (void)json_object_set_new(memory, "swap", json_integer(limits->memory_bytes * 2));
        (void)json_object_set_new(resources, "memory", memory);
    }
    if (spec->container->pids_limit > 0 && in->pids_limits)
        (void)json_object_set_new(resources, "pids", json_pack("{s:I}", "limit", (json_int_t)spec->container->pids_limit));
    return resources;
}

static json_t *make_namespaces(void)
{
    /* No network namespace: the container takes the shim's, where the agent has set up its links. */
    static const char *const types[] = { "pid", "ipc", "uts", "mount", "cgroup" };
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        (void)json_array_append_new(list, json_pack("{s:s}", "type", types[i]));
    return list;
}

static json_t *make_sysctls(const Swarm__ContainerSpec *spec)
{
    json_t *sysctl = json_object();
    for (size_t i = 0; i < spec->n_sysctls; i++)
        if (strncmp(spec->sysctls[i]->key, "net.", 4) != 0)
            (void)json_object_set_new(sysctl, spec->sysctls[i]->key, json_string(spec->sysctls[i]->value));
    return sysctl;
}

static json_t *make_linux(const struct config_input *in)
{
    static const char *const masked[] = { "/proc/asound",
                                          "/proc/acpi",
                                          "/proc/kcore",
                                          "/proc/keys",
                                          "/proc/latency_stats",
                                          "/proc/timer_list",
                                          "/proc/timer_stats",
                                          "/proc/sched_debug",
                                          "/proc/scsi",
                                          "/sys/firmware",
                                          "/sys/devices/virtual/powercap" };
    static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
    json_t *part = json_object();
    (void)json_object_set_new(part, "cgroupsPath", json_string(in->cgroup_path));
    (void)json_object_set_new(part, "resources", make_resources(in));
    (void)json_object_set_new(part, "namespaces", make_namespaces());
    (void)json_object_set_new(part, "sysctl", make_sysctls(in->task->spec->container));
    (void)json_object_set_new(part, "maskedPaths", STRINGS(masked));
    (void)json_object_set_new(part, "readonlyPaths", STRINGS(readonly));
    if (in->filter != NULL && in->filter_bpf == NULL)
        (void)json_object_set(part, "seccomp", in->filter);
    return part;
}

int config_make(const struct config_input *in, json_t **ret_config, struct sw_err *err)
{
    json_t *process = NULL;
    int rc = make_process(in, &process, err);
    if (rc != 0)
        return rc;
    json_t *config = json_object();
    (void)json_object_set_new(config, "ociVersion", json_string("1.0.2"));
    (void)json_object_set_new(config, "process", process);
    (void)json_object_set_new(config, "root",
                              json_pack("{s:s,s:b}", "path", "rootfs", "readonly", in->task->spec->container->read_only));
    (void)json_object_set_new(config, "hostname", json_string(in->hostname));
    (void)json_object_set_new(config, "mounts", make_mounts(in));
    (void)json_object_set_new(config, "linux", make_linux(in));
    /* Labels of the service are not passed as annotations: runtimes take orders from those. */
    if (in->filter_bpf != NULL)
        (void)json_object_set_new(config, "annotations", json_pack("{s:s}", "run.oci.seccomp_bpf_data", in->filter_bpf));
    *ret_config = config;
    return 0;
}
