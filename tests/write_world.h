#pragma once
/* For tests of remote write: requests of any content, as they come over the wire. */
#include "base/fail.h"
#include "metric/labels.h"
#include "metric/sample.h"
#include "tools/bench/snappy_block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define WRITE_REQUEST_BYTES_MAX (64 * MIB)

/* A field that is a message or a text. */
static inline void wire_put(struct buf *out, unsigned field, struct str payload)
{
    assert_int_equal(buf_append_uvarint(out, field << 3 | 2), 0);
    assert_int_equal(buf_append_uvarint(out, payload.len), 0);
    assert_int_equal(buf_append_str(out, payload), 0);
}

static inline void wire_put_label(struct buf *series, const char *name, struct str value)
{
    CLEANUP(buf_done) struct buf label = BUF_INIT(MIB);
    wire_put(&label, 1, str_from(name));
    wire_put(&label, 2, value);
    wire_put(series, 1, buf_view(&label));
}

static inline void wire_put_sample(struct buf *series, int64_t time_ms, double value)
{
    CLEANUP(buf_done) struct buf sample = BUF_INIT(64);
    buf_append_byte(&sample, 0x09);
    buf_append_le64(&sample, double_bits(value));
    buf_append_byte(&sample, 0x10);
    buf_append_uvarint(&sample, (uint64_t)time_ms);
    wire_put(series, 2, buf_view(&sample));
}

/* A series of labels "name=value,name=value", in that order, without samples. */
static inline void wire_labels(struct buf *series, const char *text)
{
    struct str rest = str_from(text);
    while (rest.len > 0) {
        struct str pair = str_of(rest.ptr, str_find(rest, ','));
        char name[64];
        size_t name_len = str_find(pair, '=');
        snprintf(name, sizeof(name), "%.*s", (int)name_len, pair.ptr);
        wire_put_label(series, name, str_of(pair.ptr + name_len + 1, pair.len - name_len - 1));
        size_t used = MIN(pair.len + 1, rest.len);
        rest = str_of(rest.ptr + used, rest.len - used);
    }
}

/* A series with one sample, in the request. */
static inline void wire_series(struct buf *request, const char *labels, int64_t time_ms, double value)
{
    CLEANUP(buf_done) struct buf series = BUF_INIT(MIB);
    wire_labels(&series, labels);
    wire_put_sample(&series, time_ms, value);
    wire_put(request, 1, buf_view(&series));
}

static inline void wire_metadata(struct buf *request, unsigned type, const char *name, const char *help)
{
    CLEANUP(buf_done) struct buf metadata = BUF_INIT(MIB);
    buf_append_byte(&metadata, 0x08);
    buf_append_uvarint(&metadata, type);
    wire_put(&metadata, 2, str_from(name));
    wire_put(&metadata, 4, str_from(help));
    wire_put(request, 3, buf_view(&metadata));
}

static inline void wire_pack(const struct buf *request, struct buf *out)
{
    assert_int_equal(snappy_block_append(out, buf_view(request)), 0);
}
