/* err - the three kinds of wrong: bugs assert, failures fill a struct sw_err, answers are the module's own enum.
 *
 * A failure is a negative return (-SW_...) with the reason in the caller's struct sw_err: nothing to free, one line of
 * text, context added in front by sw_wrap() on the way up ("start dispatcher: open store '/x': No such file").
 * Libraries and cores never log. The codes also travel in Envelope.code (as positive numbers): never renumber them.
 */
#ifndef SW_ERR_H
#define SW_ERR_H

#include <stddef.h>

enum sw_code {
    SW_OK = 0,
    SW_INVALID = 1, /* bad input: names the field and the bound */
    SW_NOT_FOUND = 2,
    SW_EXISTS = 3,       /* name or id taken */
    SW_CONFLICT = 4,     /* "update out of sequence" */
    SW_PRECONDITION = 5, /* state forbids it */
    SW_DENIED = 6,       /* role or identity */
    SW_LIMIT = 7,        /* a bound was reached */
    SW_UNAVAILABLE = 8,  /* try again later: no leader, no connection */
    SW_TIMEOUT = 9,
    SW_IO = 10,
    SW_CORRUPT = 11, /* bytes that do not parse or do not verify */
    SW_NOMEM = 12,
    SW_FENCED = 13, /* written under a term that is over */
    SW_UNSUPPORTED = 14,
    SW_CODE_MAX = 14
};

#define SW_ERR_TEXT_MAX 512

struct sw_err {
    enum sw_code code;
    char text[SW_ERR_TEXT_MAX];
};

/* Fill *err (which may be NULL) and return -code. */
int sw_fail(struct sw_err *err, enum sw_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Put "fmt: " in front of err->text; returns -err->code (-SW_IO when err is NULL). */
int sw_wrap(struct sw_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Lower-case word for a code, for logs and metrics: "not-found". Never NULL. */
const char *sw_code_name(int code);

/* Ownership: SW_AUTO(free_fn) on a local that starts NULL; SW_TAKE(p) hands it out and leaves NULL.
 * SW_AUTO calls <fn>_autop, which SW_AUTO_DEFINE(type, fn) makes from a plain free function. */
#define SW_AUTO(fn) __attribute__((cleanup(fn##_autop)))
#define SW_AUTO_DEFINE(type, fn)                                                                                                 \
    static inline void fn##_autop(type **p)                                                                                      \
    {                                                                                                                            \
        if (*p != NULL)                                                                                                          \
            fn(*p);                                                                                                              \
    }                                                                                                                            \
    _Static_assert(1, "takes a semicolon")
#define SW_TAKE(p)                                                                                                               \
    __extension__({                                                                                                              \
        __typeof__(p) took = (p);                                                                                                \
        (p) = NULL;                                                                                                              \
        took;                                                                                                                    \
    })
void sw_free(void *p);
void sw_free_autop(void *p);  /* for any pointer got from malloc: SW_AUTO(sw_free) char *text = NULL; */
void sw_close_autop(int *fd); /* SW_AUTO(sw_close) int fd = -1; */

#endif
