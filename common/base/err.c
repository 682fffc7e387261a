#include "common/base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int sw_fail(struct sw_err *err, enum sw_code code, const char *fmt, ...)
{
    assert(code > SW_OK && code <= SW_CODE_MAX);
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        err->code = code;
        (void)vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
    }
    return -(int)code;
}

int sw_wrap(struct sw_err *err, const char *fmt, ...)
{
    if (err == NULL)
        return -SW_IO;
    char head[SW_ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(head, sizeof head, fmt, args);
    va_end(args);
    char whole[2 * SW_ERR_TEXT_MAX + 2];
    (void)snprintf(whole, sizeof whole, "%s: %s", head, err->text);
    whole[SW_ERR_TEXT_MAX - 1] = '\0';
    memcpy(err->text, whole, strlen(whole) + 1);
    return -(int)err->code;
}

const char *sw_code_name(int code)
{
    static const char *const names[] = {
        [SW_OK] = "ok",
        [SW_INVALID] = "invalid",
        [SW_NOT_FOUND] = "not-found",
        [SW_EXISTS] = "exists",
        [SW_CONFLICT] = "conflict",
        [SW_PRECONDITION] = "precondition",
        [SW_DENIED] = "denied",
        [SW_LIMIT] = "limit",
        [SW_UNAVAILABLE] = "unavailable",
        [SW_TIMEOUT] = "timeout",
        [SW_IO] = "io",
        [SW_CORRUPT] = "corrupt",
        [SW_NOMEM] = "nomem",
        [SW_FENCED] = "fenced",
        [SW_UNSUPPORTED] = "unsupported",
    };
    return code >= 0 && code <= SW_CODE_MAX ? names[code] : "unknown";
}

void sw_free(void *p)
{
    free(p);
}

void sw_free_autop(void *p)
{
    free(*(void **)p);
}

void sw_close_autop(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}
