#include "common/base/pb.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 sequence at p (RFC 3629, shortest form, no surrogates), 0 if it is none. */
static size_t utf8_len(const unsigned char *p)
{
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        return (p[1] & 0xc0) == 0x80 ? 2 : 0;
    if ((p[0] & 0xf0) == 0xe0 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80) {
        unsigned point = (p[0] & 0x0fU) << 12 | (p[1] & 0x3fU) << 6 | (p[2] & 0x3fU);
        return point >= 0x800 && (point < 0xd800 || point > 0xdfff) ? 3 : 0;
    }
    if (p[0] >= 0xf0 && p[0] <= 0xf4 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80) {
        unsigned point = (p[0] & 7U) << 18 | (p[1] & 0x3fU) << 12 | (p[2] & 0x3fU) << 6 | (p[3] & 0x3fU);
        return point >= 0x10000 && point <= 0x10ffff ? 4 : 0;
    }
    return 0;
}

static bool text_ok(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0';) {
        size_t len = utf8_len(p);
        if (len == 0 || (*p < 0x20 && *p != '\t' && *p != '\n' && *p != '\r'))
            return false;
        p += len;
    }
    return true;
}

void sw_pb_text_clean(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p != '\0';) {
        size_t len = utf8_len(p);
        if (len == 0 || *p < 0x20 || *p == 0x7f) {
            *p = *p == '\n' || *p == '\t' || *p == '\r' ? ' ' : '?';
            len = 1;
        }
        p += len;
    }
}

static bool message_ok(const ProtobufCMessage *message);

static bool member_ok(const ProtobufCFieldDescriptor *field, const void *value)
{
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return *(char *const *)value == NULL || text_ok(*(char *const *)value);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(ProtobufCMessage *const *)value == NULL || message_ok(*(ProtobufCMessage *const *)value);
    return true;
}

static bool field_ok(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *base = (const char *)message;
    if (field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_MESSAGE)
        return true;
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return member_ok(field, base + field->offset);
    size_t count = *(const size_t *)(base + field->quantifier_offset);
    void *const *items = *(void **const *)(base + field->offset);
    for (size_t i = 0; i < count; i++)
        if (!member_ok(field, &items[i]))
            return false;
    return true;
}

/* Recursion is as deep as the schema, which is finite. */
static bool message_ok(const ProtobufCMessage *message)
{
    if (message->n_unknown_fields != 0)
        return false;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++)
        if (!field_ok(message, &message->descriptor->fields[i]))
            return false;
    return true;
}

void *sw_pb_unpack(const ProtobufCMessageDescriptor *type, const void *data, size_t size, size_t size_max, struct sw_err *err)
{
    if (size > size_max) {
        (void)sw_fail(err, SW_LIMIT, "message '%s' has %zu bytes, at most %zu are allowed", type->name, size, size_max);
        return NULL;
    }
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, size, data);
    if (message == NULL) {
        (void)sw_fail(err, SW_CORRUPT, "message '%s' does not parse", type->name);
        return NULL;
    }
    if (!message_ok(message)) {
        protobuf_c_message_free_unpacked(message, NULL);
        (void)sw_fail(err, SW_CORRUPT, "message '%s' has unknown fields or text that is not clean UTF-8", type->name);
        return NULL;
    }
    return message;
}

void sw_pb_free(void *message)
{
    if (message != NULL)
        protobuf_c_message_free_unpacked(message, NULL);
}

void sw_pb_free_autop(void *p)
{
    sw_pb_free(*(void **)p);
}

void sw_pb_pack(const void *message, struct sw_buf *buf)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    sw_buf_reserve(buf, size);
    size_t wrote = protobuf_c_message_pack(message, (uint8_t *)buf->data + buf->len);
    assert(wrote == size);
    buf->len += size;
    buf->data[buf->len] = '\0';
}

void *sw_pb_clone(const void *message)
{
    SW_AUTO_BUF buf = { 0 };
    sw_pb_pack(message, &buf);
    const ProtobufCMessage *from = message;
    void *copy = protobuf_c_message_unpack(from->descriptor, NULL, buf.len, (const uint8_t *)buf.data);
    if (copy == NULL)
        abort();
    return copy;
}

int sw_pb_equal(const void *a, const void *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    SW_AUTO_BUF pa = { 0 };
    SW_AUTO_BUF pb = { 0 };
    sw_pb_pack(a, &pa);
    sw_pb_pack(b, &pb);
    return pa.len == pb.len && memcmp(pa.data, pb.data, pa.len) == 0;
}

ProtobufCBinaryData sw_pb_bytes(const void *data, size_t len)
{
    ProtobufCBinaryData bytes = { .len = len, .data = sw_realloc_array(NULL, len + 1, 1) };
    if (len != 0)
        memcpy(bytes.data, data, len);
    return bytes;
}

void sw_pb_set(char **field, const char *text)
{
    char *copy = sw_strdup(text);
    if (*field != protobuf_c_empty_string)
        free(*field);
    *field = copy;
}
