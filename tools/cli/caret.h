#pragma once
/* An expression with a caret under a place of it. */
#include "base/buf.h"

/* Appends the place's line, or where it does not fit into so many columns a window around the place, and below it the
 * caret; each line ends with \n and begins with two spaces. Tabs are shown as a space, what does not print as
 * output_safe shows it. place: in bytes, at most text.len. */
void caret_print(struct str text, size_t place, size_t columns_max, struct buf *out);

/* The place that "LINE:COLUMN: ..." names, as the API and promql/error.h write it: columns in bytes from 1. False: the
 * message does not begin so, or the place is none of the expression. */
bool caret_place(struct str message, struct str expression, size_t *ret_place);

/* Both on stderr: "MESSAGE", made safe, and the place below it. */
void caret_complain(struct str message, struct str expression, size_t place);
