/* caps - the capabilities of a container: the usual fourteen, and what a service adds or drops. Source: Docker's defaults.
 *
 * Names are written "CAP_NET_ADMIN"; "NET_ADMIN" and lower case are understood, "ALL" stands for all.
 */
#ifndef AGENT_OCI_CAPS_H
#define AGENT_OCI_CAPS_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAPS_COUNT 41

/* Bit n of *ret = capability number n. SW_INVALID: `invalid CapAdd: unknown capability: "X"`. */
int caps_choose(char *const *add, size_t add_count, char *const *drop, size_t drop_count, uint64_t *ret, struct sw_err *err);
const char *caps_name(unsigned number); /* "CAP_CHOWN"; number < CAPS_COUNT */
bool caps_has(uint64_t caps, const char *name);

#endif
