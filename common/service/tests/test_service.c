/* The skeleton as a daemon meets it: one small program run through svc_main() a test. */
#include "common/base/buf.h"
#include "common/service/svc.h"
#include "common/service/svc_internal.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

struct probe {
    struct svc *svc;
    char *dir;
    int turns, child_calls, timer_calls;
    char out[64], why[64];
    bool timed_out, killed_by_timer;
    struct svc_timer *timer;
    struct svc_watch *watch;
    struct sw_buf answers;
    int pipe[2];
    pid_t client;
    int (*begin)(struct probe *probe, struct sw_err *err);
    char *name;
    uint64_t wait_ms;
    struct svc_list list;
};

static int probe_start(struct svc *svc, void *state, struct sw_err *err)
{
    struct probe *probe = state;
    probe->svc = svc;
    return probe->begin(probe, err);
}

static int run_probe(struct probe *probe, int argc, const char *const *argv)
{
    struct svc_option options[] = {
        { "name", SVC_STRING, "nobody", &probe->name, 0, 0, "a name" },
        { "wait", SVC_DURATION_MS, "1s", &probe->wait_ms, 10, 60000, "a time" },
        { "item", SVC_LIST, NULL, &probe->list, 0, 0, "a list" },
    };
    struct svc_program program = { .name = "probe",
                                   .summary = "test",
                                   .metrics_address = "127.0.0.1:0",
                                   .options = options,
                                   .option_count = 3,
                                   .state = probe,
                                   .start = probe_start };
    char *args[16] = { (char *)(uintptr_t)argv[0] };
    char state_dir[64], run_dir[64];
    (void)snprintf(state_dir, sizeof state_dir, "--state-dir=%s/s", probe->dir);
    (void)snprintf(run_dir, sizeof run_dir, "--run-dir=%s/r", probe->dir);
    args[1] = state_dir;
    args[2] = run_dir;
    for (int i = 1; i < argc; i++)
        args[2 + i] = (char *)(uintptr_t)argv[i];
    return svc_main(&program, argc + 2, args);
}

static void on_timer_once(void *arg)
{
    struct probe *probe = arg;
    if (++probe->timer_calls < 3) {
        svc_timer_at(probe->timer, svc_mono_ms() + 1);
        return;
    }
    svc_timer_free(probe->timer);
    svc_quit(probe->svc, 7);
}

static int begin_timer(struct probe *probe, struct sw_err *err)
{
    (void)err;
    probe->timer = svc_timer_new(probe->svc, on_timer_once, probe);
    svc_timer_at(probe->timer, 0);
    return 0;
}

static void test_timers_and_quit(void **state)
{
    struct probe probe = { .dir = *state, .begin = begin_timer };
    const char *argv[] = { "probe" };
    assert_int_equal(run_probe(&probe, 1, argv), 7);
    assert_int_equal(probe.timer_calls, 3);
}

static void on_soon(void *arg)
{
    struct probe *probe = arg;
    probe->turns++;
    svc_quit(probe->svc, 0);
}

static int begin_soon(struct probe *probe, struct sw_err *err)
{
    (void)err;
    svc_soon(probe->svc, on_soon, probe);
    svc_soon(probe->svc, on_soon, probe);
    (void)snprintf(probe->out, sizeof probe->out, "%s %llu %zu", probe->name, (unsigned long long)probe->wait_ms,
                   probe->list.count);
    return 0;
}

static void test_soon_is_coalesced_and_options_arrive(void **state)
{
    struct probe probe = { .dir = *state, .begin = begin_soon };
    const char *argv[] = { "probe", "--name", "x", "--wait=2s", "--item=a", "--item", "b" };
    assert_int_equal(run_probe(&probe, 7, argv), 0);
    assert_int_equal(probe.turns, 1);
    assert_string_equal(probe.out, "x 2000 2");
}

static void test_bad_options_are_usage_errors(void **state)
{
    const char *bad[][2] = {
        { "--nope", "1" }, { "--wait", "5" }, { "--wait", "1ms" }, { "--log-level", "loud" }, { "word", "" }
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct probe probe = { .dir = *state, .begin = begin_soon };
        const char *argv[] = { "probe", bad[i][0], bad[i][1] };
        assert_int_equal(run_probe(&probe, 3, argv), 125);
        assert_int_equal(probe.turns, 0);
    }
}

static void test_config_file_lies_below_flags(void **state)
{
    struct probe probe = { .dir = *state, .begin = begin_soon };
    SW_AUTO(sw_free) char *path = sw_strf("%s/conf", (char *)*state);
    static const char text[] = "# a comment\nname = filed\n\nwait=3s\n";
    assert_int_equal(svc_file_write(path, text, sizeof text - 1, 0600, NULL), 0);
    const char *argv[] = { "probe", "--config", path, "--name", "typed" };
    assert_int_equal(run_probe(&probe, 5, argv), 0);
    assert_string_equal(probe.out, "typed 3000 0");
    assert_int_equal(svc_file_write(path, "nope = 1\n", 9, 0600, NULL), 0);
    struct probe again = { .dir = *state, .begin = begin_soon };
    assert_int_equal(run_probe(&again, 5, argv), 125);
}

static void on_child(void *arg, const struct svc_child_result *result)
{
    struct probe *probe = arg;
    probe->child_calls++;
    probe->timed_out = result->timed_out;
    (void)snprintf(probe->out, sizeof probe->out, "%d:%.40s", WIFEXITED(result->status) ? WEXITSTATUS(result->status) : -1,
                   result->out);
    svc_quit(probe->svc, 0);
}

static int begin_child(struct probe *probe, struct sw_err *err)
{
    static const char *const argv[] = { "cat", NULL };
    struct svc_child_spec spec = {
        .argv = argv, .input = "hello", .input_len = 5, .done = on_child, .arg = probe, .timeout_ms = 10000
    };
    return svc_child_run(probe->svc, &spec, NULL, err);
}

static void test_child_gets_input_and_answers(void **state)
{
    struct probe probe = { .dir = *state, .begin = begin_child };
    const char *argv[] = { "probe" };
    assert_int_equal(run_probe(&probe, 1, argv), 0);
    assert_int_equal(probe.child_calls, 1);
    assert_string_equal(probe.out, "0:hello");
}

static int begin_slow_child(struct probe *probe, struct sw_err *err)
{
    static const char *const argv[] = { "tail", "-f", "/dev/null", NULL };
    struct svc_child_spec spec = { .argv = argv, .done = on_child, .arg = probe, .timeout_ms = 20 };
    return svc_child_run(probe->svc, &spec, NULL, err);
}

static void test_child_is_killed_at_its_deadline(void **state)
{
    struct probe probe = { .dir = *state, .begin = begin_slow_child };
    const char *argv[] = { "probe" };
    assert_int_equal(run_probe(&probe, 1, argv), 0);
    assert_true(probe.timed_out);
}

static int begin_missing_child(struct probe *probe, struct sw_err *err)
{
    static const char *const argv[] = { "no-such-program", NULL };
    struct svc_child_spec spec = { .argv = argv, .done = on_child, .arg = probe };
    return svc_child_run(probe->svc, &spec, NULL, err);
}

static void test_missing_program_is_a_failure_at_once(void **state)
{
    struct probe probe = { .dir = *state, .begin = begin_missing_child };
    const char *argv[] = { "probe" };
    assert_int_equal(run_probe(&probe, 1, argv), 1);
    assert_int_equal(probe.child_calls, 0);
}

static void test_files(void **state)
{
    SW_AUTO(sw_free) char *deep = sw_strf("%s/a/b/c", (char *)*state);
    SW_AUTO(sw_free) char *file = sw_strf("%s/f", deep);
    SW_AUTO(sw_free) char *link_path = sw_strf("%s/l", deep);
    SW_AUTO(sw_free) char *top = sw_strf("%s/a", (char *)*state);
    SW_AUTO(sw_free) char *data = NULL;
    size_t len = 0;
    struct sw_err err;
    struct stat st;
    assert_int_equal(svc_mkdirs(deep, 0700, &err), 0);
    assert_int_equal(svc_file_write(file, "one", 3, 0600, &err), 0);
    assert_int_equal(svc_file_write(file, "two!", 4, 0600, &err), 0);
    assert_int_equal(svc_file_read(file, 100, &data, &len, &err), 0);
    assert_string_equal(data, "two!");
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    char *more = NULL;
    assert_int_equal(svc_file_read(file, 3, &more, &len, &err), -SW_LIMIT);
    assert_int_equal(symlink("/etc", link_path), 0);
    assert_int_equal(svc_rmtree(top, &err), 0);
    assert_int_equal(stat("/etc/passwd", &st), 0); /* links are not followed */
    assert_int_equal(svc_file_read(file, 3, &more, &len, &err), -SW_NOT_FOUND);
}

static void test_metrics_text(void **state)
{
    (void)state;
    struct svc_metrics *metrics = svc_metrics_new();
    *svc_metric(metrics, SVC_COUNTER, "swarm_x_total", "kind=\"a\"", "Things.") += 2;
    *svc_metric(metrics, SVC_COUNTER, "swarm_x_total", "kind=\"a\"", "Things.") += 1;
    svc_observe(svc_histogram(metrics, "swarm_y_seconds", "Time."), 0.004);
    SW_AUTO_BUF text = { 0 };
    svc_metrics_write(metrics, &text);
    assert_non_null(strstr(text.data, "# TYPE swarm_x_total counter\nswarm_x_total{kind=\"a\"} 3\n"));
    assert_non_null(strstr(text.data, "swarm_y_seconds_bucket{le=\"0.005\"} 1\n"));
    assert_non_null(strstr(text.data, "swarm_y_seconds_bucket{le=\"0.0025\"} 0\n"));
    assert_non_null(strstr(text.data, "swarm_y_seconds_count 1\n"));
    svc_metrics_free(metrics);
}

/* ---- the two pages, asked by a client in a process of its own ---- */

static unsigned listening_port(void)
{
    for (int fd = 3; fd < 64; fd++) {
        int listens = 0;
        socklen_t len = sizeof listens;
        struct sockaddr_in bound = { 0 };
        socklen_t bound_len = sizeof bound;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens != 0 &&
            getsockname(fd, (struct sockaddr *)&bound, &bound_len) == 0 && bound.sin_family == AF_INET)
            return ntohs(bound.sin_port);
    }
    return 0;
}

static void ask(unsigned port, const char *request, size_t len, int out)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    char answer[4096];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, request, len, MSG_NOSIGNAL) == (ssize_t)len) {
        ssize_t count = recv(fd, answer, sizeof answer, MSG_WAITALL);
        size_t line = count > 0 ? strcspn(answer, "\r") : 0;
        answer[line] = '\n';
        (void)!write(out, answer, line + 1);
    }
    (void)close(fd);
}

static void ask_all(unsigned port, int out)
{
    static char endless[8200];
    (void)memset(endless, 'x', sizeof endless);
    const char *requests[] = { "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
                               "GET /healthz?v=1 HTTP/1.0\r\n\r\n",
                               "GET /x HTTP/1.1\r\n\r\n",
                               "POST /metrics HTTP/1.1\r\n\r\n",
                               "nonsense\r\n\r\n",
                               "\r\n\r\n" };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        ask(port, requests[i], strlen(requests[i]), out);
    ask(port, endless, sizeof endless, out);
    ask(port, "a\0b\r\n\r\n", 7, out); /* closed without an answer: an empty line */
}

static void on_answers(void *arg, int fd, uint32_t events)
{
    struct probe *probe = arg;
    (void)events;
    char text[512];
    ssize_t count = read(fd, text, sizeof text - 1);
    if (count <= 0) {
        svc_watch_del(probe->watch);
        svc_quit(probe->svc, 0);
        return;
    }
    text[count] = '\0';
    sw_buf_adds(&probe->answers, text);
}

static int begin_http(struct probe *probe, struct sw_err *err)
{
    (void)err;
    unsigned port = listening_port();
    assert_int_not_equal(port, 0);
    assert_int_equal(pipe2(probe->pipe, O_CLOEXEC), 0);
    probe->client = fork();
    if (probe->client == 0) {
        ask_all(port, probe->pipe[1]);
        _exit(0);
    }
    (void)close(probe->pipe[1]);
    probe->watch = svc_watch_add(probe->svc, probe->pipe[0], EPOLLIN, on_answers, probe);
    return 0;
}

static void test_http_answers_two_pages_and_refuses_the_rest(void **state)
{
    struct probe probe = { .dir = *state, .begin = begin_http };
    const char *argv[] = { "probe" };
    assert_int_equal(run_probe(&probe, 1, argv), 0);
    assert_string_equal(sw_buf_str(&probe.answers),
                        "HTTP/1.1 200 OK\nHTTP/1.1 200 OK\nHTTP/1.1 404 Not Found\nHTTP/1.1 405 Method Not Allowed\n"
                        "HTTP/1.1 400 Bad Request\nHTTP/1.1 400 Bad Request\nHTTP/1.1 431 Request Header Fields Too Large\n\n");
    sw_buf_deinit(&probe.answers);
    (void)close(probe.pipe[0]);
    assert_int_equal(waitpid(probe.client, NULL, 0), probe.client);
}

static int make_dir(void **state)
{
    char *dir = sw_strdup("/tmp/test-service.XXXXXX");
    *state = mkdtemp(dir);
    return *state != NULL ? 0 : -1;
}

static int drop_dir(void **state)
{
    (void)svc_rmtree(*state, NULL);
    free(*state);
    return 0;
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DIR(test_timers_and_quit),
        WITH_DIR(test_soon_is_coalesced_and_options_arrive),
        WITH_DIR(test_bad_options_are_usage_errors),
        WITH_DIR(test_config_file_lies_below_flags),
        WITH_DIR(test_child_gets_input_and_answers),
        WITH_DIR(test_child_is_killed_at_its_deadline),
        WITH_DIR(test_missing_program_is_a_failure_at_once),
        WITH_DIR(test_files),
        cmocka_unit_test(test_metrics_text),
        WITH_DIR(test_http_answers_two_pages_and_refuses_the_rest),
    };
    return cmocka_run_group_tests_name("service", tests, NULL, NULL);
}
