/* objects - the cluster's objects as the JSON people know from `docker ... inspect`: same member names, same order, same words.
 *
 * Memory   new references. Members that are empty are left out where Docker leaves them out (see objects_optional).
 */
#ifndef CLI_OBJECTS_H
#define CLI_OBJECTS_H

#include "proto/control.pb-c.h"
#include "proto/node.pb-c.h"
#include "proto/types.pb-c.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

json_t *objects_service(const Swarm__Service *service);
json_t *objects_service_spec(const Swarm__ServiceSpec *spec);
json_t *objects_node(const Swarm__Node *node, const Swarm__ManagerStatus *manager);
json_t *objects_task(const Swarm__Task *task);

/* Members that templates may find missing, and members that are free maps; for struct template_options. */
extern const char *const objects_optional[];
extern const char *const objects_maps[];

/* "2026-11-23T09:35:50.110447Z". */
void objects_time(int64_t ns, char *ret, size_t size);

#endif
