/* lb - what ingress-lb does when: a new table, the kernel's answer, a look at the kernel now and then.
 *
 * Place    ingress-lb core; fed by io/shell.c. Events in, effects out; effects run in order.
 * Kernel   each transaction of the packet filter raises one number, the kernel's rule generation. As long as it is the one that
 *          our last transaction left, nobody changed anything, and the check costs one small message. If it moved, the table is
 *          listed and its hash compared with the one taken while it was surely ours; if they differ, it is built again.
 * Memory   heap; lb_free(). Effects point into struct lb and die at the next lb_step().
 * Errors   the kernel's refusals come as LB_EV_APPLIED with ok = false: a change is tried once more as a whole table (somebody
 *          may have flushed ours), then given up with LB_FX_REFUSE; the previous table stays the wanted one and is rebuilt.
 */
#ifndef LB_CORE_H
#define LB_CORE_H

#include "services/ingress-lb/core/rules.h"
#include "services/ingress-lb/core/table.h"

enum lb_event_type {
    LB_EV_TABLE,   /* table: owned by the core from here on */
    LB_EV_APPLIED, /* answer to LB_FX_APPLY: ok, kernel_generation */
    LB_EV_TICK,    /* kernel_generation as it is now */
    LB_EV_LISTED   /* answer to LB_FX_LIST: ok (the table is there), hash, kernel_generation */
};
struct lb_event {
    enum lb_event_type type;
    struct lb_table *table;
    bool ok;
    uint64_t kernel_generation;
    uint64_t hash;
};

enum lb_effect_type {
    LB_FX_APPLY,      /* text: one transaction; answer with LB_EV_APPLIED before anything else */
    LB_FX_LIST,       /* answer with LB_EV_LISTED */
    LB_FX_ACK,        /* generation */
    LB_FX_REFUSE,     /* the kernel would not take the table */
    LB_FX_SAVE,       /* keep the table's message on disk */
    LB_FX_FORGET_UDP, /* lb_flows: drop what conntrack knows of these */
    LB_FX_REPAIR      /* the table in the kernel was not ours any more: count it; an LB_FX_APPLY follows */
};
struct lb_effect {
    enum lb_effect_type type;
    const char *text;
    uint64_t generation;
};
struct lb_flow {
    struct lb_backend backend; /* leads to this backend, which is gone */
    uint16_t published;        /* or, if backend.port is 0, reached this port before it was published */
};

#define LB_EFFECTS_MAX 4

struct lb {
    char name[LB_NAME_MAX + 1];
    struct lb_table *table; /* what the kernel should have; NULL before the first */
    struct lb_table *next;  /* being applied */
    bool whole;             /* the text being applied is a whole table */
    bool dirty;             /* the kernel is not known to have `table` */
    bool hash_known;
    uint64_t hash;
    uint64_t kernel_generation; /* left by our last transaction */
    struct sw_buf text;
    struct lb_flow *flows;
    size_t flow_count;
    struct lb_effect effects[LB_EFFECTS_MAX];
    size_t effect_count;
};

void lb_init(struct lb *lb, const char *name);
void lb_deinit(struct lb *lb);
void lb_step(struct lb *lb, const struct lb_event *event);

#endif
