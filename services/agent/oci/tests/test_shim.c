/* The shim's log writer and its settings. */
#include "services/agent/oci/shim/shim.h"

#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/oci-shim-XXXXXX";

static int fresh(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/oci-shim-XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int clean(void **state)
{
    static const char *const names[] = { "json.log", "json.log.1", "json.log.2", "shim.conf" };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    return rmdir(dir);
}

/* The lines of a log file, parsed; NULL when there is none. */
static json_t *lines_of(const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return NULL;
    json_t *lines = json_array();
    for (json_t *line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL); line != NULL;
         line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL))
        (void)json_array_append_new(lines, line);
    (void)fclose(file);
    return lines;
}

static const char *text_of(json_t *lines, size_t i)
{
    return json_string_value(json_object_get(json_array_get(lines, i), "log"));
}

static void writes_lines(void **state)
{
    (void)state;
    static struct shim_log log;
    static char big[SHIM_LINE_MAX + 10];
    memset(big, 'x', sizeof big);
    shim_log_open(&log, dir, 1 << 20, 3);
    shim_log_write(&log, 0, "one\ntw", 6);
    shim_log_write(&log, 1, "err\n", 4);
    shim_log_write(&log, 0, "o\n", 2);
    shim_log_write(&log, 0,
                   "q\"b\\t\tc\x01u\xc3\xa4"
                   "bad\xff\n",
                   16);
    shim_log_write(&log, 0, big, sizeof big);
    shim_log_close(&log);
    json_t *lines = lines_of("json.log");
    assert_int_equal(json_array_size(lines), 6);
    assert_string_equal(text_of(lines, 0), "one\n");
    assert_string_equal(text_of(lines, 1), "err\n");
    assert_string_equal(json_string_value(json_object_get(json_array_get(lines, 1), "stream")), "stderr");
    assert_string_equal(text_of(lines, 2), "two\n");
    assert_string_equal(text_of(lines, 3), "q\"b\\t\tc\x01u\xc3\xa4"
                                           "bad\xef\xbf\xbd\n");
    assert_int_equal(strlen(text_of(lines, 4)), SHIM_LINE_MAX);
    assert_int_equal(strlen(text_of(lines, 5)), 10);
    json_decref(lines);
}

static void rotates(void **state)
{
    (void)state;
    static struct shim_log log;
    shim_log_open(&log, dir, 1000, 3);
    for (int i = 0; i < 100; i++) {
        char line[16];
        int len = snprintf(line, sizeof line, "line %d\n", i);
        shim_log_write(&log, 0, line, (size_t)len);
    }
    shim_log_close(&log);
    json_t *last = lines_of("json.log"), *old = lines_of("json.log.2");
    assert_non_null(old);
    assert_null(lines_of("json.log.3"));
    assert_string_equal(text_of(last, json_array_size(last) - 1), "line 99\n");
    json_decref(last);
    json_decref(old);
}

static int load(const char *text, struct shim_conf *conf, char *error)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/shim.conf", dir);
    FILE *file = fopen(path, "we");
    (void)fputs(text, file);
    (void)fclose(file);
    return shim_conf_load(path, conf, error);
}

static void settings(void **state)
{
    (void)state;
    struct shim_conf conf;
    char error[SHIM_ERROR_MAX];
    assert_int_equal(
        load("id a\nruntime /r\nruntime_root /rr\nlayer /x y\nlayer /z\nlog_size_max 9\ntty 1\nhide /h\n", &conf, error), 0);
    assert_string_equal(conf.layers[0], "/x y");
    assert_int_equal(conf.layer_count, 2);
    assert_int_equal(conf.log_size_max, 9);
    assert_true(conf.tty);
    free(conf.text);
    static const char *const bad[] = { "id a\n", "nonsense 1\n", "id\n", "hide a\nhide a\nhide a\nhide a\nhide a\n" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(load(bad[i], &conf, error), -1);
        free(conf.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_lines, fresh, clean),
        cmocka_unit_test_setup_teardown(rotates, fresh, clean),
        cmocka_unit_test_setup_teardown(settings, fresh, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
