/* volumes - what a task mounts besides its root: bind mounts, volumes of this node, tmpfs.
 *
 * Local volumes live in <state_dir>/volumes/NAME/_data and stay when tasks go; a volume without a name is made for one task and
 * goes with it. Content of the image fills a new volume (struct plan_copy, done by the shim, which sees the root) unless nocopy.
 * Errors   SW_INVALID with Docker's words, SW_UNSUPPORTED for other volume drivers; they become the task's status.err.
 * Memory   struct plan owns all; plan_deinit() frees. Limits: PLAN_MOUNTS_MAX mounts a task.
 */
#ifndef AGENT_OCI_VOLUMES_H
#define AGENT_OCI_VOLUMES_H

#include "common/base/err.h"
#include "proto/types.pb-c.h"

#include <jansson.h>
#include <stddef.h>

#define PLAN_MOUNTS_MAX 128

struct plan_mount {
    char *type; /* "bind", "tmpfs" */
    char *source;
    char *target;
    char *options; /* comma-separated, as in config.json */
};
struct plan {
    struct plan_mount mounts[PLAN_MOUNTS_MAX]; /* parents before what lies in them */
    size_t mount_count;
    char *copies[PLAN_MOUNTS_MAX]; /* "VOLUME_DIR\tTARGET" */
    size_t copy_count;
    char *anonymous[PLAN_MOUNTS_MAX]; /* names of volumes that go with the task */
    size_t anonymous_count;
};

/* Makes the volumes that do not exist. image_volumes: the image's config.Volumes object, may be NULL. *ret is to be deinited
 * after a failure too, and tells then which volumes were made for the task alone. */
int plan_make(const char *state_dir, const Swarm__Task *task, json_t *image_volumes, struct plan *ret, struct sw_err *err);
void plan_deinit(struct plan *plan);
#define PLAN_AUTO __attribute__((cleanup(plan_deinit))) struct plan

#endif
