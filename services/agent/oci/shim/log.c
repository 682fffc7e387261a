#include "shim.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ENTRY_MAX (SHIM_LINE_MAX * 6 + 128) /* a byte becomes at most \u00XX */

static void path_of(const struct shim_log *log, unsigned number, char *ret, size_t size)
{
    if (number == 0)
        (void)snprintf(ret, size, "%s/json.log", log->dir);
    else
        (void)snprintf(ret, size, "%s/json.log.%u", log->dir, number);
}

static void open_current(struct shim_log *log)
{
    char path[4096];
    struct stat st;
    path_of(log, 0, path, sizeof path);
    log->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    log->size = log->fd >= 0 && fstat(log->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

void shim_log_open(struct shim_log *log, const char *dir, uint64_t size_max, unsigned files_max)
{
    *log = (struct shim_log) { .dir = dir, .size_max = size_max, .files_max = files_max != 0 ? files_max : 1, .fd = -1 };
    if (dir == NULL)
        return;
    (void)mkdir(dir, 0750);
    open_current(log);
}

static void rotate(struct shim_log *log)
{
    char from[4096], to[4096];
    if (log->fd >= 0)
        (void)close(log->fd);
    path_of(log, log->files_max - 1, to, sizeof to);
    (void)unlink(to); /* with one file only: the current one */
    for (unsigned number = log->files_max - 1; number > 0; number--) {
        path_of(log, number - 1, from, sizeof from);
        path_of(log, number, to, sizeof to);
        (void)rename(from, to);
    }
    open_current(log);
}

/* Bytes of the UTF-8 sequence at data, 0 if they are none. */
static size_t utf8_len(const unsigned char *data, size_t left)
{
    size_t need = data[0] < 0x80 ? 1 : data[0] >= 0xc2 && data[0] < 0xe0 ? 2 : (data[0] & 0xf0) == 0xe0 ? 3 : 4;
    if (need == 1)
        return 1;
    if (data[0] < 0xc2 || data[0] > 0xf4 || need > left)
        return 0;
    for (size_t i = 1; i < need; i++)
        if ((data[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (data[0] == 0xe0 && data[1] < 0xa0) || (data[0] == 0xf0 && data[1] < 0x90);
    bool outside = (data[0] == 0xed && data[1] >= 0xa0) || (data[0] == 0xf4 && data[1] >= 0x90);
    return overlong || outside ? 0 : need;
}

static size_t escape_ascii(char *to, unsigned char c)
{
    if (c == '"' || c == '\\') {
        to[0] = '\\';
        to[1] = (char)c;
        return 2;
    }
    if (c == '\n' || c == '\t' || c == '\r') {
        to[0] = '\\';
        to[1] = c == '\n' ? 'n' : c == '\t' ? 't' : 'r';
        return 2;
    }
    if (c < 0x20)
        return (size_t)sprintf(to, "\\u%04x", c);
    to[0] = (char)c;
    return 1;
}

static size_t escape(char *to, const char *data, size_t len)
{
    size_t out = 0;
    const unsigned char *from = (const unsigned char *)data;
    for (size_t i = 0; i < len;) {
        size_t step = utf8_len(from + i, len - i);
        if (step == 0) { /* json has only text: the replacement character stands for what is none */
            memcpy(to + out, "\\ufffd", 6);
            out += 6;
            i++;
        } else if (step == 1) {
            out += escape_ascii(to + out, from[i++]);
        } else {
            memcpy(to + out, from + i, step);
            out += step;
            i += step;
        }
    }
    return out;
}

static void emit(struct shim_log *log, int stream, const char *data, size_t len)
{
    static char entry[ENTRY_MAX];
    struct timespec now;
    struct tm utc;
    char date[32];
    if (log->fd < 0)
        return;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
    size_t size = (size_t)sprintf(entry, "{\"log\":\"");
    size += escape(entry + size, data, len);
    size += (size_t)sprintf(entry + size, "\",\"stream\":\"%s\",\"time\":\"%s.%09ldZ\"}\n", stream == 0 ? "stdout" : "stderr",
                            date, now.tv_nsec);
    assert(size < ENTRY_MAX);
    if (log->size != 0 && log->size + size > log->size_max)
        rotate(log);
    if (log->fd >= 0 && write(log->fd, entry, size) == (ssize_t)size)
        log->size += size;
}

void shim_log_write(struct shim_log *log, int stream, const char *data, size_t len)
{
    struct shim_line *line = &log->lines[stream];
    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t part = end != NULL ? (size_t)(end - data) + 1 : len;
        if (part > SHIM_LINE_MAX - line->len)
            part = SHIM_LINE_MAX - line->len;
        memcpy(line->data + line->len, data, part);
        line->len += part;
        data += part;
        len -= part;
        if (line->len == SHIM_LINE_MAX || line->data[line->len - 1] == '\n') {
            emit(log, stream, line->data, line->len);
            line->len = 0;
        }
    }
}

void shim_log_close(struct shim_log *log)
{
    for (int stream = 0; stream < 2; stream++)
        if (log->lines[stream].len != 0) {
            emit(log, stream, log->lines[stream].data, log->lines[stream].len);
            log->lines[stream].len = 0;
        }
    if (log->fd >= 0)
        (void)close(log->fd);
    log->fd = -1;
}
