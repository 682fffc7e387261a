/* flows - takes stale UDP entries out of the kernel's connection table. Source of the rule: core/lb.c find_flows(). */
#ifndef LB_FLOWS_H
#define LB_FLOWS_H

#include "services/ingress-lb/core/lb.h"

/* Number of entries deleted, or a failure: the entries then end by their own time-out (30 s to 2 min after the last packet). */
int flows_forget(const struct lb_flow *flows, size_t count, struct sw_err *err);

#endif
