#pragma once
/* A checksum at the end of a document in JSON, which stays JSON: {...,"crc32c":"0badcafe"}. One flipped bit in a time
 * or a name would parse as well as the right one. */
#include "base/buf.h"

/* out ends with the object's "}"; its bytes are covered from its first. */
void json_seal(struct buf *out);
/* The checksum is the right one, or there is none: documents written by hand have none. */
bool json_seal_holds(struct str json);
/* Counts brackets: a parser of JSON makes some 150 bytes of each pair, and a file of nothing else must not become
 * gigabytes. Brackets inside of texts count too. */
bool json_is_crowded(struct str json, size_t containers_max);
