#include "base/sort.h"

#include "base/fail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_cancelled(const struct sort *sort)
{
    return sort->cancelled && sort->cancelled(sort->cancelled_arg);
}

static int sort_slices(const struct sort *sort)
{
    for (size_t at = 0; at < sort->count; at += SORT_SLICE) {
        if (at > 0 && is_cancelled(sort)) {
            return -ECANCELED;
        }
        qsort((char *)sort->items + at * sort->size, MIN(SORT_SLICE, sort->count - at), sort->size, sort->compare);
    }
    return 0;
}

/* Two runs that lie one behind the other in from: [left, right) and [right, end); to the same place in to. */
struct runs {
    const char *from;
    char *to;
    size_t left, right, end;
};

static int merge_runs(const struct sort *sort, const struct runs *runs)
{
    size_t left = runs->left, right = runs->right;
    for (size_t at = runs->left; at < runs->end; at++) {
        if (at % SORT_STEPS == 0 && is_cancelled(sort)) {
            return -ECANCELED;
        }
        bool from_left =
            right == runs->end ||
            (left < runs->right && sort->compare(runs->from + left * sort->size, runs->from + right * sort->size) <= 0);
        size_t *taken = from_left ? &left : &right;
        memcpy(runs->to + at * sort->size, runs->from + *taken * sort->size, sort->size);
        ++*taken;
    }
    return 0;
}

/* All pairs of runs of this width. */
static int merge_pass(const struct sort *sort, const char *from, char *to, size_t width)
{
    int result = 0;
    for (size_t at = 0; at < sort->count && result == 0; at += 2 * width) {
        struct runs runs = {from, to, at, MIN(at + width, sort->count), MIN(at + 2 * width, sort->count)};
        result = merge_runs(sort, &runs);
    }
    return result;
}

int sort_run(const struct sort *sort, void *scratch)
{
    if (sort->count < 2) {
        return 0;
    }
    ASSERT(sort->count <= SORT_SLICE || scratch);
    char *from = sort->items, *to = scratch;
    int result = sort_slices(sort);
    for (size_t width = SORT_SLICE; width < sort->count && result == 0; width *= 2) {
        result = merge_pass(sort, from, to, width);
        if (result == 0) {
            char *swap = from;
            from = to;
            to = swap;
        }
    }
    if (from != sort->items) {
        memcpy(sort->items, from, sort->count * sort->size);
    }
    return result;
}
