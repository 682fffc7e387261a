/* validate - everything that a service spec must be before it is stored (swarm-semantics 7.1 to 7.3), with Docker's texts.
 *
 * Limits: control.h. validate_spec() looks at the spec alone; validate_references() at the cluster (as does store_ports_check()).
 */
#ifndef MANAGER_VALIDATE_H
#define MANAGER_VALIDATE_H

#include "common/store/mirror.h"

int validate_spec(const Swarm__ServiceSpec *spec, struct sw_err *err);
/* Secrets, configs and networks that the spec names exist, and their names fit their ids. */
int validate_references(const struct mirror *mirror, const Swarm__ServiceSpec *spec, struct sw_err *err);
/* No other service publishes the same port. service_id is the one being changed, NULL for a new one. */

/* Parts of validate_spec(). */
int validate_container(const Swarm__ContainerSpec *container, struct sw_err *err);
int validate_labels(const char *field, Swarm__Pair *const *pairs, size_t count, struct sw_err *err);
int validate_text(const char *field, const char *text, size_t max, struct sw_err *err); /* NULL is fine */
int validate_count(const char *field, size_t count, struct sw_err *err);
int validate_range(const char *field, int64_t value, int64_t min, const char *min_text, struct sw_err *err);
/* "name[:tag][@digest]", or a local source: "docker-archive:PATH", "oci:PATH", "docker-daemon:NAME". */
bool validate_image_name(const char *image);

#endif
