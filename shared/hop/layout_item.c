/* Operations are numbers, n << 2 | operation, with what belongs to them behind.
 *
 *   of a page                                     of a target list
 *   0  copy n families from the base              0  copy n targets
 *   1  go to base n; svarint: move its cursor     1  the same
 *   2  a family of n bytes, whole                 2  n targets, whole
 *   3  the base's next family, edited by n of:
 *        0  copy n slots
 *        1  move the cursor by n (zigzag)
 *        2  n slots, whole
 *
 * Each base has a cursor, which copying moves on, so what is taken in order needs no places. */
#include "hop/layout_item.h"
#include "base/fail.h"

#include <errno.h>

enum { OP_COPY, OP_BASE, OP_NEW, OP_EDIT };

struct cursors {
    struct layout *const *bases;
    size_t count, current;
    uint64_t at[LAYOUT_BASES_MAX];
};

static int64_t from_zigzag(uint64_t number)
{
    return (int64_t)(number >> 1 ^ -(number & 1));
}

/* The cursor moved by a signed jump; it may stand at the end. */
static bool move_cursor(uint64_t *at, uint64_t zigzag, uint64_t end)
{
    int64_t jump = from_zigzag(zigzag);
    uint64_t back = jump < 0 ? -(uint64_t)jump : 0;
    if (jump < 0 ? back > *at : (uint64_t)jump > end - *at)
        return false;
    *at = jump < 0 ? *at - back : *at + (uint64_t)jump;
    return true;
}

static int go_to_base(struct cursors *cursors, uint64_t number, struct reader *reader)
{
    uint64_t zigzag = reader_uvarint(reader);
    if (reader->bad || number >= cursors->count)
        return -EBADMSG;
    cursors->current = (size_t)number;
    bool fine = move_cursor(&cursors->at[number], zigzag, cursors->bases[number]->count);
    return fine ? 0 : -EBADMSG;
}

/* n things at the cursor of the current base: the number of the first. */
static int take_from_base(struct cursors *cursors, uint64_t n, uint64_t *ret_first)
{
    if (cursors->count == 0)
        return -EBADMSG;
    uint64_t *at = &cursors->at[cursors->current];
    if (n == 0 || n > cursors->bases[cursors->current]->count - *at)
        return -EBADMSG;
    *ret_first = *at;
    *at += n;
    return 0;
}

static int claim(struct layout_budget *budget, uint64_t bytes)
{
    if (bytes > budget->claimed)
        return -EMSGSIZE;
    budget->claimed -= bytes;
    return 0;
}

static int copy(struct layout_budget *budget, uint64_t bytes)
{
    if (bytes > budget->copied)
        return -ENOBUFS;
    budget->copied -= bytes;
    return 0;
}

/* ---- Reading a page ---- */

struct family_list {
    struct layout **items; /* references of its own */
    uint32_t count, capacity;
    uint64_t bytes; /* of their text */
};

static void family_list_done(struct family_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        layout_unref(list->items[i]);
    mem_free(list->items);
}

/* Takes over the reference. */
static int add_family(struct family_list *list, struct layout *family)
{
    list->bytes += family->bytes_len;
    if (list->count == LAYOUT_FAMILIES_MAX || list->bytes > LAYOUT_PAGE_BYTES_MAX) {
        layout_unref(family);
        return -EMSGSIZE;
    }
    if (list->count == list->capacity) {
        list->capacity = MAX(2 * list->capacity, 64U);
        list->items = mem_resize(list->items, list->capacity, sizeof(*list->items));
    }
    list->items[list->count++] = family;
    return 0;
}

/* Its pointer, and looking for it where families are known: three bytes may copy 65,536. */
#define COPIED_FAMILY_COST 128

static int copy_families(struct cursors *cursors, uint64_t n, struct layout_budget *budget, struct family_list *list)
{
    uint64_t first;
    int error = take_from_base(cursors, n, &first);
    if (error == 0)
        error = copy(budget, n * COPIED_FAMILY_COST);
    for (uint64_t i = 0; error == 0 && i < n; i++)
        error = add_family(list, layout_ref(cursors->bases[cursors->current]->families[first + i]));
    return error;
}

static int new_family(uint64_t bytes, struct reader *reader, struct layout_budget *budget, struct family_list *list)
{
    if (bytes > reader_left(reader))
        return -EBADMSG;
    struct str blob = reader_bytes(reader, (size_t)bytes);
    CLEANUP(layout_unrefp) struct layout *family = NULL;
    int error = layout_decode(blob.ptr, blob.len, &family);
    if (error == 0 && family->type != LAYOUT_FAMILY)
        error = -EBADMSG;
    if (error == 0)
        error = claim(budget, layout_memory_bytes(family));
    return error < 0 ? error : add_family(list, STEAL(family));
}

/* The slots of an edited family, as they will stand in its blob. */
struct slot_list {
    struct buf bytes;
    uint64_t count;
    uint64_t copied;  /* bytes that a base gave */
    uint64_t charged; /* for them, of the budget of copies */
};

/* What is copied from a base is charged before it is made: else all of it would be made to know that there is no room
 * for it. */
static int copy_slots(const struct layout *base, uint32_t from, uint32_t n, struct layout_budget *budget,
                      struct slot_list *slots)
{
    struct str piece = layout_slot_bytes(base, from, n);
    uint64_t memory = piece.len + n * sizeof(base->slots[0]);
    for (uint32_t i = from; i < from + n; i++)
        memory += base->slots[i].label_count * sizeof(struct label);
    int error = copy(budget, memory);
    if (error < 0)
        return error;
    slots->copied += piece.len;
    slots->charged += memory;
    return buf_append_str(&slots->bytes, piece) < 0 ? -EMSGSIZE : 0;
}

static int edit_slots(const struct layout *base, uint64_t operations, struct reader *reader,
                      struct layout_budget *budget, struct slot_list *slots)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t number = reader_uvarint(reader), n = number >> 2;
        struct str piece = STR_NULL;
        int error = 0;
        switch (reader->bad ? OP_EDIT : number & 3) {
        case OP_COPY:
            if (n == 0 || n > base->count - at || slots->count + n > LAYOUT_SLOTS_MAX)
                return -EBADMSG;
            error = copy_slots(base, (uint32_t)at, (uint32_t)n, budget, slots);
            at += n;
            break;
        case OP_BASE:
            if (!move_cursor(&at, n, base->count))
                return -EBADMSG;
            continue;
        case OP_NEW:
            piece.ptr = (const char *)reader->at;
            for (uint64_t j = 0; j < n && !reader->bad; j++)
                piece.len += layout_skip_slot(reader).len;
            break;
        default:
            return -EBADMSG;
        }
        slots->count += n;
        if (reader->bad || slots->count > LAYOUT_SLOTS_MAX)
            return -EBADMSG;
        if (error < 0)
            return error;
        if (buf_append_str(&slots->bytes, piece) < 0)
            return -EMSGSIZE;
    }
    return 0;
}

static int make_family(const struct layout *base, const struct slot_list *slots, struct layout **ret_family)
{
    CLEANUP(buf_done) struct buf blob = BUF_INIT(LAYOUT_BLOB_BYTES_MAX);
    buf_append(&blob, base->bytes, base->head_len);
    buf_append_uvarint(&blob, slots->count);
    if (buf_append_str(&blob, buf_view(&slots->bytes)) < 0)
        return -EMSGSIZE;
    return layout_decode(blob.data, blob.len, ret_family);
}

static int edit_family(struct cursors *cursors, uint64_t operations, struct reader *reader,
                       struct layout_budget *budget, struct family_list *list)
{
    uint64_t first;
    int error = take_from_base(cursors, 1, &first);
    if (error < 0 || operations > reader_left(reader))
        return -EBADMSG;
    const struct layout *base = cursors->bases[cursors->current]->families[first];
    struct slot_list slots = {.bytes = BUF_INIT(LAYOUT_BLOB_BYTES_MAX)};
    CLEANUP(layout_unrefp) struct layout *family = NULL;
    error = edit_slots(base, operations, reader, budget, &slots);
    if (error == 0)
        error = make_family(base, &slots, &family);
    buf_done(&slots.bytes);
    if (error != 0)
        return error;
    /* What the base's text gives is the base's doing, the rest is claimed. */
    uint64_t memory = layout_memory_bytes(family);
    uint64_t copied = (uint64_t)((double)memory * (double)(base->head_len + slots.copied) / (double)family->bytes_len);
    error = copy(budget, memory - MIN(memory, slots.charged));
    if (error == 0)
        error = claim(budget, memory - MIN(memory, copied));
    return error < 0 ? error : add_family(list, STEAL(family));
}

static int decode_page(struct reader *reader, struct cursors *cursors, struct layout_budget *budget,
                       struct layout **ret_layout)
{
    CLEANUP(family_list_done) struct family_list list = {0};
    int error = 0;
    while (error == 0 && reader_left(reader) > 0) {
        uint64_t number = reader_uvarint(reader), n = number >> 2;
        if (reader->bad)
            return -EBADMSG;
        switch (number & 3) {
        case OP_COPY:
            error = copy_families(cursors, n, budget, &list);
            break;
        case OP_BASE:
            error = go_to_base(cursors, n, reader);
            break;
        case OP_NEW:
            error = new_family(n, reader, budget, &list);
            break;
        default:
            error = edit_family(cursors, n, reader, budget, &list);
        }
    }
    if (error == 0)
        error = copy(budget, sizeof(struct layout) + list.count * sizeof(struct layout *));
    if (error < 0)
        return error;
    *ret_layout = layout_page_new(list.items, list.count);
    return *ret_layout ? 0 : -EBADMSG;
}

/* ---- Reading a target list ---- */

/* In memory, of so many bytes of a list (layout_memory_bytes). */
#define TARGET_COST(bytes) (3 * (uint64_t)(bytes))

static int copy_target(const struct labels *target, struct layout_budget *budget, struct buf *targets)
{
    size_t before = targets->len;
    int error = labels_encode(target, targets);
    return error < 0 ? error : copy(budget, TARGET_COST(targets->len - before));
}

static int decode_target_operations(struct reader *reader, struct cursors *cursors, struct layout_budget *budget,
                                    struct buf *targets, uint64_t *ret_count)
{
    while (reader_left(reader) > 0) {
        uint64_t number = reader_uvarint(reader), n = number >> 2, first;
        if (reader->bad)
            return -EBADMSG;
        int error = 0;
        switch (number & 3) {
        case OP_COPY:
            error = take_from_base(cursors, n, &first);
            for (uint64_t i = 0; error == 0 && i < n; i++)
                error = copy_target(cursors->bases[cursors->current]->targets[first + i], budget, targets);
            break;
        case OP_BASE:
            error = go_to_base(cursors, n, reader);
            n = 0;
            break;
        case OP_NEW:
            for (uint64_t i = 0; i < n && !reader->bad; i++)
                buf_append_str(targets, layout_skip_target(reader));
            break;
        default:
            return -EBADMSG;
        }
        *ret_count += n;
        if (error == -ENOBUFS)
            return error;
        if (error < 0 || reader->bad || *ret_count > LAYOUT_TARGETS_MAX || targets->full)
            return targets->full ? -EMSGSIZE : -EBADMSG;
    }
    return 0;
}

static int decode_targets(struct reader *reader, struct cursors *cursors, struct layout_budget *budget,
                          struct layout **ret_layout)
{
    CLEANUP(buf_done)
    struct buf targets = BUF_INIT(LAYOUT_BLOB_BYTES_MAX), blob = BUF_INIT(LAYOUT_BLOB_BYTES_MAX);
    uint64_t count = 0, said = reader_left(reader), copied_before = budget->copied;
    int error = decode_target_operations(reader, cursors, budget, &targets, &count);
    if (error < 0)
        return error;
    buf_append_byte(&blob, 'T');
    buf_append_uvarint(&blob, count);
    if (buf_append_str(&blob, buf_view(&targets)) < 0)
        return -EMSGSIZE;
    CLEANUP(layout_unrefp) struct layout *list = NULL;
    error = layout_decode(blob.data, blob.len, &list);
    uint64_t charged = copied_before - budget->copied;
    if (error == 0)
        error = copy(budget, layout_memory_bytes(list) - MIN(layout_memory_bytes(list), charged));
    if (error == 0)
        error = claim(budget, 4 * said);
    if (error == 0)
        *ret_layout = STEAL(list);
    return error;
}

int layout_item_decode(enum layout_type type, struct str operations, const struct layout_bases *bases,
                       struct layout_budget *budget, struct layout **ret_layout)
{
    ASSERT(bases->count <= LAYOUT_BASES_MAX);
    struct cursors cursors = {.bases = bases->items, .count = bases->count};
    struct reader reader = reader_of(operations.ptr, operations.len);
    for (size_t i = 0; i < bases->count; i++)
        if (bases->items[i]->type != type)
            return -EBADMSG;
    /* However little is said of it: it will be known by its hash. */
    if (claim(budget, LAYOUT_ITEM_MEMORY) < 0)
        return -EMSGSIZE;
    if (type == LAYOUT_PAGE)
        return decode_page(&reader, &cursors, budget, ret_layout);
    return type == LAYOUT_TARGETS ? decode_targets(&reader, &cursors, budget, ret_layout) : -EBADMSG;
}
