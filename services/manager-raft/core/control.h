/* control - the control API as a pure core: a request and the mirror in, an answer or a batch of changes out.
 *
 * Place    manager-raft core. io/control.c calls control_request() for each message of its table, proposes the batch of a
 *          write, and asks control_done() for the reply once the batch is applied.
 * Memory   replies live in context.scratch and point into the mirror: send them before either changes. The batch of a
 *          write is the caller's (sw_pb_free).
 * Errors   the texts are Docker's where Docker has one. A refused request changes nothing.
 * Limits   CONTROL_*_MAX below; what is over one is SW_INVALID or SW_LIMIT with the field and the bound.
 */
#ifndef MANAGER_CONTROL_H
#define MANAGER_CONTROL_H

#include "common/base/id.h"
#include "common/base/scratch.h"
#include "common/store/mirror.h"
#include "proto/control.pb-c.h"
#include "proto/envelope.pb-c.h"

#define CONTROL_SERVICES_MAX 10000u
#define CONTROL_REPLICAS_MAX 100000u
#define CONTROL_SPEC_BYTES_MAX (256u << 10)  /* an encoded service spec: the object holds two, with its tasks each one more */
#define CONTROL_TASKS_BYTES_MAX (256u << 20) /* replicas times that: each task has a copy, in memory on every manager */
#define CONTROL_LIST_MAX 512u                /* entries of any list in a spec */
#define CONTROL_TEXT_MAX 4096u               /* bytes of a name, path, label... (CONTROL_ENV_MAX for a variable or an argument) */
#define CONTROL_ENV_MAX 65536u
#define CONTROL_FILTERS_MAX 64u

struct control {
    const struct mirror *mirror;
    struct sw_scratch *scratch;
    struct sw_rng *rng; /* draws ids */
    int64_t now_ns;
    const char *self_id; /* this manager's node */
    const char *leader_id;
    uint64_t raft_term, raft_index;
    const char *server_version;
};

enum control_done_kind {
    CONTROL_DONE_EMPTY,
    CONTROL_DONE_CREATED,
    CONTROL_DONE_UPDATED,
    CONTROL_DONE_REMOVED,
    CONTROL_DONE_NODE
};
struct control_done {
    enum control_done_kind kind;
    char id[64];
};
struct control_answer {
    const void *reply;        /* of a read; NULL for a write */
    Swarm__StoreBatch *batch; /* of a write: one transaction */
    struct control_done done;
};

/* body is any request of control.proto but ServiceWatch, Logs, Cancel, JoinToken and Version, which need the shell. */
int control_request(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
/* The reply to a write that was applied as entry `index`. */
const void *control_done(const struct control *control, const struct control_done *done, uint64_t index);

/* The handlers behind control_request(), one file an object. */
int control_cluster_get(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
int control_cluster_update(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
int control_node_list(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
int control_node_get(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
int control_node_update(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
int control_node_remove(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
int control_service_create(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
int control_service_update(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
int control_service_remove(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
int control_service_get(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
int control_service_list(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
int control_task_list(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);
int control_task_get(const struct control *control, const void *body, struct control_answer *ret, struct sw_err *err);

/* Shared by the handlers. */
void *control_message(const struct control *control, const ProtobufCMessageDescriptor *type); /* a zeroed message in scratch */
void *control_copy(const struct control *control, const void *message);                       /* a shallow copy in scratch */
/* Begin the answer of a write: a batch with one empty transaction. */
void control_write(const struct control *control, struct control_answer *ret, enum control_done_kind kind, const char *id);
/* A task without its spec (but for the image) and labels: they are the bulk of it, and lists and progress need neither. */
Swarm__Task *control_task_slim(const struct control *control, const Swarm__Task *stored);
void control_answer_deinit(struct control_answer *answer);

#endif
