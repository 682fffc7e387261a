#include "common/base/buf.h"
#include "common/service/svc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t wrote = write(fd, data, len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return -1;
        data += wrote;
        len -= (size_t)wrote;
    }
    return 0;
}

static int sync_parent(const char *path)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        (void)snprintf(dir, sizeof dir, ".");
    else
        (void)snprintf(dir, sizeof dir, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    SW_AUTO(sw_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

int svc_file_write(const char *path, const void *data, size_t len, unsigned mode, struct sw_err *err)
{
    SW_AUTO(sw_free) char *temp = sw_strf("%s.new", path);
    (void)unlink(temp);
    SW_AUTO(sw_close) int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return sw_fail(err, SW_IO, "write '%s': %s", path, strerror(errno));
    if (fchmod(fd, mode) != 0 || write_all(fd, data, len) != 0 || fsync(fd) != 0 || rename(temp, path) != 0 ||
        sync_parent(path) != 0) {
        int saved = errno;
        (void)unlink(temp);
        return sw_fail(err, SW_IO, "write '%s': %s", path, strerror(saved));
    }
    return 0;
}

int svc_file_read(const char *path, size_t max, char **ret_data, size_t *ret_len, struct sw_err *err)
{
    SW_AUTO(sw_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sw_fail(err, errno == ENOENT ? SW_NOT_FOUND : SW_IO, "read '%s': %s", path, strerror(errno));
    SW_AUTO_BUF buf = { 0 };
    for (;;) {
        sw_buf_reserve(&buf, 8192);
        ssize_t got = read(fd, buf.data + buf.len, 8192);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return sw_fail(err, SW_IO, "read '%s': %s", path, strerror(errno));
        if (got == 0)
            break;
        buf.len += (size_t)got;
        if (buf.len > max)
            return sw_fail(err, SW_LIMIT, "read '%s': more than %zu bytes", path, max);
    }
    *ret_len = buf.len;
    *ret_data = sw_buf_take(&buf);
    return 0;
}

int svc_mkdirs(const char *path, unsigned mode, struct sw_err *err)
{
    SW_AUTO(sw_free) char *part = sw_strdup(path);
    for (char *p = part + 1; *p != '\0'; p++)
        if (*p == '/') {
            *p = '\0';
            (void)mkdir(part, 0755);
            *p = '/';
        }
    struct stat st;
    if (mkdir(part, mode) != 0 && (errno != EEXIST || stat(part, &st) != 0 || !S_ISDIR(st.st_mode)))
        return sw_fail(err, SW_IO, "make directory '%s': %s", path, strerror(errno));
    return 0;
}

/* Removes what is in the directory `fd`; stays on device `dev`. Owns fd. */
static int rm_inside(int fd, dev_t dev)
{
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        (void)close(fd);
        return -1;
    }
    int failed = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_dev != dev) {
            failed = -1;
            continue;
        }
        if (S_ISDIR(st.st_mode)) {
            int sub = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (sub < 0 || rm_inside(sub, dev) != 0 || unlinkat(fd, entry->d_name, AT_REMOVEDIR) != 0)
                failed = -1;
        } else if (unlinkat(fd, entry->d_name, 0) != 0) {
            failed = -1;
        }
    }
    (void)closedir(dir);
    return failed;
}

int svc_rmtree(const char *path, struct sw_err *err)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : sw_fail(err, SW_IO, "remove '%s': %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return unlink(path) == 0 ? 0 : sw_fail(err, SW_IO, "remove '%s': %s", path, strerror(errno));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || rm_inside(fd, st.st_dev) != 0 || rmdir(path) != 0)
        return sw_fail(err, SW_IO, "remove '%s': %s", path, errno != 0 ? strerror(errno) : "not empty");
    return 0;
}
