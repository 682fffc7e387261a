/* Golden traces: each <case>.trace holds commands ("> ...") and, below each, exactly what the scheduler commits because of it.
 * UPDATE_TRACES=1 rewrites the files; the difference is reviewed like code. Arguments: the trace files. */
#include "services/scheduler/tests/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return NULL;
    struct sw_buf buf = { 0 };
    char chunk[4096];
    for (size_t n = fread(chunk, 1, sizeof chunk, file); n > 0; n = fread(chunk, 1, sizeof chunk, file))
        sw_buf_add(&buf, chunk, n);
    (void)fclose(file);
    return sw_buf_take(&buf);
}

/* Play the commands of a trace; the whole text as it should be comes back. */
static bool play(const char *path, const char *trace, struct sw_buf *text)
{
    struct cluster cluster;
    cluster_init(&cluster, 7);
    SW_AUTO(sw_free) char *copy = sw_strdup(trace);
    char *rest = NULL;
    bool ok = true;
    for (char *line = strtok_r(copy, "\n", &rest); line != NULL && ok; line = strtok_r(NULL, "\n", &rest)) {
        if (line[0] == '#') {
            sw_buf_addf(text, "%s\n", line);
            continue;
        }
        if (line[0] != '>')
            continue;
        sw_buf_addf(text, "%s\n", line);
        cluster.now_ns += 1000000; /* nothing in a cluster happens at once */
        ok = scenario_line(&cluster, line + 2, text);
        cluster_settle(&cluster);
        sw_buf_adds(text, sw_buf_str(&cluster.log));
        sw_buf_reset(&cluster.log);
    }
    if (!ok)
        printf("%s: last command not understood:\n%s", path, text->data);
    cluster_deinit(&cluster);
    return ok;
}

static bool check(const char *path)
{
    SW_AUTO(sw_free) char *want = read_file(path);
    SW_AUTO_BUF have = { 0 };
    if (want == NULL || !play(path, want, &have))
        return false;
    if (strcmp(want, have.data) == 0)
        return true;
    if (getenv("UPDATE_TRACES") == NULL) {
        printf("%s differs; this is what it would be now:\n%s", path, have.data);
        return false;
    }
    FILE *file = fopen(path, "w");
    bool ok = file != NULL && fwrite(have.data, 1, have.len, file) == have.len;
    return file != NULL && fclose(file) == 0 && ok;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed += check(argv[i]) ? 0 : 1;
    printf("%d passed, %d failed\n", argc - 1 - failed, failed);
    return failed == 0 ? 0 : 1;
}
