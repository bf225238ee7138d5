/* Any text as meta.json and, its checksum made right, as tributary.json. What is taken can be printed and is then taken
 * the same; a refusal has a reason. */
#include "base/crc.h"
#include "base/fail.h"
#include "store/block_meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_meta(struct str text)
{
    struct block_meta meta = {0}, again = {0};
    char reason[BLOCK_REASON_BYTES] = "";
    if (block_meta_parse(text, &meta, reason) == 0) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(2 * BLOCK_META_BYTES_MAX);
        block_meta_print(&meta, &out);
        if (out.len <= BLOCK_META_BYTES_MAX) {
            ASSERT(block_meta_parse(buf_view(&out), &again, reason) == 0);
            ASSERT(block_meta_check(&meta) == block_meta_check(&again));
        }
        ASSERT(meta.min_time_ms <= meta.max_time_ms && meta.source_count == again.source_count);
    } else {
        ASSERT(reason[0] != '\0');
    }
    block_meta_done(&meta);
    block_meta_done(&again);
}

static void check_ours(struct str text)
{
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(2 * BLOCK_META_BYTES_MAX);
    CLEANUP(buf_done) struct buf first = BUF_INIT(2 * BLOCK_META_BYTES_MAX);
    CLEANUP(buf_done) struct buf second = BUF_INIT(2 * BLOCK_META_BYTES_MAX);
    struct block_meta meta = {0}, again = {0};
    char reason[BLOCK_REASON_BYTES] = "";
    if (text.len > BLOCK_META_BYTES_MAX / 2) {
        return;
    }
    buf_append_str(&sealed, text);
    buf_printf(&sealed, ",\"crc32c\":\"%08x\"}\n", crc32c(0, text.ptr, text.len));
    if (block_meta_parse_ours(buf_view(&sealed), &meta, reason) == 0) {
        ASSERT(meta.ours && strlen(meta.class) <= BLOCK_CLASS_BYTES_MAX);
        block_meta_print_ours(&meta, &first);
        if (block_meta_parse_ours(buf_view(&first), &again, reason) ==
            0) { /* U+FFFD takes more room than what it replaces */
            block_meta_print_ours(&again, &second);
            ASSERT(str_equal(buf_view(&first), buf_view(&second)));
        }
    } else {
        ASSERT(reason[0] != '\0');
    }
    block_meta_done(&meta);
    block_meta_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_meta(str_of(data, size));
    check_ours(str_of(data, size));
    return 0;
}
