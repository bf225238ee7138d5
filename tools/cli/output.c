#include "output.h"

#include "base/arena.h"
#include "base/fail.h"
#include "base/utf8.h"

#include <langinfo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define WIDTH_DEFAULT      80
#define COLUMN_GAP         2
#define SIGNIFICANT_DIGITS 9

struct output output_of_stdout(void)
{
    struct output output = {.terminal = isatty(STDOUT_FILENO), .width = INT32_MAX};
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    output.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    if (!output.terminal)
        return output;
    output.colour = !(no_colour && no_colour[0]) && terminal && strcmp(terminal, "dumb") != 0;
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    output.width = known ? size.ws_col : WIDTH_DEFAULT;
    return output;
}

const char *output_on(const struct output *output, enum output_style style)
{
    static const char *const codes[] = {
        [STYLE_PLAIN] = "",        [STYLE_BOLD] = "\033[1m",   [STYLE_DIM] = "\033[2m",
        [STYLE_GOOD] = "\033[32m", [STYLE_BAD] = "\033[1;31m",
    };
    return output->colour ? codes[style] : "";
}

const char *output_off(const struct output *output, enum output_style style)
{
    return output->colour && style != STYLE_PLAIN ? "\033[0m" : "";
}

/* Control characters of ASCII and of Latin 1, which terminals obey too, and the ones that turn the writing around. */
static bool steers(uint32_t rune)
{
    return rune < 0x20 || (rune >= 0x7f && rune < 0xa0) || (rune >= 0x200b && rune <= 0x200f) ||
           (rune >= 0x2028 && rune <= 0x202e) || (rune >= 0x2060 && rune <= 0x206f) || rune == 0xfeff;
}

void output_safe(struct str text, struct buf *out)
{
    for (size_t at = 0; at < text.len;) {
        uint32_t rune = 0;
        size_t len = utf8_decode(text, at, &rune);
        if (len > 0 && !steers(rune)) {
            buf_append(out, text.ptr + at, len);
        } else {
            len = MAX(len, (size_t)1);
            for (size_t i = 0; i < len; i++)
                buf_printf(out, "\\x%02x", (uint8_t)text.ptr[at + i]);
        }
        at += len;
    }
}

size_t output_columns(struct str text)
{
    size_t columns = 0;
    for (size_t i = 0; i < text.len; i++)
        columns += ((uint8_t)text.ptr[i] & 0xc0) != 0x80;
    return columns;
}

struct str output_number(struct str text, char ret_room[static OUTPUT_NUMBER_BYTES])
{
    double value;
    if (str_to_double(text, &value) < 0 || !isfinite(value) || value == rint(value) || text.len <= SIGNIFICANT_DIGITS)
        return text;
    int len = snprintf(ret_room, OUTPUT_NUMBER_BYTES, "%.*g", SIGNIFICANT_DIGITS, value);
    return str_of(ret_room, (size_t)len);
}

void output_duration(double seconds, struct buf *out)
{
    double size = fabs(seconds);
    const char *sign = seconds < 0 ? "-" : "";
    if (size < 60)
        buf_printf(out, "%s%.3gs", sign, size);
    else if (size < 3600)
        buf_printf(out, "%s%dm%02ds", sign, (int)size / 60, (int)size % 60);
    else if (size < 86400)
        buf_printf(out, "%s%dh%02dm", sign, (int)size / 3600, (int)size / 60 % 60);
    else
        buf_printf(out, "%s%.0fd%02dh", sign, floor(size / 86400), (int)fmod(size / 3600, 24));
}

void output_bytes(double bytes, struct buf *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t unit = 0;
    for (; fabs(bytes) >= 1024 && unit + 1 < ARRAY_LEN(units); unit++)
        bytes /= 1024;
    buf_printf(out, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

void output_csv(struct str text)
{
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++)
        quoted = quoted || strchr(",\"\r\n", text.ptr[i]);
    if (!quoted) {
        printf(STR_FMT, STR_ARG(text));
        return;
    }
    putchar('"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"')
            putchar('"');
        putchar(text.ptr[i]);
    }
    putchar('"');
}

/* ---- Tables ---- */

struct cell {
    struct str text;
    enum output_style style;
};

struct table {
    struct arena arena;
    struct table_column *columns;
    size_t *widths;
    bool *filled; /* columns that hold any text */
    size_t column_count;
    struct cell *cells; /* row by row */
    size_t cell_count, cell_capacity;
};

/* A copy, made safe, in the table's arena. */
static struct str keep_text(struct table *table, struct str text)
{
    CLEANUP(buf_done) struct buf safe = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    output_safe(text, &safe);
    return arena_str(&table->arena, buf_view(&safe));
}

struct table *table_new(const struct table_column *columns, size_t count)
{
    struct table *table = mem_zalloc(sizeof(*table));
    arena_init(&table->arena, 0); /* as large as the answer it shows, which has a ceiling */
    table->columns = mem_array(count, sizeof(*columns));
    table->widths = mem_array(count, sizeof(*table->widths));
    table->filled = mem_array(count, sizeof(*table->filled));
    table->column_count = count;
    for (size_t i = 0; i < count; i++) {
        table->columns[i] = columns[i];
        table->columns[i].title = keep_text(table, str_from(columns[i].title)).ptr;
        table->widths[i] = output_columns(str_from(table->columns[i].title));
    }
    return table;
}

void table_free(struct table *table)
{
    if (!table)
        return;
    arena_done(&table->arena);
    mem_free(table->columns);
    mem_free(table->widths);
    mem_free(table->filled);
    mem_free(table->cells);
    mem_free(table);
}

void table_cell_style(struct table *table, struct str text, enum output_style style)
{
    if (table->cell_count == table->cell_capacity) {
        table->cell_capacity = MAX(table->cell_capacity * 2, (size_t)64);
        table->cells = mem_resize(table->cells, table->cell_capacity, sizeof(*table->cells));
    }
    struct cell *cell = &table->cells[table->cell_count];
    *cell = (struct cell){keep_text(table, text), style};
    size_t column = table->cell_count % table->column_count;
    table->widths[column] = MAX(table->widths[column], output_columns(cell->text));
    table->filled[column] = table->filled[column] || cell->text.len > 0;
    table->cell_count++;
}

void table_cell(struct table *table, struct str text)
{
    table_cell_style(table, text, STYLE_PLAIN);
}

size_t table_rows(const struct table *table)
{
    return table->cell_count / table->column_count;
}

static size_t width_of(const struct table *table, const bool *hidden)
{
    size_t width = 0;
    for (size_t i = 0; i < table->column_count; i++)
        if (!hidden || !hidden[i])
            width += table->widths[i] + (width > 0 ? COLUMN_GAP : 0);
    return width;
}

size_t table_width(const struct table *table)
{
    return width_of(table, NULL);
}

/* hidden: which columns are left out. Returns how many that hold something. */
static size_t fit(const struct table *table, size_t width, bool *hidden)
{
    size_t count = 0;
    for (size_t i = 0; i < table->column_count; i++)
        hidden[i] = !table->filled[i];
    for (size_t i = table->column_count; i-- > 0 && width_of(table, hidden) > width;) {
        count += !hidden[i] && table->columns[i].minor;
        hidden[i] = hidden[i] || table->columns[i].minor;
    }
    return count;
}

static void print_cell(const struct table *table, size_t column, struct str text, bool last)
{
    int pad = (int)(table->widths[column] - output_columns(text));
    bool right = table->columns[column].right;
    printf("%*s" STR_FMT "%*s", right ? pad : 0, "", STR_ARG(text), right || last ? 0 : pad, "");
}

static size_t last_shown(const struct table *table, const bool *hidden)
{
    size_t last = table->column_count - 1;
    while (last > 0 && hidden[last])
        last--;
    return last;
}

static void print_row(const struct table *table, const struct output *output, size_t row, const bool *hidden)
{
    const struct cell *cells = &table->cells[row * table->column_count];
    bool first = true;
    size_t last = last_shown(table, hidden);
    for (size_t i = 0; i < table->column_count; i++) {
        if (hidden[i])
            continue;
        printf("%*s%s", first ? 0 : COLUMN_GAP, "", output_on(output, cells[i].style));
        print_cell(table, i, cells[i].text, i == last);
        fputs(output_off(output, cells[i].style), stdout);
        first = false;
    }
    putchar('\n');
}

static void print_titles(const struct table *table, const struct output *output, const bool *hidden)
{
    bool first = true;
    size_t last = last_shown(table, hidden);
    fputs(output_on(output, STYLE_BOLD), stdout);
    for (size_t i = 0; i < table->column_count; i++) {
        if (hidden[i])
            continue;
        printf("%*s", first ? 0 : COLUMN_GAP, "");
        print_cell(table, i, str_from(table->columns[i].title), i == last);
        first = false;
    }
    printf("%s\n", output_off(output, STYLE_BOLD));
}

void table_print(struct table *table, const struct output *output, const char *indent)
{
    ASSERT(table->cell_count % table->column_count == 0);
    CLEANUP_FREE bool *hidden = mem_array(table->column_count, sizeof(*hidden));
    size_t room = (size_t)output->width - MIN((size_t)output->width, strlen(indent));
    size_t left_out = fit(table, room, hidden);
    fputs(indent, stdout);
    print_titles(table, output, hidden);
    for (size_t row = 0; row < table_rows(table); row++) {
        fputs(indent, stdout);
        print_row(table, output, row, hidden);
    }
    if (left_out > 0)
        printf("%s%s(columns left out, for the terminal is too narrow: %zu)%s\n", indent, output_on(output, STYLE_DIM),
               left_out, output_off(output, STYLE_DIM));
}
