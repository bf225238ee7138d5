/* The blobs. All numbers are uvarints (LEB128) in their shortest form, a string is its length in bytes and the bytes
 * (UTF-8). One meaning has one form, so that the hash (XXH3-128 of the whole blob) names the meaning.
 *
 *   family layout
 *     byte    'F'
 *     number  type: 0 unknown, 1 counter, 2 gauge, 3 histogram, 4 summary; 8 more where only last values are kept
 *     string  name                 1..LABEL_NAME_BYTES_MAX
 *     string  unit                 0..LABEL_NAME_BYTES_MAX
 *     string  help                 0..LAYOUT_HELP_BYTES_MAX
 *     number  label names          0..LAYOUT_NAMES_MAX
 *     string  each label name, rising in byte order, each used by a slot; 1..LABEL_NAME_BYTES_MAX
 *     number  slots                0..LAYOUT_SLOTS_MAX
 *     each slot, in the order of the page, none twice:
 *       number  labels             0..LABELS_MAX
 *       each label:
 *         number  index of its name, rising within the slot
 *         string  value            0..LABEL_VALUE_BYTES_MAX; empty: deletes the target's label of that name.
 *                                  __name__ is neither empty nor the family's name (which it is without saying)
 *
 *   page layout
 *     byte    'P'
 *     number  families             0..LAYOUT_FAMILIES_MAX
 *     16 bytes each: hash of a family layout, in the order of the page, none twice
 *   (hashed only: it neither travels nor is it kept)
 *
 *   target list
 *     byte    'T'
 *     number  targets              0..LAYOUT_TARGETS_MAX
 *     each target, as labels_encode() writes it: number of labels, then name and value of each as strings, rising by
 * name, none empty
 *
 * The parsed form lies in one block with a copy of the bytes; its strings are views into them, so text is held once. */
#include "metric/layout.h"
#include "base/fail.h"

#include <errno.h>
#include <stdlib.h>

/* Different label names in one family; real ones have fewer than 20. */
#define LAYOUT_NAMES_MAX 1024

#define LAST_ONLY        8 /* beside the type */

#define TAG_FAMILY       'F'
#define TAG_PAGE         'P'
#define TAG_TARGETS      'T'

/* ---- Reading ---- */

/* A number in its shortest form only: else one meaning would have many hashes. */
static uint64_t read_number(struct reader *reader, uint64_t value_max)
{
    const uint8_t *start = reader->at;
    uint64_t value = reader_uvarint(reader);
    if (reader->bad || value > value_max || (reader->at - start > 1 && reader->at[-1] == 0)) {
        reader->bad = true;
        return 0;
    }
    return value;
}

static struct str read_string(struct reader *reader, size_t bytes_min, size_t bytes_max)
{
    size_t len = (size_t)read_number(reader, bytes_max);
    if (len < bytes_min || len > reader_left(reader))
        reader->bad = true;
    struct str text = reader_bytes(reader, reader->bad ? 0 : len);
    if (!reader->bad && !str_is_utf8(text))
        reader->bad = true;
    return reader->bad ? STR_NULL : text;
}

static size_t read_count(struct reader *reader, size_t item_bytes, size_t count_max)
{
    size_t count = (size_t)read_number(reader, count_max);
    if (count > reader_left(reader) / item_bytes)
        reader->bad = true;
    return reader->bad ? 0 : count;
}

/* One block: the layout, `extra` bytes of parsed form, the bytes. NULL without memory: the size is a peer's wish. */
static struct layout *layout_alloc(enum layout_type type, struct str bytes, size_t extra)
{
    struct layout *layout = mem_try_alloc(sizeof(*layout) + extra + bytes.len);
    if (!layout)
        return NULL;
    uint8_t *copy = (uint8_t *)(layout + 1) + extra;
    memcpy(copy, bytes.ptr, bytes.len);
    *layout = (struct layout){.type = type,
                              .hash = hash128_of(bytes.ptr, bytes.len),
                              .references = 1,
                              .bytes_len = bytes.len,
                              .bytes = copy,
                              .whole_bytes = bytes.len,
                              .whole_memory = sizeof(*layout) + extra + bytes.len};
    return layout;
}

static int compare_str(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

/* Sorting, not hashing: what a peer sends cannot make it slow. */
static int refuse_doubles(struct str *items, size_t count)
{
    qsort(items, count, sizeof(*items), compare_str);
    for (size_t i = 1; i < count; i++)
        if (str_equal(items[i - 1], items[i]))
            return -EBADMSG;
    return 0;
}

struct family_head {
    uint64_t metric_type;
    bool last_only;
    struct str name, unit, help;
    struct str names[LAYOUT_NAMES_MAX];
    size_t name_count;
    size_t slot_count;
    const uint8_t *end; /* of what is said of the family itself */
};

static int read_family_head(struct reader *reader, struct family_head *head)
{
    uint64_t type = read_number(reader, LAST_ONLY + METRIC_TYPE_COUNT - 1);
    head->last_only = type & LAST_ONLY;
    head->metric_type = type & ~(uint64_t)LAST_ONLY;
    if (head->metric_type >= METRIC_TYPE_COUNT)
        reader->bad = true;
    head->name = read_string(reader, 1, LABEL_NAME_BYTES_MAX);
    head->unit = read_string(reader, 0, LABEL_NAME_BYTES_MAX);
    head->help = read_string(reader, 0, LAYOUT_HELP_BYTES_MAX);
    head->name_count = read_count(reader, 2, LAYOUT_NAMES_MAX);
    for (size_t i = 0; i < head->name_count && !reader->bad; i++) {
        head->names[i] = read_string(reader, 1, LABEL_NAME_BYTES_MAX);
        if (i > 0 && str_compare(head->names[i - 1], head->names[i]) >= 0)
            reader->bad = true;
    }
    head->end = reader->at;
    head->slot_count = read_count(reader, 1, LAYOUT_SLOTS_MAX);
    return reader->bad ? -EBADMSG : 0;
}

static bool names_in_vain(const struct family_head *head, uint64_t index, struct str value)
{
    return str_equal(head->names[index], STR(LABEL_NAME)) && (value.len == 0 || str_equal(value, head->name));
}

/* Goes over one slot; `labels` may be NULL to check only. Returns how many labels it has. */
static size_t read_slot(struct reader *reader, const struct family_head *head, struct label *labels, bool *used)
{
    size_t count = read_count(reader, 2, LABELS_MAX);
    uint64_t next = 0; /* the smallest index that would rise */
    for (size_t i = 0; i < count; i++) {
        uint64_t index = read_number(reader, LAYOUT_NAMES_MAX - 1);
        struct str value = read_string(reader, 0, LABEL_VALUE_BYTES_MAX);
        if (reader->bad || index < next || index >= head->name_count || names_in_vain(head, index, value)) {
            reader->bad = true;
            return 0;
        }
        next = index + 1;
        if (used)
            used[index] = true;
        if (labels)
            labels[i] = (struct label){head->names[index], value};
    }
    return count;
}

/* Checks all slots before anything is allocated by their number of labels. */
static int check_slots(struct reader reader, const struct family_head *head, size_t *ret_label_count)
{
    bool used[LAYOUT_NAMES_MAX] = {false};
    size_t label_count = 0;
    CLEANUP_FREE struct str *slots = mem_try_alloc(head->slot_count * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    for (size_t i = 0; i < head->slot_count; i++) {
        const uint8_t *start = reader.at;
        label_count += read_slot(&reader, head, NULL, used);
        if (reader.bad)
            return -EBADMSG;
        slots[i] = str_of(start, (size_t)(reader.at - start));
    }
    if (reader_left(&reader) > 0)
        return -EBADMSG;
    for (size_t i = 0; i < head->name_count; i++)
        if (!used[i])
            return -EBADMSG;
    *ret_label_count = label_count;
    return refuse_doubles(slots, head->slot_count);
}

static void parse_slots(struct layout *family, struct reader *reader, const struct family_head *head)
{
    struct layout_slot *slots = (struct layout_slot *)(family + 1);
    struct label *labels = (struct label *)(slots + head->slot_count);
    for (size_t i = 0; i < head->slot_count; i++) {
        uint32_t offset = (uint32_t)(reader->at - family->bytes);
        size_t count = read_slot(reader, head, labels, NULL);
        struct str name = head->name;
        for (size_t j = 0; j < count; j++)
            if (str_equal(labels[j].name, STR(LABEL_NAME)))
                name = labels[j].value;
        enum series_kind kind = series_kind_of((enum metric_type)head->metric_type, name.ptr, name.len);
        slots[i] = (struct layout_slot){
            .labels = labels,
            .label_count = (uint16_t)count,
            .kind = (uint8_t)(head->last_only && kind == KIND_GAUGE ? KIND_LAST : kind),
            .offset = offset,
        };
        labels += count;
    }
    ASSERT(!reader->bad && reader_left(reader) == 0);
    family->slots = slots;
}

static int decode_family(struct str bytes, struct layout **ret_layout)
{
    CLEANUP_FREE struct family_head *head = mem_alloc(sizeof(*head));
    struct reader reader = reader_of(bytes.ptr + 1, bytes.len - 1);
    int result = read_family_head(&reader, head);
    if (result < 0)
        return result;
    size_t label_count = 0;
    result = check_slots(reader, head, &label_count);
    if (result < 0)
        return result;
    struct layout *family = layout_alloc(
        LAYOUT_FAMILY, bytes, head->slot_count * sizeof(struct layout_slot) + label_count * sizeof(struct label));
    if (!family)
        return -ENOMEM;
    /* Once more, over the copy that stays. */
    reader = reader_of(family->bytes + 1, family->bytes_len - 1);
    result = read_family_head(&reader, head);
    ASSERT(result == 0);
    family->name = head->name;
    family->unit = head->unit;
    family->help = head->help;
    family->metric_type = (enum metric_type)head->metric_type;
    family->last_only = head->last_only;
    family->head_len = (uint32_t)(head->end - family->bytes);
    family->count = (uint32_t)head->slot_count;
    parse_slots(family, &reader, head);
    *ret_layout = family;
    return 0;
}

static struct labels *read_target(struct reader *reader)
{
    const uint8_t *start = reader->at;
    struct labels *target = labels_decode(reader);
    if (!target)
        return NULL;
    /* labels_decode takes numbers in longer forms; a blob has one form only. */
    struct reader again = reader_of(start, (size_t)(reader->at - start));
    size_t count = (size_t)read_number(&again, LABELS_MAX);
    for (size_t i = 0; i < 2 * count; i++)
        read_string(&again, 1, LABEL_VALUE_BYTES_MAX);
    if (!again.bad)
        return target;
    reader->bad = true;
    labels_unref(target);
    return NULL;
}

static int decode_targets(struct str bytes, struct layout **ret_layout)
{
    struct reader reader = reader_of(bytes.ptr + 1, bytes.len - 1);
    size_t count = read_count(&reader, 1, LAYOUT_TARGETS_MAX);
    if (reader.bad)
        return -EBADMSG;
    CLEANUP(layout_unrefp) struct layout *list = layout_alloc(LAYOUT_TARGETS, bytes, count * sizeof(struct labels *));
    if (!list)
        return -ENOMEM;
    struct labels **targets = (struct labels **)(list + 1);
    list->targets = targets;
    list->whole_memory = sizeof(*list) + 3 * bytes.len; /* its label sets are about twice their bytes */
    while (list->count < count) {                       /* counted one by one: a half-built list can be freed */
        targets[list->count] = read_target(&reader);
        if (!targets[list->count])
            return -EBADMSG;
        list->count++;
    }
    if (reader_left(&reader) > 0)
        return -EBADMSG;
    *ret_layout = STEAL(list);
    return 0;
}

int layout_decode(const void *bytes, size_t len, struct layout **ret_layout)
{
    if (len == 0 || len > LAYOUT_BLOB_BYTES_MAX)
        return -EBADMSG;
    struct str blob = str_of(bytes, len);
    switch (blob.ptr[0]) {
    case TAG_FAMILY:
        return decode_family(blob, ret_layout);
    case TAG_TARGETS:
        return decode_targets(blob, ret_layout);
    default:
        return -EBADMSG;
    }
}

/* ---- Making: the bytes are written, then read as anybody's would be. What would not be taken from outside is not
 * made. */

static struct layout *layout_of(const struct buf *blob)
{
    struct layout *layout = NULL;
    if (blob->full || layout_decode(blob->data, blob->len, &layout) < 0)
        return NULL;
    return layout;
}

static void append_string(struct buf *blob, struct str text)
{
    buf_append_uvarint(blob, text.len);
    buf_append_str(blob, text);
}

/* The family's own name in a slot says nothing: it is left out. */
static bool goes_without_saying(const struct layout_family_spec *spec, const struct label *label)
{
    return str_equal(label->name, STR(LABEL_NAME)) && str_equal(label->value, spec->name);
}

/* Adds the label names of a slot to the sorted list. -E2BIG past LAYOUT_NAMES_MAX. */
static int collect_names(const struct layout_family_spec *spec, const struct layout_slot *slot, struct str *names,
                         size_t *count)
{
    size_t at = 0; /* labels of a slot are sorted: the search goes on from the last place */
    for (size_t i = 0; i < slot->label_count; i++) {
        struct str name = slot->labels[i].name;
        int order = 1;
        if (goes_without_saying(spec, &slot->labels[i]))
            continue;
        while (at < *count && (order = str_compare(name, names[at])) > 0)
            at++;
        if (at < *count && order == 0)
            continue;
        if (*count == LAYOUT_NAMES_MAX)
            return -E2BIG;
        memmove(&names[at + 1], &names[at], (*count - at) * sizeof(*names));
        names[at] = name;
        (*count)++;
    }
    return 0;
}

static void append_slot(struct buf *blob, const struct layout_family_spec *spec, const struct layout_slot *slot,
                        const struct str *names, size_t name_count)
{
    size_t label_count = slot->label_count;
    for (size_t i = 0; i < slot->label_count; i++)
        label_count -= goes_without_saying(spec, &slot->labels[i]);
    buf_append_uvarint(blob, label_count);
    size_t at = 0;
    for (size_t i = 0; i < slot->label_count; i++) {
        if (goes_without_saying(spec, &slot->labels[i]))
            continue;
        while (at < name_count && !str_equal(names[at], slot->labels[i].name))
            at++;
        buf_append_uvarint(blob, at); /* past the names when the slot is not sorted: refused when it is read */
        append_string(blob, slot->labels[i].value);
    }
}

struct layout *layout_family_new(const struct layout_family_spec *spec)
{
    CLEANUP(buf_done) struct buf blob = BUF_INIT(LAYOUT_BLOB_BYTES_MAX);
    CLEANUP_FREE struct str *names = mem_array(LAYOUT_NAMES_MAX, sizeof(*names));
    size_t name_count = 0;
    for (size_t i = 0; i < spec->count; i++)
        if (collect_names(spec, &spec->slots[i], names, &name_count) < 0)
            return NULL;
    buf_append_byte(&blob, TAG_FAMILY);
    buf_append_uvarint(&blob, spec->metric_type | (spec->last_only ? LAST_ONLY : 0));
    append_string(&blob, spec->name);
    append_string(&blob, spec->unit);
    append_string(&blob, spec->help);
    buf_append_uvarint(&blob, name_count);
    for (size_t i = 0; i < name_count; i++)
        append_string(&blob, names[i]);
    buf_append_uvarint(&blob, spec->count);
    for (size_t i = 0; i < spec->count; i++)
        append_slot(&blob, spec, &spec->slots[i], names, name_count);
    return layout_of(&blob);
}

/* NULL where the page would be past a limit or name a family twice. */
static bool page_is_fine(struct layout *const *families, uint32_t count, uint64_t *ret_bytes, uint64_t *ret_memory)
{
    uint64_t bytes = 0, memory = 0;
    CLEANUP_FREE struct str *hashes = mem_array(count, sizeof(*hashes));
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(families[i]->type == LAYOUT_FAMILY);
        hashes[i] = str_of(families[i]->hash.bytes, sizeof(families[i]->hash.bytes));
        bytes += families[i]->bytes_len;
        memory += families[i]->whole_memory;
    }
    *ret_bytes = bytes;
    *ret_memory = memory;
    return bytes <= LAYOUT_PAGE_BYTES_MAX && refuse_doubles(hashes, count) == 0;
}

struct layout *layout_page_new(struct layout *const *families, uint32_t count)
{
    uint64_t family_bytes, family_memory;
    if (count > LAYOUT_FAMILIES_MAX || !page_is_fine(families, count, &family_bytes, &family_memory))
        return NULL;
    CLEANUP(buf_done) struct buf blob = BUF_INIT(LAYOUT_BLOB_BYTES_MAX);
    buf_append_byte(&blob, TAG_PAGE);
    buf_append_uvarint(&blob, count);
    for (uint32_t i = 0; i < count; i++)
        buf_append(&blob, families[i]->hash.bytes, sizeof(families[i]->hash.bytes));
    struct layout *page = mem_alloc(sizeof(*page) + count * sizeof(struct layout *));
    struct layout **own = (struct layout **)(page + 1);
    *page = (struct layout){.type = LAYOUT_PAGE,
                            .hash = hash128_of(blob.data, blob.len),
                            .references = 1,
                            .bytes_len = blob.len,
                            .whole_bytes = blob.len + family_bytes,
                            .whole_memory = sizeof(*page) + count * sizeof(struct layout *) + family_memory,
                            .families = own,
                            .count = count};
    for (uint32_t i = 0; i < count; i++)
        own[i] = layout_ref(families[i]);
    return page;
}

struct layout *layout_targets_new(struct labels *const *targets, uint32_t count)
{
    CLEANUP(buf_done) struct buf blob = BUF_INIT(LAYOUT_BLOB_BYTES_MAX);
    buf_append_byte(&blob, TAG_TARGETS);
    buf_append_uvarint(&blob, count);
    for (size_t i = 0; i < count; i++)
        if (labels_encode(targets[i], &blob) < 0)
            return NULL;
    return layout_of(&blob);
}

/* ---- Life ---- */

struct layout *layout_ref(struct layout *layout)
{
    uint32_t before = __atomic_fetch_add(&layout->references, 1, __ATOMIC_RELAXED);
    ASSERT(before > 0);
    return layout;
}

bool layout_is_single(const struct layout *layout)
{
    return __atomic_load_n(&layout->references, __ATOMIC_ACQUIRE) == 1;
}

void layout_unref(struct layout *layout)
{
    if (!layout)
        return;
    uint32_t left = __atomic_sub_fetch(&layout->references, 1, __ATOMIC_ACQ_REL);
    ASSERT(left != UINT32_MAX);
    if (left > 0)
        return;
    for (size_t i = 0; layout->type == LAYOUT_TARGETS && i < layout->count; i++)
        labels_unref(layout->targets[i]);
    for (size_t i = 0; layout->type == LAYOUT_PAGE && i < layout->count; i++)
        layout_unref(layout->families[i]);
    mem_free(layout);
}

/* ---- Facts ---- */

uint64_t layout_memory_bytes(const struct layout *layout)
{
    return layout->type == LAYOUT_PAGE ? sizeof(*layout) + layout->count * sizeof(struct layout *)
                                       : layout->whole_memory;
}

uint64_t layout_page_slots(const struct layout *page)
{
    uint64_t slots = 0;
    for (uint32_t i = 0; i < page->count; i++)
        slots += page->families[i]->count;
    return slots;
}

struct str layout_slot_bytes(const struct layout *family, uint32_t from, uint32_t count)
{
    ASSERT(family->type == LAYOUT_FAMILY && from <= family->count && count <= family->count - from);
    if (count == 0)
        return STR_NULL;
    size_t start = family->slots[from].offset;
    size_t end = from + count < family->count ? family->slots[from + count].offset : family->bytes_len;
    return str_of(family->bytes + start, end - start);
}

struct str layout_skip_slot(struct reader *reader)
{
    const uint8_t *start = reader->at;
    size_t count = read_count(reader, 2, LABELS_MAX);
    for (size_t i = 0; i < count && !reader->bad; i++) {
        reader_uvarint(reader);
        reader_string(reader, LABEL_VALUE_BYTES_MAX);
    }
    return reader->bad ? STR_NULL : str_of(start, (size_t)(reader->at - start));
}

struct str layout_skip_target(struct reader *reader)
{
    const uint8_t *start = reader->at;
    size_t count = read_count(reader, 2, LABELS_MAX);
    for (size_t i = 0; i < 2 * count && !reader->bad; i++)
        reader_string(reader, LABEL_VALUE_BYTES_MAX);
    return reader->bad ? STR_NULL : str_of(start, (size_t)(reader->at - start));
}

/* ---- Series ---- */

void layout_set_datacenter(struct labels_builder *builder, struct str datacenter)
{
    static const char exported[] = "exported_exported_exported_exported_datacenter";
    const size_t prefix_len = sizeof("exported_") - 1;
    struct str name = STR("datacenter");
    struct str present = labels_builder_get(builder, name);
    labels_builder_set(builder, name, datacenter);
    while (present.len > 0 && name.len + prefix_len < sizeof(exported)) {
        name.len += prefix_len;
        name.ptr = exported + sizeof(exported) - 1 - name.len;
        struct str moved = present;
        present = labels_builder_get(builder, name);
        labels_builder_set(builder, name, moved);
    }
}

struct labels *layout_series(const struct layout *family, uint32_t slot, const struct labels *target,
                             struct str datacenter)
{
    ASSERT(family->type == LAYOUT_FAMILY && slot < family->count);
    struct labels_builder builder;
    labels_builder_init(&builder, target);
    labels_builder_set(&builder, STR(LABEL_NAME), family->name);
    const struct layout_slot *own = &family->slots[slot];
    for (size_t i = 0; i < own->label_count; i++)
        labels_builder_set(&builder, own->labels[i].name, own->labels[i].value);
    if (datacenter.len > 0)
        layout_set_datacenter(&builder, datacenter);
    return labels_builder_build(&builder);
}
