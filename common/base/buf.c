#include "common/base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *sw_alloc0(size_t size)
{
    void *p = calloc(1, size != 0 ? size : 1);
    if (p == NULL)
        abort();
    return p;
}

void *sw_realloc_array(void *p, size_t count, size_t size)
{
    assert(size != 0 && count <= SIZE_MAX / size);
    void *moved = realloc(p, count * size != 0 ? count * size : 1);
    if (moved == NULL)
        abort();
    return moved;
}

char *sw_strdup(const char *text)
{
    if (text == NULL)
        return NULL;
    size_t size = strlen(text) + 1;
    return memcpy(sw_realloc_array(NULL, size, 1), text, size);
}

void sw_buf_reserve(struct sw_buf *buf, size_t more)
{
    assert(more < SIZE_MAX / 2 - buf->len);
    size_t need = buf->len + more + 1;
    if (need <= buf->cap)
        return;
    size_t cap = buf->cap < 32 ? 64 : buf->cap * 2;
    if (cap < need)
        cap = need;
    buf->data = sw_realloc_array(buf->data, cap, 1);
    buf->cap = cap;
}

void sw_buf_add(struct sw_buf *buf, const void *data, size_t len)
{
    sw_buf_reserve(buf, len);
    if (len != 0)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void sw_buf_adds(struct sw_buf *buf, const char *text)
{
    sw_buf_add(buf, text, strlen(text));
}

__attribute__((format(printf, 2, 0))) static void add_va(struct sw_buf *buf, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    assert(len >= 0);
    sw_buf_reserve(buf, (size_t)len);
    (void)vsnprintf(buf->data + buf->len, (size_t)len + 1, fmt, again);
    va_end(again);
    buf->len += (size_t)len;
}

void sw_buf_addf(struct sw_buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_va(buf, fmt, args);
    va_end(args);
}

char *sw_strf(const char *fmt, ...)
{
    struct sw_buf buf = { 0 };
    va_list args;
    va_start(args, fmt);
    add_va(&buf, fmt, args);
    va_end(args);
    return sw_buf_take(&buf);
}

void sw_buf_reset(struct sw_buf *buf)
{
    buf->len = 0;
    if (buf->data != NULL)
        buf->data[0] = '\0';
}

void sw_buf_deinit(struct sw_buf *buf)
{
    free(buf->data);
    *buf = (struct sw_buf) { 0 };
}

char *sw_buf_take(struct sw_buf *buf)
{
    sw_buf_reserve(buf, 0);
    buf->data[buf->len] = '\0';
    char *data = buf->data;
    *buf = (struct sw_buf) { 0 };
    return data;
}

const char *sw_buf_str(const struct sw_buf *buf)
{
    return buf->data != NULL ? buf->data : "";
}
