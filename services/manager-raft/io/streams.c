#include "services/manager-raft/io/streams.h"

#include "common/base/idmap.h"
#include "proto/envelope.pb-c.h"
#include "services/manager-raft/core/refs.h"
#include "services/manager-raft/core/watch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A log stream or a watch. */
struct stream {
    uint64_t number; /* the subscription's */
    bool watch, dirty, follow;
    struct bus_sender sender;
    char service_id[64];   /* "" for the log of one task */
    Swarm__Service *last;  /* watch: the service as last seen */
    struct sw_idmap tasks; /* log: task id -> &asked or &ended */
    size_t open;           /* log: tasks whose log has not ended */
    char *warnings[STREAMS_WARNINGS_MAX];
    size_t warning_count;
    struct stream *next;
};

struct streams {
    struct svc *svc;
    const struct mirror *mirror;
    struct feed *feed;
    struct stream *all;
    size_t count;
    uint64_t next_number;
    struct sw_scratch scratch;
    struct svc_timer *flush, *alive;
    uint64_t flushed_ms;
    bool flush_set;
};

static char asked, ended; /* markers: only their addresses count */

static void on_flush(void *arg);
static void on_alive(void *arg);

/* ---- life ---- */

struct streams *streams_new(struct svc *svc, const struct mirror *mirror)
{
    struct streams *streams = sw_alloc0(sizeof *streams);
    streams->svc = svc;
    streams->mirror = mirror;
    streams->next_number = svc_random_u64() >> 16 << 8; /* a restarted manager must not meet its old subscriptions */
    streams->flush = svc_timer_new(svc, on_flush, streams);
    streams->alive = svc_timer_new(svc, on_alive, streams);
    svc_timer_at(streams->alive, svc_mono_ms() + STREAMS_ALIVE_MS);
    return streams;
}

void streams_set_feed(struct streams *streams, struct feed *feed)
{
    streams->feed = feed;
}

size_t streams_count(const struct streams *streams)
{
    return streams->count;
}

static int stream_new(struct streams *streams, const struct bus_sender *sender, struct stream **ret, struct sw_err *err)
{
    if (sender->seq == 0)
        return sw_fail(err, SW_INVALID, "a stream needs a sequence number to answer to");
    if (streams->count >= STREAMS_MAX)
        return sw_fail(err, SW_LIMIT, "%u streams are open: try again later", STREAMS_MAX);
    struct stream *stream = sw_alloc0(sizeof *stream);
    stream->sender = *sender;
    stream->number = ++streams->next_number;
    stream->next = streams->all;
    streams->all = stream;
    streams->count++;
    *ret = stream;
    return 0;
}

static void stream_free(struct streams *streams, struct stream *stream)
{
    struct stream **at = &streams->all;
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    streams->count--;
    if (!stream->watch && stream->open > 0) {
        Swarm__LogUnsubscribe message = SWARM__LOG_UNSUBSCRIBE__INIT;
        message.subscription = stream->number;
        (void)feed_tell_dispatcher(streams->feed, &message, NULL); /* gone with its subscriptions otherwise */
    }
    for (size_t i = 0; i < stream->warning_count; i++)
        free(stream->warnings[i]);
    sw_idmap_deinit(&stream->tasks);
    sw_pb_free(stream->last);
    free(stream);
}

void streams_free(struct streams *streams)
{
    if (streams == NULL)
        return;
    while (streams->all != NULL) {
        streams->all->open = 0;
        stream_free(streams, streams->all);
    }
    sw_scratch_deinit(&streams->scratch);
    svc_timer_free(streams->flush);
    svc_timer_free(streams->alive);
    free(streams);
}

/* ---- logs ---- */

static void warn(struct stream *stream, char *text)
{
    if (stream->warning_count < STREAMS_WARNINGS_MAX)
        stream->warnings[stream->warning_count++] = text;
    else
        free(text);
}

static void log_finish(struct streams *streams, struct stream *stream)
{
    Swarm__LogsEvent event = SWARM__LOGS_EVENT__INIT;
    event.warnings = stream->warnings;
    event.n_warnings = stream->warning_count;
    (void)bus_reply(&stream->sender, &event);
    stream_free(streams, stream);
}

/* Has the task (had) a container whose output can be read? */
static bool has_log(const Swarm__Task *task)
{
    Swarm__TaskState state = task->status->state;
    return state >= SWARM__TASK_STATE__TASK_RUNNING && state != SWARM__TASK_STATE__TASK_REJECTED &&
           state != SWARM__TASK_STATE__TASK_ORPHANED;
}

/* Take the tasks of a service that are not in the stream yet into *ret_ids. `first`: unscheduled ones become warnings. */
static size_t pick_tasks(struct streams *streams, struct stream *stream, bool first, char **ids)
{
    size_t count = 0;
    struct mirror_tasks tasks = mirror_tasks_of_service(streams->mirror, stream->service_id);
    for (size_t i = 0; i < tasks.count && stream->tasks.count < STREAMS_TASKS_MAX; i++) {
        const Swarm__Task *task = tasks.items[i];
        if (sw_idmap_has(&stream->tasks, task->id))
            continue;
        bool placed = task->node_id != NULL && task->node_id[0] != '\0';
        if (placed && has_log(task)) {
            sw_idmap_put(&stream->tasks, task->id, &asked);
            ids[count++] = task->id;
        } else if (first && !stream->follow && !placed && task->desired_state <= SWARM__TASK_STATE__TASK_RUNNING) {
            warn(stream, sw_strf("task %s has not been scheduled", task->id));
        }
    }
    return count;
}

static int ask_dispatcher(struct streams *streams, struct stream *stream, char **ids, size_t count,
                          const Swarm__LogsRequest *request, struct sw_err *err)
{
    Swarm__LogSubscribe message = SWARM__LOG_SUBSCRIBE__INIT;
    message.subscription = stream->number;
    message.task_ids = ids;
    message.n_task_ids = count;
    message.has_follow = true;
    message.follow = stream->follow;
    if (request != NULL) { /* tasks that join in later are read from their beginning */
        message.has_tail = message.has_since_ns = true;
        message.tail = request->tail;
        message.since_ns = request->since_ns;
    }
    int rc = feed_tell_dispatcher(streams->feed, &message, err);
    if (rc == 0)
        stream->open += count;
    return rc;
}

static int find_log(const struct mirror *mirror, const char *ref, const Swarm__Service **ret_service,
                    const Swarm__Task **ret_task, struct sw_err *err)
{
    int rc = refs_service(mirror, ref, ret_service, err);
    if (rc == -SW_NOT_FOUND)
        rc = refs_task(mirror, ref, ret_task, err);
    return rc == -SW_NOT_FOUND ? sw_fail(err, SW_NOT_FOUND, "no such task or service: %s", ref) : rc;
}

static int log_begin(struct streams *streams, struct stream *stream, const Swarm__Service *service, const Swarm__Task *task,
                     const Swarm__LogsRequest *request, struct sw_err *err)
{
    size_t room = task != NULL ? 1 : mirror_tasks_of_service(streams->mirror, service->id).count;
    char **ids = sw_scratch_alloc(&streams->scratch, (room + 1) * sizeof *ids);
    size_t count = 0;
    if (task != NULL) {
        ids[count++] = task->id;
        sw_idmap_put(&stream->tasks, task->id, &asked);
    } else {
        (void)snprintf(stream->service_id, sizeof stream->service_id, "%s", service->id);
        count = pick_tasks(streams, stream, true, ids);
    }
    return count > 0 ? ask_dispatcher(streams, stream, ids, count, request, err) : 0;
}

/* Nothing is left to wait for. */
static bool log_over(const struct streams *streams, const struct stream *stream)
{
    if (stream->open > 0)
        return false;
    return !stream->follow || stream->service_id[0] == '\0' || mirror_service(streams->mirror, stream->service_id) == NULL;
}

int streams_logs(struct streams *streams, const struct bus_sender *sender, const Swarm__LogsRequest *request, struct sw_err *err)
{
    const Swarm__Service *service = NULL;
    const Swarm__Task *task = NULL;
    struct stream *stream = NULL;
    int rc = find_log(streams->mirror, request->ref, &service, &task, err);
    if (rc == 0)
        rc = stream_new(streams, sender, &stream, err);
    if (rc != 0)
        return rc;
    stream->follow = request->follow;
    rc = log_begin(streams, stream, service, task, request, err);
    sw_scratch_reset(&streams->scratch);
    if (rc != 0)
        stream_free(streams, stream);
    else if (log_over(streams, stream))
        log_finish(streams, stream);
    return rc;
}

static struct stream *stream_of(struct streams *streams, uint64_t number)
{
    struct stream *stream = streams->all;
    while (stream != NULL && (stream->watch || stream->number != number))
        stream = stream->next;
    return stream;
}

/* The task's log is at its end, or not to be had. */
static void log_ended(struct streams *streams, struct stream *stream, const Swarm__LogMessage *message)
{
    if (message->error != NULL && message->error[0] != '\0')
        warn(stream, sw_strf("task %s: %s", message->task_id, message->error));
    if (sw_idmap_get(&stream->tasks, message->task_id) == &asked) {
        sw_idmap_put(&stream->tasks, message->task_id, &ended);
        stream->open--;
    }
    if (log_over(streams, stream))
        log_finish(streams, stream);
}

static int log_forward(struct streams *streams, const struct stream *stream, const Swarm__LogMessage *message)
{
    Swarm__LogsEvent event = SWARM__LOGS_EVENT__INIT;
    const Swarm__Task *task = mirror_task(streams->mirror, message->task_id);
    const char *node_id = message->node_id != NULL ? message->node_id : task != NULL ? task->node_id : NULL;
    const Swarm__Node *node = mirror_node(streams->mirror, node_id);
    event.message = (Swarm__LogMessage *)message;
    if (task != NULL) {
        event.service_name = task->service_name;
        event.has_slot = true;
        event.slot = task->slot;
    }
    if (node != NULL)
        event.hostname = (char *)store_object_name(node);
    return bus_reply_more(&stream->sender, &event);
}

void streams_log_message(struct streams *streams, const Swarm__LogMessage *message)
{
    struct stream *stream = stream_of(streams, message->subscription);
    if (stream == NULL || !sw_idmap_has(&stream->tasks, message->task_id)) {
        Swarm__LogUnsubscribe stop = SWARM__LOG_UNSUBSCRIBE__INIT;
        stop.subscription = message->subscription;
        if (stream == NULL)
            (void)feed_tell_dispatcher(streams->feed, &stop, NULL);
        return;
    }
    if (message->n_entries > 0 && log_forward(streams, stream, message) != 0) {
        stream_free(streams, stream); /* the reader is gone, or so slow that its queue is full */
        return;
    }
    if (message->end)
        log_ended(streams, stream, message);
}

void streams_dispatcher_gone(struct streams *streams)
{
    for (struct stream *stream = streams->all, *next; stream != NULL; stream = next) {
        next = stream->next;
        if (stream->watch || stream->open == 0)
            continue;
        warn(stream, sw_strf("the dispatcher was restarted while logs were being read"));
        stream->open = 0;
        log_finish(streams, stream);
    }
}

/* Following a service: ask for the tasks that are new. */
static void log_pick_up(struct streams *streams, struct stream *stream)
{
    struct mirror_tasks tasks = mirror_tasks_of_service(streams->mirror, stream->service_id);
    char **ids = sw_scratch_alloc(&streams->scratch, (tasks.count + 1) * sizeof *ids);
    size_t count = pick_tasks(streams, stream, false, ids);
    struct sw_err err;
    if (count > 0 && ask_dispatcher(streams, stream, ids, count, NULL, &err) != 0)
        warn(stream, sw_strf("%s", err.text));
    if (log_over(streams, stream))
        log_finish(streams, stream);
}

/* ---- watches ---- */

static void watch_send(struct streams *streams, struct stream *stream)
{
    const struct control control = { .mirror = streams->mirror, .scratch = &streams->scratch };
    const Swarm__Service *now = mirror_service(streams->mirror, stream->service_id);
    if (now != NULL) {
        sw_pb_free(stream->last);
        stream->last = sw_pb_clone(now);
    }
    const Swarm__ServiceWatchEvent *event = watch_event(&control, stream->service_id, stream->last);
    bool over = event->service == NULL;
    int rc = over ? bus_reply(&stream->sender, event) : bus_reply_more(&stream->sender, event);
    if (over || rc != 0)
        stream_free(streams, stream);
}

int streams_watch(struct streams *streams, const struct bus_sender *sender, const Swarm__ServiceWatchRequest *request,
                  struct sw_err *err)
{
    const Swarm__Service *service = NULL;
    struct stream *stream = NULL;
    int rc = refs_service(streams->mirror, request->id, &service, err);
    if (rc == 0)
        rc = stream_new(streams, sender, &stream, err);
    if (rc != 0)
        return rc;
    stream->watch = true;
    (void)snprintf(stream->service_id, sizeof stream->service_id, "%s", service->id);
    watch_send(streams, stream);
    sw_scratch_reset(&streams->scratch);
    return 0;
}

/* ---- what goes on by itself ---- */

static void on_flush(void *arg)
{
    struct streams *streams = arg;
    streams->flush_set = false;
    streams->flushed_ms = svc_mono_ms();
    for (struct stream *stream = streams->all, *next; stream != NULL; stream = next) {
        next = stream->next;
        if (!stream->dirty)
            continue;
        stream->dirty = false;
        if (stream->watch)
            watch_send(streams, stream);
        else
            log_pick_up(streams, stream);
        sw_scratch_reset(&streams->scratch);
    }
}

void streams_applied(struct streams *streams, const struct apply_result *result)
{
    bool dirty = false;
    for (struct stream *stream = streams->all; stream != NULL; stream = stream->next) {
        bool wants = stream->service_id[0] != '\0' && (stream->watch || stream->follow);
        for (size_t i = 0; wants && !stream->dirty && i < result->change_count; i++)
            stream->dirty = watch_concerns(stream->service_id, &result->changes[i], result->retired[i]);
        dirty |= stream->dirty;
    }
    if (dirty && !streams->flush_set) {
        streams->flush_set = true;
        uint64_t now = svc_mono_ms();
        uint64_t due = streams->flushed_ms + STREAMS_WATCH_MS;
        svc_timer_at(streams->flush, due > now ? due : now);
    }
}

static void on_alive(void *arg)
{
    struct streams *streams = arg;
    for (struct stream *stream = streams->all, *next; stream != NULL; stream = next) {
        next = stream->next;
        if (stream->watch) {
            watch_send(streams, stream);
            sw_scratch_reset(&streams->scratch);
            continue;
        }
        const Swarm__LogsEvent nothing = SWARM__LOGS_EVENT__INIT;
        if (bus_reply_more(&stream->sender, &nothing) != 0)
            stream_free(streams, stream);
    }
    svc_timer_at(streams->alive, svc_mono_ms() + STREAMS_ALIVE_MS);
}

int streams_cancel(struct streams *streams, const struct bus_sender *sender, uint64_t seq, struct sw_err *err)
{
    for (struct stream *stream = streams->all; stream != NULL; stream = stream->next) {
        if (stream->sender.seq != seq || stream->sender.route_len != sender->route_len ||
            memcmp(stream->sender.route, sender->route, sender->route_len) != 0)
            continue;
        const Swarm__Empty empty = SWARM__EMPTY__INIT;
        if (stream->watch) {
            (void)bus_reply(&stream->sender, &empty);
            stream_free(streams, stream);
        } else {
            log_finish(streams, stream);
        }
        return 0;
    }
    return sw_fail(err, SW_NOT_FOUND, "no stream of this connection has the number %llu", (unsigned long long)seq);
}
