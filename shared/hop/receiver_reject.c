#include "base/file.h"
#include "hop/receiver_internal.h"

#include <stdio.h>

/* Files kept at most; with small rejects the bytes alone would allow millions. */
#define REJECT_FILES_MAX 100
/* A sample for people to look at, not a store: a peer that sends nothing else must not keep the loop at it. */
#define REJECT_INTERVAL_MS 1000

/* Names are "N.batch" with N of 20 digits, so that the order of names is that of time. */
static void next_number(struct receiver *receiver, char **names, size_t count)
{
    uint64_t last;
    if (count > 0 && str_to_u64(str_of(names[count - 1], MIN(strlen(names[count - 1]), (size_t)20)), &last) == 0)
        receiver->reject_number = MAX(receiver->reject_number, last + 1);
}

static uint64_t size_of(struct receiver *receiver, const char *name)
{
    CLEANUP_FREE char *path = mem_printf("%s/%s", receiver->rejects_dir, name);
    CLEANUP(file_closep) struct file *file = NULL;
    return file_open(receiver->seams.fs, path, FILE_READ, &file) == 0 ? file_size(file) : 0;
}

/* Deletes the oldest until `bytes` more fit. */
static void make_room(struct receiver *receiver, uint64_t bytes)
{
    char **names;
    size_t count;
    if (file_list(receiver->seams.fs, receiver->rejects_dir, &names, &count) < 0)
        return;
    next_number(receiver, names, count);
    uint64_t total = bytes;
    for (size_t i = 0; i < count; i++)
        total += size_of(receiver, names[i]);
    size_t left = count + 1;
    for (size_t i = 0; i < count && (total > receiver->options.rejects_bytes_max || left > REJECT_FILES_MAX); i++) {
        CLEANUP_FREE char *path = mem_printf("%s/%s", receiver->rejects_dir, names[i]);
        total -= size_of(receiver, names[i]);
        left--;
        if (file_unlink(receiver->seams.fs, path) < 0)
            break;
    }
    file_names_free(names, count);
}

void receiver_reject(struct receiver *receiver, struct str bytes)
{
    if (!receiver->rejects_dir || bytes.len > receiver->options.rejects_bytes_max ||
        file_make_dirs(receiver->seams.fs, receiver->rejects_dir) < 0)
        return;
    int64_t now_ms = clock_mono_ms(loop_clock(receiver->seams.loop));
    if (now_ms < receiver->reject_next_ms)
        return;
    receiver->reject_next_ms = now_ms + REJECT_INTERVAL_MS;
    make_room(receiver, bytes.len);
    CLEANUP_FREE char *path =
        mem_printf("%s/%020llu.batch", receiver->rejects_dir, (unsigned long long)receiver->reject_number++);
    CLEANUP(file_closep) struct file *file = NULL;
    if (file_open(receiver->seams.fs, path, FILE_CREATE_NEW, &file) == 0 && file_append(file, bytes.ptr, bytes.len) < 0)
        (void)!file_unlink(receiver->seams.fs, path); /* a full disk: what is half is of no use */
}
