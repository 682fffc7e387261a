#include "common/identity/identity.h"
#include "common/identity/internal.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES
#define DATA_KEY_SIZE 32
#define BOX_SIZE (crypto_box_SEALBYTES + DATA_KEY_SIZE)

_Static_assert(NONCE + TAG == IDENTITY_SEAL_EXTRA, "callers work out sizes with it");

ProtobufCBinaryData identity_seal(const uint8_t key[32], const char *context, const void *data, size_t len)
{
    ProtobufCBinaryData sealed = { .len = NONCE + len + TAG, .data = sw_alloc0(NONCE + len + TAG) };
    randombytes_buf(sealed.data, NONCE);
    int rc = crypto_aead_xchacha20poly1305_ietf_encrypt(sealed.data + NONCE, NULL, data, len, (const uint8_t *)context,
                                                        strlen(context), NULL, sealed.data, key);
    assert(rc == 0);
    return sealed;
}

int identity_unseal(const uint8_t key[32], const char *context, ProtobufCBinaryData sealed, void *ret_data, size_t len,
                    struct sw_err *err)
{
    if (sealed.len != NONCE + len + TAG)
        return sw_fail(err, SW_CORRUPT, "sealed value '%s' has %zu bytes instead of %zu", context, sealed.len, NONCE + len + TAG);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(ret_data, NULL, NULL, sealed.data + NONCE, len + TAG, (const uint8_t *)context,
                                                   strlen(context), sealed.data, key) != 0)
        return sw_fail(err, SW_CORRUPT, "sealed value '%s' does not open with this node's key", context);
    return 0;
}

/* ---- the data key: in a box that only the node's own key opens ---- */

static char *data_key_path(const char *state_dir)
{
    return sw_strf("%s/raft/data-key", state_dir);
}

int identity_data_key_make(const char *state_dir, const uint8_t curve_public[32], uint8_t ret_key[32], struct sw_err *err)
{
    SW_AUTO(sw_free) char *path = data_key_path(state_dir);
    uint8_t key[DATA_KEY_SIZE];
    uint8_t box[BOX_SIZE];
    randombytes_buf(key, sizeof key);
    int rc = crypto_box_seal(box, key, sizeof key, curve_public) == 0 ? identity_file_write(path, box, sizeof box, err)
                                                                      : sw_fail(err, SW_INVALID, "the node's key is not usable");
    if (rc == 0)
        memcpy(ret_key, key, sizeof key);
    sodium_memzero(key, sizeof key);
    return rc;
}

static int data_key_open(const char *path, const Swarm__NodeIdentity *identity, uint8_t ret_key[32], struct sw_err *err)
{
    SW_AUTO_BUF box = { 0 };
    int rc = identity_file_read(path, &box, err);
    if (rc < 0)
        return rc;
    if (box.len != BOX_SIZE || crypto_box_seal_open(ret_key, (uint8_t *)box.data, box.len, identity->curve_public.data,
                                                    identity->curve_secret.data) != 0)
        return sw_fail(err, SW_CORRUPT, "'%s' does not open with this node's key", path);
    return 0;
}

int identity_data_key(const char *state_dir, uint8_t ret_key[32], struct sw_err *err)
{
    SW_AUTO(sw_free) char *path = data_key_path(state_dir);
    Swarm__NodeIdentity *identity = NULL;
    struct sw_err why;
    if (identity_node_load(state_dir, &identity, err) < 0)
        return sw_wrap(err, "open the data key");
    int rc = data_key_open(path, identity, ret_key, &why);
    if (rc == -SW_NOT_FOUND)
        rc = identity_data_key_make(state_dir, identity->curve_public.data, ret_key, &why);
    if (rc < 0)
        rc = sw_fail(err, why.code, "%s", why.text);
    identity_node_free(identity);
    return rc;
}

void identity_node_free(Swarm__NodeIdentity *identity)
{
    if (identity == NULL)
        return;
    sodium_memzero(identity->curve_secret.data, identity->curve_secret.len);
    sw_pb_free(identity);
}
