/* cluster - the bounds of a cluster spec, for init and for updates. */
#ifndef MANAGER_CLUSTER_H
#define MANAGER_CLUSTER_H

#include "common/base/err.h"
#include "proto/types.pb-c.h"

int cluster_spec_check(const Swarm__ClusterSpec *spec, struct sw_err *err);

#endif
