#include "services/agent/oci/caps.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

static const char *const names[CAPS_COUNT] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};
static const char *const usual[] = {
    "CAP_CHOWN",  "CAP_DAC_OVERRIDE", "CAP_FSETID",  "CAP_FOWNER",           "CAP_MKNOD",      "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP",      "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",    "CAP_AUDIT_WRITE",
};
#define ALL ((UINT64_C(1) << CAPS_COUNT) - 1)

const char *caps_name(unsigned number)
{
    assert(number < CAPS_COUNT);
    return names[number];
}

/* The bit of a name, ALL for "ALL", 0 for what is none. */
static uint64_t bit_of(const char *name)
{
    if (strcasecmp(name, "ALL") == 0)
        return ALL;
    if (strncasecmp(name, "CAP_", 4) == 0)
        name += 4;
    for (unsigned i = 0; i < CAPS_COUNT; i++)
        if (strcasecmp(names[i] + 4, name) == 0)
            return UINT64_C(1) << i;
    return 0;
}

bool caps_has(uint64_t caps, const char *name)
{
    return (caps & bit_of(name)) != 0;
}

static int gather(char *const *list, size_t count, const char *field, uint64_t *ret, struct sw_err *err)
{
    *ret = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bit = bit_of(list[i]);
        if (bit == 0)
            return sw_fail(err, SW_INVALID, "invalid %s: unknown capability: \"%.64s\"", field, list[i]);
        *ret |= bit;
    }
    return 0;
}

int caps_choose(char *const *add, size_t add_count, char *const *drop, size_t drop_count, uint64_t *ret, struct sw_err *err)
{
    uint64_t added, dropped, base = 0;
    int rc = gather(add, add_count, "CapAdd", &added, err);
    if (rc == 0)
        rc = gather(drop, drop_count, "CapDrop", &dropped, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
        base |= bit_of(usual[i]);
    /* Named single capabilities win over ALL on the other side; of the same name, dropping loses to adding ALL only. */
    if (dropped == ALL)
        *ret = added;
    else
        *ret = (base | added) & ~dropped;
    return 0;
}
