#include "store/read_ahead.h"

#include "base/fail.h"

#include <errno.h>

#define ONWARD_BYTES (64 * KIB)
#define JUMP_BYTES   (4 * KIB) /* what is read for a jump: a series with its chunks, or a chunk, mostly */

void read_ahead_init(struct read_ahead *in, struct file *file, uint64_t end)
{
    *in = (struct read_ahead){.file = file, .end = end};
}

void read_ahead_done(struct read_ahead *in)
{
    mem_free(in->data);
    *in = (struct read_ahead){0};
}

void read_ahead_switch(struct read_ahead *in, struct file *file, uint64_t end)
{
    in->file = file;
    in->end = end;
    in->len = 0;
}

int read_ahead_get(struct read_ahead *in, uint64_t offset, size_t len, const uint8_t **ret_bytes)
{
    if (offset > in->end || len > in->end - offset) {
        return -EBADMSG;
    }
    uint64_t have_end = in->start + in->len;
    if (offset >= in->start && offset + len <= have_end) {
        *ret_bytes = in->data + (offset - in->start);
        return 0;
    }
    bool onward = in->len > 0 && offset >= in->start && offset <= have_end + JUMP_BYTES;
    size_t wanted = (size_t)MIN(MAX((uint64_t)len, onward ? ONWARD_BYTES : JUMP_BYTES), in->end - offset);
    if (wanted > in->capacity) {
        in->capacity = MAX(wanted, ONWARD_BYTES);
        mem_free(in->data);
        in->data = mem_alloc(in->capacity);
    }
    in->len = 0;
    int64_t got = file_read_at(in->file, in->data, wanted, offset);
    if (got < 0) {
        return (int)got;
    }
    in->start = offset;
    in->len = (size_t)got;
    if (in->len < len) {
        return -EBADMSG;
    }
    *ret_bytes = in->data;
    return 0;
}
