#include "store/index_format.h"

#include "base/crc.h"
#include "base/fail.h"
#include "store/be.h"

#include <errno.h>

#define CHUNK_BYTES_MIN 3 /* of one in a series' entry: three numbers */

void index_toc_print(const struct index_toc *toc, struct buf *out)
{
    size_t start = out->len;
    buf_append_be64(out, toc->symbols);
    buf_append_be64(out, toc->series);
    buf_append_be64(out, toc->label_indices);
    buf_append_be64(out, toc->label_offset_table);
    buf_append_be64(out, toc->postings);
    buf_append_be64(out, toc->postings_offset_table);
    buf_append_be32(out, crc32c(0, out->data + start, out->len - start));
}

int index_toc_parse(const uint8_t bytes[static INDEX_TOC_BYTES], struct index_toc *ret_toc)
{
    size_t content = INDEX_TOC_BYTES - INDEX_CRC_BYTES;
    if (crc32c(0, bytes, content) != be32_at(bytes + content)) {
        return -EBADMSG;
    }
    *ret_toc = (struct index_toc){
        .symbols = be64_at(bytes),
        .series = be64_at(bytes + 8),
        .label_indices = be64_at(bytes + 16),
        .label_offset_table = be64_at(bytes + 24),
        .postings = be64_at(bytes + 32),
        .postings_offset_table = be64_at(bytes + 40),
    };
    return 0;
}

void index_series_done(struct index_series *series)
{
    mem_free(series->chunks);
    series->chunks = NULL;
    series->chunk_count = series->chunk_capacity = 0;
}

void index_series_add_chunk(struct index_series *series, const struct block_chunk *chunk)
{
    if (series->chunk_count == series->chunk_capacity) {
        series->chunk_capacity = MAX(series->chunk_capacity * 2, (size_t)8);
        series->chunks = mem_resize(series->chunks, series->chunk_capacity, sizeof(*series->chunks));
    }
    series->chunks[series->chunk_count++] = *chunk;
}

void index_series_print(const struct index_series *series, struct buf *out)
{
    buf_append_uvarint(out, series->label_count);
    for (size_t i = 0; i < series->label_count; i++) {
        buf_append_uvarint(out, series->labels[i].name);
        buf_append_uvarint(out, series->labels[i].value);
    }
    buf_append_uvarint(out, series->chunk_count);
    const struct block_chunk *before = NULL;
    for (size_t i = 0; i < series->chunk_count; before = &series->chunks[i++]) {
        const struct block_chunk *chunk = &series->chunks[i];
        if (before) {
            ASSERT(chunk->min_time_ms > before->max_time_ms);
            buf_append_uvarint(out, (uint64_t)chunk->min_time_ms - (uint64_t)before->max_time_ms);
        } else {
            buf_append_varint(out, chunk->min_time_ms);
        }
        buf_append_uvarint(out, (uint64_t)chunk->max_time_ms - (uint64_t)chunk->min_time_ms);
        if (before) {
            buf_append_varint(out, (int64_t)(chunk->ref - before->ref));
        } else {
            buf_append_uvarint(out, chunk->ref);
        }
    }
}

int index_series_parse_labels(struct reader *body, uint32_t symbol_count, struct index_series *series)
{
    size_t count = reader_count(body, 2, LABELS_MAX);
    for (size_t i = 0; i < count && !body->bad; i++) {
        uint64_t name = reader_uvarint(body), value = reader_uvarint(body);
        bool in_order = i == 0 || name > series->labels[i - 1].name;
        if (name >= symbol_count || value >= symbol_count || !in_order) {
            return -EBADMSG;
        }
        series->labels[i] = (struct index_label){(uint32_t)name, (uint32_t)value};
    }
    series->label_count = count;
    return body->bad ? -EBADMSG : 0;
}

/* time + distance, bad when that is past what a time can be. */
static int64_t later(struct reader *reader, int64_t time_ms, uint64_t distance_ms)
{
    uint64_t left = (uint64_t)INT64_MAX - (uint64_t)time_ms;
    if (distance_ms > left) {
        reader->bad = true;
        return time_ms;
    }
    return (int64_t)((uint64_t)time_ms + distance_ms);
}

static void parse_chunk(struct reader *body, const struct block_chunk *before, struct block_chunk *chunk)
{
    chunk->min_time_ms = before ? later(body, before->max_time_ms, reader_uvarint(body)) : reader_varint(body);
    chunk->max_time_ms = later(body, chunk->min_time_ms, reader_uvarint(body));
    chunk->ref = before ? before->ref + (uint64_t)reader_varint(body) : reader_uvarint(body);
    if (before && chunk->min_time_ms <= before->max_time_ms) {
        body->bad = true;
    }
}

int index_series_parse(struct str bytes, uint32_t symbol_count, struct index_series *series)
{
    struct reader body = reader_of(bytes.ptr, bytes.len);
    int error = index_series_parse_labels(&body, symbol_count, series);
    if (error) {
        return error;
    }
    series->chunk_count = 0;
    size_t count = reader_count(&body, CHUNK_BYTES_MIN, SIZE_MAX);
    for (size_t i = 0; i < count && !body.bad; i++) {
        struct block_chunk chunk;
        parse_chunk(&body, i > 0 ? &series->chunks[i - 1] : NULL, &chunk);
        index_series_add_chunk(series, &chunk);
    }
    return body.bad || reader_left(&body) > 0 ? -EBADMSG : 0;
}
