#include "services/agent/oci/ref.h"

#include "common/base/buf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define REF_NAME_MAX 255
#define REF_TAG_MAX 128

void ref_deinit(struct ref *ref)
{
    free(ref->host);
    free(ref->path);
    free(ref->tag);
    free(ref->digest);
    *ref = (struct ref) { 0 };
}

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool ref_digest_valid(const char *text)
{
    if (strncmp(text, "sha256:", 7) != 0 || strlen(text) != 7 + 64)
        return false;
    return strspn(text + 7, "0123456789abcdef") == 64;
}

static bool tag_valid(const char *tag)
{
    size_t len = strlen(tag);
    if (len == 0 || len > REF_TAG_MAX || tag[0] == '.' || tag[0] == '-')
        return false;
    for (const char *p = tag; *p != '\0'; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '.' && *p != '-')
            return false;
    return true;
}

/* Letters and digits, joined by ".", "_", "__" or dashes. */
static bool component_valid(const char *text, size_t len)
{
    if (len == 0 || !is_lower_alnum(text[0]) || !is_lower_alnum(text[len - 1]))
        return false;
    for (size_t i = 0; i < len;) {
        if (is_lower_alnum(text[i])) {
            i++;
            continue;
        }
        size_t run = 1;
        while (text[i + run] == text[i])
            run++;
        bool joins = text[i] == '-' || (text[i] == '.' && run == 1) || (text[i] == '_' && run <= 2);
        if (!joins || !is_lower_alnum(text[i + run]))
            return false;
        i += run;
    }
    return true;
}

static bool path_valid(const char *path)
{
    const char *start = path;
    for (const char *end = strchr(start, '/'); end != NULL; end = strchr(start, '/')) {
        if (!component_valid(start, (size_t)(end - start)))
            return false;
        start = end + 1;
    }
    return component_valid(start, strlen(start));
}

static bool host_valid(const char *host)
{
    for (const char *p = host; *p != '\0'; p++)
        if (!isalnum((unsigned char)*p) && strchr(".-:[]", *p) == NULL)
            return false;
    return host[0] != '\0' && host[0] != '-' && host[0] != '.' && strstr(host, "..") == NULL;
}

/* The first part is a host only if it looks like one: a dot, a port, or "localhost". */
static void split_host(char *name, struct ref *ret)
{
    char *slash = strchr(name, '/');
    if (slash != NULL) {
        *slash = '\0';
        if (strpbrk(name, ".:") != NULL || strcmp(name, "localhost") == 0) {
            ret->host = sw_strdup(strcmp(name, "index.docker.io") == 0 ? "docker.io" : name);
            name = slash + 1;
        } else {
            *slash = '/';
        }
    }
    if (ret->host == NULL)
        ret->host = sw_strdup("docker.io");
    bool official = strcmp(ret->host, "docker.io") == 0 && strchr(name, '/') == NULL;
    ret->path = official ? sw_strf("library/%s", name) : sw_strdup(name);
}

static int check(const struct ref *ref, const char *text, struct sw_err *err)
{
    if (ref->digest != NULL && !ref_digest_valid(ref->digest))
        return sw_fail(err, SW_INVALID, "invalid reference format: %.200s: digest must be sha256: and 64 hex digits", text);
    if (ref->tag != NULL && !tag_valid(ref->tag))
        return sw_fail(err, SW_INVALID, "invalid reference format: %.200s: bad tag", text);
    if (!host_valid(ref->host))
        return sw_fail(err, SW_INVALID, "invalid reference format: %.200s", text);
    for (const char *p = ref->path; *p != '\0'; p++)
        if (isupper((unsigned char)*p))
            return sw_fail(err, SW_INVALID, "invalid reference format: repository name (%.200s) must be lowercase", text);
    if (!path_valid(ref->path))
        return sw_fail(err, SW_INVALID, "invalid reference format: %.200s", text);
    return 0;
}

int ref_parse(const char *text, struct ref *ret, struct sw_err *err)
{
    if (text[0] == '\0' || strlen(text) > REF_NAME_MAX + REF_TAG_MAX + 80)
        return sw_fail(err, SW_INVALID, "invalid reference format: length must be 1 to %d", REF_NAME_MAX + REF_TAG_MAX + 80);
    SW_AUTO(sw_free) char *name = sw_strdup(text);
    struct ref ref = { 0 };
    char *at = strchr(name, '@');
    if (at != NULL) {
        *at = '\0';
        ref.digest = sw_strdup(at + 1);
    }
    char *colon = strrchr(name, ':');
    if (colon != NULL && strchr(colon, '/') == NULL) {
        *colon = '\0';
        ref.tag = sw_strdup(colon + 1);
    } else if (at == NULL) {
        ref.tag = sw_strdup("latest");
    }
    split_host(name, &ref);
    int rc = strlen(ref.host) + strlen(ref.path) > REF_NAME_MAX
                 ? sw_fail(err, SW_INVALID, "invalid reference format: name is longer than %d", REF_NAME_MAX)
                 : check(&ref, text, err);
    if (rc != 0)
        ref_deinit(&ref);
    else
        *ret = ref;
    return rc;
}

char *ref_repository(const struct ref *ref)
{
    return sw_strf("%s/%s", ref->host, ref->path);
}

char *ref_tagged(const struct ref *ref)
{
    return ref->tag != NULL ? sw_strf("%s/%s:%s", ref->host, ref->path, ref->tag) : NULL;
}

char *ref_pullable(const struct ref *ref)
{
    return ref->digest != NULL ? sw_strf("%s/%s@%s", ref->host, ref->path, ref->digest) : ref_tagged(ref);
}
