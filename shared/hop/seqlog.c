#include "hop/seqlog.h"
#include "base/crc.h"
#include "base/fail.h"
#include "base/map.h"
#include "hop/seqlog_epoch.h"

#include <errno.h>

struct seen_source {
    struct seen_source *next;    /* another incarnation of the same name */
    struct source_id id;         /* texts are owned */
    uint64_t used;               /* seqlog->uses when last added to */
    uint64_t epoch_floor;        /* epochs below are taken as seen */
    struct seqlog_epoch *epochs; /* ascending */
    size_t epoch_count;
};

struct seqlog {
    struct map sources;
    struct map names; /* the first source of each name */
    uint64_t uses;
};

struct seqlog *seqlog_new(void)
{
    struct seqlog *seqlog = mem_zalloc(sizeof(*seqlog));
    map_init(&seqlog->sources);
    map_init(&seqlog->names);
    return seqlog;
}

static void source_free(struct seen_source *source)
{
    for (size_t i = 0; i < source->epoch_count; i++)
        seqlog_epoch_done(&source->epochs[i]);
    mem_free(source->epochs);
    mem_free((char *)source->id.datacenter.ptr);
    mem_free((char *)source->id.secondary.ptr);
    mem_free(source);
}

void seqlog_free(struct seqlog *seqlog)
{
    if (!seqlog)
        return;
    struct seen_source *source;
    for (size_t at = 0; (source = map_next(&seqlog->sources, &at));)
        source_free(source);
    map_done(&seqlog->sources);
    map_done(&seqlog->names);
    mem_free(seqlog);
}

size_t seqlog_source_count(const struct seqlog *seqlog)
{
    return seqlog->sources.count;
}

/* ---- Sources and their epochs ---- */

static uint64_t source_hash(const struct source_id *id)
{
    uint64_t hash = hash64(id->datacenter.ptr, id->datacenter.len, id->incarnation);
    return hash64(id->secondary.ptr, id->secondary.len, hash);
}

static bool same_name(const struct source_id *a, const struct source_id *b)
{
    return str_equal(a->datacenter, b->datacenter) && str_equal(a->secondary, b->secondary);
}

static bool source_is(const void *item, const void *key)
{
    const struct source_id *id = key;
    const struct seen_source *source = item;
    return source->id.incarnation == id->incarnation && same_name(&source->id, id);
}

static struct seen_source *source_get(const struct seqlog *seqlog, const struct source_id *id)
{
    return map_get(&seqlog->sources, source_hash(id), source_is, id);
}

static uint64_t name_hash(const struct source_id *id)
{
    return hash64(id->secondary.ptr, id->secondary.len, hash64(id->datacenter.ptr, id->datacenter.len, 0));
}

static bool name_is(const void *item, const void *key)
{
    const struct seen_source *source = item;
    return same_name(&source->id, key);
}

/* Off the list of its name, and gone. */
static void forget_source(struct seqlog *seqlog, struct seen_source *source)
{
    uint64_t hash = name_hash(&source->id);
    struct seen_source *first = map_remove(&seqlog->names, hash, name_is, &source->id);
    struct seen_source **link = &first;
    while (*link != source)
        link = &(*link)->next;
    *link = source->next;
    if (first)
        map_put(&seqlog->names, hash, first);
    map_remove(&seqlog->sources, source_hash(&source->id), source_is, &source->id);
    source_free(source);
}

/* A new incarnation of a name that has its share already: the one unused for longest makes room, so that a source that
 * draws a new one at every start crowds out nobody but itself. */
static void make_room(struct seqlog *seqlog, const struct source_id *id)
{
    struct seen_source *oldest = NULL;
    size_t incarnations = 0;
    struct seen_source *source = map_get(&seqlog->names, name_hash(id), name_is, id);
    for (; source; source = source->next) {
        incarnations++;
        if (!oldest || source->used < oldest->used)
            oldest = source;
    }
    if (incarnations >= SEQLOG_INCARNATIONS_MAX)
        forget_source(seqlog, oldest);
}

static struct seen_source *source_new(struct seqlog *seqlog, const struct source_id *id)
{
    struct seen_source *source = mem_zalloc(sizeof(*source));
    source->id.datacenter = str_of(mem_strndup(id->datacenter.ptr, id->datacenter.len), id->datacenter.len);
    source->id.secondary = str_of(mem_strndup(id->secondary.ptr, id->secondary.len), id->secondary.len);
    source->id.incarnation = id->incarnation;
    source->next = map_remove(&seqlog->names, name_hash(id), name_is, id);
    map_put(&seqlog->names, name_hash(id), source);
    map_put(&seqlog->sources, source_hash(id), source);
    return source;
}

static struct seen_source *source_make(struct seqlog *seqlog, const struct source_id *id)
{
    struct seen_source *source = source_get(seqlog, id);
    if (!source) {
        make_room(seqlog, id);
        if (seqlog->sources.count >= SEQLOG_SOURCES_MAX)
            return NULL;
        source = source_new(seqlog, id);
    }
    source->used = ++seqlog->uses;
    return source;
}

/* Index of the epoch, or where it would stand. */
static size_t epoch_place(const struct seen_source *source, uint64_t number)
{
    size_t place = source->epoch_count;
    while (place > 0 && source->epochs[place - 1].number >= number)
        place--;
    return place;
}

static struct seqlog_epoch *epoch_get(const struct seen_source *source, uint64_t number)
{
    size_t place = source ? epoch_place(source, number) : 0;
    bool found = source && place < source->epoch_count && source->epochs[place].number == number;
    return found ? &source->epochs[place] : NULL;
}

static void raise_floor(struct seen_source *source, uint64_t floor)
{
    source->epoch_floor = MAX(source->epoch_floor, floor);
    size_t gone = 0;
    while (gone < source->epoch_count && source->epochs[gone].number < source->epoch_floor)
        seqlog_epoch_done(&source->epochs[gone++]);
    source->epoch_count -= gone;
    if (gone > 0 && source->epoch_count > 0)
        memmove(source->epochs, source->epochs + gone, source->epoch_count * sizeof(*source->epochs));
}

/* NULL: older than what is kept. */
static struct seqlog_epoch *epoch_make(struct seen_source *source, uint64_t number)
{
    struct seqlog_epoch *epoch = epoch_get(source, number);
    if (epoch)
        return epoch;
    if (source->epoch_count == SEQLOG_EPOCHS_MAX && number > source->epochs[0].number)
        raise_floor(source, source->epochs[0].number + 1);
    if (number < source->epoch_floor || source->epoch_count == SEQLOG_EPOCHS_MAX)
        return NULL;
    size_t place = epoch_place(source, number);
    source->epochs = mem_resize(source->epochs, source->epoch_count + 1, sizeof(*source->epochs));
    memmove(source->epochs + place + 1, source->epochs + place,
            (source->epoch_count - place) * sizeof(*source->epochs));
    source->epoch_count++;
    source->epochs[place] = (struct seqlog_epoch){.number = number};
    if (source->epoch_count > SEQLOG_CHECKSUM_EPOCHS_MAX)
        seqlog_epoch_forget_checksums(&source->epochs[source->epoch_count - SEQLOG_CHECKSUM_EPOCHS_MAX - 1]);
    return &source->epochs[place];
}

static bool epoch_is_below_floor(const struct seen_source *source, uint64_t number)
{
    bool crowded = source->epoch_count == SEQLOG_EPOCHS_MAX && number < source->epochs[0].number;
    return number < source->epoch_floor || crowded;
}

/* ---- Asking and adding ---- */

bool seqlog_covers(const struct seqlog *seqlog, const struct source_id *source, uint64_t epoch, uint64_t first,
                   uint64_t last)
{
    const struct seen_source *seen = source_get(seqlog, source);
    if (!seen)
        return false;
    if (epoch_is_below_floor(seen, epoch))
        return true;
    const struct seqlog_epoch *found = epoch_get(seen, epoch);
    return found && seqlog_epoch_covers(found, first, last);
}

enum seqlog_verdict seqlog_check(const struct seqlog *seqlog, const struct source_id *source, uint64_t epoch,
                                 uint64_t seq, uint32_t checksum)
{
    if (!seqlog_covers(seqlog, source, epoch, seq, seq))
        return SEQLOG_NEW;
    const struct seqlog_epoch *found = epoch_get(source_get(seqlog, source), epoch);
    uint32_t known;
    if (found && seqlog_epoch_checksum(found, seq, &known) && known != checksum)
        return SEQLOG_CONFLICT;
    return SEQLOG_DUPLICATE;
}

int seqlog_add_range(struct seqlog *seqlog, const struct source_id *source, uint64_t epoch, uint64_t first,
                     uint64_t last)
{
    ASSERT(first >= 1 && first <= last);
    struct seen_source *seen = source_make(seqlog, source);
    if (!seen)
        return -ENOSPC;
    struct seqlog_epoch *found = epoch_make(seen, epoch);
    return found ? seqlog_epoch_add(found, first, last) : 0;
}

int seqlog_add(struct seqlog *seqlog, const struct source_id *source, uint64_t epoch, uint64_t seq, uint32_t checksum)
{
    int error = seqlog_add_range(seqlog, source, epoch, seq, seq);
    if (error < 0)
        return error;
    struct seen_source *seen = source_get(seqlog, source);
    struct seqlog_epoch *found = epoch_get(seen, epoch);
    if (found && epoch_place(seen, epoch) + SEQLOG_CHECKSUM_EPOCHS_MAX >= seen->epoch_count)
        seqlog_epoch_put_checksum(found, seq, checksum);
    return 0;
}

void seqlog_remove(struct seqlog *seqlog, const struct source_id *source, uint64_t epoch, uint64_t first, uint64_t last)
{
    struct seqlog_epoch *found = epoch_get(source_get(seqlog, source), epoch);
    if (found)
        seqlog_epoch_remove(found, first, last);
}

uint64_t seqlog_highest(const struct seqlog *seqlog, const struct source_id *source, uint64_t epoch)
{
    const struct seqlog_epoch *found = epoch_get(source_get(seqlog, source), epoch);
    return found ? seqlog_epoch_highest(found) : 0;
}

/* ---- Snapshot: source after source, each [datacenter, secondary, incarnation, epoch floor, [epoch ...]] ---- */

#define SOURCE_FIELDS 5

static void encode_source(const struct seen_source *source, struct buf *out)
{
    pack_array(out, SOURCE_FIELDS);
    pack_str(out, source->id.datacenter);
    pack_str(out, source->id.secondary);
    pack_uint(out, source->id.incarnation);
    pack_uint(out, source->epoch_floor);
    pack_array(out, (uint32_t)source->epoch_count);
    for (size_t i = 0; i < source->epoch_count; i++)
        seqlog_epoch_encode(&source->epochs[i], out);
}

int seqlog_encode(const struct seqlog *seqlog, size_t *at, struct buf *out)
{
    size_t start = out->len;
    struct seen_source *source = NULL;
    while (out->len - start < SEQLOG_PIECE_BYTES && (source = map_next(&seqlog->sources, at)))
        encode_source(source, out);
    if (out->full)
        return -EMSGSIZE;
    return source ? 1 : 0;
}

static int decode_source(struct seqlog *seqlog, struct unpack *in)
{
    uint32_t fields = unpack_record(in, SOURCE_FIELDS);
    struct source_id id;
    id.datacenter = unpack_str(in, SOURCE_NAME_BYTES_MAX);
    id.secondary = unpack_str(in, SOURCE_NAME_BYTES_MAX);
    id.incarnation = unpack_uint(in, UINT64_MAX);
    uint64_t floor = unpack_uint(in, UINT64_MAX);
    uint32_t epochs = unpack_array(in, SEQLOG_EPOCHS_MAX);
    if (in->in.bad || !source_name_is_valid(id.datacenter) || !source_name_is_valid(id.secondary))
        return -EBADMSG;
    struct seen_source *source = source_make(seqlog, &id);
    if (source)
        raise_floor(source, floor);
    for (uint32_t i = 0; i < epochs; i++) {
        uint64_t number = 0;
        uint32_t epoch_fields = seqlog_epoch_decode_number(in, &number);
        if (in->in.bad)
            return -EBADMSG;
        /* A source past the ceiling is read and dropped. */
        struct seqlog_epoch dropped = {0};
        struct seqlog_epoch *epoch = source ? epoch_make(source, number) : NULL;
        seqlog_epoch_decode(epoch ? epoch : &dropped, epoch_fields, in);
        seqlog_epoch_done(&dropped);
    }
    unpack_skip(in, fields > SOURCE_FIELDS ? fields - SOURCE_FIELDS : 0);
    return in->in.bad ? -EBADMSG : 0;
}

int seqlog_decode(struct seqlog *seqlog, const void *bytes, size_t len)
{
    struct unpack in = unpack_of(bytes, len);
    while (reader_left(&in.in) > 0) {
        int error = decode_source(seqlog, &in);
        if (error < 0)
            return error;
    }
    return in.in.bad ? -EBADMSG : 0;
}
