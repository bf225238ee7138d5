/* Damaged blocks: whatever is changed, cut or missing is an error when the block is opened or what it touches is read,
 * or nothing has changed. Never other data, never less. The kinds are those that Prometheus 2.42 was measured with. */
#include "block_world.h"

#include "base/crc.h"
#include "store/be.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#define FILE_BYTES_MAX (16 * MIB)
#define FLIPS          2000

static struct rig {
    struct file_system *fs;
    struct block_dirs dirs;
    struct world world;
    char block[128], aggregates[128];
} rig;

/* ---- Changing files ---- */

static void read_file(const char *path, struct buf *into)
{
    buf_init(into, FILE_BYTES_MAX);
    if (file_read_whole(rig.fs, path, into) != 0) {
        fail_msg("cannot read %s", path);
    }
}

static void put_file(const char *path, const void *data, size_t len)
{
    struct file *file;
    int error = file_unlink(rig.fs, path);
    assert_true(error == 0 || error == -ENOENT);
    assert_int_equal(file_open(rig.fs, path, FILE_CREATE_NEW, &file), 0);
    assert_int_equal(file_append(file, data, len), 0);
    file_close(file);
}

static int set_up(void **state)
{
    (void)state;
    rig.fs = file_system_memory_new(0);
    rig.dirs = (struct block_dirs){.fs = rig.fs, .blocks = "blocks", .aggregates = "aggregates"};
    world_init(&rig.world, 21, 40, 150);
    assert_int_equal(world_write(&rig.world, &rig.dirs, 60), 0);
    snprintf(rig.block, sizeof(rig.block), "blocks/%s", rig.world.ulid.text);
    snprintf(rig.aggregates, sizeof(rig.aggregates), "aggregates/%s", rig.world.ulid.text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_done(&rig.world);
    file_system_free(rig.fs);
    return 0;
}

/* ---- What a reader sees ---- */

enum seen { SEEN_AT_OPEN, SEEN_AT_READ, SEEN_NOTHING };

static enum seen look(char ret_reason[static BLOCK_REASON_BYTES])
{
    CLEANUP(block_unrefp) struct block *block = NULL;
    ret_reason[0] = '\0';
    if (block_open(&rig.dirs, &rig.world.ulid, ret_reason, &block) != 0) {
        assert_true(ret_reason[0] != '\0');
        return SEEN_AT_OPEN;
    }
    int result = world_compare(&rig.world, block, true);
    if (result == 0) {
        fail_msg("other data, and no error");
    }
    int error = block_verify(block, NULL, NULL, ret_reason);
    if (error == 0 && result < 0) {
        fail_msg("a reader fails (%d) where the check finds nothing", result);
    }
    return result < 0 || error < 0 ? SEEN_AT_READ : SEEN_NOTHING;
}

/* ---- Each kind of damage ---- */

struct change {
    const char *what, *file;
    int64_t at;  /* a byte to flip; from the end when negative */
    int64_t cut; /* bytes cut off the end */
    bool missing;
    enum seen seen;
    const char *reason; /* a part of it */
};

static const struct change changes[] = {
    {"nothing", "index", 0, 0, false, SEEN_NOTHING, ""},
    {"index magic", "index", 0, 0, false, SEEN_AT_OPEN, "/index: "},
    {"index version", "index", 4, 0, false, SEEN_AT_OPEN, "version"},
    {"index toc", "index", -20, 0, false, SEEN_AT_OPEN, "table of contents"},
    {"index toc checksum", "index", -1, 0, false, SEEN_AT_OPEN, "table of contents"},
    {"index cut by one", "index", 0, 1, false, SEEN_AT_OPEN, "/index: "},
    {"index cut to nothing", "index", 0, INT64_MAX, false, SEEN_AT_OPEN, "/index: "},
    {"index missing", "index", 0, 0, true, SEEN_AT_OPEN, "/index: "},
    {"symbol", "index", 20, 0, false, SEEN_AT_OPEN, "symbols"},
    {"postings offset table", "index", -60, 0, false, SEEN_AT_OPEN, "postings offset table"},
    {"chunk magic", "chunks/000001", 1, 0, false, SEEN_AT_OPEN, "chunks"},
    {"chunk version", "chunks/000001", 4, 0, false, SEEN_AT_OPEN, "chunks"},
    {"chunk length", "chunks/000001", 8, 0, false, SEEN_AT_READ, "chunks"},
    {"chunk encoding", "chunks/000001", 10, 0, false, SEEN_AT_READ, "chunks"},
    {"chunk data", "chunks/000001", 30, 0, false, SEEN_AT_READ, "chunks"},
    {"chunk checksum", "chunks/000001", -1, 0, false, SEEN_AT_READ, "chunks"},
    {"chunk file cut", "chunks/000001", 0, 100, false, SEEN_AT_OPEN, "chunks/000001"},
    {"chunk file empty", "chunks/000001", 0, INT64_MAX, false, SEEN_AT_OPEN, "chunks"},
    {"chunk file missing", "chunks/000001", 0, 0, true, SEEN_AT_OPEN, "chunks"},
    {"tombstones magic", "tombstones", 0, 0, false, SEEN_AT_OPEN, "tombstones"},
    {"tombstones version", "tombstones", 4, 0, false, SEEN_AT_OPEN, "tombstones"},
    {"tombstones checksum", "tombstones", -1, 0, false, SEEN_AT_OPEN, "tombstones"},
    {"tombstones missing", "tombstones", 0, 0, true, SEEN_AT_OPEN, "tombstones"},
    {"meta missing", "meta.json", 0, 0, true, SEEN_AT_OPEN, "meta.json"},
    {"meta cut", "meta.json", 0, 20, false, SEEN_AT_OPEN, "meta.json"},
    {"meta empty", "meta.json", 0, INT64_MAX, false, SEEN_AT_OPEN, "meta.json"},
    {"tributary.json missing", "tributary.json", 0, 0, true, SEEN_AT_OPEN, "tributary.json"},
    {"tributary.json cut", "tributary.json", 0, 3, false, SEEN_AT_OPEN, "tributary.json"},
    {"tributary.json", "tributary.json", 40, 0, false, SEEN_AT_OPEN, "tributary.json: its checksum"},
    {"windows missing", "windows", 0, 0, true, SEEN_AT_OPEN, "windows"},
    {"windows magic", "windows", 0, 0, false, SEEN_AT_OPEN, "windows"},
    {"windows cut", "windows", 0, 1, false, SEEN_AT_OPEN, "windows"},
    {"windows end", "windows", -10, 0, false, SEEN_AT_OPEN, "windows"},
    {"windows table", "windows", -33, 0, false, SEEN_AT_OPEN, "windows"},
    {"windows group", "windows", 10, 0, false, SEEN_AT_READ, "windows"},
};

static void damage(const struct change *change, const char *dir, const char *path)
{
    CLEANUP(buf_done) struct buf good = {0};
    char reason[BLOCK_REASON_BYTES];
    read_file(path, &good);
    size_t len = good.len - (size_t)MIN(change->cut, (int64_t)good.len);
    size_t at = change->at >= 0 ? (size_t)change->at : good.len - (size_t)-change->at;
    bool flips = change->seen != SEEN_NOTHING && change->cut == 0 && !change->missing;
    CLEANUP_FREE uint8_t *bad = mem_alloc(good.len);
    memcpy(bad, good.data, good.len);
    if (flips) {
        assert_true(at < good.len);
        bad[at] ^= 0x10;
    }
    put_file(path, bad, len);
    if (change->missing) {
        assert_int_equal(file_unlink(rig.fs, path), 0);
    }
    enum seen seen = look(reason);
    if (seen != change->seen || !strstr(reason, change->reason)) {
        fail_msg("%s in %s: seen %d, \"%s\"", change->what, dir, seen, reason);
    }
    put_file(path, good.data, good.len);
}

static void every_kind_of_damage_is_found(void **state)
{
    (void)state;
    const char *dirs[] = {rig.block, rig.aggregates};
    for (size_t i = 0; i < 2 * ARRAY_LEN(changes); i++) {
        const struct change *change = &changes[i / 2];
        /* Of aggregates: no windows, and chunks are found to be damaged by the samples they belong to. */
        bool is_aggregates = i % 2 == 1;
        if (is_aggregates && (strcmp(change->file, "windows") == 0 || strcmp(change->file, "tombstones") == 0)) {
            continue;
        }
        char path[256];
        snprintf(path, sizeof(path), "%s/%s", dirs[i % 2], change->file);
        damage(change, dirs[i % 2], path);
    }
    char reason[BLOCK_REASON_BYTES];
    assert_int_equal(look(reason), SEEN_NOTHING);
}

/* Places that only the table of contents knows. */
static void series_and_postings_are_checked_when_read(void **state)
{
    (void)state;
    char path[256], reason[BLOCK_REASON_BYTES];
    struct index_toc toc;
    snprintf(path, sizeof(path), "%s/index", rig.block);
    CLEANUP(buf_done) struct buf index = {0};
    read_file(path, &index);
    assert_int_equal(index_toc_parse(index.data + index.len - INDEX_TOC_BYTES, &toc), 0);
    const uint64_t places[] = {(toc.series + 15) / 16 * 16,
                               (toc.series + 15) / 16 * 16 + 3,
                               toc.label_indices - 1,
                               toc.postings + 3,
                               toc.postings + 7,
                               toc.postings + 10,
                               toc.postings_offset_table - 1};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        index.data[places[i]] ^= 4;
        put_file(path, index.data, index.len);
        assert_int_equal(look(reason), SEEN_AT_READ);
        assert_non_null(strstr(reason, "index"));
        index.data[places[i]] ^= 4;
    }
    put_file(path, index.data, index.len);
    assert_int_equal(look(reason), SEEN_NOTHING);
}

/* Texts of meta.json that are right JSON. */
static void a_changed_meta_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } edits[] = {
        {"\"version\":1", "\"version\":2"},    {"\"minTime\":17", "\"minTime\":16"},
        {"\"maxTime\":17", "\"maxTime\":18"},  {"\"numSamples\":", "\"numSamples\":1"},
        {"\"numSeries\":", "\"numSeries\":1"}, {"\"level\":1", "\"level\":2"},
        {"\"ulid\":\"01H", "\"ulid\":\"01J"},  {"\"sources\":[\"01H", "\"sources\":[\"01J"},
        {"\"sources\":", "\"sauces\":"},
    };
    char path[256], reason[BLOCK_REASON_BYTES];
    snprintf(path, sizeof(path), "%s/meta.json", rig.block);
    CLEANUP(buf_done) struct buf good = {0};
    read_file(path, &good);
    for (size_t i = 0; i < ARRAY_LEN(edits); i++) {
        CLEANUP(buf_done) struct buf bad = BUF_INIT(MIB);
        const char *found = memmem(good.data, good.len, edits[i].from, strlen(edits[i].from));
        assert_non_null(found);
        size_t before = (size_t)(found - (const char *)good.data), after = before + strlen(edits[i].from);
        buf_append(&bad, good.data, before);
        buf_append_text(&bad, edits[i].to);
        buf_append(&bad, good.data + after, good.len - after);
        put_file(path, bad.data, bad.len);
        assert_int_equal(look(reason), SEEN_AT_OPEN);
    }
    /* What is not ours to know may change: Prometheus and Thanos write meta.json anew. */
    CLEANUP(buf_done) struct buf other = BUF_INIT(MIB);
    buf_append_text(&other, "{\n\t\"another\": {\"a\": 1},");
    buf_append(&other, good.data + 1, good.len - 1);
    put_file(path, other.data, other.len);
    assert_int_equal(look(reason), SEEN_NOTHING);
    put_file(path, good.data, good.len);
}

static void directories_that_are_not_right_are_found(void **state)
{
    (void)state;
    char reason[BLOCK_REASON_BYTES], path[256];
    struct ulid other = rig.world.ulid;
    struct block *block;
    other.text[25] = other.text[25] == '7' ? '8' : '7';
    snprintf(path, sizeof(path), "blocks/%s", other.text);
    assert_int_equal(file_rename(rig.fs, rig.block, path), 0);
    assert_int_equal(block_open(&rig.dirs, &rig.world.ulid, reason, &block), -ENOENT);
    assert_int_equal(block_open(&rig.dirs, &other, reason, &block), -EBADMSG);
    assert_non_null(strstr(reason, "directory's name"));
    assert_int_equal(file_rename(rig.fs, path, rig.block), 0);

    assert_int_equal(file_rename(rig.fs, rig.aggregates, "aside"), 0);
    assert_int_equal(look(reason), SEEN_AT_OPEN);
    assert_int_equal(file_rename(rig.fs, rig.block, "another"), 0);
    assert_int_equal(file_rename(rig.fs, "aside", rig.block), 0); /* aggregates where blocks are */
    assert_int_equal(look(reason), SEEN_AT_OPEN);
    assert_int_equal(file_rename(rig.fs, rig.block, rig.aggregates), 0);
    assert_int_equal(file_rename(rig.fs, "another", rig.block), 0);

    snprintf(path, sizeof(path), "%s/chunks", rig.block);
    assert_int_equal(file_rename(rig.fs, path, "aside"), 0);
    assert_int_equal(look(reason), SEEN_AT_OPEN);
    assert_int_equal(file_make_dirs(rig.fs, path), 0);
    assert_int_equal(look(reason), SEEN_AT_OPEN);
    assert_int_equal(file_unlink(rig.fs, path), 0);
    assert_int_equal(file_rename(rig.fs, "aside", path), 0);

    snprintf(path, sizeof(path), "%s/chunks/000002", rig.block);
    static const uint8_t head[8] = {0x85, 0xBD, 0x40, 0xDD, 1};
    put_file(path, head, sizeof(head));
    assert_int_equal(look(reason), SEEN_AT_OPEN);
    assert_int_equal(file_unlink(rig.fs, path), 0);
    assert_int_equal(look(reason), SEEN_NOTHING);
}

/* ---- Files that are right and do not belong together ---- */

/* Makes meta.json and tributary.json say what now lies beside them, with `change` done to it. */
static void reseal(const char *dir, void (*change)(struct block_meta *meta))
{
    char path[256], reason[BLOCK_REASON_BYTES];
    static const char *const names[] = {"meta.json", "tributary.json"};
    CLEANUP(block_meta_done) struct block_meta meta = {0};
    for (size_t i = 0; i < 2; i++) {
        CLEANUP(buf_done) struct buf text = {0};
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        read_file(path, &text);
        assert_int_equal(i == 0 ? block_meta_parse(buf_view(&text), &meta, reason)
                                : block_meta_parse_ours(buf_view(&text), &meta, reason),
                         0);
    }
    for (size_t i = 0; i < meta.file_count; i++) {
        CLEANUP(buf_done) struct buf bytes = {0};
        snprintf(path, sizeof(path), "%s/%s", dir, meta.files[i].name);
        read_file(path, &bytes);
        meta.files[i].bytes = bytes.len;
        meta.files[i].crc = crc32c(0, bytes.data, bytes.len);
    }
    if (change) {
        change(&meta);
    }
    for (size_t i = 0; i < 2; i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(MIB);
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        if (i == 0) {
            block_meta_print(&meta, &text);
        } else {
            block_meta_print_ours(&meta, &text);
        }
        put_file(path, text.data, text.len);
    }
}

static void one_series_more(struct block_meta *meta)
{
    meta->series_count++;
}
static void one_chunk_more(struct block_meta *meta)
{
    meta->chunk_count++;
}
static void one_sample_more(struct block_meta *meta)
{
    meta->sample_count++;
}
static void one_window_more(struct block_meta *meta)
{
    meta->aggregate_count++;
}
static void no_aggregates(struct block_meta *meta)
{
    meta->has_aggregates = false;
    meta->aggregate_count = 0;
}
static void a_shorter_time(struct block_meta *meta)
{
    meta->max_time_ms = meta->min_time_ms + 1000;
}

static void counts_that_are_not_right_are_found(void **state)
{
    (void)state;
    static void (*const changes_of_meta[])(struct block_meta *) = {one_series_more, one_chunk_more, one_sample_more,
                                                                   one_window_more, no_aggregates,  a_shorter_time};
    for (size_t i = 0; i < 2 * ARRAY_LEN(changes_of_meta); i++) {
        char path[2][256], reason[BLOCK_REASON_BYTES];
        const char *dir = i % 2 ? rig.aggregates : rig.block;
        CLEANUP(buf_done) struct buf meta = {0};
        CLEANUP(buf_done) struct buf ours = {0};
        if (i % 2 && i / 2 >= 3) { /* of aggregates: not theirs to say */
            continue;
        }
        snprintf(path[0], sizeof(path[0]), "%s/meta.json", dir);
        snprintf(path[1], sizeof(path[1]), "%s/tributary.json", dir);
        read_file(path[0], &meta);
        read_file(path[1], &ours);
        reseal(dir, changes_of_meta[i / 2]);
        CLEANUP(block_unrefp) struct block *block = NULL;
        int error = block_open(&rig.dirs, &rig.world.ulid, reason, &block);
        error = error ? error : block_verify(block, NULL, NULL, reason);
        assert_int_equal(error, -EBADMSG);
        put_file(path[0], meta.data, meta.len);
        put_file(path[1], ours.data, ours.len);
    }
    char reason[BLOCK_REASON_BYTES];
    reseal(rig.block, NULL);
    assert_int_equal(look(reason), SEEN_NOTHING);
}

static void copy_file(const char *from, const char *to)
{
    CLEANUP(buf_done) struct buf bytes = {0};
    read_file(from, &bytes);
    put_file(to, bytes.data, bytes.len);
}

/* Files of another block, in place of its own. */
static void files_of_another_block_are_found(void **state)
{
    (void)state;
    static const char *const names[] = {"index", "chunks/000001", "windows", "index", "chunks/000001"};
    struct world other;
    world_init(&other, 22, 40, 150);
    assert_int_equal(world_write(&other, &rig.dirs, 60), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[256], from[256], reason[BLOCK_REASON_BYTES];
        const char *dir = i < 3 ? rig.block : rig.aggregates;
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        snprintf(from, sizeof(from), "%s/%s/%s", i < 3 ? "blocks" : "aggregates", other.ulid.text, names[i]);
        CLEANUP(buf_done) struct buf good = {0};
        read_file(path, &good);
        copy_file(from, path);
        reseal(dir, NULL);
        CLEANUP(block_unrefp) struct block *block = NULL;
        int error = block_open(&rig.dirs, &rig.world.ulid, reason, &block);
        error = error ? error : block_verify(block, NULL, NULL, reason);
        assert_int_equal(error, -EBADMSG);
        put_file(path, good.data, good.len);
        reseal(dir, NULL);
        block_unref(STEAL(block));
        assert_int_equal(look(reason), SEEN_NOTHING);
    }
    assert_int_equal(block_delete(&rig.dirs, &other.ulid), 0);
    world_done(&other);
}

/* Without our checksums of whole files, as Prometheus' blocks are. */
static void blocks_of_others_are_checked_by_what_they_have(void **state)
{
    (void)state;
    char path[256], reason[BLOCK_REASON_BYTES];
    static const char meta[] = "{\"version\":1,\"minTime\":0,\"maxTime\":1900000000000}";
    struct block_dirs dirs = {.fs = rig.fs, .blocks = "others", .aggregates = "none"};
    struct ulid ulid = rig.world.ulid;
    struct index_toc toc;
    CLEANUP(buf_done) struct buf index = {0};
    CLEANUP(buf_done) struct buf chunks = {0};
    snprintf(path, sizeof(path), "%s/index", rig.block);
    read_file(path, &index);
    snprintf(path, sizeof(path), "%s/chunks/000001", rig.block);
    read_file(path, &chunks);
    snprintf(path, sizeof(path), "others/%s/chunks", ulid.text);
    assert_int_equal(file_make_dirs(rig.fs, path), 0);
    assert_int_equal(index_toc_parse(index.data + index.len - INDEX_TOC_BYTES, &toc), 0);
    const uint64_t places[] = {0,
                               (toc.series + 15) / 16 * 16 + 3,
                               toc.label_indices - 1,
                               toc.postings + 10,
                               toc.postings + 3,
                               toc.postings_offset_table - 2};
    for (size_t i = 0; i < 2 * ARRAY_LEN(places); i++) {
        uint64_t at = places[i / 2];
        CLEANUP(block_unrefp) struct block *block = NULL;
        /* Once flipped; once an id of the list of all made another, its checksum right again. */
        bool forged = i % 2 == 1 && at == toc.postings + 10;
        uint8_t *list = index.data + toc.postings;
        uint32_t count = be32_at(list + 4), crc = be32_at(list + 8 + 4 * count);
        index.data[at] ^= at > 0 && (forged || i % 2 == 0) ? 1 : 0;
        if (forged) {
            uint32_t right = htobe32(crc32c(0, list + 4, 4 + 4 * count));
            memcpy(list + 8 + 4 * count, &right, sizeof(right));
        }
        snprintf(path, sizeof(path), "others/%s/index", ulid.text);
        put_file(path, index.data, index.len);
        snprintf(path, sizeof(path), "others/%s/chunks/000001", ulid.text);
        put_file(path, chunks.data, chunks.len);
        snprintf(path, sizeof(path), "others/%s/meta.json", ulid.text);
        put_file(path, meta, strlen(meta));
        bool is_same = at == 0 || (i % 2 == 1 && !forged);
        assert_int_equal(block_open(&dirs, &ulid, reason, &block), 0);
        assert_int_equal(block_verify(block, NULL, NULL, reason), is_same ? 0 : -EBADMSG);
        index.data[at] ^= is_same ? 0 : 1;
        crc = htobe32(crc);
        memcpy(list + 8 + 4 * count, &crc, sizeof(crc));
    }
    chunks.data[30] ^= 1;
    snprintf(path, sizeof(path), "others/%s/chunks/000001", ulid.text);
    put_file(path, chunks.data, chunks.len);
    CLEANUP(block_unrefp) struct block *block = NULL;
    assert_int_equal(block_open(&dirs, &ulid, reason, &block), 0);
    assert_int_equal(block_verify(block, NULL, NULL, reason), -EBADMSG);
    assert_int_equal(block_delete(&dirs, &ulid), 0);
}

/* ---- Any damage ---- */

static const char *const all_files[] = {"index",   "chunks/000001", "tombstones", "meta.json",    "tributary.json",
                                        "windows", "index",         "index",      "chunks/000001"};

static void change_at_random(struct random *random, uint8_t *bytes, size_t *len)
{
    switch (random_below(random, 8)) {
    case 0:
        *len = random_below(random, *len);
        break;
    case 1: { /* a sector of zeros */
        size_t at = random_below(random, *len);
        memset(bytes + at, 0, MIN(*len - at, 512));
        break;
    }
    case 2: { /* one piece over another */
        size_t from = random_below(random, *len), to = random_below(random, *len), count = random_below(random, 64);
        memmove(bytes + to, bytes + from, MIN(*len - MAX(from, to), count));
        break;
    }
    case 3:
        bytes[random_below(random, *len)] = (uint8_t)random_next(random);
        break;
    default:
        bytes[random_below(random, *len)] ^= (uint8_t)(1 << random_below(random, 8));
    }
}

static void no_flip_gives_other_data(void **state)
{
    (void)state;
    struct random random;
    char reason[BLOCK_REASON_BYTES], path[256];
    int seen[3] = {0};
    random_seed(&random, 99);
    for (int i = 0; i < FLIPS; i++) {
        const char *name = all_files[random_below(&random, ARRAY_LEN(all_files))];
        bool in_aggregates = random_below(&random, 3) == 0 && strcmp(name, "windows") != 0;
        CLEANUP(buf_done) struct buf good = {0};
        snprintf(path, sizeof(path), "%s/%s", in_aggregates ? rig.aggregates : rig.block, name);
        read_file(path, &good);
        CLEANUP_FREE uint8_t *bad = mem_alloc(good.len);
        memcpy(bad, good.data, good.len);
        size_t len = good.len;
        change_at_random(&random, bad, &len);
        bool is_same = len == good.len && memcmp(bad, good.data, len) == 0;
        put_file(path, bad, len);
        enum seen what = look(reason);
        seen[what]++;
        /* The checksums of whole files are in tributary.json, so the check misses none of them. */
        bool is_listed = strcmp(name, "meta.json") != 0;
        if (!is_same && is_listed && what == SEEN_NOTHING) {
            fail_msg("flip %d in %s was not found", i, path);
        }
        put_file(path, good.data, good.len);
    }
    assert_int_equal(look(reason), SEEN_NOTHING);
    print_message("%d changes: %d found at open, %d at reading, %d changed nothing\n", FLIPS, seen[0], seen[1],
                  seen[2]);
}

/* ---- A disk that changes its mind after the block was opened ---- */

static void flip_on_disk(const char *path, uint64_t at, uint8_t bits)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_true(fputc(byte ^ bits, file) != EOF);
    assert_int_equal(fclose(file), 0);
}

static void flip_when_open(struct random *random, const struct block_dirs *dirs, const char *block_dir)
{
    char path[256], reason[BLOCK_REASON_BYTES];
    static const char *const names[] = {"index", "chunks/000001", "windows"};
    struct file *file;
    CLEANUP(block_unrefp) struct block *block = NULL;
    assert_int_equal(block_open(dirs, &rig.world.ulid, reason, &block), 0);
    snprintf(path, sizeof(path), "%s/%s", block_dir, names[random_below(random, ARRAY_LEN(names))]);
    assert_int_equal(file_open(dirs->fs, path, FILE_READ, &file), 0);
    uint64_t at = random_below(random, file_size(file));
    file_close(file);
    uint8_t bits = (uint8_t)(1 + random_below(random, 255));
    flip_on_disk(path, at, bits);
    if (world_compare(&rig.world, block, true) == 0) {
        fail_msg("other data after %s changed at %llu", path, (unsigned long long)at);
    }
    flip_on_disk(path, at, bits);
}

static void what_changes_after_the_opening_is_found(void **state)
{
    (void)state;
    char dir[] = "/tmp/tributary-damage-XXXXXX", blocks[64], aggregates[64], block[128];
    struct random random;
    assert_non_null(mkdtemp(dir));
    snprintf(blocks, sizeof(blocks), "%s/blocks", dir);
    snprintf(aggregates, sizeof(aggregates), "%s/aggregates", dir);
    snprintf(block, sizeof(block), "%s/%s", blocks, rig.world.ulid.text);
    struct block_dirs dirs = {.fs = file_system_real(), .blocks = blocks, .aggregates = aggregates};
    random_seed(&random, 3);
    assert_int_equal(world_write(&rig.world, &dirs, 60), 0);
    for (int i = 0; i < 500; i++) {
        flip_when_open(&random, &dirs, block);
    }
    assert_int_equal(block_delete(&dirs, &rig.world.ulid), 0);
    assert_int_equal(rmdir(blocks), 0);
    assert_int_equal(rmdir(aggregates), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_damage_is_found),
        cmocka_unit_test(series_and_postings_are_checked_when_read),
        cmocka_unit_test(a_changed_meta_is_found),
        cmocka_unit_test(directories_that_are_not_right_are_found),
        cmocka_unit_test(counts_that_are_not_right_are_found),
        cmocka_unit_test(files_of_another_block_are_found),
        cmocka_unit_test(blocks_of_others_are_checked_by_what_they_have),
        cmocka_unit_test(no_flip_gives_other_data),
        cmocka_unit_test(what_changes_after_the_opening_is_found),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
