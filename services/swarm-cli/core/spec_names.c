/* Extra hosts, resolver settings and supplementary groups: lists of words in create (--host) and update (--host-add, --host-rm).
 */
#include "services/swarm-cli/core/spec.h"

#include "services/swarm-cli/core/values.h"

#include <stdlib.h>
#include <string.h>

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static Swarm__DnsConfig *dns_of(Swarm__ContainerSpec *container)
{
    if (container->dns == NULL) {
        container->dns = sw_alloc0(sizeof *container->dns);
        swarm__dns_config__init(container->dns);
    }
    return container->dns;
}

static void drop_empty_dns(Swarm__ContainerSpec *container)
{
    const Swarm__DnsConfig *dns = container->dns;
    if (dns == NULL || dns->n_nameservers + dns->n_search + dns->n_options > 0)
        return;
    sw_pb_free(container->dns);
    container->dns = NULL;
}

static void add_words(const struct flag_values *typed, char ***list, size_t *count)
{
    for (size_t i = 0; i < typed->count; i++)
        if (!values_has(*list, *count, typed->values[i]))
            values_push(list, count, sw_strdup(typed->values[i]));
}

static int add_hosts(const struct flag_values *typed, Swarm__ContainerSpec *container, struct sw_err *err)
{
    for (size_t i = 0; i < typed->count; i++) {
        SW_AUTO(sw_free) char *line = NULL;
        int rc = values_host(typed->values[i], &line, err);
        if (rc < 0)
            return rc;
        if (!values_has(container->hosts, container->n_hosts, line))
            values_push(&container->hosts, &container->n_hosts, SW_TAKE(line));
    }
    return 0;
}

int spec_add_names(const struct flags *flags, Swarm__ContainerSpec *container, struct sw_err *err)
{
    Swarm__DnsConfig *dns = dns_of(container);
    add_words(flags_list(flags, "group"), &container->groups, &container->n_groups);
    add_words(flags_list(flags, "dns"), &dns->nameservers, &dns->n_nameservers);
    add_words(flags_list(flags, "dns-search"), &dns->search, &dns->n_search);
    add_words(flags_list(flags, "dns-option"), &dns->options, &dns->n_options);
    drop_empty_dns(container);
    return add_hosts(flags_list(flags, "host"), container, err);
}

/* ---- update ---- */

static void change_words(const struct flags *flags, const char *add, const char *rm, char ***list, size_t *count)
{
    const struct flag_values *gone = flags_list(flags, rm);
    const struct flag_values *come = flags_list(flags, add);
    for (size_t i = 0; i < gone->count; i++)
        for (size_t j = *count; j-- > 0;)
            if (strcmp((*list)[j], gone->values[i]) == 0)
                free(values_remove(*list, count, j));
    add_words(come, list, count);
    if (gone->count + come->count > 0 && *count > 1)
        qsort(*list, *count, sizeof **list, compare_text);
}

/* "name" takes away every line of that name, "name:IP" one. */
static void remove_host(Swarm__ContainerSpec *container, const char *text)
{
    SW_AUTO(sw_free) char *line = NULL;
    bool whole = values_host(text, &line, NULL) == 0;
    for (size_t i = container->n_hosts; i-- > 0;) {
        const char *name = strchr(container->hosts[i], ' ');
        if (whole ? strcmp(container->hosts[i], line) == 0 : name != NULL && strcmp(name + 1, text) == 0)
            free(values_remove(container->hosts, &container->n_hosts, i));
    }
}

int spec_change_names(const struct flags *flags, Swarm__ContainerSpec *container, struct sw_err *err)
{
    const struct flag_values *gone = flags_list(flags, "host-rm");
    Swarm__DnsConfig *dns = dns_of(container);
    change_words(flags, "group-add", "group-rm", &container->groups, &container->n_groups);
    change_words(flags, "dns-add", "dns-rm", &dns->nameservers, &dns->n_nameservers);
    change_words(flags, "dns-search-add", "dns-search-rm", &dns->search, &dns->n_search);
    change_words(flags, "dns-option-add", "dns-option-rm", &dns->options, &dns->n_options);
    drop_empty_dns(container);
    for (size_t i = 0; i < gone->count; i++)
        remove_host(container, gone->values[i]);
    return add_hosts(flags_list(flags, "host-add"), container, err);
}
