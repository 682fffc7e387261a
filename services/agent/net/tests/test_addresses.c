#include "services/agent/net/addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void test_subnets(void **state)
{
    (void)state;
    static const struct {
        const char *subnet;
        const char *wrong; /* part of the message; NULL = accepted */
    } rows[] = {
        { "10.213.0.0/16", NULL },
        { "192.168.7.0/29", NULL },
        { "10.213.0.0", "want ADDRESS/PREFIX" },
        { "10.213.0.0/", "want ADDRESS/PREFIX" },
        { "10.213.0.0/16x", "want ADDRESS/PREFIX" },
        { "10.213.0.0/+16", "want ADDRESS/PREFIX" },
        { "10.213.0/16", "want ADDRESS/PREFIX" },
        { "fd00::/16", "want ADDRESS/PREFIX" },
        { "10.0.0.0/8", "must be 16 to 29" },
        { "10.0.0.0/30", "must be 16 to 29" },
        { "10.213.1.0/16", "bits behind the prefix" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct addresses *pool = calloc(1, sizeof *pool);
        struct sw_err err = { 0 };
        int rc = addresses_init(pool, rows[i].subnet, &err);
        assert_int_equal(rc, rows[i].wrong == NULL ? 0 : -SW_INVALID);
        if (rows[i].wrong != NULL)
            assert_non_null(strstr(err.text, rows[i].wrong));
        free(pool);
    }
}

/* A /29: network, gateway and broadcast are kept back, five are left. */
static void test_takes_turns(void **state)
{
    (void)state;
    struct addresses pool;
    struct sw_err err;
    uint32_t address = 0, base = 0x0ad50000;
    assert_int_equal(addresses_init(&pool, "10.213.0.0/29", &err), 0);
    assert_int_equal(addresses_prefix(&pool), 29);
    assert_int_equal(addresses_gateway(&pool), base + 1);
    for (uint32_t i = 2; i <= 4; i++) {
        assert_int_equal(addresses_take(&pool, &address, &err), 0);
        assert_int_equal(address, base + i);
    }
    addresses_free(&pool, base + 2);
    for (uint32_t i = 5; i <= 6; i++) { /* the freed one waits until the others had their turn */
        assert_int_equal(addresses_take(&pool, &address, &err), 0);
        assert_int_equal(address, base + i);
    }
    assert_int_equal(addresses_take(&pool, &address, &err), 0);
    assert_int_equal(address, base + 2);
    assert_int_equal(addresses_take(&pool, &address, &err), -SW_LIMIT);
    assert_non_null(strstr(err.text, "all 5"));
}

static void test_claims(void **state)
{
    (void)state;
    struct addresses pool;
    struct sw_err err;
    uint32_t address = 0, base = 0x0ad50000;
    assert_int_equal(addresses_init(&pool, "10.213.0.0/24", &err), 0);
    assert_true(addresses_claim(&pool, base + 9));
    assert_false(addresses_claim(&pool, base + 9));
    assert_false(addresses_claim(&pool, base + 1));
    assert_false(addresses_claim(&pool, base + 256));
    assert_false(addresses_claim(&pool, base - 1));
    assert_true(addresses_claim(&pool, base + 4));
    assert_int_equal(addresses_take(&pool, &address, &err), 0);
    assert_int_equal(address, base + 10);
}

/* Whatever is taken and freed, no address is given out twice and the count is right. */
static void test_never_twice(void **state)
{
    (void)state;
    struct addresses pool;
    struct sw_err err;
    bool mine[64] = { false };
    unsigned held = 0, seed = 7;
    assert_int_equal(addresses_init(&pool, "10.213.0.0/26", &err), 0);
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1103515245 + 12345;
        uint32_t pick = seed >> 16 & 63, address = 0;
        if (mine[pick]) {
            addresses_free(&pool, pool.network + pick);
            mine[pick] = false;
            held--;
        } else if (addresses_take(&pool, &address, &err) == 0) {
            assert_false(mine[address - pool.network]);
            mine[address - pool.network] = true;
            held++;
        }
        assert_int_equal(pool.used, held + 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subnets),
        cmocka_unit_test(test_takes_turns),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_never_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
