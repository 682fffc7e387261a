/* From a task to a shim that waits for "start": bundle, root, network, config.json. */
#include "services/agent/oci/oci.h"

#include "common/base/buf.h"
#include "common/base/pb.h"
#include "common/base/units.h"
#include "services/agent/oci/caps.h"
#include "services/agent/oci/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum executor_failure oci_failure(const struct sw_err *err)
{
    switch (err->code) {
    case SW_UNAVAILABLE:
    case SW_TIMEOUT:
    case SW_LIMIT:
    case SW_IO:
    case SW_NOMEM:
        return EXECUTOR_FAILED_TEMPORARY;
    case SW_OK:
    case SW_INVALID:
    case SW_NOT_FOUND:
    case SW_EXISTS:
    case SW_CONFLICT:
    case SW_PRECONDITION:
    case SW_DENIED:
    case SW_CORRUPT:
    case SW_FENCED:
    case SW_UNSUPPORTED:
        break;
    }
    return EXECUTOR_FAILED_FATAL;
}

void oci_prepare_failed(struct container *container, enum executor_failure failure, const char *text)
{
    struct executor *executor = container->executor;
    oci_post(executor,
             &(struct executor_event) { .type = EXECUTOR_PREPARED, .task_id = container->id, .failure = failure, .text = text });
    executor->attachment->ops->detach(executor->attachment, container->id);
    container_send(container, "kill");
    container_clean(container);
}

/* ---- the system call filter, compiled once a set of capabilities ---- */
int oci_filter(struct executor *executor, uint64_t caps, const char **ret_bpf, json_t **ret_filter, struct sw_err *err)
{
    char key[20];
    char *text = NULL;
    *ret_bpf = NULL;
    *ret_filter = NULL;
    if (executor->profile == NULL)
        return sw_fail(err, SW_UNSUPPORTED, "the seccomp profile %s is missing: install golang-github-containers-common",
                       FILTER_PROFILE);
    (void)snprintf(key, sizeof key, "%llx", (unsigned long long)caps);
    *ret_bpf = json_string_value(json_object_get(executor->filters, key));
    if (*ret_bpf != NULL)
        return 0;
    int rc = filter_translate(executor->profile, caps, filter_arch(), ret_filter, err);
    if (rc != 0 || !executor->crun)
        return rc;
    rc = filter_compile(*ret_filter, &text, err);
    json_decref(*ret_filter);
    *ret_filter = NULL;
    if (rc != 0)
        return rc;
    if (json_object_size(executor->filters) >= 64) /* sets of capabilities are users' to choose */
        (void)json_object_clear(executor->filters);
    (void)json_object_set_new(executor->filters, key, json_string(text));
    free(text);
    *ret_bpf = json_string_value(json_object_get(executor->filters, key));
    return 0;
}

/* ---- shim.conf ---- */
static int log_lines(struct container *container, struct sw_buf *conf, struct sw_err *err)
{
    struct executor *executor = container->executor;
    const Swarm__LogDriver *driver = container->task->spec->log_driver;
    const char *name = driver != NULL ? driver->name : "json-file";
    int64_t size = (int64_t)executor->log_size_max;
    uint64_t files = executor->log_files_max;
    if (strcmp(name, "none") == 0)
        return 0;
    if (name[0] != '\0' && strcmp(name, "json-file") != 0 && strcmp(name, "local") != 0)
        return sw_fail(err, SW_UNSUPPORTED, "logger: no log driver named '%.64s' is registered", name);
    for (size_t i = 0; driver != NULL && i < driver->n_options; i++) {
        const Swarm__Pair *option = driver->options[i];
        bool good = true;
        if (strcmp(option->key, "max-size") == 0)
            good = sw_parse_bytes(option->value, &size) && size >= 4096;
        else if (strcmp(option->key, "max-file") == 0)
            good = sw_parse_u64(option->value, &files) && files >= 1 && files <= 1000;
        if (!good)
            return sw_fail(err, SW_INVALID, "log option %s: '%.64s' must be %s", option->key, option->value,
                           option->key[4] == 's' ? "a size of at least 4096 bytes" : "a number from 1 to 1000");
    }
    sw_buf_addf(conf, "log_dir %s/%s\nlog_size_max %lld\nlog_files_max %llu\n", executor->logs_dir, container->id,
                (long long)size, (unsigned long long)files);
    return 0;
}

static void sysctl_line(void *arg, const char *setting)
{
    sw_buf_addf(arg, "sysctl %s\n", setting);
}

static int make_conf(struct container *container, json_t *row, const struct plan *plan, struct sw_buf *conf, struct sw_err *err)
{
    struct executor *executor = container->executor;
    const Swarm__ContainerSpec *spec = container->task->spec->container;
    json_t *layers = json_object_get(row, "layers");
    SW_AUTO(sw_free) char *oom = cgroups_oom_file(&executor->cgroups, container->cgroup);
    sw_buf_addf(conf, "id %s\nruntime %s\nruntime_root %s\nsocket_dir %s\nsocket_name %s\ntty %d\n", container->id,
                executor->runtime, executor->runtime_root, executor->socket_dir, container->id, spec->tty);
    if (oom != NULL)
        sw_buf_addf(conf, "oom_file %s\n", oom);
    if (executor->crun && executor->cgroups.kind == CGROUP_HYBRID)
        sw_buf_addf(conf, "hide %s\n", executor->cgroups.unified);
    for (size_t i = json_array_size(layers); i > 0; i--) {
        SW_AUTO(sw_free) char *dir = store_layer_dir(executor->images, json_string_value(json_array_get(layers, i - 1)));
        sw_buf_addf(conf, "layer %s\n", dir);
    }
    for (size_t i = 0; i < plan->copy_count; i++)
        sw_buf_addf(conf, "copy %s\n", plan->copies[i]);
    int rc = config_net_sysctls(spec, sysctl_line, conf, err);
    return rc == 0 ? log_lines(container, conf, err) : rc;
}

/* ---- the bundle and the shim ---- */
static int image_volumes(struct container *container, json_t **ret_row, json_t **ret_config, struct sw_err *err)
{
    struct images *images = container->executor->images;
    if (container->image != NULL) /* the row may have been renamed, but not gone, since it is in use */
        *ret_row = store_by_digest(images, container->image);
    if (*ret_row == NULL)
        return sw_fail(err, SW_NOT_FOUND, "No such image: %.200s", container->task->spec->container->image);
    return store_config(images, *ret_row, ret_config, err);
}

static int make_dirs(const struct container *container, struct sw_err *err)
{
    static const char *const names[] = { "", "/rootfs", "/upper", "/work" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        SW_AUTO(sw_free) char *path = sw_strf("%s%s", container->bundle, names[i]);
        mode_t mode = i == 2 ? 0755 : 0711; /* the written layer's mode is the root's, whatever the daemon's umask is */
        if ((mkdir(path, mode) != 0 && errno != EEXIST) || chmod(path, mode) != 0)
            return sw_fail(err, errno == ENOSPC ? SW_LIMIT : SW_IO, "create %s: %s", path, strerror(errno));
    }
    return 0;
}

static int make_bundle(struct container *container, struct sw_err *err)
{
    json_t *row = NULL, *config = NULL;
    PLAN_AUTO plan = { .mount_count = 0 };
    SW_AUTO_BUF conf = { 0 };
    int rc = image_volumes(container, &row, &config, err);
    if (rc == 0)
        rc = plan_make(container->executor->state_dir, container->task,
                       json_object_get(json_object_get(config, "config"), "Volumes"), &plan, err);
    for (size_t i = 0; i < plan.anonymous_count; i++)
        (void)json_array_append_new(container->anonymous, json_string(plan.anonymous[i]));
    if (rc == 0)
        rc = make_dirs(container, err);
    if (rc == 0)
        rc = make_conf(container, row, &plan, &conf, err);
    if (rc == 0)
        rc = container_write(container, "shim.conf", 0600, sw_buf_str(&conf), err);
    json_decref(config);
    return rc;
}

static void on_shim(void *arg, const struct svc_child_result *result)
{
    struct container *container = arg;
    struct executor *executor = container->executor;
    struct sw_err err;
    container->child = NULL;
    if (result->status != 0)
        oci_prepare_failed(container, EXECUTOR_FAILED_TEMPORARY,
                           result->err[0] != '\0' ? result->err : "the container's monitor did not start");
    else if (container_connect(container, &err) != 0) {
        long pid = strtol(result->out, NULL, 10); /* as the launcher told it */
        if (pid > 1)
            (void)kill((pid_t)pid, SIGKILL);
        oci_prepare_failed(container, EXECUTOR_FAILED_TEMPORARY, err.text);
    } else if (container->removing)
        oci_prepare_failed(container, EXECUTOR_FAILED_FATAL, "removed while it was prepared");
    oci_turns(executor);
}

void oci_prepare(struct container *container)
{
    struct sw_err err;
    const char *argv[] = { container->executor->shim, container->bundle, NULL };
    struct svc_child_spec spec = { .argv = argv, .timeout_ms = 300000, .done = on_shim, .arg = container };
    container->state = CONTAINER_SHIM;
    int rc = make_bundle(container, &err);
    if (rc == 0)
        rc = svc_child_run(container->executor->svc, &spec, &container->child, &err);
    if (rc != 0)
        oci_prepare_failed(container, oci_failure(&err), err.text);
}

/* ---- once the shim waits ---- */
static const char *hostname_of(const struct container *container, char short_id[13])
{
    const char *name = container->task->spec->container->hostname;
    (void)snprintf(short_id, 13, "%.12s", container->container_id);
    return name != NULL && name[0] != '\0' ? name : short_id;
}

static int write_files(struct container *container, const char *hostname, struct sw_err *err)
{
    const Swarm__ContainerSpec *spec = container->task->spec->container;
    const char *addresses[ATTACHMENT_ADDRESSES_MAX];
    size_t len;
    SW_AUTO(sw_free) char *host = NULL;
    for (size_t i = 0; i < container->net.count; i++)
        addresses[i] = container->net.addresses[i].address;
    if (svc_file_read("/etc/resolv.conf", 1u << 16, &host, &len, NULL) != 0)
        host = sw_strdup("");
    SW_AUTO(sw_free) char *hosts = config_hosts(spec, hostname, addresses, container->net.count);
    SW_AUTO(sw_free) char *resolv = config_resolv(spec, host);
    SW_AUTO(sw_free) char *name = sw_strf("%s\n", hostname);
    int rc = container_write(container, "hosts", 0644, hosts, err);
    if (rc == 0)
        rc = container_write(container, "resolv.conf", 0644, resolv, err);
    return rc == 0 ? container_write(container, "hostname", 0644, name, err) : rc;
}

static int make_config(struct container *container, struct config_input *in, struct sw_err *err)
{
    struct executor *executor = container->executor;
    const Swarm__ContainerSpec *spec = container->task->spec->container;
    json_t *config = NULL;
    int rc = caps_choose(spec->cap_add, spec->n_cap_add, spec->cap_drop, spec->n_cap_drop, &in->caps, err);
    if (rc == 0)
        rc = oci_filter(executor, in->caps, &in->filter_bpf, &in->filter, err);
    if (rc == 0)
        rc = config_make(in, &config, err);
    json_decref(in->filter);
    if (rc != 0)
        return rc;
    SW_AUTO(sw_free) char *text = json_dumps(config, JSON_COMPACT);
    json_decref(config);
    return text != NULL ? container_write(container, "config.json", 0600, text, err)
                        : sw_fail(err, SW_INVALID, "the container's settings hold text that is not UTF-8");
}

static int configure(struct container *container, struct sw_err *err)
{
    struct executor *executor = container->executor;
    json_t *row = NULL, *config = NULL;
    char short_id[13];
    PLAN_AUTO plan = { .mount_count = 0 };
    SW_AUTO(sw_free) char *root = sw_strf("/proc/%d/root%s/rootfs", (int)container->shim, container->bundle);
    SW_AUTO(sw_close) int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return sw_fail(err, SW_IO, "container root: %s", strerror(errno));
    int rc = image_volumes(container, &row, &config, err);
    json_t *image = json_object_get(config, "config");
    if (rc == 0)
        rc = plan_make(executor->state_dir, container->task, json_object_get(image, "Volumes"), &plan, err);
    const char *hostname = hostname_of(container, short_id);
    struct config_input in = { .task = container->task,
                               .image = image,
                               .plan = &plan,
                               .root_fd = root_fd,
                               .bundle = container->bundle,
                               .hostname = hostname,
                               .cgroup_path = container->cgroup,
                               .init_path = executor->shim,
                               .swap_limits = executor->cgroups.swap_limits,
                               .pids_limits = executor->cgroups.pids_limits };
    if (rc == 0)
        rc = make_config(container, &in, err);
    const char *word = json_string_value(json_object_get(image, "StopSignal"));
    container->stop_signal = word != NULL ? config_signal_number(word) : SIGTERM;
    const char *own = container->task->spec->container->stop_signal;
    if (own != NULL && own[0] != '\0')
        container->stop_signal = config_signal_number(own);
    if (rc == 0 && container->stop_signal == 0)
        rc = sw_fail(err, SW_INVALID, "Invalid signal: %.64s", own != NULL ? own : word);
    if (rc == 0)
        rc = write_files(container, hostname, err);
    json_decref(config);
    return rc;
}

void oci_prepared(struct container *container)
{
    struct executor *executor = container->executor;
    struct sw_err err;
    int rc = executor->attachment->ops->attach(executor->attachment, container->task, container->shim, &container->net, &err);
    if (rc == 0)
        rc = configure(container, &err);
    if (rc == 0)
        rc = container_save(container, &err);
    if (rc != 0) {
        oci_prepare_failed(container, oci_failure(&err), err.text);
        oci_turns(executor);
        return;
    }
    container->state = CONTAINER_PREPARED;
    sw_pb_free(container->task);
    container->task = NULL;
    oci_post(executor, &(struct executor_event) { .type = EXECUTOR_PREPARED,
                                                  .task_id = container->id,
                                                  .container_id = container->container_id,
                                                  .addresses = container->net.addresses,
                                                  .address_count = container->net.count });
    oci_turns(executor);
}
