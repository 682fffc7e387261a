/* driver - the executor and image store under a loop, told what to do by lines on stdin, answering by lines on stdout.
 *
 * For run_executor.py. Commands: import SOURCE NAME | pull NAME | rmi REF | images | prepare ID IMAGE JSON | start ID |
 * signal ID SIG | kill ID | remove ID | logs ID TAIL FOLLOW | stats ID | resolve NAME | list. JSON: settings of the task.
 */
#include "common/base/buf.h"
#include "common/base/pb.h"
#include "services/agent/io/executor.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct driver {
    struct svc *svc;
    struct images *images;
    struct executor *executor;
    struct executor_logs *logs;
    char *runtime;
    struct svc_list plain;
    struct sw_buf input;
};

/* ---- a network that is none ---- */
static int no_attach(struct attachment *self, const Swarm__Task *task, pid_t pid, struct attachment_result *ret,
                     struct sw_err *err)
{
    (void)self;
    (void)task;
    (void)pid;
    (void)err;
    ret->count = 0;
    return 0;
}
static void no_detach(struct attachment *self, const char *task_id)
{
    (void)self;
    (void)printf("detached %s\n", task_id);
}
static int no_adopt(struct attachment *self, const char *task_id, pid_t pid, struct attachment_result *ret, struct sw_err *err)
{
    (void)self;
    (void)task_id;
    (void)pid;
    (void)err;
    ret->count = 0;
    return 0;
}
static void no_recovered(struct attachment *self)
{
    (void)self;
}
static const struct attachment_ops no_ops = {
    .attach = no_attach, .detach = no_detach, .adopt = no_adopt, .recovered = no_recovered
};
static struct attachment no_network = { &no_ops };

/* ---- answers ---- */
static void on_event(void *arg, const struct executor_event *event)
{
    static const char *const words[] = { "prepared", "started", "exited", "removed" };
    (void)arg;
    (void)printf("%s %s failure=%d pid=%d code=%d oom=%d text=%s\n", words[event->type], event->task_id, (int)event->failure,
                 event->pid, event->exit_code, event->oom_killed, event->text != NULL ? event->text : "");
}

static void on_image(void *arg, const Swarm__Image *image, const struct sw_err *err)
{
    (void)arg;
    if (image != NULL)
        (void)printf("image %s %s size=%lld created=%lld\n", image->digest, image->n_names != 0 ? image->names[0] : "-",
                     (long long)image->size, (long long)image->created_ns);
    else
        (void)printf("image-failed code=%d %s\n", (int)err->code, err->text);
}

static void on_resolved(void *arg, const Swarm__ImageResolveReply *reply, const struct sw_err *err)
{
    (void)arg;
    if (reply == NULL)
        (void)printf("resolve-failed %s\n", err->text);
    else
        (void)printf("resolved digest=%s local=%d platforms=%zu\n", reply->digest != NULL ? reply->digest : "-", reply->local,
                     reply->n_platforms);
}

static bool on_log(void *arg, const Swarm__LogEntry *const *entries, size_t count, bool end, const struct sw_err *err)
{
    struct driver *driver = arg;
    (void)err;
    for (size_t i = 0; i < count; i++)
        (void)printf("log %d %.*s%s", (int)entries[i]->stream, (int)entries[i]->data.len, (const char *)entries[i]->data.data,
                     entries[i]->data.data[entries[i]->data.len - 1] == '\n' ? "" : "\n");
    if (end) {
        (void)printf("log-end\n");
        executor_logs_close(driver->logs);
        driver->logs = NULL;
    }
    return true;
}

static void on_found(void *arg, const struct executor_found *found)
{
    (void)arg;
    (void)printf("found %s state=%d pid=%d code=%d\n", found->task_id, (int)found->state, found->pid, found->exit_code);
}

/* ---- commands ---- */
static char **words_of(json_t *list, size_t *ret_count)
{
    size_t count = json_array_size(list);
    char **words = sw_realloc_array(NULL, count + 1, sizeof *words);
    for (size_t i = 0; i < count; i++)
        words[i] = sw_strdup(json_string_value(json_array_get(list, i)));
    *ret_count = count;
    return words;
}

static void add_mount(Swarm__ContainerSpec *spec, json_t *from)
{
    Swarm__Mount *mount = sw_alloc0(sizeof *mount);
    swarm__mount__init(mount);
    mount->has_type = 1;
    mount->type = (Swarm__MountType)json_integer_value(json_object_get(from, "type"));
    mount->source = sw_strdup(json_string_value(json_object_get(from, "source")));
    mount->target = sw_strdup(json_string_value(json_object_get(from, "target")));
    spec->mounts = sw_realloc_array(spec->mounts, spec->n_mounts + 1, sizeof *spec->mounts);
    spec->mounts[spec->n_mounts++] = mount;
}

static void prepare(struct driver *driver, const char *id, const char *image, const char *settings)
{
    size_t i;
    json_t *item, *set = json_loads(settings, 0, NULL);
    Swarm__Task *task = sw_alloc0(sizeof *task);
    swarm__task__init(task);
    task->id = sw_strdup(id);
    task->service_id = sw_strdup("s");
    task->service_name = sw_strdup("s");
    task->meta = sw_alloc0(sizeof *task->meta);
    swarm__meta__init(task->meta);
    task->status = sw_alloc0(sizeof *task->status);
    swarm__task_status__init(task->status);
    task->spec = sw_alloc0(sizeof *task->spec);
    swarm__task_spec__init(task->spec);
    Swarm__ContainerSpec *spec = task->spec->container = sw_alloc0(sizeof *spec);
    swarm__container_spec__init(spec);
    spec->image = sw_strdup(image);
    spec->args = words_of(json_object_get(set, "args"), &spec->n_args);
    spec->env = words_of(json_object_get(set, "env"), &spec->n_env);
    spec->user = sw_strdup(json_string_value(json_object_get(set, "user")));
    spec->has_init = spec->has_tty = spec->has_read_only = spec->has_pids_limit = 1;
    spec->init = json_is_true(json_object_get(set, "init"));
    spec->tty = json_is_true(json_object_get(set, "tty"));
    spec->read_only = json_is_true(json_object_get(set, "read_only"));
    spec->pids_limit = json_integer_value(json_object_get(set, "pids"));
    json_array_foreach(json_object_get(set, "mounts"), i, item) add_mount(spec, item);
    json_t *memory = json_object_get(set, "memory");
    if (memory != NULL) {
        task->spec->resources = sw_alloc0(sizeof *task->spec->resources);
        swarm__resource_requirements__init(task->spec->resources);
        task->spec->resources->limits = sw_alloc0(sizeof *task->spec->resources->limits);
        swarm__resources__init(task->spec->resources->limits);
        task->spec->resources->limits->has_memory_bytes = 1;
        task->spec->resources->limits->memory_bytes = json_integer_value(memory);
    }
    json_decref(set);
    executor_prepare(driver->executor, task);
    sw_pb_free(task);
}

static void show_images(struct driver *driver)
{
    Swarm__ImageListReply *reply = images_list(driver->images);
    for (size_t i = 0; i < reply->n_images; i++)
        on_image(NULL, reply->images[i], NULL);
    sw_pb_free(reply);
    (void)printf("images-end\n");
}

static void images_command(struct driver *driver, char *const words[4])
{
    struct images_calls calls = { .done = on_image };
    struct sw_err err = { .text = "" };
    int rc = 0;
    if (strcmp(words[0], "import") == 0)
        rc = images_import(driver->images, words[1], words[2], &calls, NULL, &err);
    else if (strcmp(words[0], "pull") == 0)
        rc = images_pull(driver->images, words[1], &calls, NULL, &err);
    else if (strcmp(words[0], "resolve") == 0)
        rc = images_resolve(driver->images, words[1], on_resolved, NULL, &err);
    else if (strcmp(words[0], "rmi") == 0 && (rc = images_remove(driver->images, words[1], words[2] != NULL, &err)) == 0)
        (void)printf("rmi-ok\n");
    else if (strcmp(words[0], "images") == 0)
        show_images(driver);
    if (rc != 0)
        (void)printf("%s-refused %s\n", words[0], err.text);
}

static void task_command(struct driver *driver, char *const words[4])
{
    struct sw_err err = { .text = "" };
    struct executor_stats stats;
    if (strcmp(words[0], "prepare") == 0)
        prepare(driver, words[1], words[2], words[3]);
    else if (strcmp(words[0], "start") == 0)
        executor_start(driver->executor, words[1]);
    else if (strcmp(words[0], "signal") == 0)
        executor_signal(driver->executor, words[1], words[2]);
    else if (strcmp(words[0], "kill") == 0)
        executor_kill(driver->executor, words[1]);
    else if (strcmp(words[0], "remove") == 0)
        executor_remove(driver->executor, words[1]);
    else if (strcmp(words[0], "logs") == 0) {
        struct executor_log_options options = { .tail = atoll(words[2]), .follow = words[3] != NULL && words[3][0] == '1' };
        if (executor_logs_open(driver->executor, words[1], &options, on_log, driver, &driver->logs, &err) != 0)
            (void)printf("logs-refused %s\n", err.text);
    } else if (strcmp(words[0], "stats") == 0 && executor_stats(driver->executor, words[1], &stats, &err) == 0)
        (void)printf("stats memory=%llu limit=%llu pids=%llu\n", (unsigned long long)stats.memory_bytes,
                     (unsigned long long)stats.memory_limit_bytes, (unsigned long long)stats.pids);
    else if (strcmp(words[0], "list") == 0) {
        executor_list(driver->executor, on_found, NULL);
        (void)printf("list-end\n");
    }
}

static void on_input(void *arg, int fd, uint32_t events)
{
    struct driver *driver = arg;
    char data[4096];
    (void)events;
    ssize_t len = read(fd, data, sizeof data);
    if (len <= 0) {
        svc_quit(driver->svc, 0);
        return;
    }
    sw_buf_add(&driver->input, data, (size_t)len);
    for (char *end = strchr(driver->input.data, '\n'); end != NULL; end = strchr(driver->input.data, '\n')) {
        char *words[4] = { NULL }, *rest = driver->input.data;
        *end = '\0';
        for (size_t i = 0; i < 4 && rest != NULL; i++)
            words[i] = i < 3 ? strsep(&rest, " ") : rest;
        images_command(driver, words);
        task_command(driver, words);
        size_t used = (size_t)(end - driver->input.data) + 1;
        driver->input.len -= used;
        memmove(driver->input.data, end + 1, driver->input.len + 1);
    }
}

static int start(struct svc *svc, void *state, struct sw_err *err)
{
    struct driver *driver = state;
    const char *plain[8] = { NULL };
    for (size_t i = 0; i < driver->plain.count && i < 7; i++)
        plain[i] = driver->plain.items[i];
    struct images_spec images = { .svc = svc, .state_dir = svc_state_dir(svc), .plain_registries = plain };
    driver->svc = svc;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    int rc = images_open(&images, &driver->images, err);
    struct executor_spec spec = { .svc = svc,
                                  .state_dir = svc_state_dir(svc),
                                  .run_dir = svc_run_dir(svc),
                                  .images = driver->images,
                                  .attachment = &no_network,
                                  .runtime = driver->runtime,
                                  .cgroup_parent = "swarm-test",
                                  .event = on_event,
                                  .log_size_max = 8192 };
    if (rc == 0)
        rc = executor_open(&spec, &driver->executor, err);
    if (rc != 0)
        return rc;
    (void)svc_watch_add(svc, 0, EPOLLIN, on_input, driver);
    (void)printf("ready %s %s\n", executor_runtime(driver->executor), executor_cgroup(driver->executor));
    return 0;
}

static void stop(struct svc *svc, void *state)
{
    struct driver *driver = state;
    (void)svc;
    executor_close(driver->executor);
    images_close(driver->images);
    sw_buf_deinit(&driver->input);
}

int main(int argc, char **argv)
{
    static struct driver driver;
    const struct svc_option options[] = { { "runtime", SVC_STRING, NULL, &driver.runtime, 0, 0, "runtime to use" },
                                          { "plain", SVC_LIST, NULL, &driver.plain, 0, 0, "registry without TLS" } };
    const struct svc_program program = { .name = "oci-driver",
                                         .summary = "drives the executor",
                                         .metrics_address = "127.0.0.1:0",
                                         .options = options,
                                         .option_count = 2,
                                         .state = &driver,
                                         .start = start,
                                         .stop = stop };
    return svc_main(&program, argc, argv);
}
