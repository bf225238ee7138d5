#include "store/snapshot.h"

#include "base/crc.h"
#include "base/fail.h"
#include "store/snapshot_format.h"
#include "store/store_internal.h"

#include <errno.h>

struct loader {
    struct store *store;
    struct file *file;
    uint64_t at; /* in the file */
    struct buf frame;
    struct reader reader; /* over the frame, behind its first byte */
    uint32_t *pairs;      /* by the snapshot's number: ours */
    uint32_t pair_count, pair_capacity;
    struct partition **partitions; /* in the snapshot's order; NULL: it was cut since */
    size_t partition_count;
    struct partition *current; /* whose strands come */
    uint64_t position;
    bool ended;
};

/* 1 and a frame, 0 at the end of the file, -EBADMSG. */
static int next_frame(struct loader *loader)
{
    uint8_t head[8];
    uint32_t len, crc;
    int64_t got = file_read_at(loader->file, head, sizeof(head), loader->at);
    if (got != (int64_t)sizeof(head)) {
        return got < 0 ? (int)got : got == 0 ? 0 : -EBADMSG;
    }
    memcpy(&len, head, sizeof(len));
    memcpy(&crc, head + sizeof(len), sizeof(crc));
    if (len == 0 || len > SNAPSHOT_FRAME_MAX) {
        return -EBADMSG;
    }
    buf_reset(&loader->frame);
    got = file_read_at(loader->file, buf_reserve(&loader->frame, len), len, loader->at + sizeof(head));
    if (got != (int64_t)len) {
        return got < 0 ? (int)got : -EBADMSG;
    }
    buf_added(&loader->frame, len);
    loader->at += sizeof(head) + len;
    loader->reader = reader_of(loader->frame.data + 1, len - 1);
    return crc == crc32c(0, loader->frame.data, len) ? 1 : -EBADMSG;
}

static int load_begin(struct loader *loader)
{
    uint64_t magic = reader_le64(&loader->reader);
    uint32_t layout = reader_le32(&loader->reader);
    loader->position = reader_le64(&loader->reader);
    return magic == SNAPSHOT_MAGIC && layout == SNAPSHOT_LAYOUT ? 0 : -ESTALE;
}

static int load_pairs(struct loader *loader)
{
    struct reader *reader = &loader->reader;
    while (reader_left(reader) > 0 && !reader->bad) {
        struct str name = reader_string(reader, LABEL_NAME_BYTES_MAX);
        struct str value = reader_string(reader, LABEL_VALUE_BYTES_MAX);
        if (reader->bad || name.len == 0) {
            return -EBADMSG;
        }
        if (loader->pair_count == loader->pair_capacity) {
            loader->pair_capacity = loader->pair_capacity + loader->pair_capacity / 2 + 1024;
            loader->pairs = mem_resize(loader->pairs, loader->pair_capacity, sizeof(uint32_t));
        }
        loader->pairs[loader->pair_count++] =
            postings_pair_make(&loader->store->head.postings, (struct label){name, value});
    }
    return reader->bad ? -EBADMSG : 0;
}

static int load_series(struct loader *loader)
{
    struct reader *reader = &loader->reader;
    while (reader_left(reader) > 0 && !reader->bad) {
        uint32_t pairs[LABELS_MAX];
        uint64_t ref = reader_uvarint(reader);
        uint8_t kind = reader_byte(reader), count = reader_byte(reader);
        if (reader->bad || count == 0 || count > LABELS_MAX || kind > KIND_LAST || ref >= SERIES_REF_NONE) {
            return -EBADMSG;
        }
        for (size_t i = 0; i < count; i++) {
            uint64_t number = reader_uvarint(reader);
            if (number >= loader->pair_count) {
                return -EBADMSG;
            }
            pairs[i] = loader->pairs[number];
        }
        if (!head_add_at(&loader->store->head, (series_ref)ref, pairs, count, (enum series_kind)kind)) {
            return -EBADMSG;
        }
    }
    return reader->bad ? -EBADMSG : 0;
}

static int load_partition(struct loader *loader)
{
    struct store *store = loader->store;
    uint64_t fields[10];
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        fields[i] = reader_le64(&loader->reader);
    }
    int64_t start_ms = (int64_t)fields[0];
    if (loader->reader.bad || partition_start_ms(start_ms) != start_ms) {
        return -EBADMSG;
    }
    loader->partitions = mem_resize(loader->partitions, loader->partition_count + 1, sizeof(struct partition *));
    loader->partitions[loader->partition_count++] = loader->current = NULL;
    if (cut_marks_get(store->marks, start_ms) >= fields[2] && fields[2] > 0) {
        return 0; /* it was cut since: of one time they are cut in order, and a mark before its first position is
                     another's */
    }
    struct partition_options options = {.fs = store->options.fs,
                                        .dir = store->head_dir,
                                        .retention = store->retention,
                                        .start_ms = start_ms,
                                        .number = fields[1],
                                        .slots_max = store->head.slots_max,
                                        .keep_all = true};
    struct partition *partition = NULL;
    int result = partition_new(&options, &partition);
    if (result < 0) {
        return result;
    }
    partition->first_position = fields[2];
    partition->last_position = fields[3];
    partition->began_ms = (int64_t)fields[4];
    partition->touched_ms = (int64_t)fields[5];
    partition->min_time_ms = (int64_t)fields[6];
    partition->max_time_ms = (int64_t)fields[7];
    partition->late = fields[9] != 0; /* a sealed one is sealed again: what is replayed goes into another */
    partition->sealed = fields[8] != 0;
    loader->partitions[loader->partition_count - 1] = loader->current = partition;
    store->next_number = MAX(store->next_number, fields[1] + 1);
    partitions_insert(store, partition);
    return 0;
}

/* What the writer relies on when it goes on with the chunk. */
static bool is_chunk(const struct chunk *header)
{
    bool kept = header->leading == 0xff || header->leading + header->trailing < 64;
    return header->entries > 0 && kept && header->start <= header->window && header->window <= header->time &&
           header->time < header->end && header->end <= PARTITION_MS &&
           chunk_data_bytes(header) <= UINT16_MAX - CHUNK_DATA_STEP;
}

static int load_chunk(struct reader *reader, struct chunk **ret_chunk)
{
    struct chunk header;
    if (reader_byte(reader) == 0) {
        *ret_chunk = NULL;
        return reader->bad ? -EBADMSG : 0;
    }
    struct str bytes = reader_bytes(reader, sizeof(header));
    if (reader->bad) {
        return -EBADMSG;
    }
    memcpy(&header, bytes.ptr, sizeof(header));
    struct str data = reader_bytes(reader, chunk_data_bytes(&header));
    if (reader->bad || !is_chunk(&header)) {
        return -EBADMSG;
    }
    *ret_chunk = chunk_load(&header, data);
    return 0;
}

static int load_strand(struct loader *loader)
{
    struct reader *reader = &loader->reader;
    uint64_t ref = reader_uvarint(reader);
    struct chunk *open = NULL, *late = NULL;
    int result = load_chunk(reader, &open);
    result = result < 0 ? result : load_chunk(reader, &late);
    uint64_t count = result < 0 ? 0 : reader_count(reader, sizeof(struct piece), STRAND_PIECES_MAX);
    struct str pieces = reader_bytes(reader, count * sizeof(struct piece));
    if (result == 0 && reader->bad) {
        result = -EBADMSG;
    }
    /* A series that was made after the snapshot's list: what it has is replayed. */
    bool known =
        loader->current && ref < loader->store->head.slot_count && head_at(&loader->store->head, (series_ref)ref);
    if (result == 0 && known && partition_strand(loader->current, (series_ref)ref)) {
        result = -EBADMSG; /* twice */
    }
    if (result == 0 && known) {
        struct strand_load load = {STEAL(open), STEAL(late), pieces.ptr, (uint16_t)count};
        partition_load(loader->current, (series_ref)ref, &load);
    }
    chunk_unref(open);
    chunk_unref(late);
    return result;
}

static int load_end(struct loader *loader)
{
    for (size_t i = 0; i < loader->partition_count; i++) {
        uint64_t keep = reader_le64(&loader->reader);
        if (loader->partitions[i]) {
            int result = spill_cut(&loader->partitions[i]->spill, keep);
            if (result < 0) {
                return result;
            }
        }
    }
    loader->ended = !loader->reader.bad;
    return loader->reader.bad ? -EBADMSG : 0;
}

static int load_frame(struct loader *loader, bool first, struct buf *extra)
{
    int result = 0;
    uint8_t what = loader->frame.data[0];
    if (first != (what == SNAPSHOT_BEGIN) || loader->ended) {
        return -EBADMSG;
    }
    switch (what) {
    case SNAPSHOT_BEGIN:
        return load_begin(loader);
    case SNAPSHOT_PAIRS:
        return load_pairs(loader);
    case SNAPSHOT_SERIES:
        return load_series(loader);
    case SNAPSHOT_PARTITION:
        return load_partition(loader);
    case SNAPSHOT_STRANDS:
        while (reader_left(&loader->reader) > 0 && result == 0) {
            result = load_strand(loader);
        }
        return result;
    case SNAPSHOT_EXTRA:
        return buf_append(extra, loader->frame.data + 1, loader->frame.len - 1);
    case SNAPSHOT_END:
        return load_end(loader);
    default:
        return -EBADMSG;
    }
}

static int load_all(struct loader *loader, struct buf *extra)
{
    bool first = true;
    int more;
    while ((more = next_frame(loader)) > 0) {
        int result = load_frame(loader, first, extra);
        if (result < 0) {
            return result;
        }
        first = false;
    }
    return more < 0 ? more : loader->ended ? 0 : -EBADMSG;
}

int snapshot_read(struct store *store, struct buf *ret_extra)
{
    CLEANUP_FREE char *path = mem_printf("%s/snapshot", store->head_dir);
    struct loader loader = {.store = store, .frame = BUF_INIT(SNAPSHOT_FRAME_MAX)};
    int result = file_open(store->options.fs, path, FILE_READ, &loader.file);
    if (result == -ENOENT) {
        return 0;
    }
    result = result < 0 ? result : load_all(&loader, ret_extra);
    file_close(loader.file);
    buf_done(&loader.frame);
    mem_free(loader.pairs);
    mem_free(loader.partitions);
    if (result < 0) {
        buf_reset(ret_extra);
        store_empty_head(store);
        (void)!file_unlink(store->options.fs, path);
        return result;
    }
    postings_drop_unused(&store->head.postings);
    head_collect_free(&store->head);
    store->position = loader.position;
    atomic_store(&store->settled_position, loader.position);
    return 1;
}
