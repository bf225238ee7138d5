#include "canvas.h"

#include "base/fail.h"

#include <stdlib.h>

#define BRAILLE_BLANK  0x2800
#define BRAILLE_ACROSS 2
#define BRAILLE_DOWN   4

void canvas_init(struct canvas *canvas, size_t columns, size_t rows, bool braille)
{
    ASSERT(columns >= 1 && columns <= CANVAS_PLACES_MAX && rows >= 1 && rows <= CANVAS_PLACES_MAX);
    *canvas = (struct canvas){.columns = columns,
                              .rows = rows,
                              .dots_across = braille ? BRAILLE_ACROSS : 1,
                              .dots_down = braille ? BRAILLE_DOWN : 1,
                              .dots = mem_array(columns * rows, sizeof(*canvas->dots)),
                              .owners = mem_array(columns * rows, sizeof(*canvas->owners))};
}

void canvas_done(struct canvas *canvas)
{
    mem_free(canvas->dots);
    mem_free(canvas->owners);
    *canvas = (struct canvas){0};
}

static void draw(struct canvas *canvas, size_t x, size_t y, uint8_t owner)
{
    /* Unicode numbers the dots 1 2 3 left, 4 5 6 right, and added the lowest two later. */
    static const uint8_t bits[BRAILLE_DOWN][BRAILLE_ACROSS] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    size_t place = y / canvas->dots_down * canvas->columns + x / canvas->dots_across;
    canvas->dots[place] |= bits[y % canvas->dots_down][x % canvas->dots_across];
    canvas->owners[place] = owner;
}

/* Bresenham's. */
void canvas_line(struct canvas *canvas, struct dot from, struct dot to, uint8_t owner)
{
    ASSERT(owner > 0 && MAX(from.x, to.x) < canvas_width(canvas) && MAX(from.y, to.y) < canvas_height(canvas));
    long across = labs((long)to.x - (long)from.x);
    long down = -labs((long)to.y - (long)from.y);
    long error = across + down;
    for (;;) {
        draw(canvas, from.x, from.y, owner);
        if (from.x == to.x && from.y == to.y)
            return;
        long twice = 2 * error;
        if (twice >= down) {
            error += down;
            from.x = from.x < to.x ? from.x + 1 : from.x - 1;
        }
        if (twice <= across) {
            error += across;
            from.y = from.y < to.y ? from.y + 1 : from.y - 1;
        }
    }
}

uint8_t canvas_owner(const struct canvas *canvas, size_t column, size_t row)
{
    return canvas->owners[row * canvas->columns + column];
}

uint32_t canvas_rune(const struct canvas *canvas, size_t column, size_t row)
{
    return BRAILLE_BLANK | canvas->dots[row * canvas->columns + column];
}
