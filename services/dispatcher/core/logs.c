#include "services/dispatcher/core/internal.h"

#include <stdlib.h>
#include <string.h>

static struct dsubscription *subscription_find(const struct dispatch *d, uint64_t number)
{
    for (size_t i = 0; i < d->subscription_count; i++)
        if (d->subscriptions[i]->number == number)
            return d->subscriptions[i];
    return NULL;
}

static void subscription_free(struct dispatch *d, struct dsubscription *subscription)
{
    for (size_t i = 0; i < d->subscription_count; i++) {
        if (d->subscriptions[i] == subscription) {
            d->subscriptions[i] = d->subscriptions[--d->subscription_count];
            break;
        }
    }
    sw_idmap_deinit(&subscription->nodes);
    free(subscription);
}

static struct dsubscription *subscription_new(struct dispatch *d, uint64_t number)
{
    if (d->subscription_count >= DISPATCH_SUBSCRIPTIONS_MAX)
        return NULL;
    if (d->subscription_count == d->subscription_cap) {
        d->subscription_cap = d->subscription_cap != 0 ? d->subscription_cap * 2 : 8;
        d->subscriptions = sw_realloc_array(d->subscriptions, d->subscription_cap, sizeof(struct dsubscription *));
    }
    struct dsubscription *subscription = sw_alloc0(sizeof *subscription);
    subscription->number = number;
    d->subscriptions[d->subscription_count++] = subscription;
    return subscription;
}

/* Tell manager-raft that a task's log has no more, with the reason if it is not simply at its end. */
static void end_up(struct dispatch *d, uint64_t number, const char *task_id, const char *why)
{
    Swarm__LogMessage *message = sw_scratch_alloc(&d->scratch, sizeof *message);
    swarm__log_message__init(message);
    message->subscription = number;
    message->task_id = sw_scratch_str(&d->scratch, task_id);
    message->has_end = true;
    message->end = true;
    message->error = sw_scratch_str(&d->scratch, why);
    dispatch_effect_add(d, DISPATCH_LOG_UP)->message = message;
}

/* The node that runs a task, or NULL with the reason sent up. */
static struct dnode *task_node(struct dispatch *d, uint64_t number, const char *task_id)
{
    const Swarm__Task *task = mirror_task(d->mirror, task_id);
    if (task == NULL) {
        end_up(d, number, task_id, "task is not there any more");
        return NULL;
    }
    if (task->node_id == NULL || task->node_id[0] == '\0') {
        end_up(d, number, task_id, "task has not been scheduled");
        return NULL;
    }
    struct dnode *node = sw_idmap_get(&d->nodes, task->node_id);
    if (node == NULL || !node->open) {
        end_up(d, number, task_id, sw_scratch_strf(&d->scratch, "node %s is not available", task->node_id));
        return NULL;
    }
    return node;
}

struct wanted {
    struct dnode *node;
    char *task_id;
};

static int wanted_compare(const void *a, const void *b)
{
    const struct wanted *left = a, *right = b;
    int by_node = strcmp(left->node->id, right->node->id);
    return by_node != 0 ? by_node : strcmp(left->task_id, right->task_id);
}

static void subscribe_send(struct dispatch *d, const Swarm__LogSubscribe *request, const struct wanted *wanted, size_t count)
{
    Swarm__LogSubscribe *message = sw_scratch_alloc(&d->scratch, sizeof *message);
    *message = *request;
    message->task_ids = sw_scratch_alloc(&d->scratch, count * sizeof(char *));
    message->n_task_ids = count;
    for (size_t i = 0; i < count; i++)
        message->task_ids[i] = wanted[i].task_id;
    effect_send(d, wanted->node, message);
}

/* A second request under the same number adds tasks: following a service picks up its new ones that way. */
void logs_subscribe(struct dispatch *d, const Swarm__LogSubscribe *request)
{
    struct dsubscription *subscription = subscription_find(d, request->subscription);
    if (subscription == NULL)
        subscription = subscription_new(d, request->subscription);
    struct wanted *wanted = sw_scratch_alloc(&d->scratch, request->n_task_ids * sizeof *wanted);
    size_t count = 0;
    for (size_t i = 0; i < request->n_task_ids; i++) {
        const char *task_id = request->task_ids[i];
        if (subscription == NULL || subscription->nodes.count >= DISPATCH_SUBSCRIPTION_TASKS_MAX) {
            end_up(d, request->subscription, task_id, "too many logs are being read");
            continue;
        }
        if (sw_idmap_has(&subscription->nodes, task_id))
            continue;
        struct dnode *node = task_node(d, request->subscription, task_id);
        if (node == NULL)
            continue;
        sw_idmap_put(&subscription->nodes, task_id, node);
        wanted[count++] = (struct wanted) { node, sw_scratch_str(&d->scratch, task_id) };
    }
    qsort(wanted, count, sizeof *wanted, wanted_compare);
    for (size_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && wanted[to].node == wanted[from].node; to++)
            ;
        subscribe_send(d, request, &wanted[from], to - from);
    }
    if (subscription != NULL && subscription->nodes.count == 0)
        subscription_free(d, subscription);
}

static void unsubscribe_send(struct dispatch *d, const struct dnode *node, uint64_t number)
{
    Swarm__LogUnsubscribe *message = sw_scratch_alloc(&d->scratch, sizeof *message);
    swarm__log_unsubscribe__init(message);
    message->subscription = number;
    effect_send(d, node, message);
}

static void subscription_end(struct dispatch *d, struct dsubscription *subscription)
{
    struct sw_idmap told = { 0 };
    for (size_t i = 0; i < subscription->nodes.count; i++) {
        const struct dnode *node = subscription->nodes.rows[i].value;
        if (node->open && !sw_idmap_has(&told, node->id))
            unsubscribe_send(d, node, subscription->number);
        sw_idmap_put(&told, node->id, NULL);
    }
    sw_idmap_deinit(&told);
    subscription_free(d, subscription);
}

void logs_unsubscribe(struct dispatch *d, uint64_t number)
{
    struct dsubscription *subscription = subscription_find(d, number);
    if (subscription != NULL)
        subscription_end(d, subscription);
}

static void task_done(struct dispatch *d, struct dsubscription *subscription, const char *task_id)
{
    (void)sw_idmap_remove(&subscription->nodes, task_id);
    if (subscription->nodes.count == 0)
        subscription_free(d, subscription);
}

void logs_message(struct dispatch *d, const struct dispatch_event *event)
{
    const Swarm__LogMessage *in = event->body;
    struct dnode *node = sw_idmap_get(&d->nodes, event->node_id);
    struct dsubscription *subscription = subscription_find(d, in->subscription);
    if (subscription == NULL || node == NULL || sw_idmap_get(&subscription->nodes, in->task_id) != node) {
        effect_refuse(d, event->peer, SW_NOT_FOUND, "nobody reads this log");
        return;
    }
    Swarm__LogMessage *up = sw_scratch_alloc(&d->scratch, sizeof *up);
    *up = *in; /* entries stay the event's: they live until the caller has performed the effects */
    up->node_id = sw_scratch_str(&d->scratch, node->id);
    struct dispatch_effect *effect = dispatch_effect_add(d, DISPATCH_LOG_UP);
    effect->message = up;
    struct dispatch_peer *peer = sw_scratch_alloc(&d->scratch, sizeof *peer);
    *peer = *event->peer;
    effect->peer = peer;
    if (in->end)
        task_done(d, subscription, in->task_id);
}

void logs_node_gone(struct dispatch *d, const struct dnode *node)
{
    for (size_t s = d->subscription_count; s-- > 0;) {
        struct dsubscription *subscription = d->subscriptions[s];
        for (size_t i = subscription->nodes.count; i-- > 0;) {
            if (subscription->nodes.rows[i].value != node)
                continue;
            const char *task_id = sw_scratch_str(&d->scratch, subscription->nodes.rows[i].id);
            end_up(d, subscription->number, task_id, sw_scratch_strf(&d->scratch, "node %s is not available", node->id));
            (void)sw_idmap_remove(&subscription->nodes, task_id);
        }
        if (subscription->nodes.count == 0)
            subscription_free(d, subscription); /* the last one takes its place: it was looked at already */
    }
}

void logs_drop_all(struct dispatch *d)
{
    while (d->subscription_count > 0)
        subscription_end(d, d->subscriptions[0]);
}
