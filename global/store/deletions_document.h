#pragma once
/* What data_dir/deletions.json says. Bytes in, struct out, and back (docs/block-format.md). */
#include "store/deletions.h"

#define DELETIONS_DOCUMENT_VERSION   1
#define DELETIONS_DOCUMENT_BYTES_MAX (64 * MIB) /* escaped, a request is 30 KiB at most; few are near it */

struct deletions_document {
    struct deletion *items; /* ascending by id; texts are the document's */
    size_t count;
    uint64_t newest; /* id of the newest request, which may have been dropped from the list */
};

/* -EINVAL with the reason. Selectors are texts here. */
MUST_CHECK int deletions_document_parse(struct str json, char ret_reason[static 256],
                                        struct deletions_document *ret_document);
void deletions_document_print(const struct deletions_document *document, struct buf *out);
void deletions_document_done(struct deletions_document *document);
