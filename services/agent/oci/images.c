/* The image store: its index, look-up, use counts and sweeping. */
#include "services/agent/oci/store.h"

#include "common/base/buf.h"
#include "common/base/pb.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *store_helper(const char *name)
{
    static const char *const places[] = { "", "oci/", "../", "../oci/" };
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    self[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(self, '/');
    for (size_t i = 0; slash != NULL && i < sizeof places / sizeof places[0]; i++) {
        SW_AUTO(sw_free) char *path = sw_strf("%.*s/%s%s", (int)(slash - self), self, places[i], name);
        if (access(path, X_OK) == 0)
            return SW_TAKE(path);
    }
    return sw_strdup(name);
}

/* ---- the index file ---- */
static char *in_dir(const struct images *images, const char *name)
{
    return sw_strf("%s/%s", images->dir, name);
}

static int save(struct images *images, struct sw_err *err)
{
    json_t *file = json_pack("{s:O}", "images", images->index);
    SW_AUTO(sw_free) char *text = json_dumps(file, JSON_INDENT(1) | JSON_SORT_KEYS);
    SW_AUTO(sw_free) char *path = in_dir(images, "index.json");
    json_decref(file);
    return svc_file_write(path, text, strlen(text), 0600, err);
}

static int load(struct images *images, struct sw_err *err)
{
    size_t len;
    json_error_t why;
    SW_AUTO(sw_free) char *text = NULL;
    SW_AUTO(sw_free) char *path = in_dir(images, "index.json");
    int rc = svc_file_read(path, 64u << 20, &text, &len, err);
    if (rc == -SW_NOT_FOUND) {
        images->index = json_array();
        return 0;
    }
    if (rc != 0)
        return rc;
    json_t *file = json_loadb(text, len, 0, &why);
    json_t *list = json_object_get(file, "images");
    if (json_is_array(list))
        images->index = json_incref(list);
    json_decref(file);
    return images->index != NULL ? 0 : sw_fail(err, SW_CORRUPT, "%s: line %d: %s", path, why.line, why.text);
}

int store_json(struct images *images, const char *blob_digest, json_t **ret, struct sw_err *err)
{
    size_t len;
    json_error_t why;
    SW_AUTO(sw_free) char *text = NULL;
    if (blob_digest == NULL || !ref_digest_valid(blob_digest))
        return sw_fail(err, SW_CORRUPT, "image names no valid digest");
    SW_AUTO(sw_free) char *path = sw_strf("%s/blobs/sha256/%s", images->dir, blob_digest + 7);
    int rc = svc_file_read(path, STORE_JSON_MAX, &text, &len, err);
    if (rc != 0)
        return rc;
    *ret = json_loadb(text, len, 0, &why);
    return *ret != NULL ? 0 : sw_fail(err, SW_CORRUPT, "image blob %s: %s", blob_digest, why.text);
}

int store_config(struct images *images, json_t *row, json_t **ret_config, struct sw_err *err)
{
    return store_json(images, json_string_value(json_object_get(row, "config")), ret_config, err);
}

char *store_layer_dir(struct images *images, const char *hex)
{
    return sw_strf("%s/layers/%s/fs", images->dir, hex);
}

/* ---- look-up ---- */
const char *store_digest(json_t *row)
{
    return json_string_value(json_object_get(row, "digest"));
}

static bool holds(json_t *list, const char *text)
{
    size_t i;
    json_t *item;
    if (text != NULL)
        json_array_foreach(list, i, item) if (json_is_string(item) && strcmp(json_string_value(item), text) == 0) return true;
    return false;
}

json_t *store_by_digest(struct images *images, const char *digest)
{
    size_t i;
    json_t *row;
    json_array_foreach(images->index, i, row) if (strcmp(store_digest(row), digest) == 0) return row;
    return NULL;
}

static json_t *by_name(struct images *images, const char *text)
{
    size_t i;
    json_t *row;
    REF_AUTO ref = { 0 };
    if (ref_parse(text, &ref, NULL) != 0)
        return NULL;
    SW_AUTO(sw_free) char *tagged = ref_tagged(&ref);
    SW_AUTO(sw_free) char *pulled = ref_pullable(&ref);
    json_array_foreach(images->index, i, row)
    {
        if (ref.digest == NULL ? holds(json_object_get(row, "names"), tagged)
                               : holds(json_object_get(row, "digests"), pulled) || strcmp(store_digest(row), ref.digest) == 0)
            return row;
    }
    return NULL;
}

int store_find(struct images *images, const char *ref, json_t **ret_row, struct sw_err *err)
{
    size_t i, count = 0;
    json_t *row, *found = by_name(images, ref);
    if (found != NULL) {
        *ret_row = found;
        return 0;
    }
    const char *hex = strncmp(ref, "sha256:", 7) == 0 ? ref + 7 : ref;
    size_t len = strlen(hex);
    if (len >= 4 && len <= 64 && strspn(hex, "0123456789abcdef") == len)
        json_array_foreach(images->index, i, row) if (strncmp(store_digest(row) + 7, hex, len) == 0)
        {
            found = row;
            count++;
        }
    if (count > 1)
        return sw_fail(err, SW_INVALID, "image %.80s is ambiguous (%zu matches found)", ref, count);
    if (count == 0)
        return sw_fail(err, SW_NOT_FOUND, "No such image: %.300s", ref);
    *ret_row = found;
    return 0;
}

/* ---- changes ---- */
static void drop_string(json_t *list, const char *text)
{
    for (size_t i = json_array_size(list); i > 0; i--)
        if (strcmp(json_string_value(json_array_get(list, i - 1)), text) == 0)
            (void)json_array_remove(list, i - 1);
}

static void move_name(struct images *images, json_t *row, const char *key, const char *name)
{
    size_t i;
    json_t *other;
    if (name == NULL)
        return;
    json_array_foreach(images->index, i, other) drop_string(json_object_get(other, key), name);
    (void)json_array_append_new(json_object_get(row, key), json_string(name));
}

int store_add(struct images *images, json_t *row, const char *name, const char *digest_name, struct sw_err *err)
{
    json_t *have = store_by_digest(images, store_digest(row));
    if (have == NULL && json_array_size(images->index) >= STORE_IMAGES_MAX) {
        json_decref(row);
        return sw_fail(err, SW_LIMIT, "this node holds %d images already", STORE_IMAGES_MAX);
    }
    if (have != NULL) {
        (void)json_object_del(have, "dropped");
        json_decref(row);
        row = have;
    } else {
        (void)json_array_append_new(images->index, row);
    }
    move_name(images, row, "names", name);
    move_name(images, row, "digests", digest_name);
    return save(images, err);
}

static void remove_row(struct images *images, json_t *row)
{
    size_t i;
    json_t *other;
    json_array_foreach(images->index, i, other) if (other == row)
    {
        (void)json_array_remove(images->index, i);
        return;
    }
}

static json_int_t use_count(struct images *images, const char *digest)
{
    return json_integer_value(json_object_get(images->uses, digest));
}

void store_use(struct images *images, const char *digest)
{
    (void)json_object_set_new(images->uses, digest, json_integer(use_count(images, digest) + 1));
}

void store_unuse(struct images *images, const char *digest)
{
    json_int_t count = use_count(images, digest);
    if (count > 1) {
        (void)json_object_set_new(images->uses, digest, json_integer(count - 1));
        return;
    }
    (void)json_object_del(images->uses, digest);
    json_t *row = store_by_digest(images, digest);
    if (row == NULL || !json_is_true(json_object_get(row, "dropped")))
        return;
    remove_row(images, row); /* its removal was forced while a container held it */
    (void)save(images, NULL);
    store_sweep(images);
}

static bool given_by_digest(const char *ref)
{
    return strchr(ref, '@') != NULL || strncmp(ref, "sha256:", 7) == 0;
}

/* One name of several goes alone; the last name, or the digest, takes the image with it. */
int images_remove(struct images *images, const char *ref, bool force, struct sw_err *err)
{
    json_t *row = NULL;
    REF_AUTO parsed = { 0 };
    int rc = store_find(images, ref, &row, err);
    if (rc != 0)
        return rc;
    json_t *names = json_object_get(row, "names");
    SW_AUTO(sw_free) char *name = ref_parse(ref, &parsed, NULL) == 0 ? ref_tagged(&parsed) : NULL;
    if (json_array_size(names) > 1 && !given_by_digest(ref) && holds(names, name)) {
        drop_string(names, name);
        return save(images, err);
    }
    json_int_t count = use_count(images, store_digest(row));
    if (count != 0 && !force)
        return sw_fail(err, SW_CONFLICT,
                       "conflict: unable to remove image %.200s (must be forced): %lld container%s of this node use%s it", ref,
                       (long long)count, count == 1 ? "" : "s", count == 1 ? "s" : "");
    if (count != 0) {
        (void)json_array_clear(names);
        (void)json_array_clear(json_object_get(row, "digests"));
        (void)json_object_set_new(row, "dropped", json_true());
    } else {
        remove_row(images, row);
    }
    rc = save(images, err);
    store_sweep(images);
    return rc;
}

/* ---- sweeping ---- */
static void mark_row(struct images *images, json_t *row, json_t *live)
{
    size_t i;
    json_t *item, *manifest = NULL;
    (void)json_object_set_new(live, store_digest(row) + 7, json_true());
    json_array_foreach(json_object_get(row, "layers"), i, item)(void)
        json_object_set_new(live, json_string_value(item), json_true());
    if (store_json(images, store_digest(row), &manifest, NULL) != 0)
        return;
    const char *config = json_string_value(json_object_get(json_object_get(manifest, "config"), "digest"));
    if (config != NULL && ref_digest_valid(config))
        (void)json_object_set_new(live, config + 7, json_true());
    json_array_foreach(json_object_get(manifest, "layers"), i, item)
    {
        const char *blob = json_string_value(json_object_get(item, "digest"));
        if (blob != NULL && ref_digest_valid(blob))
            (void)json_object_set_new(live, blob + 7, json_true());
    }
    json_decref(manifest);
}

static void removed(void *arg, const struct svc_child_result *result)
{
    struct images *images = arg;
    images->sweeper = NULL;
    if (result->status != 0)
        svc_log(SVC_WARN, "image layers not removed", "err=\"%.200s\"", result->err);
    if (images->sweep_again)
        store_sweep(images);
}

/* Moves what is not live out of one of the two directories, so that a pull that comes now finds it gone as a whole. */
static void sweep_dir(struct images *images, const char *name, json_t *live, const char *trash)
{
    SW_AUTO(sw_free) char *path = in_dir(images, name);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] == '.' || json_object_get(live, entry->d_name) != NULL)
            continue;
        SW_AUTO(sw_free) char *from = sw_strf("%s/%s", path, entry->d_name);
        SW_AUTO(sw_free) char *to = sw_strf("%s/%s", trash, entry->d_name);
        if (entry->d_type == DT_REG)
            (void)unlink(from);
        else if ((mkdir(trash, 0700) != 0 && errno != EEXIST) || rename(from, to) != 0)
            svc_log(SVC_WARN, "image layer not removed", "err=\"%s\"", strerror(errno));
    }
    (void)closedir(dir);
}

/* Trees go in a child, because they may be large; what a cut one leaves is removed at the next start (clear_jobs()). */
void store_sweep(struct images *images)
{
    size_t i;
    json_t *row;
    images->sweep_again = images->sweeper != NULL;
    if (images->works != NULL || images->sweeper != NULL)
        return;
    SW_AUTO(sw_free) char *trash = sw_strf("%s/job-%u", images->dir, images->serial++);
    json_t *live = json_object();
    json_array_foreach(images->index, i, row) mark_row(images, row, live);
    sweep_dir(images, "blobs/sha256", live, trash);
    sweep_dir(images, "layers", live, trash);
    json_decref(live);
    const char *argv[] = { "rm", "-rf", "--one-file-system", "--", trash, NULL };
    struct svc_child_spec spec = { .argv = argv, .done = removed, .arg = images };
    if (access(trash, F_OK) == 0)
        (void)svc_child_run(images->svc, &spec, &images->sweeper, NULL);
}

/* ---- telling ---- */
Swarm__Image *store_message(json_t *row)
{
    json_t *names = json_object_get(row, "names");
    Swarm__Image *image = sw_alloc0(sizeof *image);
    swarm__image__init(image);
    image->digest = sw_strdup(store_digest(row));
    image->n_names = json_array_size(names);
    image->names = sw_realloc_array(NULL, image->n_names + 1, sizeof *image->names);
    for (size_t i = 0; i < image->n_names; i++)
        image->names[i] = sw_strdup(json_string_value(json_array_get(names, i)));
    image->size = json_integer_value(json_object_get(row, "size"));
    image->created_ns = json_integer_value(json_object_get(row, "created_ns"));
    image->has_added_ns = 1;
    image->added_ns = json_integer_value(json_object_get(row, "added_ns"));
    return image;
}

static int by_first_name(const void *a, const void *b)
{
    const Swarm__Image *left = *(Swarm__Image *const *)a, *right = *(Swarm__Image *const *)b;
    return strcmp(left->n_names != 0 ? left->names[0] : "~", right->n_names != 0 ? right->names[0] : "~");
}

Swarm__ImageListReply *images_list(struct images *images)
{
    size_t i;
    json_t *row;
    Swarm__ImageListReply *reply = sw_alloc0(sizeof *reply);
    swarm__image_list_reply__init(reply);
    reply->images = sw_realloc_array(NULL, json_array_size(images->index) + 1, sizeof *reply->images);
    json_array_foreach(images->index, i, row) if (!json_is_true(json_object_get(row, "dropped")))
        reply->images[reply->n_images++] = store_message(row);
    qsort(reply->images, reply->n_images, sizeof *reply->images, by_first_name);
    return reply;
}

/* ---- life ---- */
static void clear_jobs(struct images *images)
{
    DIR *dir = opendir(images->dir);
    if (dir == NULL)
        return;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        SW_AUTO(sw_free) char *path = in_dir(images, entry->d_name);
        if (strncmp(entry->d_name, "job-", 4) == 0)
            (void)svc_rmtree(path, NULL);
    }
    (void)closedir(dir);
}

int images_open(const struct images_spec *spec, struct images **ret_images, struct sw_err *err)
{
    struct images *images = sw_alloc0(sizeof *images);
    images->svc = spec->svc;
    images->dir = sw_strf("%s/images", spec->state_dir);
    images->unpack = store_helper("swarm-unpack");
    images->auth_file = sw_strdup(spec->auth_file);
    images->docker_host = sw_strdup(spec->docker_host);
    images->uses = json_object();
    while (spec->plain_registries != NULL && spec->plain_registries[images->plain_count] != NULL)
        images->plain_count++;
    images->plain = sw_realloc_array(NULL, images->plain_count + 1, sizeof *images->plain);
    for (size_t i = 0; i < images->plain_count; i++)
        images->plain[i] = sw_strdup(spec->plain_registries[i]);
    SW_AUTO(sw_free) char *layers = in_dir(images, "layers");
    SW_AUTO(sw_free) char *blobs = in_dir(images, "blobs/sha256");
    int rc = svc_mkdirs(layers, 0700, err);
    if (rc == 0)
        rc = svc_mkdirs(blobs, 0700, err);
    if (rc == 0)
        rc = load(images, err);
    if (rc != 0) {
        images_close(images);
        return sw_wrap(err, "open image store");
    }
    clear_jobs(images);
    store_sweep(images);
    *ret_images = images;
    return 0;
}

void images_close(struct images *images)
{
    if (images == NULL)
        return;
    store_works_stop(images);
    if (images->sweeper != NULL)
        svc_child_kill(images->sweeper);
    json_decref(images->index);
    json_decref(images->uses);
    for (size_t i = 0; i < images->plain_count; i++)
        free(images->plain[i]);
    free(images->plain);
    free(images->dir);
    free(images->unpack);
    free(images->auth_file);
    free(images->docker_host);
    free(images);
}
