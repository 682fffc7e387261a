#include "common/member/member.h"

#include <stdlib.h>
#include <string.h>

struct member {
    struct member_spec spec;
    char *node_id, *cluster_id; /* NULL: idle */
    unsigned role;
    uint8_t key[IDENTITY_KEY_SIZE];
};

SW_AUTO_DEFINE(Swarm__NodeIdentity, identity_node_free);

static bool still_ours(const struct member *member, const Swarm__NodeIdentity *identity)
{
    return identity != NULL && identity->role == member->role && strcmp(identity->node_id, member->node_id) == 0 &&
           strcmp(identity->cluster_id, member->cluster_id) == 0 &&
           memcmp(identity->curve_public.data, member->key, sizeof member->key) == 0;
}

static int begin(struct member *member, const Swarm__NodeIdentity *identity, struct sw_err *err)
{
    member->node_id = sw_strdup(identity->node_id);
    member->cluster_id = sw_strdup(identity->cluster_id);
    member->role = identity->role;
    memcpy(member->key, identity->curve_public.data, sizeof member->key); /* its length was checked at loading */
    svc_log(SVC_INFO, "active", "node=%s", member->node_id);
    return member->spec.activate(member->spec.arg, identity, err);
}

static int follow(struct member *member, struct sw_err *err)
{
    struct sw_err why;
    SW_AUTO(identity_node_free) Swarm__NodeIdentity *identity = NULL;
    if (member->spec.busy != NULL && member->spec.busy(member->spec.arg))
        return 0;
    int rc = identity_node_load(svc_state_dir(member->spec.svc), &identity, &why);
    if (rc != 0 && rc != -SW_NOT_FOUND) {
        svc_log(SVC_ERROR, "identity cannot be read", "err=\"%s\"", why.text);
        return 0;
    }
    if (member->node_id == NULL)
        return identity != NULL && (identity->role & member->spec.roles) != 0 ? begin(member, identity, err) : 0;
    if (!still_ours(member, identity)) {
        svc_log(SVC_INFO, "the identity is gone or another's: ending", NULL);
        svc_quit(member->spec.svc, 0);
    }
    return 0;
}

void member_look(struct member *member)
{
    struct sw_err err;
    if (follow(member, &err) == 0)
        return;
    svc_log(SVC_ERROR, "cannot start", "err=\"%s\"", err.text);
    svc_quit(member->spec.svc, 1);
}

static void on_change(void *arg)
{
    member_look(arg);
}

int member_watch(const struct member_spec *spec, struct member **ret_member, struct sw_err *err)
{
    SW_AUTO(sw_free) char *dir = identity_dir(svc_state_dir(spec->svc));
    struct member *member = sw_alloc0(sizeof *member);
    member->spec = *spec;
    *ret_member = member; /* before activate(): the watch holds it from here on, the caller frees it at its end */
    if (svc_dirwatch_new(spec->svc, dir, on_change, member) == NULL)
        return sw_fail(err, SW_IO, "cannot watch %s", dir);
    return follow(member, err);
}

void member_free(struct member *member)
{
    if (member == NULL)
        return;
    free(member->node_id);
    free(member->cluster_id);
    free(member);
}
