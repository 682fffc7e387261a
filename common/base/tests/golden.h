/* golden - a text a test made against the file that says what it should be; with UPDATE_TRACES in the environment the file is
 * rewritten first, and the difference is reviewed like code. */
#ifndef BASE_TESTS_GOLDEN_H
#define BASE_TESTS_GOLDEN_H

#include "common/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static inline void golden_check(const char *path, const struct sw_buf *have)
{
    SW_AUTO_BUF want = { 0 };
    char chunk[4096];
    if (getenv("UPDATE_TRACES") != NULL) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(have->data, 1, have->len, file), have->len);
        assert_int_equal(fclose(file), 0);
    }
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (size_t got = fread(chunk, 1, sizeof chunk, file); got > 0; got = fread(chunk, 1, sizeof chunk, file))
        sw_buf_add(&want, chunk, got);
    (void)fclose(file);
    if (strcmp(sw_buf_str(&want), sw_buf_str(have)) != 0)
        print_error("%s differs; this run gave:\n%s", path, sw_buf_str(have)); /* cmocka cuts long texts */
    assert_string_equal(sw_buf_str(have), sw_buf_str(&want));
}

#endif
