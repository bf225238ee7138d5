#pragma once
/* A query's result for people and for programs. */
#include "output.h"
#include "query_result.h"

enum query_format { QUERY_FORMAT_TABLE, QUERY_FORMAT_PLAIN, QUERY_FORMAT_JSON, QUERY_FORMAT_CSV };

/* "table", "plain", "json", "csv"; -EINVAL. */
MUST_CHECK int query_format_parse(const char *name, enum query_format *ret_format);
void query_print(const struct query_result *result, enum query_format format, const struct output *output);
