/* manager - a manager at work: store, Raft, CA, feed, streams and control API of one identity, wired together.
 *
 * Order    the store and Raft are opened at once; the feed with them; the control sockets when a leader is known for the first
 *          time (or after MANAGER_PATIENCE_MS), so that a client after a restart waits in connect instead of being refused.
 * Errors   what fails later (a port in use, a write that fails) is logged and ends the process: its supervisor tries again.
 */
#ifndef MANAGER_H
#define MANAGER_H

#include "common/identity/identity.h"
#include "services/manager-raft/io/ca.h"
#include "services/manager-raft/io/raftd.h"

#define MANAGER_PATIENCE_MS 2000u

struct manager;
struct manager_options {
    char *listen, *raft_listen; /* "IP:PORT" */
    uint64_t dispatcher_port;
    uint64_t heartbeat_ms, election_ms;
};
int manager_open(struct svc *svc, struct bus *bus, const struct manager_options *options, const Swarm__NodeIdentity *identity,
                 struct manager **ret_manager, struct sw_err *err);
void manager_close(struct manager *manager); /* NULL is fine */
/* Gauges of objects and of Raft. */
void manager_scrape(struct manager *manager);
bool manager_healthy(const struct manager *manager, char *why, size_t why_size);

#endif
