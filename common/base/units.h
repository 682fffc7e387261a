/* units - durations, sizes and CPU counts as people type and read them. Source: cli-surface G7 and T5 (Go syntax).
 *
 * Parsers return false and leave *ret alone if the text does not fit. Formatters write at most `size` bytes with a NUL.
 */
#ifndef SW_UNITS_H
#define SW_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SW_NS_PER_MS INT64_C(1000000)
#define SW_NS_PER_S INT64_C(1000000000)

/* "300ms", "1.5h", "2h45m"; "0" alone is allowed, other bare numbers are not. May be negative. Nanoseconds. */
bool sw_parse_duration(const char *text, int64_t *ret_ns);
/* "64m", "1.5GiB", "100": powers of 1024. Bytes. */
bool sw_parse_bytes(const char *text, int64_t *ret_bytes);
/* "0.5", ".25", "1/2": CPUs to nano-CPUs, exact or refused. */
bool sw_parse_cpus(const char *text, int64_t *ret_nano);
bool sw_parse_u64(const char *text, uint64_t *ret);
bool sw_parse_i64(const char *text, int64_t *ret);

/* "1m30s", "500ms", "0s" (Go's form). */
void sw_format_duration(int64_t ns, char *ret, size_t size);
/* "Less than a second", "About a minute", "3 weeks" (Docker's form). */
void sw_format_human_duration(int64_t ns, char *ret, size_t size);
/* "1.941GiB", four significant digits. */
void sw_format_bytes(int64_t bytes, char *ret, size_t size);
/* "4.26MB": powers of 1000, three digits, as image lists have it. */
void sw_format_bytes_decimal(int64_t bytes, char *ret, size_t size);

#endif
