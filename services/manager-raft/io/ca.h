/* ca - the cluster's certificate authority: root key and join secrets unsealed in locked memory, certificates, who is who.
 *
 * It draws randomness, so it lives in io/; but it does no I/O besides the data key's file: what it wants changed comes out as a
 * StoreBatch for the caller to propose, and what it knows it reads from the mirror.
 * Serials of certificates are random 63-bit numbers (no counter that joins would fight for).
 * Memory   secrets in sodium_malloc() pages, wiped by ca_free(). Batches and replies are the caller's (sw_pb_free).
 * Limits   CA_NODES_MAX nodes; CA_ADMINS_MAX administrators.
 */
#ifndef CA_H
#define CA_H

#include "common/identity/identity.h"
#include "common/store/mirror.h"
#include "proto/node.pb-c.h"

#define CA_NODES_MAX 10000
#define CA_ADMINS_MAX 64

struct ca;

/* Empty: ca_ready() is false until ca_bootstrap() or ca_load(). identity_init() must have been called. */
int ca_new(const char *state_dir, struct ca **ret_ca, struct sw_err *err);
void ca_free(struct ca *ca); /* NULL is fine */
bool ca_ready(const struct ca *ca);

/* Take keys and join secrets from the mirror's Cluster, opened with this node's data key (its identity file must be there).
 * Call at start and after each change of the Cluster. SW_NOT_FOUND: the mirror has no cluster. A failure leaves *ca as it was. */
int ca_load(struct ca *ca, const struct mirror *mirror, struct sw_err *err);

/* A new cluster with this node as its first manager: makes root, join secrets, data key (file), the objects and the
 * certificates. *ret_batch creates Cluster and Node. On success *ca is ready; when the batch then cannot be committed, start
 * over with a new struct ca. An old raft directory must have been moved aside before: the data key goes into it. */
struct ca_ports {
    unsigned control, dispatcher, raft; /* that other nodes reach this manager at */
};
int ca_bootstrap(struct ca *ca, const Swarm__BootstrapRequest *request, struct ca_ports ports, int64_t now_ns,
                 Swarm__StoreBatch **ret_batch, Swarm__BootstrapReply **ret_reply, struct sw_err *err);

/* The CURVE keys of the control socket (root in X25519 form). Wipe after use. */
int ca_control_keys(const struct ca *ca, struct bus_keys *ret_keys, struct sw_err *err);

/* Join tokens. A rotation takes effect when its batch is applied and ca_load() was called again. */
int ca_token(const struct ca *ca, Swarm__NodeRole role, char ret_token[IDENTITY_TOKEN_SIZE], struct sw_err *err);
int ca_rotate(const struct ca *ca, const struct mirror *mirror, Swarm__NodeRole role, int64_t now_ns,
              Swarm__StoreBatch **ret_batch, struct sw_err *err);

/* Admit a node by join secret. connection_key is the key the request came with. *ret_batch creates the Node; it is NULL when
 * the key is a node's already (a repeated request): then only a certificate is made. */
int ca_join(const struct ca *ca, const struct mirror *mirror, const Swarm__JoinRequest *request, const uint8_t connection_key[32],
            int64_t now_ns, Swarm__StoreBatch **ret_batch, Swarm__JoinReply **ret_reply, struct sw_err *err);

/* bus_admit_fn over the mirror: administrators' keys, nodes' keys by certified role; any other key is BUS_JOINER where joiners
 * are let in, else nobody. arg is a struct ca_admission. */
struct ca_admission {
    const struct mirror *mirror;
    bool joiners;
};
struct bus_peer_info ca_admit(void *arg, const uint8_t curve_key[32]);

#endif
