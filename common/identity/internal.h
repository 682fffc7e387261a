/* internal - files that hold secrets: read and written with their mode checked, wiped from memory after use. */
#ifndef IDENTITY_INTERNAL_H
#define IDENTITY_INTERNAL_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <stdint.h>

#define IDENTITY_FILE_MAX (64u << 10)

/* A regular file of this user that nobody else can read, at most IDENTITY_FILE_MAX bytes. *buf is to be freed by
 * identity_buf_wipe(). SW_NOT_FOUND when there is none. */
int identity_file_read(const char *path, struct sw_buf *buf, struct sw_err *err);
/* Replaced as a whole, mode 0600; the directory is made (0700) if absent. */
int identity_file_write(const char *path, const void *data, size_t len, struct sw_err *err);
/* Overwrite and unlink; a file that is not there is fine. */
void identity_file_wipe(const char *path);
void identity_buf_wipe(struct sw_buf *buf);

#endif
