#pragma once
/* Finds the list of series in the text of a query's answer, so that they can be taken apart one after the other: as one
 * tree of JSON a large answer takes ten times its own size. */
#include "base/str.h"

/* The bytes of {"data": {"result": [...]}} from [ to ]. False: there is no such list, or it does not end. */
bool answer_scan_result(struct str body, struct str *ret_list);
/* Places behind white space. */
size_t answer_scan_space(struct str text, size_t at);
