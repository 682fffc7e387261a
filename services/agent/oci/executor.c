/* The executor's calls and events: io/executor.h. */
#include "services/agent/oci/oci.h"

#include "common/base/buf.h"
#include "common/base/pb.h"
#include "services/agent/oci/filter.h"

#include <dirent.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- events, told from the loop and never from within a call ---- */
struct note {
    struct note *next;
    struct executor_event event;
    struct attachment_address addresses[ATTACHMENT_ADDRESSES_MAX];
    char task_id[OCI_ID_MAX + 1], container_id[65], text[512];
};

static void tell(struct executor *executor)
{
    while (executor->notes != NULL) {
        struct note *note = executor->notes;
        executor->notes = note->next;
        if (executor->notes == NULL)
            executor->notes_end = &executor->notes;
        executor->event(executor->arg, &note->event);
        free(note);
    }
}

void oci_post(struct executor *executor, const struct executor_event *event)
{
    struct note *note = sw_alloc0(sizeof *note);
    note->event = *event;
    (void)snprintf(note->task_id, sizeof note->task_id, "%s", event->task_id);
    note->event.task_id = note->task_id;
    if (event->text != NULL) {
        (void)snprintf(note->text, sizeof note->text, "%.*s", (int)strcspn(event->text, "\n"), event->text);
        note->event.text = note->text;
    }
    if (event->container_id != NULL) {
        (void)snprintf(note->container_id, sizeof note->container_id, "%s", event->container_id);
        note->event.container_id = note->container_id;
    }
    if (event->address_count != 0)
        memcpy(note->addresses, event->addresses, event->address_count * sizeof note->addresses[0]);
    note->event.addresses = note->addresses;
    *executor->notes_end = note;
    executor->notes_end = &note->next;
    svc_timer_at(executor->timer, 0);
}

/* ---- turns ---- */
struct container *oci_find(struct executor *executor, const char *task_id)
{
    for (struct container *container = executor->containers; container != NULL; container = container->next)
        if (strcmp(container->id, task_id) == 0)
            return container;
    return NULL;
}

static struct container *first_in(struct executor *executor, enum container_state state, size_t *ret_count)
{
    struct container *first = NULL;
    *ret_count = 0;
    for (struct container *container = executor->containers; container != NULL; container = container->next)
        if (container->state == state) {
            first = first != NULL ? first : container;
            (*ret_count)++;
        }
    return first;
}

static void take_turns(struct executor *executor)
{
    size_t busy, waiting;
    for (;;) { /* what was prepared first is started first; starting goes before preparing */
        struct container *next = first_in(executor, CONTAINER_TURN, &waiting);
        (void)first_in(executor, CONTAINER_STARTING, &busy);
        if (next != NULL && busy < OCI_PARALLEL) {
            next->state = CONTAINER_STARTING;
            container_send(next, "start");
            continue;
        }
        next = first_in(executor, CONTAINER_QUEUED, &waiting);
        (void)first_in(executor, CONTAINER_SHIM, &busy);
        if (next == NULL || busy >= OCI_PARALLEL)
            return;
        oci_prepare(next);
    }
}

void oci_turns(struct executor *executor)
{
    svc_timer_at(executor->timer, 0);
}

static void on_timer(void *arg)
{
    take_turns(arg);
    tell(arg);
}

/* ---- prepare ---- */
static void queue(struct container *container, const char *digest)
{
    container->image = sw_strdup(digest);
    store_use(container->executor->images, digest);
    container->state = CONTAINER_QUEUED;
    oci_turns(container->executor);
}

/* A registry that cannot be reached from here may answer another node: the task is rejected, and the scheduler chooses again.
 * Only what this node will have room for later is worth waiting for. */
static enum executor_failure pull_failure(const struct sw_err *err)
{
    return err->code == SW_LIMIT || err->code == SW_NOMEM ? EXECUTOR_FAILED_TEMPORARY : EXECUTOR_FAILED_FATAL;
}

static void on_pulled(void *arg, const Swarm__Image *image, const struct sw_err *err)
{
    struct container *container = arg;
    container->job = NULL;
    if (image == NULL)
        oci_prepare_failed(container, pull_failure(err), err->text);
    else
        queue(container, image->digest);
}

static void find_image(struct container *container)
{
    json_t *row = NULL;
    struct sw_err err;
    const char *name = container->task->spec->container->image;
    struct images *images = container->executor->images;
    struct images_calls calls = { .done = on_pulled, .arg = container };
    container->state = CONTAINER_IMAGE;
    if (store_find(images, name, &row, NULL) == 0)
        queue(container, store_digest(row));
    else if (images_pull(images, name, &calls, &container->job, &err) != 0)
        oci_prepare_failed(container, pull_failure(&err), err.text);
}

static bool id_valid(const char *id)
{
    size_t len = strlen(id);
    return len > 0 && len <= OCI_ID_MAX && strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789") == len;
}

static void refuse(struct executor *executor, const char *task_id, const char *text)
{
    oci_post(executor, &(struct executor_event) {
                           .type = EXECUTOR_PREPARED, .task_id = task_id, .failure = EXECUTOR_FAILED_FATAL, .text = text });
}

void executor_prepare(struct executor *executor, const Swarm__Task *task)
{
    struct container *container = oci_find(executor, task->id);
    if (container != NULL && container->state == CONTAINER_PREPARED && !container->removing) {
        oci_post(executor, &(struct executor_event) { .type = EXECUTOR_PREPARED,
                                                      .task_id = task->id,
                                                      .container_id = container->container_id,
                                                      .addresses = container->net.addresses,
                                                      .address_count = container->net.count });
        return;
    }
    if (container != NULL) {
        refuse(executor, task->id, "this task has a container already");
    } else if (!id_valid(task->id)) {
        refuse(executor, task->id, "task id: 1 to 64 lower-case letters and digits are allowed");
    } else if (executor->broken != NULL) {
        refuse(executor, task->id, executor->broken);
    } else if (executor->count >= EXECUTOR_TASKS_MAX) {
        refuse(executor, task->id, "this node holds 4096 containers already");
    } else {
        container = container_new(executor, task->id);
        container->task = sw_pb_clone(task);
        container->tty = task->spec->container->tty;
        find_image(container);
    }
}

/* ---- start, signal, kill ---- */
void executor_start(struct executor *executor, const char *task_id)
{
    struct container *container = oci_find(executor, task_id);
    if (container != NULL && container->state == CONTAINER_STARTING)
        return; /* an earlier agent asked for it: STARTED is on its way */
    if (container != NULL && container->state == CONTAINER_RUNNING) {
        oci_post(executor, &(struct executor_event) { .type = EXECUTOR_STARTED,
                                                      .task_id = task_id,
                                                      .pid = container->pid,
                                                      .container_id = container->container_id });
        return;
    }
    if (container == NULL || container->state != CONTAINER_PREPARED) {
        oci_post(executor, &(struct executor_event) { .type = EXECUTOR_STARTED,
                                                      .task_id = task_id,
                                                      .failure = EXECUTOR_FAILED_FATAL,
                                                      .text = "this task has no prepared container" });
        return;
    }
    container->state = CONTAINER_TURN;
    oci_turns(executor);
}

void executor_signal(struct executor *executor, const char *task_id, const char *signal)
{
    char text[32];
    struct container *container = oci_find(executor, task_id);
    if (container == NULL)
        return;
    int number = signal != NULL ? config_signal_number(signal) : container->stop_signal;
    (void)snprintf(text, sizeof text, "signal %d", number > 0 ? number : SIGTERM);
    if (container->state == CONTAINER_STARTING || container->state == CONTAINER_RUNNING)
        container_send(container, text);
}

void executor_kill(struct executor *executor, const char *task_id)
{
    struct container *container = oci_find(executor, task_id);
    if (container != NULL && (container->state == CONTAINER_STARTING || container->state == CONTAINER_RUNNING))
        container_send(container, "kill");
}

/* ---- the end ---- */
static void tell_end(struct container *container, bool starting)
{
    struct executor_event event = { .type = EXECUTOR_EXITED,
                                    .task_id = container->id,
                                    .exit_code = container->exit_code,
                                    .oom_killed = container->oom,
                                    .text = container->text };
    if (starting && container->failed) {
        event.type = EXECUTOR_STARTED;
        event.failure = EXECUTOR_FAILED_FATAL;
    } else if (starting) { /* it ran and ended so quickly that its running was not heard of */
        struct executor_event begun = {
            .type = EXECUTOR_STARTED, .task_id = container->id, .pid = container->pid, .container_id = container->container_id
        };
        oci_post(container->executor, &begun);
    }
    oci_post(container->executor, &event);
}

void oci_finish(struct container *container)
{
    struct executor *executor = container->executor;
    bool starting = container->state == CONTAINER_STARTING || container->state == CONTAINER_TURN ||
                    (container->state == CONTAINER_LOST && container->failed);
    executor->attachment->ops->detach(executor->attachment, container->id);
    container->state = CONTAINER_EXITED;
    container->pid = 0;
    tell_end(container, starting);
    logs_wake(executor, container->id);
    if (container->removing)
        container_clean(container);
    oci_turns(executor);
}

static void remove_unknown(struct executor *executor, const char *task_id)
{
    if (id_valid(task_id)) {
        struct container *container = container_new(executor, task_id);
        container->removing = true;
        container_clean(container); /* what a cut removal may have left */
    } else {
        oci_post(executor, &(struct executor_event) { .type = EXECUTOR_REMOVED, .task_id = task_id });
    }
}

void executor_remove(struct executor *executor, const char *task_id)
{
    struct container *container = oci_find(executor, task_id);
    if (container == NULL) {
        remove_unknown(executor, task_id);
        return;
    }
    container->removing = true;
    switch (container->state) {
    case CONTAINER_IMAGE:
        if (container->job != NULL)
            images_cancel(container->job);
        container->job = NULL;
        oci_prepare_failed(container, EXECUTOR_FAILED_FATAL, "removed while it was prepared");
        break;
    case CONTAINER_QUEUED:
        oci_prepare_failed(container, EXECUTOR_FAILED_FATAL, "removed while it was prepared");
        break;
    case CONTAINER_PREPARED:
        executor->attachment->ops->detach(executor->attachment, container->id);
        container_send(container, "kill");
        container_clean(container);
        break;
    case CONTAINER_TURN:
    case CONTAINER_STARTING:
    case CONTAINER_RUNNING:
        container_send(container, "kill"); /* oci_finish() goes on */
        break;
    case CONTAINER_EXITED:
        container_clean(container);
        break;
    case CONTAINER_SHIM:
    case CONTAINER_LOST:
    case CONTAINER_CLEANING:
        break; /* their own child's end goes on */
    }
}

/* ---- recovery ---- */
static void adopt(struct container *container)
{
    struct executor *executor = container->executor;
    struct sw_err err;
    if (container->state != CONTAINER_PREPARED && container->state != CONTAINER_STARTING && container->state != CONTAINER_RUNNING)
        return;
    if (executor->attachment->ops->adopt(executor->attachment, container->id, container->shim, &container->net, &err) != 0)
        svc_log(SVC_WARN, "network of a container not taken over", "task=%s err=\"%s\"", container->id, err.text);
}

static void recover_one(struct executor *executor, const char *task_id)
{
    struct container *container = container_new(executor, task_id);
    struct sw_err err;
    bool known = container_load(container, &err) == 0;
    if (known)
        store_use(executor->images, container->image);
    bool alive = container_connect(container, NULL) == 0;
    if (known && alive)
        container_hello(container);
    if (!known) { /* its preparation was cut: the shim, if any, is told to go, and the files too */
        container_send(container, "kill");
        container_clean(container);
    } else if (container->socket < 0 && container_read_exit(container)) {
        container->state = CONTAINER_EXITED;
    } else if (container->socket < 0) {
        container->state = CONTAINER_RUNNING;
        container_lost(container);
    } else {
        adopt(container);
    }
}

static void recover(struct executor *executor)
{
    DIR *dir = opendir(executor->containers_dir);
    if (dir == NULL)
        return;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        SW_AUTO(sw_free) char *path = sw_strf("%s/%s", executor->containers_dir, entry->d_name);
        if (id_valid(entry->d_name))
            recover_one(executor, entry->d_name);
        else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)svc_rmtree(path, NULL);
    }
    (void)closedir(dir);
    executor->attachment->ops->recovered(executor->attachment);
}

void executor_list(struct executor *executor, executor_found_fn *fn, void *arg)
{
    for (struct container *container = executor->containers, *next; container != NULL; container = next) {
        next = container->next; /* fn may remove it */
        bool exited = container->state == CONTAINER_EXITED || container->ended;
        if (container->state == CONTAINER_CLEANING)
            continue;
        bool running = container->state == CONTAINER_RUNNING || container->state == CONTAINER_LOST;
        struct executor_found found = { .task_id = container->id,
                                        .container_id = container->container_id,
                                        .pid = container->pid,
                                        .state = exited    ? EXECUTOR_IS_EXITED
                                                 : running ? EXECUTOR_IS_RUNNING
                                                           : EXECUTOR_IS_PREPARED,
                                        .exit_code = container->exit_code,
                                        .oom_killed = container->oom,
                                        .addresses = container->net.addresses,
                                        .address_count = container->net.count };
        fn(arg, &found);
    }
}

/* ---- open and close ---- */
static int make_dirs(struct executor *executor, struct sw_err *err)
{
    int rc = svc_mkdirs(executor->containers_dir, 0711, err);
    if (rc == 0)
        rc = svc_mkdirs(executor->logs_dir, 0700, err);
    if (rc == 0)
        rc = svc_mkdirs(executor->socket_dir, 0700, err);
    return rc == 0 ? svc_mkdirs(executor->runtime_root, 0700, err) : rc;
}

/* Several nodes on one machine must not meet in the cgroup tree. */
static char *cgroup_parent(const struct executor_spec *spec)
{
    unsigned char sum[16];
    char hex[2 * sizeof sum + 1];
    (void)crypto_generichash(sum, sizeof sum, (const unsigned char *)spec->state_dir, strlen(spec->state_dir), NULL, 0);
    (void)sodium_bin2hex(hex, sizeof hex, sum, sizeof sum);
    return sw_strf("/%s/%.8s", spec->cgroup_parent != NULL ? spec->cgroup_parent : "swarm", hex);
}

static struct executor *new_executor(const struct executor_spec *spec)
{
    struct executor *executor = sw_alloc0(sizeof *executor);
    executor->svc = spec->svc;
    executor->images = spec->images;
    executor->attachment = spec->attachment;
    executor->event = spec->event;
    executor->arg = spec->arg;
    executor->notes_end = &executor->notes;
    executor->timer = svc_timer_new(spec->svc, on_timer, executor);
    executor->state_dir = sw_strdup(spec->state_dir);
    executor->containers_dir = sw_strf("%s/agent/containers", spec->state_dir);
    executor->logs_dir = sw_strf("%s/logs", spec->state_dir);
    executor->socket_dir = sw_strf("%s/containers", spec->run_dir);
    executor->runtime_root = sw_strf("%s/runtime", spec->run_dir);
    executor->shim = store_helper("swarm-shim");
    executor->log_size_max = spec->log_size_max != 0 ? spec->log_size_max : 10u << 20;
    executor->log_files_max = spec->log_files_max != 0 ? spec->log_files_max : 3;
    executor->parent = cgroup_parent(spec);
    executor->filters = json_object();
    executor->profile = json_load_file(FILTER_PROFILE, 0, NULL);
    return executor;
}

/* A node without a working runtime still comes up: it says so, and rejects tasks with the reason. A runtime asked for by name
 * that does not work is a wrong option. */
static int find_runtime(struct executor *executor, const char *wanted, struct sw_err *err)
{
    int rc = probe_runtime(executor, wanted, err);
    if (rc == 0 || wanted != NULL)
        return rc;
    executor->broken = sw_strdup(err->text);
    free(executor->runtime_text);
    executor->runtime_text = sw_strdup("none");
    svc_log(SVC_ERROR, "containers cannot be run on this node", "err=\"%s\"", err->text);
    return 0;
}

int executor_open(const struct executor_spec *spec, struct executor **ret_executor, struct sw_err *err)
{
    struct executor *executor = new_executor(spec);
    int rc = sodium_init() < 0 ? sw_fail(err, SW_IO, "libsodium does not start") : make_dirs(executor, err);
    if (rc == 0)
        rc = cgroups_find(&executor->cgroups, err);
    if (rc == 0)
        rc = find_runtime(executor, spec->runtime, err);
    if (rc != 0) {
        executor_close(executor);
        return rc;
    }
    recover(executor);
    *ret_executor = executor;
    return 0;
}

void executor_close(struct executor *executor)
{
    if (executor == NULL)
        return;
    while (executor->readers != NULL)
        executor_logs_close(executor->readers);
    if (executor->count == 0) {
        SW_AUTO(sw_free) char *top = sw_strdup(executor->parent);
        cgroups_rmdir(&executor->cgroups, executor->parent);
        *strrchr(top, '/') = '\0';
        cgroups_rmdir(&executor->cgroups, top);
    }
    while (executor->containers != NULL) {
        struct container *container = executor->containers;
        if (container->job != NULL)
            images_cancel(container->job);
        if (container->child != NULL)
            svc_child_kill(container->child);
        container_free(container);
    }
    while (executor->notes != NULL) {
        struct note *note = executor->notes;
        executor->notes = note->next;
        free(note);
    }
    svc_timer_free(executor->timer);
    cgroups_deinit(&executor->cgroups);
    json_decref(executor->profile);
    json_decref(executor->filters);
    char *owned[] = { executor->state_dir, executor->containers_dir, executor->logs_dir,     executor->socket_dir,
                      executor->shim,      executor->runtime,        executor->runtime_root, executor->runtime_text,
                      executor->parent,    executor->broken };
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free(owned[i]);
    free(executor);
}

const char *executor_runtime(const struct executor *executor)
{
    return executor->runtime_text;
}

const char *executor_cgroup(const struct executor *executor)
{
    static const char *const words[] = { [CGROUP_V1] = "v1", [CGROUP_V2] = "v2", [CGROUP_HYBRID] = "hybrid" };
    return words[executor->cgroups.kind];
}

int executor_stats(struct executor *executor, const char *task_id, struct executor_stats *ret_stats, struct sw_err *err)
{
    struct container *container = oci_find(executor, task_id);
    if (container == NULL || container->state != CONTAINER_RUNNING)
        return sw_fail(err, SW_NOT_FOUND, "task %.64s has no running container", task_id);
    return cgroups_stats(&executor->cgroups, container->cgroup, ret_stats, err);
}
