#pragma once
/* JSON, appended to a buffer: commas and escapes are done here. The caller keeps the order of calls right (a key before
 * each value of an object); a wrong order is our own mistake and ends in bug(). Text that is not UTF-8 is written with
 * U+FFFD. */
#include "base/buf.h"
#include "base/defs.h"

#define JSON_WRITE_DEPTH_MAX 32

struct json_writer {
    struct buf *out;
    uint8_t depth;
    bool comma[JSON_WRITE_DEPTH_MAX]; /* a comma is due before the next item at this depth */
    bool after_key;
};

void json_begin(struct json_writer *json, struct buf *out);
void json_object(struct json_writer *json);
void json_object_end(struct json_writer *json);
void json_array(struct json_writer *json);
void json_array_end(struct json_writer *json);
void json_key(struct json_writer *json, const char *key);
void json_key_str(struct json_writer *json, struct str key);
void json_str(struct json_writer *json, struct str text);
void json_text(struct json_writer *json, const char *text); /* NULL: null */
void json_int(struct json_writer *json, int64_t value);
void json_uint(struct json_writer *json, uint64_t value);
void json_double(struct json_writer *json, double value); /* shortest of 15 to 17 digits; null when not finite */
void json_bool(struct json_writer *json, bool value);
void json_null(struct json_writer *json);
/* Bytes that are JSON already, as one value. */
void json_raw(struct json_writer *json, struct str value);

/* key and value in one. */
void json_field_text(struct json_writer *json, const char *key, const char *value);
void json_field_str(struct json_writer *json, const char *key, struct str value);
void json_field_int(struct json_writer *json, const char *key, int64_t value);
void json_field_uint(struct json_writer *json, const char *key, uint64_t value);
void json_field_double(struct json_writer *json, const char *key, double value);
void json_field_bool(struct json_writer *json, const char *key, bool value);
