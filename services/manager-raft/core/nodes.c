/* The node requests of the control API. */
#include "services/manager-raft/core/control.h"
#include "services/manager-raft/core/filters.h"
#include "services/manager-raft/core/refs.h"
#include "services/manager-raft/core/validate.h"

#include <string.h>

#define TABLE SWARM__TABLE__TABLE_NODE

/* NULL for workers. Reachable: the node has a session; this manager always reaches itself. */
static Swarm__ManagerStatus *manager_status(const struct control *control, const Swarm__Node *node)
{
    if (node->role != SWARM__NODE_ROLE__NODE_MANAGER || node->manager == NULL)
        return NULL;
    Swarm__ManagerStatus *status = control_message(control, &swarm__manager_status__descriptor);
    status->node_id = node->id;
    status->leader = control->leader_id != NULL && strcmp(control->leader_id, node->id) == 0;
    status->reachable =
        strcmp(control->self_id, node->id) == 0 || (node->status != NULL && node->status->state == SWARM__NODE_STATE__NODE_READY);
    status->addr = node->manager->raft;
    return status;
}

int control_node_list(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    const Swarm__NodeListRequest *request = body;
    const struct filters filters = { request->filters, request->n_filters };
    int rc = filters_check(FILTERS_NODES, filters, err);
    if (rc != 0)
        return rc;
    size_t room = mirror_count(control->mirror, TABLE);
    Swarm__NodeListReply *reply = control_message(control, &swarm__node_list_reply__descriptor);
    reply->nodes = sw_scratch_alloc(control->scratch, room * sizeof *reply->nodes);
    reply->managers = sw_scratch_alloc(control->scratch, room * sizeof *reply->managers);
    reply->self = sw_scratch_str(control->scratch, control->self_id);
    for (const void *o = mirror_first(control->mirror, TABLE); o != NULL; o = mirror_next(control->mirror, TABLE, o)) {
        if (!filters_node(filters, o))
            continue;
        reply->nodes[reply->n_nodes++] = (Swarm__Node *)o;
        Swarm__ManagerStatus *status = manager_status(control, o);
        if (status != NULL)
            reply->managers[reply->n_managers++] = status;
    }
    ret->reply = reply;
    return 0;
}

int control_node_get(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    const Swarm__Node *node = NULL;
    int rc = refs_node(control->mirror, ((const Swarm__NodeGetRequest *)body)->ref, &node, err);
    if (rc != 0)
        return rc;
    Swarm__NodeGetReply *reply = control_message(control, &swarm__node_get_reply__descriptor);
    reply->node = (Swarm__Node *)node;
    reply->manager = manager_status(control, node);
    ret->reply = reply;
    return 0;
}

/* ---- update: availability, labels, name ---- */

static size_t manager_count(const struct mirror *mirror)
{
    size_t count = 0;
    for (const Swarm__Node *node = mirror_first(mirror, TABLE); node != NULL; node = mirror_next(mirror, TABLE, node))
        count += node->spec->desired_role == SWARM__NODE_ROLE__NODE_MANAGER;
    return count;
}

static int check_role(const struct control *control, const Swarm__Node *node, const Swarm__NodeSpec *spec, struct sw_err *err)
{
    if (spec->desired_role == node->spec->desired_role)
        return 0;
    if (spec->desired_role == SWARM__NODE_ROLE__NODE_WORKER && manager_count(control->mirror) < 2)
        return sw_fail(err, SW_PRECONDITION, "attempting to demote the last manager of the swarm");
    return sw_fail(err, SW_UNSUPPORTED, "role of node %s: a node keeps the role it joined with", node->id);
}

static int check_spec(const Swarm__NodeSpec *spec, struct sw_err *err)
{
    int rc = validate_text("node name", spec->name, 256, err);
    if (rc != 0)
        return rc;
    switch (spec->availability) {
    case SWARM__NODE_AVAILABILITY__NODE_ACTIVE:
    case SWARM__NODE_AVAILABILITY__NODE_PAUSE:
    case SWARM__NODE_AVAILABILITY__NODE_DRAIN:
        return validate_labels("node labels", spec->labels, spec->n_labels, err);
    case _SWARM__NODE_AVAILABILITY_IS_INT_SIZE:
        break;
    }
    return sw_fail(err, SW_INVALID, "invalid availability: %d", (int)spec->availability);
}

int control_node_update(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    const Swarm__NodeUpdateRequest *request = body;
    const Swarm__Node *old = NULL;
    int rc = refs_node(control->mirror, request->id, &old, err);
    if (rc != 0)
        return rc;
    if (request->version != old->meta->version)
        return sw_fail(err, SW_CONFLICT, "update out of sequence");
    rc = check_spec(request->spec, err);
    if (rc == 0)
        rc = check_role(control, old, request->spec, err);
    if (rc != 0)
        return rc;
    Swarm__Node *node = control_copy(control, old);
    node->spec = request->spec;
    control_write(control, ret, CONTROL_DONE_NODE, node->id);
    store_txn_add(ret->batch->txns[0],
                  store_action_new(SWARM__ACTION_KIND__ACTION_UPDATE, TABLE, node->id, request->version, node));
    return 0;
}

/* ---- remove: the key is worth nothing from then on; the scheduler sees to the tasks that were there, however many ---- */

int control_node_remove(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err)
{
    const Swarm__NodeRemoveRequest *request = body;
    const Swarm__Node *node = NULL;
    int rc = refs_node(control->mirror, request->ref, &node, err);
    if (rc != 0)
        return rc;
    if (node->role == SWARM__NODE_ROLE__NODE_MANAGER)
        return sw_fail(err, SW_PRECONDITION,
                       "node %s is a cluster manager and is a member of the raft cluster. "
                       "It must be demoted to worker before removal",
                       node->id);
    bool up = node->status != NULL && node->status->state == SWARM__NODE_STATE__NODE_READY;
    if (up && !request->force)
        return sw_fail(err, SW_PRECONDITION, "node %s is not down and can't be removed", node->id);
    control_write(control, ret, CONTROL_DONE_EMPTY, node->id);
    store_txn_add(ret->batch->txns[0], store_action_new(SWARM__ACTION_KIND__ACTION_REMOVE, TABLE, node->id, 0, NULL));
    return 0;
}
