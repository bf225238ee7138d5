#pragma once
/* A field of dots that lines are drawn on: with braille 2 by 4 dots in a place of the terminal, else one. */
#include "base/defs.h"

#define CANVAS_PLACES_MAX 1000 /* in each direction */

struct canvas {
    size_t columns, rows;          /* places */
    size_t dots_across, dots_down; /* of one place */
    uint8_t *dots;                 /* of each place, as braille counts them */
    uint8_t *owners;               /* who drew last in a place, from 1; 0: nobody */
};

void canvas_init(struct canvas *canvas, size_t columns, size_t rows, bool braille);
void canvas_done(struct canvas *canvas);
static inline size_t canvas_width(const struct canvas *canvas) /* in dots */
{
    return canvas->columns * canvas->dots_across;
}
static inline size_t canvas_height(const struct canvas *canvas)
{
    return canvas->rows * canvas->dots_down;
}

struct dot {
    size_t x, y; /* from the left, from above */
};
/* Both ends are drawn. owner: 1 to 255. */
void canvas_line(struct canvas *canvas, struct dot from, struct dot to, uint8_t owner);
/* 0: nobody drew there. */
uint8_t canvas_owner(const struct canvas *canvas, size_t column, size_t row);
/* The braille character of a place. */
uint32_t canvas_rune(const struct canvas *canvas, size_t column, size_t row);
