#pragma once
/* A query's result as text of the exposition format, with timestamps. */
#include "output.h"
#include "query_result.h"

/* Series without a name, as operators leave them, get this one. */
#define QUERY_PROM_NAME "query_result"

/* Lines NAME{LABELS} VALUE MILLISECONDS, those of one name together. Not of a string. On a
 * terminal labels' values are made safe. */
void query_prom_print(const struct query_result *result, const struct output *output, FILE *out);
