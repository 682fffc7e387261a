/* bootstrap - makes a new cluster with this node as its first manager, on the word of the agent of this node.
 *
 * Socket   <run>/bootstrap.sock, plain: whoever can open the 0700 directory. BootstrapRequest only.
 * Steps    check (not in a cluster, ports free, spec in its bounds); move an old raft directory to raft.old; make keys and
 *          objects; write the Raft log of one voter; commit; answer; close everything again. The agent then writes the
 *          identity, and the shell starts the manager from what is on disk: the way of any restart.
 */
#ifndef MANAGER_BOOTSTRAP_H
#define MANAGER_BOOTSTRAP_H

#include "services/manager-raft/io/manager.h"

#define BOOTSTRAP_TIMEOUT_MS 15000u

struct bootstrap;
/* `done` is called when a bootstrap has ended and its files are closed again, well or not. */
int bootstrap_open(struct svc *svc, struct bus *bus, const struct manager_options *options, svc_timer_fn *done, void *arg,
                   struct bootstrap **ret_bootstrap, struct sw_err *err);
void bootstrap_close(struct bootstrap *bootstrap); /* NULL is fine */
bool bootstrap_busy(const struct bootstrap *bootstrap);

#endif
