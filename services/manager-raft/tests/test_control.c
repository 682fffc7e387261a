/* The control API's core over a bare mirror: requests in, answers and batches out; batches are applied as Raft would. */
#include "common/store/tests/objects.h"

#include "common/base/names.h"
#include "common/store/apply.h"
#include "services/manager-raft/core/cluster.h"
#include "services/manager-raft/core/control.h"
#include "services/manager-raft/core/grants.h"
#include "services/manager-raft/core/validate.h"
#include "services/manager-raft/core/watch.h"

struct fixture {
    struct mirror *mirror;
    struct sw_scratch scratch;
    struct sw_rng rng;
    uint64_t index;
    struct control control;
    struct control_answer answer;
    struct sw_err err;
    char refused[SW_ERR_TEXT_MAX]; /* by apply */
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture) { .mirror = mirror_new() };
    sw_rng_seed(&fixture.rng, 1);
    fixture.control = (struct control) {
        .mirror = fixture.mirror,
        .scratch = &fixture.scratch,
        .rng = &fixture.rng,
        .now_ns = 5000,
        .self_id = "m1",
        .leader_id = "m1",
        .server_version = "1",
    };
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    control_answer_deinit(&f->answer);
    sw_scratch_deinit(&f->scratch);
    mirror_free(f->mirror);
    return 0;
}

/* Ask; frees the request. */
static int ask(struct fixture *f, void *request)
{
    control_answer_deinit(&f->answer);
    sw_scratch_reset(&f->scratch);
    int rc = control_request(&f->control, request, &f->answer, &f->err);
    sw_pb_free(request);
    return rc;
}

/* Apply the batch of the last answer; returns the transaction's code. */
static int commit(struct fixture *f)
{
    struct apply_result result;
    assert_non_null(f->answer.batch);
    apply_batch(f->mirror, ++f->index, 1, f->answer.batch, &result);
    int code = result.results[0]->code;
    (void)snprintf(f->refused, sizeof f->refused, "%s", code != 0 ? result.results[0]->error : "");
    apply_result_deinit(&result);
    return code;
}

static void *message(const ProtobufCMessageDescriptor *type)
{
    void *made = sw_alloc0(type->sizeof_message);
    type->message_init(made);
    return made;
}
#define NEW(name) message(&swarm__##name##__descriptor)

static Swarm__ServiceSpec *spec_new(const char *name)
{
    Swarm__Service *service = test_service("x", name);
    Swarm__ServiceSpec *spec = SW_TAKE(service->spec);
    sw_pb_free(service);
    return spec;
}

static Swarm__PortConfig *add_port(Swarm__ServiceSpec *spec, uint32_t published, Swarm__PublishMode mode)
{
    if (spec->endpoint == NULL)
        spec->endpoint = NEW(endpoint_spec);
    Swarm__EndpointSpec *endpoint = spec->endpoint;
    endpoint->ports = sw_realloc_array(endpoint->ports, endpoint->n_ports + 1, sizeof *endpoint->ports);
    Swarm__PortConfig *port = NEW(port_config);
    port->target_port = 80;
    port->has_published_port = true;
    port->published_port = published;
    port->has_publish_mode = true;
    port->publish_mode = mode;
    endpoint->ports[endpoint->n_ports++] = port;
    return port;
}

static int create(struct fixture *f, Swarm__ServiceSpec *spec)
{
    Swarm__ServiceCreateRequest *request = NEW(service_create_request);
    request->spec = spec;
    return ask(f, request);
}

static const Swarm__Service *created(struct fixture *f, Swarm__ServiceSpec *spec)
{
    assert_int_equal(create(f, spec), 0);
    assert_int_equal(commit(f), 0);
    const Swarm__ServiceCreateReply *reply = control_done(&f->control, &f->answer.done, f->index);
    assert_int_equal(reply->version, f->index);
    const Swarm__Service *service = mirror_service(f->mirror, reply->id);
    assert_non_null(service);
    assert_true(sw_id_valid(service->id));
    return service;
}

static int update(struct fixture *f, const char *id, uint64_t version, Swarm__ServiceSpec *spec, bool rollback)
{
    Swarm__ServiceUpdateRequest *request = NEW(service_update_request);
    request->id = sw_strdup(id);
    request->version = version;
    request->spec = spec;
    request->has_rollback = true;
    request->rollback = rollback;
    return ask(f, request);
}

static const void *get(struct fixture *f, const char *ref)
{
    Swarm__ServiceGetRequest *request = NEW(service_get_request);
    request->ref = sw_strdup(ref);
    return ask(f, request) == 0 ? ((const Swarm__ServiceGetReply *)f->answer.reply)->service : NULL;
}

static void put_node(struct fixture *f, const char *id, const char *host, Swarm__NodeState node_state)
{
    Swarm__Node *node = test_node(id, host);
    node->status = NEW(node_status);
    node->status->has_state = true;
    node->status->state = node_state;
    mirror_put(f->mirror, T_NODE, node);
}

static void put_task(struct fixture *f, const char *id, const char *service, const char *node, Swarm__TaskState task_state)
{
    Swarm__Task *task = test_task(id, service, 1, node);
    task->status->state = task_state;
    mirror_put(f->mirror, T_TASK, task);
}

/* ---- services ---- */

static void a_service_is_created_and_found(void **state)
{
    struct fixture *f = *state;
    const Swarm__Service *service = created(f, spec_new("web"));
    assert_int_equal(service->spec->mode->replicas, 1);
    assert_int_equal(service->spec_version, 1);
    char prefix[8];
    (void)snprintf(prefix, sizeof prefix, "%.6s", service->id);
    assert_ptr_equal(get(f, service->id), service);
    assert_ptr_equal(get(f, "WEB"), service);
    assert_ptr_equal(get(f, prefix), service);
    assert_null(get(f, "none"));
    assert_int_equal(f->err.code, SW_NOT_FOUND);
    assert_string_equal(f->err.text, "service none not found");
    assert_int_equal(create(f, spec_new("Web")), -SW_EXISTS);
    assert_string_equal(f->err.text, "name conflicts with an existing object: service Web already exists");
}

static void updates_compare_versions_and_keep_the_previous_spec(void **state)
{
    struct fixture *f = *state;
    const Swarm__Service *service = created(f, spec_new("web"));
    Swarm__ServiceSpec *next = spec_new("web");
    sw_pb_set(&next->task->container->image, "web:2");
    assert_int_equal(update(f, service->id, 9, sw_pb_clone(next), false), -SW_CONFLICT);
    assert_string_equal(f->err.text, "update out of sequence");
    assert_int_equal(update(f, service->id, 1, next, false), 0);
    assert_int_equal(commit(f), 0);
    assert_int_equal(commit(f), SW_CONFLICT); /* the same batch again: apply compares as well */
    service = mirror_by_name(f->mirror, T_SERVICE, "web");
    assert_string_equal(service->spec->task->container->image, "web:2");
    assert_string_equal(service->previous_spec->task->container->image, "web:1");
    assert_int_equal(service->spec_version, 2);
    assert_int_equal(service->previous_spec_version, 1);
    /* An equal spec changes neither spec version nor previous spec. */
    assert_int_equal(update(f, service->id, 2, sw_pb_clone(service->spec), false), 0);
    assert_int_equal(commit(f), 0);
    service = mirror_by_name(f->mirror, T_SERVICE, "web");
    assert_int_equal(service->spec_version, 2);
    assert_string_equal(service->previous_spec->task->container->image, "web:1");
    /* Rollback swaps, and swaps back. */
    assert_int_equal(update(f, service->id, service->meta->version, NULL, true), 0);
    assert_int_equal(commit(f), 0);
    service = mirror_by_name(f->mirror, T_SERVICE, "web");
    assert_string_equal(service->spec->task->container->image, "web:1");
    assert_int_equal(service->spec_version, 1);
    assert_int_equal(service->previous_spec_version, 2);
    assert_int_equal(service->update_status->state, SWARM__UPDATE_STATE__UPDATE_ROLLBACK_STARTED);
}

static void forbidden_updates_are_refused(void **state)
{
    struct fixture *f = *state;
    const Swarm__Service *service = created(f, spec_new("web"));
    assert_int_equal(update(f, service->id, 1, spec_new("other"), false), -SW_UNSUPPORTED);
    assert_string_equal(f->err.text, "renaming services is not supported");
    Swarm__ServiceSpec *global = spec_new("web");
    global->mode->kind = SWARM__SERVICE_MODE_KIND__MODE_GLOBAL;
    assert_int_equal(update(f, service->id, 1, global, false), -SW_UNSUPPORTED);
    assert_string_equal(f->err.text, "service mode change is not allowed");
    assert_int_equal(update(f, service->id, 1, NULL, true), -SW_PRECONDITION);
    assert_int_equal(update(f, "none", 1, spec_new("web"), false), -SW_NOT_FOUND);
    assert_int_equal(update(f, service->id, 1, NULL, false), -SW_INVALID);
}

static void a_removed_name_is_free(void **state)
{
    struct fixture *f = *state;
    (void)created(f, spec_new("web"));
    Swarm__ServiceRemoveRequest *request = NEW(service_remove_request);
    request->ref = sw_strdup("web");
    assert_int_equal(ask(f, request), 0);
    assert_int_equal(commit(f), 0);
    (void)created(f, spec_new("web"));
}

static void ports_conflict_by_mode(void **state)
{
    static const struct {
        Swarm__PublishMode has, wants;
        const char *text; /* NULL = no conflict */
    } cases[] = {
        { SWARM__PUBLISH_MODE__PUBLISH_INGRESS, SWARM__PUBLISH_MODE__PUBLISH_INGRESS, "as an ingress port" },
        { SWARM__PUBLISH_MODE__PUBLISH_HOST, SWARM__PUBLISH_MODE__PUBLISH_INGRESS, "as a host-published port" },
        { SWARM__PUBLISH_MODE__PUBLISH_INGRESS, SWARM__PUBLISH_MODE__PUBLISH_HOST, "as an ingress port" },
        { SWARM__PUBLISH_MODE__PUBLISH_HOST, SWARM__PUBLISH_MODE__PUBLISH_HOST, NULL },
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "web%zu", i);
        Swarm__ServiceSpec *spec = spec_new(name);
        (void)add_port(spec, (uint32_t)(8080 + i), cases[i].has);
        const Swarm__Service *service = created(f, spec);
        spec = spec_new("other");
        (void)add_port(spec, (uint32_t)(8080 + i), cases[i].wants);
        int rc = create(f, spec);
        assert_int_equal(rc, cases[i].text != NULL ? -SW_INVALID : 0);
        char want[256];
        (void)snprintf(want, sizeof want, "port '%zu' is already in use by service '%s' (%s) %s", 8080 + i, name, service->id,
                       cases[i].text != NULL ? cases[i].text : "");
        if (cases[i].text != NULL)
            assert_string_equal(f->err.text, want);
    }
}

/* ---- specs: one row a rule ---- */

static void no_name(Swarm__ServiceSpec *spec)
{
    sw_pb_set(&spec->name, "");
}
static void bad_name(Swarm__ServiceSpec *spec)
{
    sw_pb_set(&spec->name, "a_");
}
static void long_name(Swarm__ServiceSpec *spec)
{
    sw_pb_set(&spec->name, "a234567890123456789012345678901234567890123456789012345678901234");
}
static void no_image(Swarm__ServiceSpec *spec)
{
    sw_pb_set(&spec->task->container->image, "");
}
static void bad_image(Swarm__ServiceSpec *spec)
{
    sw_pb_set(&spec->task->container->image, "Web:x:y");
}
static void global_replicas(Swarm__ServiceSpec *spec)
{
    spec->mode->kind = SWARM__SERVICE_MODE_KIND__MODE_GLOBAL;
    spec->mode->has_replicas = true;
}
static void negative_replicas(Swarm__ServiceSpec *spec)
{
    spec->mode->replicas = UINT64_MAX;
}
static void many_replicas(Swarm__ServiceSpec *spec)
{
    spec->mode->replicas = CONTROL_REPLICAS_MAX + 1;
}
static void job_update(Swarm__ServiceSpec *spec)
{
    spec->mode->kind = SWARM__SERVICE_MODE_KIND__MODE_REPLICATED_JOB;
    spec->update = NEW(update_config);
}
static void update_delay(Swarm__ServiceSpec *spec)
{
    spec->update = NEW(update_config);
    spec->update->delay_ns = -1;
}
static void rollback_ratio(Swarm__ServiceSpec *spec)
{
    spec->rollback = NEW(update_config);
    spec->rollback->max_failure_ppm = 1000001;
}
static void set_limits(Swarm__ServiceSpec *spec, int64_t cpus, int64_t memory)
{
    spec->task->resources = NEW(resource_requirements);
    spec->task->resources->limits = NEW(resources);
    spec->task->resources->limits->nano_cpus = cpus;
    spec->task->resources->limits->memory_bytes = memory;
}
static void small_cpu(Swarm__ServiceSpec *spec)
{
    set_limits(spec, 500000, 0);
}
static void small_memory(Swarm__ServiceSpec *spec)
{
    set_limits(spec, 0, 4096);
}
static void restart_delay(Swarm__ServiceSpec *spec)
{
    spec->task->restart = NEW(restart_policy);
    spec->task->restart->delay_ns = -1;
}
static void bad_constraint(Swarm__ServiceSpec *spec)
{
    spec->task->placement = NEW(placement);
    spec->task->placement->constraints = sw_alloc0(sizeof(char *));
    spec->task->placement->constraints[0] = sw_strdup("node.role=manager");
    spec->task->placement->n_constraints = 1;
}
static Swarm__Mount *add_mount(Swarm__ServiceSpec *spec, Swarm__MountType type, const char *source, const char *target)
{
    Swarm__ContainerSpec *container = spec->task->container;
    container->mounts = sw_realloc_array(container->mounts, container->n_mounts + 1, sizeof *container->mounts);
    Swarm__Mount *mount = NEW(mount);
    mount->has_type = true;
    mount->type = type;
    mount->source = sw_strdup(source);
    mount->target = sw_strdup(target);
    container->mounts[container->n_mounts++] = mount;
    return mount;
}
static void bind_no_source(Swarm__ServiceSpec *spec)
{
    (void)add_mount(spec, SWARM__MOUNT_TYPE__MOUNT_BIND, NULL, "/x");
}
static void bind_relative(Swarm__ServiceSpec *spec)
{
    (void)add_mount(spec, SWARM__MOUNT_TYPE__MOUNT_BIND, "x", "/x");
}
static void target_relative(Swarm__ServiceSpec *spec)
{
    (void)add_mount(spec, SWARM__MOUNT_TYPE__MOUNT_VOLUME, "v", "x");
}
static void tmpfs_source(Swarm__ServiceSpec *spec)
{
    (void)add_mount(spec, SWARM__MOUNT_TYPE__MOUNT_TMPFS, "v", "/x");
}
static void same_target(Swarm__ServiceSpec *spec)
{
    (void)add_mount(spec, SWARM__MOUNT_TYPE__MOUNT_VOLUME, "a", "/x");
    (void)add_mount(spec, SWARM__MOUNT_TYPE__MOUNT_VOLUME, "b", "/x");
}
static void set_env(Swarm__ServiceSpec *spec, const char *text)
{
    spec->task->container->env = sw_alloc0(sizeof(char *));
    spec->task->container->env[0] = sw_strdup(text);
    spec->task->container->n_env = 1;
}
static void bad_env(Swarm__ServiceSpec *spec)
{
    set_env(spec, "=x");
}
static void bad_template(Swarm__ServiceSpec *spec)
{
    set_env(spec, "A={{.Nope}}");
}
static void health_interval(Swarm__ServiceSpec *spec)
{
    spec->task->container->health = NEW(health_config);
    spec->task->container->health->interval_ns = 1000;
}
static void same_port(Swarm__ServiceSpec *spec)
{
    (void)add_port(spec, 80, SWARM__PUBLISH_MODE__PUBLISH_INGRESS);
    (void)add_port(spec, 80, SWARM__PUBLISH_MODE__PUBLISH_HOST);
}
static void no_target_port(Swarm__ServiceSpec *spec)
{
    add_port(spec, 80, SWARM__PUBLISH_MODE__PUBLISH_INGRESS)->target_port = 0;
}
static void dnsrr_ingress(Swarm__ServiceSpec *spec)
{
    (void)add_port(spec, 80, SWARM__PUBLISH_MODE__PUBLISH_INGRESS);
    spec->endpoint->mode = SWARM__ENDPOINT_MODE__ENDPOINT_DNSRR;
}
static void bad_capability(Swarm__ServiceSpec *spec)
{
    spec->task->container->cap_add = sw_alloc0(sizeof(char *));
    spec->task->container->cap_add[0] = sw_strdup("net admin");
    spec->task->container->n_cap_add = 1;
}
static void missing_secret(Swarm__ServiceSpec *spec)
{
    spec->task->container->secrets = sw_alloc0(sizeof(Swarm__SecretRef *));
    Swarm__SecretRef *ref = spec->task->container->secrets[0] = NEW(secret_ref);
    spec->task->container->n_secrets = 1;
    ref->id = sw_strdup("none");
    ref->name = sw_strdup("a");
    ref->file = NEW(file_target);
    ref->file->name = sw_strdup("f");
}

static const struct {
    void (*spoil)(Swarm__ServiceSpec *spec);
    const char *text;
} bad_specs[] = {
    { no_name, "meta: name must be provided" },
    { bad_name, "meta: name must be valid as a DNS name component" },
    { long_name, "meta: name must be 63 characters or fewer" },
    { no_image, "ContainerSpec: image reference must be provided" },
    { bad_image, "ContainerSpec: \"Web:x:y\" is not a valid repository/tag" },
    { global_replicas, "replicas can only be used with replicated or replicated-job mode" },
    { negative_replicas, "Number of replicas must be non-negative" },
    { many_replicas, "replicas: at most 100000 are allowed" },
    { job_update, "Jobs may not have an update config" },
    { update_delay, "TaskSpec: update-delay cannot be negative" },
    { rollback_ratio, "TaskSpec: rollback-maxfailureratio cannot be less than 0 or bigger than 1" },
    { small_cpu, "invalid cpu value 0.000500000 (limit): Must be at least 0.001" },
    { small_memory, "invalid memory value 4096 (limit): Must be at least 4MiB" },
    { restart_delay, "TaskSpec: restart-delay cannot be negative" },
    { bad_constraint, "expected one operator from ==, !=" },
    { bind_no_source, "invalid mount config for type \"bind\": field Source must not be empty" },
    { bind_relative, "invalid mount config for type \"bind\": invalid mount path: 'x' mount path must be absolute" },
    { target_relative, "invalid mount config: invalid mount path: 'x' mount path must be absolute" },
    { tmpfs_source, "invalid mount config for type \"tmpfs\": field Source must not be specified" },
    { same_target, "ContainerSpec: duplicate mount point: /x" },
    { bad_env, "invalid environment variable: =x" },
    { bad_template, "ContainerSpec: env: invalid template" },
    { health_interval, "ContainerSpec: Interval in HealthConfig cannot be less than 1ms" },
    { same_port, "EndpointSpec: duplicate published ports provided" },
    { no_target_port, "EndpointSpec: target port 0 must be 1 to 65535" },
    { dnsrr_ingress, "EndpointSpec: port published with ingress mode can't be used with dnsrr mode" },
    { bad_capability, "cap-add: 'net admin' is not a capability" },
    { missing_secret, "secret not found: a" },
};

static void bad_specs_are_refused_with_their_reason(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof bad_specs / sizeof *bad_specs; i++) {
        Swarm__ServiceSpec *spec = spec_new("web");
        bad_specs[i].spoil(spec);
        f->err.text[0] = '\0';
        assert_true(create(f, spec) < 0);
        if (strstr(f->err.text, bad_specs[i].text) == NULL)
            fail_msg("row %zu: got \"%s\", want \"%s\"", i, f->err.text, bad_specs[i].text);
    }
}

static void image_names(void **state)
{
    (void)state;
    static const char *const good[] = { "web",
                                        "web:1",
                                        "library/web:latest",
                                        "localhost/web",
                                        "localhost:5000/a/b:v1.2",
                                        "r.example.org/a_b",
                                        "docker-archive:/x.tar",
                                        "oci:/dir:tag",
                                        "web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" };
    static const char *const bad[] = { "", "Web", "web:", "/web", "web/", "a//b", "web@sha256:12", "web:-x", "oci:", "we b" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(validate_image_name(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(validate_image_name(bad[i]));
}

static void good_templates_pass(void **state)
{
    struct fixture *f = *state;
    Swarm__ServiceSpec *spec = spec_new("web");
    set_env(spec, "A={{.Node.Hostname}}-{{.Task.Slot}}-{{.Service.Labels.x}}");
    assert_int_equal(create(f, spec), 0);
}

static void large_specs_have_fewer_replicas(void **state)
{
    struct fixture *f = *state;
    SW_AUTO(sw_free) char *text = sw_alloc0(60001);
    memset(text, 'x', 60000);
    Swarm__ServiceSpec *spec = spec_new("web");
    set_env(spec, text);
    spec->mode->has_replicas = true;
    spec->mode->replicas = CONTROL_REPLICAS_MAX;
    assert_int_equal(create(f, spec), -SW_LIMIT);
    assert_memory_equal(f->err.text, "replicas: at most 44", 20);
    spec = spec_new("web");
    spec->mode->has_replicas = true;
    spec->mode->replicas = CONTROL_REPLICAS_MAX;
    assert_int_equal(create(f, spec), 0);
}

/* ---- lists ---- */

static int list_tasks(struct fixture *f, const char *key, const char *value)
{
    Swarm__TaskListRequest *request = NEW(task_list_request);
    request->filters = sw_alloc0(sizeof(Swarm__Filter *));
    request->n_filters = 1;
    request->filters[0] = NEW(filter);
    request->filters[0]->key = sw_strdup(key);
    request->filters[0]->value = sw_strdup(value);
    int rc = ask(f, request);
    return rc != 0 ? rc : (int)((const Swarm__TaskListReply *)f->answer.reply)->n_tasks;
}

static void lists_are_filtered(void **state)
{
    struct fixture *f = *state;
    const Swarm__Service *service = created(f, spec_new("web"));
    put_node(f, "n1", "host-a", SWARM__NODE_STATE__NODE_READY);
    put_node(f, "n2", "host-b", SWARM__NODE_STATE__NODE_DOWN);
    put_task(f, "t1", service->id, "n1", SWARM__TASK_STATE__TASK_RUNNING);
    put_task(f, "t2", service->id, "n2", SWARM__TASK_STATE__TASK_RUNNING);
    put_task(f, "u1", "other", "n1", SWARM__TASK_STATE__TASK_FAILED);
    assert_int_equal(list_tasks(f, "service", service->id), 2);
    const Swarm__Task *listed = ((const Swarm__TaskListReply *)f->answer.reply)->tasks[0];
    assert_string_equal(listed->spec->container->image, mirror_task(f->mirror, "t1")->spec->container->image);
    assert_int_equal(listed->spec->container->n_env, 0); /* a thousand tasks with large specs have to fit */
    assert_int_equal(list_tasks(f, "node", "n1"), 2);
    assert_int_equal(list_tasks(f, "node", "host-b"), 1);
    assert_int_equal(list_tasks(f, "id", "t"), 2);
    assert_int_equal(list_tasks(f, "name", "web.1.t"), 2);
    assert_int_equal(list_tasks(f, "desired-state", "running"), 3);
    assert_int_equal(list_tasks(f, "desired-state", "sleeping"), -SW_INVALID);
    assert_int_equal(list_tasks(f, "foo", "x"), -SW_INVALID);
    assert_string_equal(f->err.text, "invalid filter 'foo'");
    /* Running counts leave out what sits on a lost node. */
    assert_int_equal(ask(f, NEW(service_list_request)), 0);
    const Swarm__ServiceListReply *reply = f->answer.reply;
    assert_int_equal(reply->n_counts, 1);
    assert_int_equal(reply->counts[0]->running, 1);
    assert_int_equal(reply->counts[0]->desired, 1);
}

static void ambiguous_references_are_refused(void **state)
{
    struct fixture *f = *state;
    put_node(f, "n1", "same", SWARM__NODE_STATE__NODE_READY);
    put_node(f, "n2", "same", SWARM__NODE_STATE__NODE_READY);
    Swarm__NodeGetRequest *request = NEW(node_get_request);
    request->ref = sw_strdup("same");
    assert_int_equal(ask(f, request), -SW_INVALID);
    assert_string_equal(f->err.text, "node same is ambiguous (2 matches found)");
}

/* ---- nodes ---- */

static void nodes_are_updated_and_removed(void **state)
{
    struct fixture *f = *state;
    put_node(f, "n1", "host", SWARM__NODE_STATE__NODE_READY);
    put_task(f, "t1", "s", "n1", SWARM__TASK_STATE__TASK_RUNNING);
    put_task(f, "t2", "s", "n1", SWARM__TASK_STATE__TASK_FAILED);
    Swarm__NodeUpdateRequest *update_request = NEW(node_update_request);
    update_request->id = sw_strdup("n1");
    update_request->spec = NEW(node_spec);
    update_request->spec->has_availability = true;
    update_request->spec->availability = SWARM__NODE_AVAILABILITY__NODE_DRAIN;
    assert_int_equal(ask(f, update_request), 0);
    assert_int_equal(commit(f), 0);
    const Swarm__NodeUpdateReply *reply = control_done(&f->control, &f->answer.done, f->index);
    assert_int_equal(reply->node->spec->availability, SWARM__NODE_AVAILABILITY__NODE_DRAIN);
    assert_string_equal(reply->node->description->hostname, "host");

    Swarm__NodeRemoveRequest *request = NEW(node_remove_request);
    request->ref = sw_strdup("host");
    assert_int_equal(ask(f, sw_pb_clone(request)), -SW_PRECONDITION);
    assert_string_equal(f->err.text, "node n1 is not down and can't be removed");
    request->has_force = request->force = true;
    assert_int_equal(ask(f, request), 0);
    assert_int_equal(commit(f), 0);
    assert_null(mirror_node(f->mirror, "n1"));
    assert_int_equal(f->answer.batch->txns[0]->n_actions, 1); /* its tasks are the scheduler's, however many there are */
}

/* ---- watches, grants ---- */

static void a_watch_outlives_its_service(void **state)
{
    struct fixture *f = *state;
    const Swarm__Service *service = created(f, spec_new("web"));
    put_node(f, "n1", "host", SWARM__NODE_STATE__NODE_READY);
    put_task(f, "t1", service->id, "n1", SWARM__TASK_STATE__TASK_RUNNING);
    const Swarm__ServiceWatchEvent *event = watch_event(&f->control, service->id, NULL);
    assert_ptr_equal(event->service, service);
    assert_int_equal(event->n_tasks, 1);
    assert_int_equal(event->eligible_nodes, 1);
    assert_int_equal(event->n_outdated, 0); /* another spec version, but nothing differs */
    SW_AUTO(sw_pb_free) Swarm__Service *last = sw_pb_clone(service);
    mirror_remove(f->mirror, T_SERVICE, last->id);
    event = watch_event(&f->control, last->id, last);
    assert_ptr_equal(event->service, last);
    assert_int_equal(event->n_outdated, 1);
    mirror_remove(f->mirror, T_TASK, "t1");
    assert_null(watch_event(&f->control, last->id, last)->service);
}

static void clients_write_only_what_is_theirs(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum grants_client client;
        Swarm__Table table;
        Swarm__ActionKind kind;
        bool granted;
    } rows[] = {
        { GRANTS_SCHEDULER, T_TASK, A_CREATE, true },       { GRANTS_SCHEDULER, T_SERVICE, A_UPDATE, true },
        { GRANTS_SCHEDULER, T_SERVICE, A_CREATE, false },   { GRANTS_SCHEDULER, T_NODE, A_UPDATE, false },
        { GRANTS_DISPATCHER, T_TASK, A_TASK_STATUS, true }, { GRANTS_DISPATCHER, T_NODE, A_NODE_STATUS, true },
        { GRANTS_DISPATCHER, T_TASK, A_UPDATE, false },     { GRANTS_DISPATCHER, SWARM__TABLE__TABLE_CLUSTER, A_UPDATE, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Swarm__StoreBatch *batch = store_batch_new(1);
        batch->has_term = true;
        batch->term = 3;
        store_txn_add(store_batch_txn(batch), store_action_new(rows[i].kind, rows[i].table, "x", 0, NULL));
        assert_int_equal(grants_check(rows[i].client, batch, 3, &f->err), rows[i].granted ? 0 : -SW_DENIED);
        assert_int_equal(grants_check(rows[i].client, batch, 4, &f->err), -SW_FENCED);
        sw_pb_free(batch);
    }
    assert_false(grants_may_read(GRANTS_SCHEDULER, SWARM__TABLE__TABLE_SECRET));
}

static void cluster_specs_have_bounds(void **state)
{
    struct fixture *f = *state;
    Swarm__ClusterSpec spec = SWARM__CLUSTER_SPEC__INIT;
    assert_int_equal(cluster_spec_check(&spec, &f->err), 0);
    spec.node_cert_expiry_ns = 1;
    assert_int_equal(cluster_spec_check(&spec, &f->err), -SW_INVALID);
    assert_string_equal(f->err.text, "minimum certificate expiry time is 1h0m0s");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_service_is_created_and_found),
        TEST(updates_compare_versions_and_keep_the_previous_spec),
        TEST(forbidden_updates_are_refused),
        TEST(a_removed_name_is_free),
        TEST(ports_conflict_by_mode),
        TEST(bad_specs_are_refused_with_their_reason),
        TEST(image_names),
        TEST(good_templates_pass),
        TEST(large_specs_have_fewer_replicas),
        TEST(lists_are_filtered),
        TEST(ambiguous_references_are_refused),
        TEST(nodes_are_updated_and_removed),
        TEST(a_watch_outlives_its_service),
        TEST(clients_write_only_what_is_theirs),
        TEST(cluster_specs_have_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
