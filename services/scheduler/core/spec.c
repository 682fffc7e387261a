#include "services/scheduler/core/spec.h"

#include <string.h>
#include <strings.h>

static bool text_equal(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static bool port_equal(const Swarm__PortConfig *a, const Swarm__PortConfig *b)
{
    return text_equal(a->name, b->name) && a->protocol == b->protocol && a->target_port == b->target_port &&
           a->published_port == b->published_port && a->publish_mode == b->publish_mode;
}

bool spec_endpoint_equal(const Swarm__EndpointSpec *a, const Swarm__EndpointSpec *b)
{
    Swarm__EndpointSpec none = SWARM__ENDPOINT_SPEC__INIT;
    a = a != NULL ? a : &none;
    b = b != NULL ? b : &none;
    if (a->mode != b->mode || a->n_ports != b->n_ports)
        return false;
    for (size_t i = 0; i < a->n_ports; i++)
        if (!port_equal(a->ports[i], b->ports[i]))
            return false;
    return true;
}

static bool platform_fits(const Swarm__Platform *want, const Swarm__Platform *have)
{
    const char *arch = want->architecture != NULL ? want->architecture : "";
    const char *os = want->os != NULL ? want->os : "";
    if (arch[0] != '\0' && (have == NULL || have->architecture == NULL ||
                            strcasecmp(constraint_arch(arch), constraint_arch(have->architecture)) != 0))
        return false;
    return os[0] == '\0' || (have != NULL && have->os != NULL && strcasecmp(os, have->os) == 0);
}

bool spec_platform_ok(const Swarm__Placement *placement, const Swarm__Node *node)
{
    if (placement == NULL || placement->n_platforms == 0)
        return true;
    const Swarm__Platform *have = node->description != NULL ? node->description->platform : NULL;
    for (size_t i = 0; i < placement->n_platforms; i++)
        if (platform_fits(placement->platforms[i], have))
            return true;
    return false;
}

void spec_check_init(struct spec_check *check, const struct world *world, const Swarm__Service *service)
{
    *check = (struct spec_check) { .world = world, .service = service, .constraints_ok = true };
    const Swarm__Placement *placement = service->spec->task->placement;
    if (placement != NULL)
        check->constraints_ok =
            constraints_parse(placement->constraints, placement->n_constraints, &check->constraints, NULL) == 0;
}

void spec_check_deinit(struct spec_check *check)
{
    constraints_deinit(&check->constraints);
}

bool spec_node_matches(const struct spec_check *check, const Swarm__Node *node)
{
    return check->constraints_ok && constraints_match(&check->constraints, node) &&
           spec_platform_ok(check->service->spec->task->placement, node);
}

static bool equal_but_placement(const Swarm__TaskSpec *a, const Swarm__TaskSpec *b)
{
    Swarm__TaskSpec x = *a;
    Swarm__TaskSpec y = *b;
    x.placement = NULL;
    y.placement = NULL;
    return sw_pb_equal(&x, &y);
}

static struct spec_verdict judge(const struct spec_check *check, const Swarm__Task *task)
{
    const Swarm__ServiceSpec *spec = check->service->spec;
    struct spec_verdict verdict = { .version = task->spec_version };
    const Swarm__EndpointSpec *endpoint = task->endpoint != NULL ? task->endpoint->spec : NULL;
    /* A task that waits for its ports has no endpoint yet. */
    bool waits = task->status->state == SWARM__TASK_STATE__TASK_NEW;
    if (!equal_but_placement(task->spec, spec->task) || (!waits && !spec_endpoint_equal(endpoint, spec->endpoint)))
        verdict.dirty = true;
    else
        verdict.placement_only = !sw_pb_equal(task->spec->placement, spec->task->placement);
    return verdict;
}

static struct spec_verdict verdict_of(struct spec_check *check, const Swarm__Task *task)
{
    for (size_t i = 0; i < check->count; i++)
        if (check->verdicts[i].version == task->spec_version)
            return check->verdicts[i];
    struct spec_verdict verdict = judge(check, task);
    if (check->count < SPEC_VERDICTS && task->status->state != SWARM__TASK_STATE__TASK_NEW)
        check->verdicts[check->count++] = verdict;
    return verdict;
}

bool spec_dirty(struct spec_check *check, const Swarm__Task *task)
{
    if (task->spec_version == check->service->spec_version)
        return false;
    struct spec_verdict verdict = verdict_of(check, task);
    if (verdict.dirty || !verdict.placement_only)
        return verdict.dirty;
    const Swarm__Node *node = task->node_id != NULL ? mirror_node(check->world->mirror, task->node_id) : NULL;
    return node == NULL || !spec_node_matches(check, node);
}
