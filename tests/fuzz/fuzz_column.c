/* Bytes as a column, and as values for one. First byte: what to do and whether there are bases; second: how many
 * values; third: bytes of header. */
#include "base/fail.h"
#include "hop/column.h"
#include "metric/sample.h"

#include <errno.h>

#define COUNT_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is taken is taken the same when it is written again: not the same bytes, but the same values. */
static void round_trip(const double *values, const double *bases, size_t count)
{
    CLEANUP(buf_done) struct buf header = BUF_INIT(64 * KIB), payload = BUF_INIT(64 * KIB);
    double got[COUNT_MAX];
    ASSERT(column_encode_doubles(values, bases, count, &header, &payload) == 0);
    struct column_input in = {.header = reader_of(header.data, header.len),
                              .payload = reader_of(payload.data, payload.len)};
    ASSERT(column_decode_doubles(&in, bases, count, got, NULL) == 0);
    ASSERT(reader_left(&in.header) == 0 && reader_left(&in.payload) == 0);
    for (size_t i = 0; i < count; i++)
        ASSERT(double_bits(got[i]) == double_bits(values[i]));
}

static void round_trip_ints(const int64_t *values, size_t count)
{
    CLEANUP(buf_done) struct buf header = BUF_INIT(64 * KIB), payload = BUF_INIT(64 * KIB);
    int64_t got[COUNT_MAX];
    ASSERT(column_encode_ints(values, count, &header, &payload) == 0);
    struct column_input in = {.header = reader_of(header.data, header.len),
                              .payload = reader_of(payload.data, payload.len)};
    ASSERT(column_decode_ints(&in, count, got) == 0);
    ASSERT(memcmp(got, values, count * sizeof(*values)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    double values[COUNT_MAX], bases[COUNT_MAX];
    int64_t numbers[COUNT_MAX];
    if (size < 3)
        return 0;
    size_t count = (size_t)data[1] + 1, header_len = MIN((size_t)data[2], size - 3);
    const uint8_t *bytes = data + 3;
    size -= 3;
    for (size_t i = 0; i < COUNT_MAX; i++)
        bases[i] = (double)i * 0.5 - 7;
    const double *near = data[0] & 2 ? bases : NULL;
    if (data[0] & 1) {
        count = MIN(size / sizeof(double), (size_t)COUNT_MAX);
        memcpy(values, bytes, count * sizeof(double));
        memcpy(numbers, bytes, count * sizeof(double));
        if (count > 0) {
            round_trip(values, near, count);
            round_trip_ints(numbers, count);
        }
        return 0;
    }
    const struct column_input whole = {.header = reader_of(bytes, header_len),
                                       .payload = reader_of(bytes + header_len, size - header_len)};
    struct column_input in = whole;
    int error = column_decode_doubles(&in, near, count, values, NULL);
    ASSERT(error == 0 || error == -EBADMSG);
    if (error == 0)
        round_trip(values, near, count);
    in = whole;
    error = column_decode_ints(&in, count, numbers);
    ASSERT(error == 0 || error == -EBADMSG);
    if (error == 0)
        round_trip_ints(numbers, count);
    return 0;
}
