#include "services/swarm-cli/io/cli.h"

#include "services/swarm-cli/core/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Progress lines until the image is there. */
static int fetch(struct cli *cli, const struct flags *flags, const void *request)
{
    struct sw_err err = { 0 };
    void *message = NULL;
    bool more = false;
    int rc = cli_stream(cli, true, request, &message, &more, &err);
    while (rc == 0 && more) {
        const ProtobufCMessage *body = message;
        if (body->descriptor == &swarm__image_progress__descriptor && !flags_bool(flags, "quiet"))
            (void)printf("%s\n", ((const Swarm__ImageProgress *)message)->line);
        (void)fflush(stdout);
        sw_pb_free(SW_TAKE(message));
        rc = cli_next(cli, true, 0, &message, &more, &err);
    }
    if (rc < 0)
        return cli_error(cli, &err);
    const ProtobufCMessage *last = message;
    if (last->descriptor == &swarm__image_reply__descriptor) {
        const Swarm__Image *image = ((const Swarm__ImageReply *)message)->image;
        if (!flags_bool(flags, "quiet"))
            for (size_t i = 0; i < image->n_names; i++) {
                SW_AUTO(sw_free) char *name = rows_image_name(image->names[i]);
                (void)printf("%s\n", name);
            }
        (void)printf("%s\n", image->digest);
    }
    sw_pb_free(message);
    return 0;
}

/* A file of ours is not where the agent stands: relative paths are made absolute. */
static char *absolute_source(const char *source)
{
    const char *colon = strchr(source, ':');
    if (colon == NULL || colon[1] == '/' || strncmp(source, "docker-daemon:", 14) == 0)
        return sw_strdup(source);
    SW_AUTO(sw_free) char *here = realpath(".", NULL);
    return sw_strf("%.*s%s/%s", (int)(colon + 1 - source), source, here != NULL ? here : "", colon + 1);
}

int cmd_image_import(struct cli *cli, const struct flags *flags)
{
    Swarm__ImageImportRequest request = SWARM__IMAGE_IMPORT_REQUEST__INIT;
    SW_AUTO(sw_free) char *source = absolute_source(flags->args[0]);
    request.source = source;
    request.name = flags->arg_count > 1 ? flags->args[1] : NULL;
    return fetch(cli, flags, &request);
}

int cmd_image_pull(struct cli *cli, const struct flags *flags)
{
    Swarm__ImagePullRequest request = SWARM__IMAGE_PULL_REQUEST__INIT;
    request.name = flags->args[0];
    return fetch(cli, flags, &request);
}

int cmd_image_rm(struct cli *cli, const struct flags *flags)
{
    int code = 0;
    for (size_t i = 0; i < flags->arg_count; i++) {
        Swarm__ImageRemoveRequest request = SWARM__IMAGE_REMOVE_REQUEST__INIT;
        struct sw_err err = { 0 };
        void *reply = NULL;
        request.ref = flags->args[i];
        request.has_force = 1;
        request.force = flags_bool(flags, "force");
        if (cli_ask_node(cli, &request, CLI_TIMEOUT_MS, &reply, &err) < 0)
            code = cli_error(cli, &err);
        else
            (void)printf("%s\n", flags->args[i]);
        sw_pb_free(reply);
    }
    return code;
}
