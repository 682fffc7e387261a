/* nft - the kernel's packet filter: transactions by libnftables, and the number of the last one.
 *
 * Place    ingress-lb io. The only place that uses libnftables (GPL-2).
 * Memory   one nft context for the life of the process; libnftables keeps its own cache of the ruleset in it.
 * Errors   SW_DENIED without CAP_NET_ADMIN, else SW_IO with the first line of what libnftables says.
 */
#ifndef LB_NFT_H
#define LB_NFT_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct nft;

int nft_open(struct nft **ret_nft, struct sw_err *err);
void nft_close(struct nft *nft); /* NULL is fine */
SW_AUTO_DEFINE(struct nft, nft_close);

/* One transaction. text must be NUL-terminated. */
int nft_apply(struct nft *nft, const char *text, struct sw_err *err);
/* Hash of the listing of table inet <name>; false when there is none. */
bool nft_hash(struct nft *nft, const char *name, uint64_t *ret_hash);
/* The kernel's rule generation of this network namespace: it grows with each transaction of anybody. */
int nft_generation(struct nft *nft, uint64_t *ret_generation, struct sw_err *err);

#endif
