/* Logs as swarm-shim writes them: json.log.N (oldest) ... json.log.1, json.log. */
#include "services/agent/oci/oci.h"

#include "common/base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILES_MAX 1000
#define BLOCK 65536
#define ENTRIES_MAX 1024 /* of one callback */
#define LINE_MAX_BYTES (256u << 10)

struct executor_logs {
    struct executor_logs *next;
    struct executor *executor;
    char task_id[OCI_ID_MAX + 1];
    char *dir;
    struct executor_log_options options;
    executor_log_fn *fn;
    void *arg;
    int inotify;
    struct svc_watch *watch;
    struct svc_timer *timer; /* the next step */
    int fd;                  /* of the file being read, -1 before the first */
    ino_t inode;
    struct sw_buf text; /* read and not yet told */
    bool held, ended, in_callback, closed;
};

/* ---- files ---- */
static char *file_name(const struct executor_logs *logs, unsigned number)
{
    return number == 0 ? sw_strf("%s/json.log", logs->dir) : sw_strf("%s/json.log.%u", logs->dir, number);
}

/* How many files there are; numbers have no gaps. */
static unsigned file_count(const struct executor_logs *logs)
{
    unsigned count = 0;
    for (; count < FILES_MAX; count++) {
        SW_AUTO(sw_free) char *path = file_name(logs, count);
        if (access(path, F_OK) != 0)
            break;
    }
    return count;
}

static void use_file(struct executor_logs *logs, int fd)
{
    struct stat st;
    if (logs->fd >= 0)
        (void)close(logs->fd);
    logs->fd = fd;
    logs->inode = fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* Opens what comes after the file in hand, which may have moved on by rotation. False: there is nothing newer. */
static bool next_file(struct executor_logs *logs)
{
    unsigned count = file_count(logs), place = count; /* beyond the oldest: start there */
    struct stat st;
    for (unsigned i = 0; i < count && logs->fd >= 0; i++) {
        SW_AUTO(sw_free) char *path = file_name(logs, i);
        if (stat(path, &st) == 0 && st.st_ino == logs->inode)
            place = i;
    }
    if (place == 0)
        return false;
    SW_AUTO(sw_free) char *path = file_name(logs, place - 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    use_file(logs, fd);
    return true;
}

/* Offset of the first of the last `lines` lines of a file; *lines goes down by what the file holds. */
static off_t tail_of(int fd, int64_t *lines)
{
    static char block[BLOCK];
    off_t end = lseek(fd, 0, SEEK_END);
    for (off_t at = end; at > 0;) {
        size_t len = at < BLOCK ? (size_t)at : BLOCK;
        at -= (off_t)len;
        if (pread(fd, block, len, at) != (ssize_t)len)
            return 0;
        for (size_t i = len; i > 0; i--)
            if (block[i - 1] == '\n' && at + (off_t)i != end && --*lines == 0)
                return at + (off_t)i;
    }
    *lines -= end > 0;
    return 0;
}

/* Goes back from the newest file until enough lines lie ahead. */
static void seek_tail(struct executor_logs *logs)
{
    int64_t lines = logs->options.tail;
    unsigned count = file_count(logs);
    for (unsigned i = 0; i < count; i++) {
        SW_AUTO(sw_free) char *path = file_name(logs, i);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return;
        use_file(logs, fd);
        off_t start = lines > 0 ? tail_of(fd, &lines) : lseek(fd, 0, SEEK_END);
        (void)lseek(fd, start, SEEK_SET);
        if (lines <= 0)
            return;
    }
}

/* ---- lines ---- */
static int64_t parse_time(const char *text)
{
    struct tm tm = { 0 };
    const char *rest = text != NULL ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (rest == NULL)
        return 0;
    int64_t nanos = 0, scale = INT64_C(100000000);
    if (*rest == '.')
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10)
            nanos += (*rest - '0') * scale;
    return (int64_t)timegm(&tm) * INT64_C(1000000000) + nanos;
}

static bool parse_line(const struct executor_logs *logs, const char *line, size_t len, Swarm__LogEntry *ret)
{
    json_t *object = json_loadb(line, len, JSON_ALLOW_NUL, NULL);
    json_t *text = json_object_get(object, "log");
    const char *stream = json_string_value(json_object_get(object, "stream"));
    swarm__log_entry__init(ret);
    ret->time_ns = parse_time(json_string_value(json_object_get(object, "time")));
    bool good = json_is_string(text) && ret->time_ns >= logs->options.since_ns;
    if (good) {
        ret->stream =
            stream != NULL && strcmp(stream, "stderr") == 0 ? SWARM__LOG_STREAM__LOG_STDERR : SWARM__LOG_STREAM__LOG_STDOUT;
        ret->data.len = json_string_length(text);
        ret->data.data = sw_realloc_array(NULL, ret->data.len + 1, 1);
        memcpy(ret->data.data, json_string_value(text), ret->data.len);
    }
    json_decref(object);
    return good;
}

/* Takes whole lines off the text in hand, as many as one callback may carry. */
static size_t take_lines(struct executor_logs *logs, Swarm__LogEntry *entries)
{
    size_t count = 0, bytes = 0, used = 0;
    while (count < ENTRIES_MAX && bytes < EXECUTOR_LOG_CHUNK_MAX - 6 * 16384) {
        const char *line = logs->text.data + used;
        const char *end = used < logs->text.len ? memchr(line, '\n', logs->text.len - used) : NULL;
        if (end == NULL)
            break;
        if (parse_line(logs, line, (size_t)(end - line), &entries[count]))
            bytes += entries[count++].data.len;
        used += (size_t)(end - line) + 1;
    }
    if (used != 0) {
        logs->text.len -= used;
        memmove(logs->text.data, logs->text.data + used, logs->text.len + 1);
    }
    if (logs->text.len > LINE_MAX_BYTES) /* no line of ours is that long */
        sw_buf_reset(&logs->text);
    return count;
}

static bool read_more(struct executor_logs *logs)
{
    static char block[BLOCK];
    for (;;) {
        ssize_t len = logs->fd >= 0 ? read(logs->fd, block, sizeof block) : 0;
        if (len > 0) {
            sw_buf_add(&logs->text, block, (size_t)len);
            return true;
        }
        if (!next_file(logs))
            return false;
        sw_buf_reset(&logs->text); /* half a line at a file's end has no other half */
    }
}

/* ---- telling ---- */
static void call(struct executor_logs *logs, const Swarm__LogEntry *entries, size_t count, bool end)
{
    const Swarm__LogEntry *list[ENTRIES_MAX];
    for (size_t i = 0; i < count; i++)
        list[i] = &entries[i];
    logs->in_callback = true;
    logs->ended = end;
    bool more = logs->fn(logs->arg, list, count, end, NULL);
    logs->in_callback = false;
    logs->held = !more;
}

static bool task_over(const struct executor_logs *logs)
{
    struct container *container = oci_find(logs->executor, logs->task_id);
    return container == NULL || container->state == CONTAINER_EXITED || container->state == CONTAINER_CLEANING;
}

static void free_logs(struct executor_logs *logs)
{
    svc_timer_free(logs->timer);
    svc_watch_del(logs->watch);
    if (logs->inotify >= 0)
        (void)close(logs->inotify);
    if (logs->fd >= 0)
        (void)close(logs->fd);
    sw_buf_deinit(&logs->text);
    free(logs->dir);
    free(logs);
}

static void step(void *arg)
{
    static Swarm__LogEntry entries[ENTRIES_MAX];
    struct executor_logs *logs = arg;
    if (logs->held || logs->ended)
        return;
    bool over = task_over(logs); /* asked first: what is written before the end is read before it is told */
    size_t count = take_lines(logs, entries);
    bool more = true;
    while (count == 0 && (more = read_more(logs)))
        count = take_lines(logs, entries);
    bool end = !more && (!logs->options.follow || over);
    if (count != 0 || end)
        call(logs, entries, count, end);
    for (size_t i = 0; i < count; i++)
        free(entries[i].data.data);
    if (logs->closed)
        free_logs(logs);
    else if (more)
        svc_timer_at(logs->timer, 0);
}

static void on_change(void *arg, int fd, uint32_t events)
{
    char events_text[4096];
    (void)events;
    while (read(fd, events_text, sizeof events_text) > 0)
        ;
    svc_timer_at(((struct executor_logs *)arg)->timer, 0);
}

void logs_wake(struct executor *executor, const char *task_id)
{
    for (struct executor_logs *logs = executor->readers; logs != NULL; logs = logs->next)
        if (strcmp(logs->task_id, task_id) == 0)
            svc_timer_at(logs->timer, 0);
}

int executor_logs_open(struct executor *executor, const char *task_id, const struct executor_log_options *options,
                       executor_log_fn *fn, void *arg, struct executor_logs **ret_logs, struct sw_err *err)
{
    if (oci_find(executor, task_id) == NULL)
        return sw_fail(err, SW_NOT_FOUND, "task %.64s has no container on this node", task_id);
    struct executor_logs *logs = sw_alloc0(sizeof *logs);
    *logs = (struct executor_logs) { .next = executor->readers,
                                     .executor = executor,
                                     .options = *options,
                                     .fn = fn,
                                     .arg = arg,
                                     .dir = sw_strf("%s/%s", executor->logs_dir, task_id),
                                     .inotify = -1,
                                     .fd = -1 };
    (void)snprintf(logs->task_id, sizeof logs->task_id, "%s", task_id);
    logs->timer = svc_timer_new(executor->svc, step, logs);
    executor->readers = logs;
    if (options->follow) {
        (void)mkdir(logs->dir, 0750); /* the shim makes it as well: whoever is first */
        logs->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        (void)inotify_add_watch(logs->inotify, logs->dir, IN_MODIFY | IN_CREATE | IN_MOVED_TO);
        logs->watch = svc_watch_add(executor->svc, logs->inotify, EPOLLIN, on_change, logs);
    }
    if (options->tail >= 0)
        seek_tail(logs);
    svc_timer_at(logs->timer, 0);
    *ret_logs = logs;
    return 0;
}

void executor_logs_resume(struct executor_logs *logs)
{
    logs->held = false;
    svc_timer_at(logs->timer, 0);
}

void executor_logs_close(struct executor_logs *logs)
{
    if (logs == NULL)
        return;
    for (struct executor_logs **at = &logs->executor->readers; *at != NULL; at = &(*at)->next)
        if (*at == logs) {
            *at = logs->next;
            break;
        }
    logs->closed = true;
    if (!logs->in_callback)
        free_logs(logs);
}
