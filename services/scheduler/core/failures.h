/* failures - which nodes failed tasks of a service lately: a node with many goes last in placement. Source: semantics 4.4.
 *
 * Counts   FAILED or REJECTED tasks of one (service, spec version) on a node within FAILURES_WINDOW_NS.
 * Limits   the last FAILURES_KEPT of a service; in memory alone, so a new leader starts with none.
 */
#ifndef SCHED_FAILURES_H
#define SCHED_FAILURES_H

#include "services/scheduler/core/nodes.h"

#define FAILURES_WINDOW_NS (INT64_C(300) * 1000000000)
#define FAILURES_KEPT 64
#define FAILURES_MANY 5

struct failures;

struct failures *failures_new(void);
void failures_clear(struct failures *failures);
void failures_free(struct failures *failures);
void failures_note(struct failures *failures, const Swarm__Task *task, int64_t now_ns);
void failures_drop(struct failures *failures, const char *service_id);
/* Add each node's count to node_info.failures. */
void failures_count(const struct failures *failures, const Swarm__Task *task, int64_t now_ns, struct nodes *nodes);

#endif
