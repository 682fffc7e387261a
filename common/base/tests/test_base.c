#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/id.h"
#include "common/base/names.h"
#include "common/base/pb.h"
#include "common/base/units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static void test_wrap_adds_context_in_front(void **state)
{
    (void)state;
    struct sw_err err;
    assert_int_equal(sw_fail(&err, SW_IO, "open '%s': no", "/x"), -SW_IO);
    assert_int_equal(sw_wrap(&err, "start"), -SW_IO);
    assert_string_equal(err.text, "start: open '/x': no");
}

static void test_wrap_never_overflows(void **state)
{
    (void)state;
    struct sw_err err;
    (void)sw_fail(&err, SW_IO, "end");
    for (int i = 0; i < 100; i++)
        (void)sw_wrap(&err, "a longer piece of context number %d", i);
    assert_true(strlen(err.text) < sizeof err.text);
}

static void test_ids_replay_from_their_seed(void **state)
{
    (void)state;
    struct sw_rng a, b;
    char one[SW_ID_SIZE], two[SW_ID_SIZE], three[SW_ID_SIZE];
    sw_rng_seed(&a, 7);
    sw_rng_seed(&b, 7);
    sw_id_make(&a, one);
    sw_id_make(&b, two);
    sw_id_make(&b, three);
    assert_string_equal(one, two);
    assert_string_not_equal(one, three);
    assert_true(sw_id_valid(one));
    assert_false(sw_id_valid("ABC"));
    one[24] = 'A';
    assert_false(sw_id_valid(one));
}

static void test_base36_round_trip(void **state)
{
    (void)state;
    struct sw_rng rng;
    sw_rng_seed(&rng, 1);
    for (int round = 0; round < 200; round++) {
        uint8_t key[32], back[32];
        char text[51];
        for (size_t i = 0; i < sizeof key; i++)
            key[i] = (uint8_t)sw_rng_next(&rng);
        sw_base36_encode(key, sizeof key, text, 50);
        assert_int_equal(strlen(text), 50);
        assert_true(sw_base36_decode(text, 50, back, sizeof back));
        assert_memory_equal(key, back, sizeof key);
    }
    uint8_t back[2];
    assert_false(sw_base36_decode("zzzzzzz", 7, back, 2));
    assert_false(sw_base36_decode("a-b", 3, back, 2));
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
        const char *printed;
    } good[] = {
        { "300ms", 300000000, "300ms" },       { "1.5h", 5400000000000, "1h30m0s" },
        { "2h45m", 9900000000000, "2h45m0s" }, { "0", 0, "0s" },
        { "-2s", -2000000000, "-2s" },         { "1m1.5s", 61500000000, "1m1.5s" },
        { "10us", 10000, "10\xc2\xb5s" },
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t ns = -1;
        char printed[64];
        assert_true(sw_parse_duration(good[i].text, &ns));
        assert_int_equal(ns, good[i].ns);
        sw_format_duration(ns, printed, sizeof printed);
        assert_string_equal(printed, good[i].printed);
    }
    static const char *const bad[] = { "10", "", "s", "1x", "1h-2m", "..s", "99999999999h" };
    int64_t ns;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(sw_parse_duration(bad[i], &ns));
}

static void test_sizes_and_cpus(void **state)
{
    (void)state;
    int64_t n = 0;
    assert_true(sw_parse_bytes("64m", &n) && n == 64 << 20);
    assert_true(sw_parse_bytes("1.5GiB", &n) && n == 3LL << 29);
    assert_true(sw_parse_bytes("100", &n) && n == 100);
    assert_false(sw_parse_bytes("1q", &n));
    assert_false(sw_parse_bytes("-1", &n));
    assert_true(sw_parse_cpus("0.5", &n) && n == 500000000);
    assert_true(sw_parse_cpus(".25", &n) && n == 250000000);
    assert_true(sw_parse_cpus("1/2", &n) && n == 500000000);
    assert_true(sw_parse_cpus("2", &n) && n == 2000000000);
    assert_false(sw_parse_cpus("1/3", &n));
    assert_false(sw_parse_cpus("0.0000000001", &n));
    assert_false(sw_parse_cpus("x", &n));
    char text[32];
    sw_format_bytes(64LL << 20, text, sizeof text);
    assert_string_equal(text, "64MiB");
    sw_format_bytes_decimal(4261550, text, sizeof text);
    assert_string_equal(text, "4.26MB");
    sw_format_bytes_decimal(INT64_MAX, text, sizeof text);
    assert_string_equal(text, "9.22e+06TB"); /* no larger unit */
}

static void test_human_durations(void **state)
{
    (void)state;
    static const struct {
        int64_t s;
        const char *text;
    } rows[] = { { 0, "Less than a second" }, { 1, "1 second" },         { 59, "59 seconds" },      { 60, "About a minute" },
                 { 125, "2 minutes" },        { 3600, "About an hour" }, { 5399, "About an hour" }, { 5400, "2 hours" },
                 { 3 * 86400, "3 days" },     { 15 * 86400, "2 weeks" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[64];
        sw_format_human_duration(rows[i].s * SW_NS_PER_S, text, sizeof text);
        assert_string_equal(text, rows[i].text);
    }
}

static void test_names(void **state)
{
    (void)state;
    assert_true(sw_service_name_valid("web-1_x"));
    assert_false(sw_service_name_valid("-web"));
    assert_false(sw_service_name_valid("web-"));
    assert_false(sw_service_name_valid("a.b"));
    assert_false(sw_service_name_valid(""));
    assert_true(sw_secret_name_valid("a.b"));
    Swarm__TaskState task_state;
    assert_true(sw_task_state_parse("running", &task_state));
    assert_int_equal(task_state, SWARM__TASK_STATE__TASK_RUNNING);
    assert_false(sw_task_state_parse("Running", &task_state));
}

static void test_unpack_refuses_what_is_not_clean(void **state)
{
    (void)state;
    struct sw_err err;
    Swarm__Pair pair = SWARM__PAIR__INIT;
    char key[] = "k", bad[] = "a\x01", half[] = "\xc3";
    pair.key = key;
    SW_AUTO_BUF buf = { 0 };
    sw_pb_pack(&pair, &buf);
    Swarm__Pair *back = sw_pb_unpack(&swarm__pair__descriptor, buf.data, buf.len, 100, &err);
    assert_non_null(back);
    sw_pb_free(back);
    assert_null(sw_pb_unpack(&swarm__pair__descriptor, buf.data, buf.len, 2, &err));
    assert_int_equal(err.code, SW_LIMIT);
    assert_null(sw_pb_unpack(&swarm__pair__descriptor, buf.data, buf.len - 1, 100, &err));
    assert_int_equal(err.code, SW_CORRUPT);
    sw_buf_add(&buf, "\x7a\x01z", 3); /* field 15: unknown */
    assert_null(sw_pb_unpack(&swarm__pair__descriptor, buf.data, buf.len, 100, &err));
    char *const texts[] = { bad, half };
    for (size_t i = 0; i < 2; i++) {
        pair.value = texts[i];
        sw_buf_reset(&buf);
        sw_pb_pack(&pair, &buf);
        assert_null(sw_pb_unpack(&swarm__pair__descriptor, buf.data, buf.len, 100, &err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrap_adds_context_in_front),
        cmocka_unit_test(test_wrap_never_overflows),
        cmocka_unit_test(test_ids_replay_from_their_seed),
        cmocka_unit_test(test_base36_round_trip),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes_and_cpus),
        cmocka_unit_test(test_human_durations),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_unpack_refuses_what_is_not_clean),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
