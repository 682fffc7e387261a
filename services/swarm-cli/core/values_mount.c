#include "services/swarm-cli/core/values.h"

#include "common/base/units.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One "key=value" or bare "key" of a mount. */
struct field {
    const char *whole;
    const char *key;
    const char *value; /* NULL when bare */
};

static int mount_bool(const struct field *field, bool bare_ok, int *ret_has, int *ret, struct sw_err *err)
{
    static const char *const words[] = { "0", "false", "1", "true" };
    *ret_has = 1;
    *ret = 1;
    if (field->value == NULL && bare_ok)
        return 0;
    for (size_t i = 0; field->value != NULL && i < 4; i++)
        if (strcmp(words[i], field->value) == 0) {
            *ret = i >= 2;
            return 0;
        }
    return sw_fail(err, SW_INVALID, "invalid value for %s: %.100s", field->key, field->value != NULL ? field->value : "");
}

static int mount_type(Swarm__Mount *mount, const char *value, struct sw_err *err)
{
    static const char *const words[] = { "bind", "volume", "tmpfs" };
    for (size_t i = 0; i < 3; i++)
        if (strcasecmp(words[i], value) == 0) {
            mount->has_type = 1;
            mount->type = (Swarm__MountType)i;
            return 0;
        }
    return sw_fail(err, SW_INVALID, "mount type '%.60s' is not supported: use bind, volume or tmpfs", value);
}

static int mount_propagation(Swarm__Mount *mount, const char *value, struct sw_err *err)
{
    static const char *const words[] = { "rprivate", "private", "rshared", "shared", "rslave", "slave" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(words[i], value) == 0) {
            sw_pb_set(&mount->bind_propagation, words[i]);
            return 0;
        }
    return sw_fail(err, SW_INVALID, "invalid bind propagation: %.60s", value);
}

static int mount_pair(Swarm__Pair ***list, size_t *count, const struct field *field)
{
    SW_AUTO(sw_free) char *key = sw_strdup(field->value);
    char *equal = strchr(key, '=');
    if (equal != NULL)
        *equal++ = '\0';
    values_pair_set(list, count, key, equal != NULL ? equal : "");
    return 0;
}

static int mount_size(Swarm__Mount *mount, const struct field *field, struct sw_err *err)
{
    mount->has_tmpfs_size = 1;
    if (sw_parse_bytes(field->value, &mount->tmpfs_size))
        return 0;
    return sw_fail(err, SW_INVALID, "invalid value for tmpfs-size: %.60s", field->value);
}

static int mount_mode(Swarm__Mount *mount, const struct field *field, struct sw_err *err)
{
    char *end = NULL;
    unsigned long mode = strtoul(field->value, &end, 8);
    if (*field->value == '\0' || *end != '\0' || mode > 07777)
        return sw_fail(err, SW_INVALID, "invalid value for tmpfs-mode: %.60s", field->value);
    mount->has_tmpfs_mode = 1;
    mount->tmpfs_mode = (uint32_t)mode;
    return 0;
}

enum key {
    KEY_TYPE,
    KEY_SOURCE,
    KEY_TARGET,
    KEY_READONLY,
    KEY_PROPAGATION,
    KEY_NONRECURSIVE,
    KEY_RECURSIVE,
    KEY_DRIVER,
    KEY_OPT,
    KEY_LABEL,
    KEY_NOCOPY,
    KEY_SUBPATH,
    KEY_SIZE,
    KEY_MODE,
};

static const struct {
    const char *name;
    enum key key;
    int only; /* a MountType, or -1 */
} keys[] = {
    { "type", KEY_TYPE, -1 },
    { "source", KEY_SOURCE, -1 },
    { "src", KEY_SOURCE, -1 },
    { "target", KEY_TARGET, -1 },
    { "dst", KEY_TARGET, -1 },
    { "destination", KEY_TARGET, -1 },
    { "readonly", KEY_READONLY, -1 },
    { "ro", KEY_READONLY, -1 },
    { "bind-propagation", KEY_PROPAGATION, SWARM__MOUNT_TYPE__MOUNT_BIND },
    { "bind-nonrecursive", KEY_NONRECURSIVE, SWARM__MOUNT_TYPE__MOUNT_BIND },
    { "bind-recursive", KEY_RECURSIVE, SWARM__MOUNT_TYPE__MOUNT_BIND },
    { "volume-driver", KEY_DRIVER, SWARM__MOUNT_TYPE__MOUNT_VOLUME },
    { "volume-opt", KEY_OPT, SWARM__MOUNT_TYPE__MOUNT_VOLUME },
    { "volume-label", KEY_LABEL, SWARM__MOUNT_TYPE__MOUNT_VOLUME },
    { "volume-nocopy", KEY_NOCOPY, SWARM__MOUNT_TYPE__MOUNT_VOLUME },
    { "volume-subpath", KEY_SUBPATH, SWARM__MOUNT_TYPE__MOUNT_VOLUME },
    { "tmpfs-size", KEY_SIZE, SWARM__MOUNT_TYPE__MOUNT_TMPFS },
    { "tmpfs-mode", KEY_MODE, SWARM__MOUNT_TYPE__MOUNT_TMPFS },
};

static int mount_recursive(Swarm__Mount *mount, const struct field *field, struct sw_err *err)
{
    bool off = strcmp(field->value, "disabled") == 0;
    if (!off && strcmp(field->value, "enabled") != 0)
        return sw_fail(err, SW_INVALID, "invalid value for bind-recursive: %.60s (must be \"enabled\" or \"disabled\")",
                       field->value);
    mount->has_bind_nonrecursive = 1;
    mount->bind_nonrecursive = off;
    return 0;
}

static int mount_set(Swarm__Mount *mount, enum key key, const struct field *field, struct sw_err *err)
{
    if (key != KEY_READONLY && key != KEY_NOCOPY && key != KEY_NONRECURSIVE && field->value == NULL)
        return sw_fail(err, SW_INVALID, "invalid field '%.100s' must be a key=value pair", field->whole);
    switch (key) {
    case KEY_TYPE:
        return mount_type(mount, field->value, err);
    case KEY_SOURCE:
        sw_pb_set(&mount->source, field->value);
        return 0;
    case KEY_TARGET:
        sw_pb_set(&mount->target, field->value);
        return 0;
    case KEY_READONLY:
        return mount_bool(field, true, &mount->has_read_only, &mount->read_only, err);
    case KEY_PROPAGATION:
        return mount_propagation(mount, field->value, err);
    case KEY_NONRECURSIVE:
        return mount_bool(field, true, &mount->has_bind_nonrecursive, &mount->bind_nonrecursive, err);
    case KEY_RECURSIVE:
        return mount_recursive(mount, field, err);
    case KEY_DRIVER:
        sw_pb_set(&mount->volume_driver, field->value);
        return 0;
    case KEY_OPT:
        return mount_pair(&mount->volume_opts, &mount->n_volume_opts, field);
    case KEY_LABEL:
        return mount_pair(&mount->volume_labels, &mount->n_volume_labels, field);
    case KEY_NOCOPY:
        return mount_bool(field, true, &mount->has_volume_nocopy, &mount->volume_nocopy, err);
    case KEY_SUBPATH:
        sw_pb_set(&mount->volume_subpath, field->value);
        return 0;
    case KEY_SIZE:
        return mount_size(mount, field, err);
    case KEY_MODE:
        return mount_mode(mount, field, err);
    }
    return 0;
}

static int mount_field(Swarm__Mount *mount, char *text, unsigned *used, struct sw_err *err)
{
    SW_AUTO(sw_free) char *whole = sw_strdup(text);
    char *value = strchr(text, '=');
    if (value != NULL)
        *value++ = '\0';
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcasecmp(keys[i].name, text) != 0)
            continue;
        if (keys[i].only >= 0)
            *used |= 1u << keys[i].only;
        struct field field = { whole, keys[i].name, value };
        return mount_set(mount, keys[i].key, &field, err);
    }
    return sw_fail(err, SW_INVALID, "unexpected key '%.60s' in '%.100s'", text, whole);
}

/* Options of one type on a mount of another are a mistake; so is a mount without a target. */
static int mount_check(const Swarm__Mount *mount, unsigned used, struct sw_err *err)
{
    static const char *const words[] = { "bind", "volume", "tmpfs" };
    if (mount->target == NULL || mount->target[0] == '\0')
        return sw_fail(err, SW_INVALID, "target is required");
    for (unsigned type = 0; type < 3; type++)
        if ((used & 1u << type) != 0 && type != (unsigned)mount->type)
            return sw_fail(err, SW_INVALID, "cannot mix '%s-*' options with mount type '%s'", words[type], words[mount->type]);
    if (mount->type == SWARM__MOUNT_TYPE__MOUNT_BIND && (mount->source == NULL || mount->source[0] == '\0'))
        return sw_fail(err, SW_INVALID, "source is required when type is bind");
    return 0;
}

int values_mount(const char *text, Swarm__Mount **ret, struct sw_err *err)
{
    struct values_csv csv;
    Swarm__Mount *mount = sw_alloc0(sizeof *mount);
    unsigned used = 0;
    swarm__mount__init(mount);
    int rc = values_csv_parse(text, &csv, err);
    for (size_t i = 0; rc == 0 && i < csv.count; i++)
        rc = mount_field(mount, csv.fields[i], &used, err);
    if (rc == 0)
        rc = mount_check(mount, used, err);
    values_csv_deinit(&csv);
    if (rc == 0)
        *ret = mount;
    else
        sw_pb_free(mount);
    return rc;
}

/* ---- publish ---- */

struct range {
    uint64_t first, last; /* first 0 = none given */
};

/* "80" or "80-90". */
static bool parse_range(const char *text, struct range *ret)
{
    SW_AUTO(sw_free) char *copy = sw_strdup(text);
    char *dash = strchr(copy, '-');
    if (dash != NULL)
        *dash++ = '\0';
    if (!sw_parse_u64(copy, &ret->first) || !sw_parse_u64(dash != NULL ? dash : copy, &ret->last))
        return false;
    return ret->first > 0 && ret->last >= ret->first && ret->last <= 65535;
}

static bool parse_protocol(const char *text, Swarm__PortProtocol *ret)
{
    static const char *const words[] = { "tcp", "udp", "sctp" };
    for (size_t i = 0; i < 3; i++)
        if (strcasecmp(words[i], text) == 0) {
            *ret = (Swarm__PortProtocol)i;
            return true;
        }
    return false;
}

static void push_port(Swarm__PortConfig ***list, size_t *count, const Swarm__PortConfig *like, uint64_t published,
                      uint64_t target)
{
    Swarm__PortConfig *port = sw_pb_clone(like);
    port->target_port = (uint32_t)target;
    port->has_published_port = published != 0;
    port->published_port = (uint32_t)published;
    values_push(list, count, port);
}

/* "[published:]target[/proto]", either side a range. */
static int publish_short(const char *text, Swarm__PortConfig ***list, size_t *count, struct sw_err *err)
{
    SW_AUTO(sw_free) char *copy = sw_strdup(text);
    Swarm__PortConfig like = SWARM__PORT_CONFIG__INIT;
    struct range target;
    struct range published = { 0, 0 };
    char *protocol = strchr(copy, '/');
    if (protocol != NULL)
        *protocol++ = '\0';
    like.has_protocol = 1;
    if (protocol != NULL && !parse_protocol(protocol, &like.protocol))
        return sw_fail(err, SW_INVALID, "invalid proto: %.40s", protocol);
    like.has_publish_mode = 1;
    char *colon = strrchr(copy, ':');
    if (colon != NULL && memchr(copy, ':', (size_t)(colon - copy)) != NULL)
        return sw_fail(err, SW_INVALID, "hostip is not supported");
    if (colon != NULL)
        *colon++ = '\0';
    if (!parse_range(colon != NULL ? colon : copy, &target))
        return sw_fail(err, SW_INVALID, "invalid containerPort: %.60s", colon != NULL ? colon : copy);
    if (colon != NULL && *copy != '\0' && !parse_range(copy, &published))
        return sw_fail(err, SW_INVALID, "invalid hostPort: %.60s", copy);
    uint64_t targets = target.last - target.first + 1;
    uint64_t wanted = published.first != 0 ? published.last - published.first + 1 : targets;
    if (targets > VALUES_RANGE_MAX || wanted > VALUES_RANGE_MAX)
        return sw_fail(err, SW_LIMIT, "range of more than %d ports", VALUES_RANGE_MAX);
    if (wanted != targets && targets != 1)
        return sw_fail(err, SW_INVALID, "invalid ranges specified for container and host Ports: %.100s", text);
    for (uint64_t i = 0; i < wanted; i++)
        push_port(list, count, &like, published.first != 0 ? published.first + i : 0, target.first + (targets > 1 ? i : 0));
    return 0;
}

static int publish_field(Swarm__PortConfig *port, char *text, struct sw_err *err)
{
    char *value = strchr(text, '=');
    struct range range = { 0, 0 };
    if (value == NULL || value == text)
        return sw_fail(err, SW_INVALID, "invalid field: %.60s", text);
    *value++ = '\0';
    if (strcasecmp(text, "protocol") == 0) {
        port->has_protocol = 1;
        return parse_protocol(value, &port->protocol) ? 0 : sw_fail(err, SW_INVALID, "invalid proto: %.40s", value);
    }
    if (strcasecmp(text, "mode") == 0) {
        port->has_publish_mode = 1;
        port->publish_mode = strcasecmp(value, "host") == 0;
        if (strcasecmp(value, "host") != 0 && strcasecmp(value, "ingress") != 0)
            return sw_fail(err, SW_INVALID, "invalid publish mode value (%.40s): must be either 'ingress' or 'host'", value);
        return 0;
    }
    bool target = strcasecmp(text, "target") == 0;
    if (!target && strcasecmp(text, "published") != 0)
        return sw_fail(err, SW_INVALID, "invalid field key: %.60s", text);
    if (!(parse_range(value, &range) && range.first == range.last) && !(!target && strcmp(value, "0") == 0))
        return sw_fail(err, SW_INVALID, "invalid %s port (%.60s): must be 1 to 65535", target ? "target" : "published", value);
    if (target)
        port->target_port = (uint32_t)range.first;
    else
        port->published_port = (uint32_t)range.first;
    port->has_published_port = port->published_port != 0;
    return 0;
}

static int publish_long(const char *text, Swarm__PortConfig ***list, size_t *count, struct sw_err *err)
{
    struct values_csv csv;
    Swarm__PortConfig *port = sw_alloc0(sizeof *port);
    swarm__port_config__init(port);
    port->has_protocol = 1;
    port->has_publish_mode = 1;
    int rc = values_csv_parse(text, &csv, err);
    for (size_t i = 0; rc == 0 && i < csv.count; i++)
        rc = publish_field(port, csv.fields[i], err);
    if (rc == 0 && port->target_port == 0)
        rc = sw_fail(err, SW_INVALID, "missing mandatory field 'target'");
    values_csv_deinit(&csv);
    if (rc == 0)
        values_push(list, count, port);
    else
        sw_pb_free(port);
    return rc;
}

int values_publish(const char *text, Swarm__PortConfig ***list, size_t *count, struct sw_err *err)
{
    assert(text != NULL);
    return strchr(text, '=') != NULL ? publish_long(text, list, count, err) : publish_short(text, list, count, err);
}
