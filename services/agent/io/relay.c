#include "services/agent/io/agent.h"

#include <stdlib.h>
#include <string.h>

#define STREAMS_MAX 512u
#define ANSWER_MS 15000u
#define RETRY_MS 100u

/* One task's log for one subscription. One message is on its way at a time: the log is read no faster than it is taken. */
struct stream {
    struct relay *relay;
    struct stream *next;
    uint64_t subscription;
    char *task_id;
    struct executor_logs *logs;
    Swarm__LogMessage *waiting; /* not yet taken by the dispatcher */
    struct svc_timer *timer;
    uint64_t seq; /* of the question under way */
};
struct relay {
    struct agent *agent;
    struct stream *streams;
    size_t count;
};

struct relay *relay_new(struct agent *agent)
{
    struct relay *relay = sw_alloc0(sizeof *relay);
    relay->agent = agent;
    return relay;
}

static void stream_free(struct stream *stream)
{
    struct relay *relay = stream->relay;
    for (struct stream **at = &relay->streams; *at != NULL; at = &(*at)->next) {
        if (*at == stream) {
            *at = stream->next;
            relay->count--;
            break;
        }
    }
    struct bus_client *client = session_client(relay->agent->session);
    if (client != NULL && stream->seq != 0)
        bus_forget(client, stream->seq);
    executor_logs_close(stream->logs);
    svc_timer_free(stream->timer);
    sw_pb_free(stream->waiting);
    free(stream->task_id);
    free(stream);
}

static void stream_send(void *arg);

/* Taken: read on, or the end. Refused because nobody reads: stop. Anything else: the same message again. */
static void on_taken(void *arg, const void *body, bool more, const struct sw_err *err)
{
    struct stream *stream = arg;
    (void)more;
    stream->seq = 0;
    if (body == NULL && err->code == SW_UNAVAILABLE && session_is_open(stream->relay->agent->session)) {
        svc_timer_at(stream->timer, svc_mono_ms() + RETRY_MS);
        return;
    }
    if (body == NULL || stream->waiting->end) {
        stream_free(stream);
        return;
    }
    sw_pb_free(stream->waiting);
    stream->waiting = NULL;
    executor_logs_resume(stream->logs);
}

static void stream_send(void *arg)
{
    struct stream *stream = arg;
    struct bus_client *client = session_client(stream->relay->agent->session);
    if (client == NULL)
        return; /* relay_drop_all() comes with the end of the session */
    stream->seq = bus_ask(client, stream->waiting, ANSWER_MS, on_taken, stream);
    if (stream->seq == 0)
        svc_timer_at(stream->timer, svc_mono_ms() + RETRY_MS);
}

static Swarm__LogMessage *message_new(uint64_t subscription, const char *task_id)
{
    Swarm__LogMessage *message = sw_alloc0(sizeof *message);
    swarm__log_message__init(message);
    message->subscription = subscription;
    message->task_id = sw_strdup(task_id);
    return message;
}

static bool on_log(void *arg, const Swarm__LogEntry *const *entries, size_t count, bool end, const struct sw_err *err)
{
    struct stream *stream = arg;
    if (count == 0 && !end)
        return true;
    Swarm__LogMessage *message = message_new(stream->subscription, stream->task_id);
    message->entries = sw_alloc0((count + 1) * sizeof(Swarm__LogEntry *));
    for (size_t i = 0; i < count; i++)
        message->entries[message->n_entries++] = sw_pb_clone(entries[i]);
    message->has_end = end;
    message->end = end;
    if (end && err != NULL)
        message->error = sw_strdup(err->text);
    stream->waiting = message;
    stream_send(stream);
    return false;
}

/* No log to be had: the reader is told, once. */
static void tell_none(struct relay *relay, uint64_t subscription, const char *task_id, const char *why)
{
    struct bus_client *client = session_client(relay->agent->session);
    if (client == NULL)
        return;
    SW_AUTO(sw_pb_free) Swarm__LogMessage *message = message_new(subscription, task_id);
    message->has_end = true;
    message->end = true;
    message->error = sw_strdup(why);
    (void)bus_tell(client, message);
}

static void stream_open(struct relay *relay, const Swarm__LogSubscribe *request, const char *task_id)
{
    struct sw_err err;
    const struct executor_log_options options = { request->follow, request->tail, request->has_since_ns ? request->since_ns : 0 };
    if (relay->count >= STREAMS_MAX) {
        tell_none(relay, request->subscription, task_id, "too many logs of this node are being read");
        return;
    }
    struct stream *stream = sw_alloc0(sizeof *stream);
    stream->relay = relay;
    stream->subscription = request->subscription;
    stream->task_id = sw_strdup(task_id);
    stream->timer = svc_timer_new(relay->agent->svc, stream_send, stream);
    stream->next = relay->streams;
    relay->streams = stream;
    relay->count++;
    if (executor_logs_open(relay->agent->executor, task_id, &options, on_log, stream, &stream->logs, &err) == 0)
        return;
    stream_free(stream);
    tell_none(relay, request->subscription, task_id, err.text);
}

void relay_subscribe(struct relay *relay, const Swarm__LogSubscribe *request)
{
    for (size_t i = 0; i < request->n_task_ids; i++) {
        if (worker_task(relay->agent->worker, request->task_ids[i]) == NULL)
            tell_none(relay, request->subscription, request->task_ids[i], "the task is not on this node any more");
        else
            stream_open(relay, request, request->task_ids[i]);
    }
}

void relay_unsubscribe(struct relay *relay, uint64_t subscription)
{
    struct stream *next;
    for (struct stream *stream = relay->streams; stream != NULL; stream = next) {
        next = stream->next;
        if (stream->subscription == subscription)
            stream_free(stream);
    }
}

void relay_drop_all(struct relay *relay)
{
    while (relay->streams != NULL)
        stream_free(relay->streams);
}

size_t relay_count(const struct relay *relay)
{
    return relay->count;
}

void relay_free(struct relay *relay)
{
    if (relay == NULL)
        return;
    relay_drop_all(relay);
    free(relay);
}
