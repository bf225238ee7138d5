#pragma once
/* What people see: whether stdout is a terminal, colours, safe text, numbers. */
#include "base/buf.h"
#include "cli.h"

#define OUTPUT_TEXT_BYTES_MAX (512 * MIB) /* of one answer put into words */

struct output {
    bool terminal;               /* stdout is one */
    bool colour;                 /* and colours are wanted */
    bool utf8;                   /* characters beyond ASCII may be shown */
    int width;                   /* of lines: the terminal's, else $COLUMNS; INT32_MAX: no limit */
    int plot_width, plot_height; /* of what needs a size: the same, 80 and 24 where nobody says */
};

struct output output_of_stdout(void);
int output_error_width(void); /* of stderr; 80 where it is no terminal */
/* STYLE_SERIES + i: the colour of the ith series. */
enum output_style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_GOOD, STYLE_BAD, STYLE_SERIES };
/* Codes for before and behind; "" without colours. */
const char *output_on(const struct output *output, enum output_style style);
const char *output_off(const struct output *output, enum output_style style);
/* Text from outside so that it takes one line and does not steer the terminal: what does not print as \xNN. */
void output_safe(struct str text, struct buf *out);
size_t output_columns(struct str text); /* places on a terminal */
/* The longest beginning of text that takes at most columns_max places, in bytes. Returns the places it takes. */
size_t output_fit(struct str text, size_t columns_max, size_t *ret_bytes);
/* A number for people: whole ones as they are, others in nine digits. text: as the API wrote it. */
#define OUTPUT_NUMBER_BYTES 1200
struct str output_number(struct str text, char ret_room[static OUTPUT_NUMBER_BYTES]);

void output_duration(double seconds, struct buf *out); /* 1h05m */
void output_bytes(double bytes, struct buf *out);      /* 3.4 GiB */
/* One field of CSV (RFC 4180), to stdout. */
void output_csv(struct str text);
/* JSON from outside and a newline, to stdout: as it is, but on a terminal with what does not print as \uNNNN. */
void output_json(struct str json, const struct output *output);
