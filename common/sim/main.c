/* swarm-sim --seed N | --seeds A..B [--steps M] [--verbose]: runs whole clusters on virtual time.
 * Exit code 0: all converged; 2: something that must never be was seen; 3: a cluster did not converge; 4: a seed did not repeat.
 */
#include "common/sim/sim.h"

#include "common/base/units.h"

#include <stdio.h>
#include <string.h>

#define UNREPEATABLE 4
#define USAGE 125

struct options {
    uint64_t first, last, steps;
    bool verbose;
};

static bool parse_range(const char *text, struct options *options)
{
    char low[32];
    const char *dots = strstr(text, "..");
    if (dots == NULL || (size_t)(dots - text) >= sizeof low)
        return false;
    (void)snprintf(low, sizeof low, "%.*s", (int)(dots - text), text);
    return sw_parse_u64(low, &options->first) && sw_parse_u64(dots + 2, &options->last) && options->first <= options->last;
}

static bool parse(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        bool ok = true;
        if (strcmp(argv[i], "--verbose") == 0) {
            options->verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--seed") == 0)
            ok = sw_parse_u64(value, &options->first) && sw_parse_u64(value, &options->last);
        else if (strcmp(argv[i], "--seeds") == 0)
            ok = parse_range(value, options);
        else if (strcmp(argv[i], "--steps") == 0)
            ok = sw_parse_u64(value, &options->steps) && options->steps <= 1000000;
        else
            ok = false;
        if (!ok)
            return false;
        i++;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options options = { .first = 1, .last = 20, .steps = 60 };
    if (!parse(argc, argv, &options)) {
        (void)fprintf(stderr, "usage: swarm-sim [--seed N | --seeds A..B] [--steps M] [--verbose]\n");
        return USAGE;
    }
    uint64_t events = 0;
    for (uint64_t seed = options.first; seed <= options.last; seed++) {
        struct sim_result result = sim_play(seed, (unsigned)options.steps, options.verbose);
        events += result.events;
        if (seed == options.first && sim_play(seed, (unsigned)options.steps, false).digest != result.digest) {
            printf("seed %llu does not repeat\n", (unsigned long long)seed);
            return UNREPEATABLE;
        }
    }
    printf("%llu passed, 0 failed (%llu events)\n", (unsigned long long)(options.last - options.first + 1),
           (unsigned long long)events);
    return 0;
}
