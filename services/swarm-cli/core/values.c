#include "services/swarm-cli/core/values.h"

#include "common/base/units.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void values_push_any(void ***list, size_t *count, void *item)
{
    *list = sw_realloc_array(*list, *count + 1, sizeof **list);
    (*list)[(*count)++] = item;
}

void *values_remove_any(void **list, size_t *count, size_t at)
{
    void *item = list[at];
    memmove(&list[at], &list[at + 1], (*count - at - 1) * sizeof *list);
    (*count)--;
    return item;
}

void values_strings_clear(char ***list, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        free((*list)[i]);
    free(*list);
    *list = NULL;
    *count = 0;
}

bool values_has(char *const *list, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], text) == 0)
            return true;
    return false;
}

/* ---- csv ---- */

/* One field at *at, which then stands on ',' or the end. */
static int csv_field(const char **at, struct sw_buf *out, struct sw_err *err)
{
    const char *p = *at;
    if (*p != '"') {
        size_t len = strcspn(p, ",");
        if (memchr(p, '"', len) != NULL)
            return sw_fail(err, SW_INVALID, "bare \" in non-quoted field");
        sw_buf_add(out, p, len);
        *at = p + len;
        return 0;
    }
    for (p++;; p++) {
        if (*p == '\0')
            return sw_fail(err, SW_INVALID, "extraneous or missing \" in quoted field");
        if (*p == '"' && p[1] != '"')
            break;
        p += *p == '"';
        sw_buf_add(out, p, 1);
    }
    if (p[1] != ',' && p[1] != '\0')
        return sw_fail(err, SW_INVALID, "extraneous or missing \" in quoted field");
    *at = p + 1;
    return 0;
}

int values_csv_parse(const char *text, struct values_csv *ret, struct sw_err *err)
{
    *ret = (struct values_csv) { .count = 0 };
    if (*text == '\0')
        return sw_fail(err, SW_INVALID, "value is empty");
    for (const char *at = text;; at++) {
        SW_AUTO_BUF field = { 0 };
        if (ret->count >= VALUES_FIELDS_MAX)
            return sw_fail(err, SW_LIMIT, "more than %d fields", VALUES_FIELDS_MAX);
        int rc = csv_field(&at, &field, err);
        if (rc < 0)
            return rc;
        ret->fields[ret->count++] = sw_buf_take(&field);
        if (*at == '\0')
            return 0;
    }
}

void values_csv_deinit(struct values_csv *csv)
{
    for (size_t i = 0; i < csv->count; i++)
        free(csv->fields[i]);
    csv->count = 0;
}

/* ---- pairs ---- */

static Swarm__Pair *pair_make(const char *key, size_t key_len, const char *value)
{
    Swarm__Pair *pair = sw_alloc0(sizeof *pair);
    swarm__pair__init(pair);
    pair->key = sw_strf("%.*s", (int)key_len, key);
    pair->value = sw_strdup(value);
    return pair;
}

int values_pair(const char *text, Swarm__Pair **ret, struct sw_err *err)
{
    size_t len = strcspn(text, "=");
    if (len == 0)
        return sw_fail(err, SW_INVALID, "invalid label '%.200s': empty name", text);
    if (strcspn(text, " \t\n\r") < len)
        return sw_fail(err, SW_INVALID, "label '%.200s' contains whitespaces", text);
    *ret = pair_make(text, len, text[len] == '=' ? text + len + 1 : "");
    return 0;
}

void values_pair_set(Swarm__Pair ***list, size_t *count, const char *key, const char *value)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp((*list)[i]->key, key) == 0) {
            sw_pb_free((*list)[i]);
            (*list)[i] = pair_make(key, strlen(key), value);
            return;
        }
    values_push(list, count, pair_make(key, strlen(key), value));
}

bool values_pair_unset(Swarm__Pair ***list, size_t *count, const char *key)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp((*list)[i]->key, key) == 0) {
            sw_pb_free(values_remove(*list, count, i));
            return true;
        }
    return false;
}

/* ---- ulimit, preference, capability, image ---- */

int values_ulimit(const char *text, Swarm__Ulimit **ret, struct sw_err *err)
{
    static const char *const known[] = { "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
                                         "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack" };
    SW_AUTO(sw_free) char *copy = sw_strdup(text);
    char *value = strchr(copy, '=');
    bool found = false;
    if (value == NULL || value == copy)
        return sw_fail(err, SW_INVALID, "invalid ulimit argument: %.200s", text);
    *value++ = '\0';
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        found |= strcmp(known[i], copy) == 0;
    if (!found)
        return sw_fail(err, SW_INVALID, "invalid ulimit type: %.60s", copy);
    char *hard = strchr(value, ':');
    if (hard != NULL)
        *hard++ = '\0';
    int64_t numbers[2] = { 0, 0 };
    if (!sw_parse_i64(value, &numbers[0]) || !sw_parse_i64(hard != NULL ? hard : value, &numbers[1]))
        return sw_fail(err, SW_INVALID, "invalid ulimit argument: %.200s: limits are whole numbers", text);
    if (numbers[0] < -1 || numbers[1] < -1)
        return sw_fail(err, SW_INVALID, "invalid ulimit argument: %.200s: a limit is at least -1", text);
    if (numbers[1] != -1 && (numbers[0] > numbers[1] || numbers[0] == -1))
        return sw_fail(err, SW_INVALID, "ulimit soft limit must be less than or equal to hard limit: %lld > %lld",
                       (long long)numbers[0], (long long)numbers[1]);
    *ret = sw_alloc0(sizeof **ret);
    swarm__ulimit__init(*ret);
    (*ret)->name = sw_strdup(copy);
    (*ret)->soft = numbers[0];
    (*ret)->hard = numbers[1];
    return 0;
}

int values_preference(const char *text, const char **ret, struct sw_err *err)
{
    if (strncasecmp(text, "spread=", 7) != 0)
        return sw_fail(err, SW_INVALID, "unsupported placement preference \"%.100s\": must be of the form \"spread=<label>\"",
                       text);
    if (strncmp(text + 7, "node.labels.", 12) != 0 && strncmp(text + 7, "engine.labels.", 14) != 0)
        return sw_fail(err, SW_INVALID,
                       "placement preference spreads over node.labels.NAME or engine.labels.NAME, not \"%.100s\"", text + 7);
    *ret = text + 7;
    return 0;
}

char *values_capability(const char *text)
{
    char *made = strcasecmp(text, "all") == 0 || strncasecmp(text, "cap_", 4) == 0 ? sw_strdup(text) : sw_strf("CAP_%s", text);
    for (char *p = made; *p != '\0'; p++)
        *p = (char)toupper((unsigned char)*p);
    return made;
}

int values_image(const char *text, char **ret, struct sw_err *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@[]";
    size_t len = strlen(text);
    size_t name = strcspn(text, "@");
    const char *last = text;
    for (const char *p = text; p < text + name; p++)
        if (*p == '/')
            last = p + 1;
    bool tagged = memchr(last, ':', (size_t)(text + name - last)) != NULL;
    size_t path = tagged ? (size_t)(strchr(last, ':') - text) : name;
    if (len == 0 || len > 512 || strspn(text, allowed) != len || last == text + name || !isalnum((unsigned char)text[0]) ||
        !isalnum((unsigned char)text[len - 1]) || strstr(text, "//") != NULL)
        return sw_fail(err, SW_INVALID, "invalid reference format: '%.200s'", text);
    for (const char *p = last; p < text + path; p++)
        if (isupper((unsigned char)*p))
            return sw_fail(err, SW_INVALID, "invalid reference format: repository name '%.200s' must be lowercase", text);
    *ret = tagged || text[name] == '@' ? sw_strdup(text) : sw_strf("%s:latest", text);
    return 0;
}

/* ---- shell words ---- */

/* One word at *at; quotes group, a backslash takes the next character as it is (not inside single quotes). */
static int take_shell_word(const char **at, struct sw_buf *word, struct sw_err *err)
{
    char quote = '\0';
    const char *p = *at;
    for (; *p != '\0' && (quote != '\0' || !isspace((unsigned char)*p)); p++) {
        if (quote == '\0' && (*p == '"' || *p == '\'')) {
            quote = *p;
        } else if (quote != '\0' && *p == quote) {
            quote = '\0';
        } else {
            if (*p == '\\' && quote != '\'' && p[1] != '\0')
                p++;
            sw_buf_add(word, p, 1);
        }
    }
    *at = p;
    return quote == '\0' ? 0 : sw_fail(err, SW_INVALID, "invalid command line string: a quote is not closed");
}

int values_words(const char *text, char ***list, size_t *count, struct sw_err *err)
{
    for (;;) {
        while (isspace((unsigned char)*text))
            text++;
        if (*text == '\0')
            return 0;
        SW_AUTO_BUF word = { 0 };
        int rc = take_shell_word(&text, &word, err);
        if (rc < 0)
            return rc;
        values_push(list, count, sw_buf_take(&word));
    }
}

/* ---- checks ---- */

int values_check_pair(const char *text, struct sw_err *err)
{
    SW_AUTO(sw_pb_free) Swarm__Pair *pair = NULL;
    return values_pair(text, &pair, err);
}

int values_check_mount(const char *text, struct sw_err *err)
{
    SW_AUTO(sw_pb_free) Swarm__Mount *mount = NULL;
    return values_mount(text, &mount, err);
}

int values_check_publish(const char *text, struct sw_err *err)
{
    Swarm__EndpointSpec spec;
    swarm__endpoint_spec__init(&spec);
    int rc = values_publish(text, &spec.ports, &spec.n_ports, err);
    for (size_t i = 0; i < spec.n_ports; i++)
        sw_pb_free(spec.ports[i]);
    free(spec.ports);
    return rc;
}

int values_check_ulimit(const char *text, struct sw_err *err)
{
    SW_AUTO(sw_pb_free) Swarm__Ulimit *ulimit = NULL;
    return values_ulimit(text, &ulimit, err);
}

int values_check_preference(const char *text, struct sw_err *err)
{
    const char *label = NULL;
    return values_preference(text, &label, err);
}

int values_check_ratio(const char *text, struct sw_err *err)
{
    int64_t nano = 0;
    if (sw_parse_cpus(text, &nano) && nano <= SW_NS_PER_S)
        return 0;
    return sw_fail(err, SW_INVALID, "a ratio is 0 to 1");
}

int values_check_filter(const char *text, struct sw_err *err)
{
    return strchr(text, '=') != NULL ? 0 : sw_fail(err, SW_INVALID, "bad format of filter (expected name=value)");
}

int values_check_env(const char *text, struct sw_err *err)
{
    return *text != '=' && *text != '\0' ? 0 : sw_fail(err, SW_INVALID, "invalid environment variable: %.200s", text);
}

int values_check_sysctl(const char *text, struct sw_err *err)
{
    const char *equal = strchr(text, '=');
    return equal != NULL && equal != text ? 0 : sw_fail(err, SW_INVALID, "invalid sysctl '%.200s': expected NAME=VALUE", text);
}

/* ---- hosts, addresses ---- */

int values_check_ip(const char *text, struct sw_err *err)
{
    unsigned char address[16];
    if (inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1)
        return 0;
    return sw_fail(err, SW_INVALID, "%.100s is not an ip address", text);
}

int values_check_word(const char *text, struct sw_err *err)
{
    for (const char *p = text; *p != '\0'; p++)
        if (isspace((unsigned char)*p))
            return sw_fail(err, SW_INVALID, "'%.100s' must not contain blanks", text);
    return *text != '\0' ? 0 : sw_fail(err, SW_INVALID, "must not be empty");
}

int values_host(const char *text, char **ret, struct sw_err *err)
{
    size_t len = strcspn(text, "=");
    if (text[len] == '\0')
        len = strcspn(text, ":");
    if (len == 0 || text[len] == '\0')
        return sw_fail(err, SW_INVALID, "bad format for add-host: \"%.100s\"", text);
    SW_AUTO(sw_free) char *name = sw_strf("%.*s", (int)len, text);
    SW_AUTO(sw_free) char *address = sw_strdup(text + len + 1);
    size_t end = strlen(address);
    bool brackets = end > 2 && address[0] == '[' && address[end - 1] == ']';
    address[brackets ? end - 1 : end] = '\0';
    unsigned char bytes[16];
    const char *bare = address + brackets;
    if (inet_pton(AF_INET, bare, bytes) != 1 && inet_pton(AF_INET6, bare, bytes) != 1)
        return sw_fail(err, SW_INVALID, "invalid IP address in add-host: \"%.100s\"", bare);
    int rc = values_check_word(name, err);
    if (rc == 0)
        *ret = sw_strf("%s %s", bare, name);
    return rc;
}

int values_check_host(const char *text, struct sw_err *err)
{
    SW_AUTO(sw_free) char *line = NULL;
    return values_host(text, &line, err);
}
