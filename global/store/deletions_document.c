#include "store/deletions_document.h"

#include "base/fail.h"
#include "base/json_write.h"
#include "store/json_seal.h"

static void print_deletion(struct json_writer *json, const struct deletion *deletion)
{
    json_object(json);
    json_field_uint(json, "id", deletion->id);
    json_field_text(json, "match", deletion->match);
    json_field_text(json, "who", deletion->who);
    json_field_text(json, "why", deletion->why);
    json_field_int(json, "start_ms", deletion->start_ms);
    json_field_int(json, "end_ms", deletion->end_ms);
    json_field_int(json, "requested_ms", deletion->requested_ms);
    json_field_int(json, "done_ms", deletion->done_ms);
    json_object_end(json);
    buf_append_byte(json->out, '\n'); /* a line a request, for people */
}

/* From bytes is deletions_document_parse.c, as jansson has names of json_write.h. */
void deletions_document_print(const struct deletions_document *document, struct buf *out)
{
    struct json_writer json;
    json_begin(&json, out);
    json_object(&json);
    json_field_uint(&json, "version", DELETIONS_DOCUMENT_VERSION);
    json_field_uint(&json, "newest", document->newest);
    json_key(&json, "deletions");
    json_array(&json);
    for (size_t i = 0; i < document->count; i++) {
        print_deletion(&json, &document->items[i]);
    }
    json_array_end(&json);
    json_object_end(&json);
    json_seal(out);
}

void deletions_document_done(struct deletions_document *document)
{
    deletions_list_free(document->items, document->count);
    *document = (struct deletions_document){0};
}
