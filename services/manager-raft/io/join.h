/* join - answers JoinRequest: decides by the CA, proposes the node, replies when the proposal is applied on a majority.
 *
 * Row for the control table: { &swarm__join_request__descriptor, BUS_JOINER | BUS_WORKER | BUS_MANAGER, JOIN_REQUEST_MAX, ... }
 * (nodes too: one that lost the reply asks again under a key that is known by then).
 * Limits   JOIN_PENDING_MAX joins in flight; more are told to try again.
 */
#ifndef JOIN_H
#define JOIN_H

#include "services/manager-raft/io/ca.h"
#include "services/manager-raft/io/raftd.h"

#define JOIN_REQUEST_MAX (4u << 10)
#define JOIN_PENDING_MAX 256

/* As raftd_propose(), so that tests can apply at once. */
typedef int join_propose_fn(void *arg, const Swarm__StoreBatch *batch, raftd_done_fn *fn, void *fn_arg, struct sw_err *err);

struct join {
    const struct ca *ca;
    const struct mirror *mirror;
    join_propose_fn *propose;
    void *propose_arg;
    /* Sends the answer; NULL = bus_reply() and bus_reply_error(). For tests. */
    void (*answer)(const struct bus_sender *to, const Swarm__JoinReply *reply, const struct sw_err *err);
    unsigned pending; /* zero at first */
};

/* 0: the answer was sent or will be; negative: *err is the answer. */
int join_request(struct join *join, const struct bus_sender *sender, const Swarm__JoinRequest *request, int64_t now_ns,
                 struct sw_err *err);

#endif
