/* Prometheus text exposition format 0.0.4, written by hand: the format is a page long. */
#include "common/service/svc_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define SERIES_MAX 4096

static const double bounds[] = { 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                 0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30 };
#define BOUNDS (sizeof bounds / sizeof *bounds)

struct svc_histogram {
    uint64_t buckets[BOUNDS + 1];
    double sum;
};

struct series {
    char *labels;
    double value;
    struct series *next;
};

struct family {
    char *name, *help;
    enum svc_metric_kind kind;
    struct svc_histogram *histogram; /* then there are no series */
    struct series *series;
    struct family *next;
};

struct svc_metrics {
    struct family *families;
    size_t series_count;
    double dummy;
};

struct svc_metrics *svc_metrics_new(void)
{
    return sw_alloc0(sizeof(struct svc_metrics));
}

static void family_free(struct family *family)
{
    struct series *series;
    struct series *next;
    LL_FOREACH_SAFE(family->series, series, next)
    {
        free(series->labels);
        free(series);
    }
    free(family->histogram);
    free(family->name);
    free(family->help);
    free(family);
}

void svc_metrics_free(struct svc_metrics *metrics)
{
    if (metrics == NULL)
        return;
    struct family *family;
    struct family *next;
    LL_FOREACH_SAFE(metrics->families, family, next)
    {
        family_free(family);
    }
    free(metrics);
}

static struct family *family_get(struct svc_metrics *metrics, enum svc_metric_kind kind, const char *name, const char *help)
{
    struct family *family;
    LL_FOREACH(metrics->families, family)
    {
        if (strcmp(family->name, name) == 0)
            return family;
    }
    family = sw_alloc0(sizeof *family);
    *family = (struct family) { .name = sw_strdup(name), .help = sw_strdup(help), .kind = kind };
    LL_APPEND(metrics->families, family);
    return family;
}

double *svc_metric(struct svc_metrics *metrics, enum svc_metric_kind kind, const char *name, const char *labels, const char *help)
{
    struct family *family = family_get(metrics, kind, name, help);
    struct series *series;
    LL_FOREACH(family->series, series)
    {
        if (strcmp(series->labels, labels) == 0)
            return &series->value;
    }
    if (metrics->series_count == SERIES_MAX)
        return &metrics->dummy;
    metrics->series_count++;
    series = sw_alloc0(sizeof *series);
    series->labels = sw_strdup(labels);
    LL_APPEND(family->series, series);
    return &series->value;
}

struct svc_histogram *svc_histogram(struct svc_metrics *metrics, const char *name, const char *help)
{
    struct family *family = family_get(metrics, SVC_COUNTER, name, help);
    if (family->histogram == NULL)
        family->histogram = sw_alloc0(sizeof *family->histogram);
    return family->histogram;
}

void svc_observe(struct svc_histogram *histogram, double seconds)
{
    size_t i = 0;
    while (i < BOUNDS && seconds > bounds[i])
        i++;
    histogram->buckets[i]++;
    histogram->sum += seconds;
}

static void write_value(struct sw_buf *out, double value)
{
    if (value == floor(value) && fabs(value) < 1e15)
        sw_buf_addf(out, " %.0f\n", value);
    else
        sw_buf_addf(out, " %.9g\n", value);
}

static void write_histogram(const struct family *family, struct sw_buf *out)
{
    const struct svc_histogram *histogram = family->histogram;
    uint64_t total = 0;
    sw_buf_addf(out, "# HELP %s %s\n# TYPE %s histogram\n", family->name, family->help, family->name);
    for (size_t i = 0; i < BOUNDS; i++) {
        total += histogram->buckets[i];
        sw_buf_addf(out, "%s_bucket{le=\"%g\"} %llu\n", family->name, bounds[i], (unsigned long long)total);
    }
    total += histogram->buckets[BOUNDS];
    sw_buf_addf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum", family->name, (unsigned long long)total, family->name);
    write_value(out, histogram->sum);
    sw_buf_addf(out, "%s_count %llu\n", family->name, (unsigned long long)total);
}

static void write_family(const struct family *family, struct sw_buf *out)
{
    if (family->histogram != NULL) {
        write_histogram(family, out);
        return;
    }
    sw_buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                family->kind == SVC_COUNTER ? "counter" : "gauge");
    const struct series *series;
    LL_FOREACH(family->series, series)
    {
        sw_buf_adds(out, family->name);
        if (*series->labels != '\0')
            sw_buf_addf(out, "{%s}", series->labels);
        write_value(out, series->value);
    }
}

void svc_metrics_write(const struct svc_metrics *metrics, struct sw_buf *out)
{
    const struct family *family;
    LL_FOREACH(metrics->families, family)
    {
        write_family(family, out);
    }
}
