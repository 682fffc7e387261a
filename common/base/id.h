/* id - object ids (25 characters, base 36, as Swarm's) and the deterministic random source that cores use.
 *
 * A core keeps a struct sw_rng seeded by its start event, so that a run replays from its seed (xoshiro256**, Blackman and
 * Vigna 2018). Ids need to be unique, not secret; secrets are drawn by the shell from libsodium.
 */
#ifndef SW_ID_H
#define SW_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SW_ID_LEN 25
#define SW_ID_SIZE 26 /* with the NUL */

struct sw_rng {
    uint64_t s[4];
};

void sw_rng_seed(struct sw_rng *rng, uint64_t seed);
uint64_t sw_rng_next(struct sw_rng *rng);
/* Uniform in [0, bound); bound > 0. */
uint64_t sw_rng_below(struct sw_rng *rng, uint64_t bound);

void sw_id_make(struct sw_rng *rng, char ret_id[SW_ID_SIZE]);
bool sw_id_valid(const char *id); /* exactly 25 of [0-9a-z] */

/* Base 36 of a big-endian byte string, left-padded with '0' to `width` characters. Source: Swarm join tokens.
 * Encode: width must be enough (asserts). Decode: false if a character or the size does not fit. */
void sw_base36_encode(const uint8_t *data, size_t len, char *ret_text, size_t width);
bool sw_base36_decode(const char *text, size_t width, uint8_t *ret_data, size_t len);

#endif
