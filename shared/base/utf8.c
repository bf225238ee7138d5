#include "base/utf8.h"
#include "base/fail.h"

size_t utf8_decode(struct str text, size_t at, uint32_t *ret_rune)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000}; /* by length: a shorter form must not be longer */
    uint8_t first = (uint8_t)text.ptr[at];
    if (first < 0x80) {
        *ret_rune = first;
        return 1;
    }
    size_t len = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || len > text.len - at)
        return 0;
    uint32_t rune = first & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        uint8_t byte = (uint8_t)text.ptr[at + i];
        if ((byte & 0xc0) != 0x80)
            return 0;
        rune = rune << 6 | (byte & 0x3f);
    }
    if (rune < smallest[len] || rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff))
        return 0;
    *ret_rune = rune;
    return len;
}

size_t utf8_encode(uint32_t rune, char ret_bytes[static 4])
{
    ASSERT(rune <= 0x10ffff);
    if (rune < 0x80) {
        ret_bytes[0] = (char)rune;
        return 1;
    }
    size_t len = rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; rune >>= 6)
        ret_bytes[i] = (char)(0x80 | (rune & 0x3f));
    ret_bytes[0] = (char)((0xf00u >> len & 0xff) | rune);
    return len;
}
