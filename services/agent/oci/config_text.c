/* The small texts of config.h: sysctls, signals, hosts and resolv.conf. */
#include "common/base/buf.h"
#include "common/base/units.h"
#include "services/agent/oci/config.h"

#include <signal.h>
#include <string.h>
#include <strings.h>

/* ---- sysctls ---- */
static bool own_sysctl(const char *key)
{
    static const char *const ipc[] = { "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
                                       "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced" };
    for (size_t i = 0; i < sizeof ipc / sizeof ipc[0]; i++)
        if (strcmp(key, ipc[i]) == 0)
            return true;
    return strncmp(key, "net.", 4) == 0 || strncmp(key, "fs.mqueue.", 10) == 0;
}

int config_net_sysctls(const Swarm__ContainerSpec *spec, void (*net)(void *arg, const char *setting), void *arg,
                       struct sw_err *err)
{
    for (size_t i = 0; i < spec->n_sysctls; i++) {
        const char *key = spec->sysctls[i]->key;
        const char *value = spec->sysctls[i]->value != NULL ? spec->sysctls[i]->value : "";
        bool plain = strstr(key, "..") == NULL && strpbrk(key, " =\n\t") == NULL && strchr(value, '\n') == NULL;
        if (!plain || strlen(key) > 200 || !own_sysctl(key))
            return sw_fail(err, SW_INVALID, "invalid sysctl '%.64s': it is not one of a container's own", key);
        if (strncmp(key, "net.", 4) != 0)
            continue;
        SW_AUTO(sw_free) char *setting = sw_strf("%s=%s", key, value);
        for (char *p = setting; *p != '='; p++)
            if (*p == '.')
                *p = '/';
        net(arg, setting);
    }
    return 0;
}

/* ---- signals ---- */
int config_signal_number(const char *name)
{
    uint64_t number;
    if (sw_parse_u64(name, &number))
        return number > 0 && number <= (uint64_t)SIGRTMAX ? (int)number : 0;
    if (strncasecmp(name, "SIG", 3) == 0)
        name += 3;
    if (strncasecmp(name, "RTMIN+", 6) == 0)
        return sw_parse_u64(name + 6, &number) && number <= (uint64_t)(SIGRTMAX - SIGRTMIN) ? SIGRTMIN + (int)number : 0;
    for (int i = 1; i < SIGRTMIN; i++) {
        const char *word = sigabbrev_np(i);
        if (word != NULL && strcasecmp(word, name) == 0)
            return i;
    }
    return 0;
}

/* ---- files ---- */
char *config_hosts(const Swarm__ContainerSpec *spec, const char *hostname, const char *const *addresses, size_t count)
{
    struct sw_buf text = { 0 };
    sw_buf_adds(&text, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
                       "ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
    for (size_t i = 0; i < spec->n_hosts; i++) {
        const char *line = spec->hosts[i];
        size_t len = strcspn(line, " \t");
        if (line[len] != '\0' && strchr(line, '\n') == NULL)
            sw_buf_addf(&text, "%.*s\t%s\n", (int)len, line, line + len + 1);
    }
    for (size_t i = 0; i < count; i++)
        sw_buf_addf(&text, "%.*s\t%s\n", (int)strcspn(addresses[i], "/"), addresses[i], hostname);
    return sw_buf_take(&text);
}

/* A name server on the host's loopback is not there for the container. */
static bool usable_line(const char *line, size_t len)
{
    SW_AUTO(sw_free) char *copy = sw_strf("%.*s", (int)len, line);
    if (strncmp(copy, "nameserver", 10) != 0)
        return strncmp(copy, "search", 6) == 0 || strncmp(copy, "options", 7) == 0;
    const char *address = copy + 10 + strspn(copy + 10, " \t");
    return strncmp(address, "127.", 4) != 0 && strcmp(address, "::1") != 0;
}

static bool replaced_line(const Swarm__DnsConfig *dns, const char *line)
{
    if (dns == NULL)
        return false;
    return (dns->n_nameservers != 0 && strncmp(line, "nameserver", 10) == 0) ||
           (dns->n_search != 0 && strncmp(line, "search", 6) == 0) || (dns->n_options != 0 && strncmp(line, "options", 7) == 0);
}

static void join(struct sw_buf *text, const char *key, char *const *words, size_t count)
{
    if (count == 0)
        return;
    sw_buf_adds(text, key);
    for (size_t i = 0; i < count; i++)
        sw_buf_addf(text, " %s", words[i]);
    sw_buf_adds(text, "\n");
}

char *config_resolv(const Swarm__ContainerSpec *spec, const char *host_text)
{
    struct sw_buf text = { 0 };
    const Swarm__DnsConfig *dns = spec->dns;
    for (const char *line = host_text; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        if (usable_line(line, len) && !replaced_line(dns, line))
            sw_buf_addf(&text, "%.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
    if (dns != NULL) {
        for (size_t i = 0; i < dns->n_nameservers; i++)
            sw_buf_addf(&text, "nameserver %s\n", dns->nameservers[i]);
        join(&text, "search", dns->search, dns->n_search);
        join(&text, "options", dns->options, dns->n_options);
    }
    return sw_buf_take(&text);
}
