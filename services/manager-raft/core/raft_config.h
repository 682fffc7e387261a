/* raft_config - who votes: one set of voters, or two while a change is under way (joint consensus, Ongaro 4.3).
 *
 * Place    raft core and its driver. The bytes are an encoded Swarm__RaftConfig (proto/raft.proto): the core reads ids and
 *          votes from it, addresses are the driver's business.
 * Rules    a configuration counts from the moment it is in the log. A member is a voter of the new set (voter), of the old one
 *          (outgoing), of both, or of none: then it is a learner and only receives. Not joint: nobody is outgoing.
 * Limits   RAFT_MEMBERS_MAX members of both sets and learners together.
 */
#ifndef RAFT_CONFIG_H
#define RAFT_CONFIG_H

#include "common/base/err.h"
#include "raft_tail.h"

#define RAFT_MEMBERS_MAX 16
#define RAFT_CONFIG_SIZE_MAX (64u << 10)

struct raft_member {
    uint64_t id;
    bool voter, outgoing;
};
struct raft_config {
    struct raft_member members[RAFT_MEMBERS_MAX];
    size_t count;
    bool joint;
};

/* Refused: no voter, an id of zero or twice, too many members, outgoing voters in a configuration that is not joint or none in
 * one that is. */
int raft_config_decode(const void *data, size_t len, struct raft_config *ret_config, struct sw_err *err);
const struct raft_member *raft_config_find(const struct raft_config *config, uint64_t id); /* NULL if it is no member */
bool raft_config_votes(const struct raft_config *config, uint64_t id);                     /* in one of the sets */
bool raft_config_sole(const struct raft_config *config, uint64_t id);                      /* the only voter there is */

/* What to put into the log on the way from `now` to `target` (neither joint): target itself if at most one vote changes, else
 * the joint configuration of both. The caller owns the result. */
int raft_config_plan(const struct raft_blob *now, const struct raft_blob *target, struct raft_blob **ret_blob,
                     struct sw_err *err);
/* The configuration that ends a joint one: outgoing voters go, and are named in `removed`. */
struct raft_blob *raft_config_leave(const struct raft_blob *joint);

#endif
