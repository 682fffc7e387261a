#include "services/swarm-cli/io/cli.h"

#include "common/base/units.h"
#include "services/swarm-cli/core/spec.h"
#include "services/swarm-cli/core/values.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define ENV_FILE_MAX (1 << 20)
#define RESOLVE_TIMEOUT_MS 15000

/* ---- what a spec needs from outside ---- */

static char *random_name(void)
{
    static const char *const how[] = { "brave", "calm",  "clever", "eager", "gentle", "happy", "keen",  "kind",
                                       "lucid", "merry", "nimble", "proud", "quiet",  "swift", "vivid", "witty" };
    static const char *const who[] = { "badger", "crane", "dolphin", "falcon", "finch", "heron", "ibex", "lynx",
                                       "marten", "otter", "puffin",  "raven",  "seal",  "swan",  "tern", "wren" };
    uint32_t bits = 0;
    if (getrandom(&bits, sizeof bits, 0) != sizeof bits)
        bits = (uint32_t)cli_wall_ns();
    return sw_strf("%s_%s%u", how[bits & 15], who[bits >> 4 & 15], (bits >> 8) % 1000);
}

static int read_text(const char *path, char **ret, struct sw_err *err)
{
    FILE *file = fopen(path, "re");
    SW_AUTO_BUF text = { 0 };
    char chunk[4096];
    size_t got = 0;
    if (file == NULL)
        return sw_fail(err, SW_IO, "open %s: %s", path, strerror(errno));
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0 && text.len <= ENV_FILE_MAX)
        sw_buf_add(&text, chunk, got);
    bool bad = ferror(file) != 0;
    (void)fclose(file);
    if (bad)
        return sw_fail(err, SW_IO, "read %s: %s", path, strerror(EIO));
    if (text.len > ENV_FILE_MAX)
        return sw_fail(err, SW_LIMIT, "%s has more than %d bytes", path, ENV_FILE_MAX);
    *ret = sw_buf_take(&text);
    return 0;
}

extern char **environ;

/* Reads the --env-file files; texts[] is freed by the caller. */
static int input_make(const struct flags *flags, struct spec_input *ret, char ***ret_texts, struct sw_err *err)
{
    *ret = (struct spec_input) { .flags = flags, .environ = (const char *const *)environ };
    if (!flags_known(flags, "env-file"))
        return 0;
    const struct flag_values *files = flags_list(flags, "env-file");
    *ret_texts = sw_alloc0((files->count + 1) * sizeof **ret_texts);
    for (size_t i = 0; i < files->count; i++) {
        int rc = read_text(files->values[i], &(*ret_texts)[i], err);
        if (rc < 0)
            return rc;
    }
    ret->env_files = (const char *const *)*ret_texts;
    ret->env_file_count = files->count;
    return 0;
}

static void texts_free(char **texts)
{
    for (size_t i = 0; texts != NULL && texts[i] != NULL; i++)
        free(texts[i]);
    free(texts);
}

/* ---- image resolution ---- */

static void pin(Swarm__ServiceSpec *spec, const Swarm__ImageResolveReply *reply)
{
    Swarm__ContainerSpec *container = spec->task->container;
    if (strchr(container->image, '@') == NULL) {
        SW_AUTO(sw_free) char *pinned = sw_strf("%s@%s", container->image, reply->digest);
        sw_pb_set(&container->image, pinned);
    }
    if (reply->n_platforms == 0)
        return;
    if (spec->task->placement == NULL) {
        spec->task->placement = sw_alloc0(sizeof *spec->task->placement);
        swarm__placement__init(spec->task->placement);
    }
    Swarm__Placement *placement = spec->task->placement;
    while (placement->n_platforms > 0)
        sw_pb_free(values_remove(placement->platforms, &placement->n_platforms, 0));
    for (size_t i = 0; i < reply->n_platforms; i++)
        values_push(&placement->platforms, &placement->n_platforms, sw_pb_clone(reply->platforms[i]));
}

void cli_resolve_image(struct cli *cli, Swarm__ServiceSpec *spec)
{
    const char *image = spec->task->container->image;
    Swarm__ImageResolveRequest request = SWARM__IMAGE_RESOLVE_REQUEST__INIT;
    struct sw_err err = { 0 };
    void *reply = NULL;
    request.name = (char *)image;
    int rc = cli->host != NULL ? -SW_UNAVAILABLE : cli_ask_node(cli, &request, RESOLVE_TIMEOUT_MS, &reply, &err);
    SW_AUTO(sw_pb_free) Swarm__ImageResolveReply *found = reply;
    if (rc == 0 && found->digest != NULL && found->digest[0] != '\0')
        pin(spec, found);
    else if (rc < 0 || !found->local)
        (void)fprintf(
            stderr,
            "image %s could not be accessed on a registry to record\nits digest. Each node will access %s independently,\n"
            "possibly leading to different nodes running different\nversions of the image.\n\n",
            image, image);
}

/* ---- create ---- */

static int create_send(struct cli *cli, const struct flags *flags, Swarm__ServiceSpec *spec, struct sw_err *err)
{
    Swarm__ServiceCreateRequest request = SWARM__SERVICE_CREATE_REQUEST__INIT;
    void *message = NULL;
    if (!flags_bool(flags, "no-resolve-image"))
        cli_resolve_image(cli, spec);
    request.spec = spec;
    if (cli_ask(cli, &request, &message, err) < 0)
        return cli_error(cli, err);
    SW_AUTO(sw_pb_free) Swarm__ServiceCreateReply *reply = message;
    (void)printf("%s\n", reply->id);
    (void)fflush(stdout);
    return flags_bool(flags, "detach") ? 0 : cli_wait(cli, reply->id, flags_bool(flags, "quiet"));
}

int cmd_service_create(struct cli *cli, const struct flags *flags)
{
    struct sw_err err = { 0 };
    struct spec_input input;
    char **texts = NULL;
    SW_AUTO(sw_pb_free) Swarm__ServiceSpec *spec = NULL;
    SW_AUTO(sw_free) char *name = random_name();
    int rc = input_make(flags, &input, &texts, &err);
    input.name = name;
    if (rc == 0)
        rc = spec_create(&input, &spec, &err);
    texts_free(texts);
    return rc < 0 ? cli_error(cli, &err) : create_send(cli, flags, spec, &err);
}

/* ---- update, rollback, scale ---- */

static int service_get(struct cli *cli, const char *ref, Swarm__ServiceGetReply **ret, struct sw_err *err)
{
    Swarm__ServiceGetRequest request = SWARM__SERVICE_GET_REQUEST__INIT;
    void *reply = NULL;
    request.ref = (char *)ref;
    int rc = cli_ask(cli, &request, &reply, err);
    if (rc == 0)
        *ret = reply;
    return rc;
}

/* spec NULL = roll back. */
static int update_send(struct cli *cli, const Swarm__Service *service, Swarm__ServiceSpec *spec, struct sw_err *err)
{
    Swarm__ServiceUpdateRequest request = SWARM__SERVICE_UPDATE_REQUEST__INIT;
    void *reply = NULL;
    request.id = service->id;
    request.version = service->meta->version;
    request.spec = spec;
    request.has_rollback = spec == NULL;
    request.rollback = spec == NULL;
    int rc = cli_ask(cli, &request, &reply, err);
    sw_pb_free(reply);
    return rc;
}

static int after_update(struct cli *cli, const struct flags *flags, const char *id)
{
    (void)printf("%s\n", flags->args[0]);
    (void)fflush(stdout);
    return flags_bool(flags, "detach") ? 0 : cli_wait(cli, id, flags_bool(flags, "quiet"));
}

int cmd_service_rollback(struct cli *cli, const struct flags *flags)
{
    struct sw_err err = { 0 };
    SW_AUTO(sw_pb_free) Swarm__ServiceGetReply *reply = NULL;
    int rc = service_get(cli, flags->args[0], &reply, &err);
    if (rc == 0)
        rc = update_send(cli, reply->service, NULL, &err);
    return rc < 0 ? cli_error(cli, &err) : after_update(cli, flags, reply->service->id);
}

int cmd_service_update(struct cli *cli, const struct flags *flags)
{
    struct sw_err err = { 0 };
    struct spec_input input;
    char **texts = NULL;
    SW_AUTO(sw_pb_free) Swarm__ServiceGetReply *reply = NULL;
    if (flags_bool(flags, "rollback"))
        return spec_rollback_check(flags, &err) < 0 ? cli_error(cli, &err) : cmd_service_rollback(cli, flags);
    int rc = input_make(flags, &input, &texts, &err);
    texts_free(texts);
    if (rc == 0)
        rc = service_get(cli, flags->args[0], &reply, &err);
    if (rc == 0)
        rc = spec_update(&input, reply->service->spec, &err);
    if (rc < 0)
        return cli_error(cli, &err);
    if (flags_typed(flags, "image") && !flags_bool(flags, "no-resolve-image"))
        cli_resolve_image(cli, reply->service->spec);
    if (update_send(cli, reply->service, reply->service->spec, &err) < 0)
        return cli_error(cli, &err);
    return after_update(cli, flags, reply->service->id);
}

/* "web=5"; on success *ret_id is the service's id. */
static int scale_one(struct cli *cli, const char *text, char **ret_id, struct sw_err *err)
{
    const char *equal = strchr(text, '=');
    uint64_t replicas = 0;
    SW_AUTO(sw_pb_free) Swarm__ServiceGetReply *reply = NULL;
    cli->said_by_daemon = false;
    if (equal == NULL || equal == text)
        return sw_fail(err, SW_INVALID,
                       "invalid scale specifier '%.100s'.\nSee 'swarm-cli service scale --help'.\n\n"
                       "Usage:  swarm-cli service scale SERVICE=REPLICAS [SERVICE=REPLICAS...]",
                       text);
    SW_AUTO(sw_free) char *name = sw_strf("%.*s", (int)(equal - text), text);
    if (!sw_parse_u64(equal + 1, &replicas))
        return sw_fail(err, SW_INVALID, "%s: invalid replicas value %.60s: strconv.ParseUint: parsing \"%.60s\": invalid syntax",
                       name, equal + 1, equal + 1);
    int rc = service_get(cli, name, &reply, err);
    if (rc == 0) {
        rc = spec_scale(reply->service->spec, replicas, err);
        if (rc < 0)
            cli->said_by_daemon = false;
        else
            rc = update_send(cli, reply->service, reply->service->spec, err);
    }
    if (rc < 0)
        return sw_wrap(err, "%s", name);
    (void)printf("%s scaled to %llu\n", name, (unsigned long long)replicas);
    (void)fflush(stdout);
    *ret_id = sw_strdup(reply->service->id);
    return 0;
}

int cmd_service_scale(struct cli *cli, const struct flags *flags)
{
    struct sw_err err = { 0 };
    char **ids = sw_alloc0((flags->arg_count + 1) * sizeof *ids);
    int code = 0;
    for (size_t i = 0; i < flags->arg_count; i++)
        if (scale_one(cli, flags->args[i], &ids[i], &err) < 0) {
            (void)fprintf(stderr, "%s\n", err.text);
            code = 1;
        }
    for (size_t i = 0; i < flags->arg_count; i++) {
        if (ids[i] != NULL && !flags_bool(flags, "detach") && !bus_sync_interrupted())
            code |= cli_wait(cli, ids[i], false);
        free(ids[i]);
    }
    free(ids);
    return code;
}

int cmd_service_rm(struct cli *cli, const struct flags *flags)
{
    int code = 0;
    for (size_t i = 0; i < flags->arg_count; i++) {
        Swarm__ServiceRemoveRequest request = SWARM__SERVICE_REMOVE_REQUEST__INIT;
        request.ref = flags->args[i];
        code |= cli_do(cli, &request, flags->args[i]);
    }
    return code;
}
