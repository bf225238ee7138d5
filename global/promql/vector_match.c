/* Operators between two vectors: which series belong together, and what their results are called. */
#include "promql/eval_state.h"
#include "promql/groups.h"
#include "promql/label_set.h"

#define TEXT_BYTES_MAX (64 * KIB) /* of labels in one error; the error itself is cut shorter */

struct match {
    struct eval *eval;
    const struct grid *grid;
    const struct ast *ast;
    struct vector left, right;
    struct vector *many, *one; /* for arithmetic: the sides, after group_right has changed them over */
    struct groups groups;      /* over left, then right, in one numbering */
    uint64_t *masks;           /* by group: a bit per step */
    struct label_table names;  /* of the results; a number is also a place in out */
    struct vector out;
};

/* What has to be equal on both sides. */
static struct labels *signature_of(const struct promql_series *series, const void *arg)
{
    const struct ast *ast = arg;
    if (ast->binary.on)
        return label_set_keep(series->labels, &ast->binary.matching);
    return label_set_drop(series->labels, &ast->binary.matching, true);
}

/* One list of both sides' series, for the numbering; it owns nothing. */
static bool group_sides(struct match *match)
{
    size_t left = match->left.count;
    size_t right = match->right.count;
    CLEANUP_BUDGET struct promql_series *all =
        budget_array(match->eval->budget, left + right, sizeof(struct promql_series));
    if (!all)
        return false;
    if (left > 0)
        memcpy(all, match->left.series, left * sizeof(*all));
    if (right > 0)
        memcpy(all + left, match->right.series, right * sizeof(*all));
    struct vector both = {.budget = match->eval->budget, .series = all, .count = left + right};
    if (!groups_init(&match->groups, match->eval, &both, signature_of, match->ast))
        return false;
    size_t words = promql_words(match->grid->steps);
    match->masks = budget_array(match->eval->budget, match->groups.table.count * words, sizeof(uint64_t));
    return match->masks != NULL;
}

static size_t group_of(const struct match *match, const struct vector *side, size_t index)
{
    return match->groups.ids[index + (side == &match->right ? match->left.count : 0)];
}

static uint64_t *mask_of(const struct match *match, size_t group)
{
    return match->masks + group * promql_words(match->grid->steps);
}

/* ---- and, or, unless ----------------------------------------------------------------------------------------------
 */

/* Marks in the masks where a group has a series of this side. */
static int mark_side(struct match *match, const struct vector *side)
{
    int error = 0;
    for (size_t i = 0; i < side->count && error == 0; i++) {
        uint64_t *mask = mask_of(match, group_of(match, side, i));
        error = eval_work(match->eval, promql_words(match->grid->steps));
        for (size_t word = 0; word < promql_words(match->grid->steps); word++)
            mask[word] |= side->series[i].present[word];
    }
    return error;
}

/* Keeps of a side what is marked, or what is not. */
static int filter_side(struct match *match, struct vector *side, bool marked)
{
    int error = 0;
    for (size_t i = 0; i < side->count && error == 0; i++) {
        const uint64_t *mask = mask_of(match, group_of(match, side, i));
        error = eval_work(match->eval, promql_words(match->grid->steps));
        for (size_t word = 0; word < promql_words(match->grid->steps); word++)
            side->series[i].present[word] &= marked ? mask[word] : ~mask[word];
    }
    return error;
}

/* A series of the right may fill in where its twin of the left is absent. */
static int join_sides(struct match *match, struct sink *sink)
{
    CLEANUP(merge_done) struct merge merge;
    merge_init(&merge, match->eval, match->grid, match->ast);
    int error = vector_drain(&match->left, &merge.sink);
    if (error == 0)
        error = vector_drain(&match->right, &merge.sink);
    return error < 0 ? error : vector_drain(&merge.vector, sink);
}

static int match_sets(struct match *match, struct sink *sink)
{
    bool is_or = match->ast->binary.op == OP_OR;
    int error = mark_side(match, is_or ? &match->left : &match->right);
    if (error == 0)
        error = filter_side(match, is_or ? &match->right : &match->left, match->ast->binary.op == OP_AND);
    if (error < 0)
        return error;
    return is_or ? join_sides(match, sink) : vector_drain(&match->left, sink);
}

/* ---- Arithmetic and comparison ------------------------------------------------------------------------------------
 */

static int fail_many(struct match *match, const struct promql_series *series, const struct promql_series *twin)
{
    const struct ast *ast = match->ast;
    CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_BYTES_MAX);
    CLEANUP(labels_unrefp)
    struct labels *group = ast->binary.on ? label_set_keep(series->labels, &ast->binary.matching)
                                          : label_set_drop(series->labels, &ast->binary.matching, true);
    label_set_print(group, &text);
    buf_printf(&text, " on the %s hand-side of the operation: [", match->one == &match->left ? "left" : "right");
    label_set_print(series->labels, &text);
    buf_append_text(&text, ", ");
    label_set_print(twin->labels, &text);
    return eval_fail(match->eval, PROMQL_EXECUTION, ast,
                     "found duplicate series for the match group " STR_FMT
                     "];many-to-many matching not allowed: matching labels must be unique on one side",
                     STR_ARG(buf_view(&text)));
}

/* On the "one" side a group has at most one series at each step where the other side has any series at all. */
static int check_one_side(struct match *match)
{
    size_t words = promql_words(match->grid->steps);
    CLEANUP_BUDGET uint64_t *asked = budget_array(match->eval->budget, words, sizeof(uint64_t));
    if (!asked)
        return eval_fail_memory(match->eval, match->ast);
    for (size_t i = 0; i < match->many->count; i++)
        for (size_t word = 0; word < words; word++)
            asked[word] |= match->many->series[i].present[word];
    for (size_t i = 0; i < match->one->count; i++) {
        const struct promql_series *series = &match->one->series[i];
        size_t group = group_of(match, match->one, i);
        uint64_t *seen = mask_of(match, group);
        uint64_t doubled = 0;
        size_t word = 0;
        int error = eval_work(match->eval, words);
        if (error < 0)
            return error;
        for (; word < words && doubled == 0; word++) {
            doubled = seen[word] & series->present[word] & asked[word];
            seen[word] |= series->present[word];
        }
        for (size_t j = 0; doubled != 0 && j < i; j++)
            if (group_of(match, match->one, j) == group && (match->one->series[j].present[word - 1] & doubled))
                return fail_many(match, series, &match->one->series[j]);
    }
    memset(match->masks, 0, match->groups.table.count * words * sizeof(uint64_t));
    return 0;
}

/* The labels of a result. NULL after a failure. */
static struct labels *result_labels(const struct match *match, const struct labels *many, const struct labels *one)
{
    const struct ast *ast = match->ast;
    bool drop_name = ast->binary.return_bool || operator_drops_name(ast->binary.op);
    CLEANUP(labels_unrefp)
    struct labels *labels =
        drop_name ? label_set_without_name(many) : label_set_drop(many, &(struct ast_names){NULL, 0}, false);
    if (ast->binary.card == CARD_ONE_TO_ONE)
        return ast->binary.on ? label_set_keep(labels, &ast->binary.matching)
                              : label_set_drop(labels, &ast->binary.matching, false);
    for (size_t i = 0; i < ast->binary.include.count; i++) {
        struct str name = ast->binary.include.items[i];
        if (ast->binary.return_bool && str_equal(name, STR(LABEL_NAME)))
            continue; /* what is 0 or 1 has no name, asked for or not */
        struct labels *with = label_set_with(labels, name, labels_get(one, name));
        if (!with) {
            eval_fail(match->eval, PROMQL_EXECUTION, ast, "a series would have more than %d labels", LABELS_MAX);
            return NULL;
        }
        labels_unref(labels);
        labels = with;
    }
    return STEAL(labels);
}

/* The series of the result with these labels; NULL past the budget. */
static struct promql_series *result_series(struct match *match, struct labels *labels)
{
    int64_t number = label_table_add(&match->names, labels);
    if (number < 0)
        return NULL;
    if ((size_t)number == match->out.count)
        return vector_add(&match->out, labels);
    return &match->out.series[number];
}

static int fail_result(struct match *match)
{
    if (match->ast->binary.card == CARD_ONE_TO_ONE)
        return eval_fail_duplicate(match->eval, match->ast);
    return eval_fail(match->eval, PROMQL_EXECUTION, match->ast,
                     "multiple matches for labels: grouping labels must ensure unique matches");
}

static int apply_pair(struct match *match, const struct promql_series *many, const struct promql_series *one,
                      uint64_t *matched, struct promql_series *out)
{
    const struct ast *ast = match->ast;
    bool one_to_one = ast->binary.card == CARD_ONE_TO_ONE;
    bool swapped = match->many == &match->right;
    size_t steps = match->grid->steps;
    PROMQL_EACH(step, many, steps)
    {
        if (!promql_present(one, step))
            continue;
        double left = swapped ? one->values[step] : many->values[step];
        double right = swapped ? many->values[step] : one->values[step];
        bool keep;
        double value = binary_apply(ast->binary.op, left, right, &keep);
        if (!keep && !ast->binary.return_bool)
            continue;
        uint64_t bit = UINT64_C(1) << (step % 64);
        if (one_to_one && (matched[step / 64] & bit))
            return eval_fail(match->eval, PROMQL_EXECUTION, ast,
                             "multiple matches for labels: many-to-one matching must be explicit "
                             "(group_left/group_right)");
        matched[step / 64] |= bit;
        if (promql_present(out, step))
            return fail_result(match);
        promql_set(out, step, ast->binary.return_bool ? (double)keep : value);
    }
    return 0;
}

static bool overlap(const struct promql_series *a, const struct promql_series *b, size_t steps)
{
    for (size_t word = 0; word < promql_words(steps); word++)
        if (a->present[word] & b->present[word])
            return true;
    return false;
}

/* Where a group's members of the right side begin: those of the left stand before them. */
static size_t right_members(const struct match *match, size_t group)
{
    size_t low = match->groups.starts[group], high = match->groups.starts[group + 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        bool is_left = match->groups.members[middle] < match->left.count;
        low = is_left ? middle + 1 : low;
        high = is_left ? high : middle;
    }
    return low;
}

/* One series of the "many" side against those of its group on the other. */
static int apply_series(struct match *match, size_t index)
{
    const struct promql_series *many = &match->many->series[index];
    size_t group = group_of(match, match->many, index);
    bool one_is_right = match->one == &match->right;
    size_t base = one_is_right ? match->left.count : 0;
    size_t middle = right_members(match, group);
    size_t end = one_is_right ? match->groups.starts[group + 1] : middle;
    for (size_t i = one_is_right ? middle : match->groups.starts[group]; i < end; i++) {
        const struct promql_series *one = &match->one->series[match->groups.members[i] - base];
        int error = eval_work(match->eval, 1 + match->ast->binary.include.count);
        if (error < 0)
            return error;
        if (!overlap(many, one, match->grid->steps))
            continue;
        CLEANUP(labels_unrefp) struct labels *labels = result_labels(match, many->labels, one->labels);
        if (!labels)
            return -1;
        struct promql_series *out = result_series(match, labels);
        if (!out)
            return eval_fail_memory(match->eval, match->ast);
        error = apply_pair(match, many, one, mask_of(match, group), out);
        if (error < 0)
            return error;
    }
    return eval_work(match->eval, match->grid->steps);
}

static int match_values(struct match *match, struct sink *sink)
{
    bool swapped = match->ast->binary.card == CARD_ONE_TO_MANY;
    match->many = swapped ? &match->right : &match->left;
    match->one = swapped ? &match->left : &match->right;
    int error = check_one_side(match);
    for (size_t i = 0; error == 0 && i < match->many->count; i++)
        error = apply_series(match, i);
    if (error < 0)
        return error;
    vector_done(&match->left);
    vector_done(&match->right);
    return vector_drain(&match->out, sink);
}

static int match_run(struct match *match, struct sink *sink)
{
    const struct ast *ast = match->ast;
    int error = eval_vector(match->eval, match->grid, ast->binary.left, &match->left);
    if (error == 0)
        error = eval_vector(match->eval, match->grid, ast->binary.right, &match->right);
    if (error < 0)
        return error;
    if (!group_sides(match))
        return eval_fail_memory(match->eval, ast);
    return ast_operator_is_set(ast->binary.op) ? match_sets(match, sink) : match_values(match, sink);
}

int eval_vector_match(struct eval *eval, const struct grid *grid, const struct ast *ast, struct sink *sink)
{
    struct match match = {.eval = eval, .grid = grid, .ast = ast};
    label_table_init(&match.names, eval->budget);
    vector_init(&match.out, eval->budget, grid->steps);
    int error = match_run(&match, sink);
    vector_done(&match.left);
    vector_done(&match.right);
    vector_done(&match.out);
    label_table_done(&match.names);
    groups_done(&match.groups);
    budget_free(match.masks);
    return error;
}
