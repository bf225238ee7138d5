#pragma once
/* One code point at a time. Whole texts are checked by str_is_utf8(). */
#include "base/str.h"

/* Bytes of the code point at `at` (at < text.len), 1 to 4; 0 when the bytes there are no UTF-8. */
size_t utf8_decode(struct str text, size_t at, uint32_t *ret_rune);
/* Bytes written; rune is a code point, no surrogate. */
size_t utf8_encode(uint32_t rune, char ret_bytes[static 4]);
