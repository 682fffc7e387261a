#include "common/base/buf.h"
#include "common/service/svc_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The one piece of process-wide state of the skeleton: where lines go is a property of the process. */
static struct {
    const char *name;
    enum svc_level level;
} logging = { "swarm", SVC_INFO };

static const struct {
    enum svc_level level;
    const char *word;
} levels[] = { { SVC_ERROR, "error" }, { SVC_WARN, "warn" }, { SVC_INFO, "info" }, { SVC_DEBUG, "debug" } };

void svc_log_setup(const char *daemon_name)
{
    logging.name = daemon_name;
}

bool svc_log_level_set(const char *word)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(levels[i].word, word) == 0) {
            logging.level = levels[i].level;
            return true;
        }
    return false;
}

bool svc_log_on(enum svc_level level)
{
    return level <= logging.level;
}

static const char *level_word(enum svc_level level)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (levels[i].level == level)
            return levels[i].word;
    return "info";
}

/* One line whatever the text holds: a peer's words must not be able to forge a log line. */
static void one_line(struct sw_buf *line)
{
    for (size_t i = 0; i < line->len; i++)
        if ((unsigned char)line->data[i] < 0x20 || line->data[i] == 0x7f)
            line->data[i] = ' ';
}

void svc_log(enum svc_level level, const char *msg, const char *keys, ...)
{
    if (!svc_log_on(level))
        return;
    struct timespec now;
    struct tm utc;
    char stamp[32];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &utc));
    SW_AUTO_BUF line = { 0 };
    sw_buf_addf(&line, "<%d>ts=%s.%03ldZ level=%s daemon=%s msg=\"%s\"", (int)level, stamp, now.tv_nsec / 1000000,
                level_word(level), logging.name, msg);
    if (keys != NULL) {
        char text[2048];
        va_list args;
        va_start(args, keys);
        (void)vsnprintf(text, sizeof text, keys, args);
        va_end(args);
        sw_buf_addf(&line, " %s", text);
    }
    one_line(&line);
    sw_buf_adds(&line, "\n");
    if (write(STDERR_FILENO, line.data, line.len) < 0)
        return; /* nowhere left to say it */
}
