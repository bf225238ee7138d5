/* Runs test scripts of PromQL against a real store: promql-test [--whole] FILE...
 * With --whole every function, operator and aggregation must be in an evaluation that succeeds.
 *
 * The language is that of Prometheus' own scripts (promql/testdata), each command with its lines up to an empty one:
 *   clear                                    a new store
 *   load STEP                                then lines "series values", see promql/series_text.h
 *   eval instant at TIME EXPRESSION          then lines "{labels} value", or one number for a scalar
 *   eval_ordered instant at TIME EXPRESSION  the same, in this order
 *   eval_fail instant at TIME EXPRESSION     must fail; a line "expected_fail_message TEXT" says what the error holds
 *   eval range from TIME to TIME step STEP EXPRESSION   then lines "{labels} values", _ where there is none
 * Each instant evaluation is run as the middle step of a range too, and both again at other times with all of the
 * expression fixed to its time by @ (at_variant.h). Lines that begin with # are comments. */
#include "at_variant.h"
#include "base/clock.h"
#include "base/fail.h"
#include "coverage.h"
#include "promql/eval.h"
#include "promql/series_text.h"
#include "store/store.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_BYTES_MAX  (16 * MIB)
#define LOAD_SERIES_MAX 100000
#define EXPECTED_MAX    10000
#define TEXT_BYTES_MAX  MIB
#define FOREVER_MS      (INT64_C(1) << 60)
#define RANGE_SIDE_MS   60000 /* an instant evaluation is also the middle of a range of three such steps */
#define TOLERANCE       1e-6

struct script {
    const char *path;
    struct str rest; /* the lines not read yet */
    uint32_t line;   /* of the one read last, from 1 */
    struct store *store;
    struct clock *clock;
    struct coverage *coverage; /* of what passed and did not have to fail */
    uint32_t passed, failed;
};

struct expected {
    struct series_text series;
    struct str text;
};

struct command {
    uint32_t line;
    struct str expression;
    int64_t start_ms, end_ms, step_ms; /* step 0: instant */
    bool fail, ordered;
    bool range_mode; /* an instant evaluation, seen as the middle step of a range */
    struct str fail_message;
    bool scalar; /* one number is expected */
    double number;
    struct expected *expected;
    size_t expected_count;
};

/* ---- Lines and words -----------------------------------------------------------------------------------------------
 */

static void report(struct script *script, uint32_t line, const struct buf *text)
{
    printf("%s:%" PRIu32 ": " STR_FMT "\n", script->path, line, STR_ARG(buf_view(text)));
}

static bool next_line(struct script *script, struct str *ret_line)
{
    if (script->rest.len == 0)
        return false;
    size_t end = str_find(script->rest, '\n');
    struct str line = str_of(script->rest.ptr, end);
    size_t taken = MIN(end + 1, script->rest.len);
    script->rest = str_of(script->rest.ptr + taken, script->rest.len - taken);
    script->line++;
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    line = str_trim(line);
    *ret_line = line.len > 0 && line.ptr[0] == '#' ? STR_NULL : line;
    return true;
}

static struct str next_word(struct str *line)
{
    size_t end = 0;
    while (end < line->len && line->ptr[end] != ' ' && line->ptr[end] != '\t')
        end++;
    struct str word = str_of(line->ptr, end);
    *line = str_trim(str_of(line->ptr + end, line->len - end));
    return word;
}

static bool accept_word(struct str *line, const char *word)
{
    struct str rest = *line;
    if (!str_equal(next_word(&rest), str_from(word)))
        return false;
    *line = rest;
    return true;
}

static bool take_duration(struct str *line, int64_t *ret_ms)
{
    struct str word = next_word(line);
    bool negative = word.len > 0 && word.ptr[0] == '-';
    if (negative)
        word = str_of(word.ptr + 1, word.len - 1);
    if (str_to_duration_ms(word, ret_ms) < 0)
        return false;
    if (negative)
        *ret_ms = -*ret_ms;
    return true;
}

_Noreturn static void malformed(const struct script *script, uint32_t line, const char *what)
{
    fprintf(stderr, "%s:%" PRIu32 ": %s\n", script->path, line, what);
    exit(2);
}

/* A line as a series; the text must outlive it. */
static struct series_text read_series(const struct script *script, struct str line)
{
    struct promql_error error;
    struct series_text series;
    if (series_text_parse(line, &error, &series) < 0)
        malformed(script, script->line, error.text);
    return series;
}

/* ---- load ----------------------------------------------------------------------------------------------------------
 */

static void new_store(struct script *script)
{
    store_free(script->store);
    struct store_options options = {.max_age_ms = FOREVER_MS, .max_ahead_ms = FOREVER_MS, .series_max = 1000000};
    script->store = store_new(script->clock, &options);
}

static void store_values(struct script *script, int64_t step_ms, const struct series_text *series)
{
    series_ref ref = store_series(script->store, series->labels, KIND_GAUGE);
    ASSERT(ref != SERIES_REF_NONE);
    store_write_begin(script->store);
    for (size_t i = 0; i < series->count; i++) {
        if (series->values[i].omitted)
            continue;
        struct record record = record_empty(KIND_GAUGE);
        int64_t time_ms = (int64_t)i * step_ms;
        record_add(&record, (struct sample){time_ms, series->values[i].value});
        store_append(script->store, ref, time_ms, 0, &record, NULL, 0);
        if (i % STORE_BLOCK_RECORDS_MAX == STORE_BLOCK_RECORDS_MAX - 1) {
            store_write_end(script->store);
            store_write_begin(script->store);
        }
    }
    store_write_end(script->store);
}

/* Of two lines with the same labels the later stays, as in Prometheus. */
static void run_load(struct script *script, struct str line)
{
    int64_t step_ms;
    if (!take_duration(&line, &step_ms) || line.len > 0)
        malformed(script, script->line, "expected: load STEP");
    struct series_text *series = mem_array(LOAD_SERIES_MAX, sizeof(*series));
    size_t count = 0;
    while (next_line(script, &line) && line.len > 0) {
        struct series_text read = read_series(script, line);
        size_t at = 0;
        while (at < count && !labels_equal(series[at].labels, read.labels))
            at++;
        if (at == LOAD_SERIES_MAX)
            malformed(script, script->line, "too many series");
        if (at < count)
            series_text_done(&series[at]);
        else
            count++;
        series[at] = read;
    }
    for (size_t i = 0; i < count; i++) {
        store_values(script, step_ms, &series[i]);
        series_text_done(&series[i]);
    }
    mem_free(series);
}

/* ---- What came against what is expected ----------------------------------------------------------------------------
 */

static bool almost_equal(double expected, double got)
{
    if (isnan(expected) && isnan(got))
        return true;
    if (expected == got)
        return true;
    double difference = fabs(expected - got);
    if (expected == 0 || got == 0 || difference < DBL_MIN)
        return difference < TOLERANCE * DBL_MIN;
    return difference / (fabs(expected) + fabs(got)) < TOLERANCE;
}

static void print_value(struct buf *text, double value)
{
    char digits[VALUE_TEXT_BYTES];
    size_t len = value_print(value, digits);
    if (len > 24)
        buf_printf(text, "%.17g", value);
    else
        buf_append(text, digits, len);
}

static void print_series(struct buf *text, const struct promql_series *series, size_t steps)
{
    labels_print(series->labels, text);
    for (size_t step = 0; step < steps; step++) {
        buf_append_byte(text, ' ');
        if (promql_present(series, step))
            print_value(text, series->values[step]);
        else
            buf_append_byte(text, '_');
    }
}

static bool series_as_expected(const struct promql_series *series, size_t steps, const struct series_text *expected)
{
    for (size_t step = 0; step < steps; step++) {
        bool wanted = step < expected->count && !expected->values[step].omitted;
        if (promql_present(series, step) != wanted)
            return false;
        if (wanted && !almost_equal(expected->values[step].value, series->values[step]))
            return false;
    }
    return true;
}

static size_t find_expected(const struct command *command, const struct labels *labels)
{
    size_t at = 0;
    while (at < command->expected_count && !labels_equal(command->expected[at].series.labels, labels))
        at++;
    return at;
}

/* The middle step of a range alone, as an instant answer would be. */
static size_t take_middle(const struct promql_value *value, size_t middle, struct promql_series *ret_series,
                          uint64_t *bit)
{
    size_t count = 0;
    for (size_t i = 0; i < value->series_count; i++)
        if (promql_present(&value->series[i], middle))
            ret_series[count++] =
                (struct promql_series){value->series[i].labels, value->series[i].values + middle, bit};
    return count;
}

static bool compare_series(const struct command *command, const struct promql_series *series, size_t count,
                           size_t steps, struct buf *ret_why)
{
    bool good = true;
    CLEANUP_FREE bool *seen = mem_array(command->expected_count + 1, sizeof(bool));
    for (size_t i = 0; i < count; i++) {
        size_t at = find_expected(command, series[i].labels);
        bool known = at < command->expected_count;
        if (known)
            seen[at] = true;
        if (known && series_as_expected(&series[i], steps, &command->expected[at].series) &&
            (!command->ordered || at == i))
            continue;
        good = false;
        buf_append_text(ret_why, "\n    got       ");
        print_series(ret_why, &series[i], steps);
        if (!known)
            buf_append_text(ret_why, " (no such series expected)");
        else if (command->ordered && at != i)
            buf_printf(ret_why, " at place %zu", i + 1);
        if (known)
            buf_printf(ret_why, "\n    expected  " STR_FMT, STR_ARG(command->expected[at].text));
    }
    for (size_t i = 0; i < command->expected_count; i++) {
        if (seen[i])
            continue;
        good = false;
        buf_printf(ret_why, "\n    missing   " STR_FMT, STR_ARG(command->expected[i].text));
    }
    return good;
}

static bool compare_vector(const struct command *command, const struct promql_result *result, struct buf *ret_why)
{
    const struct promql_value *value = promql_result_value(result);
    if (!command->range_mode)
        return compare_series(command, value->series, value->series_count, promql_result_steps(result), ret_why);
    uint64_t bit = 1;
    CLEANUP_FREE struct promql_series *middle = mem_array(value->series_count, sizeof(*middle));
    size_t count = take_middle(value, 1, middle, &bit);
    return compare_series(command, middle, count, 1, ret_why);
}

static bool compare_points(const struct command *command, const struct promql_value *value, struct buf *ret_why)
{
    (void)command;
    buf_printf(ret_why, "\n    got a range vector of %zu series; scripts can't say what to expect",
               value->points_count);
    return false;
}

static bool compare_result(const struct command *command, const struct promql_result *result, struct buf *ret_why)
{
    const struct promql_value *value = promql_result_value(result);
    if (value->type == PROMQL_MATRIX)
        return compare_points(command, value, ret_why);
    if (!command->scalar)
        return compare_vector(command, result, ret_why);
    if (value->type != PROMQL_SCALAR) {
        buf_printf(ret_why, "\n    expected a scalar, got a %s", promql_type_name(value->type));
        return false;
    }
    double got = value->series[0].values[command->range_mode ? 1 : 0];
    if (almost_equal(command->number, got))
        return true;
    buf_append_text(ret_why, "\n    got       ");
    print_value(ret_why, got);
    buf_append_text(ret_why, "\n    expected  ");
    print_value(ret_why, command->number);
    return false;
}

/* ---- eval ----------------------------------------------------------------------------------------------------------
 */

/* Parses and evaluates; null and the error's text when it fails. */
static struct promql_result *evaluate(struct script *script, const struct command *command, struct buf *ret_error)
{
    struct promql_error error = {.text = ""};
    CLEANUP(promql_expression_freep) struct promql_expression *expression = NULL;
    if (promql_parse(command->expression, &error, &expression) < 0) {
        buf_append_text(ret_error, error.text);
        return NULL;
    }
    struct promql_query query = {.store = script->store,
                                 .expression = expression,
                                 .start_ms = command->start_ms,
                                 .end_ms = command->end_ms,
                                 .step_ms = command->step_ms,
                                 .limits = {.samples_max = 100000000,
                                            .bytes_max = GIB,
                                            .timeout_ms = 100000,
                                            .lookback_ms = 300000,
                                            .default_step_ms = 60000},
                                 .clock = clock_real()};
    if (command->range_mode) {
        query.start_ms = command->start_ms - RANGE_SIDE_MS;
        query.end_ms = command->start_ms + RANGE_SIDE_MS;
        query.step_ms = RANGE_SIDE_MS;
    }
    struct promql_result *result = NULL;
    if (promql_eval(&query, &error, &result) != PROMQL_OK)
        buf_append_text(ret_error, error.text);
    else
        coverage_add(script->coverage, promql_expression_root(expression));
    return result;
}

static bool contains(struct str text, struct str part)
{
    for (size_t at = 0; part.len > 0 && at + part.len <= text.len; at++)
        if (memcmp(text.ptr + at, part.ptr, part.len) == 0)
            return true;
    return part.len == 0;
}

static bool run_once(struct script *script, const struct command *command, struct buf *ret_why)
{
    CLEANUP(buf_done) struct buf error = BUF_INIT(TEXT_BYTES_MAX);
    CLEANUP(promql_result_freep) struct promql_result *result = evaluate(script, command, &error);
    if (result && command->fail) {
        buf_append_text(ret_why, "\n    expected it to fail");
        return false;
    }
    if (result)
        return compare_result(command, result, ret_why);
    if (command->fail && contains(buf_view(&error), command->fail_message))
        return true;
    buf_printf(ret_why, "\n    failed    " STR_FMT, STR_ARG(buf_view(&error)));
    if (command->fail)
        buf_printf(ret_why, "\n    expected  " STR_FMT, STR_ARG(command->fail_message));
    return false;
}

/* At an instant, and as a step of a range. */
static bool run_twice(struct script *script, struct command *command, struct buf *ret_why)
{
    command->range_mode = false;
    if (!run_once(script, command, ret_why))
        return false;
    if (command->step_ms > 0 || command->fail || command->ordered)
        return true;
    command->range_mode = true;
    if (run_once(script, command, ret_why))
        return true;
    buf_append_text(ret_why, "\n    (as a step of a range; at an instant it is as expected)");
    return false;
}

static bool run_at_other_times(struct script *script, const struct command *command, struct buf *ret_why)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_BYTES_MAX);
    if (command->step_ms > 0 || !at_variant_print(command->expression, command->start_ms, &text))
        return true;
    int64_t times_ms[AT_VARIANT_TIMES];
    at_variant_times(command->start_ms, times_ms);
    struct command variant = *command;
    variant.expression = buf_view(&text);
    for (size_t i = 0; i < AT_VARIANT_TIMES; i++) {
        variant.start_ms = variant.end_ms = times_ms[i];
        if (run_twice(script, &variant, ret_why))
            continue;
        buf_printf(ret_why, "\n    (evaluated at %" PRId64 " ms as " STR_FMT ")", times_ms[i],
                   STR_ARG(variant.expression));
        return false;
    }
    return true;
}

static void run_command(struct script *script, struct command *command)
{
    CLEANUP(buf_done) struct buf why = BUF_INIT(TEXT_BYTES_MAX);
    bool good = run_twice(script, command, &why) && run_at_other_times(script, command, &why);
    if (good) {
        script->passed++;
        return;
    }
    script->failed++;
    CLEANUP(buf_done) struct buf text = BUF_INIT(2 * TEXT_BYTES_MAX);
    buf_append_str(&text, command->expression);
    buf_append_str(&text, buf_view(&why));
    report(script, command->line, &text);
}

/* One number alone. */
static bool read_number(struct str line, double *ret_number)
{
    return str_to_double(line, ret_number) == 0;
}

static void read_expected(struct script *script, struct command *command)
{
    struct str line;
    while (next_line(script, &line) && line.len > 0) {
        if (command->fail && accept_word(&line, "expected_fail_message")) {
            command->fail_message = line;
            continue;
        }
        if (read_number(line, &command->number)) {
            command->scalar = true;
            continue;
        }
        if (command->expected_count == EXPECTED_MAX)
            malformed(script, script->line, "too many series expected");
        command->expected[command->expected_count++] = (struct expected){read_series(script, line), line};
    }
}

static void run_eval(struct script *script, struct str line, bool fail, bool ordered)
{
    struct command command = {.line = script->line, .fail = fail, .ordered = ordered};
    bool good;
    if (accept_word(&line, "instant")) {
        good = accept_word(&line, "at") && take_duration(&line, &command.start_ms);
        command.end_ms = command.start_ms;
    } else {
        good = accept_word(&line, "range") && accept_word(&line, "from") && take_duration(&line, &command.start_ms) &&
               accept_word(&line, "to") && take_duration(&line, &command.end_ms) && accept_word(&line, "step") &&
               take_duration(&line, &command.step_ms) && command.step_ms > 0;
    }
    if (!good || line.len == 0)
        malformed(script, script->line,
                  "expected: eval instant at TIME EXPRESSION, or eval range from TIME to TIME step STEP EXPRESSION");
    command.expression = line;
    command.expected = mem_array(EXPECTED_MAX, sizeof(*command.expected));
    read_expected(script, &command);
    run_command(script, &command);
    for (size_t i = 0; i < command.expected_count; i++)
        series_text_done(&command.expected[i].series);
    mem_free(command.expected);
}

static void run_line(struct script *script, struct str line)
{
    if (accept_word(&line, "clear"))
        new_store(script);
    else if (accept_word(&line, "load"))
        run_load(script, line);
    else if (accept_word(&line, "eval"))
        run_eval(script, line, false, false);
    else if (accept_word(&line, "eval_fail"))
        run_eval(script, line, true, false);
    else if (accept_word(&line, "eval_ordered"))
        run_eval(script, line, false, true);
    else
        malformed(script, script->line, "unknown command");
}

/* ---- Files ---------------------------------------------------------------------------------------------------------
 */

static void read_file(const char *path, struct buf *ret_text)
{
    FILE *file = fopen(path, "rb");
    uint8_t *at = NULL;
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    while ((at = buf_reserve(ret_text, 65536))) {
        size_t got = fread(at, 1, 65536, file);
        buf_added(ret_text, got);
        if (got == 0)
            break;
    }
    fclose(file);
}

static void run_file(struct script *script)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(FILE_BYTES_MAX);
    read_file(script->path, &text);
    script->rest = buf_view(&text);
    new_store(script);
    struct str line;
    while (next_line(script, &line))
        if (line.len > 0)
            run_line(script, line);
    store_free(script->store);
}

int main(int argc, char **argv)
{
    uint32_t passed = 0;
    uint32_t failed = 0;
    struct coverage coverage = {0};
    bool whole = argc > 1 && strcmp(argv[1], "--whole") == 0;
    int first = whole ? 2 : 1;
    if (argc <= first) {
        fprintf(stderr, "usage: promql-test [--whole] FILE...\n");
        return 2;
    }
    CLEANUP(clock_freep) struct clock *clock = clock_simulated_new(0);
    for (int i = first; i < argc; i++) {
        struct script script = {.path = argv[i], .clock = clock, .coverage = &coverage};
        run_file(&script);
        passed += script.passed;
        failed += script.failed;
    }
    if (whole) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_BYTES_MAX);
        failed += coverage_missing(&coverage, &text);
        printf(STR_FMT, STR_ARG(buf_view(&text)));
    }
    printf("%" PRIu32 " passed, %" PRIu32 " failed\n", passed, failed);
    return failed > 0;
}
