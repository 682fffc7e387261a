#include "common/identity/identity.h"

#include "common/base/id.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define CERT_PREFIX "swarm-cert-v1"
#define CERT_BODY_MAX 512
#define TOKEN_PREFIX "SWMTKN-1-"
#define TOKEN_ROOT_WIDTH 50
#define TOKEN_SECRET_WIDTH 25

_Static_assert(crypto_sign_SECRETKEYBYTES == IDENTITY_ROOT_SECRET_SIZE, "libsodium's size of an Ed25519 secret");

int identity_init(struct sw_err *err)
{
    if (sodium_init() < 0)
        return sw_fail(err, SW_UNSUPPORTED, "libsodium does not start (no source of randomness?)");
    return 0;
}

/* ---- root ---- */

void identity_root_make(struct identity_root *ret_root)
{
    int rc = crypto_sign_keypair(ret_root->public_key, ret_root->secret);
    assert(rc == 0);
}

void identity_curve_make(struct bus_keys *ret_keys)
{
    int rc = crypto_box_keypair(ret_keys->public_key, ret_keys->secret_key);
    assert(rc == 0);
}

int identity_root_curve_public(const uint8_t root_public[32], uint8_t ret_key[32], struct sw_err *err)
{
    if (crypto_sign_ed25519_pk_to_curve25519(ret_key, root_public) != 0)
        return sw_fail(err, SW_CORRUPT, "the cluster's root key is not a valid Ed25519 key");
    return 0;
}

int identity_root_curve(const struct identity_root *root, struct bus_keys *ret_keys, struct sw_err *err)
{
    int rc = identity_root_curve_public(root->public_key, ret_keys->public_key, err);
    if (rc < 0)
        return rc;
    if (crypto_sign_ed25519_sk_to_curve25519(ret_keys->secret_key, root->secret) != 0)
        return sw_fail(err, SW_CORRUPT, "the cluster's root secret is not a valid Ed25519 key");
    return 0;
}

/* ---- certificates ---- */

/* What is signed: the prefix keeps a signature from meaning anything elsewhere. Returns the length. */
static size_t signed_text(ProtobufCBinaryData body, uint8_t ret_text[sizeof CERT_PREFIX - 1 + CERT_BODY_MAX])
{
    assert(body.len <= CERT_BODY_MAX);
    memcpy(ret_text, CERT_PREFIX, sizeof CERT_PREFIX - 1);
    if (body.len != 0)
        memcpy(ret_text + sizeof CERT_PREFIX - 1, body.data, body.len);
    return sizeof CERT_PREFIX - 1 + body.len;
}

Swarm__Certificate *identity_cert_sign(const struct identity_root *root, const struct identity_cert *cert)
{
    Swarm__CertificateBody body = SWARM__CERTIFICATE_BODY__INIT;
    body.cluster_id = (char *)cert->cluster_id;
    body.node_id = (char *)cert->node_id;
    body.role = cert->role;
    body.curve_key = (ProtobufCBinaryData) { .len = 32, .data = (uint8_t *)cert->curve_key };
    body.not_before = cert->not_before;
    body.not_after = cert->not_after;
    body.serial = cert->serial;

    Swarm__Certificate *certificate = sw_alloc0(sizeof *certificate);
    swarm__certificate__init(certificate);
    size_t len = swarm__certificate_body__get_packed_size(&body);
    assert(len <= CERT_BODY_MAX);
    certificate->body = (ProtobufCBinaryData) { .len = len, .data = sw_alloc0(len) };
    (void)swarm__certificate_body__pack(&body, certificate->body.data);

    uint8_t text[sizeof CERT_PREFIX - 1 + CERT_BODY_MAX];
    uint8_t signature[crypto_sign_BYTES];
    int rc = crypto_sign_detached(signature, NULL, text, signed_text(certificate->body, text), root->secret);
    assert(rc == 0);
    certificate->signature = sw_pb_bytes(signature, sizeof signature);
    certificate->issuer = sw_pb_bytes(root->public_key, 32);
    return certificate;
}

static int signature_check(const Swarm__Certificate *certificate, const uint8_t root_public[32], struct sw_err *err)
{
    uint8_t text[sizeof CERT_PREFIX - 1 + CERT_BODY_MAX];
    if (certificate->body.len > CERT_BODY_MAX)
        return sw_fail(err, SW_LIMIT, "certificate body of %zu bytes, at most %d are allowed", certificate->body.len,
                       CERT_BODY_MAX);
    if (certificate->signature.len != crypto_sign_BYTES || certificate->issuer.len != 32)
        return sw_fail(err, SW_CORRUPT, "certificate with a signature or issuer of the wrong size");
    if (sodium_memcmp(certificate->issuer.data, root_public, 32) != 0)
        return sw_fail(err, SW_DENIED, "certificate of another cluster");
    if (crypto_sign_verify_detached(certificate->signature.data, text, signed_text(certificate->body, text), root_public) != 0)
        return sw_fail(err, SW_DENIED, "certificate with a wrong signature");
    return 0;
}

static int body_check(const Swarm__CertificateBody *body, int64_t now_s, struct sw_err *err)
{
    struct identity_cert *sizes = NULL;
    if (strlen(body->cluster_id) >= sizeof sizes->cluster_id || strlen(body->node_id) >= sizeof sizes->node_id)
        return sw_fail(err, SW_CORRUPT, "certificate with an id that is too long");
    if (body->role != BUS_WORKER && body->role != BUS_MANAGER && body->role != BUS_ADMIN)
        return sw_fail(err, SW_CORRUPT, "certificate for an unknown role %u", body->role);
    if (body->curve_key.len != 32)
        return sw_fail(err, SW_CORRUPT, "certificate with a key of %zu bytes", body->curve_key.len);
    if (now_s < body->not_before)
        return sw_fail(err, SW_DENIED, "certificate is not valid yet: is the clock right?");
    if (now_s >= body->not_after)
        return sw_fail(err, SW_DENIED, "certificate has expired");
    return 0;
}

int identity_cert_verify(const Swarm__Certificate *certificate, const uint8_t root_public[32], int64_t now_s,
                         struct identity_cert *ret_cert, struct sw_err *err)
{
    int rc = signature_check(certificate, root_public, err);
    if (rc < 0)
        return rc;
    SW_AUTO(sw_pb_free)
    Swarm__CertificateBody *body =
        sw_pb_unpack(&swarm__certificate_body__descriptor, certificate->body.data, certificate->body.len, CERT_BODY_MAX, err);
    rc = body != NULL ? body_check(body, now_s, err) : -SW_CORRUPT;
    if (rc < 0)
        return rc;
    *ret_cert = (struct identity_cert) {
        .role = (enum bus_role)body->role, .not_before = body->not_before, .not_after = body->not_after, .serial = body->serial
    };
    (void)snprintf(ret_cert->cluster_id, sizeof ret_cert->cluster_id, "%s", body->cluster_id);
    (void)snprintf(ret_cert->node_id, sizeof ret_cert->node_id, "%s", body->node_id);
    memcpy(ret_cert->curve_key, body->curve_key.data, 32);
    return 0;
}

/* ---- tokens ---- */

void identity_token_make(const uint8_t root_public[32], const uint8_t secret[16], char ret_token[IDENTITY_TOKEN_SIZE])
{
    char root[TOKEN_ROOT_WIDTH + 1];
    char tail[TOKEN_SECRET_WIDTH + 1];
    sw_base36_encode(root_public, 32, root, TOKEN_ROOT_WIDTH);
    sw_base36_encode(secret, IDENTITY_TOKEN_SECRET_SIZE, tail, TOKEN_SECRET_WIDTH);
    (void)snprintf(ret_token, IDENTITY_TOKEN_SIZE, TOKEN_PREFIX "%s-%s", root, tail);
    sodium_memzero(tail, sizeof tail);
}

int identity_token_parse(const char *token, uint8_t ret_root_public[32], uint8_t ret_secret[16], struct sw_err *err)
{
    const size_t head = sizeof TOKEN_PREFIX - 1;
    uint8_t curve[32];
    uint8_t root[32];
    uint8_t secret[IDENTITY_TOKEN_SECRET_SIZE];
    size_t len = strnlen(token, IDENTITY_TOKEN_SIZE);
    if (len != head + TOKEN_ROOT_WIDTH + 1 + TOKEN_SECRET_WIDTH || strncmp(token, TOKEN_PREFIX, head) != 0 ||
        token[head + TOKEN_ROOT_WIDTH] != '-' || !sw_base36_decode(token + head, TOKEN_ROOT_WIDTH, root, 32) ||
        !sw_base36_decode(token + head + TOKEN_ROOT_WIDTH + 1, TOKEN_SECRET_WIDTH, secret, sizeof secret) ||
        crypto_sign_ed25519_pk_to_curve25519(curve, root) != 0)
        return sw_fail(err, SW_INVALID, "invalid join token: it must look like " TOKEN_PREFIX "<50 characters>-<25 characters>");
    memcpy(ret_root_public, root, 32);
    memcpy(ret_secret, secret, sizeof secret);
    sodium_memzero(secret, sizeof secret);
    return 0;
}
