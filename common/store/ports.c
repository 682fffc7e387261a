#include "common/store/ports.h"

#include <inttypes.h>
#include <string.h>

static int check_conflict(const Swarm__PortConfig *port, const Swarm__Service *other, const Swarm__PortConfig *taken,
                          struct sw_err *err)
{
    bool host = port->publish_mode == SWARM__PUBLISH_MODE__PUBLISH_HOST;
    bool taken_host = taken->publish_mode == SWARM__PUBLISH_MODE__PUBLISH_HOST;
    if (taken->published_port != port->published_port || taken->protocol != port->protocol || (host && taken_host))
        return 0;
    return sw_fail(err, SW_INVALID, "port '%" PRIu32 "' is already in use by service '%s' (%s) as %s port", port->published_port,
                   other->spec->name, other->id, taken_host ? "a host-published" : "an ingress");
}

static int check_against(const Swarm__EndpointSpec *endpoint, const Swarm__Service *other, Swarm__PortConfig *const *taken,
                         size_t count, struct sw_err *err)
{
    for (size_t i = 0; i < endpoint->n_ports; i++) {
        if (endpoint->ports[i]->published_port == 0)
            continue;
        for (size_t k = 0; k < count; k++) {
            int rc = check_conflict(endpoint->ports[i], other, taken[k], err);
            if (rc != 0)
                return rc;
        }
    }
    return 0;
}

int store_ports_check(const struct mirror *mirror, const char *service_id, const Swarm__EndpointSpec *endpoint,
                      struct sw_err *err)
{
    if (endpoint == NULL || endpoint->n_ports == 0)
        return 0;
    const Swarm__Table table = SWARM__TABLE__TABLE_SERVICE;
    for (const Swarm__Service *other = mirror_first(mirror, table); other != NULL; other = mirror_next(mirror, table, other)) {
        if (service_id != NULL && strcmp(other->id, service_id) == 0)
            continue;
        const Swarm__EndpointSpec *wanted = other->spec->endpoint;
        int rc = wanted != NULL ? check_against(endpoint, other, wanted->ports, wanted->n_ports, err) : 0;
        if (rc == 0 && other->endpoint != NULL) /* and the numbers that were chosen for it */
            rc = check_against(endpoint, other, other->endpoint->ports, other->endpoint->n_ports, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}
