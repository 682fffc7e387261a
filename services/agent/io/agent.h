/* agent - what the files of the agent's shell share. Each owns one thing outside: the session with a dispatcher, the node's
 * balancer, the local socket, joining, the records on disk, logs on their way up. shell.c ties them to core/worker.h.
 *
 * Threads  one: the svc loop's. Nothing here blocks longer than a synced write.
 */
#ifndef AGENT_H
#define AGENT_H

#include "common/base/names.h"
#include "common/bus/bus.h"
#include "common/identity/identity.h"
#include "common/service/svc.h"
#include "proto/dispatch.pb-c.h"
#include "proto/envelope.pb-c.h"
#include "proto/node.pb-c.h"
#include "services/agent/core/worker.h"
#include "services/agent/io/executor.h"
#include "services/agent/io/images.h"

struct session;
struct balancer;
struct local;
struct relay;
struct records;
struct listening;

struct agent_options {
    uint64_t drain_ms;
    char *advertise; /* used by init and join that name none */
    struct svc_list labels;
    char *bridge, *subnet;
    uint64_t mtu;
    char *runtime, *cgroup_parent;
    uint64_t log_size_max, log_files_max;
    struct svc_list plain_registries;
    char *registry_auth, *docker_host;
    bool cleanup;
};
struct agent {
    struct svc *svc;
    struct agent_options options;
    struct bus *bus;
    struct images *images;
    struct attachment *attachment;
    struct executor *executor;
    struct records *records;
    struct worker *worker;
    struct svc_timer *timer;
    Swarm__NodeDescription *description;
    Swarm__NodeIdentity *identity; /* NULL: not in a cluster */
    struct session *session;       /* NULL without identity */
    struct balancer *balancer;
    struct local *local;
    struct relay *relay;
    struct listening *listening;
    bool empty; /* WORKER_EMPTY came */
    size_t cleanup_left;
    struct svc_timer *cleanup_timer;
    bool failed; /* a write failed: the process is ending */
};

int agent_main(int argc, char **argv);

/* shell.c */
void agent_step(struct agent *agent, struct worker_event event); /* now_ms and wall_ns are filled in */
/* Write identity (and admin, which may be NULL) down and open the session. Takes identity, also when it fails. */
int agent_enter(struct agent *agent, Swarm__NodeIdentity *identity, const Swarm__AdminIdentity *admin, struct sw_err *err);
/* Forget the cluster: identity and records wiped, a fresh core, which removes what containers are left. */
void agent_forget(struct agent *agent);

/* session.c: with one of the cluster's dispatchers; keeps itself open. */
int session_open(struct agent *agent, struct session **ret_session, struct sw_err *err);
void session_close(struct session *session); /* NULL is fine */
bool session_is_open(const struct session *session);
bool session_report(struct session *session, const Swarm__TaskReports *reports); /* false: not sent, the caller says so */
void session_renew(struct session *session);
/* Calls done when the dispatcher has answered, or after 5 s, or at once without a session. */
void session_goodbye(struct session *session, void (*done)(void *arg), void *arg);
struct bus_client *session_client(struct session *session); /* for logs; NULL when not open */

/* balancer.c: the node's ingress-lb */
int balancer_open(struct agent *agent, struct balancer **ret_balancer, struct sw_err *err);
void balancer_close(struct balancer *balancer);
void balancer_send(struct balancer *balancer, const Swarm__EndpointTable *table);

/* relay.c: container logs to the dispatcher */
struct relay *relay_new(struct agent *agent);
void relay_free(struct relay *relay);
void relay_subscribe(struct relay *relay, const Swarm__LogSubscribe *request);
void relay_unsubscribe(struct relay *relay, uint64_t subscription);
void relay_drop_all(struct relay *relay); /* the session ended */
size_t relay_count(const struct relay *relay);

/* listening.c: holds back STARTED of a task with published TCP ports until it listens on them, at most 3 s */
typedef void listening_tell_fn(struct agent *agent, const struct executor_event *event);
struct listening *listening_new(struct agent *agent, listening_tell_fn *tell);
void listening_free(struct listening *listening); /* NULL is fine */
void listening_expect(struct listening *listening, const Swarm__Task *task); /* before it is prepared */
/* true: the event is kept and told later. Any later event of the task makes it tell the kept one first. */
bool listening_hold(struct listening *listening, const struct executor_event *event);

/* records.c: tasks on disk (LMDB below <state>/agent/tasks) */
int records_open(const char *state_dir, struct records **ret_records, struct sw_err *err);
void records_close(struct records *records);
int records_each(struct records *records, void (*fn)(void *arg, const Swarm__Task *task), void *arg, struct sw_err *err);
int records_clear(struct records *records, struct sw_err *err);
/* A number greater than any endpoint table's generation of an earlier life. */
int records_generation(struct records *records, uint64_t floor, uint64_t *ret, struct sw_err *err);
/* One synced write for all SAVE and FORGET effects of a step; nothing happens when there is none. */
int records_write(struct records *records, const struct worker_effect *effects, size_t count, struct sw_err *err);

/* node.c: what this machine is */
Swarm__NodeDescription *node_description(const struct agent *agent);
/* text: "IP", "IP:PORT", "interface[:PORT]"; NULL or "" = the only usable address. Heap. SW_INVALID as Docker says it. */
int node_advertise(const struct agent *agent, const char *text, char **ret_host, struct sw_err *err);
/* The address this node would use to reach remote ("HOST:PORT"), or NULL. Heap. */
char *node_address_towards(const char *remote);

/* local.c: <run>/node.sock */
int local_open(struct agent *agent, struct local **ret_local, struct sw_err *err);
void local_close(struct local *local);
void local_tasks_gone(struct local *local); /* WORKER_EMPTY: a leave goes on */

/* join.c: how the node gets its identity; one at a time */
struct joining;
typedef void joining_done_fn(void *arg, const void *reply, const struct sw_err *err); /* NodeInitReply or NodeJoinReply */
int joining_init(struct agent *agent, const Swarm__NodeInitRequest *request, joining_done_fn *fn, void *arg,
                 struct joining **ret_joining, struct sw_err *err);
int joining_join(struct agent *agent, const Swarm__NodeJoinRequest *request, joining_done_fn *fn, void *arg,
                 struct joining **ret_joining, struct sw_err *err);
void joining_free(struct joining *joining); /* NULL is fine */

#endif
