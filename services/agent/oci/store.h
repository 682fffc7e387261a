/* store - the image store's inside, for images.c, pull.c and the executor. What others may ask is io/images.h.
 *
 * Disk     <state>/images/index.json   {"images":[{digest, config, names, digests, layers, size, created_ns, added_ns,
 * imported}]} <state>/images/blobs/sha256 manifests, configs and packed layers as skopeo wrote them (shared blob directory)
 *          <state>/images/layers/HEX   unpacked layers by diff id, made by swarm-unpack
 *          <state>/images/job-N        an OCI layout for the time of one copy
 * Rows     are borrowed json objects of the index, valid until the next change of the store.
 * Limits   STORE_IMAGES_MAX images, STORE_LAYERS_MAX layers an image, STORE_JSON_MAX bytes of a manifest or config.
 */
#ifndef AGENT_OCI_STORE_H
#define AGENT_OCI_STORE_H

#include "services/agent/io/images.h"
#include "services/agent/oci/ref.h"

#include <jansson.h>

#define STORE_IMAGES_MAX 4096
#define STORE_LAYERS_MAX 127 /* what one overlay mount by swarm-shim takes, less the written layer */
#define STORE_JSON_MAX (4u << 20)

struct work; /* one copy under way; pull.c */

struct images {
    struct svc *svc;
    char *dir;    /* <state>/images */
    char *unpack; /* path of swarm-unpack */
    char **plain; /* registries without TLS */
    size_t plain_count;
    char *auth_file;
    char *docker_host;
    json_t *index; /* array */
    json_t *uses;  /* digest -> number of containers */
    struct work *works;
    unsigned serial;
    struct svc_child *sweeper; /* removes layers that went out of use */
    bool sweep_again;
};

/* SW_NOT_FOUND "No such image: x"; SW_INVALID for an ambiguous prefix. */
int store_find(struct images *images, const char *ref, json_t **ret_row, struct sw_err *err);
json_t *store_by_digest(struct images *images, const char *digest);
const char *store_digest(json_t *row);
int store_config(struct images *images, json_t *row, json_t **ret_config,
                 struct sw_err *err);                          /* new reference: the whole config */
char *store_layer_dir(struct images *images, const char *hex); /* heap: ".../layers/HEX/fs" */
void store_use(struct images *images, const char *digest);
void store_unuse(struct images *images, const char *digest);

/* Takes the reference to row. name (tagged) moves here from another image; digest_name ("repo@sha256:..") too; either may be
 * NULL. */
int store_add(struct images *images, json_t *row, const char *name, const char *digest_name, struct sw_err *err);
int store_json(struct images *images, const char *blob_digest, json_t **ret, struct sw_err *err); /* a blob that is json */
void store_sweep(struct images *images);      /* blobs and layers that no image names go; not while a copy is under way */
Swarm__Image *store_message(json_t *row);     /* heap, sw_pb_free() */
void store_works_stop(struct images *images); /* pull.c: at close */

/* Path of a program of ours: beside this one, else by PATH. Heap. */
char *store_helper(const char *name);

/* Whether a registry is spoken to without TLS: given by --plain-registry, or on this machine's loopback. */
bool store_is_plain(const struct images *images, const char *host);

#endif
