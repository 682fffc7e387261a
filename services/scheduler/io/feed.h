/* feed - the road to this node's manager-raft (<run>/feed-scheduler.sock): subscription, changes, commits.
 *
 * Each subscription that was lost, refused or unreadable is made anew, and told by lost() first. A commit whose answer does
 * not come, or is a failure, loses the subscription too: what it did will be in the next snapshot.
 */
#ifndef SCHEDULER_FEED_H
#define SCHEDULER_FEED_H

#include "common/bus/bus.h"
#include "proto/store.pb-c.h"

struct feed;
struct feed_spec {
    struct svc *svc;
    struct bus *bus;
    void (*snapshot)(void *arg, const Swarm__FeedSnapshot *snapshot);
    void (*changes)(void *arg, const Swarm__FeedChanges *changes);
    void (*reply)(void *arg, const Swarm__CommitReply *reply);
    void (*lost)(void *arg);
    void *arg;
};
int feed_open(const struct feed_spec *spec, struct feed **ret_feed, struct sw_err *err);
void feed_close(struct feed *feed); /* NULL is fine */
void feed_commit(struct feed *feed, const Swarm__StoreBatch *batch);
/* Drop the subscription and begin anew, without telling lost(). */
void feed_renew(struct feed *feed);
bool feed_up(const struct feed *feed); /* subscribed, and the snapshot is in */

#endif
