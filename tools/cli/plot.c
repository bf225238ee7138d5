#include "plot.h"

#include "axis.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "canvas.h"

#include <math.h>
#include <stdio.h>

#define AXIS_ROWS        2 /* the line below and its times */
#define ROWS_PER_MARK    2
#define MARKS_MAX        6  /* about; more are noise */
#define TIME_MARK_PLACES 10 /* one time and the room to the next, or a date */

/* What the axes are drawn with. */
static const struct lines {
    const char *wall, *wall_mark, *corner, *floor, *floor_mark;
} lines_utf8 = {"│", "┤", "└", "─", "┬"}, lines_ascii = {"|", "+", "+", "-", "+"};

static bool has_dots(size_t count, const struct output *output)
{
    return output->utf8 && (output->colour || count == 1);
}

const char *plot_mark(size_t index, size_t count, const struct output *output)
{
    static const char *const marks[] = {"*", "o", "+", "x", "#", "@", "%", "&"};
    return has_dots(count, output) ? "⣿" : marks[index % ARRAY_LEN(marks)];
}

/* ---- The field ---- */

struct field {
    struct canvas canvas;
    struct axis axis;
    const struct series_span *span;
    size_t margin; /* places of the labels on the left */
};

static size_t clamp(size_t value, size_t min, size_t max)
{
    return MIN(MAX(value, min), max);
}

static struct axis axis_of_series(const struct query_series *series, size_t count, size_t rows)
{
    double low = INFINITY;
    double high = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        struct series_extremes extremes = series_extremes_of(&series[i]);
        if (extremes.finite_count == 0)
            continue;
        low = fmin(low, extremes.low);
        high = fmax(high, extremes.high);
    }
    return low <= high ? axis_of(low, high, clamp(rows / ROWS_PER_MARK, 2, MARKS_MAX)) : axis_of(0, 1, 2);
}

static double time_share(const struct series_span *span, int64_t time_ms)
{
    return span->end_ms == span->start_ms
               ? 0
               : (double)(time_ms - span->start_ms) / (double)(span->end_ms - span->start_ms);
}

static size_t dot_down(const struct field *field, double value)
{
    size_t last = canvas_height(&field->canvas) - 1;
    return last - (size_t)lround(axis_share(&field->axis, value) * (double)last);
}

static struct dot dot_of(const struct field *field, const struct query_point *point)
{
    size_t last = canvas_width(&field->canvas) - 1;
    return (struct dot){(size_t)lround(time_share(field->span, point->time_ms) * (double)last),
                        dot_down(field, point->value)};
}

/* Every step is drawn, however many fall into one column: that keeps their peaks. */
static void draw_series(struct field *field, const struct query_series *series, uint8_t owner)
{
    struct dot before = {0};
    bool joined = false;
    for (size_t i = 0; i < series->count; i++) {
        const struct query_point *point = &series->points[i];
        joined = joined && !series_is_gap(field->span, point[-1].time_ms, point->time_ms);
        if (isnan(point->value)) {
            joined = false;
            continue;
        }
        struct dot here = dot_of(field, point);
        canvas_line(&field->canvas, joined ? before : here, here, owner);
        before = here;
        joined = true;
    }
}

/* ---- What stands around it ---- */

/* The text beside each row, empty without a mark. */
static void print_labels(const struct field *field, char (*ret_labels)[NUMBER_BYTES])
{
    for (size_t row = 0; row < field->canvas.rows; row++)
        ret_labels[row][0] = 0;
    for (size_t i = 0; i < field->axis.marks; i++) {
        double value = axis_value(&field->axis, i);
        number_print_scaled(value, &field->axis.scale, ret_labels[dot_down(field, value) / field->canvas.dots_down]);
    }
}

static void print_row(const struct field *field, size_t row, const struct output *output, size_t count, struct buf *out)
{
    uint8_t shown = 0; /* whose colour is on */
    size_t end = field->canvas.columns;
    while (end > 0 && !canvas_owner(&field->canvas, end - 1, row))
        end--;
    for (size_t column = 0; column < end; column++) {
        uint8_t owner = canvas_owner(&field->canvas, column, row);
        if (owner && owner != shown) {
            buf_append_text(out, output_on(output, STYLE_SERIES + owner - 1));
            shown = owner;
        }
        char bytes[4];
        if (!owner)
            buf_append_byte(out, ' ');
        else if (has_dots(count, output))
            buf_append(out, bytes, utf8_encode(canvas_rune(&field->canvas, column, row), bytes));
        else
            buf_append_text(out, plot_mark((size_t)owner - 1, count, output));
    }
    if (shown)
        buf_append_text(out, output_off(output, STYLE_SERIES));
    buf_append_byte(out, '\n');
}

/* The floor with a mark for each time, and below it the times, each beginning at its mark or, at the right edge,
 * ending there. */
static void print_floor(const struct field *field, const struct lines *lines, struct buf *out)
{
    const struct series_span *span = field->span;
    size_t columns = field->canvas.columns;
    int64_t step_ms = time_axis_step_ms(span, MAX(columns / TIME_MARK_PLACES, (size_t)2));
    char times[CANVAS_PLACES_MAX + TIME_MARK_BYTES];
    bool marked[CANVAS_PLACES_MAX] = {false};
    memset(times, ' ', sizeof(times));
    size_t end = 0;
    for (int64_t time_ms = time_axis_first_ms(span, step_ms); time_ms <= span->end_ms; time_ms += step_ms) {
        char text[TIME_MARK_BYTES];
        size_t column = (size_t)lround(time_share(span, time_ms) * (double)(columns - 1));
        time_axis_print(time_ms, step_ms, text);
        size_t at = MIN(column, columns - MIN(columns, strlen(text)));
        marked[column] = true;
        if (end > 0 && at <= end) /* would touch the one before */
            continue;
        for (size_t i = 0; text[i]; i++)
            times[at + i] = text[i];
        end = at + strlen(text);
    }
    buf_printf(out, "%*s%s", (int)field->margin + 1, "", lines->corner);
    for (size_t i = 0; i < columns; i++)
        buf_append_text(out, marked[i] ? lines->floor_mark : lines->floor);
    buf_printf(out, "\n%*s%.*s\n", (int)field->margin + 2, "", (int)end, times);
}

static void print_field(const struct field *field, size_t count, const struct output *output, struct buf *out)
{
    const struct lines *lines = output->utf8 ? &lines_utf8 : &lines_ascii;
    char labels[CANVAS_PLACES_MAX][NUMBER_BYTES];
    print_labels(field, labels);
    for (size_t row = 0; row < field->canvas.rows; row++) {
        buf_printf(out, "%*s %s", (int)field->margin, labels[row], labels[row][0] ? lines->wall_mark : lines->wall);
        print_row(field, row, output, count, out);
    }
    print_floor(field, lines, out);
}

static size_t label_places(const struct axis *axis)
{
    size_t longest = 0;
    for (size_t i = 0; i < axis->marks; i++) {
        char text[NUMBER_BYTES];
        number_print_scaled(axis_value(axis, i), &axis->scale, text);
        longest = MAX(longest, strlen(text));
    }
    return longest;
}

void plot_print(const struct plot *plot, const struct output *output, struct buf *out)
{
    ASSERT(plot->count <= PLOT_SERIES_MAX);
    size_t rows = clamp(plot->rows, PLOT_ROWS_MIN + AXIS_ROWS, CANVAS_PLACES_MAX) - AXIS_ROWS;
    struct field field = {.axis = axis_of_series(plot->series, plot->count, rows), .span = plot->span};
    field.margin = label_places(&field.axis);
    size_t columns = clamp(plot->columns, PLOT_COLUMNS_MIN, CANVAS_PLACES_MAX);
    size_t frame = field.margin + 2; /* a space and the wall */
    canvas_init(&field.canvas, columns - MIN(frame, columns - 1), rows, has_dots(plot->count, output));
    for (size_t i = plot->count; i-- > 0;) /* the first on top */
        draw_series(&field, &plot->series[i], (uint8_t)(i + 1));
    print_field(&field, plot->count, output, out);
    canvas_done(&field.canvas);
}
