#include "discovery/kubernetes_store.h"

#include "base/fail.h"

#include <errno.h>

#define KEY_BYTES_MAX 1024 /* names and namespaces have at most 253 each */

void kubernetes_store_init(struct kubernetes_store *store, struct kubernetes_watch *watch, enum kubernetes_kind kind)
{
    *store = (struct kubernetes_store){.watch = watch, .kind = kind, .packed = BUF_INIT(JSON_ITEM_BYTES_MAX)};
    map_init(&store->records);
}

static void record_free(struct kubernetes_record *record)
{
    mem_free(record->bytes);
    mem_free(record->dependencies);
    mem_free(record);
}

void kubernetes_store_done(struct kubernetes_store *store)
{
    size_t at = 0;
    for (struct kubernetes_record *record; (record = map_next(&store->records, &at));)
        record_free(record);
    map_done(&store->records);
    mem_free(store->page);
    buf_done(&store->packed);
}

uint64_t kubernetes_key_hash(struct str key)
{
    return str_hash(key);
}

struct str kubernetes_record_key(const struct kubernetes_record *record)
{
    return str_of(record->key, record->key_len);
}

struct str kubernetes_record_bytes(const struct kubernetes_record *record)
{
    return str_of(record->bytes, record->byte_count);
}

static bool has_key(const void *item, const void *key)
{
    return str_equal(kubernetes_record_key(item), *(const struct str *)key);
}

struct kubernetes_record *kubernetes_store_find(const struct kubernetes_store *store, struct str key)
{
    return map_get(&store->records, kubernetes_key_hash(key), has_key, &key);
}

/* Into `key`; STR_NULL: the object has no name, or one that no object has. */
static struct str key_of(const struct kubernetes_store *store, const struct json_node *object,
                         char key[static KEY_BYTES_MAX])
{
    const struct json_node *metadata = json_get(object, "metadata");
    struct str name = json_get_text(metadata, "name"), name_space = json_get_text(metadata, "namespace");
    size_t len = 0;
    if (name.len == 0 || name.len + name_space.len + 1 > KEY_BYTES_MAX)
        return STR_NULL;
    if (kubernetes_kinds[store->kind].in_namespace) {
        memcpy(key, name_space.ptr ? name_space.ptr : "", name_space.len);
        key[name_space.len] = '/';
        len = name_space.len + 1;
    }
    memcpy(key + len, name.ptr, name.len);
    return str_of(key, len + name.len);
}

struct kubernetes_record *kubernetes_store_find_object(const struct kubernetes_store *store,
                                                       const struct json_node *object)
{
    char text[KEY_BYTES_MAX];
    struct str key = key_of(store, object, text);
    return key.len > 0 ? kubernetes_store_find(store, key) : NULL;
}

static struct kubernetes_record *add(struct kubernetes_store *store, struct str key)
{
    struct kubernetes_record *record = mem_zalloc(sizeof(*record) + key.len);
    record->watch = store->watch;
    record->key_len = (uint32_t)key.len;
    memcpy(record->key, key.ptr, key.len);
    map_put(&store->records, kubernetes_key_hash(key), record);
    return record;
}

static void note_seen(struct kubernetes_store *store, struct kubernetes_record *record)
{
    if (record->generation == store->generation)
        return;
    record->generation = store->generation;
    if (!store->listing)
        return;
    if (store->page_count == store->page_capacity) {
        store->page_capacity = MAX(64, store->page_capacity * 2);
        store->page = mem_resize(store->page, store->page_capacity, sizeof(struct kubernetes_record *));
    }
    store->page[store->page_count++] = record;
}

int kubernetes_store_put(struct kubernetes_store *store, const struct json_node *object,
                         struct kubernetes_record **ret_record)
{
    char text[KEY_BYTES_MAX];
    struct str key = key_of(store, object, text);
    *ret_record = NULL;
    if (key.len == 0)
        return 0;
    buf_reset(&store->packed);
    if (kubernetes_object_pack(store->kind, object, &store->packed) < 0)
        return -E2BIG;
    struct str packed = buf_view(&store->packed);
    struct kubernetes_record *record = kubernetes_store_find(store, key);
    bool is_new = !record;
    if ((is_new && store->records.count >= KUBERNETES_OBJECTS_MAX) ||
        store->kept_bytes + packed.len > KUBERNETES_KEPT_BYTES_MAX)
        return -E2BIG;
    if (is_new)
        record = add(store, key);
    note_seen(store, record);
    uint64_t content = str_hash(packed);
    bool changed = is_new || record->gone || record->content != content;
    record->gone = false;
    record->content = content;
    if (!record->bytes || changed) {
        kubernetes_store_drop_bytes(store, record);
        record->bytes = mem_alloc(packed.len);
        record->byte_count = (uint32_t)packed.len;
        memcpy(record->bytes, packed.ptr, packed.len);
        store->kept_bytes += packed.len;
    }
    *ret_record = record;
    return changed;
}

void kubernetes_store_drop_bytes(struct kubernetes_store *store, struct kubernetes_record *record)
{
    store->kept_bytes -= record->byte_count;
    record->byte_count = 0;
    mem_free(STEAL(record->bytes));
}

static bool is_same(const void *item, const void *key)
{
    return item == key;
}

void kubernetes_store_remove(struct kubernetes_store *store, struct kubernetes_record *record)
{
    ASSERT(!record->dirty && record->dependency_count == 0);
    kubernetes_store_drop_bytes(store, record);
    void *removed = map_remove(&store->records, kubernetes_key_hash(kubernetes_record_key(record)), is_same, record);
    ASSERT(removed == record);
    record_free(record);
}

void kubernetes_store_list_begins(struct kubernetes_store *store)
{
    store->generation++;
    store->listing = true;
    store->page_count = 0;
}

void kubernetes_store_page_begins(struct kubernetes_store *store)
{
    for (size_t i = 0; i < store->page_count; i++)
        store->page[i]->generation = store->generation - 1;
    store->page_count = 0;
}

void kubernetes_store_page_ends(struct kubernetes_store *store)
{
    store->page_count = 0;
}

void kubernetes_store_list_ends(struct kubernetes_store *store)
{
    store->listing = false;
    store->page_count = 0;
}

struct kubernetes_record *kubernetes_store_next_unlisted(const struct kubernetes_store *store, size_t *at)
{
    for (struct kubernetes_record *record; (record = map_next(&store->records, at));)
        if (record->generation != store->generation)
            return record;
    return NULL;
}
