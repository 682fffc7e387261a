/* member - a daemon that is at work while this node has an identity with a role it serves, and idle until then.
 *
 * The identity file is the agent's; its directory is watched. Once the role fits, activate() is called, once in the life of the
 * process. When the identity then goes away, or names another node, cluster, key or role, the process ends with exit code 0: its
 * supervisor starts it again, idle. A failure of activate() ends it with 1. A file that cannot be read is logged and changes
 * nothing.
 *
 * Memory   the identity given to activate() dies, its secret key wiped, when that returns: copy what is needed.
 */
#ifndef MEMBER_H
#define MEMBER_H

#include "common/identity/identity.h"

struct member;
struct member_spec {
    struct svc *svc;
    unsigned roles; /* set of enum bus_role */
    int (*activate)(void *arg, const Swarm__NodeIdentity *identity, struct sw_err *err);
    bool (*busy)(void *arg); /* true: not now, member_look() is called when that is over; NULL = never */
    void *arg;
};
/* Looks at once; a failure of activate() is then this call's. */
int member_watch(const struct member_spec *spec, struct member **ret_member, struct sw_err *err);
/* Compare what the process is doing with what the file says. */
void member_look(struct member *member);
void member_free(struct member *member); /* when the loop has ended; NULL is fine */

#endif
