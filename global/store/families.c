#include "store/families.h"

#include "base/fail.h"
#include "base/map.h"
#include "metric/labels.h"
#include "metric/layout.h"

#include <pthread.h>
#include <stdlib.h>

/* There to the end of the table: readers use the family without the lock. */
struct entry {
    struct family family; /* never changed */
    struct entry *next;   /* of the same name; guarded by the lock */
    char text[];
};

struct families {
    pthread_mutex_t lock; /* guards all that follows; leaf */
    struct map by_name;   /* the first entry of each name */
    struct entry **entries;
    size_t count, capacity;
    uint64_t bytes, refused_total;
};

struct families *families_new(void)
{
    struct families *families = mem_zalloc(sizeof(*families));
    ASSERT(pthread_mutex_init(&families->lock, NULL) == 0);
    map_init(&families->by_name);
    return families;
}

void families_free(struct families *families)
{
    if (!families)
        return;
    for (size_t i = 0; i < families->count; i++)
        mem_free(families->entries[i]);
    mem_free(families->entries);
    map_done(&families->by_name);
    pthread_mutex_destroy(&families->lock);
    mem_free(families);
}

static bool is_named(const void *item, const void *name)
{
    return str_equal(((const struct entry *)item)->family.name, *(const struct str *)name);
}

static struct entry *first_of(const struct families *families, struct str name)
{
    return map_get(&families->by_name, str_hash(name), is_named, &name);
}

static bool says_the_same(const struct family *a, const struct family *b)
{
    return a->type == b->type && str_equal(a->help, b->help) && str_equal(a->unit, b->unit);
}

static struct str put_text(char **at, struct str text)
{
    char *copy = *at;
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    *at += text.len;
    return str_of(copy, text.len);
}

static struct entry *entry_new(const struct family *family)
{
    struct entry *entry = mem_alloc(sizeof(*entry) + family->name.len + family->help.len + family->unit.len);
    char *at = entry->text;
    entry->family.type = family->type;
    entry->family.name = put_text(&at, family->name);
    entry->family.help = put_text(&at, family->help);
    entry->family.unit = put_text(&at, family->unit);
    entry->next = NULL;
    return entry;
}

/* Held by the lock. of_name: how many its name has so far, last (NULL: none) is the last of them. */
static void add(struct families *families, const struct family *family, struct entry *last, size_t of_name)
{
    uint64_t bytes = sizeof(struct entry) + family->name.len + family->help.len + family->unit.len;
    if (of_name >= FAMILIES_OF_NAME_MAX || families->count >= FAMILIES_MAX ||
        families->bytes + bytes > FAMILIES_BYTES_MAX) {
        families->refused_total++;
        return;
    }
    if (families->count == families->capacity) {
        families->capacity = MAX(2 * families->capacity, (size_t)256);
        families->entries = mem_resize(families->entries, families->capacity, sizeof(struct entry *));
    }
    struct entry *entry = entry_new(family);
    if (last)
        last->next = entry;
    else
        map_put(&families->by_name, str_hash(family->name), entry);
    families->entries[families->count++] = entry;
    families->bytes += bytes;
}

void families_note(struct families *families, const struct family *family)
{
    if (family->type == METRIC_UNKNOWN && family->help.len == 0 && family->unit.len == 0)
        return;
    size_t of_name = 0;
    pthread_mutex_lock(&families->lock);
    struct entry *entry = first_of(families, family->name), *last = NULL;
    for (; entry && !says_the_same(&entry->family, family); entry = entry->next, of_name++)
        last = entry;
    if (!entry)
        add(families, family, last, of_name);
    pthread_mutex_unlock(&families->lock);
}

static int compare(const void *a, const void *b)
{
    const struct family *left = *(const struct family *const *)a, *right = *(const struct family *const *)b;
    int order = str_compare(left->name, right->name);
    if (order == 0)
        order = (int)left->type - (int)right->type;
    if (order == 0)
        order = str_compare(left->help, right->help);
    return order != 0 ? order : str_compare(left->unit, right->unit);
}

size_t families_list(struct families *families, struct str name, const struct family ***ret_items)
{
    size_t count = 0;
    pthread_mutex_lock(&families->lock);
    const struct family **items = mem_array(name.ptr ? FAMILIES_OF_NAME_MAX : families->count, sizeof(*items));
    for (size_t i = 0; !name.ptr && i < families->count; i++)
        items[count++] = &families->entries[i]->family;
    for (const struct entry *entry = name.ptr ? first_of(families, name) : NULL; entry; entry = entry->next)
        items[count++] = &entry->family;
    pthread_mutex_unlock(&families->lock);
    qsort(items, count, sizeof(struct family *), compare);
    *ret_items = items;
    return count;
}

void families_stats(struct families *families, struct families_stats *ret_stats)
{
    pthread_mutex_lock(&families->lock);
    *ret_stats = (struct families_stats){.names = families->by_name.count,
                                         .families = families->count,
                                         .bytes = families->bytes,
                                         .refused_total = families->refused_total};
    pthread_mutex_unlock(&families->lock);
}

/* ---- Saved: name, type, help, unit of one after the other ---- */

static void save_text(struct str text, struct buf *out)
{
    buf_append_uvarint(out, text.len);
    buf_append_str(out, text);
}

void families_save(struct families *families, struct buf *out)
{
    pthread_mutex_lock(&families->lock);
    for (size_t i = 0; i < families->count; i++) {
        const struct family *family = &families->entries[i]->family;
        save_text(family->name, out);
        buf_append_byte(out, (uint8_t)family->type);
        save_text(family->help, out);
        save_text(family->unit, out);
    }
    pthread_mutex_unlock(&families->lock);
}

void families_load(struct families *families, struct str saved)
{
    struct reader reader = reader_of(saved.ptr, saved.len);
    while (reader_left(&reader) > 0) {
        struct family family = {.name = reader_string(&reader, LABEL_NAME_BYTES_MAX)};
        family.type = (enum metric_type)reader_byte(&reader);
        family.help = reader_string(&reader, LAYOUT_HELP_BYTES_MAX);
        family.unit = reader_string(&reader, LABEL_NAME_BYTES_MAX);
        if (reader.bad || family.name.len == 0 || family.type >= METRIC_TYPE_COUNT)
            return;
        families_note(families, &family);
    }
}
