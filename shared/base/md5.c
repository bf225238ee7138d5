#include "base/md5.h"

struct md5 {
    uint32_t a, b, c, d;
};

static uint32_t rotate_left(uint32_t value, unsigned bits)
{
    return value << bits | value >> (32 - bits);
}

static uint32_t read_le32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void add_block(struct md5 *state, const uint8_t block[static 64])
{
    static const uint8_t shifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    /* floor(2^32 * abs(sin(i + 1))) */
    static const uint32_t sines[64] = {
        0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
        0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
        0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
        0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
        0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
        0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
        0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
        0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
    };
    uint32_t a = state->a, b = state->b, c = state->c, d = state->d;
    for (unsigned i = 0; i < 64; i++) {
        uint32_t mixed;
        unsigned word;
        switch (i / 16) {
        case 0:
            mixed = (b & c) | (~b & d);
            word = i;
            break;
        case 1:
            mixed = (d & b) | (~d & c);
            word = (5 * i + 1) % 16;
            break;
        case 2:
            mixed = b ^ c ^ d;
            word = (3 * i + 5) % 16;
            break;
        default:
            mixed = c ^ (b | ~d);
            word = 7 * i % 16;
        }
        uint32_t next = b + rotate_left(a + mixed + sines[i] + read_le32(block + 4 * word), shifts[i / 16][i % 4]);
        a = d;
        d = c;
        c = b;
        b = next;
    }
    state->a += a;
    state->b += b;
    state->c += c;
    state->d += d;
}

void md5_of(struct str text, uint8_t ret_digest[static 16])
{
    struct md5 state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    size_t whole = text.len / 64 * 64;
    for (size_t at = 0; at < whole; at += 64)
        add_block(&state, (const uint8_t *)text.ptr + at);

    /* What is left, a bit of 1, zeros, and the length in bits. */
    uint8_t tail[128] = {0};
    size_t rest = text.len - whole;
    if (rest > 0)
        memcpy(tail, text.ptr + whole, rest);
    tail[rest] = 0x80;
    size_t tail_bytes = rest < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)text.len * 8;
    for (size_t i = 0; i < 8; i++)
        tail[tail_bytes - 8 + i] = (uint8_t)(bits >> (8 * i));
    for (size_t at = 0; at < tail_bytes; at += 64)
        add_block(&state, tail + at);

    const uint32_t words[4] = {state.a, state.b, state.c, state.d};
    for (size_t i = 0; i < 16; i++)
        ret_digest[i] = (uint8_t)(words[i / 4] >> (8 * (i % 4)));
}
