#include "services/swarm-cli/core/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#define TASKS 3

/* A service of two replicas and its tasks, changed between events. */
struct scene {
    Swarm__ServiceWatchEvent event;
    Swarm__Service service;
    Swarm__Meta meta;
    Swarm__ServiceSpec spec;
    Swarm__ServiceMode mode;
    Swarm__UpdateStatus update;
    Swarm__Task tasks[TASKS];
    Swarm__Meta metas[TASKS];
    Swarm__TaskStatus statuses[TASKS];
    Swarm__Task *list[TASKS];
    char *names[1];
    struct progress progress;
    struct sw_buf out;
};

static char *const ids[TASKS] = { (char *)"task-a", (char *)"task-b", (char *)"task-c" };

static void setup(struct scene *scene, bool terminal, unsigned width)
{
    memset(scene, 0, sizeof *scene);
    swarm__service_watch_event__init(&scene->event);
    swarm__service__init(&scene->service);
    swarm__meta__init(&scene->meta);
    swarm__service_spec__init(&scene->spec);
    swarm__service_mode__init(&scene->mode);
    swarm__update_status__init(&scene->update);
    scene->event.service = &scene->service;
    scene->service.meta = &scene->meta;
    scene->service.spec = &scene->spec;
    scene->spec.mode = &scene->mode;
    scene->mode.replicas = 2;
    for (size_t i = 0; i < TASKS; i++) {
        swarm__task__init(&scene->tasks[i]);
        swarm__meta__init(&scene->metas[i]);
        swarm__task_status__init(&scene->statuses[i]);
        scene->tasks[i].id = ids[i];
        scene->tasks[i].slot = i + 1;
        scene->tasks[i].node_id = (char *)(i == 0 ? "node-one-is-long" : "node-two-is-long");
        scene->tasks[i].meta = &scene->metas[i];
        scene->tasks[i].status = &scene->statuses[i];
        scene->tasks[i].desired_state = SWARM__TASK_STATE__TASK_RUNNING;
        scene->list[i] = &scene->tasks[i];
    }
    scene->event.tasks = scene->list;
    scene->event.n_tasks = 2;
    progress_init(&scene->progress, "kbj0uwokclyhd0ukgdebcdw7g", terminal, width, false);
}

static void states(struct scene *scene, Swarm__TaskState a, Swarm__TaskState b)
{
    scene->statuses[0].state = a;
    scene->statuses[1].state = b;
}

static enum progress_result event(struct scene *scene, uint64_t now_ms)
{
    return progress_event(&scene->progress, &scene->event, now_ms, &scene->out);
}

static enum progress_result tick(struct scene *scene, uint64_t now_ms)
{
    return progress_tick(&scene->progress, now_ms, &scene->out);
}

static void test_plain(void **state)
{
    struct scene scene;
    (void)state;
    setup(&scene, false, 80);
    assert_int_equal(event(&scene, 0), PROGRESS_GOES_ON);
    assert_int_equal(progress_wait(&scene.progress, 0), 0);
    states(&scene, SWARM__TASK_STATE__TASK_RUNNING, SWARM__TASK_STATE__TASK_RUNNING);
    assert_int_equal(event(&scene, 100), PROGRESS_GOES_ON);
    assert_int_equal(progress_wait(&scene.progress, 100), 1000);
    for (uint64_t now = 1100; now < 5100; now += 1000)
        assert_int_equal(tick(&scene, now), PROGRESS_GOES_ON);
    assert_int_equal(tick(&scene, 5100), PROGRESS_DONE);
    assert_string_equal(scene.out.data, "overall progress: 0 out of 2 tasks\n1/2:  \n2/2:  \noverall progress: 2 out of 2 tasks\n"
                                        "verify: Waiting 5 seconds to verify that tasks are stable...\n"
                                        "verify: Waiting 4 seconds to verify that tasks are stable...\n"
                                        "verify: Waiting 3 seconds to verify that tasks are stable...\n"
                                        "verify: Waiting 2 seconds to verify that tasks are stable...\n"
                                        "verify: Waiting 1 seconds to verify that tasks are stable...\n"
                                        "verify: Service kbj0uwokclyhd0ukgdebcdw7g converged\n");
    sw_buf_deinit(&scene.out);
}

/* A task that fails during the wait begins it again; outdated tasks and tasks on nodes that are down do not count. */
static void test_failure_restarts_wait(void **state)
{
    struct scene scene;
    (void)state;
    setup(&scene, false, 80);
    states(&scene, SWARM__TASK_STATE__TASK_RUNNING, SWARM__TASK_STATE__TASK_RUNNING);
    scene.names[0] = ids[1];
    scene.event.outdated = scene.names;
    scene.event.n_outdated = 1;
    (void)event(&scene, 0);
    assert_false(scene.progress.converged);
    scene.event.n_outdated = 0;
    (void)event(&scene, 10);
    assert_true(scene.progress.converged);
    scene.statuses[0].state = SWARM__TASK_STATE__TASK_FAILED;
    (void)event(&scene, 4000);
    assert_false(scene.progress.converged);
    assert_non_null(strstr(scene.out.data, "verify: Detected task failure\n"));
    scene.statuses[0].state = SWARM__TASK_STATE__TASK_RUNNING;
    (void)event(&scene, 5000);
    assert_int_equal(tick(&scene, 9000), PROGRESS_GOES_ON);
    scene.names[0] = (char *)"node-two-is-long";
    scene.event.down_nodes = scene.names;
    scene.event.n_down_nodes = 1;
    (void)event(&scene, 9001);
    assert_false(scene.progress.converged);
    sw_buf_deinit(&scene.out);
}

static void test_update_status(void **state)
{
    static const struct {
        Swarm__UpdateState state;
        enum progress_result result;
        const char *failure;
    } cases[] = {
        { SWARM__UPDATE_STATE__UPDATE_UPDATING, PROGRESS_GOES_ON, "" },
        { SWARM__UPDATE_STATE__UPDATE_COMPLETED, PROGRESS_DONE, "" },
        { SWARM__UPDATE_STATE__UPDATE_PAUSED, PROGRESS_FAILED, "service update paused: why" },
        { SWARM__UPDATE_STATE__UPDATE_ROLLBACK_STARTED, PROGRESS_GOES_ON, "" },
        { SWARM__UPDATE_STATE__UPDATE_ROLLBACK_PAUSED, PROGRESS_FAILED, "service rollback paused: why" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scene scene;
        setup(&scene, false, 80);
        scene.service.update_status = &scene.update;
        scene.update.state = cases[i].state;
        scene.update.message = (char *)"why";
        assert_int_equal(event(&scene, 0), cases[i].result);
        assert_string_equal(scene.progress.failure, cases[i].failure);
        sw_buf_deinit(&scene.out);
    }
}

static void test_rollback(void **state)
{
    struct scene scene;
    (void)state;
    setup(&scene, false, 80);
    scene.service.update_status = &scene.update;
    scene.update.message = (char *)"update rolled back";
    scene.update.state = SWARM__UPDATE_STATE__UPDATE_ROLLBACK_STARTED;
    (void)event(&scene, 0);
    (void)event(&scene, 1);
    scene.update.state = SWARM__UPDATE_STATE__UPDATE_ROLLBACK_COMPLETED;
    states(&scene, SWARM__TASK_STATE__TASK_RUNNING, SWARM__TASK_STATE__TASK_RUNNING);
    (void)event(&scene, 2);
    assert_int_equal(tick(&scene, 5002), PROGRESS_DONE);
    assert_string_equal(scene.out.data, "rollback: update rolled back\nrolling back update: 0 out of 2 tasks\n1/2:  \n2/2:  \n"
                                        "rolling back update: 2 out of 2 tasks\n"
                                        "verify: Waiting 5 seconds to verify that tasks are stable...\n"
                                        "verify: Service kbj0uwokclyhd0ukgdebcdw7g converged\nrollback: update rolled back\n");
    sw_buf_deinit(&scene.out);
}

static void test_terminal(void **state)
{
    struct scene scene;
    (void)state;
    setup(&scene, true, 120);
    states(&scene, SWARM__TASK_STATE__TASK_PREPARING, SWARM__TASK_STATE__TASK_PENDING);
    scene.statuses[1].err =
        (char *)"no suitable node (insufficient resources on 1 node) and on and on for more than 75 characters";
    (void)event(&scene, 0);
    assert_string_equal(
        scene.out.data,
        "\r\033[2Koverall progress: 0 out of 2 tasks\n"
        "\033[2K1/2: preparing [================================>                 ]\n"
        "\033[2K2/2: pending   no suitable node (insufficient resources on 1 node) and on and on for more\xe2\x80\xa6\n"
        "\033[J");
    sw_buf_reset(&scene.out);
    (void)event(&scene, 1);
    assert_memory_equal(scene.out.data, "\033[3A\r", 5);
    sw_buf_deinit(&scene.out);
}

static void test_removed_and_interrupted(void **state)
{
    struct scene scene;
    (void)state;
    setup(&scene, false, 80);
    progress_interrupted(&scene.progress, &scene.out);
    assert_string_equal(scene.out.data, "Operation continuing in background.\n"
                                        "Use `swarm-cli service ps kbj0uwokclyhd0ukgdebcdw7g` to check progress.\n");
    scene.event.service = NULL;
    assert_int_equal(event(&scene, 0), PROGRESS_FAILED);
    sw_buf_deinit(&scene.out);
}

static void test_global(void **state)
{
    struct scene scene;
    (void)state;
    setup(&scene, false, 80);
    scene.mode.kind = SWARM__SERVICE_MODE_KIND__MODE_GLOBAL;
    scene.event.eligible_nodes = 2;
    scene.tasks[0].slot = scene.tasks[1].slot = 0;
    states(&scene, SWARM__TASK_STATE__TASK_RUNNING, SWARM__TASK_STATE__TASK_STARTING);
    (void)event(&scene, 0);
    assert_string_equal(scene.out.data, "overall progress: 1 out of 2 tasks\nnode-one-is-: \x20\nnode-two-is-: \x20\n");
    sw_buf_deinit(&scene.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),         cmocka_unit_test(test_failure_restarts_wait),
        cmocka_unit_test(test_update_status), cmocka_unit_test(test_rollback),
        cmocka_unit_test(test_terminal),      cmocka_unit_test(test_removed_and_interrupted),
        cmocka_unit_test(test_global),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
