#include "store/blocks_catalog.h"
#include "store/json_seal.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

static int refuse(char ret_reason[static BLOCK_REASON_BYTES], const char *text)
{
    snprintf(ret_reason, BLOCK_REASON_BYTES, "%s", text);
    return -EBADMSG;
}

static void json_free(json_t **json)
{
    json_decref(*json);
}

static int parse_ulid(json_t *value, struct ulid *ret_ulid)
{
    return json_is_string(value) ? ulid_parse(str_of(json_string_value(value), json_string_length(value)), ret_ulid)
                                 : -EINVAL;
}

static bool take_int(json_t *object, const char *key, int64_t *ret_value)
{
    json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) {
        return false;
    }
    *ret_value = json_integer_value(value);
    return true;
}

static bool take_count(json_t *object, const char *key, uint64_t *ret_value)
{
    int64_t value;
    if (!take_int(object, key, &value) || value < 0) {
        return false;
    }
    *ret_value = (uint64_t)value;
    return true;
}

static bool take_text(json_t *object, const char *key, char *ret_text, size_t room)
{
    json_t *value = json_object_get(object, key);
    if (!json_is_string(value) || json_string_length(value) >= room) {
        return false;
    }
    memcpy(ret_text, json_string_value(value), json_string_length(value) + 1);
    return true;
}

static int parse_record(json_t *object, bool damaged, struct blocks_record *ret_record)
{
    struct blocks_record record = {.damaged = damaged};
    bool good = parse_ulid(json_object_get(object, "ulid"), &record.ulid) == 0;
    good = good && take_int(object, "min_time_ms", &record.min_time_ms);
    good = good && take_int(object, "max_time_ms", &record.max_time_ms);
    good = good && record.min_time_ms <= record.max_time_ms;
    good = good && take_text(object, "class", record.class, sizeof(record.class));
    good = good && take_count(object, "samples", &record.samples);
    good = good && take_count(object, "series", &record.series);
    good = good && take_count(object, "disk_bytes", &record.disk_bytes);
    good = good && take_int(object, "checked_ms", &record.checked_ms);
    if (damaged) {
        /* Cut short: written anew, text that is not UTF-8 grows. */
        const char *reason = json_string_value(json_object_get(object, "reason"));
        good = good && reason;
        snprintf(record.reason, sizeof(record.reason), "%s", reason ? reason : "");
        good = good && take_int(object, "damaged_at_ms", &record.damaged_at_ms);
        record.unexplained = json_is_true(json_object_get(object, "unexplained"));
    }
    if (!good) {
        return -EBADMSG;
    }
    *ret_record = record;
    return 0;
}

static int parse_records(json_t *array, bool damaged, struct blocks_catalog *catalog)
{
    if (!json_is_array(array) || json_array_size(array) > BLOCKS_CATALOG_MAX) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        struct blocks_record record;
        int r = parse_record(json_array_get(array, i), damaged, &record);
        if (r < 0) {
            return r;
        }
        blocks_catalog_add(catalog, &record);
    }
    return 0;
}

static int parse_leaving(json_t *array, struct blocks_catalog *catalog)
{
    if (!json_is_array(array) || json_array_size(array) > BLOCKS_CATALOG_MAX) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        struct ulid ulid;
        if (parse_ulid(json_array_get(array, i), &ulid) < 0) {
            return -EBADMSG;
        }
        blocks_catalog_add_leaving(catalog, &ulid);
    }
    return 0;
}

static int check_once(struct blocks_catalog *catalog, char ret_reason[static BLOCK_REASON_BYTES])
{
    blocks_catalog_sort(catalog);
    for (size_t i = 1; i < catalog->count; i++) {
        if (strcmp(catalog->records[i - 1].ulid.text, catalog->records[i].ulid.text) == 0) {
            return refuse(ret_reason, "it names a block twice");
        }
    }
    return 0;
}

static int parse_root(json_t *root, struct blocks_catalog *catalog, char ret_reason[static BLOCK_REASON_BYTES])
{
    int64_t version;
    if (!take_int(root, "version", &version)) {
        return refuse(ret_reason, "it has no version");
    }
    if (version != BLOCKS_CATALOG_VERSION) {
        refuse(ret_reason, "it is of another version");
        return version > BLOCKS_CATALOG_VERSION ? -ENOTSUP : -EBADMSG;
    }
    int r = parse_records(json_object_get(root, "blocks"), false, catalog);
    r = r < 0 ? r : parse_records(json_object_get(root, "damaged"), true, catalog);
    if (r < 0) {
        return refuse(ret_reason, "a block in it has not all fields, or a wrong one");
    }
    if (parse_leaving(json_object_get(root, "deleting"), catalog) < 0) {
        return refuse(ret_reason, "\"deleting\" is not a list of ULIDs");
    }
    return check_once(catalog, ret_reason);
}

int blocks_catalog_parse(struct str json, struct blocks_catalog *catalog, char ret_reason[static BLOCK_REASON_BYTES])
{
    if (!json_seal_holds(json)) {
        return refuse(ret_reason, "its checksum is wrong");
    }
    if (json_is_crowded(json, 4 * (size_t)BLOCKS_CATALOG_MAX)) {
        return refuse(ret_reason, "it names too many blocks");
    }
    json_error_t error;
    CLEANUP(json_free) json_t *root = json_loadb(json.ptr ? json.ptr : "", json.len, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        snprintf(ret_reason, BLOCK_REASON_BYTES, "line %d:%d: %s", error.line, error.column, error.text);
        return -EBADMSG;
    }
    int r = parse_root(root, catalog, ret_reason);
    if (r < 0) {
        blocks_catalog_done(catalog);
    }
    return r;
}
