/* Any bytes as a batch over a table of fixed layouts. First byte: 0, the rest is a body as it stands, 1, a body under
 * zstd; both get an envelope whose checksum is right; 2, the rest is a whole batch. */
#include "base/fail.h"
#include "hop/pack.h"
#include "mutate.h"
#include "tests/batch_world.h"

#include <errno.h>
#include <zstd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_all(struct batch_reader *reader)
{
    size_t entry_count;
    const struct batch_entry *entries = batch_reader_entries(reader, &entry_count);
    const struct layout *targets = batch_reader_targets(reader);
    for (size_t i = 0; i < entry_count; i++)
        ASSERT(entries[i].target < targets->count && batch_reader_page(reader, entries[i].page));
    struct batch_block block;
    int more;
    while ((more = batch_reader_next(reader, &block)) > 0) {
        uint32_t records = block.entry_count * block.family->count;
        ASSERT(records > 0);
        for (uint32_t i = 0; i < block.entry_count; i++) {
            uint64_t slots = batch_reader_page_slots(reader, entries[block.entries[i]].page);
            ASSERT(block.entries[i] < entry_count && block.first_slots[i] + block.family->count <= slots);
        }
        for (uint32_t i = 0; i < records; i++)
            ASSERT(block.records[i].kind == block.family->slots[i / block.entry_count].kind);
        for (uint32_t i = 0; i < block.extra_count; i++)
            ASSERT(block.extras[i].index < records && (i == 0 || block.extras[i - 1].index <= block.extras[i].index));
    }
    return more;
}

/* Two bins in an array: what a body is before zstd. */
static bool take_bins(const uint8_t *body, size_t len, struct str *ret_header, struct str *ret_payload)
{
    struct unpack in = unpack_of(body, len);
    uint32_t parts = unpack_array(&in, 2);
    *ret_header = unpack_bin(&in, len);
    *ret_payload = unpack_bin(&in, len);
    return parts == 2 && unpack_done(&in);
}

/* Mutates the numbers of the header and the bits of the payload of a body as it stands; anything else as bytes. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    struct random random;
    struct str header, payload;
    random_seed(&random, seed);
    if (size == 0 || data[0] != 0 || !take_bins(data + 1, size - 1, &header, &payload) || random_below(&random, 8) == 0)
        return LLVMFuzzerMutate(data, size, size_max);
    CLEANUP(buf_done) struct buf next = BUF_INIT(4 * MIB), bytes = BUF_INIT(4 * MIB), out = BUF_INIT(16 * MIB);
    bool in_header = random_below(&random, 3) > 0;
    if (in_header)
        mutate_varints(&random, header, &next);
    else
        buf_append_str(&next, header);
    if (in_header)
        buf_append_str(&bytes, payload);
    else
        mutate_bytes(&random, payload, &bytes);
    buf_append_byte(&out, 0);
    pack_array(&out, 2);
    pack_bin(&out, next.data, next.len);
    pack_bin(&out, bytes.data, bytes.len);
    return mutate_done(&out, data, size_max);
}

/* A real batch of 24 targets in two rounds, whose layouts and envelope serve all inputs. */
struct real {
    struct world world;
    struct layout_table *table;
    struct batch_writer *writer;
    struct envelope envelope;
    struct buf batch;
};

static void make_real(struct real *real)
{
    world_init(&real->world, 1, 4);
    for (uint32_t i = 0; i < 24; i++)
        world_add_target(&real->world);
    world_add_round(&real->world);
    real->table = layout_table_new(64 * MIB, 64 * MIB);
    real->writer = batch_writer_new();
    real->envelope = world_envelope();
    real->envelope.span_ms = 4 * WORLD_STEP_MS; /* room for rounds more */
    buf_init(&real->batch, BATCH_BYTES_MAX);
    for (uint32_t i = 0; i < real->world.item_count; i++)
        ASSERT(batch_writer_add(real->writer, &real->world.items[i].item) == 0);
    ASSERT(batch_writer_finish(real->writer, &real->envelope, real->table, &real->batch) == 0);
}

/* The real envelope around another body. */
static void wrap(const struct real *real, const uint8_t *body, size_t len, bool zstd, struct buf *out)
{
    struct envelope envelope = real->envelope;
    unsigned long long raw = zstd ? ZSTD_getFrameContentSize(body, len) : len;
    envelope.body_bytes = len;
    envelope.body_raw_bytes = raw > UINT32_MAX ? len : raw;
    envelope.body_crc32c = crc32c(0, body, len);
    ASSERT(envelope_encode(&envelope, out) == 0 && buf_append(out, body, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct real real; /* made once: the same for all inputs */
    if (!real.table)
        make_real(&real);
    if (size == 0)
        return 0;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(BATCH_BYTES_MAX);
    if (data[0] == 2)
        buf_append(&batch, data + 1, size - 1);
    else
        wrap(&real, data + 1, size - 1, data[0] == 1, &batch);
    struct batch_reader *reader = NULL;
    int error = batch_reader_open(batch.data, batch.len, real.table, &reader);
    ASSERT((error == 0) == (reader != NULL));
    if (error == 0)
        error = read_all(reader);
    ASSERT(error == 0 || error == -EBADMSG || error == -EPROTO || error == -EMSGSIZE || error == -ENOENT);
    batch_reader_free(reader);
    return 0;
}
