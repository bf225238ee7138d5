#include "table.h"

#include "base/arena.h"
#include "base/fail.h"

#define COLUMN_GAP        2
#define WRAPPED_WIDTH_MIN 24 /* places for a column that wraps; with less beside the others it stands below them */
#define BELOW_INDENT      4
#define ROOM_MIN          8

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

static size_t width_of(const struct table *table, const bool *hidden, size_t wrapped_width)
{
    size_t width = 0;
    for (size_t i = 0; i < table->column_count; i++)
        if (!hidden || !hidden[i])
            width += (table->columns[i].wraps ? MIN(table->widths[i], wrapped_width) : table->widths[i]) +
                     (width > 0 ? COLUMN_GAP : 0);
    return width;
}

size_t table_width(const struct table *table)
{
    return width_of(table, NULL, SIZE_MAX);
}

/* How a table stands on a terminal. */
struct shape {
    const struct output *output;
    const char *indent;
    bool *hidden; /* columns that are left out */
    size_t last;  /* the last column that is not */
    size_t room;  /* of the last column, where it wraps */
    bool below;   /* it stands on lines of its own, for nothing is left beside the others */
};

/* hidden: which columns are left out. Returns how many that hold something. */
static size_t fit(const struct table *table, size_t width, bool *hidden)
{
    size_t count = 0;
    for (size_t i = 0; i < table->column_count; i++)
        hidden[i] = !table->filled[i];
    for (size_t i = table->column_count; i-- > 0 && width_of(table, hidden, WRAPPED_WIDTH_MIN) > width;) {
        count += !hidden[i] && table->columns[i].minor;
        hidden[i] = hidden[i] || table->columns[i].minor;
    }
    return count;
}

static void find_last(const struct table *table, size_t width, struct shape *shape)
{
    shape->last = table->column_count - 1;
    while (shape->last > 0 && shape->hidden[shape->last])
        shape->last--;
    shape->room = SIZE_MAX;
    if (!table->columns[shape->last].wraps || width_of(table, shape->hidden, SIZE_MAX) <= width)
        return;
    size_t others = width_of(table, shape->hidden, 0);
    shape->below = others + WRAPPED_WIDTH_MIN > width;
    shape->room = shape->below ? width - MIN(width, (size_t)BELOW_INDENT) : width - others;
    shape->room = MAX(shape->room, (size_t)ROOM_MIN);
}

/* The longest beginning that fits, up to a comma where there is one behind its first quarter. */
static size_t piece(struct str text, size_t room)
{
    size_t bytes;
    output_fit(text, room, &bytes);
    for (size_t i = bytes; bytes < text.len && i > bytes / 4; i--)
        if (text.ptr[i - 1] == ',')
            return i;
    return bytes;
}

static void print_cell(const struct table *table, const struct shape *shape, size_t column, const struct cell *cell,
                       FILE *out)
{
    bool wrapped = column == shape->last && shape->room != SIZE_MAX;
    bool pads = !wrapped && (table->columns[column].right || column != shape->last);
    int pad = pads ? (int)(table->widths[column] - output_columns(cell->text)) : 0;
    bool right = table->columns[column].right;
    size_t at = wrapped ? piece(cell->text, shape->room) : cell->text.len;
    fprintf(out, "%*s%s" STR_FMT "%s%*s", right ? pad : 0, "", output_on(shape->output, cell->style),
            STR_ARG(str_of(cell->text.ptr, at)), output_off(shape->output, cell->style), right ? 0 : pad, "");
    size_t margin = shape->below ? BELOW_INDENT : width_of(table, shape->hidden, 0);
    for (size_t len; at < cell->text.len; at += len) {
        struct str left = str_of(cell->text.ptr + at, cell->text.len - at);
        len = piece(left, shape->room);
        fprintf(out, "\n%s%*s%s" STR_FMT "%s", shape->indent, (int)margin, "", output_on(shape->output, cell->style),
                STR_ARG(str_of(left.ptr, len)), output_off(shape->output, cell->style));
    }
}

static void print_row(const struct table *table, const struct shape *shape, const struct cell *cells, FILE *out)
{
    bool first = true;
    fputs(shape->indent, out);
    for (size_t i = 0; i < table->column_count; i++) {
        if (shape->hidden[i])
            continue;
        if (i == shape->last && shape->below && !first)
            fprintf(out, "\n%s%*s", shape->indent, BELOW_INDENT, "");
        else if (!first)
            fprintf(out, "%*s", COLUMN_GAP, "");
        print_cell(table, shape, i, &cells[i], out);
        first = false;
    }
    putc('\n', out);
}

static void print_titles(const struct table *table, const struct shape *shape, FILE *out)
{
    CLEANUP_FREE struct cell *cells = mem_array(table->column_count, sizeof(*cells));
    bool any = false;
    for (size_t i = 0; i < table->column_count; i++) {
        struct str title = str_from(table->columns[i].title);
        cells[i] = (struct cell){title, title.len > 0 ? STYLE_BOLD : STYLE_PLAIN};
        any = any || (!shape->hidden[i] && cells[i].text.len > 0);
    }
    if (any)
        print_row(table, shape, cells, out);
}

void table_write(const struct table *table, const struct output *output, const char *indent, FILE *out)
{
    ASSERT(table->cell_count % table->column_count == 0);
    CLEANUP_FREE bool *hidden = mem_array(table->column_count, sizeof(*hidden));
    struct shape shape = {.output = output, .indent = indent, .hidden = hidden};
    size_t width = (size_t)output->width - MIN((size_t)output->width, strlen(indent));
    size_t left_out = fit(table, width, hidden);
    find_last(table, width, &shape);
    print_titles(table, &shape, out);
    for (size_t row = 0; row < table_rows(table); row++)
        print_row(table, &shape, &table->cells[row * table->column_count], out);
    if (left_out > 0)
        fprintf(out, "%s%s(columns left out, for the terminal is too narrow: %zu)%s\n", indent,
                output_on(output, STYLE_DIM), left_out, output_off(output, STYLE_DIM));
}

void table_print(const struct table *table, const struct output *output, const char *indent)
{
    table_write(table, output, indent, stdout);
}
