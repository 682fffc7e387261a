/* What a name means: asked of the registry with skopeo inspect, else of this node. */
#include "services/agent/oci/store.h"

#include "common/base/buf.h"
#include "common/base/pb.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define ASK_TIMEOUT_MS 15000u
#define PLATFORMS_MAX 64

struct ask {
    struct images *images;
    char *name;   /* as asked */
    char *source; /* docker://... */
    bool plain;
    images_resolved_fn *fn;
    void *arg;
    Swarm__ImageResolveReply *reply;
};

static void answer(struct ask *ask, const struct sw_err *err)
{
    ask->fn(ask->arg, err == NULL ? ask->reply : NULL, err);
    sw_pb_free(ask->reply);
    free(ask->name);
    free(ask->source);
    free(ask);
}

static void add_platform(Swarm__ImageResolveReply *reply, json_t *from)
{
    const char *arch = json_string_value(json_object_get(from, "architecture"));
    const char *os = json_string_value(json_object_get(from, "os"));
    if (arch == NULL || os == NULL || strcmp(os, "unknown") == 0 || reply->n_platforms == PLATFORMS_MAX)
        return;
    if (reply->platforms == NULL)
        reply->platforms = sw_realloc_array(NULL, PLATFORMS_MAX, sizeof *reply->platforms);
    Swarm__Platform *platform = sw_alloc0(sizeof *platform);
    swarm__platform__init(platform);
    platform->architecture = sw_strdup(arch);
    platform->os = sw_strdup(os);
    reply->platforms[reply->n_platforms++] = platform;
}

/* Not to be had from a registry: does this node hold it? */
static void answer_local(struct ask *ask, const char *why)
{
    json_t *row = NULL, *config = NULL;
    struct sw_err err;
    if (store_find(ask->images, ask->name, &row, &err) != 0) {
        (void)sw_fail(&err, SW_NOT_FOUND, "image %.200s could not be accessed on a registry to record its digest: %.200s",
                      ask->name, why);
        answer(ask, &err);
        return;
    }
    if (store_config(ask->images, row, &config, NULL) == 0)
        add_platform(ask->reply, config);
    json_decref(config);
    ask->reply->has_local = 1;
    ask->reply->local = 1;
    answer(ask, NULL);
}

static void on_config(void *arg, const struct svc_child_result *result)
{
    struct ask *ask = arg;
    json_t *config = result->status == 0 ? json_loadb(result->out, result->out_len, 0, NULL) : NULL;
    if (config != NULL)
        add_platform(ask->reply, config);
    json_decref(config);
    answer(ask, NULL); /* the digest is known; platforms are only a help for placement */
}

static int inspect(struct ask *ask, const char *what, svc_child_fn *done, struct sw_err *err)
{
    const char *argv[12];
    size_t n = 0;
    argv[n++] = "skopeo";
    argv[n++] = "--override-os=linux";
    argv[n++] = "inspect";
    argv[n++] = what;
    if (ask->plain)
        argv[n++] = "--tls-verify=false";
    if (ask->images->auth_file != NULL) {
        argv[n++] = "--authfile";
        argv[n++] = ask->images->auth_file;
    }
    argv[n++] = ask->source;
    argv[n] = NULL;
    struct svc_child_spec spec = {
        .argv = argv, .out_max = STORE_JSON_MAX, .timeout_ms = ASK_TIMEOUT_MS, .done = done, .arg = ask
    };
    return svc_child_run(ask->images->svc, &spec, NULL, err);
}

static void on_manifest(void *arg, const struct svc_child_result *result)
{
    struct ask *ask = arg;
    struct sw_err err;
    unsigned char sum[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof sum + 1];
    size_t i;
    json_t *item;
    json_t *manifest = result->status == 0 ? json_loadb(result->out, result->out_len, 0, NULL) : NULL;
    if (manifest == NULL) {
        answer_local(ask, result->timed_out ? "no answer in time" : "it does not know this name, or cannot be reached");
        return;
    }
    (void)crypto_hash_sha256(sum, (const unsigned char *)result->out, result->out_len);
    (void)sodium_bin2hex(hex, sizeof hex, sum, sizeof sum);
    ask->reply->digest = sw_strf("sha256:%s", hex);
    json_t *list = json_object_get(manifest, "manifests");
    json_array_foreach(list, i, item) add_platform(ask->reply, json_object_get(item, "platform"));
    json_decref(manifest);
    if (json_is_array(list) || inspect(ask, "--config", on_config, &err) != 0)
        answer(ask, NULL);
}

static void soon_local(void *arg)
{
    answer_local(arg, "");
}

/* An image that was imported by hand is what this node means by its name: no registry is asked. */
int images_resolve(struct images *images, const char *name, images_resolved_fn *fn, void *arg, struct sw_err *err)
{
    json_t *row = NULL;
    REF_AUTO ref = { 0 };
    int rc = ref_parse(name, &ref, err);
    if (rc != 0)
        return rc;
    SW_AUTO(sw_free) char *pulled = ref_pullable(&ref);
    struct ask *ask = sw_alloc0(sizeof *ask);
    *ask = (struct ask) { .images = images,
                          .name = sw_strdup(name),
                          .source = sw_strf("docker://%s", pulled),
                          .plain = store_is_plain(images, ref.host),
                          .fn = fn,
                          .arg = arg,
                          .reply = sw_alloc0(sizeof *ask->reply) };
    swarm__image_resolve_reply__init(ask->reply);
    if (store_find(images, name, &row, NULL) == 0 && json_is_true(json_object_get(row, "imported"))) {
        svc_soon(images->svc, soon_local, ask);
        return 0;
    }
    rc = inspect(ask, "--raw", on_manifest, err);
    if (rc != 0) {
        sw_pb_free(ask->reply);
        free(ask->name);
        free(ask->source);
        free(ask);
    }
    return rc;
}
