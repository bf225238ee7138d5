#pragma once
/* Reads a part of a file through one buffer: reading onward costs a system call every 64 KiB, jumping about one small
 * one each. One thread. */
#include "base/file.h"

struct read_ahead {
    struct file *file; /* not owned */
    uint64_t end;      /* nothing behind it is read */
    uint8_t *data;
    size_t capacity, len;
    uint64_t start; /* where data begins */
};

void read_ahead_init(struct read_ahead *in, struct file *file, uint64_t end);
void read_ahead_done(struct read_ahead *in);
/* len bytes at offset, valid until the next call. The caller has bounded len; -EBADMSG when the end comes before,
 * or the file's own end, as it was cut since; -EIO and the like. */
MUST_CHECK int read_ahead_get(struct read_ahead *in, uint64_t offset, size_t len, const uint8_t **ret_bytes);
/* Forgets what was read, to read from another file. */
void read_ahead_switch(struct read_ahead *in, struct file *file, uint64_t end);
