/* swarm-unpack - one image layer (tar, plain or compressed) becomes one overlay lower directory.
 *
 * Place    a program of its own, run by the image store, so that a hostile archive meets neither the daemon nor its memory, and a
 *          long one does not hold the daemon's loop. It works inside a chroot of the new directory.
 * Result   LAYERS/NAME/fs with the files and LAYERS/NAME/size with their bytes; made as LAYERS/NAME.<pid>.tmp, synced, renamed:
 * it is there whole or not at all. The sha256 of the plain tar must be the layer's diff id, else nothing is kept. Whiteouts
 * ".wh.NAME" -> character device 0:0, ".wh..wh..opq" -> trusted.overlay.opaque on the directory. Refused  "..", names that go
 * through a link, whiteouts naming "..", xattrs other than user.* and security.capability. Limits   UNPACK_ENTRIES_MAX entries,
 * UNPACK_BYTES_MAX bytes, UNPACK_OPAQUE_MAX opaque directories.
 */
#ifndef SWARM_UNPACK_H
#define SWARM_UNPACK_H

#include <stdint.h>

#define UNPACK_ENTRIES_MAX 4000000u
#define UNPACK_BYTES_MAX (UINT64_C(256) << 30)
#define UNPACK_OPAQUE_MAX 65536u
#define UNPACK_ERROR_MAX 400

/* Unpacks the archive at fd into the current directory, which should be the root of a chroot.
 * digest: of the plain tar, 64 hex digits. 0, or -1 with `error`. */
int unpack_stream(int fd, const char *digest, uint64_t *ret_bytes, char *error);

#endif
