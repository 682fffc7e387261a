#include "services/agent/oci/filter.h"

#include "common/base/buf.h"
#include "services/agent/oci/caps.h"

#include <errno.h>
#include <seccomp.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

struct arch_name {
    const char *machine, *image, *scmp;
};
static const struct arch_name arches[] = {
    { "x86_64", "amd64", "SCMP_ARCH_X86_64" },     { "aarch64", "arm64", "SCMP_ARCH_AARCH64" },
    { "armv7l", "arm", "SCMP_ARCH_ARM" },          { "i686", "386", "SCMP_ARCH_X86" },
    { "ppc64le", "ppc64le", "SCMP_ARCH_PPC64LE" }, { "s390x", "s390x", "SCMP_ARCH_S390X" },
    { "riscv64", "riscv64", "SCMP_ARCH_RISCV64" },
};

const char *filter_arch(void)
{
    struct utsname name;
    if (uname(&name) == 0)
        for (size_t i = 0; i < sizeof arches / sizeof arches[0]; i++)
            if (strcmp(arches[i].machine, name.machine) == 0)
                return arches[i].image;
    return "";
}

static bool names_arch(json_t *list, const char *arch)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(item);
        if (name != NULL && (strcmp(name, arch) == 0 || (strcmp(arch, "amd64") == 0 && strcmp(name, "x32") == 0)))
            return true;
    }
    return false;
}

static size_t caps_held(json_t *list, uint64_t caps)
{
    size_t i, held = 0;
    json_t *item;
    json_array_foreach(list, i, item) held += json_is_string(item) && caps_has(caps, json_string_value(item));
    return held;
}

/* A rule is meant if its `includes` all hold and nothing of its `excludes` does. */
static bool rule_applies(json_t *rule, uint64_t caps, const char *arch)
{
    json_t *in = json_object_get(rule, "includes");
    json_t *ex = json_object_get(rule, "excludes");
    json_t *in_arch = json_object_get(in, "arches");
    json_t *in_caps = json_object_get(in, "caps");
    if (json_array_size(in_arch) != 0 && !names_arch(in_arch, arch))
        return false;
    if (caps_held(in_caps, caps) != json_array_size(in_caps))
        return false;
    return !names_arch(json_object_get(ex, "arches"), arch) && caps_held(json_object_get(ex, "caps"), caps) == 0;
}

static json_t *arch_list(json_t *profile, const char *arch)
{
    size_t i, j;
    json_t *row, *sub, *list = json_array();
    const char *scmp = "";
    for (size_t k = 0; k < sizeof arches / sizeof arches[0]; k++)
        if (strcmp(arches[k].image, arch) == 0)
            scmp = arches[k].scmp;
    if (scmp[0] != '\0')
        (void)json_array_append_new(list, json_string(scmp));
    json_array_foreach(json_object_get(profile, "archMap"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "architecture"));
        if (name == NULL || strcmp(name, scmp) != 0)
            continue;
        json_array_foreach(json_object_get(row, "subArchitectures"), j, sub)(void) json_array_append(list, sub);
    }
    return list;
}

static json_t *rule_plain(json_t *rule)
{
    json_t *plain = json_object();
    json_t *args = json_object_get(rule, "args");
    json_t *number = json_object_get(rule, "errnoRet");
    (void)json_object_set(plain, "names", json_object_get(rule, "names"));
    (void)json_object_set(plain, "action", json_object_get(rule, "action"));
    if (json_array_size(args) != 0)
        (void)json_object_set(plain, "args", args);
    if (json_is_integer(number))
        (void)json_object_set(plain, "errnoRet", number);
    return plain;
}

int filter_translate(json_t *profile, uint64_t caps, const char *arch, json_t **ret_filter, struct sw_err *err)
{
    size_t i;
    json_t *rule, *rules = json_object_get(profile, "syscalls");
    json_t *action = json_object_get(profile, "defaultAction");
    if (!json_is_array(rules) || !json_is_string(action))
        return sw_fail(err, SW_CORRUPT, "seccomp profile has no defaultAction and syscalls");
    json_t *filter = json_object();
    json_t *plain = json_array();
    (void)json_object_set(filter, "defaultAction", action);
    if (json_is_integer(json_object_get(profile, "defaultErrnoRet")))
        (void)json_object_set(filter, "defaultErrnoRet", json_object_get(profile, "defaultErrnoRet"));
    (void)json_object_set_new(filter, "architectures", arch_list(profile, arch));
    json_array_foreach(rules, i, rule) if (rule_applies(rule, caps, arch))(void) json_array_append_new(plain, rule_plain(rule));
    (void)json_object_set_new(filter, "syscalls", plain);
    *ret_filter = filter;
    return 0;
}

/* ---- compiling ---- */
static int action_of(json_t *rule, const char *key, json_t *errno_ret, uint32_t *ret, struct sw_err *err)
{
    const char *word = json_string_value(json_object_get(rule, key));
    uint16_t number = json_is_integer(errno_ret) ? (uint16_t)json_integer_value(errno_ret) : EPERM;
    if (word != NULL && strcmp(word, "SCMP_ACT_ALLOW") == 0)
        *ret = SCMP_ACT_ALLOW;
    else if (word != NULL && strcmp(word, "SCMP_ACT_ERRNO") == 0)
        *ret = SCMP_ACT_ERRNO(number);
    else if (word != NULL && strcmp(word, "SCMP_ACT_KILL_PROCESS") == 0)
        *ret = SCMP_ACT_KILL_PROCESS;
    else if (word != NULL && (strcmp(word, "SCMP_ACT_KILL") == 0 || strcmp(word, "SCMP_ACT_KILL_THREAD") == 0))
        *ret = SCMP_ACT_KILL;
    else if (word != NULL && strcmp(word, "SCMP_ACT_LOG") == 0)
        *ret = SCMP_ACT_LOG;
    else
        return sw_fail(err, SW_UNSUPPORTED, "seccomp action '%.64s'", word != NULL ? word : "");
    return 0;
}

struct op_name {
    const char *word;
    enum scmp_compare op;
};
static const struct op_name ops[] = {
    { "SCMP_CMP_NE", SCMP_CMP_NE },
    { "SCMP_CMP_LT", SCMP_CMP_LT },
    { "SCMP_CMP_LE", SCMP_CMP_LE },
    { "SCMP_CMP_EQ", SCMP_CMP_EQ },
    { "SCMP_CMP_GE", SCMP_CMP_GE },
    { "SCMP_CMP_GT", SCMP_CMP_GT },
    { "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
};

static int args_of(json_t *list, struct scmp_arg_cmp args[6], unsigned *ret_count, struct sw_err *err)
{
    size_t i;
    json_t *item;
    *ret_count = 0;
    if (json_array_size(list) > 6)
        return sw_fail(err, SW_UNSUPPORTED, "seccomp rule with more than 6 arguments");
    json_array_foreach(list, i, item)
    {
        const char *word = json_string_value(json_object_get(item, "op"));
        size_t k = 0;
        while (k < sizeof ops / sizeof ops[0] && (word == NULL || strcmp(word, ops[k].word) != 0))
            k++;
        if (k == sizeof ops / sizeof ops[0])
            return sw_fail(err, SW_UNSUPPORTED, "seccomp operator '%.64s'", word != NULL ? word : "");
        args[(*ret_count)++] = (struct scmp_arg_cmp) {
            .arg = (unsigned)json_integer_value(json_object_get(item, "index")),
            .op = ops[k].op,
            .datum_a = (scmp_datum_t)json_integer_value(json_object_get(item, "value")),
            .datum_b = (scmp_datum_t)json_integer_value(json_object_get(item, "valueTwo")),
        };
    }
    return 0;
}

static int add_rule(scmp_filter_ctx ctx, json_t *rule, uint32_t fallback, struct sw_err *err)
{
    size_t i;
    uint32_t action = 0;
    json_t *name;
    unsigned count;
    struct scmp_arg_cmp args[6];
    int rc = action_of(rule, "action", json_object_get(rule, "errnoRet"), &action, err);
    if (rc == 0)
        rc = args_of(json_object_get(rule, "args"), args, &count, err);
    if (rc != 0 || action == fallback) /* the library refuses what the default does anyway */
        return rc;
    json_array_foreach(json_object_get(rule, "names"), i, name)
    {
        int number = json_is_string(name) ? seccomp_syscall_resolve_name(json_string_value(name)) : __NR_SCMP_ERROR;
        if (number == __NR_SCMP_ERROR) /* younger than this library: it stays forbidden */
            continue;
        if (seccomp_rule_add_array(ctx, action, number, count, args) != 0)
            return sw_fail(err, SW_UNSUPPORTED, "seccomp rule for %.64s does not fit", json_string_value(name));
    }
    return 0;
}

static int add_arches(scmp_filter_ctx ctx, json_t *list, struct sw_err *err)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        char word[32] = "";
        const char *name = json_string_value(item);
        if (name == NULL || strncmp(name, "SCMP_ARCH_", 10) != 0 || strlen(name) >= sizeof word)
            return sw_fail(err, SW_UNSUPPORTED, "seccomp architecture '%.64s'", name != NULL ? name : "");
        for (size_t k = 0; name[10 + k] != '\0'; k++)
            word[k] = (char)(name[10 + k] >= 'A' && name[10 + k] <= 'Z' ? name[10 + k] + ('a' - 'A') : name[10 + k]);
        uint32_t arch = seccomp_arch_resolve_name(word);
        int rc = arch != 0 ? seccomp_arch_add(ctx, arch) : 0;
        if (rc != 0 && rc != -EEXIST)
            return sw_fail(err, SW_UNSUPPORTED, "seccomp architecture '%s'", name);
    }
    return 0;
}

static int export_text(scmp_filter_ctx ctx, char **ret_text, struct sw_err *err)
{
    struct stat st;
    SW_AUTO(sw_close) int fd = memfd_create("seccomp", MFD_CLOEXEC);
    if (fd < 0 || seccomp_export_bpf(ctx, fd) != 0 || fstat(fd, &st) != 0)
        return sw_fail(err, SW_IO, "compile the seccomp profile: %s", strerror(errno));
    size_t size = (size_t)st.st_size;
    SW_AUTO(sw_free) unsigned char *data = sw_realloc_array(NULL, size, 1);
    if (pread(fd, data, size, 0) != (ssize_t)size)
        return sw_fail(err, SW_IO, "compile the seccomp profile: %s", strerror(errno));
    size_t text_size = sodium_base64_encoded_len(size, sodium_base64_VARIANT_ORIGINAL);
    *ret_text = sw_realloc_array(NULL, text_size, 1);
    (void)sodium_bin2base64(*ret_text, text_size, data, size, sodium_base64_VARIANT_ORIGINAL);
    return 0;
}

int filter_compile(json_t *filter, char **ret_text, struct sw_err *err)
{
    size_t i;
    json_t *rule;
    uint32_t fallback = 0;
    int rc = action_of(filter, "defaultAction", json_object_get(filter, "defaultErrnoRet"), &fallback, err);
    if (rc != 0)
        return rc;
    scmp_filter_ctx ctx = seccomp_init(fallback);
    if (ctx == NULL)
        return sw_fail(err, SW_IO, "compile the seccomp profile: no context");
    rc = add_arches(ctx, json_object_get(filter, "architectures"), err);
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: fewer steps for each call */
    json_array_foreach(json_object_get(filter, "syscalls"), i, rule)
    {
        if (rc == 0)
            rc = add_rule(ctx, rule, fallback, err);
    }
    if (rc == 0)
        rc = export_text(ctx, ret_text, err);
    seccomp_release(ctx);
    return rc;
}
