#pragma once
/* gzip of whole bodies by libdeflate. */
#include "base/buf.h"

/* Does an Accept-Encoding header allow gzip? (RFC 9110 12.5.3; q=0 forbids.) */
bool http_gzip_accepted(struct str accept_encoding);
/* Appends text compressed. -EMSGSIZE past out's ceiling. */
MUST_CHECK int http_gzip_pack(struct str text, struct buf *out);
/* Appends what gzip members unpack to. Stops at out's ceiling: -EMSGSIZE, whatever the members claim. -EBADMSG for
 * anything that is not whole, sound gzip to its last byte. -ENOMEM. */
MUST_CHECK int http_gzip_unpack(struct str packed, struct buf *out);
