#include "base/crc.h"

#include <string.h>
#include <xxhash.h>

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#define CRC_STEP_8(crc, value) ((uint32_t)_mm_crc32_u64((crc), (value)))
#define CRC_STEP_1(crc, value) _mm_crc32_u8((crc), (value))
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define CRC_STEP_8(crc, value) __crc32cd((crc), (value))
#define CRC_STEP_1(crc, value) __crc32cb((crc), (value))
#endif

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    /* The remainders of the 16 nibbles by the reversed polynomial 0x82F63B78: two steps a byte, 64 bytes of table. */
    static const uint32_t nibbles[16] = {
        0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
        0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9, 0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
    };
    const uint8_t *at = data;
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= at[i];
        crc = (crc >> 4) ^ nibbles[crc & 15];
        crc = (crc >> 4) ^ nibbles[crc & 15];
    }
    return ~crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
#ifdef CRC_STEP_8
    const uint8_t *at = data;
    crc = ~crc;
    for (; len >= 8; at += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        crc = CRC_STEP_8(crc, word);
    }
    for (; len > 0; at++, len--) {
        crc = CRC_STEP_1(crc, *at);
    }
    return ~crc;
#else
    return crc32c_portable(crc, data, len);
#endif
}

struct hash128 hash128_of(const void *data, size_t len)
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, len));
    struct hash128 hash;
    memcpy(hash.bytes, canonical.digest, sizeof(hash.bytes));
    return hash;
}

bool hash128_equal(struct hash128 a, struct hash128 b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

uint64_t hash128_low(struct hash128 hash)
{
    uint64_t low = 0;
    for (size_t i = 8; i < 16; i++) {
        low = low << 8 | hash.bytes[i];
    }
    return low;
}

void hash128_hex(struct hash128 hash, char ret_text[static 33])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof(hash.bytes); i++) {
        ret_text[2 * i] = digits[hash.bytes[i] >> 4];
        ret_text[2 * i + 1] = digits[hash.bytes[i] & 15];
    }
    ret_text[32] = '\0';
}

uint64_t hash64(const void *data, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, len, seed);
}
