/* spec - service specs out of command lines: a new one (create), or changes to one that was read (update).
 *
 * Source   cli-surface 5 and 6. What the flags do is here; their tables are spec_create_flags and spec_update_flags.
 * Pure     the caller reads files and the environment and hands them in.
 * Errors   SW_INVALID with one line; nothing is half-changed that the caller would send.
 */
#ifndef CLI_SPEC_H
#define CLI_SPEC_H

#include "proto/types.pb-c.h"
#include "services/swarm-cli/core/flags.h"

extern const struct flag spec_create_flags[];
extern const size_t spec_create_flag_count;
extern const struct flag spec_update_flags[];
extern const size_t spec_update_flag_count;

struct spec_input {
    const struct flags *flags;
    const char *const *environ;   /* NULL-terminated "K=V" of the client */
    const char *const *env_files; /* texts of the --env-file files, in order */
    size_t env_file_count;
    const char *name; /* create: used when --name was not typed */
};

/* args[0] is the image as typed. *ret is heap (sw_pb_free). */
int spec_create(const struct spec_input *input, Swarm__ServiceSpec **ret, struct sw_err *err);
/* Changes spec by what was typed. */
int spec_update(const struct spec_input *input, Swarm__ServiceSpec *spec, struct sw_err *err);
/* --rollback may stand beside -d and -q only. */
int spec_rollback_check(const struct flags *flags, struct sw_err *err);
/* Replica count for `service scale`; refuses global services. */
int spec_scale(Swarm__ServiceSpec *spec, uint64_t replicas, struct sw_err *err);

/* Environment lists, also tested alone. texts as typed behind --env; files first. */
int spec_env(const struct spec_input *input, const struct flag_values *typed, char ***list, size_t *count, struct sw_err *err);

/* Shared with spec_update.c: set-one flags that create and update have in common. */
int spec_set_common(const struct flags *flags, Swarm__ServiceSpec *spec, struct sw_err *err);
/* spec_names.c: hosts, resolver settings and groups of create, and of update. */
int spec_add_names(const struct flags *flags, Swarm__ContainerSpec *container, struct sw_err *err);
int spec_change_names(const struct flags *flags, Swarm__ContainerSpec *container, struct sw_err *err);

#endif
