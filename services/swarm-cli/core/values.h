/* values - the little languages inside flag values, turned into protocol messages. Source: cli-surface 14.
 *
 * Memory   heap messages as protobuf-c makes them; the caller owns what it gets (sw_pb_free). Lists grow by one append.
 * Errors   SW_INVALID with the reason only: the flag parser or the command says which flag.
 * Limits   a csv record has at most VALUES_FIELDS_MAX fields; a port range VALUES_RANGE_MAX ports.
 */
#ifndef CLI_VALUES_H
#define CLI_VALUES_H

#include "common/base/err.h"
#include "common/base/pb.h"
#include "proto/types.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

#define VALUES_FIELDS_MAX 64
#define VALUES_RANGE_MAX 1000

/* Append a pointer to a repeated field: values_push(&spec->env, &spec->n_env, text). */
#define values_push(list, count, item) values_push_any((void ***)(list), (count), (item))
void values_push_any(void ***list, size_t *count, void *item);
/* Take item i out of a repeated field; the caller frees it. */
#define values_remove(list, count, at) values_remove_any((void **)(list), (count), (at))
void *values_remove_any(void **list, size_t *count, size_t at);
void values_strings_clear(char ***list, size_t *count);
bool values_has(char *const *list, size_t count, const char *text);

/* One record of comma-separated fields, RFC quoting; fields are heap. */
struct values_csv {
    char *fields[VALUES_FIELDS_MAX];
    size_t count;
};
int values_csv_parse(const char *text, struct values_csv *ret, struct sw_err *err);
void values_csv_deinit(struct values_csv *csv);

/* "k=v", "k=" or "k". */
int values_pair(const char *text, Swarm__Pair **ret, struct sw_err *err);
/* Set a key in a list of pairs: replaced in place, else appended. */
void values_pair_set(Swarm__Pair ***list, size_t *count, const char *key, const char *value);
bool values_pair_unset(Swarm__Pair ***list, size_t *count, const char *key);

int values_mount(const char *text, Swarm__Mount **ret, struct sw_err *err);
/* Appends one port or, for ranges, many. */
int values_publish(const char *text, Swarm__PortConfig ***list, size_t *count, struct sw_err *err);
int values_ulimit(const char *text, Swarm__Ulimit **ret, struct sw_err *err);
/* "spread=node.labels.rack" to "node.labels.rack" (points into text). */
int values_preference(const char *text, const char **ret, struct sw_err *err);
/* Shell-like words: quotes and backslashes. Appended. */
int values_words(const char *text, char ***list, size_t *count, struct sw_err *err);
/* "net_admin" to "CAP_NET_ADMIN"; heap. */
char *values_capability(const char *text);
/* Adds ":latest" when there is neither tag nor digest; SW_INVALID if it is no image reference. Heap. */
int values_image(const char *text, char **ret, struct sw_err *err);

/* "name:IP" or "name=IP", the address perhaps in brackets, to "IP name" as it is stored; heap. */
int values_host(const char *text, char **ret, struct sw_err *err);

/* The same as flag checks. */
int values_check_pair(const char *text, struct sw_err *err);
int values_check_mount(const char *text, struct sw_err *err);
int values_check_publish(const char *text, struct sw_err *err);
int values_check_ulimit(const char *text, struct sw_err *err);
int values_check_preference(const char *text, struct sw_err *err);
int values_check_ratio(const char *text, struct sw_err *err);
int values_check_filter(const char *text, struct sw_err *err);
int values_check_env(const char *text, struct sw_err *err);
int values_check_sysctl(const char *text, struct sw_err *err);
int values_check_host(const char *text, struct sw_err *err);
int values_check_ip(const char *text, struct sw_err *err);
int values_check_word(const char *text, struct sw_err *err); /* not empty, no blanks */

#endif
