/* What broke other Raft implementations, each as a scenario that must pass. Some run on a whole group (raft_net), some drive one
 * core by hand ("solo") where the order of single messages matters. */
#include "raft_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VOTERS_3 (1u << 1 | 1u << 2 | 1u << 3)

/* ---- one core by hand: member 1 of {1, 2, 3} unless told otherwise ---- */
struct solo {
    struct raft *core;
    struct raft_update update;
    uint64_t now_ms, seq;
};

static enum raft_result solo_step(struct solo *solo, struct raft_event event)
{
    event.now_ms = solo->now_ms;
    enum raft_result result = raft_step(solo->core, &event, &solo->update);
    for (size_t i = 0; i < solo->update.count; i++) {
        if (solo->update.effects[i].type == RAFT_DO_PERSIST)
            solo->seq = solo->update.effects[i].seq;
    }
    return result;
}

static void solo_persisted(struct solo *solo)
{
    (void)solo_step(solo, (struct raft_event) { .type = RAFT_EV_PERSISTED, .seq = solo->seq });
}

static void solo_message(struct solo *solo, struct raft_msg msg)
{
    msg.to = 1;
    (void)solo_step(solo, (struct raft_event) { .type = RAFT_EV_MESSAGE, .msg = &msg });
}

static void solo_tick(struct solo *solo)
{
    if (solo->update.deadline_ms != RAFT_NEVER && solo->update.deadline_ms > solo->now_ms)
        solo->now_ms = solo->update.deadline_ms;
    (void)solo_step(solo, (struct raft_event) { .type = RAFT_EV_TICK });
}

static const struct raft_effect *solo_effect(const struct solo *solo, enum raft_effect_type type)
{
    for (size_t i = 0; i < solo->update.count; i++) {
        if (solo->update.effects[i].type == type)
            return &solo->update.effects[i];
    }
    return NULL;
}

static const struct raft_msg *solo_sent(const struct solo *solo, enum raft_kind kind, uint64_t to)
{
    for (size_t i = 0; i < solo->update.count; i++) {
        const struct raft_effect *effect = &solo->update.effects[i];
        if (effect->type == RAFT_DO_SEND && effect->msg.kind == kind && effect->msg.to == to)
            return &effect->msg;
    }
    return NULL;
}

/* entries: the log from index 1 on; the first is a configuration. */
static struct solo solo_new(struct raft_hard hard, struct raft_entry *entries, size_t count)
{
    struct solo solo = { .core = raft_new(&(struct raft_options) { .id = 1, .heartbeat_ms = 50, .election_ms = 300 }),
                         .now_ms = 1000 };
    struct raft_start start = { .seed = 1, .hard = hard, .entries = entries, .count = count };
    (void)solo_step(&solo, (struct raft_event) { .type = RAFT_EV_START, .start = &start });
    for (size_t i = 0; i < count; i++)
        raft_blob_unref(entries[i].blob);
    return solo;
}

static void solo_elect(struct solo *solo)
{
    solo_tick(solo);
    uint64_t term = raft_term(solo->core);
    solo_message(solo, (struct raft_msg) { .kind = RAFT_PRE_VOTE_REPLY, .from = 2, .term = term + 1 });
    assert_null(solo_sent(solo, RAFT_VOTE, 2)); /* not before the own vote is synced */
    solo_persisted(solo);
    assert_non_null(solo_sent(solo, RAFT_VOTE, 2));
    solo_message(solo, (struct raft_msg) { .kind = RAFT_VOTE_REPLY, .from = 2, .term = term + 1 });
    assert_int_equal(raft_role(solo->core), RAFT_LEADER);
}

static struct solo solo_leader(void)
{
    struct raft_entry entries[] = { { 1, 1, RAFT_ENTRY_CONFIG, net_config_blob(VOTERS_3, 0) }, { 2, 2, RAFT_ENTRY_NOOP, NULL } };
    struct solo solo = solo_new((struct raft_hard) { .term = 3, .commit = 1 }, entries, 2);
    solo_elect(&solo);
    return solo;
}

static void solo_ack(struct solo *solo, uint64_t from, uint64_t index)
{
    solo_message(
        solo, (struct raft_msg) { .kind = RAFT_APPEND_REPLY, .from = from, .term = raft_term(solo->core), .log_index = index });
}

/* ---- commitment ---- */

static void test_old_term_is_not_committed_by_counting(void **state)
{
    (void)state;
    struct solo solo = solo_leader(); /* entry 2 is of term 2, the leader's own first entry is 3 of term 4 */
    solo_persisted(&solo);
    solo_ack(&solo, 2, 2);
    assert_int_equal(raft_commit(solo.core), 1); /* figure 8: a majority has entry 2, and yet */
    solo_ack(&solo, 2, 3);
    assert_int_equal(raft_commit(solo.core), 3);
    raft_free(solo.core);
}

static void test_leader_counts_itself_only_after_its_sync(void **state)
{
    (void)state;
    struct solo solo = solo_leader();
    solo_ack(&solo, 2, 3);
    assert_int_equal(raft_commit(solo.core), 1); /* 2 has it; 1 has not synced it */
    assert_null(solo_effect(&solo, RAFT_DO_COMMIT));
    solo_persisted(&solo);
    assert_int_equal(solo_effect(&solo, RAFT_DO_COMMIT)->index, 3);
    raft_free(solo.core);
}

static void test_old_rejection_is_ignored(void **state)
{
    (void)state;
    struct solo solo = solo_leader();
    struct raft_progress before, after;
    solo_persisted(&solo);
    solo_ack(&solo, 2, 3);
    assert_true(raft_progress(solo.core, 2, &before));
    solo_message(&solo, (struct raft_msg) { .kind = RAFT_APPEND_REPLY, .from = 2, .term = 4, .log_index = 2, .reject = true });
    assert_true(raft_progress(solo.core, 2, &after));
    assert_int_equal(before.next, after.next);
    assert_null(solo_sent(&solo, RAFT_APPEND, 2));
    struct raft_entry entry = { .kind = RAFT_ENTRY_STORE };
    assert_int_equal(solo_step(&solo, (struct raft_event) { .type = RAFT_EV_PROPOSE, .entries = &entry, .count = 1 }), RAFT_OK);
    assert_non_null(solo_sent(&solo, RAFT_APPEND, 2)); /* nothing is stuck */
    raft_free(solo.core);
}

/* ---- elections ---- */

static void test_best_log_with_old_term_wins_in_the_end(void **state)
{
    (void)state;
    struct raft_entry entries[] = { { 1, 1, RAFT_ENTRY_CONFIG, net_config_blob(VOTERS_3, 0) } };
    struct solo solo = solo_new((struct raft_hard) { .term = 3, .commit = 1 }, entries, 1);
    solo_tick(&solo);
    assert_int_equal(solo_sent(&solo, RAFT_PRE_VOTE, 2)->term, 4);
    solo_message(&solo, (struct raft_msg) { .kind = RAFT_PRE_VOTE_REPLY, .from = 2, .term = 9, .reject = true });
    assert_int_equal(raft_term(solo.core), 9); /* the refusal taught it the term */
    solo_persisted(&solo);
    solo_tick(&solo);
    assert_int_equal(solo_sent(&solo, RAFT_PRE_VOTE, 2)->term, 10);
    raft_free(solo.core);
}

static void test_stickiness(void **state)
{
    (void)state;
    struct raft_entry entries[] = { { 1, 1, RAFT_ENTRY_CONFIG, net_config_blob(VOTERS_3, 0) } };
    struct solo solo = solo_new((struct raft_hard) { .term = 3, .commit = 1 }, entries, 1);
    struct raft_msg vote = { .kind = RAFT_VOTE, .from = 3, .term = 7, .log_index = 9, .log_term = 3 };
    solo_message(&solo, (struct raft_msg) { .kind = RAFT_HEARTBEAT, .from = 2, .term = 3 });
    solo_message(&solo, vote);
    assert_int_equal(raft_term(solo.core), 3); /* it hears its leader: not even the term is taken */
    assert_int_equal(solo.update.count, 0);
    vote.transfer = true;
    solo_message(&solo, vote); /* unless the leader itself asked for it */
    assert_int_equal(raft_term(solo.core), 7);
    solo_persisted(&solo);
    assert_false(solo_sent(&solo, RAFT_VOTE_REPLY, 3)->reject);
    vote.from = 2;
    solo_message(&solo, vote);
    assert_true(solo_sent(&solo, RAFT_VOTE_REPLY, 2)->reject); /* one vote a term */
    raft_free(solo.core);
}

/* The member that is going is the only one with the entry that lets it go. */
static void test_candidate_outside_its_own_configuration(void **state)
{
    (void)state;
    struct raft_entry entries[] = { { 1, 1, RAFT_ENTRY_CONFIG, net_config_blob(1u << 1 | 1u << 2, 0) },
                                    { 2, 1, RAFT_ENTRY_CONFIG, net_config_blob(1u << 2, 0) } };
    struct solo solo = solo_new((struct raft_hard) { .term = 1, .commit = 1 }, entries, 2);
    solo_elect(&solo);
    solo_persisted(&solo);
    assert_int_equal(raft_commit(solo.core), 1); /* its own copy counts for nothing */
    solo_ack(&solo, 2, 3);
    assert_int_equal(raft_commit(solo.core), 3);
    assert_non_null(solo_sent(&solo, RAFT_TIMEOUT_NOW, 2));
    assert_int_equal(raft_role(solo.core), RAFT_FOLLOWER);
    raft_free(solo.core);
}

/* ---- configurations ---- */

static void test_configuration_inside_a_message_and_taken_back(void **state)
{
    (void)state;
    struct raft_entry entries[] = { { 1, 1, RAFT_ENTRY_CONFIG, net_config_blob(VOTERS_3, 0) } };
    struct solo solo = solo_new((struct raft_hard) { .term = 1, .commit = 1 }, entries, 1);
    struct raft_entry sent[] = { { 2, 1, RAFT_ENTRY_STORE, NULL },
                                 { 3, 1, RAFT_ENTRY_CONFIG, net_config_blob(VOTERS_3 | 1u << 4, 0) },
                                 { 4, 1, RAFT_ENTRY_STORE, NULL },
                                 { 5, 1, RAFT_ENTRY_CONFIG, net_config_blob(VOTERS_3 | 3u << 4, 0) } };
    solo_message(
        &solo, (struct raft_msg) {
                   .kind = RAFT_APPEND, .from = 2, .term = 1, .log_index = 1, .log_term = 1, .entries = sent, .entry_count = 4 });
    assert_int_equal(raft_config(solo.core)->count, 5);
    /* A new leader overrules from 5 on, then from 3 on: the configuration is each time the one before. */
    struct raft_entry other = { 5, 2, RAFT_ENTRY_STORE, NULL };
    solo_message(
        &solo,
        (struct raft_msg) {
            .kind = RAFT_APPEND, .from = 3, .term = 2, .log_index = 4, .log_term = 1, .entries = &other, .entry_count = 1 });
    assert_int_equal(raft_config(solo.core)->count, 4);
    other = (struct raft_entry) { 3, 3, RAFT_ENTRY_STORE, NULL };
    solo_message(
        &solo,
        (struct raft_msg) {
            .kind = RAFT_APPEND, .from = 2, .term = 3, .log_index = 2, .log_term = 1, .entries = &other, .entry_count = 1 });
    assert_int_equal(raft_config(solo.core)->count, 3);
    assert_int_equal(raft_tail_last(raft_tail(solo.core)), 3);
    raft_blob_unref(sent[1].blob);
    raft_blob_unref(sent[3].blob);
    raft_free(solo.core);
}

static struct net *settled(size_t nodes)
{
    struct net *net = net_new(7, nodes, VOTERS_3);
    assert_true(net_until(net, net_settled, 5000));
    net_run(net, 100);
    return net;
}

static void test_two_changes_in_a_row(void **state)
{
    (void)state;
    struct net *net = settled(5);
    assert_int_equal(net_config(net, net_leader(net), VOTERS_3 | 1u << 4, 0), RAFT_OK);
    assert_int_equal(net_config(net, net_leader(net), VOTERS_3 | 1u << 5, 0), RAFT_E_PENDING);
    assert_true(net_until(net, net_settled, 3000));
    assert_int_equal(net_config(net, net_leader(net), VOTERS_3 | 1u << 5, 0), RAFT_OK);
    assert_true(net_until(net, net_settled, 3000));
    assert_null(raft_config_find(raft_config(net->nodes[net_leader(net)].core), 4));
    net_free(net);
}

static void test_leader_removed(void **state)
{
    (void)state;
    struct net *net = settled(3);
    uint64_t old = net_leader(net);
    assert_int_equal(net_config(net, old, VOTERS_3 & ~(1u << old), 0), RAFT_OK);
    net_run(net, 200); /* it hands over: no election timeout is waited for */
    assert_int_not_equal(net_leader(net), 0);
    assert_int_not_equal(net_leader(net), old);
    assert_true(net_until(net, net_settled, 1000));
    net_free(net);
}

static void test_removed_member_does_not_disturb(void **state)
{
    (void)state;
    struct net *net = settled(4);
    uint64_t leader = net_leader(net), gone = leader == 3 ? 2 : 3;
    net_isolate(net, gone);
    assert_int_equal(net_config(net, leader, VOTERS_3 & ~(1u << gone), 0), RAFT_OK);
    net_run(net, 1000);
    uint64_t term = raft_term(net->nodes[leader].core);
    net_heal(net);
    net_run(net, 20000); /* it never heard of it and goes on asking for votes */
    assert_int_equal(net_leader(net), leader);
    assert_int_equal(raft_term(net->nodes[leader].core), term);
    net_free(net);
}

static void test_learner_does_not_count(void **state)
{
    (void)state;
    struct net *net = net_new(7, 2, 1u << 1);
    net_run(net, 10);
    assert_int_equal(net_config(net, 1, 1u << 1, 1u << 2), RAFT_OK);
    assert_true(net_until(net, net_settled, 1000));
    net_crash(net, 2);
    assert_int_equal(net_propose(net, 1, 5, 8), RAFT_OK); /* commits without it */
    net_run(net, 10);
    assert_int_equal(net->nodes[1].ready, raft_tail_last(raft_tail(net->nodes[1].core)));
    net_start(net, 2);
    assert_true(net_until(net, net_settled, 1000));
    net_crash(net, 1);
    net_run(net, 5000);
    assert_int_equal(net_leader(net), 0); /* and never stands for election */
    net_free(net);
}

/* ---- snapshots ---- */

static void test_follower_behind_the_log(void **state)
{
    (void)state;
    struct net *net = settled(3);
    uint64_t leader = net_leader(net), behind = leader == 3 ? 2 : 3;
    net_crash(net, behind);
    assert_int_equal(net_propose(net, leader, 50, 8), RAFT_OK);
    net_run(net, 100);
    net_compact(net, leader, 0);
    net_start(net, behind);
    assert_true(net_until(net, net_settled, 3000));
    assert_true(net->nodes[behind].disk.base_index >= 50);
    net_free(net);
}

static bool snapshot_on_its_way(struct net *net)
{
    for (size_t i = 0; i < net->packet_count; i++) {
        if (net->packets[i].data == NULL)
            return true;
    }
    return false;
}

static void test_new_term_during_snapshot(void **state)
{
    (void)state;
    struct net *net = settled(3);
    uint64_t leader = net_leader(net), behind = leader == 3 ? 2 : 3, other = 6 - leader - behind;
    net_crash(net, behind);
    assert_int_equal(net_propose(net, leader, 50, 8), RAFT_OK);
    net_run(net, 100);
    net_compact(net, leader, 0);
    net_compact(net, other, 0);
    net_start(net, behind);
    assert_true(net_until(net, snapshot_on_its_way, 3000));
    assert_int_equal(net_step(net, leader, (struct raft_event) { .type = RAFT_EV_TRANSFER, .peer = other }), RAFT_OK);
    net_run(net, 10); /* the snapshot takes 20 ms: it arrives in the next term */
    assert_int_equal(net_leader(net), other);
    assert_true(net_until(net, net_settled, 3000));
    net_free(net);
}

static void test_one_snapshot_at_a_time(void **state)
{
    (void)state;
    struct solo solo = solo_leader();
    solo_persisted(&solo);
    solo_ack(&solo, 2, 3);
    (void)solo_step(&solo, (struct raft_event) { .type = RAFT_EV_COMPACT, .index = 3 });
    struct raft_msg empty = { .kind = RAFT_APPEND_REPLY, .from = 3, .term = 4, .log_index = 2, .reject = true };
    solo_message(&solo, empty);
    assert_int_equal(solo_effect(&solo, RAFT_DO_SNAPSHOT)->peer, 3);
    solo_message(&solo, empty);
    solo_message(&solo, (struct raft_msg) { .kind = RAFT_HEARTBEAT_REPLY, .from = 3, .term = 4 });
    assert_null(solo_effect(&solo, RAFT_DO_SNAPSHOT));
    (void)solo_step(&solo, (struct raft_event) { .type = RAFT_EV_SNAPSHOT_SENT, .peer = 3, .index = 3, .ok = true });
    assert_int_equal(solo_sent(&solo, RAFT_APPEND, 3)->log_index, 3);
    raft_free(solo.core);
}

/* A snapshot that comes late must not take away what was acknowledged since. */
static void test_late_snapshot_drops_nothing(void **state)
{
    (void)state;
    struct raft_entry entries[] = { { 1, 1, RAFT_ENTRY_CONFIG, net_config_blob(VOTERS_3, 0) },
                                    { 2, 1, RAFT_ENTRY_STORE, NULL },
                                    { 3, 1, RAFT_ENTRY_STORE, NULL } };
    struct solo solo = solo_new((struct raft_hard) { .term = 1, .commit = 1 }, entries, 3);
    assert_false(raft_snapshot_needed(solo.core, 1, 1)); /* committed here */
    assert_false(raft_snapshot_needed(solo.core, 2, 1)); /* the log has it, and 3 after it */
    assert_true(raft_snapshot_needed(solo.core, 2, 2));  /* overruled: the log is wrong from there on */
    assert_true(raft_snapshot_needed(solo.core, 9, 1));
    raft_free(solo.core);
}

static void test_follower_compacted_past_the_match_index(void **state)
{
    (void)state;
    struct net *net = settled(3);
    uint64_t leader = net_leader(net);
    assert_int_equal(net_propose(net, leader, 20, 8), RAFT_OK);
    assert_true(net_until(net, net_settled, 1000));
    for (uint64_t id = 1; id <= 3; id++)
        net_compact(net, id, id == leader ? 10 : 0);
    net_crash(net, leader); /* the next leader knows nothing of how far the others are */
    net_run(net, 2000);
    net_start(net, leader);
    assert_true(net_until(net, net_settled, 3000));
    net_free(net);
}

/* ---- disks ---- */

static void test_write_fails(void **state)
{
    (void)state;
    struct solo solo = solo_leader();
    (void)solo_step(&solo, (struct raft_event) { .type = RAFT_EV_READ, .context = 5 });
    (void)solo_step(&solo, (struct raft_event) { .type = RAFT_EV_WRITE_FAILED });
    assert_int_equal(raft_role(solo.core), RAFT_FOLLOWER);
    assert_false(solo_effect(&solo, RAFT_DO_READ)->ok);
    assert_int_equal(solo.update.deadline_ms, RAFT_NEVER); /* it never stands for election again */
    solo_persisted(&solo);
    solo_ack(&solo, 2, 3);
    solo_message(&solo, (struct raft_msg) { .kind = RAFT_VOTE, .from = 2, .term = 9, .log_index = 9, .log_term = 4 });
    assert_int_equal(solo.update.count, 0); /* nor promises anything it could not keep */
    raft_free(solo.core);
}

static void test_slow_write_then_crash(void **state)
{
    (void)state;
    struct net *net = settled(3);
    uint64_t leader = net_leader(net), before = net->nodes[leader].ready;
    net->nodes[leader].sync_frozen = true;
    assert_int_equal(net_propose(net, leader, 5, 8), RAFT_OK);
    net_run(net, 100);
    assert_int_equal(raft_commit(net->nodes[leader].core), before + 5); /* a majority has them without the leader's disk */
    assert_int_equal(net->nodes[leader].ready, before);                 /* but here nothing is applied that is not written */
    net_crash(net, leader);
    net->nodes[leader].sync_frozen = false;
    net_start(net, leader);
    assert_true(net_until(net, net_settled, 3000));
    assert_true(net->nodes[leader].ready >= before + 5);
    net_free(net);
}

/* ---- cuts and pauses ---- */

static void one_way(bool outgoing)
{
    struct net *net = settled(3);
    uint64_t old = net_leader(net);
    for (uint64_t other = 1; other <= 3; other++)
        net_cut(net, outgoing ? old : other, outgoing ? other : old);
    net_run(net, 3000);
    assert_int_not_equal(net_leader(net), old);
    assert_int_not_equal(net_leader(net), 0);
    assert_int_not_equal(raft_role(net->nodes[old].core), RAFT_LEADER);
    net_heal(net);
    assert_true(net_until(net, net_settled, 3000));
    net_free(net);
}

static void test_leader_cut_one_way(void **state)
{
    (void)state;
    one_way(true);
    one_way(false);
}

static void test_paused_leader_serves_no_stale_read(void **state)
{
    (void)state;
    struct solo solo = solo_leader();
    solo_persisted(&solo);
    solo_ack(&solo, 2, 3);
    solo.now_ms += 3600 * 1000; /* an hour: others lead by now */
    assert_int_equal(solo_step(&solo, (struct raft_event) { .type = RAFT_EV_READ, .context = 5 }), RAFT_OK);
    assert_null(solo_effect(&solo, RAFT_DO_READ));
    solo_tick(&solo); /* answers may wait in its sockets: it gets one heartbeat's time to read them */
    assert_int_equal(raft_role(solo.core), RAFT_LEADER);
    solo_tick(&solo);
    assert_int_equal(raft_role(solo.core), RAFT_FOLLOWER);
    assert_false(solo_effect(&solo, RAFT_DO_READ)->ok);
    raft_free(solo.core);
}

static void test_messages_late_twice_and_lost(void **state)
{
    (void)state;
    struct net *net = settled(3);
    net->delay_max_ms = 40;
    net->lost_ppm = 150000;
    net->twice_ppm = 150000;
    for (int i = 0; i < 200; i++) {
        if (net_leader(net) != 0)
            (void)net_propose(net, net_leader(net), 3, 500);
        net_run(net, 10);
    }
    net->lost_ppm = 0;
    assert_true(net_until(net, net_settled, 5000));
    assert_true(net->committed > 300);
    net_free(net);
}

static void test_transfer_to_a_dead_member_is_given_up(void **state)
{
    (void)state;
    struct net *net = settled(3);
    uint64_t leader = net_leader(net), dead = leader == 3 ? 2 : 3;
    net_crash(net, dead);
    assert_int_equal(net_step(net, leader, (struct raft_event) { .type = RAFT_EV_TRANSFER, .peer = dead }), RAFT_OK);
    net_run(net, 400);
    assert_int_equal(net->nodes[leader].transfers_failed, 1);
    assert_int_equal(net_propose(net, leader, 1, 8), RAFT_OK);
    assert_true(net_until(net, net_settled, 1000));
    net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_old_term_is_not_committed_by_counting),
        cmocka_unit_test(test_leader_counts_itself_only_after_its_sync),
        cmocka_unit_test(test_old_rejection_is_ignored),
        cmocka_unit_test(test_best_log_with_old_term_wins_in_the_end),
        cmocka_unit_test(test_stickiness),
        cmocka_unit_test(test_candidate_outside_its_own_configuration),
        cmocka_unit_test(test_configuration_inside_a_message_and_taken_back),
        cmocka_unit_test(test_two_changes_in_a_row),
        cmocka_unit_test(test_leader_removed),
        cmocka_unit_test(test_removed_member_does_not_disturb),
        cmocka_unit_test(test_learner_does_not_count),
        cmocka_unit_test(test_follower_behind_the_log),
        cmocka_unit_test(test_new_term_during_snapshot),
        cmocka_unit_test(test_one_snapshot_at_a_time),
        cmocka_unit_test(test_late_snapshot_drops_nothing),
        cmocka_unit_test(test_follower_compacted_past_the_match_index),
        cmocka_unit_test(test_write_fails),
        cmocka_unit_test(test_slow_write_then_crash),
        cmocka_unit_test(test_leader_cut_one_way),
        cmocka_unit_test(test_paused_leader_serves_no_stale_read),
        cmocka_unit_test(test_messages_late_twice_and_lost),
        cmocka_unit_test(test_transfer_to_a_dead_member_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
