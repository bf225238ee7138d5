#include "store/json_seal.h"

#include "base/crc.h"
#include "base/fail.h"

#include <stdio.h>

#define SEAL_START ",\"crc32c\":\""
#define SEAL_END   "\"}"
#define HEX_CHARS  8

void json_seal(struct buf *out)
{
    if (out->full) {
        return;
    }
    ASSERT(out->len > 0 && out->data[out->len - 1] == '}');
    out->len--;
    uint32_t crc = crc32c(0, out->data, out->len);
    buf_printf(out, SEAL_START "%08x" SEAL_END "\n", crc);
}

bool json_seal_holds(struct str json)
{
    size_t start_len = strlen(SEAL_START), end_len = strlen(SEAL_END);
    size_t seal_len = start_len + HEX_CHARS + end_len;
    while (json.len > 0 && (json.ptr[json.len - 1] == '\n' || json.ptr[json.len - 1] == ' ')) {
        json.len--;
    }
    size_t covered = json.len < seal_len ? 0 : json.len - seal_len;
    struct str seal = {json.ptr + covered, json.len - covered};
    if (seal.len < seal_len || !str_starts_with(seal, STR(SEAL_START)) || !str_ends_with(seal, STR(SEAL_END))) {
        return true;
    }
    char hex[HEX_CHARS + 1];
    snprintf(hex, sizeof(hex), "%08x", crc32c(0, json.ptr, covered));
    return memcmp(seal.ptr + start_len, hex, HEX_CHARS) == 0;
}

bool json_is_crowded(struct str json, size_t containers_max)
{
    size_t containers = 0;
    for (size_t i = 0; i < json.len; i++) {
        containers += json.ptr[i] == '[' || json.ptr[i] == '{';
    }
    return containers > containers_max;
}
