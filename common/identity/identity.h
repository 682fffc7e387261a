/* identity - keys, certificates, join tokens, identity files, sealed values.
 *
 * Crypto   libsodium only. Root and signatures Ed25519; process keys Curve25519 (CURVE); seals XChaCha20-Poly1305.
 * Join     a joiner knows only the token. Port 2377's CURVE server key is the root key in its X25519 form
 *          (crypto_sign_ed25519_pk_to_curve25519), so the handshake itself proves that the manager holds the root secret:
 *          nothing is ever sent in clear, and `--host` with an identity file needs no other key. See docs/adr.
 * Files    written atomically with mode 0600; a file readable by others is refused.
 */
#ifndef IDENTITY_H
#define IDENTITY_H

#include "common/base/err.h"
#include "common/bus/bus.h"
#include "proto/identity.pb-c.h"
#include "proto/types.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define IDENTITY_KEY_SIZE 32
#define IDENTITY_ROOT_SECRET_SIZE 64 /* libsodium Ed25519 secret key */
#define IDENTITY_TOKEN_SECRET_SIZE 16
#define IDENTITY_TOKEN_SIZE 96

int identity_init(struct sw_err *err); /* sodium_init; call once before anything else */

/* ---- root ---- */
struct identity_root {
    uint8_t public_key[32];
    uint8_t secret[IDENTITY_ROOT_SECRET_SIZE];
};
void identity_root_make(struct identity_root *ret_root);
void identity_curve_make(struct bus_keys *ret_keys);
/* The CURVE keys of the control socket: the root in X25519 form. */
int identity_root_curve(const struct identity_root *root, struct bus_keys *ret_keys, struct sw_err *err);
int identity_root_curve_public(const uint8_t root_public[32], uint8_t ret_key[32], struct sw_err *err);

/* ---- certificates ---- */
struct identity_cert {
    char cluster_id[64], node_id[64];
    enum bus_role role;
    uint8_t curve_key[32];
    int64_t not_before, not_after; /* seconds since 1970 */
    uint64_t serial;
};
/* Heap; sw_pb_free. */
Swarm__Certificate *identity_cert_sign(const struct identity_root *root, const struct identity_cert *cert);
/* Signature under root_public and validity at now_s are checked. */
int identity_cert_verify(const Swarm__Certificate *certificate, const uint8_t root_public[32], int64_t now_s,
                         struct identity_cert *ret_cert, struct sw_err *err);

/* ---- tokens: SWMTKN-1-<root public key, base36, 50>-<secret, base36, 25> ---- */
void identity_token_make(const uint8_t root_public[32], const uint8_t secret[16], char ret_token[IDENTITY_TOKEN_SIZE]);
int identity_token_parse(const char *token, uint8_t ret_root_public[32], uint8_t ret_secret[16], struct sw_err *err);

/* ---- files ---- */
int identity_node_load(const char *state_dir, Swarm__NodeIdentity **ret, struct sw_err *err); /* SW_NOT_FOUND: not in a cluster */
int identity_node_save(const char *state_dir, const Swarm__NodeIdentity *identity, struct sw_err *err);
int identity_admin_load(const char *path, Swarm__AdminIdentity **ret, struct sw_err *err);
int identity_admin_save(const char *path, const Swarm__AdminIdentity *admin, struct sw_err *err);
void identity_node_free(Swarm__NodeIdentity *identity); /* wipes the secret first; NULL is fine */
void identity_wipe(const char *state_dir);              /* leave: overwrite and unlink both */
char *identity_dir(const char *state_dir);              /* "<state>/node"; heap */
char *identity_admin_path(const char *state_dir);       /* "<state>/node/admin"; heap */

/* ---- sealing: nonce || ciphertext; `context` is authenticated with it ("cluster.root", object id...) ---- */
/* <state>/raft/data-key, 32 random bytes in a box that only this node's key opens (crypto_box_seal; made on first use, 0600).
 * Needs <state>/node/identity. */
int identity_data_key(const char *state_dir, uint8_t ret_key[32], struct sw_err *err);
/* A new one for the node that holds the secret of curve_public: at init, when the identity file is not there yet. Replaces. */
int identity_data_key_make(const char *state_dir, const uint8_t curve_public[32], uint8_t ret_key[32], struct sw_err *err);
#define IDENTITY_SEAL_EXTRA 40u /* a sealed value is this much longer than what is in it */
ProtobufCBinaryData identity_seal(const uint8_t key[32], const char *context, const void *data, size_t len);
int identity_unseal(const uint8_t key[32], const char *context, ProtobufCBinaryData sealed, void *ret_data, size_t len,
                    struct sw_err *err);

#endif
