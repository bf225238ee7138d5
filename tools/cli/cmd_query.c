/* tributary query: one expression, at one time or over a range. */
#include "arguments.h"
#include "base/clock.h"
#include "base/fail.h"
#include "query_print.h"

#include <string.h>

#define FORM_BYTES_MAX  MIB
#define STEPS_DEFAULT   120 /* of a range without --step: a few per column of its picture */
#define STEP_MS_MIN     1000
#define RANGE_BYTES_MAX 128

struct query_times {
    bool is_range;
    int64_t start_ms, end_ms, step_ms; /* instant: start_ms alone */
};

static bool take_time(const char *option, const char *text, int64_t now_ms, int64_t *ret_ms)
{
    if (arguments_time(text, now_ms, ret_ms) == 0)
        return true;
    cli_error("--%s: '%s' is no time (RFC 3339, unix seconds, now, or how long ago: 1h)", option, text);
    return false;
}

/* START/END, or START alone for "until now". */
static bool take_range(const char *text, int64_t now_ms, struct query_times *times)
{
    char copy[RANGE_BYTES_MAX];
    if (strlen(text) >= sizeof(copy)) {
        cli_error("--range: '%s' is no START/END", text);
        return false;
    }
    memcpy(copy, text, strlen(text) + 1);
    char *slash = strchr(copy, '/');
    if (slash)
        *slash = 0;
    times->end_ms = now_ms;
    return take_time("range", copy, now_ms, &times->start_ms) &&
           (!slash || take_time("range", slash + 1, now_ms, &times->end_ms));
}

static bool take_step(const char *text, struct query_times *times)
{
    int64_t length_ms = times->end_ms - times->start_ms;
    double seconds;
    if (!text) {
        times->step_ms = MAX(length_ms / STEPS_DEFAULT / 1000 * 1000, STEP_MS_MIN);
        return true;
    }
    if (str_to_double(str_from(text), &seconds) == 0 && seconds >= 0.001 && seconds < 1e9)
        times->step_ms = (int64_t)(seconds * 1000);
    else if (str_to_duration_ms(str_from(text), &times->step_ms) < 0 || times->step_ms <= 0) {
        cli_error("--step: '%s' is no duration such as 30s", text);
        return false;
    }
    return true;
}

static bool take_times(const struct cli_arguments *arguments, struct query_times *ret_times)
{
    const char *range = cli_value(arguments, "range");
    const char *start = cli_value(arguments, "start");
    const char *end = cli_value(arguments, "end");
    const char *step = cli_value(arguments, "step");
    const char *time = cli_value(arguments, "time");
    int64_t now_ms = clock_wall_ms(clock_real());
    struct query_times times = {.is_range = range || start || end || step, .start_ms = now_ms, .end_ms = now_ms};
    if ((time && times.is_range) || (range && (start || end))) {
        cli_error("query: --time, --range and --start/--end exclude each other");
        return false;
    }
    if (times.is_range && !range && !start) {
        cli_error("query: a range needs --start or --range");
        return false;
    }
    if ((time && !take_time("time", time, now_ms, &times.start_ms)) || (range && !take_range(range, now_ms, &times)) ||
        (start && !take_time("start", start, now_ms, &times.start_ms)) ||
        (end && !take_time("end", end, now_ms, &times.end_ms)))
        return false;
    if (times.is_range && times.end_ms < times.start_ms) {
        cli_error("query: the range ends before it starts");
        return false;
    }
    if (times.is_range && !take_step(step, &times))
        return false;
    *ret_times = times;
    return true;
}

static void make_form(const char *expression, const struct query_times *times, const struct remote *remote,
                      struct buf *form)
{
    form_add(form, "query", str_from(expression));
    if (times->is_range) {
        form_add_time(form, "start", times->start_ms);
        form_add_time(form, "end", times->end_ms);
        form_add_time(form, "step", times->step_ms);
    } else {
        form_add_time(form, "time", times->start_ms);
    }
    form_add_time(form, "timeout", remote->timeout_ms);
}

static enum cli_exit query(const struct cli_arguments *arguments)
{
    struct output output = output_of_stdout();
    const char *format_name = cli_value(arguments, "output");
    enum query_format format = output.terminal ? QUERY_FORMAT_TABLE : QUERY_FORMAT_PLAIN;
    if (format_name && query_format_parse(format_name, &format) < 0) {
        cli_error("--output: '%s' is none of table, plain, json, csv", format_name);
        return CLI_USAGE;
    }
    struct query_times times;
    if (!take_times(arguments, &times))
        return CLI_USAGE;
    CLEANUP(remote_done) struct remote remote = {0};
    enum cli_exit exit_code = remote_init(&remote, arguments);
    if (exit_code != CLI_OK)
        return exit_code;
    const char *expression = arguments->words[0];
    CLEANUP(buf_done) struct buf form = BUF_INIT(FORM_BYTES_MAX);
    make_form(expression, &times, &remote, &form);
    if (form.full) {
        cli_error("query: the expression is longer than a daemon takes");
        return CLI_USAGE;
    }
    CLEANUP(query_result_done) struct query_result result = {0};
    exit_code =
        query_fetch(&remote, times.is_range ? "/api/v1/query_range" : "/api/v1/query", &form, expression, &result);
    if (exit_code != CLI_OK)
        return exit_code;
    query_print(&result, format, &output);
    fflush(stdout);
    if (format != QUERY_FORMAT_JSON)
        query_result_warn(&result);
    return CLI_OK;
}

const struct cli_command command_query = {
    .name = "query",
    .words = "EXPRESSION",
    .purpose = "asks the global view a PromQL expression, now, at a time or over a range",
    .help = "Times are RFC 3339 (2026-01-02T03:04:05Z), unix seconds, now, or how long ago (1h, 2d12h).\n"
            "An expression that begins with - goes behind --.\n\n"
            "  tributary query 'count by (datacenter) (up == 1)'\n"
            "  tributary query --range 1h 'sum by (job) (rate(node_cpu_seconds_total[5m]))'\n"
            "  tributary query --range 2026-01-02T00:00:00Z/2026-01-03T00:00:00Z --step 5m up -o csv\n\n"
            "Exit status: 0 answered (even with no series), 1 the answer is an error, 2 usage, 3 no answer.\n",
    .options =
        (const struct cli_option[]){
            {"time", 't', "TIME", "evaluate at TIME instead of now"},
            {"range", 'r', "START[/END]", "evaluate over a range; END is now if it is not given"},
            {"start", 0, "TIME", "the same range, said apart"},
            {"end", 0, "TIME", "default now"},
            {"step", 's', "DURATION", "of a range; by default a 120th of it, at least 1s"},
            {"output", 'o', "FORM", "table (on a terminal), plain (elsewhere: labels value), json, csv"},
            REMOTE_OPTIONS,
            {0}},
    .words_min = 1,
    .words_max = 1,
    .run = query,
};
