/* filter - the system call filter: the distribution's profile (Docker's form) for a set of capabilities.
 *
 * The profile names rules that apply only on some architectures or only with (without) some capabilities; the runtime wants
 * them decided: filter_translate(). crun spends 12 ms of each start on compiling that to BPF; it takes a compiled program as
 * well (annotation run.oci.seccomp_bpf_data): filter_compile(), done once a set of capabilities.
 * Errors   SW_CORRUPT: the profile does not parse; SW_UNSUPPORTED: a word in it is unknown.
 */
#ifndef AGENT_OCI_FILTER_H
#define AGENT_OCI_FILTER_H

#include "common/base/err.h"

#include <jansson.h>
#include <stdint.h>

#define FILTER_PROFILE "/usr/share/containers/seccomp.json"

/* New reference: the `linux.seccomp` object of config.json. arch: "amd64", "arm64" ... */
int filter_translate(json_t *profile, uint64_t caps, const char *arch, json_t **ret_filter, struct sw_err *err);
/* Heap, base64. */
int filter_compile(json_t *filter, char **ret_text, struct sw_err *err);
const char *filter_arch(void); /* this machine's, as image platforms name it; "" = unknown */

#endif
