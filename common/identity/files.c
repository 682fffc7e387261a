#include "common/identity/identity.h"
#include "common/identity/internal.h"
#include "common/service/svc.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void identity_buf_wipe(struct sw_buf *buf)
{
    if (buf->data != NULL)
        sodium_memzero(buf->data, buf->cap);
    sw_buf_deinit(buf);
}

static int check_mode(const char *path, int fd, size_t *ret_size, struct sw_err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return sw_fail(err, SW_IO, "read '%s': %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return sw_fail(err, SW_DENIED, "'%s' is not a regular file", path);
    if ((st.st_mode & 077) != 0)
        return sw_fail(err, SW_DENIED, "'%s' can be read by others (mode %04o): it must be 0600", path, st.st_mode & 07777U);
    if (st.st_uid != geteuid() && geteuid() != 0)
        return sw_fail(err, SW_DENIED, "'%s' belongs to another user", path);
    if (st.st_size > (off_t)IDENTITY_FILE_MAX)
        return sw_fail(err, SW_LIMIT, "'%s' has %lld bytes, at most %u are allowed", path, (long long)st.st_size,
                       IDENTITY_FILE_MAX);
    *ret_size = (size_t)st.st_size;
    return 0;
}

int identity_file_read(const char *path, struct sw_buf *buf, struct sw_err *err)
{
    SW_AUTO(sw_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return sw_fail(err, SW_NOT_FOUND, "'%s' does not exist", path);
    if (fd < 0)
        return sw_fail(err, errno == EACCES ? SW_DENIED : SW_IO, "read '%s': %s", path, strerror(errno));
    size_t size = 0;
    int rc = check_mode(path, fd, &size, err);
    if (rc < 0)
        return rc;
    sw_buf_reserve(buf, size);
    while (buf->len < size) {
        ssize_t got = read(fd, buf->data + buf->len, size - buf->len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            identity_buf_wipe(buf);
            return sw_fail(err, SW_IO, "read '%s': %s", path, got < 0 ? strerror(errno) : "the file got shorter");
        }
        buf->len += (size_t)got;
    }
    buf->data[buf->len] = '\0';
    return 0;
}

int identity_file_write(const char *path, const void *data, size_t len, struct sw_err *err)
{
    const char *slash = strrchr(path, '/');
    if (slash != NULL && slash != path) {
        SW_AUTO(sw_free) char *dir = sw_strf("%.*s", (int)(slash - path), path);
        int rc = svc_mkdirs(dir, 0700, err);
        if (rc < 0)
            return rc;
    }
    return svc_file_write(path, data, len, 0600, err);
}

void identity_file_wipe(const char *path)
{
    struct stat st;
    SW_AUTO(sw_close) int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        static const char zeros[4096];
        for (off_t done = 0; done < st.st_size;) {
            size_t part = st.st_size - done < (off_t)sizeof zeros ? (size_t)(st.st_size - done) : sizeof zeros;
            ssize_t wrote = write(fd, zeros, part);
            if (wrote <= 0)
                break;
            done += wrote;
        }
        (void)fsync(fd);
    }
    (void)unlink(path);
}

/* ---- identities ---- */

char *identity_dir(const char *state_dir)
{
    return sw_strf("%s/node", state_dir);
}

char *identity_admin_path(const char *state_dir)
{
    return sw_strf("%s/node/admin", state_dir);
}

static char *node_path(const char *state_dir)
{
    return sw_strf("%s/node/identity", state_dir);
}

static void *load(const char *path, const ProtobufCMessageDescriptor *type, struct sw_err *err)
{
    struct sw_buf buf = { 0 };
    if (identity_file_read(path, &buf, err) < 0)
        return NULL;
    void *message = sw_pb_unpack(type, buf.data, buf.len, IDENTITY_FILE_MAX, err);
    identity_buf_wipe(&buf);
    if (message == NULL)
        (void)sw_wrap(err, "identity file '%s'", path);
    return message;
}

static int save(const char *path, const void *message, struct sw_err *err)
{
    struct sw_buf buf = { 0 };
    sw_buf_reserve(&buf, protobuf_c_message_get_packed_size(message)); /* so that nothing is left behind by growing */
    sw_pb_pack(message, &buf);
    int rc = identity_file_write(path, buf.data, buf.len, err);
    identity_buf_wipe(&buf);
    return rc;
}

static bool keys_ok(ProtobufCBinaryData root, ProtobufCBinaryData public_key, ProtobufCBinaryData secret_key)
{
    uint8_t derived[32];
    if (root.len != 32 || public_key.len != 32 || secret_key.len != 32)
        return false;
    return crypto_scalarmult_base(derived, secret_key.data) == 0 && sodium_memcmp(derived, public_key.data, 32) == 0;
}

int identity_node_load(const char *state_dir, Swarm__NodeIdentity **ret, struct sw_err *err)
{
    struct sw_err unasked;
    err = err != NULL ? err : &unasked;
    SW_AUTO(sw_free) char *path = node_path(state_dir);
    SW_AUTO(sw_pb_free) Swarm__NodeIdentity *identity = load(path, &swarm__node_identity__descriptor, err);
    if (identity == NULL)
        return -(int)err->code;
    if (!keys_ok(identity->root_key, identity->curve_public, identity->curve_secret))
        return sw_fail(err, SW_CORRUPT, "identity file '%s': the keys do not belong together", path);
    if (identity->role != BUS_WORKER && identity->role != BUS_MANAGER)
        return sw_fail(err, SW_CORRUPT, "identity file '%s': role %u is not a node's", path, identity->role);
    *ret = SW_TAKE(identity);
    return 0;
}

int identity_node_save(const char *state_dir, const Swarm__NodeIdentity *identity, struct sw_err *err)
{
    SW_AUTO(sw_free) char *path = node_path(state_dir);
    return save(path, identity, err);
}

int identity_admin_load(const char *path, Swarm__AdminIdentity **ret, struct sw_err *err)
{
    struct sw_err unasked;
    err = err != NULL ? err : &unasked;
    SW_AUTO(sw_pb_free) Swarm__AdminIdentity *admin = load(path, &swarm__admin_identity__descriptor, err);
    if (admin == NULL)
        return -(int)err->code;
    if (!keys_ok(admin->root_key, admin->curve_public, admin->curve_secret))
        return sw_fail(err, SW_CORRUPT, "identity file '%s': the keys do not belong together", path);
    *ret = SW_TAKE(admin);
    return 0;
}

int identity_admin_save(const char *path, const Swarm__AdminIdentity *admin, struct sw_err *err)
{
    return save(path, admin, err);
}

void identity_wipe(const char *state_dir)
{
    SW_AUTO(sw_free) char *node = node_path(state_dir);
    SW_AUTO(sw_free) char *admin = identity_admin_path(state_dir);
    identity_file_wipe(admin);
    identity_file_wipe(node); /* last: its going is what the other daemons wait for */
}
