#include "net/http_gunzip.h"

#include "base/fail.h"

#include <errno.h>
#include <zlib.h>

#define GZIP_ONLY   (16 + MAX_WBITS) /* zlib's way to say: gzip's header and checksum, no other's */
#define PIECE_BYTES (16 * KIB)       /* handed on at a time */

struct http_gunzip {
    z_stream stream;
    bool inside; /* a member has begun and not ended */
    uint8_t piece[PIECE_BYTES];
};

struct http_gunzip *http_gunzip_new(void)
{
    struct http_gunzip *gunzip = mem_zalloc(sizeof(*gunzip));
    if (inflateInit2(&gunzip->stream, GZIP_ONLY) != Z_OK)
        fatal("zlib does not start");
    return gunzip;
}

void http_gunzip_free(struct http_gunzip *gunzip)
{
    if (!gunzip)
        return;
    inflateEnd(&gunzip->stream);
    mem_free(gunzip);
}

/* Fills one piece, or takes all that is left, and hands it on. */
static int unpack_piece(struct http_gunzip *gunzip, http_gunzip_fn *fn, void *arg)
{
    z_stream *stream = &gunzip->stream;
    stream->next_out = gunzip->piece;
    stream->avail_out = PIECE_BYTES;
    int state = inflate(stream, Z_NO_FLUSH);
    if (state != Z_OK && state != Z_STREAM_END && state != Z_BUF_ERROR)
        return -EBADMSG;
    size_t len = PIECE_BYTES - stream->avail_out;
    int error = len > 0 ? fn(arg, str_of(gunzip->piece, len)) : 0;
    if (error < 0)
        return error;
    gunzip->inside = state != Z_STREAM_END;
    if (state == Z_STREAM_END && inflateReset(stream) != Z_OK)
        return -EBADMSG;
    return 0;
}

int http_gunzip_feed(struct http_gunzip *gunzip, struct str packed, http_gunzip_fn *fn, void *arg)
{
    z_stream *stream = &gunzip->stream;
    while (packed.len > 0) {
        uInt part = (uInt)MIN(packed.len, (size_t)INT32_MAX);
        stream->next_in = (Bytef *)(uintptr_t)packed.ptr; /* read only, whatever its type says */
        stream->avail_in = part;
        /* A full piece may leave more inside zlib though all input is taken. */
        do {
            int error = unpack_piece(gunzip, fn, arg);
            if (error)
                return error;
        } while (stream->avail_in > 0 || (gunzip->inside && stream->avail_out == 0));
        packed = str_of(packed.ptr + part, packed.len - part);
    }
    return 0;
}

bool http_gunzip_is_whole(const struct http_gunzip *gunzip)
{
    return !gunzip->inside;
}
