/* control - the control API's sockets: tcp and ipc <run>/control.sock, CURVE under the cluster root's key, one message table.
 *
 * Who      administrators and manager nodes may use the API; any key may ask to join (JoinRequest), at a limited rate.
 * Answers  reads come from the mirror, while this manager leads; writes are proposed and answered when they are applied, which
 *          is after the sync. The rules are core/control.h; streams are io/streams.h.
 */
#ifndef MANAGER_CONTROL_IO_H
#define MANAGER_CONTROL_IO_H

#include "services/manager-raft/io/ca.h"
#include "services/manager-raft/io/raftd.h"
#include "services/manager-raft/io/streams.h"

struct control_api;
struct control_api_spec {
    struct svc *svc;
    struct bus *bus;
    const struct mirror *mirror;
    const struct ca *ca;
    struct raftd *raftd;
    struct streams *streams;
    const char *node_id;
    const char *listen; /* "IP:PORT"; NULL = only the local socket */
};
int control_api_open(const struct control_api_spec *spec, struct control_api **ret_api, struct sw_err *err);
void control_api_close(struct control_api *api); /* NULL is fine */
void control_api_set_leader(struct control_api *api, const char *leader_id);
unsigned control_api_port(const struct control_api *api); /* of the tcp socket, 0 if there is none */

#endif
