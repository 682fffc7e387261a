/* scenario - commands of trace files, played on a test cluster; see scenario.c for the words. */
#ifndef SCHED_TEST_SCENARIO_H
#define SCHED_TEST_SCENARIO_H

#include "services/scheduler/tests/cluster.h"

/* One line without its "> "; output that is not in cluster.log goes to text. False: not understood. */
bool scenario_line(struct cluster *cluster, const char *line, struct sw_buf *text);

/* Also for the property test. */
Swarm__Node *scenario_node(const char *id);
Swarm__Service *scenario_service(const char *name);
void scenario_update_service(struct cluster *cluster, Swarm__Service *edit); /* takes it; as the control API does */

#endif
