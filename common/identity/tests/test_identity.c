/* Properties of keys, certificates, tokens, files and seals: what was made is accepted, whatever is changed in it is not. */
#include "common/identity/identity.h"
#include "common/base/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define NOW 1700000000
#define ROUNDS 200

static struct identity_cert cert_of(const struct bus_keys *keys)
{
    struct identity_cert cert = { .cluster_id = "cluster0000000000000000000",
                                  .node_id = "node0000000000000000000000",
                                  .role = BUS_WORKER,
                                  .not_before = NOW - 10,
                                  .not_after = NOW + 10,
                                  .serial = UINT64_MAX };
    memcpy(cert.curve_key, keys->public_key, 32);
    return cert;
}

static void test_token_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        struct identity_root root;
        struct sw_err err;
        uint8_t secret[16], got_root[32], got_secret[16];
        char token[IDENTITY_TOKEN_SIZE];
        identity_root_make(&root);
        randombytes_buf(secret, sizeof secret);
        if (i == 0)
            memset(secret, 0, sizeof secret);
        if (i == 1)
            memset(secret, 0xff, sizeof secret);
        identity_token_make(root.public_key, secret, token);
        assert_int_equal(strlen(token), 9 + 50 + 1 + 25);
        assert_int_equal(identity_token_parse(token, got_root, got_secret, &err), 0);
        assert_memory_equal(got_root, root.public_key, 32);
        assert_memory_equal(got_secret, secret, 16);

        token[randombytes_uniform((uint32_t)strlen(token))] = "!AZ \x80"[i % 5]; /* never a digit */
        assert_int_equal(identity_token_parse(token, got_root, got_secret, &err), -SW_INVALID);
    }
}

static void test_token_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "SWMTKN-1-",
        "SWMTKN-2-00000000000000000000000000000000000000000000000000-0000000000000000000000000",
        "SWMTKN-1-zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz-zzzzzzzzzzzzzzzzzzzzzzzzz",
        "SWMTKN-1-00000000000000000000000000000000000000000000000000-0000000000000000000000000", /* key of small order */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t root[32], secret[16];
        struct sw_err err;
        assert_int_equal(identity_token_parse(bad[i], root, secret, &err), -SW_INVALID);
        assert_non_null(strstr(err.text, "join token"));
    }
}

static void test_certificates(void **state)
{
    (void)state;
    struct identity_root root, other;
    struct bus_keys keys;
    struct identity_cert got;
    struct sw_err err;
    identity_root_make(&root);
    identity_root_make(&other);
    identity_curve_make(&keys);
    struct identity_cert cert = cert_of(&keys);
    SW_AUTO(sw_pb_free) Swarm__Certificate *signed_cert = identity_cert_sign(&root, &cert);

    assert_int_equal(identity_cert_verify(signed_cert, root.public_key, NOW, &got, &err), 0);
    assert_string_equal(got.cluster_id, cert.cluster_id);
    assert_string_equal(got.node_id, cert.node_id);
    assert_int_equal(got.role, BUS_WORKER);
    assert_memory_equal(got.curve_key, keys.public_key, 32);
    assert_true(got.serial == cert.serial);
    assert_int_equal(identity_cert_verify(signed_cert, root.public_key, NOW + 10, &got, &err), -SW_DENIED);
    assert_int_equal(identity_cert_verify(signed_cert, root.public_key, NOW - 11, &got, &err), -SW_DENIED);
    assert_int_equal(identity_cert_verify(signed_cert, other.public_key, NOW, &got, &err), -SW_DENIED);

    ProtobufCBinaryData *parts[] = { &signed_cert->body, &signed_cert->signature, &signed_cert->issuer };
    for (size_t p = 0; p < 3; p++)
        for (size_t bit = 0; bit < parts[p]->len * 8; bit++) {
            parts[p]->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_true(identity_cert_verify(signed_cert, root.public_key, NOW, &got, &err) < 0);
            parts[p]->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    for (size_t p = 0; p < 3; p++) {
        size_t len = parts[p]->len;
        for (parts[p]->len = 0; parts[p]->len < len; parts[p]->len++)
            assert_true(identity_cert_verify(signed_cert, root.public_key, NOW, &got, &err) < 0);
    }
    assert_int_equal(identity_cert_verify(signed_cert, root.public_key, NOW, &got, &err), 0);
}

static void test_certificate_roles(void **state)
{
    (void)state;
    struct identity_root root;
    struct bus_keys keys;
    identity_root_make(&root);
    identity_curve_make(&keys);
    for (unsigned role = 0; role < 64; role++) {
        struct identity_cert got, cert = cert_of(&keys);
        struct sw_err err;
        cert.role = (enum bus_role)role;
        SW_AUTO(sw_pb_free) Swarm__Certificate *certificate = identity_cert_sign(&root, &cert);
        bool good = role == BUS_WORKER || role == BUS_MANAGER || role == BUS_ADMIN;
        assert_int_equal(identity_cert_verify(certificate, root.public_key, NOW, &got, &err), good ? 0 : -SW_CORRUPT);
    }
}

/* Who does not want the reason gets the code all the same. */
static void test_no_reason_wanted(void **state)
{
    (void)state;
    struct identity_root root, other;
    struct bus_keys keys;
    identity_root_make(&root);
    identity_root_make(&other);
    identity_curve_make(&keys);
    struct identity_cert got, cert = cert_of(&keys);
    SW_AUTO(sw_pb_free) Swarm__Certificate *certificate = identity_cert_sign(&root, &cert);
    assert_int_equal(identity_cert_verify(certificate, other.public_key, NOW, &got, NULL), -SW_DENIED);
    assert_int_equal(identity_cert_verify(certificate, root.public_key, NOW + 10, &got, NULL), -SW_DENIED);
    memset(root.public_key, 0xff, sizeof root.public_key);
    assert_int_equal(identity_root_curve(&root, &keys, NULL), -SW_CORRUPT);
    Swarm__NodeIdentity *identity = NULL;
    assert_true(identity_node_load("/proc/self/none", &identity, NULL) < 0);
}

static void test_root_as_curve(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct identity_root root;
        struct bus_keys keys;
        struct sw_err err;
        uint8_t from_public[32], from_secret[32];
        identity_root_make(&root);
        assert_int_equal(identity_root_curve(&root, &keys, &err), 0);
        assert_int_equal(identity_root_curve_public(root.public_key, from_public, &err), 0);
        assert_int_equal(crypto_scalarmult_base(from_secret, keys.secret_key), 0);
        assert_memory_equal(from_public, keys.public_key, 32);
        assert_memory_equal(from_secret, keys.public_key, 32);
    }
}

static void test_seal(void **state)
{
    (void)state;
    uint8_t key[32], wrong[32], data[100], got[100];
    struct sw_err err;
    randombytes_buf(key, 32);
    randombytes_buf(wrong, 32);
    for (size_t len = 0; len <= sizeof data; len += 7) {
        randombytes_buf(data, sizeof data);
        ProtobufCBinaryData sealed = identity_seal(key, "a", data, len);
        ProtobufCBinaryData again = identity_seal(key, "a", data, len);
        assert_int_equal(sealed.len, len + IDENTITY_SEAL_EXTRA);
        assert_memory_not_equal(sealed.data, again.data, sealed.len); /* a nonce of its own each time */
        assert_int_equal(identity_unseal(key, "a", sealed, got, len, &err), 0);
        assert_memory_equal(got, data, len);
        assert_int_equal(identity_unseal(wrong, "a", sealed, got, len, &err), -SW_CORRUPT);
        assert_int_equal(identity_unseal(key, "b", sealed, got, len, &err), -SW_CORRUPT);
        assert_int_equal(identity_unseal(key, "a", sealed, got, len + 1, &err), -SW_CORRUPT);
        for (size_t bit = 0; bit < sealed.len * 8; bit++) {
            sealed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(identity_unseal(key, "a", sealed, got, len, &err), -SW_CORRUPT);
            sealed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        free(sealed.data);
        free(again.data);
    }
}

/* ---- files ---- */

static Swarm__NodeIdentity *node_identity(void)
{
    struct identity_root root;
    struct bus_keys keys;
    identity_root_make(&root);
    identity_curve_make(&keys);
    struct identity_cert cert = cert_of(&keys);
    Swarm__NodeIdentity *identity = sw_alloc0(sizeof *identity);
    swarm__node_identity__init(identity);
    identity->cluster_id = sw_strdup(cert.cluster_id);
    identity->node_id = sw_strdup(cert.node_id);
    identity->role = BUS_MANAGER;
    identity->root_key = sw_pb_bytes(root.public_key, 32);
    identity->curve_public = sw_pb_bytes(keys.public_key, 32);
    identity->curve_secret = sw_pb_bytes(keys.secret_key, 32);
    identity->certificate = identity_cert_sign(&root, &cert);
    return identity;
}

static void make_dir(char dir[64])
{
    (void)strcpy(dir, "/tmp/test-identity-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

static void test_node_file(void **state)
{
    (void)state;
    char dir[64];
    struct sw_err err;
    struct stat st;
    make_dir(dir);
    Swarm__NodeIdentity *got = NULL;
    Swarm__NodeIdentity *identity = node_identity();
    SW_AUTO(sw_free) char *path = sw_strf("%s/node/identity", dir);
    assert_int_equal(identity_node_load(dir, &got, &err), -SW_NOT_FOUND);
    assert_int_equal(identity_node_save(dir, identity, &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(identity_node_load(dir, &got, &err), 0);
    assert_true(sw_pb_equal(got, identity));
    identity_node_free(got);

    for (unsigned mode = 0; mode < 0777; mode++) { /* readable or writable by others in any way: refused */
        if ((mode & 077) == 0 || (mode & 0400) == 0)
            continue;
        assert_int_equal(chmod(path, mode), 0);
        assert_int_equal(identity_node_load(dir, &got, &err), -SW_DENIED);
    }
    assert_int_equal(chmod(path, 0600), 0);

    identity->curve_secret.data[5] ^= 1; /* no longer the public key's other half */
    assert_int_equal(identity_node_save(dir, identity, &err), 0);
    assert_int_equal(identity_node_load(dir, &got, &err), -SW_CORRUPT);
    assert_int_equal(svc_file_write(path, "garbage", 7, 0600, &err), 0);
    assert_int_equal(identity_node_load(dir, &got, &err), -SW_CORRUPT);

    SW_AUTO(sw_free) char *admin = identity_admin_path(dir);
    assert_int_equal(svc_file_write(admin, "x", 1, 0600, &err), 0);
    identity_wipe(dir);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_not_equal(access(admin, F_OK), 0);
    identity_wipe(dir); /* again is fine */
    identity_node_free(identity);
    assert_int_equal(svc_rmtree(dir, NULL), 0);
}

static void test_admin_file(void **state)
{
    (void)state;
    char dir[64];
    struct sw_err err;
    make_dir(dir);
    Swarm__NodeIdentity *node = node_identity();
    char *control[] = { (char *)(uintptr_t) "ipc:///run/x.sock" };
    Swarm__AdminIdentity admin = SWARM__ADMIN_IDENTITY__INIT;
    admin.cluster_id = node->cluster_id;
    admin.root_key = node->root_key;
    admin.curve_public = node->curve_public;
    admin.curve_secret = node->curve_secret;
    admin.certificate = node->certificate;
    admin.n_control = 1;
    admin.control = control;
    SW_AUTO(sw_free) char *path = identity_admin_path(dir);
    SW_AUTO(sw_free) char *link_path = sw_strf("%s/link", dir);
    SW_AUTO(sw_pb_free) Swarm__AdminIdentity *got = NULL;
    assert_int_equal(identity_admin_save(path, &admin, &err), 0);
    assert_int_equal(identity_admin_load(path, &got, &err), 0);
    assert_true(sw_pb_equal(got, &admin));
    assert_int_equal(symlink(path, link_path), 0);
    assert_true(identity_admin_load(dir, &got, &err) < 0);
    identity_node_free(node);
    assert_int_equal(svc_rmtree(dir, NULL), 0);
}

static void test_data_key(void **state)
{
    (void)state;
    char dir[64];
    struct sw_err err;
    struct stat st;
    uint8_t made[32], again[32];
    make_dir(dir);
    Swarm__NodeIdentity *identity = node_identity();
    SW_AUTO(sw_free) char *path = sw_strf("%s/raft/data-key", dir);
    assert_int_equal(identity_data_key(dir, made, &err), -SW_NOT_FOUND); /* no identity to seal it for */
    assert_int_equal(identity_data_key_make(dir, identity->curve_public.data, made, &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(identity_node_save(dir, identity, &err), 0);
    assert_int_equal(identity_data_key(dir, again, &err), 0);
    assert_memory_equal(made, again, 32);

    SW_AUTO(sw_free) char *raw = NULL;
    size_t len = 0;
    assert_int_equal(svc_file_read(path, 4096, &raw, &len, &err), 0);
    assert_null(memmem(raw, len, made, 32)); /* never in clear */

    Swarm__NodeIdentity *stranger = node_identity();
    assert_int_equal(identity_node_save(dir, stranger, &err), 0);
    assert_int_equal(identity_data_key(dir, again, &err), -SW_CORRUPT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(identity_data_key(dir, again, &err), 0); /* made on first use */
    assert_memory_not_equal(made, again, 32);
    identity_node_free(identity);
    identity_node_free(stranger);
    assert_int_equal(svc_rmtree(dir, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_round_trip),  cmocka_unit_test(test_token_refused), cmocka_unit_test(test_certificates),
        cmocka_unit_test(test_certificate_roles), cmocka_unit_test(test_root_as_curve), cmocka_unit_test(test_seal),
        cmocka_unit_test(test_node_file),         cmocka_unit_test(test_admin_file),    cmocka_unit_test(test_data_key),
        cmocka_unit_test(test_no_reason_wanted),
    };
    struct sw_err err;
    return identity_init(&err) == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
