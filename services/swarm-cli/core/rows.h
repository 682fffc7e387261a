/* rows - the lists' rows, from what the control API answers: one json object a row for table_print(). Source: cli-surface 4, 7.
 *
 * Time     now_ns is the client's clock, for "3 minutes ago".
 * Memory   new references.
 */
#ifndef CLI_ROWS_H
#define CLI_ROWS_H

#include "proto/control.pb-c.h"
#include "proto/node.pb-c.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct rows_task_options {
    bool no_trunc;
    bool no_resolve;
    bool full_ids; /* -q prints them whole */
    int64_t now_ns;
};

json_t *rows_services(const Swarm__ServiceListReply *reply);
/* Sorted by name, newest first within one; older ones of a slot get the prefix " \_ ". Tasks may come from several replies. */
json_t *rows_tasks(Swarm__Task *const *tasks, size_t count, Swarm__Node *const *nodes, size_t node_count,
                   const struct rows_task_options *options);
json_t *rows_nodes(const Swarm__NodeListReply *reply);
/* Digests shown short unless no_trunc. */
json_t *rows_images(const Swarm__ImageListReply *reply, bool no_trunc, int64_t now_ns);

/* "3 minutes ago", "About a minute ago". */
void rows_ago(int64_t then_ns, int64_t now_ns, char *ret, size_t size);
/* "*:9000-9001->9000-9001/udp, *:8080->80/tcp": ports of one publish mode, runs merged. Heap. */
char *rows_ports(Swarm__PortConfig *const *ports, size_t count, Swarm__PublishMode mode);
/* Without the digest if a tag is there, without docker.io/library/. Heap. */
char *rows_image_name(const char *image);

#endif
