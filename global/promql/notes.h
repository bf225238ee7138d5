#pragma once
/* What an answer should say of range functions over records that each stand for a window: ranges that are too small,
 * results that are approximate; and, where the query asks for it, ranges widened. docs/downsampling.md has the rules.
 * Private to the evaluator. */
#include "promql/eval_state.h"

/* A widened range holds so many of the longest spacing: as many as `[1m]` has where a scrape is made every 15 s. */
#define NOTES_WIDE_SPACINGS 4

/* Before the scan of a call over this selector or subquery: what is to be scanned instead, `matrix` itself or `wide`
 * filled. */
const struct ast *notes_widen(struct eval *eval, const struct grid *grid, const struct ast *call,
                              const struct ast *matrix, struct ast *wide);
/* After it. is_short: some series had samples, and no value at any step. A failure: cancelled, or past the deadline, in
 * looking. */
MUST_CHECK int notes_tell(struct eval *eval, const struct grid *grid, const struct ast *call, const struct ast *matrix,
                          bool is_short);
