#include "raft_config.h"

#include "common/base/buf.h"
#include "common/base/pb.h"
#include "proto/raft.pb-c.h"

#include <assert.h>
#include <stdlib.h>

static int check_member(const struct raft_config *config, const Swarm__RaftMember *member, bool joint, struct sw_err *err)
{
    if (member->raft_id == 0)
        return sw_fail(err, SW_CORRUPT, "raft configuration: member without an id");
    if (raft_config_find(config, member->raft_id) != NULL)
        return sw_fail(err, SW_CORRUPT, "raft configuration: member %llx twice", (unsigned long long)member->raft_id);
    if (!joint && member->voter_outgoing)
        return sw_fail(err, SW_CORRUPT, "raft configuration: outgoing voter without a joint configuration");
    return 0;
}

static int from_message(const Swarm__RaftConfig *message, struct raft_config *ret_config, struct sw_err *err)
{
    struct raft_config config = { .joint = message->joint };
    if (message->n_members == 0 || message->n_members > RAFT_MEMBERS_MAX)
        return sw_fail(err, SW_LIMIT, "raft configuration of %zu members, bound is 1 to %d", message->n_members,
                       RAFT_MEMBERS_MAX);
    size_t voters = 0, outgoing = 0;
    for (size_t i = 0; i < message->n_members; i++) {
        const Swarm__RaftMember *member = message->members[i];
        int rc = check_member(&config, member, config.joint, err);
        if (rc != 0)
            return rc;
        config.members[config.count++] = (struct raft_member) { member->raft_id, member->voter, member->voter_outgoing };
        voters += member->voter ? 1 : 0;
        outgoing += member->voter_outgoing ? 1 : 0;
    }
    if (voters == 0 || (config.joint && outgoing == 0))
        return sw_fail(err, SW_CORRUPT, "raft configuration without voters");
    *ret_config = config;
    return 0;
}

int raft_config_decode(const void *data, size_t len, struct raft_config *ret_config, struct sw_err *err)
{
    SW_AUTO(sw_pb_free)
    Swarm__RaftConfig *message = sw_pb_unpack(&swarm__raft_config__descriptor, data, len, RAFT_CONFIG_SIZE_MAX, err);
    if (message == NULL)
        return sw_wrap(err, "raft configuration");
    return from_message(message, ret_config, err);
}

const struct raft_member *raft_config_find(const struct raft_config *config, uint64_t id)
{
    for (size_t i = 0; i < config->count; i++) {
        if (config->members[i].id == id)
            return &config->members[i];
    }
    return NULL;
}

bool raft_config_votes(const struct raft_config *config, uint64_t id)
{
    const struct raft_member *member = raft_config_find(config, id);
    return member != NULL && (member->voter || member->outgoing);
}

bool raft_config_sole(const struct raft_config *config, uint64_t id)
{
    for (size_t i = 0; i < config->count; i++) {
        const struct raft_member *member = &config->members[i];
        if ((member->voter || member->outgoing) && member->id != id)
            return false;
    }
    return raft_config_votes(config, id);
}

static Swarm__RaftConfig *unpack(const struct raft_blob *blob)
{
    Swarm__RaftConfig *message = sw_pb_unpack(&swarm__raft_config__descriptor, blob->data, blob->len, RAFT_CONFIG_SIZE_MAX, NULL);
    assert(message != NULL); /* it was decoded before it got here */
    return message;
}

static struct raft_blob *pack(const void *message)
{
    SW_AUTO_BUF buf = { 0 };
    sw_pb_pack(message, &buf);
    return raft_blob_new(sw_buf_str(&buf), buf.len);
}

static size_t votes_changed(const struct raft_config *a, const struct raft_config *b)
{
    size_t changed = 0;
    for (size_t i = 0; i < a->count; i++) {
        const struct raft_member *other = raft_config_find(b, a->members[i].id);
        changed += a->members[i].voter && (other == NULL || !other->voter) ? 1 : 0;
    }
    return changed;
}

/* Every voter of `old` becomes an outgoing voter of `message`; those that are not in it at all are added from `old`. */
static void join_old(Swarm__RaftConfig *message, const Swarm__RaftConfig *old)
{
    message->joint = message->has_joint = true;
    message->members = sw_realloc_array(message->members, message->n_members + old->n_members, sizeof(void *));
    size_t target_count = message->n_members;
    for (size_t i = 0; i < old->n_members; i++) {
        if (!old->members[i]->voter)
            continue;
        Swarm__RaftMember *member = NULL;
        for (size_t k = 0; k < target_count && member == NULL; k++) {
            if (message->members[k]->raft_id == old->members[i]->raft_id)
                member = message->members[k];
        }
        if (member == NULL) {
            member = sw_pb_clone(old->members[i]);
            member->voter = member->has_voter = false;
            message->members[message->n_members++] = member;
        }
        member->voter_outgoing = member->has_voter_outgoing = true;
    }
}

int raft_config_plan(const struct raft_blob *now, const struct raft_blob *target, struct raft_blob **ret_blob, struct sw_err *err)
{
    struct raft_config from, to, joint;
    int rc = raft_config_decode(now->data, now->len, &from, err);
    if (rc == 0)
        rc = raft_config_decode(target->data, target->len, &to, err);
    if (rc != 0)
        return rc;
    if (from.joint || to.joint)
        return sw_fail(err, SW_PRECONDITION, "a change of members is already under way");
    SW_AUTO(sw_pb_free) Swarm__RaftConfig *message = unpack(target);
    SW_AUTO(sw_pb_free) Swarm__RaftConfig *old = unpack(now);
    if (votes_changed(&from, &to) + votes_changed(&to, &from) > 1)
        join_old(message, old);
    rc = from_message(message, &joint, err);
    if (rc == 0)
        *ret_blob = pack(message);
    return rc;
}

static void add_removed(Swarm__RaftConfig *message, uint64_t id)
{
    message->removed = sw_realloc_array(message->removed, message->n_removed + 1, sizeof *message->removed);
    message->removed[message->n_removed++] = id;
}

struct raft_blob *raft_config_leave(const struct raft_blob *joint)
{
    SW_AUTO(sw_pb_free) Swarm__RaftConfig *message = unpack(joint);
    size_t kept = 0;
    for (size_t i = 0; i < message->n_members; i++) {
        Swarm__RaftMember *member = message->members[i];
        if (member->voter_outgoing && !member->voter) {
            add_removed(message, member->raft_id);
            sw_pb_free(member);
            continue;
        }
        member->voter_outgoing = member->has_voter_outgoing = false;
        message->members[kept++] = member;
    }
    message->n_members = kept;
    message->joint = message->has_joint = false;
    return pack(message);
}
