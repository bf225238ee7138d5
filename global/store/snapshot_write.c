#include "store/snapshot.h"

#include "base/crc.h"
#include "base/fail.h"
#include "store/snapshot_format.h"
#include "store/store_internal.h"

#include <errno.h>

#define SLICE_SERIES 1024 /* looked at under one hold of a lock */
#define EXTRA_BYTES  (512 * KIB)

#define NO_NUMBER    UINT32_MAX

struct writer {
    struct store *store;
    struct file *file;
    struct buf frame;
    uint32_t *numbers; /* by pair: its number in the snapshot, or NO_NUMBER */
    uint32_t pair_count;
    int error;
};

static void begin(struct writer *writer, uint8_t what)
{
    buf_reset(&writer->frame);
    buf_append_byte(&writer->frame, what);
}

static void flush(struct writer *writer)
{
    uint8_t head[8];
    uint32_t len = (uint32_t)writer->frame.len, crc = crc32c(0, writer->frame.data, writer->frame.len);
    if (writer->error == 0 && writer->frame.full) {
        writer->error = -EMSGSIZE;
    }
    if (writer->error == 0 && store_is_cancelled(writer->store)) {
        writer->error = -ECANCELED;
    }
    memcpy(head, &len, sizeof(len));
    memcpy(head + sizeof(len), &crc, sizeof(crc));
    writer->error = writer->error < 0 ? writer->error : file_append(writer->file, head, sizeof(head));
    writer->error =
        writer->error < 0 ? writer->error : file_append(writer->file, writer->frame.data, writer->frame.len);
}

/* Writes the frame when it is long enough, and goes on with another of its kind. */
static void flush_full(struct writer *writer)
{
    if (writer->frame.len >= SNAPSHOT_FRAME_BYTES) {
        uint8_t what = writer->frame.data[0];
        flush(writer);
        begin(writer, what);
    }
}

static void add_str(struct buf *frame, struct str text)
{
    buf_append_uvarint(frame, text.len);
    buf_append_str(frame, text);
}

/* Both lists grow while this goes on; what comes later is not asked for by a series that is written. */
static void write_pairs(struct writer *writer)
{
    struct head *head = &writer->store->head;
    uint32_t count = writer->pair_count, number = 0;
    writer->numbers = mem_resize(NULL, count, sizeof(*writer->numbers));
    begin(writer, SNAPSHOT_PAIRS);
    for (uint32_t from = 0; from < count; from += SLICE_SERIES) {
        head_read_lock(&head->index_lock);
        for (uint32_t pair = from; pair < MIN(from + SLICE_SERIES, count); pair++) {
            writer->numbers[pair] = head->postings.pairs[pair] ? number++ : NO_NUMBER;
            if (head->postings.pairs[pair]) {
                struct label label = postings_pair(&head->postings, pair);
                add_str(&writer->frame, label.name);
                add_str(&writer->frame, label.value);
            }
        }
        pthread_rwlock_unlock(&head->index_lock);
        flush_full(writer);
    }
    flush(writer);
}

static void write_series(struct writer *writer, uint32_t slot_count)
{
    struct head *head = &writer->store->head;
    begin(writer, SNAPSHOT_SERIES);
    for (series_ref from = 0; from < slot_count; from += SLICE_SERIES) {
        head_read_lock(&head->index_lock);
        for (series_ref ref = from; ref < MIN(from + SLICE_SERIES, slot_count); ref++) {
            const struct series *series = head_at(head, ref);
            const uint32_t *pairs = series ? series_pairs(series) : NULL;
            bool known = series != NULL;
            for (size_t i = 0; known && i < series->pair_count; i++) {
                known = pairs[i] < writer->pair_count && writer->numbers[pairs[i]] != NO_NUMBER;
            }
            if (!known) {
                continue; /* nobody, or made since: replayed */
            }
            buf_append_uvarint(&writer->frame, ref);
            buf_append_byte(&writer->frame, series->kind);
            buf_append_byte(&writer->frame, series->pair_count);
            for (size_t i = 0; i < series->pair_count; i++) {
                buf_append_uvarint(&writer->frame, writer->numbers[pairs[i]]);
            }
        }
        pthread_rwlock_unlock(&head->index_lock);
        flush_full(writer);
    }
    flush(writer);
}

static void add_chunk(struct buf *frame, const struct chunk *chunk)
{
    uint32_t len = chunk ? (uint32_t)chunk_data_bytes(chunk) : 0;
    buf_append_byte(frame, chunk && chunk->entries > 0);
    if (chunk && chunk->entries > 0) {
        struct chunk header;
        chunk_header(chunk, &header);
        buf_append(frame, &header, sizeof(header));
        buf_append(frame, chunk->data, len);
    }
}

static void add_strand(struct buf *frame, series_ref ref, const struct strand *strand)
{
    const struct strand_rest *rest = strand->rest;
    size_t count = rest ? rest->count : 0;
    buf_append_uvarint(frame, ref);
    add_chunk(frame, strand->open);
    add_chunk(frame, rest ? rest->late : NULL);
    buf_append_uvarint(frame, count);
    if (count > 0) {
        buf_append(frame, rest->pieces, count * sizeof(*rest->pieces));
    }
}

static void write_partition(struct writer *writer, const struct partition *partition, uint32_t slot_count)
{
    struct head *head = &writer->store->head;
    begin(writer, SNAPSHOT_PARTITION);
    head_read_lock(&head->data_lock);
    const uint64_t fields[] = {(uint64_t)partition->start_ms,
                               partition->number,
                               partition->first_position,
                               partition->last_position,
                               (uint64_t)partition->began_ms,
                               (uint64_t)partition->touched_ms,
                               (uint64_t)partition->min_time_ms,
                               (uint64_t)partition->max_time_ms,
                               partition->sealed,
                               partition->late};
    pthread_rwlock_unlock(&head->data_lock);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        buf_append_le64(&writer->frame, fields[i]);
    }
    flush(writer);
    begin(writer, SNAPSHOT_STRANDS);
    for (series_ref from = 0; from < slot_count && writer->error == 0; from += PARTITION_PAGE) {
        head_read_lock(&head->data_lock);
        for (series_ref ref = from;
             partition->pages[from / PARTITION_PAGE] && ref < MIN(from + PARTITION_PAGE, slot_count); ref++) {
            const struct strand *strand = partition_strand(partition, ref);
            if (strand) {
                add_strand(&writer->frame, ref, strand);
            }
        }
        pthread_rwlock_unlock(&head->data_lock);
        flush_full(writer);
    }
    flush(writer);
}

static void write_extra(struct writer *writer, struct str extra)
{
    while (extra.len > 0) {
        size_t len = MIN(extra.len, EXTRA_BYTES);
        begin(writer, SNAPSHOT_EXTRA);
        buf_append(&writer->frame, extra.ptr, len);
        flush(writer);
        extra = str_of(extra.ptr + len, extra.len - len);
    }
}

/* All pieces that were written lie before the end that is taken here; it is on disk before the snapshot is. */
static void write_end(struct writer *writer, struct partition *const *partitions, size_t count)
{
    begin(writer, SNAPSHOT_END);
    for (size_t i = 0; i < count && writer->error == 0; i++) {
        struct partition *partition = partitions[i];
        head_write_lock(&writer->store->head.data_lock);
        writer->error = partition->spill.file ? spill_flush(&partition->spill) : -ENOTSUP;
        uint64_t end = spill_end(&partition->spill);
        pthread_rwlock_unlock(&writer->store->head.data_lock);
        writer->error = writer->error < 0 ? writer->error : file_sync(partition->spill.file);
        buf_append_le64(&writer->frame, end);
    }
    flush(writer);
}

static void write_all(struct writer *writer, struct partition *const *partitions, size_t count, struct str extra,
                      uint64_t position)
{
    struct head *head = &writer->store->head;
    begin(writer, SNAPSHOT_BEGIN);
    buf_append_le64(&writer->frame, SNAPSHOT_MAGIC);
    buf_append_le32(&writer->frame, SNAPSHOT_LAYOUT);
    buf_append_le64(&writer->frame, position);
    flush(writer);
    head_read_lock(&head->index_lock);
    uint32_t slot_count = head->slot_count;
    writer->pair_count = head->postings.pair_count;
    pthread_rwlock_unlock(&head->index_lock);
    write_pairs(writer);
    write_series(writer, slot_count);
    for (size_t i = 0; i < count; i++) {
        write_partition(writer, partitions[i], slot_count);
    }
    write_extra(writer, extra);
    write_end(writer, partitions, count);
}

static int replace(struct writer *writer, const char *temporary, const char *path)
{
    struct store *store = writer->store;
    int result = writer->error < 0 ? writer->error : file_sync(writer->file);
    file_close(STEAL(writer->file));
    result = result < 0 ? result : file_rename(store->options.fs, temporary, path);
    result = result < 0 ? result : file_sync_dir(store->options.fs, store->head_dir);
    if (result < 0) {
        (void)!file_unlink(store->options.fs, temporary);
    }
    return result;
}

int snapshot_write(struct store *store, struct str extra)
{
    CLEANUP_FREE char *temporary = mem_printf("%s/snapshot.tmp", store->head_dir);
    CLEANUP_FREE char *path = mem_printf("%s/snapshot", store->head_dir);
    struct writer writer = {.store = store, .frame = BUF_INIT(SNAPSHOT_FRAME_MAX)};
    (void)!file_unlink(store->options.fs, temporary);
    int result = file_open(store->options.fs, temporary, FILE_CREATE_NEW, &writer.file);
    if (result < 0) {
        return result;
    }
    head_read_lock(&store->head.data_lock);
    size_t count = store->partition_count;
    uint64_t position = store->settled_position;
    CLEANUP_FREE struct partition **partitions = mem_array(count, sizeof(*partitions));
    for (size_t i = 0; i < count; i++) {
        partitions[i] = partition_ref(store->partitions[i]);
    }
    pthread_rwlock_unlock(&store->head.data_lock);
    write_all(&writer, partitions, count, extra, position);
    result = replace(&writer, temporary, path);
    for (size_t i = 0; i < count; i++) {
        partition_unref(partitions[i]);
    }
    buf_done(&writer.frame);
    mem_free(writer.numbers);
    return result;
}
