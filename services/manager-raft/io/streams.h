/* streams - answers that go on: service logs and service progress, for clients of the control API.
 *
 * Logs     LogsRequest picks tasks by service or task; the dispatcher is asked by LogSubscribe; its LogMessages become
 *          LogsEvents. It ends when every task's log has ended; following a service picks up new tasks and ends only with
 *          the service. What could not be read is told as warnings in the last answer.
 * Watches  ServiceWatchRequest: an event at once and after each change, at most one in STREAMS_WATCH_MS.
 * Clients  that vanish are noticed by the next send; an empty event is sent every STREAMS_ALIVE_MS to find out.
 * Limits   STREAMS_MAX of both together; STREAMS_TASKS_MAX tasks a log stream.
 */
#ifndef MANAGER_STREAMS_H
#define MANAGER_STREAMS_H

#include "services/manager-raft/core/control.h"
#include "services/manager-raft/io/feed.h"

#define STREAMS_MAX 256u
#define STREAMS_TASKS_MAX 4096u
#define STREAMS_WARNINGS_MAX 64u
#define STREAMS_WATCH_MS 20u
#define STREAMS_ALIVE_MS 10000u

struct streams;
struct streams *streams_new(struct svc *svc, const struct mirror *mirror);
void streams_free(struct streams *streams); /* NULL is fine */
/* The feed to reach the dispatcher by; it exists only after the streams. */
void streams_set_feed(struct streams *streams, struct feed *feed);

int streams_logs(struct streams *streams, const struct bus_sender *sender, const Swarm__LogsRequest *request, struct sw_err *err);
int streams_watch(struct streams *streams, const struct bus_sender *sender, const Swarm__ServiceWatchRequest *request,
                  struct sw_err *err);
/* End the stream that `sender` asked for under this seq; SW_NOT_FOUND. */
int streams_cancel(struct streams *streams, const struct bus_sender *sender, uint64_t seq, struct sw_err *err);

void streams_applied(struct streams *streams, const struct apply_result *result);
void streams_log_message(struct streams *streams, const Swarm__LogMessage *message);
void streams_dispatcher_gone(struct streams *streams);
size_t streams_count(const struct streams *streams);

#endif
