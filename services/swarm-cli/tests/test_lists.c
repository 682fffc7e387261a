#include "services/swarm-cli/core/objects.h"
#include "services/swarm-cli/core/pretty.h"
#include "services/swarm-cli/core/rows.h"
#include "services/swarm-cli/core/table.h"

#include "common/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define NS INT64_C(1000000000)
#define NOW (1000 * NS)

static void expect(const struct table_kind *kind, json_t *rows, const char *format, bool quiet, const char *text)
{
    SW_AUTO_BUF out = { 0 };
    struct sw_err err = { 0 };
    assert_int_equal(table_print(kind, rows, format, quiet, &out, &err), 0);
    assert_string_equal(sw_buf_str(&out), text);
}

/* A service spec with what lists need, on the caller's stack. */
struct made_service {
    Swarm__Service service;
    Swarm__Meta meta;
    Swarm__ServiceSpec spec;
    Swarm__TaskSpec task;
    Swarm__ContainerSpec container;
    Swarm__ServiceMode mode;
};

static void make_service(struct made_service *made, char *id, char *name, char *image)
{
    swarm__service__init(&made->service);
    swarm__meta__init(&made->meta);
    swarm__service_spec__init(&made->spec);
    swarm__task_spec__init(&made->task);
    swarm__container_spec__init(&made->container);
    swarm__service_mode__init(&made->mode);
    made->service.id = id;
    made->service.meta = &made->meta;
    made->service.spec = &made->spec;
    made->spec.name = name;
    made->spec.task = &made->task;
    made->spec.mode = &made->mode;
    made->mode.replicas = 3;
    made->task.container = &made->container;
    made->container.image = image;
}

static void test_services(void **state)
{
    struct made_service made[2];
    Swarm__Service *list[] = { &made[0].service, &made[1].service };
    Swarm__ServiceCount count = SWARM__SERVICE_COUNT__INIT;
    Swarm__ServiceCount *counts[] = { &count };
    Swarm__ServiceListReply reply = SWARM__SERVICE_LIST_REPLY__INIT;
    Swarm__PortConfig ports[3] = { SWARM__PORT_CONFIG__INIT, SWARM__PORT_CONFIG__INIT, SWARM__PORT_CONFIG__INIT };
    Swarm__PortConfig *port_list[] = { &ports[0], &ports[1], &ports[2] };
    Swarm__Endpoint endpoint = SWARM__ENDPOINT__INIT;
    Swarm__Placement placement = SWARM__PLACEMENT__INIT;
    (void)state;
    make_service(&made[0], (char *)"kbj0uwokclyhd0ukgdebcdw7g", (char *)"web10",
                 (char *)"docker.io/library/nginx:alpine@sha256:00");
    make_service(&made[1], (char *)"t3d1pmhemsh0aaaaaaaaaaaaa", (char *)"web2", (char *)"reg:5000/agent:2.1");
    made[1].mode.kind = SWARM__SERVICE_MODE_KIND__MODE_GLOBAL;
    placement.max_replicas = 1;
    made[0].task.placement = &placement;
    count.service_id = made[0].service.id;
    count.running = 2;
    count.desired = 3;
    ports[0].target_port = ports[0].published_port = 9001;
    ports[1].target_port = ports[1].published_port = 9000;
    ports[2].target_port = 80;
    ports[2].published_port = 8080;
    ports[2].publish_mode = SWARM__PUBLISH_MODE__PUBLISH_HOST;
    endpoint.ports = port_list;
    endpoint.n_ports = 3;
    made[0].service.endpoint = &endpoint;
    reply.services = list;
    reply.n_services = 2;
    reply.counts = counts;
    reply.n_counts = 1;
    json_auto_t *rows = rows_services(&reply);
    expect(&table_services, rows, "", false,
           "ID             NAME      MODE         REPLICAS               IMAGE                PORTS\n"
           "t3d1pmhemsh0   web2      global       0/0                    reg:5000/agent:2.1   \n"
           "kbj0uwokclyh   web10     replicated   2/3 (max 1 per node)   nginx:alpine         *:9000-9001->9000-9001/tcp\n");
    expect(&table_services, rows, "", true, "t3d1pmhemsh0\nkbj0uwokclyh\n");
    expect(&table_services, rows, "{{.Name}}: {{.Replicas}}", false, "web2: 0/0\nweb10: 2/3 (max 1 per node)\n");
    expect(&table_services, rows, "table {{.Name}}\\t{{.Mode}}", false,
           "NAME      MODE\nweb2      global\nweb10     replicated\n");
    expect(&table_services, rows, "raw", true, "id: t3d1pmhemsh0\nid: kbj0uwokclyh\n");
    SW_AUTO_BUF out = { 0 };
    struct sw_err err = { 0 };
    assert_int_equal(table_print(&table_services, rows, "json", false, &out, &err), 0);
    assert_non_null(strstr(out.data,
                           "{\"ID\":\"kbj0uwokclyh\",\"Image\":\"nginx:alpine\",\"Mode\":\"replicated\",\"Name\":\"web10\","
                           "\"Ports\":\"*:9000-9001-\\u003e9000-9001/tcp\",\"Replicas\":\"2/3 (max 1 per node)\"}\n"));
    sw_buf_reset(&out);
    assert_int_equal(table_print(&table_services, rows, "{{.Foo}}", false, &out, &err), -SW_INVALID);
    assert_memory_equal(err.text, "template parsing error: ", 24);
    assert_non_null(strstr(err.text, "can't evaluate field Foo"));
    json_auto_t *none = json_array();
    expect(&table_services, none, NULL, false, "ID        NAME      MODE      REPLICAS   IMAGE     PORTS\n");
}

static void make_task(Swarm__Task *task, Swarm__Meta *meta, Swarm__TaskStatus *status, Swarm__TaskSpec *spec, int64_t created_s)
{
    swarm__task__init(task);
    swarm__meta__init(meta);
    swarm__task_status__init(status);
    task->meta = meta;
    task->status = status;
    task->spec = spec;
    task->service_id = (char *)"kbj0uwokclyhd0ukgdebcdw7g";
    task->service_name = (char *)"web";
    task->node_id = (char *)"d63d2hmvacps8x2qdw95r2lel";
    task->slot = 1;
    meta->created_ns = created_s * NS;
    status->has_timestamp_ns = 1;
    status->timestamp_ns = created_s * NS;
    status->state = SWARM__TASK_STATE__TASK_RUNNING;
    task->desired_state = SWARM__TASK_STATE__TASK_RUNNING;
}

static void test_tasks(void **state)
{
    Swarm__Task tasks[3];
    Swarm__Meta metas[3];
    Swarm__TaskStatus statuses[3];
    Swarm__TaskSpec spec = SWARM__TASK_SPEC__INIT;
    Swarm__ContainerSpec container = SWARM__CONTAINER_SPEC__INIT;
    Swarm__Task *list[] = { &tasks[0], &tasks[1], &tasks[2] };
    Swarm__Node node = SWARM__NODE__INIT;
    Swarm__NodeDescription description = SWARM__NODE_DESCRIPTION__INIT;
    Swarm__Node *nodes[] = { &node };
    struct rows_task_options options = { .now_ns = NOW };
    (void)state;
    container.image = (char *)"nginx:alpine";
    spec.container = &container;
    make_task(&tasks[0], &metas[0], &statuses[0], &spec, 900);
    make_task(&tasks[1], &metas[1], &statuses[1], &spec, 983);
    make_task(&tasks[2], &metas[2], &statuses[2], &spec, 983);
    tasks[0].id = (char *)"q7g0y2m1c9zzaaaaaaaaaaaaa";
    tasks[1].id = (char *)"ad37o6m5uzkraaaaaaaaaaaaa";
    tasks[2].id = (char *)"tzjclkpihuivaaaaaaaaaaaaa";
    tasks[2].slot = 10;
    tasks[0].desired_state = SWARM__TASK_STATE__TASK_SHUTDOWN;
    statuses[0].state = SWARM__TASK_STATE__TASK_FAILED;
    statuses[0].err = (char *)"task: non-zero exit (137) and a long story";
    node.id = (char *)"d63d2hmvacps8x2qdw95r2lel";
    node.description = &description;
    description.hostname = (char *)"mgr-1";
    json_auto_t *rows = rows_tasks(list, 3, nodes, 1, &options);
    expect(
        &table_tasks, rows, "", false,
        "ID             NAME        IMAGE          NODE      DESIRED STATE   CURRENT STATE               ERROR                   "
        "           "
        "PORTS\n"
        "ad37o6m5uzkr   web.1       nginx:alpine   mgr-1     Running         Running 17 seconds ago                              "
        "           "
        "\n"
        "q7g0y2m1c9zz    \\_ web.1   nginx:alpine   mgr-1     Shutdown        Failed about a minute ago   \"task: non-zero exit "
        "(137) and\xe2\x80\xa6\"   \n"
        "tzjclkpihuiv   web.10      nginx:alpine   mgr-1     Running         Running 17 seconds ago                              "
        "           "
        "\n");
    options = (struct rows_task_options) { .no_trunc = true, .no_resolve = true, .now_ns = NOW };
    json_auto_t *whole = rows_tasks(list, 1, nodes, 1, &options);
    expect(
        &table_tasks, whole, "{{.ID}} {{.Name}} {{.Node}} {{.Error}}", false,
        "q7g0y2m1c9zzaaaaaaaaaaaaa kbj0uwokclyhd0ukgdebcdw7g.1 d63d2hmvacps8x2qdw95r2lel \"task: non-zero exit (137) and a long "
        "story\"\n");
}

static void test_nodes(void **state)
{
    Swarm__Node node = SWARM__NODE__INIT;
    Swarm__NodeSpec spec = SWARM__NODE_SPEC__INIT;
    Swarm__NodeStatus status = SWARM__NODE_STATUS__INIT;
    Swarm__NodeDescription description = SWARM__NODE_DESCRIPTION__INIT;
    Swarm__ManagerStatus manager = SWARM__MANAGER_STATUS__INIT;
    Swarm__Node *nodes[] = { &node };
    Swarm__ManagerStatus *managers[] = { &manager };
    Swarm__NodeListReply reply = SWARM__NODE_LIST_REPLY__INIT;
    (void)state;
    node.id = manager.node_id = reply.self = (char *)"d63d2hmvacps8x2qdw95r2lel";
    node.spec = &spec;
    node.status = &status;
    node.description = &description;
    status.state = SWARM__NODE_STATE__NODE_READY;
    description.hostname = (char *)"mgr-1";
    description.engine_version = (char *)"0.1.0";
    manager.leader = 1;
    reply.nodes = nodes;
    reply.n_nodes = 1;
    reply.managers = managers;
    reply.n_managers = 1;
    json_auto_t *rows = rows_nodes(&reply);
    expect(&table_nodes, rows, "", false,
           "ID                            HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   ENGINE VERSION\n"
           "d63d2hmvacps8x2qdw95r2lel *   mgr-1      Ready     Active         Leader           0.1.0\n");
    expect(&table_nodes, rows, "{{.ID}} {{if .Self}}me{{end}}", false, "d63d2hmvacps8x2qdw95r2lel me\n");
    expect(&table_nodes, rows, NULL, true, "d63d2hmvacps8x2qdw95r2lel\n");
}

static void test_images(void **state)
{
    Swarm__Image image = SWARM__IMAGE__INIT;
    Swarm__Image *images[] = { &image };
    char *names[] = { (char *)"docker.io/library/demo:latest", (char *)"reg:5000/a/b:1" };
    Swarm__ImageListReply reply = SWARM__IMAGE_LIST_REPLY__INIT;
    (void)state;
    image.digest = (char *)"sha256:0123456789abcdef0123";
    image.names = names;
    image.n_names = 2;
    image.size = 4260000;
    image.created_ns = 0;
    reply.images = images;
    reply.n_images = 1;
    json_auto_t *rows = rows_images(&reply, false, NOW);
    expect(&table_images, rows, "", false,
           "REPOSITORY     TAG       IMAGE ID       CREATED          SIZE\n"
           "demo           latest    0123456789ab   16 minutes ago   4.26MB\n"
           "reg:5000/a/b   1         0123456789ab   16 minutes ago   4.26MB\n");
}

static void test_natural(void **state)
{
    (void)state;
    assert_true(table_natural("web2", "web10") < 0);
    assert_true(table_natural("web10", "web2") > 0);
    assert_int_equal(table_natural("a", "a"), 0);
    assert_true(table_natural("a", "a1") < 0);
    assert_true(table_natural("a02b", "a2c") < 0);
}

static void test_time(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        { 0, "1970-01-01T00:00:00Z" },
        { INT64_C(1795426550110447000), "2026-11-23T09:35:50.110447Z" },
        { INT64_C(951782400) * NS, "2000-02-29T00:00:00Z" },
        { -1, "1969-12-31T23:59:59.999999999Z" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        objects_time(cases[i].ns, text, sizeof text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_pretty(void **state)
{
    struct made_service made;
    SW_AUTO_BUF out = { 0 };
    (void)state;
    make_service(&made, (char *)"kbj0uwokclyhd0ukgdebcdw7g", (char *)"web", (char *)"nginx:alpine");
    json_auto_t *object = objects_service(&made.service);
    pretty_service(object, &out);
    assert_string_equal(out.data, "\nID:\t\tkbj0uwokclyhd0ukgdebcdw7g\nName:\t\tweb\nService Mode:\tReplicated\n Replicas:\t3\n"
                                  "ContainerSpec:\n Image:\t\tnginx:alpine\nEndpoint Mode:\tvip\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_services), cmocka_unit_test(test_tasks),   cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_images),   cmocka_unit_test(test_natural), cmocka_unit_test(test_time),
        cmocka_unit_test(test_pretty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
