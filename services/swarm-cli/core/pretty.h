/* pretty - objects for people: `inspect --pretty`, `info`. Source: cli-surface N2, SI1, IN1.
 *
 * Input    the JSON of objects.c, so that what is printed can't differ from what inspect shows.
 */
#ifndef CLI_PRETTY_H
#define CLI_PRETTY_H

#include "common/base/buf.h"

#include <jansson.h>

void pretty_service(const json_t *service, struct sw_buf *out);
void pretty_node(const json_t *node, struct sw_buf *out);
void pretty_info(const json_t *info, struct sw_buf *out);

#endif
