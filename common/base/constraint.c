#include "common/base/constraint.h"

#include "common/base/buf.h"
#include "common/base/names.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *word; /* ends with '.' when a label name follows */
    enum constraint_key key;
} keys[] = {
    { "node.id", CONSTRAINT_NODE_ID },
    { "node.hostname", CONSTRAINT_HOSTNAME },
    { "node.ip", CONSTRAINT_IP },
    { "node.role", CONSTRAINT_ROLE },
    { "node.platform.os", CONSTRAINT_OS },
    { "node.platform.arch", CONSTRAINT_ARCH },
    { "node.labels.", CONSTRAINT_NODE_LABEL },
    { "engine.labels.", CONSTRAINT_ENGINE_LABEL },
};

static void trim(char **text)
{
    while (**text == ' ')
        (*text)++;
    size_t len = strlen(*text);
    while (len > 0 && (*text)[len - 1] == ' ')
        (*text)[--len] = '\0';
}

static bool key_text_ok(const char *key)
{
    size_t len = strlen(key);
    if (len < 2 || !(isalpha((unsigned char)key[0]) || key[0] == '_'))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!isalnum((unsigned char)key[i]) && strchr("-_.", key[i]) == NULL)
            return false;
    return true;
}

static bool value_text_ok(const char *value)
{
    for (const char *p = value; *p != '\0'; p++)
        if (!isalnum((unsigned char)*p) && strchr(":-_.*()?+[]\\^$|/ \t", *p) == NULL)
            return false;
    return value[0] != '\0';
}

static bool key_find(const char *word, struct constraint *ret)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        size_t len = strlen(keys[i].word);
        bool labelled = keys[i].word[len - 1] == '.';
        if (strncasecmp(word, keys[i].word, len) != 0 || (word[len] == '\0') == labelled)
            continue;
        ret->key = keys[i].key;
        ret->label = labelled ? sw_strdup(word + len) : NULL;
        return true;
    }
    return false;
}

static int parse_one(const char *text, struct constraint *ret, struct sw_err *err)
{
    if (strnlen(text, CONSTRAINT_TEXT_MAX + 1) > CONSTRAINT_TEXT_MAX)
        return sw_fail(err, SW_LIMIT, "constraint '%.32s...' is longer than %d bytes", text, CONSTRAINT_TEXT_MAX);
    SW_AUTO(sw_free) char *copy = sw_strdup(text);
    char *op = strstr(copy, "==");
    ret->equal = op != NULL;
    if (op == NULL)
        op = strstr(copy, "!=");
    if (op == NULL)
        return sw_fail(err, SW_INVALID, "constraint '%.200s': expected one operator from ==, !=", text);
    *op = '\0';
    char *key = copy;
    char *value = op + 2;
    trim(&key);
    trim(&value);
    if (!key_text_ok(key))
        return sw_fail(err, SW_INVALID, "constraint '%.200s': key '%.100s' is invalid", text, key);
    if (!value_text_ok(value))
        return sw_fail(err, SW_INVALID, "constraint '%.200s': value '%.100s' is invalid", text, value);
    if (!key_find(key, ret))
        return sw_fail(
            err, SW_INVALID,
            "constraint '%.100s': unknown key '%.60s' (known: node.id, node.hostname, node.ip, node.role, node.platform.os, "
            "node.platform.arch, node.labels.NAME, engine.labels.NAME)",
            text, key);
    ret->value = sw_strdup(value);
    return 0;
}

int constraints_parse(char *const *texts, size_t count, struct constraints *ret, struct sw_err *err)
{
    assert(ret->items == NULL);
    if (count > CONSTRAINTS_MAX)
        return sw_fail(err, SW_LIMIT, "%zu constraints, at most %d are allowed", count, CONSTRAINTS_MAX);
    ret->items = sw_alloc0(count * sizeof *ret->items);
    for (size_t i = 0; i < count; i++) {
        int rc = parse_one(texts[i], &ret->items[i], err);
        if (rc != 0)
            return rc;
        ret->count = i + 1;
    }
    return 0;
}

void constraints_deinit(struct constraints *constraints)
{
    for (size_t i = 0; i < constraints->count; i++) {
        free(constraints->items[i].label);
        free(constraints->items[i].value);
    }
    free(constraints->items);
    *constraints = (struct constraints) { 0 };
}

const char *constraint_arch(const char *arch)
{
    if (strcasecmp(arch, "x86_64") == 0)
        return "amd64";
    if (strcasecmp(arch, "aarch64") == 0)
        return "arm64";
    return arch;
}

static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    if (memcmp(a, b, bits / 8) != 0)
        return false;
    unsigned rest = bits % 8;
    return rest == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - rest) == 0;
}

/* `value` is an address or "address/bits"; text that is neither never matches. */
static bool ip_matches(const char *value, const char *addr)
{
    char net[CONSTRAINT_TEXT_MAX + 1];
    (void)snprintf(net, sizeof net, "%s", value);
    char *slash = strchr(net, '/');
    if (slash != NULL)
        *slash = '\0';
    uint8_t want[16];
    uint8_t have[16];
    int family = strchr(net, ':') != NULL ? AF_INET6 : AF_INET;
    unsigned bits_max = family == AF_INET6 ? 128 : 32;
    if (inet_pton(family, net, want) != 1 || inet_pton(family, addr, have) != 1)
        return false;
    unsigned long bits = bits_max;
    if (slash != NULL) {
        char *end = NULL;
        bits = strtoul(slash + 1, &end, 10);
        if (end == slash + 1 || *end != '\0' || bits > bits_max)
            return false;
    }
    return same_prefix(want, have, (unsigned)bits);
}

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static const char *attribute(const struct constraint *constraint, const Swarm__Node *node)
{
    const Swarm__NodeDescription *about = node->description;
    const Swarm__Platform *platform = about != NULL ? about->platform : NULL;
    switch (constraint->key) {
    case CONSTRAINT_NODE_ID:
        return node->id;
    case CONSTRAINT_HOSTNAME:
        return or_empty(about != NULL ? about->hostname : NULL);
    case CONSTRAINT_IP:
        return or_empty(node->status != NULL ? node->status->addr : NULL);
    case CONSTRAINT_ROLE:
        return node->role == SWARM__NODE_ROLE__NODE_MANAGER ? "manager" : "worker";
    case CONSTRAINT_OS:
        return or_empty(platform != NULL ? platform->os : NULL);
    case CONSTRAINT_ARCH:
        return constraint_arch(or_empty(platform != NULL ? platform->architecture : NULL));
    case CONSTRAINT_NODE_LABEL:
        return or_empty(sw_pair_get(node->spec->labels, node->spec->n_labels, constraint->label));
    case CONSTRAINT_ENGINE_LABEL:
        return or_empty(about != NULL ? sw_pair_get(about->engine_labels, about->n_engine_labels, constraint->label) : NULL);
    }
    abort();
}

bool constraints_match(const struct constraints *constraints, const Swarm__Node *node)
{
    for (size_t i = 0; i < constraints->count; i++) {
        const struct constraint *c = &constraints->items[i];
        const char *value = c->key == CONSTRAINT_ARCH ? constraint_arch(c->value) : c->value;
        const char *have = attribute(c, node);
        bool same = c->key == CONSTRAINT_IP ? ip_matches(value, have) : strcasecmp(value, have) == 0;
        if (same != c->equal)
            return false;
    }
    return true;
}
