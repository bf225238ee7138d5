#pragma once
/* Names of meta labels made from keys of the other end: tags, labels, annotations. */
#include "base/arena.h"
#include "base/str.h"

/* prefix and key, with _ for each character (byte, where it is no UTF-8) of the key that a label's name cannot have, as
 * Prometheus makes them. In the arena; STR_NULL: it is full. */
struct str meta_name(struct arena *arena, struct str prefix, struct str key);
