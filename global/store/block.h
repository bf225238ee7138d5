#pragma once
/* A block on disk, opened to be read: immutable, counted references, any number of threads. Nothing of it is mapped:
 * a failing disk or a file cut short is an error that is returned (-EIO, -EBADMSG), never a signal. In memory are
 * meta, symbols (up to 4 MiB; else, and of aggregates, where every 32nd is), where every 32nd posting is, and the
 * dictionary and table of `windows`. A file descriptor is held for each file but meta.json, tributary.json and
 * tombstones.
 *
 * Blocks of Prometheus 2.42 and Thanos' raw blocks are read as well: plain samples, tombstones applied. */
#include "store/block_meta.h"
#include "store/block_write.h"
#include "store/index_format.h"
#include "store/postings.h"

struct block;

/* Checks what can be checked without reading it all: meta, magic and versions, checksums of TOC, symbols, offset table
 * and windows, names and sizes of files. -EBADMSG, -ENOENT, -EIO ... with the reason, which names the file. */
MUST_CHECK int block_open(const struct block_dirs *dirs, const struct ulid *ulid,
                          char ret_reason[static BLOCK_REASON_BYTES], struct block **ret_block);
struct block *block_ref(struct block *block);
void block_unref(struct block *block); /* NULL allowed; from any thread */
DEFINE_CLEANUP(struct block *, block_unref)
/* As if no deletion had been applied: it may be of another store, whose numbers are others. Before it is shared. */
void block_forget_deletions(struct block *block);
/* Somebody besides the caller holds a reference. Once a block can be found no more, false is for good. */
bool block_is_shared(const struct block *block);
const struct block_meta *block_meta_of(const struct block *block);
/* A chunk of native histograms (of Prometheus' blocks) was met since it was opened, and left out. */
bool block_has_histograms(const struct block *block);
uint64_t block_disk_bytes(const struct block *block); /* with its aggregates */
size_t block_memory_bytes(const struct block *block);
/* Reads everything and checks every checksum, every series and every chunk (samples in order and in their range).
 * 0, or the error and the reason. cancelled may be NULL, asked every MiB or so: -ECANCELED. */
MUST_CHECK int block_verify(struct block *block, postings_cancelled_fn *cancelled, void *arg,
                            char ret_reason[static BLOCK_REASON_BYTES]);
/* Of a block of ours: that its files are, byte for byte, what was written (sizes and checksums that tributary.json
 * names). What they mean is not looked at: some 30 ns a sample less. */
MUST_CHECK int block_verify_files(struct block *block, char ret_reason[static BLOCK_REASON_BYTES]);

/* ---- Finding series: ids, whose order is that of labels ---- */
/* As postings_select of the head. -ECANCELED, -EBADMSG, -EIO. */
MUST_CHECK int block_select(struct block *block, const struct postings_query *query, roaring_bitmap_t **ret_ids);
/* Names of labels, or values of one, that series of ids have (NULL: all); each once, sorted. What the visit said ends
 * it.
 */
MUST_CHECK int block_names(struct block *block, const roaring_bitmap_t *ids, const struct postings_visit *visit);
MUST_CHECK int block_values(struct block *block, struct str name, const roaring_bitmap_t *ids,
                            const struct postings_visit *visit);

/* ---- Reading series: a cursor keeps buffers, so that ids in order cost few reads; one thread ---- */
struct block_cursor;
struct block_cursor *block_cursor_new(struct block *block); /* with a reference */
void block_cursor_free(struct block_cursor *cursor);        /* NULL allowed */
DEFINE_CLEANUP(struct block_cursor *, block_cursor_free)

/* struct block_chunk is in index_format.h. */
struct block_series {      /* arrays are the cursor's, valid until its next block_cursor_series */
    struct labels *labels; /* a reference of the cursor's */
    enum series_kind kind;
    const struct block_chunk *chunks; /* ascending; after tombstones some may have no samples left */
    size_t chunk_count;
    uint32_t id;
    uint32_t aggregates_id; /* block.c's: of the same series in the block of aggregates, or 0 */
};
MUST_CHECK int block_cursor_series(struct block_cursor *cursor, uint32_t id, struct block_series *ret_series);
/* The series' entry in the index alone: labels as numbers of symbols, chunks. Valid until the next call. */
struct index_series;
MUST_CHECK int block_cursor_entry(struct block_cursor *cursor, uint32_t id, const struct index_series **ret_entry);
/* The text of a symbol. Valid until the next call. */
MUST_CHECK int block_cursor_symbol(struct block_cursor *cursor, uint32_t symbol, struct str *ret_text);
/* Appends the samples of one chunk of that entry, without what tombstones cover. */
MUST_CHECK int block_cursor_samples(struct block_cursor *cursor, size_t chunk, struct samples *samples);
/* Appends the entries of chunks [first, first + count) of the series. with_aggregates: joined in from the aggregates
 * block; else no entry has ENTRY_AGGREGATES. An error leaves what was read before it. */
MUST_CHECK int block_cursor_entries(struct block_cursor *cursor, const struct block_series *series, size_t first,
                                    size_t count, bool with_aggregates, struct entries *entries);
