#pragma once
/* Go's string literals: written as %q writes them, read as Prometheus reads them. */
#include "base/buf.h"
#include "base/str.h"

/* One code point from UTF-8: its length in bytes, 0 at the end. What is not UTF-8 is one byte long and *ret_rune is
 * QUOTE_BAD_RUNE. */
#define QUOTE_BAD_RUNE UINT32_MAX
size_t quote_rune_of(const char *at, const char *end, uint32_t *ret_rune);
bool quote_rune_is_print(uint32_t rune);

/* "text" with escapes; bytes that are no UTF-8 as \xNN. */
int quote_print(struct str text, struct buf *out);
/* 'r' as %q prints a rune; QUOTE_BAD_RUNE as the replacement character. */
int quote_print_rune(uint32_t rune, struct buf *out);

/* Undoes "..." , '...' (escapes) or `...` (none). Writes at most literal.len bytes to ret_text, which may not overlap
 * the literal. -EINVAL when the literal is malformed. */
MUST_CHECK int quote_undo(struct str literal, char *ret_text, size_t *ret_len);
