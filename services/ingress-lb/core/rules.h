/* rules - endpoint tables as nftables commands: the whole table, or only what changed between two.
 *
 * Place    ingress-lb core. Text out; each call's text is one kernel transaction: all of it or nothing.
 * Shape    one table of family inet. Map `ports` (protocol . port -> its chain) is asked once a new connection, in prerouting
 *          and output, for packets addressed to this node; however many ports there are, it is one look-up. Each chain rewrites
 *          the destination to a random ready backend, or rejects. The source is never touched, with the exceptions in
 *          `postrouting`: what leaves the node from a task, what the node sends to itself (127.0.0.0/8), and a task that
 *          reaches its own subnet through the node (the answer must come back through the node).
 */
#ifndef LB_RULES_H
#define LB_RULES_H

#include "common/base/buf.h"
#include "services/ingress-lb/core/table.h"

#define LB_NAME_MAX 31

/* Names of nft tables: a letter, then letters, digits and '_', at most LB_NAME_MAX. */
bool rules_name_valid(const char *name);
/* Make the table anew, whatever was there under this name. */
void rules_full(const char *name, const struct lb_table *table, struct sw_buf *ret);
/* From one table to the next; nothing is appended if the rules are the same. */
void rules_change(const char *name, const struct lb_table *from, const struct lb_table *to, struct sw_buf *ret);
/* Take the table away; fine if there is none. */
void rules_delete(const char *name, struct sw_buf *ret);

#endif
