/* users - who a container's process runs as: "user[:group]" looked up in the image's own /etc/passwd and /etc/group.
 *
 * The files are opened beneath the root directory given (openat2 RESOLVE_IN_ROOT), so no link in an image leads out of it.
 * Numbers need no entry. Errors: SW_INVALID "unable to find user X: no matching entries in passwd file" and the like.
 * Limits: files of 1 MiB, USERS_GROUPS_MAX further groups.
 */
#ifndef AGENT_OCI_USERS_H
#define AGENT_OCI_USERS_H

#include "common/base/err.h"

#include <stddef.h>
#include <stdint.h>

#define USERS_GROUPS_MAX 256

struct users {
    uint32_t uid, gid;
    uint32_t groups[USERS_GROUPS_MAX];
    size_t group_count;
    char home[256]; /* "/" when unknown */
};

/* user: NULL or "" = root. extra: names or numbers of more groups. */
int users_find(int root_fd, const char *user, char *const *extra, size_t extra_count, struct users *ret, struct sw_err *err);

#endif
