/* progress - has a service come to what was asked? And what to show meanwhile. Source: cli-surface 13 (PR1 to PR9).
 *
 * Events   progress_event() with each ServiceWatchEvent, progress_tick() when the deadline it gave has come.
 * Time     milliseconds on the caller's monotonic clock; never goes back.
 * Output   text to write is appended to the caller's buffer: plain lines, or for a terminal lines rewritten in place.
 *          With quiet nothing but messages of failure is made.
 * Memory   struct progress is the caller's; deinit frees. Events are not kept.
 * Limits   PROGRESS_SLOTS_MAX lines of tasks; with more only the overall line is shown.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "common/base/buf.h"
#include "proto/control.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

#define PROGRESS_SLOTS_MAX 20
#define PROGRESS_LINE_MAX 256

enum progress_result { PROGRESS_GOES_ON, PROGRESS_DONE, PROGRESS_FAILED };

struct progress_line {
    char label[32];
    char text[PROGRESS_LINE_MAX];
};

struct progress {
    bool terminal;
    bool quiet;
    unsigned width; /* of the terminal; a bar is drawn when it is over 110 */
    bool converged;
    bool rolling_back;
    uint64_t converged_ms;
    uint64_t monitor_ms;
    char service_id[32];
    char last[256];    /* shown after the end: how a rollback went */
    char failure[256]; /* PROGRESS_FAILED: the reason */
    char overall[96];
    char verify[128];
    struct progress_line lines[PROGRESS_SLOTS_MAX];
    size_t line_count;
    size_t drawn;     /* lines on the terminal now */
    bool slots_shown; /* plain output: the per-task lines were printed */
};

void progress_init(struct progress *progress, const char *service_id, bool terminal, unsigned width, bool quiet);
enum progress_result progress_event(struct progress *progress, const Swarm__ServiceWatchEvent *event, uint64_t now_ms,
                                    struct sw_buf *out);
enum progress_result progress_tick(struct progress *progress, uint64_t now_ms, struct sw_buf *out);
/* Milliseconds until progress_tick() wants to be called; 0 = not at all. */
uint64_t progress_wait(const struct progress *progress, uint64_t now_ms);
/* Ctrl-C: what to say. */
void progress_interrupted(const struct progress *progress, struct sw_buf *out);

#endif
