/* watch - progress of a service for `service create` and friends: the whole picture after each change, small (specs left out).
 *
 * A watch outlives its service: while tasks of a removed service are still stopping, the last known service is shown; with the
 * last task gone the event has no service, and the watch is over.
 */
#ifndef MANAGER_WATCH_H
#define MANAGER_WATCH_H

#include "common/store/apply.h"
#include "services/manager-raft/core/control.h"

/* `last` is the service as last seen, shown once it is removed. In control.scratch; points into mirror and last. */
const Swarm__ServiceWatchEvent *watch_event(const struct control *control, const char *service_id, const Swarm__Service *last);
/* May this change alter the event of a service? `old` is what the change replaced, or NULL. */
bool watch_concerns(const char *service_id, const struct apply_change *change, const void *old);
/* The service's present spec replaces this task (swarm-semantics 1.7). */
bool watch_outdated(const struct mirror *mirror, const Swarm__Service *service, const Swarm__Task *task);

#endif
