/* shell - what the process is doing: idle (no identity, or a worker's), making a cluster, or serving as a manager.
 *
 * The identity file decides (common/member): when it appears with the manager role the manager starts; when it goes away or is
 * another's the process ends with exit code 0, and its supervisor starts it again, idle.
 */
#ifndef MANAGER_SHELL_H
#define MANAGER_SHELL_H

#include "common/member/member.h"
#include "services/manager-raft/io/bootstrap.h"
#include "services/manager-raft/io/manager.h"

struct shell {
    struct manager_options options; /* set by main's option table before shell_start() */
    struct svc *svc;
    struct bus *bus;
    struct bootstrap *bootstrap;
    struct member *member;
    struct manager *manager; /* NULL: idle */
};
int shell_start(struct svc *svc, void *state, struct sw_err *err);
void shell_stop(struct svc *svc, void *state);
void shell_scrape(struct svc *svc, void *state);
bool shell_healthy(struct svc *svc, void *state, char *why, size_t why_size);

#endif
