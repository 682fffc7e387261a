/* Certificates: the input once as the certificate itself, once as a body under a right signature. */
#include "common/identity/identity.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "swarm-cert-v1"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const Swarm__Certificate *certificate, const uint8_t root_public[32])
{
    struct identity_cert cert;
    struct sw_err err;
    if (identity_cert_verify(certificate, root_public, 1000, &cert, &err) == 0 &&
        (cert.not_before > 1000 || cert.not_after <= 1000 || cert.role == BUS_NOBODY))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t seed[crypto_sign_SEEDBYTES];
    struct identity_root root;
    uint8_t signature[crypto_sign_BYTES];
    struct sw_err err;
    if (identity_init(&err) < 0 || crypto_sign_seed_keypair(root.public_key, root.secret, seed) != 0)
        abort();

    SW_AUTO(sw_pb_free) Swarm__Certificate *given = sw_pb_unpack(&swarm__certificate__descriptor, data, size, 1u << 20, &err);
    if (given != NULL)
        check(given, root.public_key);

    SW_AUTO_BUF text = { 0 };
    sw_buf_adds(&text, PREFIX);
    sw_buf_add(&text, data, size);
    (void)crypto_sign_detached(signature, NULL, (const uint8_t *)text.data, text.len, root.secret);
    Swarm__Certificate certificate = SWARM__CERTIFICATE__INIT;
    certificate.body = (ProtobufCBinaryData) { size, (uint8_t *)(uintptr_t)data };
    certificate.signature = (ProtobufCBinaryData) { sizeof signature, signature };
    certificate.issuer = (ProtobufCBinaryData) { 32, root.public_key };
    check(&certificate, root.public_key);
    return 0;
}
