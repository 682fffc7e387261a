/* buf - a growable run of bytes, always NUL-terminated, so that it serves as a string too.
 *
 * Memory   heap; sw_buf_deinit() frees; a zeroed struct is an empty buffer. sw_buf_take() hands the memory out.
 * Errors   out of memory aborts: a daemon that cannot get a few bytes can keep no promise (its supervisor restarts it).
 */
#ifndef SW_BUF_H
#define SW_BUF_H

#include <stddef.h>

struct sw_buf {
    char *data; /* NULL while nothing was added */
    size_t len;
    size_t cap;
};

void sw_buf_add(struct sw_buf *buf, const void *data, size_t len);
void sw_buf_adds(struct sw_buf *buf, const char *text);
void sw_buf_addf(struct sw_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sw_buf_reserve(struct sw_buf *buf, size_t more);
void sw_buf_reset(struct sw_buf *buf); /* length 0, memory kept */
void sw_buf_deinit(struct sw_buf *buf);
char *sw_buf_take(struct sw_buf *buf);            /* never NULL; the caller frees; buf is empty after */
const char *sw_buf_str(const struct sw_buf *buf); /* never NULL */
#define SW_AUTO_BUF __attribute__((cleanup(sw_buf_deinit))) struct sw_buf

/* malloc family that aborts instead of returning NULL. */
void *sw_alloc0(size_t size);
void *sw_realloc_array(void *p, size_t count, size_t size);
char *sw_strdup(const char *text); /* NULL gives NULL */
char *sw_strf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
