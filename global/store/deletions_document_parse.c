#include "base/fail.h"
#include "store/deletions_document.h"
#include "store/json_seal.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

static int refuse(char ret_reason[static 256], const char *text)
{
    snprintf(ret_reason, 256, "%s", text);
    return -EINVAL;
}

static void json_free(json_t **json)
{
    json_decref(*json);
}

static bool take_int(json_t *object, const char *key, int64_t min, int64_t *ret_value)
{
    json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < min) {
        return false;
    }
    *ret_value = json_integer_value(value);
    return true;
}

/* A text of its own; NULL: there is none. */
static char *take_text(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? mem_strdup(text) : NULL;
}

static bool parse_deletion(json_t *object, struct deletion *deletion)
{
    int64_t id = 0;
    deletion->match = take_text(object, "match");
    deletion->who = take_text(object, "who");
    deletion->why = take_text(object, "why");
    bool good = deletion->match && deletion->who && deletion->why;
    good = take_int(object, "id", 1, &id) && good;
    good = take_int(object, "start_ms", INT64_MIN, &deletion->start_ms) && good;
    good = take_int(object, "end_ms", INT64_MIN, &deletion->end_ms) && good;
    good = take_int(object, "requested_ms", INT64_MIN, &deletion->requested_ms) && good;
    good = take_int(object, "done_ms", 0, &deletion->done_ms) && good;
    deletion->id = (uint64_t)id;
    return good;
}

static int parse_items(json_t *array, char ret_reason[static 256], struct deletions_document *document)
{
    size_t count = json_array_size(array);
    if (!json_is_array(array) || count > DELETIONS_DONE_MAX + DELETIONS_MAX) {
        return refuse(ret_reason, "it has no list of deletions, or one that is too long");
    }
    document->items = mem_array(count, sizeof(*document->items));
    for (size_t i = 0; i < count; i++) {
        document->count++;
        if (!parse_deletion(json_array_get(array, i), &document->items[i])) {
            return refuse(ret_reason, "a request has not all fields, or a wrong one");
        }
        if (i > 0 && document->items[i].id <= document->items[i - 1].id) {
            return refuse(ret_reason, "ids do not ascend");
        }
    }
    return 0;
}

static int parse_root(json_t *root, char ret_reason[static 256], struct deletions_document *document)
{
    int64_t version, newest;
    if (!take_int(root, "version", 1, &version) || version != DELETIONS_DOCUMENT_VERSION) {
        return refuse(ret_reason, "it has no version, or another one");
    }
    if (!take_int(root, "newest", 0, &newest)) {
        return refuse(ret_reason, "it does not say which request was the newest");
    }
    document->newest = (uint64_t)newest;
    int r = parse_items(json_object_get(root, "deletions"), ret_reason, document);
    if (r == 0 && document->count > 0 && document->items[document->count - 1].id > document->newest) {
        return refuse(ret_reason, "a request is newer than the newest");
    }
    return r;
}

int deletions_document_parse(struct str json, char ret_reason[static 256], struct deletions_document *ret_document)
{
    if (!json_seal_holds(json)) {
        return refuse(ret_reason, "its checksum is wrong");
    }
    if (json_is_crowded(json, 64 * (size_t)(DELETIONS_DONE_MAX + DELETIONS_MAX))) { /* selectors have braces too */
        return refuse(ret_reason, "it has too many parts");
    }
    json_error_t error;
    CLEANUP(json_free) json_t *root = json_loadb(json.ptr ? json.ptr : "", json.len, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        snprintf(ret_reason, 256, "line %d:%d: %s", error.line, error.column, error.text);
        return -EINVAL;
    }
    struct deletions_document document = {0};
    int r = parse_root(root, ret_reason, &document);
    if (r < 0) {
        deletions_document_done(&document);
        return r;
    }
    *ret_document = document;
    return 0;
}
