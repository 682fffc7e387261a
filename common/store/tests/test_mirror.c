#include "common/store/tests/objects.h"

#include "common/base/id.h"
#include "common/store/mirror.h"
#include "common/store/omap.h"

/* An omap against the plainest possible map: an array of all keys. */
static void omap_matches_a_plain_array(void **state)
{
    (void)state;
    struct sw_rng rng;
    sw_rng_seed(&rng, 7);
    struct omap map = { 0 };
    static char keys[512][8];
    static bool there[512];
    for (int i = 0; i < 512; i++)
        (void)snprintf(keys[i], sizeof keys[i], "k%03d", i);
    for (int step = 0; step < 20000; step++) {
        size_t i = (size_t)sw_rng_below(&rng, 512);
        if (sw_rng_below(&rng, 2) == 0) {
            assert_ptr_equal(omap_put(&map, keys[i], keys[i]), there[i] ? keys[i] : NULL);
            there[i] = true;
        } else {
            assert_ptr_equal(omap_del(&map, keys[i]), there[i] ? keys[i] : NULL);
            there[i] = false;
        }
        size_t after = i + 1;
        while (after < 512 && !there[after])
            after++;
        assert_ptr_equal(omap_after(&map, keys[i], NULL), after < 512 ? keys[after] : NULL);
        assert_ptr_equal(omap_get(&map, keys[i]), there[i] ? keys[i] : NULL);
    }
    size_t count = 0;
    for (size_t i = 0; i < 512; i++)
        count += there[i];
    assert_int_equal(map.count, count);
    omap_clear(&map, NULL);
    assert_null(omap_from(&map, "", NULL));
}

static void tasks_are_listed_by_slot_and_node(void **state)
{
    (void)state;
    struct mirror *mirror = mirror_new();
    mirror_put(mirror, T_TASK, test_task("c", "s", 2, "n1"));
    mirror_put(mirror, T_TASK, test_task("b", "s", 10, "n1"));
    mirror_put(mirror, T_TASK, test_task("a", "s", 10, "n2"));
    struct mirror_tasks tasks = mirror_tasks_of_service(mirror, "s");
    assert_int_equal(tasks.count, 3);
    assert_string_equal(tasks.items[0]->id, "c");
    assert_string_equal(tasks.items[1]->id, "a");
    assert_string_equal(tasks.items[2]->id, "b");
    tasks = mirror_tasks_of_node(mirror, "n1");
    assert_int_equal(tasks.count, 2);
    assert_string_equal(tasks.items[0]->id, "b");
    mirror_put(mirror, T_TASK, test_task("b", "s", 1, "n2")); /* moved */
    assert_int_equal(mirror_tasks_of_node(mirror, "n1").count, 1);
    assert_int_equal(mirror_tasks_of_node(mirror, "n2").count, 2);
    assert_string_equal(mirror_tasks_of_service(mirror, "s").items[0]->id, "b");
    mirror_remove(mirror, T_TASK, "a");
    mirror_remove(mirror, T_TASK, "b");
    mirror_remove(mirror, T_TASK, "c");
    assert_int_equal(mirror_tasks_of_service(mirror, "s").count, 0);
    assert_int_equal(mirror_count(mirror, T_TASK), 0);
    mirror_free(mirror);
}

static void names_and_keys_are_found(void **state)
{
    (void)state;
    struct mirror *mirror = mirror_new();
    mirror_put(mirror, T_SERVICE, test_service("1", "Web"));
    mirror_put(mirror, T_SERVICE, test_service("2", "web2"));
    assert_string_equal(store_object_id(mirror_by_name(mirror, T_SERVICE, "wEB")), "1");
    assert_null(mirror_by_name(mirror, T_SERVICE, "we"));
    mirror_put(mirror, T_SERVICE, test_service("1", "api"));
    assert_null(mirror_by_name(mirror, T_SERVICE, "web"));
    uint8_t key[32] = { 1, 2, 3 };
    Swarm__Node *node = test_node("n1", "host");
    node->has_curve_key = true;
    node->curve_key = sw_pb_bytes(key, sizeof key);
    mirror_put(mirror, T_NODE, node);
    mirror_put(mirror, T_NODE, test_node("n0", "HOST"));
    assert_ptr_equal(mirror_node_by_key(mirror, key), mirror_node(mirror, "n1"));
    assert_string_equal(store_object_id(mirror_by_name(mirror, T_NODE, "host")), "n0");
    mirror_remove(mirror, T_NODE, "n1");
    assert_null(mirror_node_by_key(mirror, key));
    mirror_free(mirror);
}

static void a_bad_record_changes_nothing(void **state)
{
    (void)state;
    struct mirror *mirror = mirror_new();
    uint8_t junk[] = { 0xff, 0xff, 0xff };
    Swarm__FeedChange change = SWARM__FEED_CHANGE__INIT;
    change.kind = A_UPDATE;
    change.table = T_TASK;
    change.id = (char[]) { "x" };
    change.has_record = true;
    change.record = (ProtobufCBinaryData) { sizeof junk, junk };
    struct sw_err err;
    assert_int_equal(mirror_change(mirror, &change, &err), -SW_CORRUPT);
    change.table = (Swarm__Table)99;
    assert_int_equal(mirror_change(mirror, &change, &err), -SW_CORRUPT);
    assert_int_equal(mirror_count(mirror, T_TASK), 0);
    mirror_free(mirror);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(omap_matches_a_plain_array),
        cmocka_unit_test(tasks_are_listed_by_slot_and_node),
        cmocka_unit_test(names_and_keys_are_found),
        cmocka_unit_test(a_bad_record_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
