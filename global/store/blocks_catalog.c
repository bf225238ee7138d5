#include "store/blocks_catalog.h"

#include "base/fail.h"
#include "base/json_write.h"
#include "store/json_seal.h"

#include <stdlib.h>

/* ---- the list ---- */

void blocks_catalog_add(struct blocks_catalog *catalog, const struct blocks_record *record)
{
    if (catalog->count == catalog->capacity) {
        catalog->capacity = MAX(catalog->capacity * 2, (size_t)64);
        catalog->records = mem_resize(catalog->records, catalog->capacity, sizeof(*record));
    }
    catalog->records[catalog->count++] = *record;
}

void blocks_catalog_add_leaving(struct blocks_catalog *catalog, const struct ulid *ulid)
{
    if (catalog->leaving_count == catalog->leaving_capacity) {
        catalog->leaving_capacity = MAX(catalog->leaving_capacity * 2, (size_t)64);
        catalog->leaving = mem_resize(catalog->leaving, catalog->leaving_capacity, sizeof(*ulid));
    }
    catalog->leaving[catalog->leaving_count++] = *ulid;
}

/* Of ulids, and of records, which begin with theirs. */
static int compare_ulids(const void *a, const void *b)
{
    return strcmp(((const struct ulid *)a)->text, ((const struct ulid *)b)->text);
}

void blocks_catalog_sort(struct blocks_catalog *catalog)
{
    if (catalog->count > 0) {
        qsort(catalog->records, catalog->count, sizeof(*catalog->records), compare_ulids);
    }
    if (catalog->leaving_count > 0) {
        qsort(catalog->leaving, catalog->leaving_count, sizeof(*catalog->leaving), compare_ulids);
    }
}

struct blocks_record *blocks_catalog_find(const struct blocks_catalog *catalog, const struct ulid *ulid)
{
    return catalog->count == 0
               ? NULL
               : bsearch(ulid, catalog->records, catalog->count, sizeof(*catalog->records), compare_ulids);
}

bool blocks_catalog_is_leaving(const struct blocks_catalog *catalog, const struct ulid *ulid)
{
    return catalog->leaving_count > 0 &&
           bsearch(ulid, catalog->leaving, catalog->leaving_count, sizeof(*ulid), compare_ulids);
}

void blocks_catalog_done(struct blocks_catalog *catalog)
{
    mem_free(catalog->records);
    mem_free(catalog->leaving);
    *catalog = (struct blocks_catalog){0};
}

/* ---- to bytes; from them is blocks_catalog_parse.c, as jansson has names of json_write.h ---- */

static void print_record(struct json_writer *json, const struct blocks_record *record)
{
    json_object(json);
    json_field_text(json, "ulid", record->ulid.text);
    json_field_int(json, "min_time_ms", record->min_time_ms);
    json_field_int(json, "max_time_ms", record->max_time_ms);
    json_field_text(json, "class", record->class);
    json_field_uint(json, "samples", MIN(record->samples, (uint64_t)INT64_MAX));
    json_field_uint(json, "series", MIN(record->series, (uint64_t)INT64_MAX));
    json_field_uint(json, "disk_bytes", MIN(record->disk_bytes, (uint64_t)INT64_MAX));
    json_field_int(json, "checked_ms", record->checked_ms);
    if (record->damaged) {
        json_field_text(json, "reason", record->reason);
        json_field_int(json, "damaged_at_ms", record->damaged_at_ms);
        if (record->unexplained) {
            json_field_bool(json, "unexplained", true);
        }
    }
    json_object_end(json);
    buf_append_byte(json->out, '\n'); /* a line a block, for people */
}

static void print_records(struct json_writer *json, const struct blocks_catalog *catalog, bool damaged)
{
    json_key(json, damaged ? "damaged" : "blocks");
    json_array(json);
    for (size_t i = 0; i < catalog->count; i++) {
        if (catalog->records[i].damaged == damaged) {
            print_record(json, &catalog->records[i]);
        }
    }
    json_array_end(json);
}

void blocks_catalog_print(const struct blocks_catalog *catalog, struct buf *out)
{
    struct json_writer json;
    json_begin(&json, out);
    json_object(&json);
    json_field_uint(&json, "version", BLOCKS_CATALOG_VERSION);
    print_records(&json, catalog, false);
    print_records(&json, catalog, true);
    json_key(&json, "deleting");
    json_array(&json);
    for (size_t i = 0; i < catalog->leaving_count; i++) {
        json_text(&json, catalog->leaving[i].text);
    }
    json_array_end(&json);
    json_object_end(&json);
    json_seal(out);
}
