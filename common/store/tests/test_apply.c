#include "common/store/tests/objects.h"

#include "common/store/apply.h"

struct fixture {
    struct mirror *mirror;
    uint64_t index;
    Swarm__StoreBatch *batch;
    struct apply_result result;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture) { .mirror = mirror_new(), .batch = store_batch_new(1000) };
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    apply_result_deinit(&f->result);
    sw_pb_free(f->batch);
    mirror_free(f->mirror);
    return 0;
}

/* Apply what was put into the batch; returns the code of its first transaction. */
static int run(struct fixture *f)
{
    apply_result_deinit(&f->result);
    apply_batch(f->mirror, ++f->index, 1, f->batch, &f->result);
    sw_pb_free(f->batch);
    f->batch = store_batch_new(1000 + (int64_t)f->index);
    return f->result.results[0]->code;
}

static int run_one(struct fixture *f, Swarm__ActionKind kind, Swarm__Table table, uint64_t version, void *object)
{
    test_act(store_batch_txn(f->batch), kind, table, version, object);
    return run(f);
}

static void create_sets_meta_and_versions(void **state)
{
    struct fixture *f = *state;
    f->index = 6;
    assert_int_equal(run_one(f, A_CREATE, T_SERVICE, 0, test_service("s", "web")), 0);
    const Swarm__Service *service = mirror_service(f->mirror, "s");
    assert_int_equal(service->meta->version, 7);
    assert_int_equal(service->meta->created_ns, 1000);
    assert_int_equal(service->spec_version, 7);
    Swarm__Service *next = test_service("s", "web");
    next->spec_version = UINT64_MAX;
    assert_int_equal(run_one(f, A_UPDATE, T_SERVICE, 7, next), 0);
    service = mirror_service(f->mirror, "s");
    assert_int_equal(service->spec_version, 8);
    assert_int_equal(service->meta->created_ns, 1000);
    assert_int_equal(service->meta->updated_ns, 1007);
    assert_int_equal(f->result.change_count, 1);
    assert_ptr_equal(f->result.changes[0].object, service);
}

static void versions_are_compared(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run_one(f, A_CREATE, T_SERVICE, 0, test_service("s", "web")), 0);
    assert_int_equal(run_one(f, A_UPDATE, T_SERVICE, 9, test_service("s", "web")), SW_CONFLICT);
    assert_non_null(strstr(f->result.results[0]->error, "update out of sequence"));
    assert_int_equal(run_one(f, A_UPDATE, T_SERVICE, 1, test_service("s", "web")), 0);
    assert_int_equal(run_one(f, A_UPDATE, T_SERVICE, 0, test_service("none", "none")), SW_NOT_FOUND);
    store_txn_add(store_batch_txn(f->batch), store_action_new(A_REMOVE, T_SERVICE, "s", 1, NULL));
    assert_int_equal(run(f), SW_CONFLICT);
    store_txn_add(store_batch_txn(f->batch), store_action_new(A_REMOVE, T_SERVICE, "s", 3, NULL));
    assert_int_equal(run(f), 0);
    assert_string_equal(f->result.changes[0].id, "s");
    assert_null(f->result.changes[0].object);
}

static void names_and_ids_are_unique(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run_one(f, A_CREATE, T_SERVICE, 0, test_service("s", "web")), 0);
    assert_int_equal(run_one(f, A_CREATE, T_SERVICE, 0, test_service("s", "other")), SW_EXISTS);
    assert_int_equal(run_one(f, A_CREATE, T_SERVICE, 0, test_service("t", "WEB")), SW_EXISTS);
    assert_string_equal(f->result.results[0]->error, "name conflicts with an existing object: service WEB already exists");
    assert_int_equal(run_one(f, A_CREATE, T_SERVICE, 0, test_service("t", "api")), 0);
    assert_int_equal(run_one(f, A_UPDATE, T_SERVICE, 0, test_service("t", "Web")), SW_EXISTS);
    assert_int_equal(run_one(f, A_UPDATE, T_SERVICE, 0, test_service("t", "API")), 0);
    /* The same transaction may free a name and take it. */
    Swarm__StoreTxn *txn = store_batch_txn(f->batch);
    store_txn_add(txn, store_action_new(A_REMOVE, T_SERVICE, "s", 0, NULL));
    test_act(txn, A_CREATE, T_SERVICE, 0, test_service("u", "web"));
    assert_int_equal(run(f), 0);
    /* Nodes may share a host name. */
    assert_int_equal(run_one(f, A_CREATE, T_NODE, 0, test_node("n1", "h")), 0);
    assert_int_equal(run_one(f, A_CREATE, T_NODE, 0, test_node("n2", "h")), 0);
}

static Swarm__Service *published(const char *id, uint32_t port)
{
    Swarm__Service *service = test_service(id, id);
    service->spec->endpoint = sw_alloc0(sizeof *service->spec->endpoint);
    swarm__endpoint_spec__init(service->spec->endpoint);
    service->spec->endpoint->ports = sw_alloc0(sizeof *service->spec->endpoint->ports);
    service->spec->endpoint->n_ports = 1;
    Swarm__PortConfig *config = service->spec->endpoint->ports[0] = sw_alloc0(sizeof *config);
    swarm__port_config__init(config);
    config->target_port = 80;
    config->has_published_port = true;
    config->published_port = port;
    return service;
}

/* Both were valid when they were proposed. */
static void two_services_cannot_have_one_port(void **state)
{
    struct fixture *f = *state;
    test_act(store_batch_txn(f->batch), A_CREATE, T_SERVICE, 0, published("one", 8080));
    test_act(store_batch_txn(f->batch), A_CREATE, T_SERVICE, 0, published("two", 8080));
    test_act(store_batch_txn(f->batch), A_CREATE, T_SERVICE, 0, published("three", 8081));
    assert_int_equal(run(f), 0);
    assert_int_equal(f->result.results[1]->code, SW_INVALID);
    assert_string_equal(f->result.results[1]->error, "port '8080' is already in use by service 'one' (one) as an ingress port");
    assert_int_equal(f->result.results[2]->code, 0);
    Swarm__Service *moved = published("three", 8080);
    moved->spec_version = UINT64_MAX;
    assert_int_equal(run_one(f, A_UPDATE, T_SERVICE, 0, moved), SW_INVALID);
    Swarm__Service *same = published("three", 8081); /* stands not in its own way */
    same->spec_version = UINT64_MAX;
    assert_int_equal(run_one(f, A_UPDATE, T_SERVICE, 0, same), 0);
    assert_int_equal(run_one(f, A_UPDATE, T_SERVICE, 0, published("three", 8080)), 0); /* the scheduler going back */
}

static void a_refused_transaction_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run_one(f, A_CREATE, T_SERVICE, 0, test_service("s", "web")), 0);
    const Swarm__Service *before = mirror_service(f->mirror, "s");
    Swarm__StoreTxn *txn = store_batch_txn(f->batch);
    test_act(txn, A_CREATE, T_TASK, 0, test_task("a", "s", 1, "n"));
    test_act(txn, A_UPDATE, T_SERVICE, 1, test_service("s", "renamed"));
    test_act(txn, A_UPDATE, T_TASK, 0, test_task("a", "s", 2, "m"));
    store_txn_add(txn, store_action_new(A_REMOVE, T_SERVICE, "s", 0, NULL));
    store_txn_add(txn, store_action_new(A_REMOVE, T_TASK, "missing", 0, NULL));
    test_act(store_batch_txn(f->batch), A_CREATE, T_NODE, 0, test_node("n", "h"));
    assert_int_equal(run(f), SW_NOT_FOUND);
    assert_int_equal(f->result.results[1]->code, 0); /* the other transaction stands */
    assert_int_equal(f->result.change_count, 1);
    assert_ptr_equal(mirror_service(f->mirror, "s"), before);
    assert_ptr_equal(mirror_by_name(f->mirror, T_SERVICE, "web"), before);
    assert_null(mirror_by_name(f->mirror, T_SERVICE, "renamed"));
    assert_int_equal(mirror_count(f->mirror, T_TASK), 0);
    assert_int_equal(mirror_tasks_of_node(f->mirror, "m").count, 0);
}

static Swarm__Task *report(const char *node_id, Swarm__TaskState task_state)
{
    Swarm__Task *task = test_task("a", "s", 0, node_id);
    task->status->state = task_state;
    return task;
}

static void task_states_only_grow(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run_one(f, A_CREATE, T_TASK, 0, test_task("a", "s", 1, "n")), 0);
    assert_int_equal(run_one(f, A_TASK_STATUS, T_TASK, 0, report("n", SWARM__TASK_STATE__TASK_RUNNING)), 0);
    assert_int_equal(f->result.change_count, 1);
    assert_int_equal(run_one(f, A_TASK_STATUS, T_TASK, 0, report("n", SWARM__TASK_STATE__TASK_READY)), 0);
    assert_int_equal(f->result.change_count, 0);
    assert_int_equal(run_one(f, A_TASK_STATUS, T_TASK, 0, report("other", SWARM__TASK_STATE__TASK_FAILED)), 0);
    assert_int_equal(f->result.change_count, 0);
    const Swarm__Task *task = mirror_task(f->mirror, "a");
    assert_int_equal(task->status->state, SWARM__TASK_STATE__TASK_RUNNING);
    assert_int_equal(task->slot, 1); /* only the status was taken */
    assert_int_equal(run_one(f, A_UPDATE, T_TASK, 0, report("n", SWARM__TASK_STATE__TASK_READY)), SW_CONFLICT);
    assert_int_equal(run_one(f, A_TASK_STATUS, T_SERVICE, 0, test_service("s", "x")), SW_INVALID);
}

static void node_status_ignores_versions(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run_one(f, A_CREATE, T_NODE, 0, test_node("n", "h")), 0);
    Swarm__Node *node = test_node("n", "h2");
    node->status = sw_alloc0(sizeof *node->status);
    swarm__node_status__init(node->status);
    node->status->has_state = true;
    node->status->state = SWARM__NODE_STATE__NODE_READY;
    assert_int_equal(run_one(f, A_NODE_STATUS, T_NODE, 0, node), 0);
    const Swarm__Node *stored = mirror_node(f->mirror, "n");
    assert_int_equal(stored->status->state, SWARM__NODE_STATE__NODE_READY);
    assert_string_equal(stored->description->hostname, "h2");
    assert_int_equal(run_one(f, A_NODE_STATUS, T_NODE, 0, test_node("gone", "h")), 0);
    assert_int_equal(f->result.change_count, 0);
}

static void another_term_is_fenced(void **state)
{
    struct fixture *f = *state;
    f->batch->has_term = true;
    f->batch->term = 2;
    (void)store_batch_txn(f->batch);
    assert_int_equal(run_one(f, A_CREATE, T_NODE, 0, test_node("n", "h")), SW_FENCED);
    assert_int_equal(f->result.result_count, 2);
    assert_int_equal(f->result.results[1]->code, SW_FENCED);
    assert_int_equal(mirror_count(f->mirror, T_NODE), 0);
    f->batch->has_term = true;
    f->batch->term = 1;
    assert_int_equal(run_one(f, A_CREATE, T_NODE, 0, test_node("n", "h")), 0);
}

static void bad_actions_are_refused(void **state)
{
    struct fixture *f = *state;
    Swarm__StoreAction *action = store_action_new(A_CREATE, T_NODE, "n", 0, NULL);
    store_txn_add(store_batch_txn(f->batch), action);
    assert_int_equal(run(f), SW_INVALID);
    Swarm__Node *node = test_node("n", "h");
    action = store_action_new(A_CREATE, T_NODE, "m", 0, node);
    sw_pb_free(node);
    store_txn_add(store_batch_txn(f->batch), action);
    assert_int_equal(run(f), SW_INVALID);
    assert_int_equal(run_one(f, A_CREATE, T_NODE, 0, test_node("", "h")), SW_INVALID);
    action = store_action_new(A_REMOVE, T_NODE, "m", 0, NULL);
    action->table = (Swarm__Table)42;
    store_txn_add(store_batch_txn(f->batch), action);
    assert_int_equal(run(f), SW_INVALID);
}

/* A change of the first entry may be replaced by the second: what the first one told must stay readable. */
static void changes_outlive_later_ones(void **state)
{
    struct fixture *f = *state;
    test_act(store_batch_txn(f->batch), A_CREATE, T_SERVICE, 0, test_service("s", "one"));
    test_act(store_batch_txn(f->batch), A_UPDATE, T_SERVICE, 0, test_service("s", "two"));
    store_txn_add(store_batch_txn(f->batch), store_action_new(A_REMOVE, T_SERVICE, "s", 0, NULL));
    assert_int_equal(run(f), 0);
    assert_int_equal(f->result.change_count, 3);
    assert_string_equal(store_object_name(f->result.changes[0].object), "one");
    assert_string_equal(store_object_name(f->result.changes[1].object), "two");
    assert_string_equal(f->result.changes[2].id, "s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(create_sets_meta_and_versions, setup, teardown),
        cmocka_unit_test_setup_teardown(versions_are_compared, setup, teardown),
        cmocka_unit_test_setup_teardown(names_and_ids_are_unique, setup, teardown),
        cmocka_unit_test_setup_teardown(two_services_cannot_have_one_port, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_transaction_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(task_states_only_grow, setup, teardown),
        cmocka_unit_test_setup_teardown(node_status_ignores_versions, setup, teardown),
        cmocka_unit_test_setup_teardown(another_term_is_fenced, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_actions_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(changes_outlive_later_ones, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
