#include "store/spill.h"

#include "base/fail.h"

#include <errno.h>
#include <string.h>

int spill_open(struct spill *spill, struct file_system *fs, const char *path, bool keep_all)
{
    *spill = (struct spill){0};
    if (!fs) {
        return 0;
    }
    int result = keep_all ? file_exists(fs, path) : 1;
    if (result <= 0) {
        return result < 0 ? result : -ENOENT;
    }
    result = file_open(fs, path, FILE_APPEND, &spill->file);
    if (result < 0) {
        return result;
    }
    spill->flushed = file_size(spill->file);
    result = keep_all ? 0 : spill_cut(spill, 0);
    if (result < 0) {
        spill_close(spill);
    }
    return result;
}

int spill_cut(struct spill *spill, uint64_t keep)
{
    ASSERT(spill->file && spill->pending_bytes == 0);
    int result = spill->flushed < keep ? -ESTALE : file_truncate(spill->file, keep);
    spill->flushed = result < 0 ? spill->flushed : keep;
    return result;
}

void spill_close(struct spill *spill)
{
    file_close(spill->file);
    mem_free(spill->pending);
    *spill = (struct spill){0};
}

int spill_flush(struct spill *spill)
{
    if (!spill->file || spill->pending_bytes == 0) {
        return 0;
    }
    spill->error = file_append(spill->file, spill->pending, spill->pending_bytes);
    if (spill->error == 0) {
        spill->flushed += spill->pending_bytes;
        spill->pending_bytes = 0;
    }
    return spill->error;
}

uint64_t spill_end(const struct spill *spill)
{
    return spill->flushed + spill->pending_bytes;
}

uint64_t spill_add(struct spill *spill, const void *data, size_t len)
{
    uint64_t offset = spill_end(spill);
    ASSERT(offset + len <= SPILL_BYTES_MAX);
    if (spill->pending_bytes + len > spill->pending_capacity) {
        size_t first = spill->file ? SPILL_PENDING_BYTES + SPILL_PENDING_BYTES / 4 : 4 * KIB;
        spill->pending_capacity = MAX(first, spill->pending_capacity + spill->pending_capacity / 2 + len);
        spill->pending = mem_resize(spill->pending, spill->pending_capacity, 1);
    }
    memcpy(spill->pending + spill->pending_bytes, data, len);
    spill->pending_bytes += len;
    /* After an error: not with every chunk again. */
    if (spill->pending_bytes >= SPILL_PENDING_BYTES &&
        (spill->error == 0 || spill->pending_bytes % SPILL_PENDING_BYTES < len)) {
        (void)spill_flush(spill);
    }
    return offset;
}

const uint8_t *spill_pending(const struct spill *spill, uint64_t offset)
{
    return offset >= spill->flushed ? spill->pending + (offset - spill->flushed) : NULL;
}
