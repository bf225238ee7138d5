#pragma once
/* What people see: whether stdout is a terminal, colours, safe text, tables. */
#include "base/buf.h"
#include "cli.h"

#define OUTPUT_TEXT_BYTES_MAX (512 * MIB) /* of one answer put into words */

struct output {
    bool terminal; /* stdout is one */
    bool colour;   /* and colours are wanted */
    bool utf8;     /* characters beyond ASCII may be shown */
    int width;     /* of the terminal; INT32_MAX: no limit */
};

struct output output_of_stdout(void);
enum output_style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_BAD };
/* Codes for before and behind; "" without colours. */
const char *output_on(const struct output *output, enum output_style style);
const char *output_off(const struct output *output, enum output_style style);
/* Text from outside so that it takes one line and does not steer the terminal: what does not print as \xNN. */
void output_safe(struct str text, struct buf *out);
size_t output_columns(struct str text); /* places on a terminal */
/* A number for people: whole ones as they are, others in nine digits. text: as the API wrote it. */
#define OUTPUT_NUMBER_BYTES 1200
struct str output_number(struct str text, char ret_room[static OUTPUT_NUMBER_BYTES]);

void output_duration(double seconds, struct buf *out); /* 1h05m */
void output_bytes(double bytes, struct buf *out);      /* 3.4 GiB */
/* One field of CSV (RFC 4180), to stdout. */
void output_csv(struct str text);

/* Rows of text in aligned columns. */
struct table;
struct table_column {
    const char *title;
    bool right;
    bool minor; /* left out first where the terminal is too narrow */
};
struct table *table_new(const struct table_column *columns, size_t count); /* titles are made safe and copied */
void table_free(struct table *table);
DEFINE_CLEANUP(struct table *, table_free)
/* One cell of the current row, from the left; made safe and copied. The row ends with its last cell. */
void table_cell(struct table *table, struct str text);
void table_cell_style(struct table *table, struct str text, enum output_style style);
size_t table_rows(const struct table *table);
size_t table_width(const struct table *table); /* of all columns */
/* Prints. Columns without any text are left out, and minor ones from the right until it fits. */
void table_print(struct table *table, const struct output *output, const char *indent);
