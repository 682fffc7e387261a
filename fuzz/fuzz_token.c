/* Join tokens: what is accepted is exactly what would be printed for it. */
#include "common/identity/identity.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t root[32], secret[IDENTITY_TOKEN_SECRET_SIZE];
    char again[IDENTITY_TOKEN_SIZE];
    struct sw_err err;
    SW_AUTO_BUF text = { 0 };
    sw_buf_add(&text, data, size);
    if (identity_init(&err) < 0)
        abort();
    if (identity_token_parse(sw_buf_str(&text), root, secret, &err) == 0) {
        identity_token_make(root, secret, again);
        if (strcmp(again, sw_buf_str(&text)) != 0)
            abort();
    }
    return 0;
}
