/* raft_links - the ways to the other managers: one client a member, one server for all (tcp 2477, CURVE, managers only).
 *
 * A member's address and key come from its Node object in the mirror; a member that does not know ours yet (it has just joined)
 * is answered on the connection it was asked on. Every message carries this process's boot id and a number that grows with each
 * message of a link: what comes twice or late on one link is dropped. Each message is checked before the core sees it: its
 * sender's node, known by the key, must be the member it says it is from.
 * Threads  one. Limits: RAFT_MEMBERS_MAX links; BUS_SIZE_MAX a message; a full queue loses the message, which Raft bears.
 */
#ifndef RAFT_LINKS_H
#define RAFT_LINKS_H

#include "common/bus/bus.h"
#include "common/store/mirror.h"
#include "proto/raft.pb-c.h"
#include "services/manager-raft/core/raft.h"

struct raft_links;
struct raft_links_spec {
    struct bus *bus;
    const struct mirror *mirror;
    const struct bus_keys *keys;
    const char *listen;  /* NULL = no server */
    bus_admit_fn *admit; /* NULL = the managers in the mirror */
    void *admit_arg;
    uint64_t raft_id, boot_id;
    void (*receive)(void *arg, const struct raft_msg *msg);
    void (*lost)(void *arg, uint64_t raft_id); /* the way to a member is gone */
    void *arg;
};
int raft_links_open(const struct raft_links_spec *spec, struct raft_links **ret_links, struct sw_err *err);
void raft_links_close(struct raft_links *links); /* NULL is fine */
/* Members of the newest configuration, and their addresses and keys as the mirror has them now: opens, closes, moves links. */
void raft_links_update(struct raft_links *links, const Swarm__RaftConfig *config);
bool raft_links_send(struct raft_links *links, const struct raft_msg *msg); /* false: lost */
bool raft_links_up(const struct raft_links *links, uint64_t raft_id);
unsigned raft_links_port(const struct raft_links *links); /* that is really bound; 0 = no server */

#endif
