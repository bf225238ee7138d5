#include "base/fail.h"
#include "base/map.h"
#include "hop/batch_reader.h"
#include "hop/pack.h"

#include <errno.h>
#include <zstd.h>

/* The writer's windows are smaller by far; a frame that asks for more memory is not ours. */
#define ZSTD_WINDOW_LOG_MAX 23

void batch_reader_free(struct batch_reader *reader)
{
    if (!reader)
        return;
    layout_unref(reader->targets);
    for (uint32_t i = 0; reader->pages && i < reader->envelope.page_count; i++)
        layout_unref(reader->pages[i]);
    mem_free(reader->pages);
    mem_free(reader->families);
    buf_done(&reader->raw);
    batch_entries_done(&reader->entries);
    mem_free(reader->page_families);
    mem_free(reader->page_starts);
    mem_free(reader->members);
    mem_free(reader->first_slots);
    mem_free(reader->member_starts);
    mem_free(reader->records);
    mem_free(reader->values);
    mem_free(reader->bases);
    mem_free(reader->numbers);
    mem_free(reader->per_slot);
    mem_free(reader->changing);
    mem_free(reader->extras);
    mem_free(reader->kept);
    mem_free(reader->member_of);
    arena_done(&reader->arena);
    mem_free(reader);
}

void batch_reader_trace(struct batch_reader *reader, column_trace_fn *fn, void *arg)
{
    reader->in.trace = fn;
    reader->in.trace_arg = arg;
}

const struct envelope *batch_reader_envelope(const struct batch_reader *reader)
{
    return &reader->envelope;
}

const struct batch_entry *batch_reader_entries(const struct batch_reader *reader, size_t *ret_count)
{
    *ret_count = reader->entries.count;
    return reader->entries.items;
}

const struct layout *batch_reader_targets(const struct batch_reader *reader)
{
    return reader->targets;
}

const struct layout *batch_reader_page(const struct batch_reader *reader, uint32_t page)
{
    return page < reader->envelope.page_count ? reader->pages[page] : NULL;
}

uint64_t batch_reader_page_slots(const struct batch_reader *reader, uint32_t page)
{
    return layout_page_slots(reader->pages[page]);
}

/* ---- Opening ---- */

static int take_layout(struct layout_table *table, struct hash128 hash, enum layout_type type,
                       struct layout **ret_layout)
{
    struct layout *layout = layout_table_get(table, hash);
    if (!layout)
        return -ENOENT;
    if (layout->type != type)
        return -EBADMSG;
    *ret_layout = layout_ref(layout);
    return 0;
}

static int take_layouts(struct batch_reader *reader, struct layout_table *table)
{
    const struct envelope *envelope = &reader->envelope;
    reader->pages = mem_array(envelope->page_count, sizeof(struct layout *));
    int error = take_layout(table, envelope->targets, LAYOUT_TARGETS, &reader->targets);
    for (uint32_t i = 0; i < envelope->page_count && error == 0; i++)
        error = take_layout(table, envelope->pages[i], LAYOUT_PAGE, &reader->pages[i]);
    return error;
}

/* At most BATCH_RAW_BYTES_MAX, and in a ratio that a real batch can have. */
int batch_body_expand(const struct envelope *envelope, struct str body, struct buf *out)
{
    uint64_t raw_bytes = envelope->body_raw_bytes;
    if (raw_bytes > BATCH_RAW_BYTES_MAX ||
        (raw_bytes > BATCH_RAW_FREE_BYTES && raw_bytes / BATCH_RAW_RATIO_MAX >= body.len))
        return -EMSGSIZE;
    if (raw_bytes == body.len)
        return buf_append_str(out, body);
    if (ZSTD_getFrameContentSize(body.ptr, body.len) != raw_bytes)
        return -EBADMSG;
    uint8_t *room = buf_reserve(out, raw_bytes);
    ZSTD_DCtx *zstd = room ? ZSTD_createDCtx() : NULL;
    if (!zstd)
        return -ENOMEM;
    ZSTD_DCtx_setParameter(zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    size_t got = ZSTD_decompressDCtx(zstd, room, raw_bytes, body.ptr, body.len);
    ZSTD_freeDCtx(zstd);
    if (ZSTD_isError(got) || got != raw_bytes)
        return -EBADMSG;
    buf_added(out, raw_bytes);
    return 0;
}

static int open_bins(struct batch_reader *reader)
{
    struct unpack in = unpack_of(reader->raw.data, reader->raw.len);
    uint32_t parts = unpack_array(&in, 2);
    struct str header = unpack_bin(&in, BATCH_RAW_BYTES_MAX);
    struct str payload = unpack_bin(&in, BATCH_RAW_BYTES_MAX);
    if (parts != 2 || !unpack_done(&in))
        return -EBADMSG;
    reader->in.header = reader_of(header.ptr, header.len);
    reader->in.payload = reader_of(payload.ptr, payload.len);
    return 0;
}

static uint32_t rounds_of(const struct envelope *envelope)
{
    int64_t windows = envelope->resolution_ms > 0 ? envelope->span_ms / envelope->resolution_ms : BATCH_ROUNDS_MAX;
    return (uint32_t)MIN(windows, BATCH_ROUNDS_MAX);
}

static int read_entries(struct batch_reader *reader)
{
    struct batch_entries *entries = &reader->entries;
    entries->window_start_ms = reader->envelope.window_start_ms;
    entries->resolution_ms = reader->envelope.resolution_ms;
    entries->limits.targets = reader->targets->count;
    entries->limits.pages = reader->envelope.page_count;
    entries->limits.rounds = rounds_of(&reader->envelope);
    entries->limits.entries = MIN(reader->claims_left / BATCH_ENTRY_CLAIMS, (uint64_t)BATCH_ENTRIES_MAX);
    int error = batch_entries_read(entries, &reader->in);
    if (error == 0)
        reader->claims_left -= BATCH_ENTRY_CLAIMS * reader->entries.count;
    return error;
}

/* Families of each page as indices into the families of all, which are collected here. -EBADMSG where pages (the same
 * one named again and again, say) have more of them than real ones can. */
static int page_families(struct batch_reader *reader)
{
    const struct envelope *envelope = &reader->envelope;
    struct map map; /* by the low half of the hash: index + 1 */
    size_t total = 0;
    reader->page_starts = mem_array(envelope->page_count + 1, sizeof(*reader->page_starts));
    for (uint32_t p = 0; p < envelope->page_count; p++)
        reader->page_starts[p + 1] = total += reader->pages[p]->count;
    if (total > BATCH_RECORDS_MAX)
        return -EBADMSG;
    reader->page_families = mem_array(total, sizeof(*reader->page_families));
    reader->families = mem_array(total, sizeof(struct layout *));
    map_init(&map);
    int error = 0;
    for (size_t p = 0, at = 0; p < envelope->page_count; p++) {
        for (uint32_t i = 0; i < reader->pages[p]->count && error == 0; i++, at++) {
            const struct layout *family = reader->pages[p]->families[i];
            uintptr_t found = (uintptr_t)map_get(&map, hash128_low(family->hash), NULL, NULL);
            if (!found) {
                reader->families[reader->family_count++] = family;
                found = reader->family_count;
                map_put(&map, hash128_low(family->hash), (void *)found); // NOLINT
            }
            reader->page_families[at] = (uint32_t)(found - 1);
            if (!hash128_equal(reader->families[found - 1]->hash, family->hash))
                error = -EBADMSG; /* half a hash in common: nobody's accident */
        }
    }
    map_done(&map);
    return error;
}

/* Counts members and records before anything is taken for them: many entries of a large page would multiply. Those that
 * only end count too: each of their series gets a marker. Each page has an entry, so that its families are claimed, and
 * are looked at only then. */
static int count_members(struct batch_reader *reader)
{
    uint64_t records = 0, members = 0;
    uint32_t shown = 0;
    CLEANUP_FREE bool *is_shown = mem_array(reader->envelope.page_count, sizeof(*is_shown));
    CLEANUP_FREE uint64_t *page_records = mem_array(reader->envelope.page_count, sizeof(*page_records));
    for (size_t e = 0; e < reader->entries.count; e++) {
        uint32_t page = reader->entries.items[e].page;
        members += reader->pages[page]->count;
        if (members > reader->claims_left)
            return -EBADMSG;
        if (!is_shown[page]) {
            is_shown[page] = true;
            page_records[page] = layout_page_slots(reader->pages[page]);
            shown++;
        }
        records += page_records[page];
        if (records > BATCH_RECORDS_MAX || records + members > reader->claims_left)
            return -EBADMSG;
    }
    reader->claims_left -= records + members;
    return shown == reader->envelope.page_count ? 0 : -EBADMSG;
}

/* An entry among the members of its page's families: counted first, then placed. */
static void place_entry(struct batch_reader *reader, uint32_t e, size_t *next, bool count_only)
{
    uint32_t page = reader->entries.items[e].page, slot = 0;
    if (reader->entries.items[e].count == 0)
        return;
    for (size_t i = reader->page_starts[page]; i < reader->page_starts[page + 1]; i++) {
        uint32_t family = reader->page_families[i];
        if (count_only) {
            next[family + 1]++;
            continue;
        }
        reader->first_slots[next[family]] = slot;
        reader->members[next[family]++] = e;
        slot += reader->families[family]->count;
    }
}

static void place_members(struct batch_reader *reader)
{
    uint32_t families = reader->family_count;
    reader->member_starts = mem_array((size_t)families + 2, sizeof(size_t));
    size_t *next = reader->member_starts + 1; /* ends up as the starts themselves, shifted by one */
    for (size_t e = 0; e < reader->entries.count; e++)
        place_entry(reader, (uint32_t)e, next, true);
    for (uint32_t f = 0; f < families; f++)
        next[f + 1] += next[f];
    reader->members = mem_array(next[families], sizeof(*reader->members));
    reader->first_slots = mem_array(next[families], sizeof(*reader->first_slots));
    for (size_t e = 0; e < reader->entries.count; e++)
        place_entry(reader, (uint32_t)e, next, false);
}

static int find_members(struct batch_reader *reader)
{
    int error = count_members(reader);
    if (error == 0)
        error = page_families(reader);
    if (error == 0)
        place_members(reader);
    return error;
}

int batch_reader_open(const void *batch, size_t len, struct layout_table *table, struct batch_reader **ret_reader)
{
    struct batch_reader *reader = mem_zalloc(sizeof(*reader));
    arena_init(&reader->arena, 4 * ENVELOPE_BYTES_MAX);
    buf_init(&reader->raw, BATCH_RAW_BYTES_MAX);
    reader->claims_left = len * (uint64_t)BATCH_CLAIMS_PER_BYTE;
    reader->extras_left = BATCH_EXTRAS_MAX;
    struct str body;
    int error =
        len > BATCH_BYTES_MAX ? -EMSGSIZE : envelope_decode(batch, len, &reader->arena, &reader->envelope, &body);
    if (error == 0 && reader->envelope.body_version != BATCH_BODY_VERSION)
        error = -EPROTO;
    if (error == 0)
        error = take_layouts(reader, table);
    if (error == 0)
        error = batch_body_expand(&reader->envelope, body, &reader->raw);
    if (error == 0)
        error = open_bins(reader);
    if (error == 0)
        error = read_entries(reader);
    if (error == 0)
        error = find_members(reader);
    if (error < 0) {
        batch_reader_free(reader);
        return error;
    }
    *ret_reader = reader;
    return 0;
}
