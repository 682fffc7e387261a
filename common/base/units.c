#include "common/base/units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    int64_t ns;
} duration_units[] = {
    { "ns", 1 },
    { "us", 1000 },
    { "\xc2\xb5s", 1000 },
    { "ms", SW_NS_PER_MS },
    { "s", SW_NS_PER_S },
    { "m", 60 * SW_NS_PER_S },
    { "h", 3600 * SW_NS_PER_S },
};

/* A decimal number with an optional fraction at *text; moves *text behind it. */
static bool take_number(const char **text, double *ret)
{
    size_t whole = strspn(*text, "0123456789");
    size_t len = whole;
    if ((*text)[len] == '.')
        len += 1 + strspn(*text + len + 1, "0123456789");
    if (len == 0 || (len == 1 && whole == 0) || len > 30)
        return false;
    char digits[32];
    memcpy(digits, *text, len);
    digits[len] = '\0';
    *ret = strtod(digits, NULL);
    *text += len;
    return true;
}

static int64_t take_unit(const char **text)
{
    size_t len = strcspn(*text, "0123456789.");
    for (size_t i = 0; i < sizeof duration_units / sizeof *duration_units; i++)
        if (strlen(duration_units[i].name) == len && strncmp(*text, duration_units[i].name, len) == 0) {
            *text += len;
            return duration_units[i].ns;
        }
    return 0;
}

bool sw_parse_duration(const char *text, int64_t *ret_ns)
{
    double sign = *text == '-' ? -1 : 1;
    if (*text == '-' || *text == '+')
        text++;
    if (strcmp(text, "0") == 0) {
        *ret_ns = 0;
        return true;
    }
    double total = 0;
    do {
        double number = 0;
        if (!take_number(&text, &number))
            return false;
        int64_t unit = take_unit(&text);
        if (unit == 0)
            return false;
        total += number * (double)unit;
    } while (*text != '\0');
    if (total > 9.2e18)
        return false;
    *ret_ns = (int64_t)(sign * total + sign * 0.5);
    return true;
}

bool sw_parse_bytes(const char *text, int64_t *ret_bytes)
{
    double number = 0;
    if (!take_number(&text, &number))
        return false;
    while (*text == ' ')
        text++;
    static const char units[] = "bkmgtp";
    double scale = 1;
    if (*text != '\0') {
        const char *unit = strchr(units, *text | 0x20);
        if (unit == NULL)
            return false;
        scale = (double)(UINT64_C(1) << (10 * (unit - units)));
        text++;
        if (unit != units && strcasecmp(text, "b") != 0 && strcasecmp(text, "ib") != 0 && *text != '\0')
            return false;
        if (unit == units && *text != '\0')
            return false;
    }
    if (number * scale > 9.2e18)
        return false;
    *ret_bytes = (int64_t)(number * scale);
    return true;
}

bool sw_parse_i64(const char *text, int64_t *ret)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 0);
    if (errno != 0 || end == text || *end != '\0' || *text == ' ')
        return false;
    *ret = value;
    return true;
}

bool sw_parse_u64(const char *text, uint64_t *ret)
{
    char *end = NULL;
    errno = 0;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long long value = strtoull(text, &end, 0);
    if (errno != 0 || *end != '\0')
        return false;
    *ret = value;
    return true;
}

/* "12.345" to billionths, exact. */
static bool parse_decimal_nano(const char *text, int64_t *ret_nano)
{
    size_t whole = strspn(text, "0123456789");
    size_t fraction = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;
    if (whole + fraction == 0 || whole > 9 || text[whole + (text[whole] == '.' ? 1 + fraction : 0)] != '\0')
        return false;
    int64_t nano = 0;
    for (size_t i = 0; i < whole; i++)
        nano = nano * 10 + (text[i] - '0');
    for (size_t i = 0; i < 9; i++)
        nano = nano * 10 + (i < fraction ? text[whole + 1 + i] - '0' : 0);
    for (size_t i = 9; i < fraction; i++)
        if (text[whole + 1 + i] != '0')
            return false;
    *ret_nano = nano;
    return true;
}

bool sw_parse_cpus(const char *text, int64_t *ret_nano)
{
    const char *slash = strchr(text, '/');
    if (slash == NULL)
        return parse_decimal_nano(text, ret_nano);
    char top[16] = { 0 };
    uint64_t above = 0;
    uint64_t below = 0;
    if (slash == text || (size_t)(slash - text) >= sizeof top)
        return false;
    memcpy(top, text, (size_t)(slash - text));
    if (!sw_parse_u64(top, &above) || !sw_parse_u64(slash + 1, &below) || below == 0 || above > 1000000)
        return false;
    if (above * (uint64_t)SW_NS_PER_S % below != 0)
        return false;
    *ret_nano = (int64_t)(above * (uint64_t)SW_NS_PER_S / below);
    return true;
}

/* value/unit with its fraction, trailing zeros dropped, as Go prints durations. */
static void format_fraction(char *ret, size_t size, int64_t value, int64_t unit, const char *name)
{
    char text[48];
    (void)snprintf(text, sizeof text, "%lld.%0*lld", (long long)(value / unit),
                   unit == SW_NS_PER_S    ? 9
                   : unit == SW_NS_PER_MS ? 6
                                          : 3,
                   (long long)(value % unit));
    size_t len = strlen(text);
    while (text[len - 1] == '0')
        len--;
    if (text[len - 1] == '.')
        len--;
    text[len] = '\0';
    (void)snprintf(ret, size, "%s%s", text, name);
}

void sw_format_duration(int64_t ns, char *ret, size_t size)
{
    char seconds[64];
    const char *sign = ns < 0 ? "-" : "";
    if (ns < 0)
        ns = -ns;
    if (ns == 0) {
        (void)snprintf(ret, size, "0s");
        return;
    }
    if (ns < SW_NS_PER_S) {
        if (ns < 1000)
            (void)snprintf(seconds, sizeof seconds, "%lldns", (long long)ns);
        else if (ns < SW_NS_PER_MS)
            format_fraction(seconds, sizeof seconds, ns, 1000, "\xc2\xb5s");
        else
            format_fraction(seconds, sizeof seconds, ns, SW_NS_PER_MS, "ms");
        (void)snprintf(ret, size, "%s%s", sign, seconds);
        return;
    }
    int64_t minutes = ns / (60 * SW_NS_PER_S);
    format_fraction(seconds, sizeof seconds, ns % (60 * SW_NS_PER_S), SW_NS_PER_S, "s");
    if (minutes >= 60)
        (void)snprintf(ret, size, "%s%lldh%lldm%s", sign, (long long)(minutes / 60), (long long)(minutes % 60), seconds);
    else if (minutes > 0)
        (void)snprintf(ret, size, "%s%lldm%s", sign, (long long)minutes, seconds);
    else
        (void)snprintf(ret, size, "%s%s", sign, seconds);
}

void sw_format_human_duration(int64_t ns, char *ret, size_t size)
{
    long long s = (long long)(ns / SW_NS_PER_S);
    long long hours = (s + 1800) / 3600;
    if (s < 1)
        (void)snprintf(ret, size, "Less than a second");
    else if (s == 1)
        (void)snprintf(ret, size, "1 second");
    else if (s < 60)
        (void)snprintf(ret, size, "%lld seconds", s);
    else if (s / 60 == 1)
        (void)snprintf(ret, size, "About a minute");
    else if (s / 60 < 60)
        (void)snprintf(ret, size, "%lld minutes", s / 60);
    else if (hours == 1)
        (void)snprintf(ret, size, "About an hour");
    else if (hours < 48)
        (void)snprintf(ret, size, "%lld hours", hours);
    else if (hours < 24 * 7 * 2)
        (void)snprintf(ret, size, "%lld days", hours / 24);
    else if (hours < 24 * 30 * 2)
        (void)snprintf(ret, size, "%lld weeks", hours / 24 / 7);
    else if (hours < 24 * 365 * 2)
        (void)snprintf(ret, size, "%lld months", hours / 24 / 30);
    else
        (void)snprintf(ret, size, "%lld years", hours / 24 / 365);
}

static void format_scaled(int64_t bytes, int base, const char *const *units, int digits, char *ret, size_t size)
{
    double value = (double)bytes;
    for (; value >= base && units[1] != NULL; units++)
        value /= base;
    (void)snprintf(ret, size, "%.*g%s", digits, value, *units);
}

void sw_format_bytes(int64_t bytes, char *ret, size_t size)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", NULL };
    format_scaled(bytes, 1024, units, 4, ret, size);
}

void sw_format_bytes_decimal(int64_t bytes, char *ret, size_t size)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", NULL };
    format_scaled(bytes, 1000, units, 3, ret, size);
}
