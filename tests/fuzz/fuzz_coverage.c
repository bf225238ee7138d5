/* The file of the coverage: refused, or read so that it can be looked at, added to, and says the same when it is
 * written out again. The checksum is put behind the input here. */
#include "base/crc.h"
#include "base/fail.h"
#include "base/json_write.h"
#include "coverage/coverage.h"

#define NOW_MS INT64_C(1700035980000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(struct coverage *coverage, int64_t start_ms, int64_t end_ms)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(64 * MIB);
    CLEANUP(buf_done) struct buf warnings = BUF_INIT(64 * KIB);
    struct coverage_range range = {start_ms, end_ms, NULL, NULL};
    struct json_writer json;
    json_begin(&json, &out);
    json_array(&json);
    coverage_write(coverage, &range, &json, &warnings);
    coverage_write_sources(coverage, &range, &json);
    json_array_end(&json);
}

static void save(struct coverage *coverage, struct buf *out)
{
    uint64_t position;
    buf_reset(out);
    coverage_save(coverage, out, &position);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(NOW_MS);
    CLEANUP(coverage_freep) struct coverage *coverage = coverage_new(clock);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(COVERAGE_FILE_BYTES_MAX);
    CLEANUP(buf_done) struct buf again = BUF_INIT(COVERAGE_FILE_BYTES_MAX);
    buf_append(&bytes, data, size);
    buf_append_le32(&bytes, crc32c(0, bytes.data, bytes.len));
    if (coverage_decode(coverage, buf_view(&bytes)) < 0)
        return 0;
    save(coverage, &bytes);
    ASSERT(coverage_decode(coverage, buf_view(&bytes)) == 0);
    save(coverage, &again);
    ASSERT(bytes.len == again.len && memcmp(bytes.data, again.data, bytes.len) == 0);
    look(coverage, INT64_MIN / 4, INT64_MAX / 4);
    look(coverage, NOW_MS - 300000, NOW_MS);
    struct spool_batch gap = {.source = {STR("dc1"), STR("rack-1"), 7},
                              .epoch = 1,
                              .seq = 1,
                              .seq_end = 1 + size,
                              .window_start_ms = NOW_MS - 600000,
                              .window_end_ms = NOW_MS};
    coverage_take_gap(coverage, &gap);
    look(coverage, NOW_MS - 3600000, NOW_MS);
    coverage_forget(coverage, NOW_MS - 300000);
    look(coverage, NOW_MS - 3600000, NOW_MS);
    return 0;
}
