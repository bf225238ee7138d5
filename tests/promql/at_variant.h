#pragma once
/* The same expression, fixed to a time by @: its answer must not depend on when it is evaluated. As Prometheus' own
 * test driver does it (atModifierTestCases in promql/test.go of 2.42). */
#include "base/buf.h"

/* Appends the expression with "@ TIME" at every selector and subquery that has no time of its own yet, start() and
 * end() included; what stands inside a subquery belongs to its steps and stays. False, with nothing appended, where
 * that is no expression, or where a function reads the time of the step itself: those change with it whatever their
 * arguments do. */
bool at_variant_print(struct str expression, int64_t time_ms, struct buf *text);

#define AT_VARIANT_TIMES 5
/* Other times at which such an expression is evaluated, made of the one it is fixed to. */
void at_variant_times(int64_t time_ms, int64_t ret_times_ms[static AT_VARIANT_TIMES]);
