/* scratch - memory that lives for one step of a core: messages and texts that effects point to.
 *
 * Use      allocate while handling an event; the caller of the step reads the effects; the next step begins with a reset.
 * Memory   heap; a zeroed struct is empty. Nothing is freed one by one.
 */
#ifndef SW_SCRATCH_H
#define SW_SCRATCH_H

#include <stddef.h>

struct sw_scratch {
    void **items;
    size_t count;
    size_t cap;
};

void *sw_scratch_alloc(struct sw_scratch *scratch, size_t size); /* zeroed; never NULL */
char *sw_scratch_strf(struct sw_scratch *scratch, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *sw_scratch_str(struct sw_scratch *scratch, const char *text); /* NULL gives NULL */
void sw_scratch_reset(struct sw_scratch *scratch);
void sw_scratch_deinit(struct sw_scratch *scratch);

#endif
