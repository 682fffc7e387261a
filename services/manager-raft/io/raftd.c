#include "services/manager-raft/io/raftd.h"

#include "services/manager-raft/io/raft_links.h"
#include "services/manager-raft/io/raft_log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PROPOSAL_MAX (1536u << 10)
#define PROPOSALS_MAX 4096
#define KEEP_ENTRIES 500 /* for members that lag, behind what is applied */
#define KEEP_BYTES (16u << 20)
#define TRIM_STEP 64           /* entries dropped at once: pages come back in small portions */
#define APPLY_ENTRIES_MAX 4096 /* a transaction */

struct proposal {
    uint64_t index; /* 0: not yet in the log */
    uint64_t term;
    int64_t since_ns;
    struct raft_blob *blob;
    raftd_done_fn *fn;
    void *arg;
};
struct read {
    uint64_t context;
    uint64_t index; /* 0: not yet answered by the core */
    raftd_read_fn *fn;
    void *arg;
};

struct raftd {
    struct raftd_spec spec;
    char *node_id, *raft_address;
    struct raft_log *log;
    struct raft_links *links; /* NULL until this node is a member */
    struct raft *core;        /* NULL until this node is a member */
    struct svc_timer *deadline, *turn;
    bool failed;

    /* what the core asked for and no transaction has covered yet */
    uint64_t persist_seq, persisted_seq, dirty_from, commit;

    struct proposal *proposals; /* a ring, oldest first: those in the log, then those queued */
    size_t head, count, queued;
    struct read *reads;
    size_t read_count, read_cap;
    uint64_t read_next;

    struct {
        uint64_t term;
        bool leader, said;
        uint64_t leader_raft_id;
        char leader_id[64];
    } told;
    struct {
        double *term, *leader, *commit, *applied, *entries, *bytes, *members, *waiting;
        double *proposals, *failed, *written, *syncs;
        struct svc_histogram *commit_s, *sync_s;
    } metrics;
};
SW_AUTO_DEFINE(struct raftd, raftd_close);
SW_AUTO_DEFINE(MDB_txn, mdb_txn_abort);

static void links_refresh(struct raftd *raftd);

/* For histograms only; a wall clock that is set back gives one odd sample. */
static double seconds_since(int64_t start_ns)
{
    int64_t past = svc_wall_ns() - start_ns;
    return past > 0 ? (double)past / 1e9 : 0;
}

/* ---- proposals and reads that wait ---- */

static struct proposal *proposal_at(struct raftd *raftd, size_t i)
{
    return &raftd->proposals[(raftd->head + i) % PROPOSALS_MAX];
}

/* The oldest is answered; its place is free before its function runs, which may propose again. */
static void proposal_end(struct raftd *raftd, const struct apply_result *result, const struct sw_err *err)
{
    struct proposal done = *proposal_at(raftd, 0);
    raftd->head = (raftd->head + 1) % PROPOSALS_MAX;
    raftd->count--;
    raftd->queued -= done.index == 0 ? 1 : 0;
    raft_blob_unref(done.blob);
    if (err != NULL)
        ++*raftd->metrics.failed;
    else
        svc_observe(raftd->metrics.commit_s, seconds_since(done.since_ns));
    done.fn(done.arg, done.index, result, err);
}

/* Only those there are now: what the functions propose again is for the new leader to refuse. */
static void proposals_fail(struct raftd *raftd, enum sw_code code, const char *why)
{
    struct sw_err err;
    (void)sw_fail(&err, code, "%s", why);
    for (size_t left = raftd->count; left > 0; left--)
        proposal_end(raftd, NULL, &err);
}

static void read_end(struct raftd *raftd, size_t at, const struct sw_err *err)
{
    struct read done = raftd->reads[at];
    raftd->read_count--;
    memmove(&raftd->reads[at], &raftd->reads[at + 1], (raftd->read_count - at) * sizeof *raftd->reads);
    done.fn(done.arg, err);
}

static void on_read_answer(struct raftd *raftd, const struct raft_effect *effect)
{
    for (size_t i = 0; i < raftd->read_count; i++) {
        if (raftd->reads[i].context != effect->context)
            continue;
        struct sw_err err;
        raftd->reads[i].index = effect->index;
        if (!effect->ok) {
            (void)sw_fail(&err, SW_UNAVAILABLE, "this manager lost leadership");
            read_end(raftd, i, &err);
        }
        return;
    }
}

static void reads_ready(struct raftd *raftd)
{
    uint64_t applied = store_applied(raftd->spec.store);
    for (size_t i = 0; i < raftd->read_count;) {
        const struct read *read = &raftd->reads[i];
        if (read->index != 0 && read->index <= applied)
            read_end(raftd, i, NULL);
        else
            i++;
    }
}

/* ---- the core ---- */

static void turn_soon(struct raftd *raftd)
{
    svc_timer_at(raftd->turn, svc_mono_ms());
}

static void send_msg(struct raftd *raftd, const struct raft_msg *msg);

static void perform(struct raftd *raftd, const struct raft_effect *effect)
{
    switch (effect->type) {
    case RAFT_DO_PERSIST:
        raftd->persist_seq = effect->seq;
        if (effect->index != 0 && (raftd->dirty_from == 0 || effect->index < raftd->dirty_from))
            raftd->dirty_from = effect->index;
        turn_soon(raftd);
        break;
    case RAFT_DO_SEND:
        send_msg(raftd, &effect->msg);
        break;
    case RAFT_DO_COMMIT:
        raftd->commit = effect->index;
        turn_soon(raftd);
        break;
    case RAFT_DO_STATUS:
        svc_log(SVC_INFO, "raft status", "role=%s term=%" PRIu64 " leader=%" PRIx64, raft_role_name(effect->role), effect->term,
                effect->leader);
        turn_soon(raftd);
        break;
    case RAFT_DO_READ:
        on_read_answer(raftd, effect);
        turn_soon(raftd);
        break;
    case RAFT_DO_TRANSFER:
        svc_log(SVC_INFO, "raft leadership transfer", "to=%" PRIx64 " ok=%d", effect->peer, effect->ok);
        turn_soon(raftd);
        break;
    case RAFT_DO_SNAPSHOT:
        svc_log(SVC_ERROR, "raft member is too far behind for the log", "member=%" PRIx64 " first=%" PRIu64, effect->peer,
                raft_tail(raftd->core)->base_index + 1);
        break;
    case RAFT_DO_CONFIG:
        turn_soon(raftd);
        links_refresh(raftd);
        break;
    }
}

/* Steps the core without performing anything; the update is good until the next step. */
static enum raft_result step_only(struct raftd *raftd, struct raft_event event, struct raft_update *ret_update)
{
    event.now_ms = svc_mono_ms();
    enum raft_result result = raft_step(raftd->core, &event, ret_update);
    if (ret_update->deadline_ms == RAFT_NEVER)
        svc_timer_off(raftd->deadline);
    else
        svc_timer_at(raftd->deadline, ret_update->deadline_ms);
    return result;
}

/* Effects live in the core until its next step, and performing one may lead there: so from a copy. Entries of messages are sent
 * (packed) before anything else happens. */
static void perform_all(struct raftd *raftd, const struct raft_update *update)
{
    struct raft_effect few[16];
    SW_AUTO(sw_free) struct raft_effect *many = NULL;
    struct raft_effect *effects = few;
    if (update->count > sizeof few / sizeof few[0])
        effects = many = sw_realloc_array(NULL, update->count, sizeof *many);
    memcpy(effects, update->effects, update->count * sizeof *effects);
    for (size_t i = 0; i < update->count; i++) {
        if (effects[i].type == RAFT_DO_SEND)
            perform(raftd, &effects[i]);
    }
    for (size_t i = 0; i < update->count; i++) {
        if (effects[i].type != RAFT_DO_SEND)
            perform(raftd, &effects[i]);
    }
}

static enum raft_result step(struct raftd *raftd, struct raft_event event, uint64_t *ret_index)
{
    struct raft_update update;
    if (raftd->failed || raftd->core == NULL)
        return RAFT_E_NOT_LEADER;
    enum raft_result result = step_only(raftd, event, &update);
    if (ret_index != NULL)
        *ret_index = update.index;
    perform_all(raftd, &update);
    return result;
}

/* A message that can't go out is lost, as on any network; the core finds out by the answer that doesn't come. */
static void send_msg(struct raftd *raftd, const struct raft_msg *msg)
{
    if (raftd->links != NULL)
        (void)raft_links_send(raftd->links, msg);
}

static void on_message(void *arg, const struct raft_msg *msg)
{
    (void)step(arg, (struct raft_event) { .type = RAFT_EV_MESSAGE, .msg = msg }, NULL);
}

static void on_link_lost(void *arg, uint64_t raft_id)
{
    (void)step(arg, (struct raft_event) { .type = RAFT_EV_UNREACHABLE, .peer = raft_id }, NULL);
}

static void on_deadline(void *arg)
{
    (void)step(arg, (struct raft_event) { .type = RAFT_EV_TICK }, NULL);
}

static Swarm__RaftConfig *config_message(const struct raftd *raftd)
{
    const struct raft_blob *blob = raftd->core != NULL ? raft_config_blob(raftd->core) : NULL;
    if (blob == NULL)
        return NULL;
    return sw_pb_unpack(&swarm__raft_config__descriptor, blob->data, blob->len, RAFT_CONFIG_SIZE_MAX, NULL);
}

static void links_refresh(struct raftd *raftd)
{
    SW_AUTO(sw_pb_free) Swarm__RaftConfig *config = config_message(raftd);
    if (config != NULL && raftd->links != NULL)
        raft_links_update(raftd->links, config);
}

void raftd_addresses_changed(struct raftd *raftd)
{
    links_refresh(raftd);
}

/* ---- one turn ---- */

static void fail(struct raftd *raftd, const struct sw_err *err)
{
    svc_log(SVC_ERROR, "raft cannot write: this manager stops", "err=\"%s\"", err->text);
    raftd->failed = true;
    SW_AUTO(sw_free) char *why = sw_strf("this manager cannot write its log: %s", err->text);
    proposals_fail(raftd, SW_IO, why);
    svc_quit(raftd->spec.svc, 1);
}

/* All that was proposed since the last turn, as one event: one message to each follower, one write. */
static void step_proposals(struct raftd *raftd)
{
    size_t count = raftd->queued, first = raftd->count - raftd->queued;
    if (count == 0)
        return;
    SW_AUTO(sw_free) struct raft_entry *entries = sw_alloc0(count * sizeof *entries);
    for (size_t i = 0; i < count; i++)
        entries[i] = (struct raft_entry) { .kind = RAFT_ENTRY_STORE, .blob = proposal_at(raftd, first + i)->blob };
    uint64_t index = 0;
    enum raft_result result =
        step(raftd, (struct raft_event) { .type = RAFT_EV_PROPOSE, .entries = entries, .count = count }, &index);
    if (result == RAFT_OK) {
        for (size_t i = 0; i < count; i++) {
            struct proposal *proposal = proposal_at(raftd, first + i);
            proposal->index = index + i;
            proposal->term = raft_term(raftd->core);
        }
        raftd->queued = 0;
        return;
    }
    /* Else they wait: for the turn's end, which tells them that this manager does not lead, or for a turn after less is in
     * flight. */
}

static void on_applied(void *arg, const struct store_entry *entry, const struct apply_result *result)
{
    struct raftd *raftd = arg;
    if (raftd->spec.applied != NULL)
        raftd->spec.applied(raftd->spec.arg, entry, result);
    while (raftd->count > raftd->queued && proposal_at(raftd, 0)->index <= entry->index) {
        const struct proposal *proposal = proposal_at(raftd, 0);
        bool own = proposal->index == entry->index && proposal->term == entry->term;
        struct sw_err err;
        (void)sw_fail(&err, SW_UNAVAILABLE, "this manager lost leadership; the change was overruled");
        proposal_end(raftd, own ? result : NULL, own ? NULL : &err);
    }
}

/* Committed entries that the store lacks, into the transaction of this turn. */
static int apply_begin(struct raftd *raftd, MDB_txn *txn, struct store_group **ret_group, struct sw_err *err)
{
    uint64_t from = store_applied(raftd->spec.store) + 1;
    if (from > raftd->commit)
        return 0;
    size_t count = raftd->commit - from + 1 < APPLY_ENTRIES_MAX ? (size_t)(raftd->commit - from + 1) : APPLY_ENTRIES_MAX;
    SW_AUTO(sw_free) struct store_entry *entries = sw_alloc0(count * sizeof *entries);
    for (size_t i = 0; i < count; i++) {
        const struct raft_entry *entry = raft_tail_at(raft_tail(raftd->core), from + i);
        assert(entry != NULL);
        entries[i] = (struct store_entry) { .index = entry->index, .term = entry->term };
        if (entry->kind == RAFT_ENTRY_STORE && entry->blob != NULL) {
            entries[i].data = entry->blob->data;
            entries[i].len = entry->blob->len;
        }
    }
    return store_apply_begin(raftd->spec.store, txn, entries, count, ret_group, err);
}

/* How far the log may be dropped: a step at a time, never what is not applied. */
static uint64_t trim_index(const struct raftd *raftd)
{
    const struct raft_tail *tail = raft_tail(raftd->core);
    uint64_t applied = store_applied(raftd->spec.store), base = tail->base_index;
    uint64_t keep = tail->bytes > KEEP_BYTES ? 0 : KEEP_ENTRIES;
    if (applied < base + keep + TRIM_STEP)
        return 0;
    uint64_t spare = applied - keep - base;
    return base + (spare < 2 * TRIM_STEP ? spare : 2 * TRIM_STEP);
}

struct raft_group {
    struct store_group *applying; /* NULL = nothing is applied */
    uint64_t trimmed;             /* 0 = nothing */
    struct raft_update update;    /* of PERSISTED: performed only after the sync */
    bool stepped;
};

/* Everything that waits for the disk, into one transaction. The core is told of the write before it is synced, so that what this
 * very sync commits is applied by it as well; nothing that follows from it is let out before (group_end). */
static int group_write(struct raftd *raftd, MDB_txn *txn, struct raft_group *group, struct sw_err *err)
{
    int rc = 0;
    if (raftd->persist_seq != raftd->persisted_seq) {
        const struct raft_tail *tail = raft_tail(raftd->core);
        uint64_t from = raftd->dirty_from;
        rc = raft_log_write(raftd->log, txn, tail, from, raft_hard(raftd->core), err);
        *raftd->metrics.written += from != 0 ? (double)(raft_tail_last(tail) + 1 - from) : 0;
        raftd->dirty_from = 0;
        raftd->persisted_seq = raftd->persist_seq;
    }
    uint64_t trim = rc == 0 ? trim_index(raftd) : 0;
    if (trim != 0) {
        rc = raft_log_trim(raftd->log, txn, raft_tail(raftd->core), trim, raft_config_at(raftd->core, trim), err);
        group->trimmed = trim;
    }
    if (rc != 0)
        return rc;
    (void)step_only(raftd, (struct raft_event) { .type = RAFT_EV_PERSISTED, .seq = raftd->persisted_seq }, &group->update);
    for (size_t i = 0; i < group->update.count; i++) {
        if (group->update.effects[i].type == RAFT_DO_COMMIT)
            raftd->commit = group->update.effects[i].index;
    }
    return apply_begin(raftd, txn, &group->applying, err);
}

static void group_end(struct raftd *raftd, const struct raft_group *group)
{
    perform_all(raftd, &group->update);
    if (group->applying != NULL)
        store_apply_end(raftd->spec.store, group->applying, on_applied, raftd);
    if (group->trimmed != 0)
        (void)step(raftd, (struct raft_event) { .type = RAFT_EV_COMPACT, .index = group->trimmed }, NULL);
}

static int group_commit(struct raftd *raftd, struct sw_err *err)
{
    SW_AUTO(mdb_txn_abort) MDB_txn *txn = NULL;
    struct raft_group group = { 0 };
    int64_t start_ns = svc_wall_ns();
    int rc = mdb_txn_begin(store_env(raftd->spec.store), NULL, 0, &txn);
    if (rc == 0 && group_write(raftd, txn, &group, err) != 0)
        return -(int)err->code;
    if (rc == 0)
        rc = mdb_txn_commit(SW_TAKE(txn));
    if (rc != 0)
        return sw_fail(err, SW_IO, "write raft log and store: %s", store_strerror(raftd->spec.store, rc));
    ++*raftd->metrics.syncs;
    svc_observe(raftd->metrics.sync_s, seconds_since(start_ns));
    group_end(raftd, &group);
    return 0;
}

static const char *leader_node(const struct raftd *raftd, const Swarm__RaftConfig *config)
{
    for (size_t i = 0; config != NULL && i < config->n_members; i++) {
        if (config->members[i]->raft_id == raft_leader(raftd->core))
            return config->members[i]->node_id;
    }
    return "";
}

static void tell_status(struct raftd *raftd)
{
    SW_AUTO(sw_pb_free) Swarm__RaftConfig *config = NULL;
    uint64_t term = raft_term(raftd->core);
    bool leader = raftd_leader(raftd);
    if (raft_role(raftd->core) != RAFT_LEADER)
        proposals_fail(raftd, SW_UNAVAILABLE, "this manager is not the leader any more; the change may still happen");
    if (raftd->told.said && raftd->told.term == term && raftd->told.leader == leader &&
        raftd->told.leader_raft_id == raft_leader(raftd->core))
        return;
    raftd->told.said = true;
    raftd->told.leader_raft_id = raft_leader(raftd->core);
    config = config_message(raftd);
    raftd->told.term = term;
    raftd->told.leader = leader;
    (void)snprintf(raftd->told.leader_id, sizeof raftd->told.leader_id, "%s", leader_node(raftd, config));
    if (raftd->spec.status != NULL)
        raftd->spec.status(raftd->spec.arg, term, leader, raftd->told.leader_id);
}

static void on_turn(void *arg)
{
    struct raftd *raftd = arg;
    struct sw_err err;
    if (raftd->failed || raftd->core == NULL)
        return;
    step_proposals(raftd);
    if (raftd->persist_seq != raftd->persisted_seq || raftd->commit > store_applied(raftd->spec.store)) {
        if (group_commit(raftd, &err) != 0) {
            fail(raftd, &err);
            return;
        }
        if (raftd->commit > store_applied(raftd->spec.store))
            turn_soon(raftd);
    }
    reads_ready(raftd);
    tell_status(raftd);
}

/* ---- open and close ---- */

static void metrics_open(struct raftd *raftd)
{
    struct svc_metrics *m = svc_metrics(raftd->spec.svc);
    raftd->metrics.term = svc_metric(m, SVC_GAUGE, "swarm_manager_raft_term", "", "Current Raft term.");
    raftd->metrics.leader =
        svc_metric(m, SVC_GAUGE, "swarm_manager_raft_leader", "", "1 while this manager leads and is caught up.");
    raftd->metrics.commit = svc_metric(m, SVC_GAUGE, "swarm_manager_raft_commit_index", "", "Last committed log index.");
    raftd->metrics.applied =
        svc_metric(m, SVC_GAUGE, "swarm_manager_raft_applied_index", "", "Last log index applied to the store.");
    raftd->metrics.entries = svc_metric(m, SVC_GAUGE, "swarm_manager_raft_log_entries", "", "Log entries kept.");
    raftd->metrics.bytes = svc_metric(m, SVC_GAUGE, "swarm_manager_raft_log_bytes", "", "Bytes of log entries kept in memory.");
    raftd->metrics.members = svc_metric(m, SVC_GAUGE, "swarm_manager_raft_members", "", "Members of the Raft configuration.");
    raftd->metrics.waiting = svc_metric(m, SVC_GAUGE, "swarm_manager_raft_proposals_waiting", "", "Proposals not yet applied.");
    raftd->metrics.proposals = svc_metric(m, SVC_COUNTER, "swarm_manager_raft_proposals_total", "", "Proposals accepted.");
    raftd->metrics.failed = svc_metric(m, SVC_COUNTER, "swarm_manager_raft_proposals_failed_total", "", "Proposals that failed.");
    raftd->metrics.written =
        svc_metric(m, SVC_COUNTER, "swarm_manager_raft_entries_written_total", "", "Entries written to the log.");
    raftd->metrics.syncs = svc_metric(m, SVC_COUNTER, "swarm_manager_raft_syncs_total", "", "Synced transactions.");
    raftd->metrics.commit_s = svc_histogram(m, "swarm_manager_raft_commit_seconds", "From proposed to applied.");
    raftd->metrics.sync_s = svc_histogram(m, "swarm_manager_raft_sync_seconds", "Transaction of one group, sync included.");
}

void raftd_scrape(struct raftd *raftd)
{
    if (raftd->core == NULL)
        return;
    *raftd->metrics.term = (double)raft_term(raftd->core);
    *raftd->metrics.leader = raftd_leader(raftd) ? 1 : 0;
    *raftd->metrics.commit = (double)raft_commit(raftd->core);
    *raftd->metrics.applied = (double)store_applied(raftd->spec.store);
    *raftd->metrics.entries = (double)raft_tail(raftd->core)->count;
    *raftd->metrics.bytes = (double)raft_tail(raftd->core)->bytes;
    *raftd->metrics.members = (double)raft_config(raftd->core)->count;
    *raftd->metrics.waiting = (double)raftd->count;
}

/* The core from what is on disk. Its first effects are performed in the next turn of the loop. */
static int start(struct raftd *raftd, struct sw_err *err)
{
    struct raft_log_state state;
    int rc = raft_log_load(raftd->log, &state, err);
    if (rc != 0 || state.id == 0) {
        if (rc == 0)
            raft_log_state_deinit(&state);
        return rc;
    }
    uint64_t applied = store_applied(raftd->spec.store), last = state.base_index + state.count;
    if (applied > last || applied < state.base_index) {
        raft_log_state_deinit(&state);
        return sw_fail(err, SW_CORRUPT, "store is at index %" PRIu64 ", the raft log goes from %" PRIu64 " to %" PRIu64, applied,
                       state.base_index, last);
    }
    struct raft_links_spec links = { .bus = raftd->spec.bus,
                                     .mirror = store_mirror(raftd->spec.store),
                                     .keys = raftd->spec.keys,
                                     .listen = raftd->spec.raft_listen,
                                     .admit = raftd->spec.admit,
                                     .admit_arg = raftd->spec.admit_arg,
                                     .raft_id = state.id,
                                     .boot_id = svc_random_u64() | 1,
                                     .receive = on_message,
                                     .lost = on_link_lost,
                                     .arg = raftd };
    if (raftd->spec.keys != NULL)
        rc = raft_links_open(&links, &raftd->links, err);
    if (rc == 0) {
        raftd->core = raft_new(&(struct raft_options) {
            .id = state.id, .heartbeat_ms = raftd->spec.heartbeat_ms, .election_ms = raftd->spec.election_ms });
        struct raft_start event = { .seed = svc_random_u64(),
                                    .hard = state.hard,
                                    .base_index = state.base_index,
                                    .base_term = state.base_term,
                                    .base_config = state.base_config,
                                    .entries = state.entries,
                                    .count = state.count,
                                    .applied = applied };
        raftd->commit = applied;
        (void)step(raftd, (struct raft_event) { .type = RAFT_EV_START, .start = &event }, NULL);
        turn_soon(raftd);
    }
    raft_log_state_deinit(&state);
    return rc;
}

int raftd_open(const struct raftd_spec *spec, struct raftd **ret, struct sw_err *err)
{
    SW_AUTO(raftd_close) struct raftd *raftd = sw_alloc0(sizeof *raftd);
    raftd->spec = *spec;
    raftd->spec.heartbeat_ms = spec->heartbeat_ms != 0 ? spec->heartbeat_ms : 50;
    raftd->spec.election_ms = spec->election_ms != 0 ? spec->election_ms : 300;
    if (raftd->spec.heartbeat_ms * 2 > raftd->spec.election_ms)
        return sw_fail(err, SW_INVALID, "election timeout %" PRIu64 " ms must be at least twice the heartbeat of %" PRIu64 " ms",
                       raftd->spec.election_ms, raftd->spec.heartbeat_ms);
    raftd->node_id = sw_strdup(spec->node_id);
    raftd->raft_address = sw_strdup(spec->raft_address);
    raftd->proposals = sw_alloc0(PROPOSALS_MAX * sizeof *raftd->proposals);
    raftd->deadline = svc_timer_new(spec->svc, on_deadline, raftd);
    raftd->turn = svc_timer_new(spec->svc, on_turn, raftd);
    metrics_open(raftd);
    int rc = raft_log_open(spec->store, &raftd->log, err);
    if (rc == 0)
        rc = start(raftd, err);
    if (rc != 0)
        return rc;
    *ret = SW_TAKE(raftd);
    return 0;
}

int raftd_bootstrap(struct raftd *raftd, struct sw_err *err)
{
    if (raftd->core != NULL || store_applied(raftd->spec.store) != 0)
        return sw_fail(err, SW_PRECONDITION, "this node has a raft log already");
    Swarm__RaftMember member = SWARM__RAFT_MEMBER__INIT, *members[] = { &member };
    Swarm__RaftConfig config = SWARM__RAFT_CONFIG__INIT;
    member.raft_id = (svc_random_u64() >> 1) + 1; /* 63 bits, never 0, never used again */
    member.node_id = raftd->node_id;
    member.address = raftd->raft_address;
    member.voter = member.has_voter = true;
    config.members = members;
    config.n_members = 1;
    SW_AUTO_BUF buf = { 0 };
    sw_pb_pack(&config, &buf);
    struct raft_blob *blob = raft_blob_new(buf.data, buf.len);
    int rc = raft_log_create(raftd->log, member.raft_id, blob, err);
    raft_blob_unref(blob);
    return rc == 0 ? start(raftd, err) : rc;
}

void raftd_close(struct raftd *raftd)
{
    if (raftd == NULL)
        return;
    raftd->failed = true;
    struct sw_err err;
    (void)sw_fail(&err, SW_UNAVAILABLE, "this manager stops; the change may still happen");
    if (raftd->count != 0)
        proposals_fail(raftd, SW_UNAVAILABLE, err.text);
    while (raftd->read_count != 0)
        read_end(raftd, raftd->read_count - 1, &err);
    svc_timer_free(raftd->deadline);
    svc_timer_free(raftd->turn);
    raft_links_close(raftd->links);
    raft_free(raftd->core);
    raft_log_close(raftd->log);
    free(raftd->proposals);
    free(raftd->reads);
    free(raftd->node_id);
    free(raftd->raft_address);
    free(raftd);
}

/* ---- asking ---- */

static int not_leader(const struct raftd *raftd, struct sw_err *err)
{
    if (raftd->core != NULL && raft_role(raftd->core) == RAFT_LEADER)
        return sw_fail(err, SW_UNAVAILABLE, "this manager is just taking over leadership: try again");
    return sw_fail(err, SW_UNAVAILABLE, "this manager is not the leader%s%s",
                   raftd->told.leader_id[0] != '\0' ? ", it is node " : "", raftd->told.leader_id);
}

int raftd_propose(struct raftd *raftd, const Swarm__StoreBatch *batch, raftd_done_fn *fn, void *arg, struct sw_err *err)
{
    if (!raftd_leader(raftd))
        return not_leader(raftd, err);
    if (batch->has_term && batch->term != raft_term(raftd->core))
        return sw_fail(err, SW_FENCED, "written under term %" PRIu64 ", now it is %" PRIu64, batch->term, raft_term(raftd->core));
    if (raftd->count == PROPOSALS_MAX)
        return sw_fail(err, SW_LIMIT, "%d changes are waiting already: try again", PROPOSALS_MAX);
    size_t len = protobuf_c_message_get_packed_size(&batch->base);
    if (len > PROPOSAL_MAX)
        return sw_fail(err, SW_LIMIT, "change of %zu bytes, bound is %u", len, PROPOSAL_MAX);
    SW_AUTO_BUF buf = { 0 };
    sw_buf_reserve(&buf, len);
    sw_pb_pack(batch, &buf);
    struct proposal *proposal = proposal_at(raftd, raftd->count++);
    *proposal = (struct proposal) { .since_ns = svc_wall_ns(), .blob = raft_blob_new(buf.data, buf.len), .fn = fn, .arg = arg };
    raftd->queued++;
    ++*raftd->metrics.proposals;
    turn_soon(raftd);
    return 0;
}

int raftd_read(struct raftd *raftd, raftd_read_fn *fn, void *arg, struct sw_err *err)
{
    if (!raftd_leader(raftd))
        return not_leader(raftd, err);
    if (raftd->read_count == RAFT_READS_MAX)
        return sw_fail(err, SW_LIMIT, "%d reads are waiting already: try again", RAFT_READS_MAX);
    if (raftd->read_count == raftd->read_cap) {
        raftd->read_cap = raftd->read_cap == 0 ? 16 : raftd->read_cap * 2;
        raftd->reads = sw_realloc_array(raftd->reads, raftd->read_cap, sizeof *raftd->reads);
    }
    uint64_t context = ++raftd->read_next;
    raftd->reads[raftd->read_count++] = (struct read) { .context = context, .fn = fn, .arg = arg };
    enum raft_result result = step(raftd, (struct raft_event) { .type = RAFT_EV_READ, .context = context }, NULL);
    if (result == RAFT_OK)
        return 0;
    raftd->read_count--;
    return sw_fail(err, SW_UNAVAILABLE, "this manager is not the leader any more");
}

bool raftd_leader(const struct raftd *raftd)
{
    return raftd->core != NULL && !raftd->failed && raft_role(raftd->core) == RAFT_LEADER &&
           store_applied(raftd->spec.store) >= raft_term_start(raftd->core);
}

uint64_t raftd_term(const struct raftd *raftd)
{
    return raftd->core != NULL ? raft_term(raftd->core) : 0;
}

uint64_t raftd_commit_index(const struct raftd *raftd)
{
    return raftd->core != NULL ? raft_commit(raftd->core) : 0;
}
