/* Copies of images into the store: import and pull with skopeo, unpacking with swarm-unpack, and asking a registry. */
#include "services/agent/oci/store.h"

#include "common/base/buf.h"
#include "common/base/constraint.h"
#include "common/base/pb.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define COPY_TIMEOUT_MS (30u * 60u * 1000u)
#define WORKS_MAX 16

struct images_job {
    struct images_job *next;
    struct work *work;
    struct images_calls calls;
};

/* One copy; jobs that want the same image share it. */
struct work {
    struct work *next;
    struct images *images;
    struct images_job *jobs;
    struct svc_child *child;
    char *key;    /* what is copied; pulls of one name are the same work */
    char *source; /* skopeo's source */
    char *name, *digest_name;
    char *tmp; /* "job-N" */
    bool imported;
    json_t *manifest, *config, *row;
    size_t layer; /* the next to unpack */
};

/* ---- words of skopeo ---- */
/* `time="..." level=fatal msg="..."` -> the message alone, unquoted, on one line. */
static char *reason_of(const char *text)
{
    const char *start = NULL;
    for (const char *at = strstr(text, "msg=\""); at != NULL; at = strstr(at + 5, "msg=\""))
        start = at + 5;
    if (start == NULL)
        start = text;
    char *reason = sw_strdup(start);
    size_t out = 0;
    for (size_t i = 0; reason[i] != '\0'; i++) {
        if (reason[i] == '"' && start != text)
            break;
        if (reason[i] == '\\' && reason[i + 1] != '\0')
            i++;
        reason[out++] = (unsigned char)reason[i] < 0x20 ? ' ' : reason[i];
    }
    while (out > 0 && reason[out - 1] == ' ')
        out--;
    reason[out] = '\0';
    return reason;
}

struct words {
    const char *text;
    enum sw_code code;
};
static const struct words known[] = {
    { "no space left", SW_LIMIT },           { "manifest unknown", SW_NOT_FOUND },
    { "name unknown", SW_NOT_FOUND },        { "not found", SW_NOT_FOUND },
    { "no such file", SW_NOT_FOUND },        { "access to the resource is denied", SW_NOT_FOUND },
    { "unauthorized", SW_DENIED },           { "connection refused", SW_UNAVAILABLE },
    { "no such host", SW_UNAVAILABLE },      { "timeout", SW_UNAVAILABLE },
    { "unreachable", SW_UNAVAILABLE },       { "server misbehaving", SW_UNAVAILABLE },
    { "connection reset", SW_UNAVAILABLE },  { "EOF", SW_UNAVAILABLE },
    { "deadline exceeded", SW_UNAVAILABLE }, { "no image found", SW_UNSUPPORTED },
    { "Temporary failure", SW_UNAVAILABLE },
};

static int tell_failure(const struct svc_child_result *result, const char *what, struct sw_err *err)
{
    SW_AUTO(sw_free) char *reason = reason_of(result->err);
    enum sw_code code = SW_IO;
    if (result->timed_out)
        return sw_fail(err, SW_UNAVAILABLE, "%.200s: no answer in time", what);
    for (size_t i = sizeof known / sizeof known[0]; i > 0; i--)
        if (strstr(reason, known[i - 1].text) != NULL)
            code = known[i - 1].code;
    if (code == SW_NOT_FOUND)
        return sw_fail(err, code, "No such image: %.200s (%.250s)", what, reason);
    return sw_fail(err, code, "%.200s: %.280s", what, reason[0] != '\0' ? reason : "skopeo failed");
}

bool store_is_plain(const struct images *images, const char *host)
{
    if (strncmp(host, "127.", 4) == 0 || strncmp(host, "localhost:", 10) == 0)
        return true; /* as Docker: nothing of it leaves the machine */
    for (size_t i = 0; i < images->plain_count; i++)
        if (strcmp(images->plain[i], host) == 0)
            return true;
    return false;
}

/* ---- the end of a work ---- */
static void work_free(struct work *work)
{
    struct images *images = work->images;
    for (struct work **at = &images->works; *at != NULL; at = &(*at)->next)
        if (*at == work) {
            *at = work->next;
            break;
        }
    if (work->tmp != NULL) {
        SW_AUTO(sw_free) char *path = sw_strf("%s/%s", images->dir, work->tmp);
        (void)svc_rmtree(path, NULL);
    }
    json_decref(work->manifest);
    json_decref(work->config);
    json_decref(work->row);
    free(work->key);
    free(work->source);
    free(work->name);
    free(work->digest_name);
    free(work->tmp);
    free(work);
}

/* Takes the work out first: a callback may ask for the next one. */
static void finish(struct work *work, const char *digest, const struct sw_err *err)
{
    struct images *images = work->images;
    struct images_job *jobs = work->jobs;
    json_t *row = digest != NULL ? store_by_digest(images, digest) : NULL;
    SW_AUTO(sw_pb_free) Swarm__Image *image = row != NULL ? store_message(row) : NULL;
    work->jobs = NULL;
    work_free(work);
    for (struct images_job *job = jobs; job != NULL; job = jobs) {
        jobs = job->next;
        job->calls.done(job->calls.arg, image, image != NULL ? NULL : err);
        free(job);
    }
    store_sweep(images);
}

/* ---- unpacking ---- */
static void unpack_next(struct work *work);

static void complete(struct work *work)
{
    struct sw_err err;
    int64_t size = 0;
    json_t *layers = json_object_get(work->row, "layers");
    for (size_t i = 0; i < json_array_size(layers); i++) {
        size_t len;
        SW_AUTO(sw_free) char *text = NULL;
        SW_AUTO(sw_free)
        char *path = sw_strf("%s/layers/%s/size", work->images->dir, json_string_value(json_array_get(layers, i)));
        if (svc_file_read(path, 64, &text, &len, NULL) == 0)
            size += strtoll(text, NULL, 10);
    }
    (void)json_object_set_new(work->row, "size", json_integer(size));
    SW_AUTO(sw_free) char *digest = sw_strdup(store_digest(work->row));
    int rc = store_add(work->images, SW_TAKE(work->row), work->name, work->digest_name, &err);
    finish(work, rc == 0 ? digest : NULL, &err);
}

static void on_unpacked(void *arg, const struct svc_child_result *result)
{
    struct work *work = arg;
    struct sw_err err;
    work->child = NULL;
    if (result->status != 0) {
        SW_AUTO(sw_free) char *reason = reason_of(result->err);
        bool full = strstr(reason, "No space left") != NULL;
        (void)sw_fail(&err, full ? SW_LIMIT : SW_CORRUPT, "image %.200s: %.280s", work->key, reason);
        finish(work, NULL, &err);
        return;
    }
    work->layer++;
    unpack_next(work);
}

static bool unpacked(const struct images *images, const char *hex)
{
    SW_AUTO(sw_free) char *path = sw_strf("%s/layers/%s/size", images->dir, hex);
    return access(path, F_OK) == 0;
}

static void unpack_next(struct work *work)
{
    struct sw_err err;
    json_t *blobs = json_object_get(work->manifest, "layers");
    json_t *layers = json_object_get(work->row, "layers");
    while (work->layer < json_array_size(layers) &&
           unpacked(work->images, json_string_value(json_array_get(layers, work->layer))))
        work->layer++;
    if (work->layer == json_array_size(layers)) {
        complete(work);
        return;
    }
    const char *blob = json_string_value(json_object_get(json_array_get(blobs, work->layer), "digest"));
    SW_AUTO(sw_free) char *archive = sw_strf("%s/blobs/sha256/%s", work->images->dir, blob + 7);
    SW_AUTO(sw_free) char *dir = sw_strf("%s/layers", work->images->dir);
    const char *argv[] = { work->images->unpack, archive, dir, json_string_value(json_array_get(layers, work->layer)), NULL };
    struct svc_child_spec spec = { .argv = argv, .timeout_ms = COPY_TIMEOUT_MS, .done = on_unpacked, .arg = work };
    if (svc_child_run(work->images->svc, &spec, &work->child, &err) != 0)
        finish(work, NULL, &err);
}

/* ---- reading what was copied ---- */
static int64_t parse_time(const char *text)
{
    struct tm tm = { 0 };
    if (text == NULL || strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) == NULL)
        return 0;
    return (int64_t)timegm(&tm) * INT64_C(1000000000);
}

static int take_layers(struct work *work, json_t *layers, struct sw_err *err)
{
    size_t i;
    json_t *item;
    json_t *diffs = json_object_get(json_object_get(work->config, "rootfs"), "diff_ids");
    json_t *blobs = json_object_get(work->manifest, "layers");
    if (json_array_size(diffs) != json_array_size(blobs) || json_array_size(diffs) > STORE_LAYERS_MAX ||
        json_array_size(diffs) == 0)
        return sw_fail(err, SW_CORRUPT, "image has %zu layers and %zu diff ids: 1 to %d of each are needed",
                       json_array_size(blobs), json_array_size(diffs), STORE_LAYERS_MAX);
    json_array_foreach(diffs, i, item)
    {
        const char *diff = json_string_value(item);
        const char *blob = json_string_value(json_object_get(json_array_get(blobs, i), "digest"));
        if (diff == NULL || blob == NULL || !ref_digest_valid(diff) || !ref_digest_valid(blob))
            return sw_fail(err, SW_CORRUPT, "image layer %zu has no valid digest", i);
        (void)json_array_append_new(layers, json_string(diff + 7));
    }
    return 0;
}

/* Whether this node's kernel runs it: the same machine, or its 32 bits. An image that does not say is taken as it is. */
static int check_platform(const struct work *work, struct sw_err *err)
{
    struct utsname names;
    const char *os = json_string_value(json_object_get(work->config, "os"));
    const char *arch = json_string_value(json_object_get(work->config, "architecture"));
    if (uname(&names) != 0)
        return sw_fail(err, SW_IO, "uname: %s", strerror(errno));
    const char *own = constraint_arch(names.machine);
    os = os != NULL && os[0] != '\0' ? os : "linux";
    arch = arch != NULL && arch[0] != '\0' ? arch : own;
    bool half =
        (strcmp(own, "amd64") == 0 && strcmp(arch, "386") == 0) || (strcmp(own, "arm64") == 0 && strcmp(arch, "arm") == 0);
    if (strcmp(os, "linux") == 0 && (half || strcmp(constraint_arch(arch), own) == 0))
        return 0;
    return sw_fail(err, SW_UNSUPPORTED, "image %.200s is for %.32s/%.32s, this node is linux/%s", work->key, os, arch, own);
}

static int make_row(struct work *work, const char *digest, struct sw_err *err)
{
    int rc = store_json(work->images, digest, &work->manifest, err);
    const char *config = json_string_value(json_object_get(json_object_get(work->manifest, "config"), "digest"));
    if (rc == 0)
        rc = store_json(work->images, config, &work->config, err);
    if (rc == 0)
        rc = check_platform(work, err);
    if (rc != 0)
        return rc;
    json_t *layers = json_array();
    work->row =
        json_pack("{s:s,s:s,s:[],s:[],s:o,s:I,s:I,s:b}", "digest", digest, "config", config, "names", "digests", "layers", layers,
                  "created_ns", (json_int_t)parse_time(json_string_value(json_object_get(work->config, "created"))), "added_ns",
                  (json_int_t)svc_wall_ns(), "imported", work->imported);
    return take_layers(work, layers, err);
}

static int read_layout(struct work *work, struct sw_err *err)
{
    size_t len;
    json_error_t why;
    SW_AUTO(sw_free) char *text = NULL;
    SW_AUTO(sw_free) char *path = sw_strf("%s/%s/index.json", work->images->dir, work->tmp);
    int rc = svc_file_read(path, STORE_JSON_MAX, &text, &len, err);
    if (rc != 0)
        return rc;
    json_t *layout = json_loadb(text, len, 0, &why);
    const char *digest = json_string_value(json_object_get(json_array_get(json_object_get(layout, "manifests"), 0), "digest"));
    rc = digest == NULL ? sw_fail(err, SW_CORRUPT, "skopeo left no manifest") : make_row(work, digest, err);
    json_decref(layout);
    return rc;
}

static void on_copied(void *arg, const struct svc_child_result *result)
{
    struct work *work = arg;
    struct sw_err err;
    work->child = NULL;
    int rc = result->status == 0 ? read_layout(work, &err) : tell_failure(result, work->key, &err);
    if (rc != 0)
        finish(work, NULL, &err);
    else
        unpack_next(work);
}

static void on_line(void *arg, const char *line)
{
    struct work *work = arg;
    char text[513];
    if (strncmp(line, "time=", 5) == 0) /* its errors are told at the end */
        return;
    (void)snprintf(text, sizeof text, "%s", line);
    for (struct images_job *job = work->jobs, *next; job != NULL; job = next) {
        next = job->next;
        if (job->calls.progress != NULL)
            job->calls.progress(job->calls.arg, text);
    }
}

/* ---- starting ---- */
/* A failure is the end of `work`. */
static int copy_start(struct work *work, bool plain, struct sw_err *err)
{
    const char *argv[24];
    size_t n = 0;
    SW_AUTO(sw_free) char *target = sw_strf("oci:%s:image", work->tmp);
    argv[n++] = "skopeo";
    if (access("/etc/containers/policy.json", F_OK) != 0)
        argv[n++] = "--insecure-policy"; /* no policy of the node's owner: all sources are accepted, as Docker does */
    argv[n++] = "--override-os=linux";
    argv[n++] = "copy";
    argv[n++] = "--dest-shared-blob-dir=blobs";
    argv[n++] = "--dest-oci-accept-uncompressed-layers";
    if (plain)
        argv[n++] = "--src-tls-verify=false";
    if (work->images->docker_host != NULL && strncmp(work->source, "docker-daemon:", 14) == 0) {
        argv[n++] = "--src-daemon-host";
        argv[n++] = work->images->docker_host;
    }
    if (work->images->auth_file != NULL) {
        argv[n++] = "--authfile";
        argv[n++] = work->images->auth_file;
    }
    argv[n++] = work->source;
    argv[n++] = target;
    argv[n] = NULL;
    struct svc_child_spec spec = {
        .argv = argv, .cwd = work->images->dir, .timeout_ms = COPY_TIMEOUT_MS, .done = on_copied, .arg = work, .line = on_line
    };
    int rc = svc_child_run(work->images->svc, &spec, &work->child, err);
    if (rc == 0)
        return 0;
    work_free(work);
    return sw_wrap(err, "skopeo");
}

static void join(struct work *work, const struct images_calls *calls, struct images_job **ret_job)
{
    struct images_job *job = sw_alloc0(sizeof *job);
    job->work = work;
    job->calls = *calls;
    job->next = work->jobs;
    work->jobs = job;
    if (ret_job != NULL)
        *ret_job = job;
}

static int work_new(struct images *images, const char *key, struct work **ret, struct sw_err *err)
{
    size_t count = 0;
    for (struct work *work = images->works; work != NULL; work = work->next)
        count++;
    if (count >= WORKS_MAX)
        return sw_fail(err, SW_LIMIT, "%d image copies are under way already", WORKS_MAX);
    struct work *work = sw_alloc0(sizeof *work);
    work->images = images;
    work->key = sw_strdup(key);
    work->tmp = sw_strf("job-%u", images->serial++);
    work->next = images->works;
    images->works = work;
    *ret = work;
    return 0;
}

int images_pull(struct images *images, const char *name, const struct images_calls *calls, struct images_job **ret_job,
                struct sw_err *err)
{
    REF_AUTO ref = { 0 };
    int rc = ref_parse(name, &ref, err);
    if (rc != 0)
        return rc;
    SW_AUTO(sw_free) char *pulled = ref_pullable(&ref);
    struct work *work = images->works;
    while (work != NULL && strcmp(work->key, pulled) != 0)
        work = work->next;
    if (work == NULL) {
        rc = work_new(images, pulled, &work, err);
        if (rc != 0)
            return rc;
        work->name = ref_tagged(&ref);
        work->digest_name = ref.digest != NULL ? sw_strdup(pulled) : NULL;
        work->source = sw_strf("docker://%s", pulled);
        rc = copy_start(work, store_is_plain(images, ref.host), err);
        if (rc != 0)
            return rc;
    }
    join(work, calls, ret_job);
    return 0;
}

/* The name an archive or layout itself gives: skopeo tells it only in its own metadata, so a name is wanted unless the source has
 * one. */
static int import_name(const char *source, const char *name, struct ref *ret, struct sw_err *err)
{
    const char *rest = strchr(source, ':') + 1;
    if (name != NULL && name[0] != '\0')
        return ref_parse(name, ret, err);
    if (strncmp(source, "docker-daemon:", 14) == 0)
        return ref_parse(rest, ret, err);
    const char *slash = strrchr(rest, '/');
    const char *colon = strchr(slash != NULL ? slash : rest, ':');
    if (colon != NULL && strncmp(source, "docker-archive:", 15) == 0)
        return ref_parse(colon + 1, ret, err);
    return sw_fail(err, SW_INVALID, "name: import of %.200s needs a name for the image", source);
}

int images_import(struct images *images, const char *source, const char *name, const struct images_calls *calls,
                  struct images_job **ret_job, struct sw_err *err)
{
    static const char *const kinds[] = { "docker-archive:", "oci:", "docker-daemon:" };
    REF_AUTO ref = { 0 };
    struct work *work = NULL;
    size_t k = 0;
    while (k < sizeof kinds / sizeof kinds[0] && strncmp(source, kinds[k], strlen(kinds[k])) != 0)
        k++;
    if (k == sizeof kinds / sizeof kinds[0] || source[strlen(kinds[k])] == '\0')
        return sw_fail(err, SW_INVALID, "source: %.200s is none of docker-archive:PATH, oci:DIR[:TAG], docker-daemon:NAME",
                       source);
    int rc = import_name(source, name, &ref, err);
    if (rc == 0)
        rc = work_new(images, source, &work, err);
    if (rc != 0)
        return rc;
    work->source = sw_strdup(source);
    work->name = ref_tagged(&ref);
    work->imported = true;
    rc = copy_start(work, false, err);
    if (rc != 0)
        return rc;
    join(work, calls, ret_job);
    return 0;
}

void images_cancel(struct images_job *job)
{
    struct work *work = job->work;
    for (struct images_job **at = &work->jobs; *at != NULL; at = &(*at)->next)
        if (*at == job) {
            *at = job->next;
            break;
        }
    free(job);
    if (work->jobs != NULL)
        return;
    if (work->child != NULL)
        svc_child_kill(work->child);
    work_free(work);
}

void store_works_stop(struct images *images)
{
    while (images->works != NULL) {
        struct work *work = images->works;
        if (work->child != NULL)
            svc_child_kill(work->child);
        while (work->jobs != NULL) {
            struct images_job *job = work->jobs;
            work->jobs = job->next;
            free(job);
        }
        work_free(work);
    }
}
