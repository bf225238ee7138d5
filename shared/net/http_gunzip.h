#pragma once
/* Inside net: gzip undone piece by piece, for answers that are read as they come. 40 KB each, and no more however much
 * comes out. (Whole bodies: http_gzip.h.) */
#include "base/str.h"

struct http_gunzip;

/* Takes unpacked bytes; negative: no more, which http_gunzip_feed returns. */
typedef int http_gunzip_fn(void *arg, struct str bytes);

struct http_gunzip *http_gunzip_new(void);
void http_gunzip_free(struct http_gunzip *gunzip); /* NULL allowed */
DEFINE_CLEANUP(struct http_gunzip *, http_gunzip_free)
/* -EBADMSG: not gzip; after any failure the stream is of no use. */
MUST_CHECK int http_gunzip_feed(struct http_gunzip *gunzip, struct str packed, http_gunzip_fn *fn, void *arg);
/* Did what was fed so far end with a member's end? Nothing fed did. */
bool http_gunzip_is_whole(const struct http_gunzip *gunzip);
