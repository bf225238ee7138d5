#pragma once
/* MD5 (RFC 1321), for the one place where others' formats ask for it: the hashmod action of relabelling. Not for
 * secrets. */
#include "base/str.h"

void md5_of(struct str text, uint8_t ret_digest[static 16]);
