/* pb - packing and unpacking protobuf-c messages, with the limits the library itself does not have.
 *
 * Unpacking needs: at most `size_max` bytes, no unknown fields, strings that are valid UTF-8 without control characters
 * other than tab and newline. What fails any of it is SW_CORRUPT (or SW_LIMIT), and nothing is returned.
 * Nesting needs no check: no schema of ours contains itself.
 */
#ifndef SW_PB_H
#define SW_PB_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

/* Heap message or NULL with *err filled; free with sw_pb_free(). */
void *sw_pb_unpack(const ProtobufCMessageDescriptor *type, const void *data, size_t size, size_t size_max, struct sw_err *err);
void sw_pb_free(void *message); /* NULL is fine */
void sw_pb_free_autop(void *p); /* SW_AUTO(sw_pb_free) Swarm__Task *task = NULL; */
/* Append the encoding to buf. */
void sw_pb_pack(const void *message, struct sw_buf *buf);
/* A deep copy (pack + unpack, as trusted data). Never NULL. */
void *sw_pb_clone(const void *message);
/* Same encoding = same message. */
int sw_pb_equal(const void *a, const void *b);
/* Bytes field from a buffer: copies; the message owns the copy. */
ProtobufCBinaryData sw_pb_bytes(const void *data, size_t len);
/* Replace an owned string field. */
void sw_pb_set(char **field, const char *text);
/* Make any bytes one clean line that sw_pb_unpack() accepts: control characters and broken UTF-8 are replaced in place. */
void sw_pb_text_clean(char *text);

#endif
