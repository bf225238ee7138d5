#pragma once
/* Percent-encoding, query strings and form bodies (application/x-www-form-urlencoded, WHATWG URL 5.1). What they say
 * comes from outside: strict, bounded, and nothing with a NUL inside passes, so that the views may be used as C
 * strings. */
#include "base/arena.h"
#include "base/buf.h"

#define HTTP_PARAMS_MAX 1000 /* parameters of one request; a page of match[] is far below */

struct http_param {
    struct str name, value; /* both terminated by 0 behind len */
};

struct http_params {
    struct http_param *items; /* in the arena */
    size_t count;
};

/* Decodes %XX, and with plus_is_space '+'. -EINVAL for a broken or NUL escape, or a NUL byte. */
MUST_CHECK int http_percent_decode(struct arena *arena, struct str text, bool plus_is_space, struct str *ret_text);
/* Appends what "a=1&b=2" says to params, in order. -EINVAL as above, -E2BIG past HTTP_PARAMS_MAX. */
MUST_CHECK int http_form_decode(struct arena *arena, struct str text, struct http_params *params);
/* nth value (from 0) of a name; STR_NULL: no more. */
struct str http_params_get(const struct http_params *params, const char *name, size_t nth);
/* Appends text encoded for a query or form value: all but A-Z a-z 0-9 - . _ ~ as %XX. */
int http_percent_encode(struct buf *out, struct str text);
