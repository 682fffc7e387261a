#include "services/ingress-lb/core/lb.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void effect(struct lb *lb, enum lb_effect_type type)
{
    assert(lb->effect_count < LB_EFFECTS_MAX);
    struct lb_effect *fx = &lb->effects[lb->effect_count++];
    *fx = (struct lb_effect) { .type = type };
    if (type == LB_FX_APPLY)
        fx->text = sw_buf_str(&lb->text);
    if (type == LB_FX_ACK || type == LB_FX_SAVE)
        fx->generation = lb->table->generation;
}

static void apply_whole(struct lb *lb, const struct lb_table *table)
{
    sw_buf_reset(&lb->text);
    rules_full(lb->name, table, &lb->text);
    lb->whole = true;
    lb->dirty = true;
    effect(lb, LB_FX_APPLY);
}

static void flow_add(struct lb *lb, struct lb_flow flow)
{
    lb->flows = sw_realloc_array(lb->flows, lb->flow_count + 1, sizeof *lb->flows);
    lb->flows[lb->flow_count++] = flow;
}

static int by_port(const void *key, const void *port)
{
    return lb_port_order(key, port);
}

static const struct lb_port *port_find(const struct lb_table *table, const struct lb_port *key)
{
    return table == NULL ? NULL : bsearch(key, table->ports, table->port_count, sizeof *table->ports, by_port);
}

/* UDP has no end of a connection: as long as a client goes on sending, conntrack would keep leading it to a backend that is
 * gone, or past a port that was published meanwhile. */
static void find_flows(struct lb *lb, const struct lb_table *from, const struct lb_table *to)
{
    lb->flow_count = 0;
    for (size_t i = 0; from != NULL && i < from->port_count; i++) {
        const struct lb_port *old = &from->ports[i];
        if (old->protocol != SWARM__PORT_PROTOCOL__PORT_UDP)
            continue;
        const struct lb_port *now = port_find(to, old);
        for (size_t k = 0; k < old->backend_count; k++)
            if (now == NULL || !lb_port_has(now, &old->backends[k]))
                flow_add(lb, (struct lb_flow) { .backend = old->backends[k], .published = old->published });
    }
    for (size_t i = 0; i < to->port_count; i++)
        if (to->ports[i].protocol == SWARM__PORT_PROTOCOL__PORT_UDP && port_find(from, &to->ports[i]) == NULL)
            flow_add(lb, (struct lb_flow) { .published = to->ports[i].published });
}

/* The kernel has lb->next. */
static void adopt(struct lb *lb)
{
    find_flows(lb, lb->table, lb->next);
    lb_table_free(lb->table);
    lb->table = SW_TAKE(lb->next);
    if (lb->flow_count > 0)
        effect(lb, LB_FX_FORGET_UDP);
    effect(lb, LB_FX_ACK);
    effect(lb, LB_FX_SAVE);
}

static void on_table(struct lb *lb, struct lb_table *table)
{
    assert(lb->next == NULL && table != NULL);
    lb->next = table;
    if (lb->table == NULL || lb->dirty) {
        apply_whole(lb, table);
        return;
    }
    sw_buf_reset(&lb->text);
    rules_change(lb->name, lb->table, table, &lb->text);
    lb->whole = false;
    if (lb->text.len > 0)
        effect(lb, LB_FX_APPLY);
    else
        adopt(lb);
}

static void on_applied(struct lb *lb, const struct lb_event *event)
{
    if (event->ok) {
        lb->dirty = false;
        lb->hash_known = false;
        lb->kernel_generation = event->kernel_generation;
        if (lb->next != NULL)
            adopt(lb);
        return;
    }
    lb->dirty = true;
    if (lb->next == NULL)
        return; /* a repair that failed: the next tick tries again */
    if (!lb->whole) {
        apply_whole(lb, lb->next);
        return;
    }
    lb_table_free(lb->next);
    lb->next = NULL;
    effect(lb, LB_FX_REFUSE);
}

static void on_tick(struct lb *lb, uint64_t kernel_generation)
{
    if (lb->table == NULL)
        return;
    if (lb->dirty) {
        effect(lb, LB_FX_REPAIR);
        apply_whole(lb, lb->table);
    } else if (kernel_generation != lb->kernel_generation || !lb->hash_known) {
        effect(lb, LB_FX_LIST);
    }
}

static void on_listed(struct lb *lb, const struct lb_event *event)
{
    bool untouched = event->kernel_generation == lb->kernel_generation;
    if (event->ok && untouched) {
        lb->hash = event->hash;
        lb->hash_known = true;
    } else if (event->ok && lb->hash_known && event->hash == lb->hash) {
        lb->kernel_generation = event->kernel_generation; /* others changed tables of their own */
    } else {
        effect(lb, LB_FX_REPAIR);
        apply_whole(lb, lb->table);
    }
}

void lb_init(struct lb *lb, const char *name)
{
    assert(rules_name_valid(name));
    memset(lb, 0, sizeof *lb);
    memcpy(lb->name, name, strlen(name) + 1);
}

void lb_deinit(struct lb *lb)
{
    lb_table_free(lb->table);
    lb_table_free(lb->next);
    sw_buf_deinit(&lb->text);
    free(lb->flows);
}

void lb_step(struct lb *lb, const struct lb_event *event)
{
    lb->effect_count = 0;
    switch (event->type) {
    case LB_EV_TABLE:
        on_table(lb, event->table);
        break;
    case LB_EV_APPLIED:
        on_applied(lb, event);
        break;
    case LB_EV_TICK:
        on_tick(lb, event->kernel_generation);
        break;
    case LB_EV_LISTED:
        on_listed(lb, event);
        break;
    }
}
