#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONF_SIZE_MAX (1u << 20)

int shim_error(char *error, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(error, SHIM_ERROR_MAX, fmt, args);
    va_end(args);
    return -1;
}

static char *read_text(const char *path, char *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size > CONF_SIZE_MAX) {
        (void)shim_error(error, "read %s: %s", path, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return NULL;
    }
    char *text = calloc(1, (size_t)st.st_size + 1);
    ssize_t len = text != NULL ? read(fd, text, (size_t)st.st_size) : -1;
    (void)close(fd);
    if (len != st.st_size) {
        free(text);
        (void)shim_error(error, "read %s: short", path);
        return NULL;
    }
    return text;
}

static int add(const char **list, size_t *count, size_t max, const char *value, char *error)
{
    if (*count == max)
        return shim_error(error, "more than %zu of one key", max);
    list[(*count)++] = value;
    return 0;
}

struct text_key {
    const char *name;
    size_t offset;
};
static const struct text_key text_keys[] = {
    { "id", offsetof(struct shim_conf, id) },
    { "runtime", offsetof(struct shim_conf, runtime) },
    { "runtime_root", offsetof(struct shim_conf, runtime_root) },
    { "socket_dir", offsetof(struct shim_conf, socket_dir) },
    { "socket_name", offsetof(struct shim_conf, socket_name) },
    { "log_dir", offsetof(struct shim_conf, log_dir) },
    { "oom_file", offsetof(struct shim_conf, oom_file) },
};

static int take(struct shim_conf *conf, const char *key, const char *value, char *error)
{
    for (size_t i = 0; i < sizeof text_keys / sizeof text_keys[0]; i++)
        if (strcmp(key, text_keys[i].name) == 0) {
            memcpy((char *)conf + text_keys[i].offset, &value, sizeof value);
            return 0;
        }
    if (strcmp(key, "layer") == 0)
        return add(conf->layers, &conf->layer_count, SHIM_LAYERS_MAX, value, error);
    if (strcmp(key, "sysctl") == 0)
        return add(conf->sysctls, &conf->sysctl_count, SHIM_ITEMS_MAX, value, error);
    if (strcmp(key, "copy") == 0)
        return add(conf->copies, &conf->copy_count, SHIM_ITEMS_MAX, value, error);
    if (strcmp(key, "hide") == 0)
        return add(conf->hide, &conf->hide_count, sizeof conf->hide / sizeof conf->hide[0], value, error);
    if (strcmp(key, "log_size_max") == 0)
        conf->log_size_max = strtoull(value, NULL, 10);
    else if (strcmp(key, "log_files_max") == 0)
        conf->log_files_max = (unsigned)strtoul(value, NULL, 10);
    else if (strcmp(key, "tty") == 0)
        conf->tty = value[0] == '1';
    else if (strcmp(key, "stdin") == 0)
        conf->keep_stdin = value[0] == '1';
    else
        return shim_error(error, "unknown key '%s'", key);
    return 0;
}

int shim_conf_load(const char *path, struct shim_conf *ret, char *error)
{
    *ret = (struct shim_conf) { 0 };
    ret->text = read_text(path, error);
    if (ret->text == NULL)
        return -1;
    char *save = NULL;
    for (char *line = strtok_r(ret->text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        char *value = strchr(line, ' ');
        if (value == NULL)
            return shim_error(error, "%s: line without a value", path);
        *value++ = '\0';
        if (take(ret, line, value, error) != 0)
            return -1;
    }
    if (ret->id == NULL || ret->runtime == NULL || ret->runtime_root == NULL)
        return shim_error(error, "%s: id, runtime and runtime_root are needed", path);
    return 0;
}
