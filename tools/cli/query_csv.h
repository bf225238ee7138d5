#pragma once
/* A query's result as CSV (RFC 4180). */
#include "output.h"
#include "query_result.h"

/* A column per label that occurs, then time and value; a line per series and time. On a terminal its texts are made
 * safe. */
void query_csv_print(const struct query_result *result, const struct output *output);
