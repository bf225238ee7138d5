/* A snapshot of the head of any frames: u16 length, bytes; checksums are made right here, or nothing would get past
 * them. Opening ends, with what the snapshot says or an empty head, which can be read and written. */
#include "base/crc.h"
#include "base/fail.h"
#include "base/file.h"
#include "store/store_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void frames_of(struct reader *reader, struct buf *out)
{
    while (reader_left(reader) > 2) {
        size_t len = reader_byte(reader);
        len |= (size_t)reader_byte(reader) << 8;
        len = MIN(len, reader_left(reader));
        struct str bytes = reader_bytes(reader, len);
        buf_append_le32(out, (uint32_t)len);
        buf_append_le32(out, crc32c(0, bytes.ptr, len));
        buf_append(out, bytes.ptr, len);
    }
}

static void use(struct store *store)
{
    struct matcher matcher;
    char error[256];
    ASSERT(matcher_init(&matcher, MATCH_NOT_EQUAL, STR("__name__"), STR(""), error) == 0);
    struct select_range range = {.start_ms = INT64_MIN, .end_ms = INT64_MAX};
    struct select *select = NULL;
    struct labels *series = NULL;
    ASSERT(select_open(store, &matcher, 1, &range, &select) == 0);
    while (select_next(select, &series) > 0) {
        struct sample_reader *reader = NULL;
        struct sample samples[64];
        reader = sample_reader_new(select, SELECT_LAST);
        sample_reader_current(reader);
        for (int i = 0; i < 1000 && sample_reader_read(reader, samples, ARRAY_LEN(samples)) != 0; i++) {
        }
        sample_reader_free(reader);
    }
    select_free(select);
    matcher_done(&matcher);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct retention_class class = {.name = "default", .keep_ms = 1000000000};
    struct retention *retention = NULL;
    char error[256];
    ASSERT(retention_new(&class, 1, 0, error, &retention) == 0);
    struct clock *clock = clock_simulated_new(INT64_C(1700000000000));
    struct file_system *fs = file_system_memory_new(0);
    struct buf out = BUF_INIT(16 * MIB);
    struct reader reader = reader_of(data, size);
    frames_of(&reader, &out);
    ASSERT(file_make_dirs(fs, "/d/head") == 0);
    ASSERT(file_write_whole(fs, "/d/head/snapshot", out.data ? out.data : (const uint8_t *)"", out.len) == 0);
    ASSERT(file_write_whole(fs, "/d/head/00000001.spill", "0123456789abcdef", 16) == 0);
    struct store_options options = {
        .max_age_ms = 86400000, .series_max = 1000, .fs = fs, .data_dir = "/d", .retention = retention};
    struct store *store = NULL;
    ASSERT(store_open(clock, &options, error, NULL, &store) == 0);
    use(store);
    store_free(store);
    buf_done(&out);
    file_system_free(fs);
    clock_free(clock);
    retention_unref(retention);
    return 0;
}
