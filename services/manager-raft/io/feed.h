/* feed - the change feed and the commit road for the scheduler and the dispatcher of this node.
 *
 * Sockets  <run>/feed-scheduler.sock and <run>/feed-dispatcher.sock, plain (the directory is 0700), one message table each.
 * Feed     FeedSubscribe is answered by FeedSnapshot chunks, then by FeedChanges for ever (all as answers with more = true).
 *          A subscriber that is too slow, or gone, loses its place: it is told by an error answer and subscribes again.
 * Commits  CommitRequest is checked (core/grants.h), proposed, and answered when applied.
 * Logs     LogMessage from the dispatcher goes to spec.log_message; feed_tell_dispatcher() sends events the other way.
 * Limits   FEED_SUBSCRIBERS_MAX a socket; FEED_COMMIT_MAX bytes a commit.
 */
#ifndef MANAGER_FEED_H
#define MANAGER_FEED_H

#include "services/manager-raft/io/raftd.h"

#define FEED_SUBSCRIBERS_MAX 4u
#define FEED_COMMIT_MAX (1536u << 10)

struct feed;
struct feed_spec {
    struct svc *svc;
    struct bus *bus;
    const struct store *store;
    struct raftd *raftd;
    void (*log_message)(void *arg, const Swarm__LogMessage *message);
    void (*dispatcher_gone)(void *arg); /* its subscription ended */
    void *arg;
};
int feed_open(const struct feed_spec *spec, struct feed **ret_feed, struct sw_err *err);
void feed_close(struct feed *feed); /* NULL is fine */

void feed_applied(struct feed *feed, const struct store_entry *entry, const struct apply_result *result);
void feed_status(struct feed *feed, uint64_t term, bool leader);
/* An event (LogSubscribe, LogUnsubscribe) to the subscribed dispatcher; -SW_UNAVAILABLE if there is none. */
int feed_tell_dispatcher(struct feed *feed, const void *body, struct sw_err *err);

#endif
