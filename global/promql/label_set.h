#pragma once
/* Label sets made from others, as operators need them. Each call gives a reference that belongs to the caller; where
 * nothing changes it is one to the set itself. Private to the evaluator. */
#include "base/buf.h"
#include "metric/labels.h"
#include "promql/ast.h"

struct labels *label_set_without_name(const struct labels *labels);
/* Only the labels of these names. */
struct labels *label_set_keep(const struct labels *labels, const struct ast_names *names);
/* Without the labels of these names; with drop_name also without __name__. */
struct labels *label_set_drop(const struct labels *labels, const struct ast_names *names, bool drop_name);
/* With one label more, or another value of it; an empty value deletes. NULL when there would be too many labels. */
struct labels *label_set_with(const struct labels *labels, struct str name, struct str value);
bool label_set_has(const struct ast_names *names, struct str name);
/* {__name__="a", b="c"}, as Prometheus prints labels in errors. */
int label_set_print(const struct labels *labels, struct buf *text);
