/* ref - image references as people write them: [host[:port]/]path[:tag][@sha256:...].
 *
 * Normal form  the registry and "library/" are filled in, as Docker does: "web" -> "docker.io/library/web:latest".
 *              With a digest and no tag, no tag is filled in.
 * Memory       struct ref owns its strings; ref_deinit() frees; a zeroed struct is fine.
 * Errors       SW_INVALID "invalid reference format...". Limits: name 255 characters, tag 128.
 */
#ifndef AGENT_OCI_REF_H
#define AGENT_OCI_REF_H

#include "common/base/err.h"

#include <stdbool.h>

struct ref {
    char *host;   /* "docker.io", "127.0.0.1:5000" */
    char *path;   /* "library/web" */
    char *tag;    /* NULL only with a digest */
    char *digest; /* "sha256:<64 hex>" or NULL */
};

int ref_parse(const char *text, struct ref *ret, struct sw_err *err);
void ref_deinit(struct ref *ref);
#define REF_AUTO __attribute__((cleanup(ref_deinit))) struct ref

char *ref_repository(const struct ref *ref); /* heap: "docker.io/library/web" */
char *ref_tagged(const struct ref *ref);     /* heap: "docker.io/library/web:latest"; NULL without a tag */
char *ref_pullable(const struct ref *ref);   /* heap: what skopeo takes after docker://: the digest wins over the tag */
bool ref_digest_valid(const char *text);     /* "sha256:" and 64 lower-case hex digits */

#endif
