#include "services/agent/net/addresses.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool is_taken(const struct addresses *addresses, uint32_t offset)
{
    return (addresses->taken[offset / 64] >> (offset % 64) & 1) != 0;
}

static void mark(struct addresses *addresses, uint32_t offset)
{
    assert(offset < addresses->count && !is_taken(addresses, offset));
    addresses->taken[offset / 64] |= UINT64_C(1) << (offset % 64);
}

int addresses_init(struct addresses *addresses, const char *subnet, struct sw_err *err)
{
    const char *slash = strchr(subnet, '/');
    char text[INET_ADDRSTRLEN];
    if (slash == NULL || (size_t)(slash - subnet) >= sizeof text)
        return sw_fail(err, SW_INVALID, "task subnet '%.64s': want ADDRESS/PREFIX, such as 10.213.0.0/16", subnet);
    memcpy(text, subnet, (size_t)(slash - subnet));
    text[slash - subnet] = '\0';

    char *end = NULL;
    unsigned long prefix = strtoul(slash + 1, &end, 10);
    struct in_addr network;
    if (inet_pton(AF_INET, text, &network) != 1 || slash[1] < '0' || slash[1] > '9' || *end != '\0')
        return sw_fail(err, SW_INVALID, "task subnet '%.64s': want ADDRESS/PREFIX, such as 10.213.0.0/16", subnet);
    if (prefix < ADDRESSES_PREFIX_MIN || prefix > ADDRESSES_PREFIX_MAX)
        return sw_fail(err, SW_INVALID, "task subnet '%.64s': the prefix must be %d to %d", subnet, ADDRESSES_PREFIX_MIN,
                       ADDRESSES_PREFIX_MAX);

    memset(addresses, 0, sizeof *addresses);
    addresses->network = ntohl(network.s_addr);
    addresses->count = UINT32_C(1) << (32 - prefix);
    if ((addresses->network & (addresses->count - 1)) != 0)
        return sw_fail(err, SW_INVALID, "task subnet '%.64s': the address has bits behind the prefix", subnet);
    mark(addresses, 0);
    mark(addresses, 1);
    mark(addresses, addresses->count - 1);
    addresses->used = 3;
    addresses->next = 2;
    return 0;
}

unsigned addresses_prefix(const struct addresses *addresses)
{
    return 32 - (unsigned)__builtin_ctz(addresses->count);
}

uint32_t addresses_gateway(const struct addresses *addresses)
{
    return addresses->network + 1;
}

bool addresses_contains(const struct addresses *addresses, uint32_t address)
{
    return address >= addresses->network && address - addresses->network < addresses->count;
}

int addresses_take(struct addresses *addresses, uint32_t *ret_address, struct sw_err *err)
{
    if (addresses->used == addresses->count)
        return sw_fail(err, SW_LIMIT, "no free address on this node: all %u of the task subnet are in use", addresses->count - 3);

    uint32_t offset = addresses->next;
    while (is_taken(addresses, offset))
        offset = (offset + 1) % addresses->count;
    mark(addresses, offset);
    addresses->used++;
    addresses->next = (offset + 1) % addresses->count;
    *ret_address = addresses->network + offset;
    return 0;
}

bool addresses_claim(struct addresses *addresses, uint32_t address)
{
    if (!addresses_contains(addresses, address) || is_taken(addresses, address - addresses->network))
        return false;
    uint32_t offset = address - addresses->network;
    mark(addresses, offset);
    addresses->used++;
    /* Go on behind the highest survivor: what lies below may have been freed a moment ago. */
    if (offset >= addresses->next)
        addresses->next = (offset + 1) % addresses->count;
    return true;
}

void addresses_free(struct addresses *addresses, uint32_t address)
{
    uint32_t offset = address - addresses->network;
    assert(addresses_contains(addresses, address) && is_taken(addresses, offset));
    assert(offset > 1 && offset < addresses->count - 1);
    addresses->taken[offset / 64] &= ~(UINT64_C(1) << (offset % 64));
    addresses->used--;
}
