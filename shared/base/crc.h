#pragma once
/* Hashes and checksums. */
#include "base/defs.h"

/* CRC32C (Castagnoli), as in Prometheus' files; SSE4.2 or ARMv8 instructions where there are any. Continue with the
 * value of the part before; start with 0. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The same without such instructions: what crc32c is on other machines, and what it is tested against. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

/* Content hash of 128 bits (XXH3-128, canonical big-endian bytes). */
struct hash128 {
    uint8_t bytes[16];
};
struct hash128 hash128_of(const void *data, size_t len);
bool hash128_equal(struct hash128 a, struct hash128 b);
uint64_t hash128_low(struct hash128 hash); /* for map keys */
void hash128_hex(struct hash128 hash, char ret_text[static 33]);
uint64_t hash64(const void *data, size_t len, uint64_t seed); /* XXH3-64 */
