#include "services/agent/oci/users.h"

#include "common/base/buf.h"
#include "common/base/units.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_MAX (1u << 20)
#define FIELDS_MAX 7

/* Heap text of a file in the root; empty if it is not there or not a plain small file. */
static char *read_in_root(int root_fd, const char *path)
{
    struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                            .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    struct stat st;
    SW_AUTO(sw_close) int fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > (off_t)FILE_MAX)
        return sw_strdup("");
    char *text = sw_alloc0((size_t)st.st_size + 1);
    ssize_t len = read(fd, text, (size_t)st.st_size);
    text[len > 0 ? len : 0] = '\0';
    return text;
}

/* Cuts one line at its colons; returns the number of fields. */
static size_t split(char *line, char *fields[FIELDS_MAX])
{
    size_t count = 0;
    char *rest = line;
    while (count < FIELDS_MAX && rest != NULL)
        fields[count++] = strsep(&rest, ":");
    return count;
}

static bool number_of(const char *text, uint32_t *ret)
{
    uint64_t value;
    if (!sw_parse_u64(text, &value) || value > INT32_MAX)
        return false;
    *ret = (uint32_t)value;
    return true;
}

/* The entry of passwd by name, or by number if `name` is one. */
static bool find_user(char *passwd, const char *name, struct users *ret)
{
    uint32_t wanted = 0, uid, gid;
    bool numeric = number_of(name, &wanted);
    char *fields[FIELDS_MAX];
    for (char *line = strsep(&passwd, "\n"); line != NULL; line = strsep(&passwd, "\n")) {
        if (split(line, fields) < 4 || !number_of(fields[2], &uid) || !number_of(fields[3], &gid))
            continue;
        if (strcmp(fields[0], name) != 0 && !(numeric && uid == wanted))
            continue;
        ret->uid = uid;
        ret->gid = gid;
        return true;
    }
    return false;
}

static void find_home(char *passwd, uint32_t wanted, struct users *ret)
{
    uint32_t uid;
    char *fields[FIELDS_MAX];
    for (char *line = strsep(&passwd, "\n"); line != NULL; line = strsep(&passwd, "\n"))
        if (split(line, fields) >= 6 && number_of(fields[2], &uid) && uid == wanted && strlen(fields[5]) < sizeof ret->home &&
            fields[5][0] == '/') {
            (void)memcpy(ret->home, fields[5], strlen(fields[5]) + 1);
            return;
        }
}

static void add_group(struct users *users, uint32_t gid)
{
    for (size_t i = 0; i < users->group_count; i++)
        if (users->groups[i] == gid)
            return;
    if (users->group_count < USERS_GROUPS_MAX)
        users->groups[users->group_count++] = gid;
}

static bool find_group(const char *text, const char *name, uint32_t *ret)
{
    uint32_t gid;
    char *fields[FIELDS_MAX];
    SW_AUTO(sw_free) char *copy = sw_strdup(text);
    char *rest = copy;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n"))
        if (split(line, fields) >= 3 && strcmp(fields[0], name) == 0 && number_of(fields[2], &gid)) {
            *ret = gid;
            return true;
        }
    return number_of(name, ret);
}

/* Groups that list the user as a member. */
static void add_memberships(const char *text, const char *user, struct users *ret)
{
    uint32_t gid;
    char *fields[FIELDS_MAX];
    SW_AUTO(sw_free) char *copy = sw_strdup(text);
    char *rest = copy;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        if (split(line, fields) < 4 || !number_of(fields[2], &gid))
            continue;
        char *members = fields[3];
        for (char *member = strsep(&members, ","); member != NULL; member = strsep(&members, ","))
            if (strcmp(member, user) == 0)
                add_group(ret, gid);
    }
}

static int resolve_user(int root_fd, const char *user, struct users *ret, struct sw_err *err)
{
    SW_AUTO(sw_free) char *passwd = read_in_root(root_fd, "etc/passwd");
    SW_AUTO(sw_free) char *again = sw_strdup(passwd);
    if (!find_user(passwd, user, ret) && !number_of(user, &ret->uid))
        return sw_fail(err, SW_INVALID, "unable to find user %.64s: no matching entries in passwd file", user);
    find_home(again, ret->uid, ret);
    return 0;
}

int users_find(int root_fd, const char *user, char *const *extra, size_t extra_count, struct users *ret, struct sw_err *err)
{
    *ret = (struct users) { .home = "/" };
    SW_AUTO(sw_free) char *name = sw_strdup(user != NULL && user[0] != '\0' ? user : "0");
    char *group = strchr(name, ':');
    if (group != NULL)
        *group++ = '\0';
    int rc = resolve_user(root_fd, name[0] != '\0' ? name : "0", ret, err);
    if (rc != 0)
        return rc;
    SW_AUTO(sw_free) char *groups = read_in_root(root_fd, "etc/group");
    if (group != NULL && group[0] != '\0') {
        if (!find_group(groups, group, &ret->gid))
            return sw_fail(err, SW_INVALID, "unable to find group %.64s: no matching entries in group file", group);
    } else {
        add_memberships(groups, name, ret);
    }
    for (size_t i = 0; i < extra_count; i++) {
        uint32_t gid;
        if (!find_group(groups, extra[i], &gid))
            return sw_fail(err, SW_INVALID, "unable to find group %.64s: no matching entries in group file", extra[i]);
        add_group(ret, gid);
    }
    return 0;
}
