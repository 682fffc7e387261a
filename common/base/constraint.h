/* constraint - placement constraints: "node.labels.zone==eu", "node.role!=manager". Source: swarm-semantics 4.3.
 *
 * Who      the control API refuses what does not parse; the scheduler matches nodes; both through this module.
 * Keys     (without regard to case) node.id, node.hostname, node.ip (address or CIDR), node.role, node.platform.os,
 *          node.platform.arch, node.labels.NAME, engine.labels.NAME (label names are case-sensitive).
 * Values   compared without regard to case; a missing attribute is the empty string. amd64 and x86_64 are one architecture,
 *          arm64 and aarch64 too.
 * Limits   CONSTRAINTS_MAX expressions of CONSTRAINT_TEXT_MAX bytes.
 */
#ifndef SW_CONSTRAINT_H
#define SW_CONSTRAINT_H

#include "common/base/err.h"
#include "proto/types.pb-c.h"

#include <stdbool.h>

#define CONSTRAINTS_MAX 64
#define CONSTRAINT_TEXT_MAX 512

enum constraint_key {
    CONSTRAINT_NODE_ID,
    CONSTRAINT_HOSTNAME,
    CONSTRAINT_IP,
    CONSTRAINT_ROLE,
    CONSTRAINT_OS,
    CONSTRAINT_ARCH,
    CONSTRAINT_NODE_LABEL,
    CONSTRAINT_ENGINE_LABEL,
};
struct constraint {
    enum constraint_key key;
    bool equal;  /* == rather than != */
    char *label; /* of the two label keys, else NULL */
    char *value;
};
struct constraints {
    struct constraint *items;
    size_t count;
};

/* SW_INVALID (or SW_LIMIT) names the expression and what is wrong with it. *ret must be zeroed; deinit in any case. */
int constraints_parse(char *const *texts, size_t count, struct constraints *ret, struct sw_err *err);
void constraints_deinit(struct constraints *constraints);

/* All of them hold for the node. */
bool constraints_match(const struct constraints *constraints, const Swarm__Node *node);

/* "x86_64" and "amd64" to "amd64", "aarch64" to "arm64"; other names as they are. */
const char *constraint_arch(const char *arch);

#endif
