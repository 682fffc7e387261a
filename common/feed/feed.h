/* feed - the road of a daemon to this node's manager-raft: a mirror's snapshot and changes in, commits out.
 *
 * Subscription  one, made again by itself 100 ms after it ended; lost() is told first. A commit under way is not part of it.
 * Commits       one at a time. Each that was sent is answered once, unless feed_renew() or feed_close() came first.
 * Socket        <run>/<socket>, plain: its directory is 0700.
 */
#ifndef FEED_CLIENT_H
#define FEED_CLIENT_H

#include "common/bus/bus.h"
#include "proto/store.pb-c.h"

struct feed;
struct feed_spec {
    struct svc *svc;
    struct bus *bus;
    const char *socket;         /* "feed-scheduler.sock" */
    const Swarm__Table *tables; /* must outlive the feed, as must the events */
    size_t table_count;
    const struct bus_spec *events; /* more that manager-raft may tell; their handlers get `arg` as self */
    size_t event_count;
    uint64_t commit_timeout_ms;
    void (*snapshot)(void *arg, const Swarm__FeedSnapshot *snapshot);
    void (*changes)(void *arg, const Swarm__FeedChanges *changes);
    void (*reply)(void *arg, const Swarm__CommitReply *reply, const struct sw_err *err); /* reply is NULL on failure */
    void (*lost)(void *arg);
    void *arg;
};
int feed_open(const struct feed_spec *spec, struct feed **ret_feed, struct sw_err *err);
void feed_close(struct feed *feed);    /* NULL is fine */
bool feed_up(const struct feed *feed); /* subscribed, and the snapshot is in */
/* False: it could not be sent, and reply() will not be called. */
bool feed_commit(struct feed *feed, const Swarm__StoreBatch *batch);
/* Drop the subscription and the commit under way and begin anew, without telling. */
void feed_renew(struct feed *feed);
int feed_tell(struct feed *feed, const void *message); /* as bus_tell() */
/* For svc_program.healthy: idle (NULL) or up. */
bool feed_healthy(const struct feed *feed, char *why, size_t why_size);

#endif
