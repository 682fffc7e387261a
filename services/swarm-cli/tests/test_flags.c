#include "services/swarm-cli/core/flags.h"
#include "services/swarm-cli/core/spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static const struct flag specs[] = {
    { "all", 'a', FLAG_BOOL, "All of it", NULL, NULL, NULL },    { "quiet", 'q', FLAG_BOOL, "Say less", NULL, NULL, NULL },
    { "name", 'n', FLAG_STRING, "A name", NULL, "none", NULL },  { "list", 0, FLAG_LIST, "Some", NULL, NULL, NULL },
    { "count", 0, FLAG_UINT, "How many", NULL, NULL, NULL },     { "small", 0, FLAG_UINT32, "32 bits", NULL, NULL, NULL },
    { "level", 0, FLAG_INT, "Signed", NULL, NULL, NULL },        { "wait", 0, FLAG_DURATION, "How long", NULL, NULL, NULL },
    { "memory", 'm', FLAG_BYTES, "How much", NULL, NULL, NULL }, { "cpu", 0, FLAG_CPUS, "CPUs", NULL, NULL, NULL },
    { "ratio", 0, FLAG_FLOAT, "Part", NULL, NULL, NULL },
};
static const struct flags_usage usage = {
    "swarm-cli", "thing do", "ITEM [MORE...]", 1, 3, false, "Do a thing", specs, sizeof specs / sizeof *specs
};

static char **split(char *text, int *ret_count)
{
    static char *words[64];
    *ret_count = 0;
    for (char *save = NULL, *word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
        words[(*ret_count)++] = word;
    return words;
}

static enum flags_result parse(const struct flags_usage *how, const char *line, char *copy, struct flags *flags,
                               struct sw_buf *err)
{
    int argc = 0;
    strcpy(copy, line);
    char **argv = split(copy, &argc);
    return flags_parse(how, argc, argv, flags, err);
}

static void test_refused(void **state)
{
    static const struct {
        const char *line;
        enum flags_result result;
        const char *first_line;
    } cases[] = {
        { "--nope x", FLAGS_USAGE, "unknown flag: --nope" },
        { "-z x", FLAGS_USAGE, "unknown shorthand flag: 'z' in -z" },
        { "-az x", FLAGS_USAGE, "unknown shorthand flag: 'z' in -az" },
        { "x --name", FLAGS_USAGE, "flag needs an argument: --name" },
        { "x -n", FLAGS_USAGE, "flag needs an argument: 'n' in -n" },
        { "--count -1 x", FLAGS_USAGE, "invalid argument \"-1\" for \"--count\" flag: strconv.ParseUint" },
        { "--small 4294967296 x", FLAGS_USAGE, "invalid argument \"4294967296\" for \"--small\" flag: " },
        { "--level two x", FLAGS_USAGE, "invalid argument \"two\" for \"--level\" flag: strconv.ParseInt" },
        { "--wait 10 x", FLAGS_USAGE, "invalid argument \"10\" for \"--wait\" flag: time: missing unit in duration" },
        { "--memory 1q x", FLAGS_USAGE, "invalid argument \"1q\" for \"-m, --memory\" flag: invalid suffix: 'q'" },
        { "--cpu 0.0000000001 x", FLAGS_USAGE, "invalid argument \"0.0000000001\" for \"--cpu\" flag: failed" },
        { "--all=maybe x", FLAGS_USAGE, "invalid argument \"maybe\" for \"-a, --all\" flag: strconv.ParseBool" },
        { "", FLAGS_ARGS, "swarm-cli: 'swarm-cli thing do' requires at least 1 argument" },
        { "a b c d", FLAGS_ARGS, "swarm-cli: 'swarm-cli thing do' requires at most 3 arguments" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char copy[256];
        struct flags flags;
        SW_AUTO_BUF err = { 0 };
        enum flags_result result = parse(&usage, cases[i].line, copy, &flags, &err);
        flags_deinit(&flags);
        if (result != cases[i].result || strncmp(sw_buf_str(&err), cases[i].first_line, strlen(cases[i].first_line)) != 0)
            fail_msg("'%s' gave %d: %s", cases[i].line, (int)result, sw_buf_str(&err));
        assert_non_null(
            strstr(err.data, "\n\nUsage:  swarm-cli thing do [OPTIONS] ITEM [MORE...]\n\nRun 'swarm-cli thing do --help'"));
    }
}

static void test_values(void **state)
{
    char copy[256];
    struct flags flags;
    SW_AUTO_BUF err = { 0 };
    (void)state;
    assert_int_equal(parse(&usage, "x -aq -nbob --list a,b --list=c --count 0x10 --wait 1m30s -m64m --cpu .5 --ratio 0.25 -- -y",
                           copy, &flags, &err),
                     FLAGS_OK);
    assert_true(flags_bool(&flags, "all") && flags_bool(&flags, "quiet"));
    assert_string_equal(flags_str(&flags, "name"), "bob");
    assert_int_equal(flags_list(&flags, "list")->count, 2);
    assert_string_equal(flags_list(&flags, "list")->values[0], "a,b");
    assert_int_equal(flags_u64(&flags, "count"), 16);
    assert_int_equal(flags_i64(&flags, "wait"), INT64_C(90000000000));
    assert_int_equal(flags_i64(&flags, "memory"), 64 << 20);
    assert_int_equal(flags_i64(&flags, "cpu"), 500000000);
    assert_int_equal(flags_ppm(&flags, "ratio"), 250000);
    assert_false(flags_typed(&flags, "level"));
    assert_int_equal(flags.arg_count, 2);
    assert_string_equal(flags.args[1], "-y");
    flags_deinit(&flags);
    assert_int_equal(parse(&usage, "--all=false x", copy, &flags, &err), FLAGS_OK);
    assert_true(flags_typed(&flags, "all") && !flags_bool(&flags, "all"));
    assert_string_equal(flags_str(&flags, "name"), "none");
    flags_deinit(&flags);
}

/* service create: behind IMAGE everything belongs to the container. */
static void test_stop_at_arg(void **state)
{
    struct flags_usage create = usage;
    char copy[256];
    struct flags flags;
    SW_AUTO_BUF err = { 0 };
    (void)state;
    create.stop_at_arg = true;
    create.args_max = -1;
    assert_int_equal(parse(&create, "-a image sh -c --nope", copy, &flags, &err), FLAGS_OK);
    assert_int_equal(flags.arg_count, 4);
    assert_string_equal(flags.args[3], "--nope");
    flags_deinit(&flags);
}

static void test_help(void **state)
{
    SW_AUTO_BUF out = { 0 };
    (void)state;
    flags_help(&usage, &out);
    assert_non_null(
        strstr(out.data, "Usage:  swarm-cli thing do [OPTIONS] ITEM [MORE...]\n\nDo a thing\n\nOptions:\n  -a, --all "));
    assert_non_null(strstr(out.data, "  -m, --memory bytes   How much\n"));
    assert_non_null(strstr(out.data, "      --wait duration  How long\n"));
    assert_non_null(strstr(out.data, "A name (default none)\n"));
}

/* No table has a name or a letter twice. */
static void test_tables(void **state)
{
    const struct {
        const struct flag *flags;
        size_t count;
    } tables[] = { { spec_create_flags, spec_create_flag_count }, { spec_update_flags, spec_update_flag_count } };
    (void)state;
    for (size_t t = 0; t < 2; t++) {
        assert_true(tables[t].count <= FLAGS_MAX);
        for (size_t i = 0; i < tables[t].count; i++)
            for (size_t j = 0; j < i; j++) {
                assert_string_not_equal(tables[t].flags[i].name, tables[t].flags[j].name);
                assert_true(tables[t].flags[i].letter == 0 || tables[t].flags[i].letter != tables[t].flags[j].letter);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_values), cmocka_unit_test(test_stop_at_arg),
        cmocka_unit_test(test_help),    cmocka_unit_test(test_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
