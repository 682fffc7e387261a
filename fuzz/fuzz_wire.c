/* What a peer may send on a socket: any head, any body, from any role. First byte: which row's name to use when the head does not
 * parse (so that bodies are reached), second: length of the head. What is accepted must survive being packed again. */
#include "common/bus/wire.h"
#include "proto/control.pb-c.h"
#include "proto/dispatch.pb-c.h"
#include "proto/node.pb-c.h"
#include "proto/raft.pb-c.h"
#include "proto/store.pb-c.h"

#include <stdlib.h>

#define ROW(type, senders)                                                                                                       \
    {                                                                                                                            \
        &swarm__##type##__descriptor, (senders), BUS_SIZE_MAX, NULL                                                              \
    }
static const struct bus_spec specs[] = {
    ROW(service_create_request, BUS_ADMIN), ROW(service_update_request, BUS_ADMIN), ROW(node_update_request, BUS_ADMIN),
    ROW(task_list_request, BUS_ADMIN),      ROW(logs_request, BUS_ADMIN),           ROW(cluster_update_request, BUS_ADMIN),
    ROW(join_request, BUS_JOINER),          ROW(bootstrap_request, BUS_LOCAL),      ROW(session_request, BUS_WORKER),
    ROW(task_reports, BUS_WORKER),          ROW(assignments, BUS_MANAGER),          ROW(log_message, BUS_WORKER),
    ROW(raft_message, BUS_MANAGER),         ROW(commit_request, BUS_LOCAL),         ROW(feed_changes, BUS_LOCAL),
    ROW(image_import_request, BUS_LOCAL),
};
#define ROWS (sizeof specs / sizeof specs[0])

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const void *body)
{
    SW_AUTO_BUF first = { 0 };
    struct sw_err err;
    const ProtobufCMessage *message = body;
    sw_pb_pack(body, &first);
    SW_AUTO(sw_pb_free) void *again = sw_pb_unpack(message->descriptor, first.data, first.len, BUS_SIZE_MAX * 2, &err);
    if (again == NULL || !sw_pb_equal(body, again))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_table table;
    struct sw_err err = { 0 };
    if (size < 2)
        return 0;
    size_t head_len = data[1] < size - 2 ? data[1] : size - 2;
    const uint8_t *body_data = data + 2 + head_len;
    size_t body_len = size - 2 - head_len;
    wire_table_init(&table, specs, ROWS);

    SW_AUTO(sw_pb_free) Swarm__Envelope *head = wire_head(data + 2, head_len, &err);
    const char *name = head != NULL ? head->name : specs[data[0] % ROWS].type->name;
    if (head != NULL && head->has_code)
        wire_head_error(head, &err);
    for (unsigned role = 0; role <= BUS_LOCAL; role = role == 0 ? 1 : role * 2) {
        const struct bus_spec *spec = NULL;
        SW_AUTO(sw_pb_free) void *body = NULL;
        if (wire_check(&table, role, name, body_data, body_len, &spec, &body, &err) < 0)
            continue;
        if (role != 0 && (spec->senders & role) == 0)
            abort();
        check_again(body);
    }
    sw_pb_text_clean(err.text);
    wire_table_deinit(&table);
    return 0;
}
