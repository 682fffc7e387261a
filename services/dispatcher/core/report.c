#include "services/dispatcher/core/internal.h"

#include <stdlib.h>
#include <string.h>

static void dnode_status_free(struct dnode_status *status)
{
    free(status->message);
    free(status->addr);
    sw_pb_free(status->description);
    free(status);
}

static void dtask_status_free(struct dtask_status *status)
{
    sw_pb_free(status->status);
    free(status);
}

static void queue_clear(struct dqueue *queue)
{
    for (size_t i = 0; i < queue->nodes.count; i++)
        dnode_status_free(queue->nodes.rows[i].value);
    for (size_t i = 0; i < queue->tasks.count; i++)
        dtask_status_free(queue->tasks.rows[i].value);
    sw_idmap_clear(&queue->nodes);
    sw_idmap_clear(&queue->tasks);
    queue->ask_count = 0;
    queue->bytes = 0;
}

void queue_deinit(struct dqueue *queue)
{
    queue_clear(queue);
    sw_idmap_deinit(&queue->nodes);
    sw_idmap_deinit(&queue->tasks);
    free(queue->asks);
    memset(queue, 0, sizeof *queue);
}

bool report_ask(struct dispatch *d, enum dask_kind kind, const char *node_id, const struct dispatch_peer *peer)
{
    struct dqueue *queue = &d->gathering;
    if (queue->ask_count >= DISPATCH_ASKS_MAX) {
        effect_refuse(d, peer, SW_UNAVAILABLE, "too many reports wait for a commit");
        return false;
    }
    if (queue->ask_count == queue->ask_cap) {
        queue->ask_cap = queue->ask_cap != 0 ? queue->ask_cap * 2 : 32;
        queue->asks = sw_realloc_array(queue->asks, queue->ask_cap, sizeof *queue->asks);
    }
    struct dask *ask = &queue->asks[queue->ask_count++];
    memset(ask, 0, sizeof *ask);
    ask->kind = kind;
    id_set(ask->node_id, node_id);
    ask->peer = *peer;
    return true;
}

void report_node(struct dispatch *d, const char *node_id, Swarm__NodeState state, const char *message,
                 const Swarm__SessionRequest *request)
{
    const Swarm__Node *object = mirror_node(d->mirror, node_id);
    const char *addr = object != NULL && object->status != NULL ? object->status->addr : NULL;
    struct dnode_status *status = sw_alloc0(sizeof *status);
    status->state = state;
    status->message = sw_strdup(message);
    status->addr = sw_strdup(request != NULL ? request->node_address : addr);
    status->description = request != NULL ? sw_pb_clone(request->description) : NULL;
    struct dnode_status *old = sw_idmap_remove(&d->gathering.nodes, node_id);
    if (old != NULL)
        dnode_status_free(old);
    sw_idmap_put(&d->gathering.nodes, node_id, status);
}

static void queue_task(struct dispatch *d, const char *task_id, const char *node_id, const Swarm__TaskStatus *status)
{
    struct dqueue *queue = &d->gathering;
    struct dtask_status *old = sw_idmap_remove(&queue->tasks, task_id);
    if (old != NULL) {
        queue->bytes -= old->bytes;
        dtask_status_free(old);
    }
    struct dtask_status *row = sw_alloc0(sizeof *row);
    id_set(row->node_id, node_id);
    row->status = sw_pb_clone(status);
    sw_pb_set(&row->status->applied_by, d->self);
    row->status->has_applied_ns = true;
    row->status->applied_ns = d->wall_ns;
    row->bytes = swarm__task_status__get_packed_size(row->status) + 128; /* ids and framing */
    queue->bytes += row->bytes;
    sw_idmap_put(&queue->tasks, task_id, row);
}

static bool status_same(const Swarm__TaskStatus *a, const Swarm__TaskStatus *b)
{
    Swarm__TaskStatus left = *a, right = *b;
    left.applied_by = right.applied_by = NULL;
    left.has_applied_ns = right.has_applied_ns = false;
    left.has_timestamp_ns = right.has_timestamp_ns = false;
    return sw_pb_equal(&left, &right);
}

/* The store has this already, or something later. */
static bool status_stale(const Swarm__TaskStatus *stored, const Swarm__TaskStatus *reported)
{
    return reported->state < stored->state || (reported->state == stored->state && status_same(stored, reported));
}

static bool report_valid(struct dispatch *d, const struct dispatch_event *event, const Swarm__TaskReport *report)
{
    const Swarm__Task *task = mirror_task(d->mirror, report->task_id);
    if (task != NULL && (task->node_id == NULL || strcmp(task->node_id, event->node_id) != 0)) {
        effect_refuse(d, event->peer, SW_DENIED,
                      sw_scratch_strf(&d->scratch, "task %s is not a task of node %s", task->id, event->node_id));
        return false;
    }
    Swarm__TaskState state = report->status->state;
    if (state < SWARM__TASK_STATE__TASK_ASSIGNED || state > SWARM__TASK_STATE__TASK_REJECTED) {
        effect_refuse(d, event->peer, SW_INVALID,
                      sw_scratch_strf(&d->scratch, "status.state %d is not an agent's to report", (int)state));
        return false;
    }
    return true;
}

void report_tasks(struct dispatch *d, const struct dispatch_event *event)
{
    const Swarm__TaskReports *reports = event->body;
    struct dnode *node = session_of(d, event, reports->session);
    if (node == NULL)
        return;
    node_beat(d, node, DISPATCH_MISSED_BEATS);
    if (!can_commit(d)) {
        effect_refuse(d, event->peer, SW_UNAVAILABLE, "the manager's store is not reachable");
        return;
    }
    if (reports->n_reports > DISPATCH_REPORTS_MAX) {
        effect_refuse(d, event->peer, SW_LIMIT, "too many reports in one message");
        return;
    }
    size_t size = swarm__task_reports__get_packed_size(reports);
    if (d->gathering.bytes + size > DISPATCH_QUEUE_BYTES_MAX) {
        effect_refuse(d, event->peer, SW_UNAVAILABLE, "the status queue is full");
        return;
    }
    for (size_t i = 0; i < reports->n_reports; i++)
        if (!report_valid(d, event, reports->reports[i]))
            return;
    size_t queued = 0;
    for (size_t i = 0; i < reports->n_reports; i++) {
        const Swarm__TaskReport *report = reports->reports[i];
        const Swarm__Task *task = mirror_task(d->mirror, report->task_id);
        if (task == NULL || status_stale(task->status, report->status))
            continue;
        queue_task(d, task->id, node->id, report->status);
        queued++;
    }
    if (queued > 0) {
        (void)report_ask(d, DASK_PLAIN, node->id, event->peer);
        return;
    }
    Swarm__Empty *empty = sw_scratch_alloc(&d->scratch, sizeof *empty);
    swarm__empty__init(empty);
    effect_reply(d, event->peer, empty);
}

void report_orphan(struct dispatch *d, const Swarm__Task *task)
{
    Swarm__TaskState state = task->status->state;
    if (state < SWARM__TASK_STATE__TASK_ASSIGNED || state > SWARM__TASK_STATE__TASK_RUNNING)
        return;
    if (d->gathering.bytes > DISPATCH_QUEUE_BYTES_MAX)
        return; /* the next look finds it again */
    Swarm__TaskStatus status = SWARM__TASK_STATUS__INIT;
    status.has_state = true;
    status.state = SWARM__TASK_STATE__TASK_ORPHANED;
    status.has_timestamp_ns = true;
    status.timestamp_ns = d->wall_ns;
    status.message = sw_scratch_str(&d->scratch, "orphaned");
    status.err = sw_scratch_str(&d->scratch, "the node has been down for 24 hours");
    queue_task(d, task->id, task->node_id, &status);
}

/* A record of the table holds what the schema requires; apply looks only at id, node_id and status. */
static Swarm__StoreAction *task_action(char *id, struct dtask_status *row)
{
    char empty[1] = "";
    Swarm__ContainerSpec container = SWARM__CONTAINER_SPEC__INIT;
    container.image = empty;
    Swarm__TaskSpec spec = SWARM__TASK_SPEC__INIT;
    spec.container = &container;
    Swarm__Meta meta = SWARM__META__INIT;
    Swarm__Task task = SWARM__TASK__INIT;
    task.id = id;
    task.meta = &meta;
    task.service_id = task.service_name = empty;
    task.node_id = row->node_id;
    task.spec = &spec;
    task.desired_state = SWARM__TASK_STATE__TASK_NEW;
    task.status = row->status;
    return store_action_new(SWARM__ACTION_KIND__ACTION_TASK_STATUS, SWARM__TABLE__TABLE_TASK, id, 0, &task);
}

static Swarm__StoreAction *node_action(const struct dispatch *d, char *id, struct dnode_status *row)
{
    const Swarm__Node *stored = mirror_node(d->mirror, id);
    bool same = stored != NULL && stored->status != NULL && stored->status->state == row->state && stored->status->has_since_ns;
    Swarm__NodeStatus status = SWARM__NODE_STATUS__INIT;
    status.has_state = true;
    status.state = row->state;
    status.message = row->message;
    status.addr = row->addr;
    status.has_since_ns = true;
    status.since_ns = same ? stored->status->since_ns : d->wall_ns;
    Swarm__NodeSpec spec = SWARM__NODE_SPEC__INIT;
    Swarm__Meta meta = SWARM__META__INIT;
    Swarm__Node node = SWARM__NODE__INIT;
    node.id = id;
    node.meta = &meta;
    node.spec = &spec;
    node.status = &status;
    node.description = row->description;
    return store_action_new(SWARM__ACTION_KIND__ACTION_NODE_STATUS, SWARM__TABLE__TABLE_NODE, id, 0, &node);
}

/* Each status is a transaction by itself: one that is refused takes no other with it. */
static void batch_build(struct dispatch *d)
{
    d->batch = store_batch_new(d->wall_ns);
    d->batch->has_term = true;
    d->batch->term = d->term;
    for (size_t i = 0; i < d->flight.nodes.count; i++) {
        struct sw_idmap_row *row = &d->flight.nodes.rows[i];
        store_txn_add(store_batch_txn(d->batch), node_action(d, row->id, row->value));
    }
    for (size_t i = 0; i < d->flight.tasks.count; i++) {
        struct sw_idmap_row *row = &d->flight.tasks.rows[i];
        store_txn_add(store_batch_txn(d->batch), task_action(row->id, row->value));
    }
}

void report_flush(struct dispatch *d)
{
    size_t waiting = d->gathering.nodes.count + d->gathering.tasks.count;
    if (waiting == 0 || d->in_flight || !can_commit(d) || d->now_ms < d->hold_ms)
        return;
    struct dqueue empty = d->flight; /* its arrays are reused */
    d->flight = d->gathering;
    d->gathering = empty;
    d->in_flight = true;
    batch_build(d);
    dispatch_effect_add(d, DISPATCH_COMMIT)->message = d->batch;
}

static void asks_refuse(struct dispatch *d, const struct dqueue *queue, enum sw_code code, const char *text)
{
    for (size_t i = 0; i < queue->ask_count; i++)
        effect_refuse(d, &queue->asks[i].peer, code, text);
}

static void asks_answer(struct dispatch *d, const struct dqueue *queue)
{
    Swarm__Empty *empty = sw_scratch_alloc(&d->scratch, sizeof *empty);
    swarm__empty__init(empty);
    for (size_t i = 0; i < queue->ask_count; i++) {
        if (queue->asks[i].kind == DASK_SESSION)
            session_open(d, &queue->asks[i]);
        else
            effect_reply(d, &queue->asks[i].peer, empty);
    }
}

/* That a node is DOWN nobody will report again, so it stays wanted; an agent repeats its own reports. */
static void keep_down(struct dispatch *d)
{
    for (size_t i = 0; i < d->flight.nodes.count; i++) {
        struct sw_idmap_row *row = &d->flight.nodes.rows[i];
        struct dnode_status *status = row->value;
        if (status->state == SWARM__NODE_STATE__NODE_DOWN && !sw_idmap_has(&d->gathering.nodes, row->id))
            report_node(d, row->id, status->state, status->message, NULL);
    }
}

static bool fenced(const Swarm__CommitReply *reply)
{
    for (size_t i = 0; i < reply->n_results; i++)
        if (reply->results[i]->code == SW_FENCED)
            return true;
    return false;
}

void report_committed(struct dispatch *d, const struct dispatch_event *event)
{
    const Swarm__CommitReply *reply = event->body;
    if (!d->in_flight)
        return;
    d->in_flight = false;
    if (reply != NULL && !fenced(reply)) {
        d->stats.commits++;
        d->stats.statuses_committed += d->flight.tasks.count + d->flight.nodes.count;
        asks_answer(d, &d->flight);
    } else {
        d->stats.commit_failures++;
        d->hold_ms = d->now_ms + DISPATCH_RETRY_MS;
        keep_down(d);
        asks_refuse(d, &d->flight, SW_UNAVAILABLE, event->err != NULL ? event->err->text : "the leader changed");
    }
    queue_clear(&d->flight);
}

void report_abandon(struct dispatch *d, enum sw_code code, const char *text)
{
    if (d->in_flight) {
        d->in_flight = false;
        keep_down(d);
        asks_refuse(d, &d->flight, code, text);
        queue_clear(&d->flight);
    }
    asks_refuse(d, &d->gathering, code, text);
    d->gathering.ask_count = 0;
}
