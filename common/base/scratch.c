#include "common/base/scratch.h"
#include "common/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *sw_scratch_alloc(struct sw_scratch *scratch, size_t size)
{
    if (scratch->count == scratch->cap) {
        scratch->cap = scratch->cap != 0 ? scratch->cap * 2 : 32;
        scratch->items = sw_realloc_array(scratch->items, scratch->cap, sizeof *scratch->items);
    }
    void *p = sw_alloc0(size != 0 ? size : 1);
    scratch->items[scratch->count++] = p;
    return p;
}

char *sw_scratch_strf(struct sw_scratch *scratch, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0)
        abort();
    char *text = sw_scratch_alloc(scratch, (size_t)len + 1);
    (void)vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    return text;
}

char *sw_scratch_str(struct sw_scratch *scratch, const char *text)
{
    if (text == NULL)
        return NULL;
    size_t len = strlen(text);
    return memcpy(sw_scratch_alloc(scratch, len + 1), text, len + 1);
}

void sw_scratch_reset(struct sw_scratch *scratch)
{
    for (size_t i = 0; i < scratch->count; i++)
        free(scratch->items[i]);
    scratch->count = 0;
}

void sw_scratch_deinit(struct sw_scratch *scratch)
{
    sw_scratch_reset(scratch);
    free(scratch->items);
    memset(scratch, 0, sizeof *scratch);
}
