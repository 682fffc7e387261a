#include "services/agent/oci/unpack/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sodium.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define BLOCK (256u << 10)

struct unpack {
    struct archive *plain; /* decompresses: one raw entry */
    struct archive *tar;   /* reads what `plain` yields, through plain_read() */
    struct archive *disk;
    crypto_hash_sha256_state hash;
    uint8_t block[BLOCK];
    uint64_t bytes, entries;
    char **opaque;
    size_t opaque_count;
    char *error;
};

static int fail(struct unpack *un, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct unpack *un, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(un->error, UNPACK_ERROR_MAX, fmt, args);
    va_end(args);
    return -1;
}

/* ---- the plain tar, hashed on its way ---- */
static la_ssize_t plain_read(struct archive *tar, void *arg, const void **ret_data)
{
    struct unpack *un = arg;
    la_ssize_t len = archive_read_data(un->plain, un->block, sizeof un->block);
    if (len < 0) {
        archive_set_error(tar, EIO, "%s", archive_error_string(un->plain));
        return -1;
    }
    (void)crypto_hash_sha256_update(&un->hash, un->block, (unsigned long long)len);
    *ret_data = un->block;
    return len;
}

static int open_all(struct unpack *un, int fd)
{
    struct archive_entry *entry;
    un->plain = archive_read_new();
    un->tar = archive_read_new();
    un->disk = archive_write_disk_new();
    (void)archive_read_support_filter_all(un->plain);
    (void)archive_read_support_format_raw(un->plain);
    (void)archive_read_support_format_empty(un->plain);
    (void)archive_read_support_format_tar(un->tar);
    (void)archive_read_support_format_empty(un->tar);
    (void)archive_write_disk_set_options(un->disk, ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME |
                                                       ARCHIVE_EXTRACT_XATTR | ARCHIVE_EXTRACT_UNLINK |
                                                       ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
    if (archive_read_open_fd(un->plain, fd, BLOCK) != ARCHIVE_OK)
        return fail(un, "layer does not open: %s", archive_error_string(un->plain));
    int rc = archive_read_next_header(un->plain, &entry);
    if (rc != ARCHIVE_OK && rc != ARCHIVE_EOF)
        return fail(un, "layer does not decompress: %s", archive_error_string(un->plain));
    if (archive_read_open(un->tar, un, NULL, plain_read, NULL) != ARCHIVE_OK)
        return fail(un, "layer is no tar: %s", archive_error_string(un->tar));
    return 0;
}

static void close_all(struct unpack *un)
{
    (void)archive_read_free(un->tar);
    (void)archive_read_free(un->plain);
    (void)archive_write_free(un->disk);
    for (size_t i = 0; i < un->opaque_count; i++)
        free(un->opaque[i]);
    free(un->opaque);
}

/* ---- names ---- */
/* "./a/b", "/a/b" -> "a/b"; the root itself is ".". */
static const char *relative(const char *path)
{
    while (path[0] == '/' || (path[0] == '.' && path[1] == '/'))
        path++;
    return path[0] != '\0' ? path : ".";
}

static bool has_dotdot(const char *path)
{
    for (const char *p = path; p != NULL; p = strchr(p, '/')) {
        p += *p == '/';
        if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || p[2] == '\0'))
            return true;
    }
    return false;
}

/* Does a directory on the way to `path` turn out to be a link? Then what the layer says lies beyond it is not this layer's to
 * say. */
static bool through_link(const char *path)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return false;
    (void)snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
    struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH };
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, parent, &how, sizeof how);
    if (fd >= 0)
        (void)close(fd);
    return fd < 0 && errno != ENOENT;
}

static int check_name(struct unpack *un, const char *path, const char *what)
{
    if (strlen(path) >= PATH_MAX)
        return fail(un, "layer holds a %s of more than %d bytes", what, PATH_MAX);
    if (has_dotdot(path))
        return fail(un, "layer holds a %s with '..': %.200s", what, path);
    if (through_link(path))
        return fail(un, "layer holds a %s that goes through a link: %.200s", what, path);
    return 0;
}

/* ---- entries ---- */
static void keep_safe_xattrs(struct archive_entry *entry)
{
    const char *name;
    const void *value;
    size_t size;
    struct archive_entry *copy = archive_entry_clone(entry);
    archive_entry_xattr_clear(entry);
    (void)archive_entry_xattr_reset(copy);
    while (archive_entry_xattr_next(copy, &name, &value, &size) == ARCHIVE_OK)
        if (strncmp(name, "user.", 5) == 0 || strcmp(name, "security.capability") == 0)
            archive_entry_xattr_add_entry(entry, name, value, size);
    archive_entry_free(copy);
}

static int copy_data(struct unpack *un, const char *path)
{
    const void *data;
    size_t size;
    la_int64_t offset;
    for (;;) {
        int rc = archive_read_data_block(un->tar, &data, &size, &offset);
        if (rc == ARCHIVE_EOF)
            return 0;
        if (rc < ARCHIVE_WARN)
            return fail(un, "layer breaks off in %.200s: %s", path, archive_error_string(un->tar));
        un->bytes += size;
        if (un->bytes > UNPACK_BYTES_MAX)
            return fail(un, "layer is larger than %llu bytes", (unsigned long long)UNPACK_BYTES_MAX);
        if (archive_write_data_block(un->disk, data, size, offset) < ARCHIVE_WARN)
            return fail(un, "write %.200s: %s", path, archive_error_string(un->disk));
    }
}

static int write_entry(struct unpack *un, struct archive_entry *entry, const char *path)
{
    const char *link = archive_entry_hardlink(entry);
    if (link != NULL) {
        if (check_name(un, relative(link), "hard link") != 0)
            return -1;
        char *copy = strdup(relative(link));
        archive_entry_set_hardlink(entry, copy);
        free(copy);
    }
    keep_safe_xattrs(entry);
    if (archive_write_header(un->disk, entry) < ARCHIVE_WARN)
        return fail(un, "write %.200s: %s", path, archive_error_string(un->disk));
    if (archive_entry_size(entry) > 0 && copy_data(un, path) != 0)
        return -1;
    if (archive_write_finish_entry(un->disk) < ARCHIVE_WARN)
        return fail(un, "write %.200s: %s", path, archive_error_string(un->disk));
    return 0;
}

static int note_opaque(struct unpack *un, const char *path, const char *name)
{
    size_t len = name > path ? (size_t)(name - path) - 1 : 0;
    if (un->opaque_count == UNPACK_OPAQUE_MAX)
        return fail(un, "layer holds more than %u opaque directories", UNPACK_OPAQUE_MAX);
    char **grown = realloc(un->opaque, (un->opaque_count + 1) * sizeof *grown);
    char *dir = len != 0 ? strndup(path, len) : strdup(".");
    if (grown == NULL || dir == NULL)
        return fail(un, "out of memory");
    un->opaque = grown;
    un->opaque[un->opaque_count++] = dir;
    return 0;
}

static int write_whiteout(struct unpack *un, const char *path, const char *name)
{
    char target[PATH_MAX];
    const char *gone = name + 4;
    if (gone[0] == '\0' || strcmp(gone, ".") == 0 || strcmp(gone, "..") == 0)
        return fail(un, "layer holds a whiteout of nothing: %.200s", path);
    (void)snprintf(target, sizeof target, "%.*s%s", (int)(name - path), path, gone);
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, target);
    archive_entry_set_filetype(entry, AE_IFCHR);
    archive_entry_set_rdev(entry, 0);
    archive_entry_set_perm(entry, 0);
    int rc = archive_write_header(un->disk, entry);
    if (rc >= ARCHIVE_WARN)
        rc = archive_write_finish_entry(un->disk);
    archive_entry_free(entry);
    return rc < ARCHIVE_WARN ? fail(un, "whiteout %.200s: %s", path, archive_error_string(un->disk)) : 0;
}

static int take_entry(struct unpack *un, struct archive_entry *entry)
{
    const char *raw = archive_entry_pathname(entry);
    if (raw == NULL || ++un->entries > UNPACK_ENTRIES_MAX)
        return fail(un, raw == NULL ? "layer holds an entry without a name" : "layer holds more than 4000000 entries");
    char *path = strdup(relative(raw));
    if (path == NULL)
        return fail(un, "out of memory");
    int rc = check_name(un, path, "name");
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    archive_entry_set_pathname(entry, path);
    if (rc == 0 && strcmp(name, ".wh..wh..opq") == 0)
        rc = note_opaque(un, path, name);
    else if (rc == 0 && strncmp(name, ".wh..wh.", 8) == 0)
        rc = 0; /* notes of an old file system, no content */
    else if (rc == 0 && strncmp(name, ".wh.", 4) == 0)
        rc = write_whiteout(un, path, name);
    else if (rc == 0)
        rc = write_entry(un, entry, path);
    free(path);
    return rc;
}

/* ---- the whole ---- */
static int mark_opaque(struct unpack *un)
{
    for (size_t i = 0; i < un->opaque_count; i++) {
        struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH };
        int fd = (int)syscall(SYS_openat2, AT_FDCWD, un->opaque[i], &how, sizeof how);
        int rc = fd >= 0 ? fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) : -1;
        int saved = errno;
        if (fd >= 0)
            (void)close(fd);
        if (rc != 0)
            return fail(un, "opaque directory %.200s: %s", un->opaque[i], strerror(saved));
    }
    return 0;
}

static int check_digest(struct unpack *un, const char *digest)
{
    unsigned char sum[crypto_hash_sha256_BYTES];
    char text[2 * sizeof sum + 1];
    const void *unused;
    la_ssize_t len;
    do /* what follows the end mark of the tar belongs to its digest */
        len = plain_read(un->tar, un, &unused);
    while (len > 0);
    (void)crypto_hash_sha256_final(&un->hash, sum);
    (void)sodium_bin2hex(text, sizeof text, sum, sizeof sum);
    if (len < 0 || strcmp(text, digest) != 0)
        return fail(un, "layer is not what the image says: sha256 %s, not %s", text, digest);
    return 0;
}

int unpack_stream(int fd, const char *digest, uint64_t *ret_bytes, char *error)
{
    static struct unpack un;
    struct archive_entry *entry;
    un = (struct unpack) { .error = error };
    (void)crypto_hash_sha256_init(&un.hash);
    int rc = open_all(&un, fd);
    while (rc == 0) {
        int got = archive_read_next_header(un.tar, &entry);
        if (got == ARCHIVE_EOF)
            break;
        rc = got < ARCHIVE_WARN ? fail(&un, "layer is no whole tar: %s", archive_error_string(un.tar)) : take_entry(&un, entry);
    }
    if (rc == 0 && archive_write_close(un.disk) < ARCHIVE_WARN)
        rc = fail(&un, "write: %s", archive_error_string(un.disk));
    if (rc == 0)
        rc = mark_opaque(&un);
    if (rc == 0)
        rc = check_digest(&un, digest);
    *ret_bytes = un.bytes;
    close_all(&un);
    return rc;
}
