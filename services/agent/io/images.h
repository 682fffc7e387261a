/* images - the node's image store. Implemented by services/agent/oci; used by the executor and by io/local.c (swarm-cli image).
 *
 * Names    "name[:tag][@digest]"; docker.io/library is filled in, ":latest" too. Sources of import: "docker-archive:/x.tar",
 *          "oci:/dir[:tag]", "docker-daemon:name". A reference is a name, a digest, or a unique digest prefix.
 * Calls    import, pull and resolve run in child processes and answer later through `done`, exactly once, unless cancelled;
 *          two pulls of one name share the work. list and remove are quick and answer at once.
 * Disk     <state_dir>/images; an import that fails or is cut leaves nothing behind. SW_LIMIT / SW_IO: the disk is full.
 * Threads  one: the svc loop's.
 */
#ifndef AGENT_IMAGES_H
#define AGENT_IMAGES_H

#include "common/base/err.h"
#include "common/service/svc.h"
#include "proto/node.pb-c.h"

struct images;
struct images_spec {
    struct svc *svc;
    const char *state_dir;
    const char *const *plain_registries; /* "HOST:PORT" spoken to without TLS; NULL-terminated; may be NULL */
    const char *auth_file;               /* registry credentials as skopeo takes them; NULL = none */
    const char *docker_host;             /* where "docker-daemon:" finds its engine, "unix:///PATH"; NULL = skopeo's own default */
};
int images_open(const struct images_spec *spec, struct images **ret_images, struct sw_err *err);
void images_close(struct images *images); /* NULL is fine */

/* Heap, sw_pb_free(); sorted by first name. */
Swarm__ImageListReply *images_list(struct images *images);
/* An image that a container uses needs force (then its name goes, its layers stay until the container is removed). */
int images_remove(struct images *images, const char *ref, bool force, struct sw_err *err);

struct images_job;
struct images_calls {
    void (*progress)(void *arg, const char *line);                                /* may be NULL; at most 512 bytes a line */
    void (*done)(void *arg, const Swarm__Image *image, const struct sw_err *err); /* image NULL = failed, err says why */
    void *arg;
};
/* Never call back from within the call. *ret_job (may be NULL) is valid until done. */
int images_import(struct images *images, const char *source, const char *name, const struct images_calls *calls,
                  struct images_job **ret_job, struct sw_err *err);
int images_pull(struct images *images, const char *name, const struct images_calls *calls, struct images_job **ret_job,
                struct sw_err *err);
void images_cancel(struct images_job *job); /* no further call; shared work goes on for others */

/* What the registry (or else this node: reply.local) says that a name means. err as above when neither knows it. */
typedef void images_resolved_fn(void *arg, const Swarm__ImageResolveReply *reply, const struct sw_err *err);
int images_resolve(struct images *images, const char *name, images_resolved_fn *fn, void *arg, struct sw_err *err);

#endif
