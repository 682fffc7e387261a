/* The core by golden traces: each scenario's events and effects, word for word, in <case>.trace (UPDATE_TRACES=1 writes them). */
#include "common/base/tests/golden.h"
#include "services/ingress-lb/core/lb.h"

#define TCP SWARM__PORT_PROTOCOL__PORT_TCP
#define UDP SWARM__PORT_PROTOCOL__PORT_UDP
#define SCTP SWARM__PORT_PROTOCOL__PORT_SCTP
#define DRAINING SWARM__BACKEND_STATE__BACKEND_DRAINING

enum { PORTS = 4, BACKENDS = 4 };

/* A message in fixed memory, so that a scenario reads as the table it sends. */
struct sent {
    Swarm__EndpointTable table;
    Swarm__PublishedPort ports[PORTS];
    Swarm__PublishedPort *port_list[PORTS];
    Swarm__Backend backends[PORTS][BACKENDS];
    Swarm__Backend *backend_list[PORTS][BACKENDS];
    Swarm__LocalNetwork network;
    Swarm__LocalNetwork *network_list[1];
};

static void sent_init(struct sent *sent, uint64_t generation)
{
    memset(sent, 0, sizeof *sent);
    swarm__endpoint_table__init(&sent->table);
    swarm__local_network__init(&sent->network);
    static char bridge[] = "swbr0", subnet[] = "10.213.0.0/16";
    sent->table.generation = generation;
    sent->table.ports = sent->port_list;
    sent->network.bridge = bridge;
    sent->network.subnet = subnet;
    sent->network.masquerade = true;
    sent->network_list[0] = &sent->network;
    sent->table.networks = sent->network_list;
    sent->table.n_networks = 1;
}

static void port(struct sent *sent, Swarm__PortProtocol protocol, uint32_t published)
{
    size_t at = sent->table.n_ports++;
    Swarm__PublishedPort *p = &sent->ports[at];
    swarm__published_port__init(p);
    p->protocol = protocol;
    p->published_port = published;
    p->backends = sent->backend_list[at];
    sent->port_list[at] = p;
}

static void backend(struct sent *sent, const char *address, uint32_t number, Swarm__BackendState state)
{
    size_t at = sent->table.n_ports - 1;
    Swarm__PublishedPort *p = &sent->ports[at];
    Swarm__Backend *b = &sent->backends[at][p->n_backends];
    static char task[] = "task";
    swarm__backend__init(b);
    b->task_id = task;
    b->address = (char *)(uintptr_t)address;
    b->port = number;
    b->has_state = true;
    b->state = state;
    p->backends[p->n_backends++] = b;
}

struct scene {
    struct lb lb;
    struct sw_buf trace;
};

static void write_effects(struct scene *scene)
{
    static const char *const names[] = { "apply", "list", "ack", "refuse", "save", "forget-udp", "repair" };
    for (size_t i = 0; i < scene->lb.effect_count; i++) {
        const struct lb_effect *fx = &scene->lb.effects[i];
        sw_buf_addf(&scene->trace, "  > %s", names[fx->type]);
        if (fx->type == LB_FX_ACK || fx->type == LB_FX_SAVE)
            sw_buf_addf(&scene->trace, " %llu", (unsigned long long)fx->generation);
        for (size_t k = 0; fx->type == LB_FX_FORGET_UDP && k < scene->lb.flow_count; k++) {
            const struct lb_flow *flow = &scene->lb.flows[k];
            sw_buf_addf(&scene->trace, " %u->%s:%u", flow->published, flow->backend.address, flow->backend.port);
        }
        sw_buf_adds(&scene->trace, "\n");
        if (fx->type == LB_FX_APPLY)
            sw_buf_adds(&scene->trace, fx->text);
    }
}

static void event(struct scene *scene, const char *words, struct lb_event event)
{
    sw_buf_addf(&scene->trace, "< %s\n", words);
    lb_step(&scene->lb, &event);
    write_effects(scene);
}

static void send(struct scene *scene, struct sent *sent)
{
    struct lb_table *table = NULL;
    struct sw_err err = { 0 };
    char words[64];
    if (lb_table_new(&sent->table, &table, &err) != 0)
        fail_msg("%s", err.text);
    (void)snprintf(words, sizeof words, "table %llu", (unsigned long long)sent->table.generation);
    event(scene, words, (struct lb_event) { .type = LB_EV_TABLE, .table = table });
}

static void applied(struct scene *scene, bool ok, uint64_t kernel)
{
    event(scene, ok ? "applied" : "not applied",
          (struct lb_event) { .type = LB_EV_APPLIED, .ok = ok, .kernel_generation = kernel });
}

static void tick(struct scene *scene, uint64_t kernel)
{
    event(scene, "tick", (struct lb_event) { .type = LB_EV_TICK, .kernel_generation = kernel });
}

static void listed(struct scene *scene, bool there, uint64_t kernel, uint64_t hash)
{
    event(scene, there ? "listed" : "no table",
          (struct lb_event) { .type = LB_EV_LISTED, .ok = there, .kernel_generation = kernel, .hash = hash });
}

static void compare(struct scene *scene, const char *name)
{
    SW_AUTO(sw_free) char *path = sw_strf(TRACE_DIR "/%s.trace", name);
    golden_check(path, &scene->trace);
    lb_deinit(&scene->lb);
    sw_buf_deinit(&scene->trace);
}

static struct scene *scene_new(void)
{
    static struct scene scene;
    memset(&scene, 0, sizeof scene);
    lb_init(&scene.lb, "swarm");
    return &scene;
}

/* Published, one more task, one drains, it goes, all go, the service goes. */
static void test_life_of_a_port(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    struct sent sent;
    sent_init(&sent, 1);
    port(&sent, TCP, 8080);
    backend(&sent, "10.213.0.2", 80, 0);
    send(scene, &sent);
    applied(scene, true, 10);
    sent.table.generation = 2;
    backend(&sent, "10.213.0.3", 80, 0);
    send(scene, &sent);
    applied(scene, true, 11);
    sent.table.generation = 3;
    sent.backends[0][0].state = DRAINING;
    send(scene, &sent);
    applied(scene, true, 12);
    sent.table.generation = 4;
    sent.ports[0].backends++;
    sent.ports[0].n_backends--;
    send(scene, &sent);
    applied(scene, true, 13);
    sent.table.generation = 5;
    sent.ports[0].n_backends = 0;
    send(scene, &sent);
    applied(scene, true, 14);
    sent.table.generation = 6;
    sent.table.n_ports = 0;
    send(scene, &sent);
    applied(scene, true, 15);
    sent.table.generation = 7; /* nothing changed: acknowledged without the kernel */
    send(scene, &sent);
    compare(scene, "life-of-a-port");
}

static void test_families_and_protocols(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    struct sent sent;
    sent_init(&sent, 1);
    port(&sent, SCTP, 99);
    port(&sent, UDP, 53);
    backend(&sent, "10.213.0.9", 53, 0);
    backend(&sent, "10.213.0.10", 53, 0);
    port(&sent, TCP, 53);
    backend(&sent, "fd00:0::9", 53, 0);
    backend(&sent, "10.213.0.9", 53, 0);
    send(scene, &sent);
    applied(scene, true, 1);
    sent.table.generation = 2; /* one UDP backend gone, a new UDP port */
    sent.ports[1].n_backends = 1;
    port(&sent, UDP, 5353);
    send(scene, &sent);
    applied(scene, true, 2);
    sent.table.generation = 3;
    sent.table.n_networks = 0;
    send(scene, &sent);
    applied(scene, true, 3);
    compare(scene, "families-and-protocols");
}

static void test_self_repair(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    struct sent sent;
    tick(scene, 1); /* nothing is wanted yet */
    sent_init(&sent, 1);
    send(scene, &sent);
    applied(scene, true, 5);
    tick(scene, 5);
    listed(scene, true, 5, 77); /* ours for sure: the hash is kept */
    tick(scene, 5);
    tick(scene, 6);
    listed(scene, true, 6, 77); /* somebody changed another table */
    tick(scene, 7);
    listed(scene, true, 7, 78); /* somebody changed ours */
    applied(scene, true, 8);
    tick(scene, 9);
    listed(scene, false, 9, 0); /* somebody flushed everything */
    applied(scene, false, 9);
    tick(scene, 9);
    applied(scene, true, 10);
    tick(scene, 10);
    compare(scene, "self-repair");
}

static void test_refusals_by_the_kernel(void **state)
{
    (void)state;
    struct scene *scene = scene_new();
    struct sent sent;
    sent_init(&sent, 1);
    send(scene, &sent);
    applied(scene, false, 0); /* refused at once */
    tick(scene, 1);
    send(scene, &sent);
    applied(scene, true, 2);
    sent.table.generation = 2;
    port(&sent, TCP, 80);
    send(scene, &sent);
    applied(scene, false, 3); /* the change does not fit: tried as a whole */
    applied(scene, true, 4);
    sent.table.generation = 3;
    port(&sent, TCP, 81);
    send(scene, &sent);
    applied(scene, false, 5);
    applied(scene, false, 5); /* given up: generation 2 is wanted again */
    tick(scene, 5);
    applied(scene, true, 6);
    compare(scene, "refusals-by-the-kernel");
}

static void refused(struct sent *sent, int code, const char *part)
{
    struct lb_table *table = NULL;
    struct sw_err err = { 0 };
    assert_int_equal(lb_table_new(&sent->table, &table, &err), -code);
    if (strstr(err.text, part) == NULL)
        fail_msg("'%s' not in '%s'", part, err.text);
    assert_null(table);
}

static void test_bad_tables(void **state)
{
    (void)state;
    struct sent sent;
    static const char *const addresses[] = { "", "10.0.0", "10.0.0.1 ; flush ruleset", "::1::", "example", "10.0.0.1/8" };
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        sent_init(&sent, 1);
        port(&sent, TCP, 80);
        backend(&sent, addresses[i], 80, 0);
        refused(&sent, SW_INVALID, "port 80/tcp: backend address");
    }
    sent_init(&sent, 1);
    port(&sent, TCP, 65536);
    refused(&sent, SW_INVALID, "published port 65536: must be 1 to 65535");
    sent_init(&sent, 1);
    port(&sent, UDP, 80);
    backend(&sent, "10.0.0.1", 0, 0);
    refused(&sent, SW_INVALID, "port 80/udp: backend port 0: must be 1 to 65535");
    sent_init(&sent, 1);
    port(&sent, TCP, 80);
    port(&sent, TCP, 80);
    refused(&sent, SW_INVALID, "port 80/tcp is in the table twice");
    sent_init(&sent, 1);
    sent.ports[0].n_backends = 0;
    port(&sent, TCP, 80);
    sent.ports[0].n_backends = LB_BACKENDS_MAX + 1;
    refused(&sent, SW_LIMIT, "4097 backends, at most 4096");
    static const char *const bridges[] = { "", "sixteen-letters-", "a\"b", "a b", "../x", "a/b" };
    for (size_t i = 0; i < sizeof bridges / sizeof bridges[0]; i++) {
        sent_init(&sent, 1);
        sent.network.bridge = (char *)(uintptr_t)bridges[i];
        refused(&sent, SW_INVALID, "network bridge");
    }
    static const char *const subnets[] = { "10.0.0.0", "10.0.0.0/",   "10.0.0.0/33", "10.0.0.0/0",
                                           "x/8",      "10.0.0.0/8;", "fd00::/129" };
    for (size_t i = 0; i < sizeof subnets / sizeof subnets[0]; i++) {
        sent_init(&sent, 1);
        sent.network.subnet = (char *)(uintptr_t)subnets[i];
        refused(&sent, SW_INVALID, "want ADDRESS/PREFIX");
    }
}

static void test_names(void **state)
{
    (void)state;
    assert_true(rules_name_valid("swarm"));
    assert_true(rules_name_valid("swarm_lab_node1"));
    assert_false(rules_name_valid(""));
    assert_false(rules_name_valid("1swarm"));
    assert_false(rules_name_valid("swarm;"));
    assert_false(rules_name_valid("a2345678901234567890123456789012"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_a_port), cmocka_unit_test(test_families_and_protocols),
        cmocka_unit_test(test_self_repair),    cmocka_unit_test(test_refusals_by_the_kernel),
        cmocka_unit_test(test_bad_tables),     cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
