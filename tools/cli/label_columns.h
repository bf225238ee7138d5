#pragma once
/* Names of labels over all series of an answer: the columns of a table. */
#include "base/buf.h"
#include "series.h"

#define LABEL_COLUMNS_MAX (LABELS_MAX + 8) /* beyond it series are written as one column */

struct label_columns {
    struct str names[LABEL_COLUMNS_MAX]; /* sorted; views of the series' labels */
    size_t count;
    bool too_many;
};

void label_columns_of(const struct query_series *series, size_t count, struct label_columns *ret_columns);
/* Takes out those that all series have with the same value, and appends them as NAME{LABEL="VALUE",...}; nothing where
 * there are none. */
void label_columns_split(struct label_columns *columns, const struct query_series *series, size_t count,
                         struct buf *common);
/* Appends the series' labels of these names, as label_columns_split does; where there are too many, all it has. */
void label_columns_print(const struct label_columns *columns, const struct query_series *series, struct buf *out);
