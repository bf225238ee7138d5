#pragma once
/* Rows of text in aligned columns. */
#include "output.h"

struct table;
struct table_column {
    const char *title;
    bool right;
    bool minor; /* left out first where the terminal is too narrow */
    bool wraps; /* continued on further lines where it is; only the last column may */
};
struct table *table_new(const struct table_column *columns, size_t count); /* titles are made safe and copied */
void table_free(struct table *table);
DEFINE_CLEANUP(struct table *, table_free)
/* One cell of the current row, from the left; made safe and copied. The row ends with its last cell. */
void table_cell(struct table *table, struct str text);
void table_cell_style(struct table *table, struct str text, enum output_style style);
size_t table_rows(const struct table *table);
size_t table_width(const struct table *table); /* of all columns */
/* Columns without any text are left out, and minor ones from the right until it fits. */
void table_write(const struct table *table, const struct output *output, const char *indent, FILE *out);
void table_print(const struct table *table, const struct output *output, const char *indent); /* to stdout */
