#include "services/manager-raft/core/control.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct handler {
    const ProtobufCMessageDescriptor *type;
    int (*handle)(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
};

static const struct handler handlers[] = {
    { &swarm__cluster_get_request__descriptor, control_cluster_get },
    { &swarm__cluster_update_request__descriptor, control_cluster_update },
    { &swarm__node_list_request__descriptor, control_node_list },
    { &swarm__node_get_request__descriptor, control_node_get },
    { &swarm__node_update_request__descriptor, control_node_update },
    { &swarm__node_remove_request__descriptor, control_node_remove },
    { &swarm__service_create_request__descriptor, control_service_create },
    { &swarm__service_update_request__descriptor, control_service_update },
    { &swarm__service_remove_request__descriptor, control_service_remove },
    { &swarm__service_get_request__descriptor, control_service_get },
    { &swarm__service_list_request__descriptor, control_service_list },
    { &swarm__task_list_request__descriptor, control_task_list },
    { &swarm__task_get_request__descriptor, control_task_get },
};

int control_request(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    const ProtobufCMessageDescriptor *type = ((const ProtobufCMessage *)body)->descriptor;
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
        if (handlers[i].type != type)
            continue;
        struct control_answer answer = { 0 };
        int rc = handlers[i].handle(control, body, &answer, err);
        assert(rc != 0 || (answer.reply == NULL) != (answer.batch == NULL));
        if (rc != 0) {
            control_answer_deinit(&answer);
            return rc;
        }
        *ret = answer;
        return 0;
    }
    return sw_fail(err, SW_UNSUPPORTED, "message '%s' is not a control request", type->name);
}

void control_answer_deinit(struct control_answer *answer)
{
    sw_pb_free(answer->batch);
    *answer = (struct control_answer) { 0 };
}

void *control_message(const struct control *control, const ProtobufCMessageDescriptor *type)
{
    void *message = sw_scratch_alloc(control->scratch, type->sizeof_message);
    type->message_init(message);
    return message;
}

void *control_copy(const struct control *control, const void *message)
{
    size_t size = ((const ProtobufCMessage *)message)->descriptor->sizeof_message;
    return memcpy(sw_scratch_alloc(control->scratch, size), message, size);
}

void control_write(const struct control *control, struct control_answer *ret, enum control_done_kind kind, const char *id)
{
    ret->batch = store_batch_new(control->now_ns);
    (void)store_batch_txn(ret->batch);
    ret->done.kind = kind;
    (void)snprintf(ret->done.id, sizeof ret->done.id, "%s", id);
}

const void *control_done(const struct control *control, const struct control_done *done, uint64_t index)
{
    char *id = sw_scratch_str(control->scratch, done->id);
    switch (done->kind) {
    case CONTROL_DONE_EMPTY:
        break;
    case CONTROL_DONE_CREATED: {
        Swarm__ServiceCreateReply *reply = control_message(control, &swarm__service_create_reply__descriptor);
        reply->id = id;
        reply->version = index;
        return reply;
    }
    case CONTROL_DONE_UPDATED: {
        Swarm__ServiceUpdateReply *reply = control_message(control, &swarm__service_update_reply__descriptor);
        reply->version = index;
        return reply;
    }
    case CONTROL_DONE_REMOVED: {
        Swarm__ServiceRemoveReply *reply = control_message(control, &swarm__service_remove_reply__descriptor);
        reply->id = id;
        return reply;
    }
    case CONTROL_DONE_NODE: {
        Swarm__NodeUpdateReply *reply = control_message(control, &swarm__node_update_reply__descriptor);
        reply->node = (Swarm__Node *)mirror_node(control->mirror, id);
        if (reply->node != NULL) /* else removed by a later entry already */
            return reply;
        break;
    }
    }
    return control_message(control, &swarm__empty__descriptor);
}
