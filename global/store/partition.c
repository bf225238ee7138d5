#include "store/partition.h"

#include "base/crc.h"
#include "base/fail.h"
#include "metric/record.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_CRC_BYTES sizeof(uint32_t) /* behind each piece in the file */

int partition_new(const struct partition_options *options, struct partition **ret_partition)
{
    struct partition *partition = mem_zalloc(sizeof(*partition));
    atomic_init(&partition->refs, 1);
    partition->start_ms = options->start_ms;
    partition->number = options->number;
    partition->fs = options->fs;
    partition->min_time_ms = INT64_MAX;
    partition->max_time_ms = INT64_MIN;
    if (options->fs) {
        partition->spill_path = mem_printf("%s/%08llu.spill", options->dir, (unsigned long long)options->number);
    }
    int result = spill_open(&partition->spill, options->fs, partition->spill_path, options->keep_all);
    if (result < 0) {
        mem_free(partition->spill_path);
        mem_free(partition);
        return result;
    }
    partition->retention = options->retention ? retention_ref(options->retention) : NULL;
    partition->page_count = options->slots_max / PARTITION_PAGE + 1;
    partition->pages = mem_array(partition->page_count, sizeof(*partition->pages));
    *ret_partition = partition;
    return 0;
}

struct partition *partition_ref(struct partition *partition)
{
    atomic_fetch_add_explicit(&partition->refs, 1, memory_order_relaxed);
    return partition;
}

static void page_free(struct strand *page)
{
    for (size_t i = 0; page && i < PARTITION_PAGE; i++) {
        chunk_unref(page[i].open);
        if (page[i].rest) {
            chunk_unref(page[i].rest->late);
            mem_free(page[i].rest);
        }
    }
    mem_free(page);
}

void partition_unref(struct partition *partition)
{
    if (!partition || atomic_fetch_sub_explicit(&partition->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (uint32_t i = 0; i < partition->page_count; i++) {
        page_free(partition->pages[i]);
    }
    spill_close(&partition->spill);
    retention_unref(partition->retention);
    mem_free(partition->pages);
    mem_free(partition->spill_path);
    mem_free(partition);
}

void partition_remove(struct partition *partition)
{
    if (partition->spill_path) {
        (void)!file_unlink(partition->fs, partition->spill_path); /* what stays is taken away at the next start */
    }
}

struct strand *partition_strand(const struct partition *partition, series_ref ref)
{
    ASSERT(ref / PARTITION_PAGE < partition->page_count);
    struct strand *page = partition->pages[ref / PARTITION_PAGE];
    return page && page[ref % PARTITION_PAGE].open ? &page[ref % PARTITION_PAGE] : NULL;
}

/* ---- Putting ---- */

static void count_in(struct partition *partition, const struct chunk *chunk)
{
    partition->chunks++;
    partition->entries += chunk->entries;
    partition->chunk_bytes += chunk_memory_bytes(chunk);
}

static void count_out(struct partition *partition, const struct chunk *chunk)
{
    partition->chunks--;
    partition->entries -= chunk->entries;
    partition->chunk_bytes -= chunk_memory_bytes(chunk);
}

static struct strand *strand_make(struct partition *partition, series_ref ref)
{
    struct strand **page = &partition->pages[ref / PARTITION_PAGE];
    if (!*page) {
        *page = mem_array(PARTITION_PAGE, sizeof(**page));
    }
    struct strand *strand = &(*page)[ref % PARTITION_PAGE];
    if (!strand->open) {
        strand->open = chunk_new();
        count_in(partition, strand->open);
        partition->strands++;
    }
    return strand;
}

/* Room for one more piece; of nothing, for the late chunk alone. */
static struct strand_rest *rest_grow(struct strand *strand, bool for_piece)
{
    struct strand_rest *rest = strand->rest;
    uint16_t count = rest ? rest->count : 0, capacity = rest ? rest->capacity : 0;
    if (rest && (!for_piece || count < capacity)) {
        return rest;
    }
    capacity = (uint16_t)(capacity + (for_piece ? 1 + capacity / 4 : 0));
    bool fresh = !rest;
    strand->rest = rest = mem_resize(rest, sizeof(*rest) + capacity * sizeof(struct piece), 1);
    if (fresh) {
        *rest = (struct strand_rest){0};
    }
    rest->capacity = capacity;
    return rest;
}

static void put_crc(uint8_t *data, size_t len)
{
    uint32_t crc = crc32c(0, data, len);
    memcpy(data + len, &crc, sizeof(crc)); /* read on this machine only */
}

/* The chunk becomes a piece. False: the strand has as many as it may. */
static bool spill_chunk(struct partition *partition, struct strand *strand, struct chunk *chunk)
{
    struct strand_rest *rest = rest_grow(strand, true);
    if (rest->count == STRAND_PIECES_MAX) {
        return false;
    }
    size_t bytes = chunk_data_bytes(chunk) + PIECE_CRC_BYTES;
    CLEANUP_FREE uint8_t *data = mem_alloc(bytes);
    memcpy(data, chunk->data, bytes - PIECE_CRC_BYTES);
    put_crc(data, bytes - PIECE_CRC_BYTES);
    rest->pieces[rest->count++] = (struct piece){.start = chunk->start,
                                                 .end = chunk->end,
                                                 .offset = spill_add(&partition->spill, data, bytes),
                                                 .bytes = bytes,
                                                 .entries = chunk->entries};
    partition->piece_count++;
    count_out(partition, chunk);
    partition->entries += chunk->entries;
    chunk_unref(chunk);
    return true;
}

/* Appends a window that is later than all in the chunk, which may become a piece and another take its place. */
static bool append_to(struct partition *partition, struct strand *strand, struct chunk **chunk,
                      const struct entry *window, size_t count)
{
    bool late = chunk != &strand->open; /* in the rest, which moves when it grows */
    count_out(partition, *chunk);
    bool fits = chunk_append(chunk, partition->start_ms, window, count);
    count_in(partition, *chunk);
    if (fits) {
        return true;
    }
    if (!spill_chunk(partition, strand, *chunk)) {
        return false;
    }
    chunk = late ? &strand->rest->late : &strand->open;
    *chunk = chunk_new();
    fits = chunk_append(chunk, partition->start_ms, window, count);
    ASSERT(fits); /* a new chunk takes any one window */
    count_in(partition, *chunk);
    return true;
}

/* Writes the chunk anew from entries. */
static bool rewrite(struct partition *partition, struct strand *strand, bool late, const struct entries *entries)
{
    struct chunk **chunk = late ? &strand->rest->late : &strand->open;
    count_out(partition, *chunk);
    chunk_unref(*chunk);
    *chunk = chunk_new();
    count_in(partition, *chunk);
    bool fits = true;
    for (size_t at = 0, end; at < entries->count && fits; at = end) {
        end = entries_window_end(entries->items, entries->count, at);
        chunk = late ? &strand->rest->late : &strand->open;
        fits = append_to(partition, strand, chunk, entries->items + at, end - at);
    }
    return fits;
}

/* The window begins within or before what the chunk has. */
static enum put_result merge_into(struct partition *partition, struct strand *strand, bool late,
                                  const struct entry *window, size_t count)
{
    const struct chunk *chunk = late ? strand->rest->late : strand->open;
    const struct entry *record = &window[count - 1];
    uint32_t start = (uint32_t)(entry_window_start_ms(window) - partition->start_ms);
    if (chunk->window == start && chunk->resolution_ms == record->resolution_ms) {
        /* The window that came last, once more: nearly always from another secondary that scrapes the same. */
        struct record candidate = {.time_ms = record->sample.time_ms, .count = record->count};
        struct record present = {.time_ms = partition->start_ms + chunk->time, .count = chunk->count};
        if (record->resolution_ms == 0 || !record_wins(&candidate, &present)) {
            return PUT_DUPLICATE;
        }
    }
    struct entries entries = {0};
    if (strand_read_chunk(partition, chunk, &entries) < 0) {
        entries_done(&entries);
        return PUT_FULL; /* of a snapshot that passed its checksums and is wrong all the same: readers tell */
    }
    size_t before = entries.count;
    bool stays = entries_merge(&entries, window, count) > 0;
    bool added = entries.count == before + count;
    bool fits = !stays || rewrite(partition, strand, late, &entries);
    entries_done(&entries);
    if (!fits) {
        return PUT_FULL;
    }
    return !stays ? PUT_DUPLICATE : added ? PUT_ADDED : PUT_REPLACED;
}

enum put_result partition_put(struct partition *partition, series_ref ref, const struct entry *window, size_t count)
{
    ASSERT(!partition->sealed && count > 0);
    int64_t start_ms = entry_window_start_ms(window) - partition->start_ms;
    ASSERT(start_ms >= 0 && entry_window_end_ms(&window[count - 1]) - partition->start_ms <= PARTITION_MS);
    struct strand *strand = strand_make(partition, ref);
    enum put_result result = PUT_ADDED;
    if (strand->open->entries == 0 || start_ms >= strand->open->end) {
        result = append_to(partition, strand, &strand->open, window, count) ? PUT_ADDED : PUT_FULL;
    } else if (start_ms >= strand->open->start) {
        result = merge_into(partition, strand, false, window, count);
    } else {
        struct strand_rest *rest = rest_grow(strand, false);
        if (!rest->late) {
            rest->late = chunk_new();
            count_in(partition, rest->late);
        }
        if (rest->late->entries == 0 || start_ms >= rest->late->end) {
            result = append_to(partition, strand, &rest->late, window, count) ? PUT_ADDED : PUT_FULL;
        } else {
            result = merge_into(partition, strand, true, window, count);
        }
    }
    if (result == PUT_ADDED || result == PUT_REPLACED) {
        partition->min_time_ms = MIN(partition->min_time_ms, window[0].sample.time_ms);
        partition->max_time_ms = MAX(partition->max_time_ms, window[count - 1].sample.time_ms);
    }
    return result;
}

void partition_load(struct partition *partition, series_ref ref, const struct strand_load *load)
{
    struct strand *strand = strand_make(partition, ref);
    if (load->open) {
        count_out(partition, strand->open);
        chunk_unref(strand->open);
        strand->open = load->open;
        count_in(partition, strand->open);
    }
    if (load->count > 0 || load->late) {
        strand->rest = mem_alloc(sizeof(*strand->rest) + load->count * sizeof(struct piece));
        *strand->rest = (struct strand_rest){.late = load->late, .count = load->count, .capacity = load->count};
        memcpy(strand->rest->pieces, load->pieces, load->count * sizeof(struct piece));
    }
    if (load->late) {
        count_in(partition, load->late);
    }
    partition->piece_count += load->count;
    for (size_t i = 0; i < load->count; i++) {
        partition->entries += strand->rest->pieces[i].entries;
    }
}

void partition_prefetch(const struct partition *partition, series_ref ref, int how)
{
    const struct strand *page = partition->pages[ref / PARTITION_PAGE];
    const struct strand *strand = page ? &page[ref % PARTITION_PAGE] : NULL;
    if (!strand) {
        return;
    }
    if (how == 0) {
        __builtin_prefetch(strand);
        return;
    }
    const struct chunk *chunk = strand->open;
    if (chunk && how == 1) {
        __builtin_prefetch(chunk, 1); /* its header may lie over two lines of the cache */
        __builtin_prefetch(&chunk->value_bits, 1);
    } else if (chunk) {
        __builtin_prefetch(chunk->data + chunk->bits / 8, 1);
    }
}

/* ---- Reading ---- */

/* A range of times as a partition sees it, both ends inclusive; false: outside of it. */
static bool range_in(const struct partition *partition, int64_t start_ms, int64_t end_ms, uint32_t ret_range[2])
{
    int64_t last_ms = partition->start_ms + PARTITION_MS - 1;
    if (end_ms < partition->start_ms || start_ms > last_ms || start_ms > end_ms) {
        return false;
    }
    ret_range[0] = (uint32_t)(MAX(start_ms, partition->start_ms) - partition->start_ms);
    ret_range[1] = (uint32_t)(MIN(end_ms, last_ms) - partition->start_ms);
    return true;
}

bool partition_meets(const struct partition *partition, int64_t start_ms, int64_t end_ms)
{
    uint32_t range[2];
    return range_in(partition, start_ms, end_ms, range);
}

static bool chunk_meets(const struct chunk *chunk, const uint32_t range[2])
{
    return chunk && chunk->entries > 0 && chunk->start <= range[1] && chunk->end > range[0];
}

static bool piece_meets(const struct piece *piece, const uint32_t range[2])
{
    return piece->start <= range[1] && piece->end > range[0];
}

bool strand_meets(const struct partition *partition, series_ref ref, int64_t start_ms, int64_t end_ms)
{
    uint32_t range[2];
    const struct strand *strand = partition_strand(partition, ref);
    if (!strand || !range_in(partition, start_ms, end_ms, range)) {
        return false;
    }
    const struct strand_rest *rest = strand->rest;
    bool meets = chunk_meets(strand->open, range) || (rest && chunk_meets(rest->late, range));
    for (size_t i = 0; rest && i < rest->count && !meets; i++) {
        meets = piece_meets(&rest->pieces[i], range);
    }
    return meets;
}

static struct strand_part *add_part(struct strand_parts *parts, struct partition *partition, int64_t start, int64_t end)
{
    if (parts->count == parts->capacity) {
        parts->capacity = 2 * parts->capacity + 8;
        parts->items = mem_resize(parts->items, parts->capacity, sizeof(*parts->items));
    }
    struct strand_part *part = &parts->items[parts->count++];
    *part = (struct strand_part){
        .partition = partition, .start_ms = partition->start_ms + start, .end_ms = partition->start_ms + end};
    return part;
}

static void add_piece(struct strand_parts *parts, struct partition *partition, const struct piece *piece)
{
    const uint8_t *pending = spill_pending(&partition->spill, piece->offset);
    struct strand_part *part = add_part(parts, partition, piece->start, piece->end);
    part->piece = *piece;
    if (pending) {
        part->pending = mem_alloc(piece->bytes);
        memcpy(part->pending, pending, piece->bytes);
    }
}

void strand_parts_add(struct strand_parts *parts, struct partition *partition, series_ref ref, int64_t start_ms,
                      int64_t end_ms)
{
    uint32_t range[2];
    const struct strand *strand = partition_strand(partition, ref);
    if (!strand || !range_in(partition, start_ms, end_ms, range)) {
        return;
    }
    const struct strand_rest *rest = strand->rest;
    for (size_t i = 0; rest && i < rest->count; i++) {
        if (piece_meets(&rest->pieces[i], range)) {
            add_piece(parts, partition, &rest->pieces[i]);
        }
    }
    struct chunk *chunks[] = {rest ? rest->late : NULL, strand->open};
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
        if (chunk_meets(chunks[i], range)) {
            add_part(parts, partition, chunks[i]->start, chunks[i]->end)->chunk = chunk_ref(chunks[i]);
        }
    }
}

void strand_parts_clear(struct strand_parts *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        mem_free(parts->items[i].pending);
        chunk_unref(parts->items[i].chunk);
    }
    parts->count = 0;
}

void strand_parts_done(struct strand_parts *parts)
{
    strand_parts_clear(parts);
    mem_free(parts->items);
    *parts = (struct strand_parts){0};
}

int strand_read_chunk(const struct partition *partition, const struct chunk *chunk, struct entries *entries)
{
    return chunk_decode(chunk->data, chunk_data_bytes(chunk), chunk->entries, partition->start_ms, entries);
}

#define PIECE_BYTES_FEW 1024 /* all but windows of very many entries */

/* The bytes of a part that is a piece, of which the checksum is right: what was pending, or read from the file into
 * `few`, or into memory of ret_many, the caller's. */
static int load_piece(const struct strand_part *part, uint8_t few[static PIECE_BYTES_FEW], uint8_t **ret_many,
                      struct str *ret_data)
{
    const struct piece *piece = &part->piece;
    uint8_t *data = part->pending ? part->pending : few;
    if (!part->pending && piece->bytes > PIECE_BYTES_FEW) {
        data = *ret_many = mem_alloc(piece->bytes);
    }
    if (!part->pending) {
        int64_t got = file_read_at(part->partition->spill.file, data, piece->bytes, piece->offset);
        if (got != (int64_t)piece->bytes) {
            return got < 0 ? (int)got : -EBADMSG;
        }
    }
    size_t len = piece->bytes - PIECE_CRC_BYTES;
    uint32_t crc;
    memcpy(&crc, data + len, sizeof(crc));
    *ret_data = str_of((const char *)data, len);
    return crc == crc32c(0, data, len) ? 0 : -EBADMSG;
}

int strand_read(const struct strand_part *part, struct entries *entries)
{
    if (part->chunk) {
        return strand_read_chunk(part->partition, part->chunk, entries);
    }
    uint8_t few[PIECE_BYTES_FEW];
    CLEANUP_FREE uint8_t *many = NULL;
    struct str data;
    int error = load_piece(part, few, &many, &data);
    return error ? error : chunk_decode(data.ptr, data.len, part->piece.entries, part->partition->start_ms, entries);
}

int strand_read_samples(const struct strand_part *part, struct samples *samples)
{
    uint8_t few[PIECE_BYTES_FEW];
    CLEANUP_FREE uint8_t *many = NULL;
    struct str data;
    int error = 0;
    size_t count = part->chunk ? part->chunk->entries : part->piece.entries;
    if (part->chunk) {
        data = str_of(part->chunk->data, chunk_data_bytes(part->chunk));
    } else {
        error = load_piece(part, few, &many, &data);
    }
    if (error) {
        return error;
    }
    samples_reserve(samples, samples->count + count);
    error = chunk_decode_samples(data, count, part->partition->start_ms, samples->items + samples->count);
    samples->count += error ? 0 : count;
    return error;
}

/* ---- Cutting ---- */

static int compare_pieces(const void *a, const void *b)
{
    const struct piece *x = *(const struct piece *const *)a, *y = *(const struct piece *const *)b;
    if (x->start != y->start) {
        return x->start < y->start ? -1 : 1;
    }
    return x < y ? -1 : x > y; /* as they came */
}

int partition_gather(struct partition *partition, series_ref ref, struct entries *scratch, struct entries *ret_entries)
{
    ASSERT(partition->sealed);
    const struct strand *strand = partition_strand(partition, ref);
    ret_entries->count = 0;
    if (!strand) {
        return 0;
    }
    const struct strand_rest *rest = strand->rest;
    size_t count = rest ? rest->count : 0;
    CLEANUP_FREE const struct piece **order = mem_array(count, sizeof(*order));
    for (size_t i = 0; i < count; i++) {
        order[i] = &rest->pieces[i];
    }
    qsort(order, count, sizeof(*order), compare_pieces);
    int result = 0;
    for (size_t i = 0; i < count; i++) {
        scratch->count = 0;
        struct strand_part part = {.partition = partition,
                                   .piece = *order[i],
                                   .pending = (uint8_t *)(uintptr_t)spill_pending(&partition->spill, order[i]->offset)};
        int error = strand_read(&part, scratch);
        result = result < 0 ? result : error;
        entries_merge(ret_entries, scratch->items, scratch->count);
    }
    const struct chunk *chunks[] = {rest ? rest->late : NULL, strand->open};
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
        if (chunks[i] && chunks[i]->entries > 0) {
            scratch->count = 0;
            int error = strand_read_chunk(partition, chunks[i], scratch);
            result = result < 0 ? result : error;
            entries_merge(ret_entries, scratch->items, scratch->count);
        }
    }
    return result;
}
