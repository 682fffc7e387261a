#include "services/manager-raft/io/join.h"

#include <stdlib.h>

/* A join whose node is proposed; freed when it is applied or refused. */
struct waiting {
    struct join *join;
    struct bus_sender sender;
    Swarm__JoinReply *reply;
};

static void answer(const struct join *join, const struct bus_sender *to, const Swarm__JoinReply *reply, const struct sw_err *err)
{
    if (join->answer != NULL)
        join->answer(to, reply, err);
    else if (err != NULL)
        (void)bus_reply_error(to, err);
    else
        (void)bus_reply(to, reply);
}

static void on_applied(void *arg, uint64_t index, const struct apply_result *result, const struct sw_err *err)
{
    struct waiting *waiting = arg;
    struct sw_err refused;
    (void)index;
    if (result != NULL && result->results[0]->code != 0) {
        int code = result->results[0]->code;
        const char *text = result->results[0]->error;
        (void)sw_fail(&refused, code > 0 && code <= SW_CODE_MAX ? (enum sw_code)code : SW_IO, "join: %s",
                      text != NULL ? text : sw_code_name(code));
        err = &refused;
    }
    waiting->join->pending--;
    answer(waiting->join, &waiting->sender, err == NULL ? waiting->reply : NULL, err);
    sw_pb_free(waiting->reply);
    free(waiting);
}

int join_request(struct join *join, const struct bus_sender *sender, const Swarm__JoinRequest *request, int64_t now_ns,
                 struct sw_err *err)
{
    SW_AUTO(sw_pb_free) Swarm__StoreBatch *batch = NULL;
    SW_AUTO(sw_pb_free) Swarm__JoinReply *reply = NULL;
    if (join->pending >= JOIN_PENDING_MAX)
        return sw_fail(err, SW_LIMIT, "%u nodes are joining at this moment: try again", join->pending);
    if (ca_join(join->ca, join->mirror, request, sender->curve_key, now_ns, &batch, &reply, err) < 0)
        return -(int)err->code;
    if (batch == NULL) {
        answer(join, sender, reply, NULL);
        return 0;
    }
    struct waiting *waiting = sw_alloc0(sizeof *waiting);
    *waiting = (struct waiting) { .join = join, .sender = *sender, .reply = reply };
    join->pending++;
    if (join->propose(join->propose_arg, batch, on_applied, waiting, err) < 0) {
        join->pending--;
        free(waiting);
        return -(int)err->code;
    }
    (void)SW_TAKE(reply); /* waiting's now, or freed already */
    return 0;
}
