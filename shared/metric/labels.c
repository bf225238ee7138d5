#include "metric/labels.h"
#include "base/fail.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdatomic.h>

/* Where one label's text begins; it ends where the next one begins. An entry behind the last says where all ends. */
struct label_entry {
    uint32_t name_at;
    uint32_t value_at;
};

struct labels {
    atomic_uint references;
    uint32_t count;
    uint64_t hash;
    struct label_entry entries[]; /* count + 1, then the text: name, value, name, value ... */
};

static size_t entries_bytes(size_t count)
{
    return (count + 1) * sizeof(struct label_entry);
}

static const char *text_of(const struct labels *labels)
{
    return (const char *)labels->entries + entries_bytes(labels->count);
}

/* Entries and text together say the set and nothing else: what is hashed and compared. */
static size_t content_bytes(const struct labels *labels)
{
    return entries_bytes(labels->count) + labels->entries[labels->count].name_at;
}

/* As str_compare; most names differ in their first byte, which needs no call. */
static int compare_names(struct str a, struct str b)
{
    if (a.len > 0 && b.len > 0 && a.ptr[0] != b.ptr[0])
        return (uint8_t)a.ptr[0] - (uint8_t)b.ptr[0];
    return str_compare(a, b);
}

/* Orders the labels by name into `ret_order`; of two with one name the later stays. Returns how many there are. Stable
 * insertion: sets are small and nearly always come in order. */
static size_t sort_labels(const struct label *labels, size_t count, uint8_t ret_order[static LABELS_MAX])
{
    size_t sorted = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = sorted;
        int order = 1;
        while (at > 0 && (order = compare_names(labels[i].name, labels[ret_order[at - 1]].name)) < 0)
            at--;
        if (at > 0 && order == 0) {
            ret_order[at - 1] = (uint8_t)i;
            continue;
        }
        memmove(&ret_order[at + 1], &ret_order[at], sorted - at);
        ret_order[at] = (uint8_t)i;
        sorted++;
    }
    return sorted;
}

static uint32_t put_text(char *text, uint32_t at, struct str part)
{
    if (part.len > 0)
        memcpy(text + at, part.ptr, part.len);
    return at + (uint32_t)part.len;
}

struct labels *labels_new(const struct label *labels, size_t count)
{
    ASSERT(count <= LABELS_MAX);
    uint8_t order[LABELS_MAX + 1];
    size_t sorted = sort_labels(labels, count, order);
    size_t kept = 0;
    uint64_t text_bytes = 0;
    for (size_t i = 0; i < sorted; i++) {
        const struct label *label = &labels[order[i]];
        if (label->value.len == 0)
            continue;
        order[kept++] = order[i];
        text_bytes += label->name.len + label->value.len;
    }
    ASSERT(text_bytes < UINT32_MAX);

    struct labels *set = mem_alloc(sizeof(*set) + entries_bytes(kept) + text_bytes);
    atomic_init(&set->references, 1);
    set->count = (uint32_t)kept;
    char *text = (char *)set->entries + entries_bytes(kept);
    uint32_t at = 0;
    for (size_t i = 0; i < kept; i++) {
        const struct label *label = &labels[order[i]];
        set->entries[i].name_at = at;
        at = put_text(text, at, label->name);
        set->entries[i].value_at = at;
        at = put_text(text, at, label->value);
    }
    set->entries[kept] = (struct label_entry){at, at};
    set->hash = str_hash(str_of(set->entries, content_bytes(set)));
    return set;
}

struct labels *labels_ref(struct labels *labels)
{
    unsigned before = atomic_fetch_add_explicit(&labels->references, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return labels;
}

void labels_unref(struct labels *labels)
{
    if (!labels)
        return;
    unsigned before = atomic_fetch_sub_explicit(&labels->references, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1)
        mem_free(labels);
}

size_t labels_count(const struct labels *labels)
{
    return labels->count;
}

static struct str name_at(const struct labels *labels, size_t index)
{
    const struct label_entry *entry = &labels->entries[index];
    return str_of(text_of(labels) + entry->name_at, entry->value_at - entry->name_at);
}

static struct str value_at(const struct labels *labels, size_t index)
{
    const struct label_entry *entry = &labels->entries[index];
    return str_of(text_of(labels) + entry->value_at, entry[1].name_at - entry->value_at);
}

struct label labels_at(const struct labels *labels, size_t index)
{
    ASSERT(index < labels->count);
    return (struct label){name_at(labels, index), value_at(labels, index)};
}

struct str labels_get(const struct labels *labels, struct str name)
{
    for (size_t i = 0; i < labels->count; i++)
        if (str_equal(name_at(labels, i), name))
            return value_at(labels, i);
    return STR_NULL;
}

uint64_t labels_hash(const struct labels *labels)
{
    return labels->hash;
}

bool labels_equal(const struct labels *a, const struct labels *b)
{
    if (a == b)
        return true;
    if (a->hash != b->hash || a->count != b->count)
        return false;
    size_t bytes = content_bytes(a);
    return bytes == content_bytes(b) && memcmp(a->entries, b->entries, bytes) == 0;
}

int labels_compare(const struct labels *a, const struct labels *b)
{
    size_t both = MIN(a->count, b->count);
    for (size_t i = 0; i < both; i++) {
        int order = str_compare(name_at(a, i), name_at(b, i));
        if (order == 0)
            order = str_compare(value_at(a, i), value_at(b, i));
        if (order != 0)
            return order;
    }
    return (a->count > b->count) - (a->count < b->count);
}

size_t labels_bytes(const struct labels *labels)
{
    return sizeof(*labels) + content_bytes(labels);
}

/* ---- Text ---- */

/* What Go's strconv.IsPrint refuses, in ranges: controls, spaces other than ' ', format characters, private use. Code
 * points that Unicode has not assigned count as printable here. */
static bool rune_is_printable(uint32_t rune)
{
    static const uint32_t hidden[][2] = {{0x0000, 0x001f}, {0x007f, 0x00a0},   {0x00ad, 0x00ad},   {0x0600, 0x0605},
                                         {0x061c, 0x061c}, {0x06dd, 0x06dd},   {0x070f, 0x070f},   {0x1680, 0x1680},
                                         {0x180e, 0x180e}, {0x2000, 0x200f},   {0x2028, 0x202f},   {0x205f, 0x206f},
                                         {0x3000, 0x3000}, {0xd800, 0xf8ff},   {0xfeff, 0xfeff},   {0xfff0, 0xfffb},
                                         {0xfffe, 0xffff}, {0x1d173, 0x1d17a}, {0xe0000, 0xe00ff}, {0xe01f0, 0x10ffff}};
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++)
        if (rune >= hidden[i][0] && rune <= hidden[i][1])
            return false;
    return true;
}

/* A code point (or, len 0, a byte that is none) that does not stand as it is in quotes. */
static void print_escape(struct buf *text, uint32_t rune, bool is_byte)
{
    static const char letters[] = "abtnvfr"; /* from 7 on, as in C */
    if (rune == '"' || rune == '\\')
        buf_printf(text, "\\%c", (char)rune);
    else if (!is_byte && rune >= 7 && rune <= 13)
        buf_printf(text, "\\%c", letters[rune - 7]);
    else if (is_byte || rune < ' ' || rune == 0x7f)
        buf_printf(text, "\\x%02x", rune);
    else
        buf_printf(text, rune < 0x10000 ? "\\u%04x" : "\\U%08x", rune);
}

/* As Go's strconv.Quote. */
static void print_quoted(struct buf *text, struct str value)
{
    buf_append_byte(text, '"');
    for (size_t at = 0; at < value.len;) {
        uint32_t rune = (uint8_t)value.ptr[at];
        size_t len = utf8_decode(value, at, &rune);
        if (len > 0 && rune != '"' && rune != '\\' && rune_is_printable(rune))
            buf_append(text, value.ptr + at, len);
        else
            print_escape(text, rune, len == 0);
        at += MAX(len, 1);
    }
    buf_append_byte(text, '"');
}

int labels_print(const struct labels *labels, struct buf *text)
{
    struct str metric = labels_get(labels, STR(LABEL_NAME));
    buf_append_str(text, metric);
    bool open = false;
    for (size_t i = 0; i < labels->count; i++) {
        struct label label = labels_at(labels, i);
        if (str_equal(label.name, STR(LABEL_NAME)))
            continue;
        buf_append_byte(text, open ? ',' : '{');
        open = true;
        buf_append_str(text, label.name);
        buf_append_byte(text, '=');
        print_quoted(text, label.value);
    }
    if (open)
        buf_append_byte(text, '}');
    else if (metric.len == 0)
        buf_append_text(text, "{}");
    return text->full ? -EMSGSIZE : 0;
}

/* ---- Builder ---- */

void labels_builder_init_room(struct labels_builder *builder, struct label *room, size_t capacity)
{
    builder->items = room;
    builder->count = 0;
    builder->capacity = capacity;
    builder->overflow = false;
}

void labels_builder_init(struct labels_builder *builder, const struct labels *base)
{
    labels_builder_init_room(builder, builder->own, LABELS_MAX);
    for (size_t i = 0; base && i < base->count; i++)
        builder->items[builder->count++] = labels_at(base, i);
}

/* Where the name stands or is to stand. */
static size_t builder_find(const struct labels_builder *builder, struct str name, bool *ret_found)
{
    size_t first = 0, end = builder->count;
    *ret_found = false;
    while (first < end) {
        size_t middle = (first + end) / 2;
        int order = compare_names(builder->items[middle].name, name);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

struct str labels_builder_get(const struct labels_builder *builder, struct str name)
{
    bool found;
    size_t at = builder_find(builder, name, &found);
    return found ? builder->items[at].value : STR_NULL;
}

void labels_builder_set(struct labels_builder *builder, struct str name, struct str value)
{
    if (value.len == 0) {
        labels_builder_delete(builder, name);
        return;
    }
    bool found = false;
    size_t at = builder->count;
    if (at > 0 && compare_names(builder->items[at - 1].name, name) >= 0)
        at = builder_find(builder, name, &found);
    if (!found && builder->count == builder->capacity) {
        builder->overflow = true;
        return;
    }
    if (!found)
        memmove(&builder->items[at + 1], &builder->items[at], (builder->count++ - at) * sizeof(builder->items[0]));
    builder->items[at] = (struct label){name, value};
}

void labels_builder_delete(struct labels_builder *builder, struct str name)
{
    bool found;
    size_t at = builder_find(builder, name, &found);
    if (!found)
        return;
    builder->count--;
    memmove(&builder->items[at], &builder->items[at + 1], (builder->count - at) * sizeof(builder->items[0]));
}

struct labels *labels_builder_build(struct labels_builder *builder)
{
    return builder->overflow || builder->count > LABELS_MAX ? NULL : labels_new(builder->items, builder->count);
}

/* ---- Wire ---- */

int labels_encode(const struct labels *labels, struct buf *out)
{
    buf_append_uvarint(out, labels->count);
    for (size_t i = 0; i < labels->count; i++) {
        struct label label = labels_at(labels, i);
        buf_append_uvarint(out, label.name.len);
        buf_append_str(out, label.name);
        buf_append_uvarint(out, label.value.len);
        buf_append_str(out, label.value);
    }
    return out->full ? -EMSGSIZE : 0;
}

struct labels *labels_decode(struct reader *reader)
{
    struct label items[LABELS_MAX];
    size_t count = reader_count(reader, 4, LABELS_MAX); /* two lengths, a byte each of name and value */
    for (size_t i = 0; i < count && !reader->bad; i++) {
        items[i].name = reader_string(reader, LABEL_NAME_BYTES_MAX);
        items[i].value = reader_string(reader, LABEL_VALUE_BYTES_MAX);
        bool valid = items[i].name.len > 0 && items[i].value.len > 0 && str_is_utf8(items[i].name) &&
                     str_is_utf8(items[i].value);
        if (!valid || (i > 0 && str_compare(items[i - 1].name, items[i].name) >= 0))
            reader->bad = true;
    }
    return reader->bad ? NULL : labels_new(items, count);
}

/* ---- Names ---- */

static bool name_is_valid(struct str name, bool with_colon)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (with_colon && c == ':');
        bool digit = c >= '0' && c <= '9' && i > 0;
        if (!letter && !digit)
            return false;
    }
    return name.len > 0;
}

bool label_name_is_valid(struct str name)
{
    return name_is_valid(name, false);
}

bool metric_name_is_valid(struct str name)
{
    return name_is_valid(name, true);
}
