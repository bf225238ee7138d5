#include "net/http_gzip.h"

#include <errno.h>
#include <libdeflate.h>
#include <strings.h>

#define PACK_LEVEL 1 /* answers are packed on the fly: the fastest level has most of the gain on text */
/* First guess of the unpacked size; doubled until it fits or the ceiling is reached. */
#define UNPACK_RATIO     4
#define UNPACK_BYTES_MIN ((size_t)4 * KIB)
#define GZIP_BYTES_MIN   18 /* header and trailer of an empty member */

/* "gzip" or "*" with a quality that is not zero; anything after q= but zeros and a point is more than zero. */
static bool item_allows(struct str item)
{
    size_t semicolon = str_find(item, ';');
    struct str name = str_trim(str_of(item.ptr, semicolon));
    bool named = (name.len == 4 && strncasecmp(name.ptr, "gzip", 4) == 0) || str_equal(name, STR("*"));
    if (!named)
        return false;
    if (semicolon == item.len)
        return true;
    struct str weight = str_trim(str_of(item.ptr + semicolon + 1, item.len - semicolon - 1));
    if (weight.len < 2 || strncasecmp(weight.ptr, "q=", 2) != 0)
        return true;
    for (size_t i = 2; i < weight.len; i++)
        if (weight.ptr[i] >= '1' && weight.ptr[i] <= '9')
            return true;
    return false;
}

bool http_gzip_accepted(struct str accept_encoding)
{
    while (accept_encoding.len > 0) {
        size_t comma = str_find(accept_encoding, ',');
        if (item_allows(str_of(accept_encoding.ptr, comma)))
            return true;
        size_t used = MIN(comma + 1, accept_encoding.len);
        accept_encoding = str_of(accept_encoding.ptr + used, accept_encoding.len - used);
    }
    return false;
}

int http_gzip_pack(struct str text, struct buf *out)
{
    struct libdeflate_compressor *compressor = libdeflate_alloc_compressor(PACK_LEVEL);
    if (!compressor)
        return -ENOMEM;
    size_t bound = libdeflate_gzip_compress_bound(compressor, text.len);
    uint8_t *room = buf_reserve(out, bound);
    size_t len = room ? libdeflate_gzip_compress(compressor, text.ptr, text.len, room, bound) : 0;
    libdeflate_free_compressor(compressor);
    if (len == 0)
        return -EMSGSIZE;
    buf_added(out, len);
    return 0;
}

/* One member; *ret_used: its packed bytes. */
static int unpack_member(struct libdeflate_decompressor *decompressor, struct str packed, struct buf *out,
                         size_t *ret_used)
{
    size_t room_max = out->bytes_max - out->len;
    size_t room = MIN(MAX(packed.len * UNPACK_RATIO, UNPACK_BYTES_MIN), room_max);
    for (;;) {
        uint8_t *at = buf_reserve(out, room);
        if (!at)
            return -EMSGSIZE;
        size_t len = 0;
        enum libdeflate_result result =
            libdeflate_gzip_decompress_ex(decompressor, packed.ptr, packed.len, at, room, ret_used, &len);
        if (result == LIBDEFLATE_SUCCESS) {
            buf_added(out, len);
            return 0;
        }
        if (result != LIBDEFLATE_INSUFFICIENT_SPACE)
            return -EBADMSG;
        if (room == room_max)
            return -EMSGSIZE;
        room = room > room_max / 2 ? room_max : room * 2;
    }
}

int http_gzip_unpack(struct str packed, struct buf *out)
{
    struct libdeflate_decompressor *decompressor = libdeflate_alloc_decompressor();
    if (!decompressor)
        return -ENOMEM;
    int error = packed.len < GZIP_BYTES_MIN ? -EBADMSG : 0;
    while (error == 0 && packed.len > 0) {
        size_t used = 0;
        error = unpack_member(decompressor, packed, out, &used);
        if (error == 0)
            packed = str_of(packed.ptr + used, packed.len - used);
    }
    libdeflate_free_decompressor(decompressor);
    return error;
}
