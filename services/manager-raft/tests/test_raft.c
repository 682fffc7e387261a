/* Golden traces of the raft core, and a seeded random test of whole groups. */
#include "common/base/tests/golden.h"
#include "raft_net.h"

#define VOTERS_3 (1u << 1 | 1u << 2 | 1u << 3)
#define VOTERS_5 (VOTERS_3 | 1u << 4 | 1u << 5)

/* ---- golden traces ---- */
static void trace_check(const char *name, struct sw_buf *trace)
{
    SW_AUTO(sw_free) char *path = sw_strf("%s/%s.trace", getenv("TRACE_DIR"), name);
    golden_check(path, trace);
    sw_buf_deinit(trace);
}

static void trace_of(const char *name, size_t nodes, unsigned voters, bool quiet_start, void (*script)(struct net *net))
{
    struct sw_buf trace = { 0 };
    struct net *net = net_new(1, nodes, voters);
    if (quiet_start)
        assert_true(net_until(net, net_settled, 5000));
    net->trace = &trace;
    script(net);
    net->trace = NULL;
    net_free(net);
    trace_check(name, &trace);
}

static void script_single(struct net *net)
{
    net_run(net, 1);
    assert_int_equal(net_propose(net, 1, 2, 8), RAFT_OK);
    net_run(net, 10000); /* nobody to talk to: not one event in ten seconds */
    assert_int_equal(net_read(net, 1), RAFT_OK);
    net_crash(net, 1);
    net_start(net, 1);
    net_run(net, 10000);
}

static void script_election(struct net *net)
{
    assert_true(net_until(net, net_settled, 5000));
}

static void script_replication(struct net *net)
{
    assert_int_equal(net_propose(net, net_leader(net), 3, 8), RAFT_OK);
    assert_int_equal(net_propose(net, net_leader(net), 1, 8), RAFT_OK);
    assert_true(net_until(net, net_settled, 1000));
}

static void script_check_quorum(struct net *net)
{
    uint64_t old = net_leader(net);
    net_isolate(net, old);
    assert_int_equal(net_read(net, old), RAFT_OK);
    net_run(net, 400);
    assert_int_not_equal(raft_role(net->nodes[old].core), RAFT_LEADER);
    assert_int_equal(net->nodes[old].reads_failed, 1);
}

static void script_conflict(struct net *net)
{
    struct sw_buf *trace = net->trace;
    uint64_t old = net_leader(net);
    net->trace = NULL;
    net_isolate(net, old);
    assert_int_equal(net_propose(net, old, 3, 8), RAFT_OK); /* never committed: taken back below */
    net_run(net, 1500);
    assert_int_not_equal(net_leader(net), old);
    assert_int_equal(net_propose(net, net_leader(net), 1, 8), RAFT_OK);
    net_run(net, 20);
    net->trace = trace;
    net_heal(net);
    assert_true(net_until(net, net_settled, 2000));
}

static void script_transfer(struct net *net)
{
    uint64_t old = net_leader(net), to = old == 3 ? 1 : 3;
    assert_int_equal(net_propose(net, old, 1, 8), RAFT_OK);
    assert_int_equal(net_step(net, old, (struct raft_event) { .type = RAFT_EV_TRANSFER, .peer = to }), RAFT_OK);
    assert_int_equal(net_propose(net, old, 1, 8), RAFT_E_TRANSFER);
    assert_true(net_until(net, net_settled, 1000));
    net_run(net, 5);
    assert_int_equal(net_leader(net), to);
}

static void script_read(struct net *net)
{
    uint64_t leader = net_leader(net);
    for (int i = 0; i < 3; i++)
        assert_int_equal(net_read(net, leader), RAFT_OK); /* the first starts a round, the others share the next */
    net_run(net, 10);
    assert_int_equal(net->nodes[leader].reads_ok, 3);
}

static void script_joint(struct net *net)
{
    assert_int_equal(net_config(net, net_leader(net), 1u << 3 | 1u << 4 | 1u << 5, 1u << 1), RAFT_OK);
    assert_int_equal(net_config(net, net_leader(net), VOTERS_3, 0), RAFT_E_PENDING);
    assert_true(net_until(net, net_settled, 3000));
}

static void test_traces(void **state)
{
    (void)state;
    trace_of("raft-single", 1, 1u << 1, false, script_single);
    trace_of("raft-election", 3, VOTERS_3, false, script_election);
    trace_of("raft-replication", 3, VOTERS_3, true, script_replication);
    trace_of("raft-conflict", 3, VOTERS_3, true, script_conflict);
    trace_of("raft-check-quorum", 3, VOTERS_3, true, script_check_quorum);
    trace_of("raft-transfer", 3, VOTERS_3, true, script_transfer);
    trace_of("raft-read", 3, VOTERS_3, true, script_read);
    trace_of("raft-joint", 5, VOTERS_3, true, script_joint);
}

/* ---- random ---- */
static unsigned random_voters(struct net *net)
{
    unsigned voters = 0;
    while (voters == 0)
        voters = (unsigned)sw_rng_below(&net->rng, 1u << net->count) << 1;
    return voters;
}

static void random_fault(struct net *net, bool members)
{
    uint64_t a = 1 + sw_rng_below(&net->rng, net->count), b = 1 + sw_rng_below(&net->rng, net->count);
    struct net_node *node = &net->nodes[a];
    uint64_t leader = net_leader(net);
    switch (sw_rng_below(&net->rng, 13)) {
    case 0:
        if (node->core != NULL)
            net_crash(net, a);
        break;
    case 1:
    case 2:
        if (node->core == NULL)
            net_start(net, a);
        break;
    case 3:
        net_cut(net, a, b);
        break;
    case 4:
        net_isolate(net, a);
        break;
    case 5:
    case 6:
        net_heal(net);
        break;
    case 7:
        if (node->core != NULL)
            net_compact(net, a, sw_rng_below(&net->rng, 10));
        break;
    case 8:
        if (leader != 0)
            (void)net_step(net, leader, (struct raft_event) { .type = RAFT_EV_TRANSFER, .peer = b });
        break;
    case 9:
        if (leader != 0 && members)
            (void)net_config(net, leader, random_voters(net), random_voters(net));
        break;
    case 10:
        if (node->core != NULL)
            (void)net_read(net, a);
        break;
    case 11:
        if (node->core != NULL && raft_role(node->core) == RAFT_LEADER)
            (void)net_step(net, a, (struct raft_event) { .type = RAFT_EV_UNREACHABLE, .peer = b });
        break;
    case 12:
        if (leader != 0 && net->nodes[leader].paused_until_ms < net->now_ms)
            net->nodes[leader].paused_until_ms = net->now_ms + 1 + sw_rng_below(&net->rng, 1500);
        break;
    }
}

static uint64_t random_run(uint64_t seed)
{
    size_t nodes = 3 + seed % 3;
    bool members = seed % 2 == 0;
    struct net *net = net_new(seed, nodes, members ? VOTERS_3 : (2u << nodes) - 2);
    net->delay_max_ms = 1 + seed % 40;
    net->sync_max_ms = seed % 7 == 6 ? 250 : seed % 7 * 5;
    net->lost_ppm = seed % 5 * 30000;
    net->twice_ppm = seed % 3 * 50000;
    for (int i = 0; i < 150; i++) {
        net_run(net, sw_rng_below(&net->rng, 120));
        random_fault(net, members);
        for (uint64_t id = 1; id <= net->count; id++) { /* also whoever wrongly believes to lead */
            if (net->nodes[id].paused_until_ms > net->now_ms)
                continue;
            if (net->nodes[id].core != NULL && raft_role(net->nodes[id].core) == RAFT_LEADER)
                (void)net_propose(net, id, 1 + sw_rng_below(&net->rng, 5), sw_rng_below(&net->rng, 2000));
            if (net->nodes[id].core != NULL && raft_role(net->nodes[id].core) == RAFT_LEADER)
                (void)net_read(net, id);
        }
    }
    net_heal(net);
    net->lost_ppm = net->twice_ppm = 0;
    for (uint64_t id = 1; id <= net->count; id++) {
        if (net->nodes[id].core == NULL)
            net_start(net, id);
    }
    net_run(net, 1000); /* a transfer under way ends */
    if (!net_until(net, net_settled, 20000)) {
        net_dump(net);
        abort();
    }
    uint64_t committed = net->committed;
    assert_int_equal(net_propose(net, net_leader(net), 1, 0), RAFT_OK);
    assert_true(net_until(net, net_settled, 5000));
    assert_true(net->committed > committed);
    net_free(net);
    return committed;
}

static void test_random(void **state)
{
    (void)state;
    const char *first = getenv("RAFT_SEED"), *count = getenv("RAFT_SEEDS");
    uint64_t seed = first != NULL ? strtoull(first, NULL, 10) : 1, committed = 0;
    uint64_t end = seed + (count != NULL ? strtoull(count, NULL, 10) : first != NULL ? 1 : 400);
    for (; seed < end; seed++)
        committed += random_run(seed);
    assert_true(committed > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traces),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
