#include "services/agent/oci/oci.h"

#include "common/base/buf.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- where ---- */
static bool names_controller(const char *options, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = strstr(options, name); at != NULL; at = strstr(at + 1, name))
        if ((at == options || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
            return true;
    return false;
}

static void note_v1(struct cgroups *cg, const char *point, const char *options)
{
    struct {
        const char *name;
        char **place;
    } rows[] = { { "memory", &cg->memory }, { "cpuacct", &cg->cpuacct }, { "pids", &cg->pids }, { "blkio", &cg->blkio } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (*rows[i].place == NULL && names_controller(options, rows[i].name))
            *rows[i].place = sw_strdup(point);
}

/* "36 35 98:0 /root /point opts - type source super-opts" */
static void note_mount(struct cgroups *cg, char *line)
{
    char point[1024], type[32], super[1024];
    char *dash = strstr(line, " - ");
    if (dash == NULL || sscanf(line, "%*s %*s %*s %*s %1023s", point) != 1 ||
        sscanf(dash + 3, "%31s %*s %1023s", type, super) != 2)
        return;
    bool v2 = strcmp(type, "cgroup2") == 0;
    if (!v2 && strcmp(type, "cgroup") != 0)
        return;
    if (cg->mount_count < sizeof cg->mounts / sizeof cg->mounts[0])
        cg->mounts[cg->mount_count++] = sw_strdup(point);
    if (v2 && cg->unified == NULL)
        cg->unified = sw_strdup(point);
    else if (!v2)
        note_v1(cg, point, super);
}

static bool v2_has(const struct cgroups *cg, const char *name)
{
    glob_t found;
    SW_AUTO(sw_free) char *pattern = sw_strf("%s/*/%s", cg->unified, name);
    bool any = glob(pattern, GLOB_NOSORT, NULL, &found) == 0;
    if (any)
        globfree(&found);
    return any;
}

int cgroups_find(struct cgroups *ret, struct sw_err *err)
{
    char line[4096];
    *ret = (struct cgroups) { 0 };
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (file == NULL)
        return sw_fail(err, SW_IO, "/proc/self/mountinfo: %s", strerror(errno));
    while (fgets(line, sizeof line, file) != NULL)
        note_mount(ret, line);
    (void)fclose(file);
    if (ret->mount_count == 0)
        return sw_fail(err, SW_UNSUPPORTED, "no cgroup file system is mounted");
    bool v1 =
        ret->mount_count > (ret->unified != NULL ? 1U : 0U) && (ret->memory != NULL || ret->pids != NULL || ret->cpuacct != NULL);
    ret->kind = !v1 ? CGROUP_V2 : ret->unified != NULL ? CGROUP_HYBRID : CGROUP_V1;
    if (ret->kind == CGROUP_V2) {
        ret->swap_limits = v2_has(ret, "memory.swap.max");
        ret->pids_limits = true;
    } else {
        SW_AUTO(sw_free) char *memsw = sw_strf("%s/memory.memsw.limit_in_bytes", ret->memory != NULL ? ret->memory : "");
        ret->swap_limits = access(memsw, F_OK) == 0;
        ret->pids_limits = ret->pids != NULL;
    }
    return 0;
}

void cgroups_deinit(struct cgroups *cg)
{
    for (size_t i = 0; i < cg->mount_count; i++)
        free(cg->mounts[i]);
    free(cg->unified);
    free(cg->memory);
    free(cg->cpuacct);
    free(cg->pids);
    free(cg->blkio);
    *cg = (struct cgroups) { 0 };
}

char *cgroups_oom_file(const struct cgroups *cg, const char *path)
{
    if (cg->kind == CGROUP_V2)
        return sw_strf("%s%s/memory.events", cg->unified, path);
    return cg->memory != NULL ? sw_strf("%s%s/memory.oom_control", cg->memory, path) : NULL;
}

void cgroups_rmdir(const struct cgroups *cg, const char *path)
{
    for (size_t i = 0; i < cg->mount_count; i++) {
        SW_AUTO(sw_free) char *dir = sw_strf("%s%s", cg->mounts[i], path);
        (void)rmdir(dir);
    }
}

/* ---- what they say ---- */
static bool read_text(const char *mount, const char *path, const char *file, char *ret, size_t size)
{
    if (mount == NULL)
        return false;
    SW_AUTO(sw_free) char *name = sw_strf("%s%s/%s", mount, path, file);
    FILE *in = fopen(name, "re");
    if (in == NULL)
        return false;
    size_t len = fread(ret, 1, size - 1, in);
    (void)fclose(in);
    ret[len] = '\0';
    return true;
}

static uint64_t read_number(const char *mount, const char *path, const char *file)
{
    char text[64];
    return read_text(mount, path, file, text, sizeof text) ? strtoull(text, NULL, 10) : 0;
}

/* The number after "key " at a line's start. */
static uint64_t keyed(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, len) == 0 && line[len] == ' ')
            return strtoull(line + len + 1, NULL, 10);
    }
    return 0;
}

/* The sum of the numbers that follow `mark`, over all devices. */
static uint64_t summed(const char *text, const char *mark)
{
    uint64_t sum = 0;
    for (const char *at = strstr(text, mark); at != NULL; at = strstr(at + 1, mark))
        sum += strtoull(at + strlen(mark), NULL, 10);
    return sum;
}

static int stats_v2(const struct cgroups *cg, const char *path, struct executor_stats *ret)
{
    char text[16384];
    if (!read_text(cg->unified, path, "cpu.stat", text, sizeof text))
        return -1;
    ret->cpu_ns = keyed(text, "usage_usec") * 1000;
    ret->memory_bytes = read_number(cg->unified, path, "memory.current");
    ret->memory_limit_bytes = read_number(cg->unified, path, "memory.max"); /* "max" reads as 0 */
    ret->pids = read_number(cg->unified, path, "pids.current");
    uint64_t inactive = read_text(cg->unified, path, "memory.stat", text, sizeof text) ? keyed(text, "inactive_file") : 0;
    ret->memory_bytes -= inactive < ret->memory_bytes ? inactive : ret->memory_bytes;
    if (read_text(cg->unified, path, "io.stat", text, sizeof text)) {
        ret->io_read_bytes = summed(text, "rbytes=");
        ret->io_written_bytes = summed(text, "wbytes=");
    }
    return 0;
}

static int stats_v1(const struct cgroups *cg, const char *path, struct executor_stats *ret)
{
    char text[16384];
    if (!read_text(cg->cpuacct, path, "cpuacct.usage", text, sizeof text))
        return -1;
    ret->cpu_ns = strtoull(text, NULL, 10);
    ret->memory_bytes = read_number(cg->memory, path, "memory.usage_in_bytes");
    ret->memory_limit_bytes = read_number(cg->memory, path, "memory.limit_in_bytes");
    if (ret->memory_limit_bytes > UINT64_C(1) << 60) /* how v1 writes "none" */
        ret->memory_limit_bytes = 0;
    ret->pids = read_number(cg->pids, path, "pids.current");
    uint64_t inactive = read_text(cg->memory, path, "memory.stat", text, sizeof text) ? keyed(text, "total_inactive_file") : 0;
    ret->memory_bytes -= inactive < ret->memory_bytes ? inactive : ret->memory_bytes;
    if (read_text(cg->blkio, path, "blkio.throttle.io_service_bytes_recursive", text, sizeof text)) {
        ret->io_read_bytes = summed(text, " Read ");
        ret->io_written_bytes = summed(text, " Write ");
    }
    return 0;
}

int cgroups_stats(const struct cgroups *cg, const char *path, struct executor_stats *ret, struct sw_err *err)
{
    *ret = (struct executor_stats) { 0 };
    int rc = cg->kind == CGROUP_V2 ? stats_v2(cg, path, ret) : stats_v1(cg, path, ret);
    return rc == 0 ? 0 : sw_fail(err, SW_NOT_FOUND, "cgroup %s is not there", path);
}
