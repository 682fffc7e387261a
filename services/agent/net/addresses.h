/* addresses - which IPv4 addresses of the node's task subnet are taken.
 *
 * Place    agent, pure: no I/O. net.c owns the only pool and fills it after a restart from what it finds in the kernel.
 * Order    the next free address after the last one given out, wrapping at the end: an address that was freed comes back
 *          only when all others had their turn, so that neighbours and clients have forgotten the old owner.
 * Numbers  addresses are in host byte order. The first usable one is the gateway, the network's own and the broadcast
 *          address are never given out.
 * Limits   prefix ADDRESSES_PREFIX_MIN .. ADDRESSES_PREFIX_MAX.
 */
#ifndef AGENT_NET_ADDRESSES_H
#define AGENT_NET_ADDRESSES_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define ADDRESSES_PREFIX_MIN 16
#define ADDRESSES_PREFIX_MAX 29
#define ADDRESSES_MAX (1u << (32 - ADDRESSES_PREFIX_MIN))

struct addresses {
    uint32_t network; /* 10.213.0.0 */
    uint32_t count;   /* all addresses of the subnet, a power of two */
    uint32_t next;    /* offset that is looked at first */
    uint32_t used;
    uint64_t taken[ADDRESSES_MAX / 64];
};

/* "10.213.0.0/16": SW_INVALID says what does not fit. */
int addresses_init(struct addresses *addresses, const char *subnet, struct sw_err *err);
unsigned addresses_prefix(const struct addresses *addresses);
uint32_t addresses_gateway(const struct addresses *addresses);
bool addresses_contains(const struct addresses *addresses, uint32_t address);

/* 0 and the address, or -SW_LIMIT when none is free. */
int addresses_take(struct addresses *addresses, uint32_t *ret_address, struct sw_err *err);
/* Mark an address that is in use already. False: not one of ours, or taken. */
bool addresses_claim(struct addresses *addresses, uint32_t address);
/* An address that is not taken asserts. */
void addresses_free(struct addresses *addresses, uint32_t address);

#endif
