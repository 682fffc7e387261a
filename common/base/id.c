#include "common/base/id.h"

#include <assert.h>
#include <string.h>

static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

#define BASE36_BYTES_MAX 64

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void sw_rng_seed(struct sw_rng *rng, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++) { /* splitmix64 */
        seed += 0x9e3779b97f4a7c15U;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        rng->s[i] = z ^ (z >> 31);
    }
}

uint64_t sw_rng_next(struct sw_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t sw_rng_below(struct sw_rng *rng, uint64_t bound)
{
    assert(bound > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t drawn = sw_rng_next(rng);
    while (drawn >= limit)
        drawn = sw_rng_next(rng);
    return drawn % bound;
}

void sw_id_make(struct sw_rng *rng, char ret_id[SW_ID_SIZE])
{
    for (size_t i = 0; i < SW_ID_LEN; i++)
        ret_id[i] = digits[sw_rng_below(rng, 36)];
    ret_id[SW_ID_LEN] = '\0';
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 10;
    return -1;
}

bool sw_id_valid(const char *id)
{
    size_t len = strnlen(id, SW_ID_SIZE);
    for (size_t i = 0; i < len; i++)
        if (digit_value(id[i]) < 0)
            return false;
    return len == SW_ID_LEN;
}

void sw_base36_encode(const uint8_t *data, size_t len, char *ret_text, size_t width)
{
    assert(len <= BASE36_BYTES_MAX);
    uint8_t number[BASE36_BYTES_MAX];
    memcpy(number, data, len);
    for (size_t pos = width; pos-- > 0;) {
        unsigned rest = 0;
        for (size_t i = 0; i < len; i++) {
            unsigned part = rest << 8 | number[i];
            number[i] = (uint8_t)(part / 36);
            rest = part % 36;
        }
        ret_text[pos] = digits[rest];
    }
    for (size_t i = 0; i < len; i++)
        assert(number[i] == 0);
    ret_text[width] = '\0';
}

bool sw_base36_decode(const char *text, size_t width, uint8_t *ret_data, size_t len)
{
    assert(len <= BASE36_BYTES_MAX);
    memset(ret_data, 0, len);
    for (size_t pos = 0; pos < width; pos++) {
        int value = digit_value(text[pos]);
        if (value < 0)
            return false;
        unsigned carry = (unsigned)value;
        for (size_t i = len; i-- > 0;) {
            unsigned part = ret_data[i] * 36U + carry;
            ret_data[i] = (uint8_t)part;
            carry = part >> 8;
        }
        if (carry != 0)
            return false;
    }
    return true;
}
