/* shell - the dispatcher's outside: sockets, timer, identity. Turns them into events of core/dispatch.h and performs its effects.
 */
#ifndef DISPATCHER_SHELL_H
#define DISPATCHER_SHELL_H

#include "common/bus/bus.h"
#include "services/dispatcher/core/dispatch.h"

struct shell;

int shell_main(int argc, char **argv);

/* For feed.c: one event into the core, its effects out. now_ms and wall_ns are filled in here. */
void shell_step(struct shell *shell, struct dispatch_event event);

/* feed.c: the road to the manager-raft of this node. */
struct feed;
int feed_open(struct bus *bus, struct svc *svc, const char *run_dir, struct shell *shell, struct feed **ret_feed,
              struct sw_err *err);
void feed_close(struct feed *feed);    /* NULL is fine */
bool feed_up(const struct feed *feed); /* the snapshot is in and changes follow */
/* Answered by DISPATCH_EV_COMMITTED; false: could not be sent, and the caller has to say so. */
bool feed_commit(struct feed *feed, const Swarm__StoreBatch *batch);
int feed_log(struct feed *feed, const Swarm__LogMessage *message);

#endif
