/* Task records on disk: what was saved is there again, what was forgotten is not, generations only grow. */
#include "services/agent/io/agent.h"
#include "common/store/tests/objects.h"

#include <sys/stat.h>

static Swarm__Task *task_new(const char *id, Swarm__TaskState state)
{
    Swarm__Task *task = test_task(id, "svc", 1, "n1");
    task->status->state = state;
    return task;
}

static void collect(void *arg, const Swarm__Task *task)
{
    sw_buf_addf(arg, "%s=%s ", task->id, sw_task_state_name(task->status->state));
}

static void expect(struct records *records, const char *want)
{
    SW_AUTO_BUF have = { 0 };
    assert_int_equal(records_each(records, collect, &have, NULL), 0);
    assert_string_equal(sw_buf_str(&have), want);
}

static void save(struct records *records, const char *id, Swarm__TaskState state, const char *forget)
{
    SW_AUTO(sw_pb_free) Swarm__Task *task = task_new(id, state);
    const struct worker_effect effects[] = {
        { .type = WORKER_SAVE, .task_id = id, .task = task },
        { .type = WORKER_FORGET, .task_id = forget },
        { .type = WORKER_START, .task_id = id },
    };
    assert_int_equal(records_write(records, effects, 3, NULL), 0);
}

static void test_records(void **state)
{
    (void)state;
    char dir[] = "/tmp/test-records-XXXXXX";
    struct records *records = NULL;
    struct sw_err err;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(records_open(dir, &records, &err), 0);
    /* room of its own, for the day when the disk is full */
    struct stat st;
    SW_AUTO(sw_free) char *file = sw_strf("%s/agent/tasks/data.mdb", dir);
    assert_int_equal(stat(file, &st), 0);
    assert_true(st.st_blocks * 512 >= 16 << 20);
    save(records, "a", SWARM__TASK_STATE__TASK_RUNNING, "none");
    save(records, "b", SWARM__TASK_STATE__TASK_READY, "none");
    save(records, "b", SWARM__TASK_STATE__TASK_RUNNING, "a");
    uint64_t first, second, third;
    assert_int_equal(records_generation(records, 100, &first, &err), 0);
    records_close(records);
    assert_int_equal(records_open(dir, &records, &err), 0);
    expect(records, "b=running ");
    assert_int_equal(records_generation(records, 50, &second, &err), 0);
    assert_int_equal(records_generation(records, second * 10, &third, &err), 0);
    assert_true(first >= 100 && second > first && third == second * 10);
    assert_int_equal(records_clear(records, &err), 0);
    expect(records, "");
    records_close(records);
    assert_int_equal(svc_rmtree(dir, &err), 0);
    /* a state directory that is a file */
    assert_true(records_open("/dev/null", &records, &err) < 0);
    assert_non_null(strstr(err.text, "task records"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_records) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
