/* References, and layers that mean well or ill. */
#include "common/base/buf.h"
#include "common/base/err.h"
#include "services/agent/oci/ref.h"
#include "services/agent/oci/unpack/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

static void references(void **state)
{
    (void)state;
    static const char *const good[][2] = {
        { "web", "docker.io/library/web:latest" },
        { "me/web:1.2", "docker.io/me/web:1.2" },
        { "index.docker.io/web", "docker.io/library/web:latest" },
        { "localhost/web", "localhost/web:latest" },
        { "127.0.0.1:5000/a/b_c/d--e:x", "127.0.0.1:5000/a/b_c/d--e:x" },
        { "r.example/web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
          "r.example/web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
        { "web:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
          "docker.io/library/web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
    };
    static const char *const bad[] = { "",   "Web",           "web:",    "web:-x", "a//b",    "/a",
                                       "a/", "web@sha256:12", "web:a b", "a..b/c", "a/b___c", "web@md5:0123456789abcdef",
                                       "-a", "a b",           "../etc" };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        REF_AUTO ref = { 0 };
        assert_int_equal(ref_parse(good[i][0], &ref, NULL), 0);
        SW_AUTO(sw_free) char *text = ref_pullable(&ref);
        assert_string_equal(text, good[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        REF_AUTO ref = { 0 };
        struct sw_err err;
        assert_int_equal(ref_parse(bad[i], &ref, &err), -SW_INVALID);
        assert_non_null(strstr(err.text, "invalid reference format"));
    }
}

/* ---- layers ---- */
struct entry {
    const char *path;
    unsigned type;
    const char *text; /* data, or where a link leads */
};

static int make_tar(const struct entry *entries, size_t count, bool zip, char digest[65])
{
    static char plain[1u << 20];
    size_t used = 0;
    unsigned char sum[32];
    struct archive *tar = archive_write_new();
    (void)archive_write_set_format_pax_restricted(tar);
    assert_int_equal(archive_write_open_memory(tar, plain, sizeof plain, &used), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++) {
        struct archive_entry *entry = archive_entry_new();
        bool hard = entries[i].type == 0;
        archive_entry_set_pathname(entry, entries[i].path);
        archive_entry_set_filetype(entry, hard ? AE_IFREG : entries[i].type);
        archive_entry_set_perm(entry, 0755);
        if (hard)
            archive_entry_set_hardlink(entry, entries[i].text);
        else if (entries[i].type == AE_IFLNK)
            archive_entry_set_symlink(entry, entries[i].text);
        else if (entries[i].type == AE_IFREG)
            archive_entry_set_size(entry, (la_int64_t)strlen(entries[i].text));
        else if (entries[i].type == AE_IFCHR)
            archive_entry_set_rdev(entry, makedev(1, 3));
        archive_entry_xattr_add_entry(entry, "trusted.overlay.redirect", "/etc", 4);
        assert_int_equal(archive_write_header(tar, entry), ARCHIVE_OK);
        if (!hard && entries[i].type == AE_IFREG)
            (void)archive_write_data(tar, entries[i].text, strlen(entries[i].text));
        archive_entry_free(entry);
    }
    (void)archive_write_close(tar);
    (void)archive_write_free(tar);
    (void)crypto_hash_sha256(sum, (unsigned char *)plain, used);
    (void)sodium_bin2hex(digest, 65, sum, sizeof sum);
    int fd = memfd_create("layer", MFD_CLOEXEC);
    struct archive *raw = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    if (zip)
        (void)archive_write_add_filter_gzip(raw);
    (void)archive_write_set_format_raw(raw);
    (void)archive_write_open_fd(raw, fd);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_pathname(entry, "layer");
    (void)archive_write_header(raw, entry);
    assert_int_equal(archive_write_data(raw, plain, used), (int)used);
    archive_entry_free(entry);
    (void)archive_write_close(raw);
    (void)archive_write_free(raw);
    (void)lseek(fd, 0, SEEK_SET);
    return fd;
}

static char base[] = "/tmp/oci-unpack-XXXXXX";

static int fresh(void **state)
{
    (void)state;
    (void)snprintf(base, sizeof base, "/tmp/oci-unpack-XXXXXX");
    assert_non_null(mkdtemp(base));
    return chdir(base);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int clean(void **state)
{
    (void)state;
    if (chdir("/") != 0)
        return -1;
    return nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int unpack(const struct entry *entries, size_t count, bool zip, char error[UNPACK_ERROR_MAX])
{
    char digest[65];
    uint64_t bytes;
    int fd = make_tar(entries, count, zip, digest);
    int rc = unpack_stream(fd, digest, &bytes, error);
    (void)close(fd);
    return rc;
}

static void ordinary(void **state)
{
    (void)state;
    char error[UNPACK_ERROR_MAX] = "", value[8];
    struct stat st;
    if (geteuid() != 0)
        skip();
    const struct entry entries[] = {
        { "./d/", AE_IFDIR, NULL },     { "./d/file", AE_IFREG, "text" },   { "d/link", AE_IFLNK, "/etc/passwd" },
        { "d/.wh.gone", AE_IFREG, "" }, { "d/.wh..wh..opq", AE_IFREG, "" }, { "d/same", 0, "./d/file" },
        { "null", AE_IFCHR, NULL },     { "d/.wh..wh.aufs", AE_IFREG, "" }
    };
    assert_int_equal(unpack(entries, 8, true, error), 0);
    assert_int_equal(stat("d/file", &st), 0);
    assert_int_equal(st.st_nlink, 2);
    assert_int_equal(stat("d/gone", &st), 0);
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
    assert_int_equal(getxattr("d", "trusted.overlay.opaque", value, sizeof value), 1);
    assert_true(getxattr("d", "trusted.overlay.redirect", value, sizeof value) < 0);
    assert_int_equal(stat("null", &st), 0);
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
    assert_int_equal(lstat("d/.wh..wh.aufs", &st), -1);
}

static void hostile(void **state)
{
    (void)state;
    static const struct entry cases[][2] = {
        { { "../x", AE_IFREG, "evil" }, { "a", AE_IFREG, "a" } },
        { { "a/../../x", AE_IFREG, "evil" }, { "a", AE_IFREG, "a" } },
        { { "link", AE_IFLNK, "/tmp" }, { "link/x", AE_IFREG, "evil" } },
        { { "link", AE_IFLNK, "/tmp" }, { "link/.wh.x", AE_IFREG, "" } },
        { { "link", AE_IFLNK, "/tmp" }, { "link/.wh..wh..opq", AE_IFREG, "" } },
        { { "hard", 0, "../../etc/passwd" }, { "a", AE_IFREG, "a" } },
        { { "link", AE_IFLNK, "/etc" }, { "hard", 0, "link/passwd" } },
        { { ".wh...", AE_IFREG, "" }, { "a", AE_IFREG, "a" } },
        { { ".wh.", AE_IFREG, "" }, { "a", AE_IFREG, "a" } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char error[UNPACK_ERROR_MAX] = "";
        assert_int_equal(unpack(cases[i], 2, false, error), -1);
        assert_true(strlen(error) > 10);
        (void)unlink("link");
        (void)unlink("a");
    }
    assert_int_equal(access("/tmp/x", F_OK), -1);
}

static void wrong_digest_and_garbage(void **state)
{
    (void)state;
    char digest[65], error[UNPACK_ERROR_MAX];
    uint64_t bytes;
    const struct entry entry = { "a", AE_IFREG, "a" };
    int fd = make_tar(&entry, 1, true, digest);
    digest[0] = digest[0] == '0' ? '1' : '0';
    assert_int_equal(unpack_stream(fd, digest, &bytes, error), -1);
    assert_non_null(strstr(error, "layer is not what the image says"));
    assert_int_equal(ftruncate(fd, 60), 0);
    (void)lseek(fd, 0, SEEK_SET);
    assert_int_equal(unpack_stream(fd, digest, &bytes, error), -1);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references),
        cmocka_unit_test_setup_teardown(ordinary, fresh, clean),
        cmocka_unit_test_setup_teardown(hostile, fresh, clean),
        cmocka_unit_test_setup_teardown(wrong_digest_and_garbage, fresh, clean),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
