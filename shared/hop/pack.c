#include "hop/pack.h"

#include <errno.h>
#include <msgpack.h>

#define PACK_RECORD_FIELDS_MAX 64 /* of one record; more is no version of ours */

static int write_to_buf(void *data, const char *bytes, size_t len)
{
    return buf_append(data, bytes, len) < 0 ? -1 : 0;
}

static msgpack_packer packer_of(struct buf *out)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, write_to_buf);
    return packer;
}

/* msgpack-c passes on only that its callback failed; the one reason there is, is a full buffer. */
static int packed(int result)
{
    return result < 0 ? -EMSGSIZE : 0;
}

int pack_nil(struct buf *out)
{
    msgpack_packer packer = packer_of(out);
    return packed(msgpack_pack_nil(&packer));
}

int pack_bool(struct buf *out, bool value)
{
    msgpack_packer packer = packer_of(out);
    return packed(value ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer));
}

int pack_uint(struct buf *out, uint64_t value)
{
    msgpack_packer packer = packer_of(out);
    return packed(msgpack_pack_uint64(&packer, value));
}

int pack_int(struct buf *out, int64_t value)
{
    msgpack_packer packer = packer_of(out);
    return packed(msgpack_pack_int64(&packer, value));
}

int pack_double(struct buf *out, double value)
{
    msgpack_packer packer = packer_of(out);
    return packed(msgpack_pack_double(&packer, value));
}

int pack_str(struct buf *out, struct str text)
{
    msgpack_packer packer = packer_of(out);
    int result = packed(msgpack_pack_str(&packer, text.len));
    return result < 0 || text.len == 0 ? result : packed(msgpack_pack_str_body(&packer, text.ptr, text.len));
}

int pack_bin(struct buf *out, const void *bytes, size_t len)
{
    msgpack_packer packer = packer_of(out);
    int result = packed(msgpack_pack_bin(&packer, len));
    return result < 0 || len == 0 ? result : packed(msgpack_pack_bin_body(&packer, bytes, len));
}

int pack_array(struct buf *out, uint32_t count)
{
    msgpack_packer packer = packer_of(out);
    return packed(msgpack_pack_array(&packer, count));
}

int pack_map(struct buf *out, uint32_t pairs)
{
    msgpack_packer packer = packer_of(out);
    return packed(msgpack_pack_map(&packer, pairs));
}

/* ---- Reading ---- */

struct unpack unpack_of(const void *bytes, size_t len)
{
    return (struct unpack){reader_of(bytes, len)};
}

static enum pack_type type_of(uint8_t byte)
{
    if (byte < 0x80 || byte >= 0xe0 || (byte >= 0xcc && byte <= 0xd3))
        return PACK_INT;
    if (byte < 0x90 || byte == 0xde || byte == 0xdf)
        return PACK_MAP;
    if (byte < 0xa0 || byte == 0xdc || byte == 0xdd)
        return PACK_ARRAY;
    if (byte < 0xc0 || (byte >= 0xd9 && byte <= 0xdb))
        return PACK_STR;
    if (byte == 0xc0)
        return PACK_NIL;
    if (byte == 0xc2 || byte == 0xc3)
        return PACK_BOOL;
    if (byte >= 0xc4 && byte <= 0xc6)
        return PACK_BIN;
    if (byte == 0xca || byte == 0xcb)
        return PACK_DOUBLE;
    return byte == 0xc1 ? PACK_END : PACK_EXT;
}

enum pack_type unpack_peek(const struct unpack *unpack)
{
    if (unpack->in.bad || reader_left(&unpack->in) == 0)
        return PACK_END;
    return type_of(*unpack->in.at);
}

static uint64_t big_endian(struct unpack *unpack, size_t len)
{
    struct str bytes = reader_bytes(&unpack->in, len);
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.len; i++)
        value = value << 8 | (uint8_t)bytes.ptr[i];
    return value;
}

/* The first byte, where the next object is of this type; bad otherwise. */
static uint8_t lead(struct unpack *unpack, enum pack_type type)
{
    if (unpack_peek(unpack) != type)
        unpack->in.bad = true;
    return reader_byte(&unpack->in);
}

void unpack_nil(struct unpack *unpack)
{
    lead(unpack, PACK_NIL);
}

bool unpack_bool(struct unpack *unpack)
{
    return lead(unpack, PACK_BOOL) == 0xc3;
}

/* Magnitude as two's complement, and whether it is negative. */
static uint64_t integer(struct unpack *unpack, bool *ret_negative)
{
    uint8_t byte = lead(unpack, PACK_INT);
    *ret_negative = false;
    if (byte < 0x80)
        return byte;
    if (byte >= 0xe0) {
        *ret_negative = true;
        return (uint64_t)(int64_t)(int8_t)byte;
    }
    if (byte <= 0xcf)
        return big_endian(unpack, (size_t)1 << (byte - 0xcc));
    unsigned bits = 8U << (byte - 0xd0);
    uint64_t value = big_endian(unpack, bits / 8);
    if (value >> (bits - 1)) {
        *ret_negative = true;
        if (bits < 64)
            value |= UINT64_MAX << bits;
    }
    return value;
}

uint64_t unpack_uint(struct unpack *unpack, uint64_t max)
{
    bool negative;
    uint64_t value = integer(unpack, &negative);
    if (negative || value > max)
        unpack->in.bad = true;
    return unpack->in.bad ? 0 : value;
}

int64_t unpack_int(struct unpack *unpack)
{
    bool negative;
    uint64_t value = integer(unpack, &negative);
    if (!negative && value > INT64_MAX)
        unpack->in.bad = true;
    return unpack->in.bad ? 0 : (int64_t)value;
}

double unpack_double(struct unpack *unpack)
{
    if (lead(unpack, PACK_DOUBLE) == 0xca) {
        uint32_t bits = (uint32_t)big_endian(unpack, 4);
        float value;
        memcpy(&value, &bits, sizeof(value));
        return unpack->in.bad ? 0 : (double)value;
    }
    uint64_t bits = big_endian(unpack, 8);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return unpack->in.bad ? 0 : value;
}

static struct str view(struct unpack *unpack, uint64_t len, size_t bytes_max)
{
    if (len > bytes_max)
        unpack->in.bad = true;
    return unpack->in.bad ? STR_NULL : reader_bytes(&unpack->in, (size_t)len);
}

struct str unpack_str(struct unpack *unpack, size_t bytes_max)
{
    uint8_t byte = lead(unpack, PACK_STR);
    uint64_t len = byte < 0xc0 ? (uint64_t)(byte & 0x1f) : big_endian(unpack, (size_t)1 << (byte - 0xd9));
    return view(unpack, len, bytes_max);
}

struct str unpack_bin(struct unpack *unpack, size_t bytes_max)
{
    uint8_t byte = lead(unpack, PACK_BIN);
    if (unpack->in.bad)
        return STR_NULL;
    return view(unpack, big_endian(unpack, (size_t)1 << (byte - 0xc4)), bytes_max);
}

static uint32_t counted(struct unpack *unpack, uint64_t count, uint64_t count_max, size_t item_bytes)
{
    if (count > count_max || count * item_bytes > reader_left(&unpack->in))
        unpack->in.bad = true;
    return unpack->in.bad ? 0 : (uint32_t)count;
}

uint32_t unpack_array(struct unpack *unpack, uint32_t count_max)
{
    uint8_t byte = lead(unpack, PACK_ARRAY);
    if (unpack->in.bad)
        return 0;
    uint64_t count = byte < 0xa0 ? (uint64_t)(byte & 0x0f) : big_endian(unpack, (size_t)2 << (byte - 0xdc));
    return counted(unpack, count, count_max, 1);
}

uint32_t unpack_map(struct unpack *unpack, uint32_t pairs_max)
{
    uint8_t byte = lead(unpack, PACK_MAP);
    if (unpack->in.bad)
        return 0;
    uint64_t pairs = byte < 0x90 ? (uint64_t)(byte & 0x0f) : big_endian(unpack, (size_t)2 << (byte - 0xde));
    return counted(unpack, pairs, pairs_max, 2);
}

uint32_t unpack_record(struct unpack *unpack, uint32_t fields_min)
{
    uint32_t count = unpack_array(unpack, PACK_RECORD_FIELDS_MAX);
    if (count < fields_min)
        unpack->in.bad = true;
    return unpack->in.bad ? 0 : count;
}

static void skip_ext(struct unpack *unpack)
{
    uint8_t byte = reader_byte(&unpack->in);
    uint64_t len = byte >= 0xd4 ? (uint64_t)1 << (byte - 0xd4) : big_endian(unpack, (size_t)1 << (byte - 0xc7));
    view(unpack, len + 1, SIZE_MAX); /* one byte of type */
}

/* One object that has none inside; for arrays and maps their head, and how many objects follow. */
static uint64_t skip_one(struct unpack *unpack)
{
    bool negative;
    switch (unpack_peek(unpack)) {
    case PACK_NIL:
    case PACK_BOOL:
        reader_byte(&unpack->in);
        return 0;
    case PACK_INT:
        integer(unpack, &negative);
        return 0;
    case PACK_DOUBLE:
        unpack_double(unpack);
        return 0;
    case PACK_STR:
        unpack_str(unpack, SIZE_MAX);
        return 0;
    case PACK_BIN:
        unpack_bin(unpack, SIZE_MAX);
        return 0;
    case PACK_ARRAY:
        return unpack_array(unpack, UINT32_MAX);
    case PACK_MAP:
        return 2 * (uint64_t)unpack_map(unpack, UINT32_MAX);
    case PACK_EXT:
        skip_ext(unpack);
        return 0;
    case PACK_END:
        break;
    }
    unpack->in.bad = true;
    return 0;
}

/* Every object takes a byte at least, so the steps are bounded by the bytes; the depth by the stack here. */
void unpack_skip(struct unpack *unpack, uint64_t count)
{
    uint64_t left[PACK_DEPTH_MAX] = {count};
    size_t depth = 1;
    while (depth > 0 && !unpack->in.bad) {
        if (left[depth - 1] == 0) {
            depth--;
            continue;
        }
        left[depth - 1]--;
        uint64_t inside = skip_one(unpack);
        if (inside == 0)
            continue;
        if (depth == PACK_DEPTH_MAX)
            unpack->in.bad = true;
        else
            left[depth++] = inside;
    }
}

bool unpack_done(const struct unpack *unpack)
{
    return !unpack->in.bad && reader_left(&unpack->in) == 0;
}
