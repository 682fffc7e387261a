/* Any text as a template over a fixed value: it works or fails with one line, within its limits. */
#include "common/template/template.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char data_text[] = "{\"Service\":{\"Name\":\"web\",\"Labels\":{\"a\":\"b\"}},\"N\":3,\"List\":[1,\"two\",null]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct template_options options = { .output_max = 4096 };
    struct sw_err err = { 0 };
    char *text = sw_alloc0(size + 1);
    char *made = NULL;
    json_t *value = json_loads(data_text, 0, NULL);
    memcpy(text, data, size);
    if (template_expand(text, &options, value, &made, &err) < 0 && err.text[0] == '\0')
        abort();
    free(made);
    free(text);
    json_decref(value);
    return 0;
}
