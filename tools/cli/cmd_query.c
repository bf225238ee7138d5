/* tributary query: one expression, at one time or over a range. */
#include "api/params.h"
#include "arguments.h"
#include "axis.h"
#include "base/clock.h"
#include "base/fail.h"
#include "datacenter.h"
#include "notes.h"
#include "promql/parse.h"
#include "query_print.h"

#include <string.h>

#define FORM_BYTES_MAX  MIB
#define TEXT_BYTES_MAX  (2 * PROMQL_TEXT_BYTES_MAX) /* matchers are added to it */
#define STEPS_DEFAULT   120                         /* at most, of a range without --step; on a terminal its width */
#define STEPS_MIN       40
#define STEPS_MAX       240
#define STEP_MS_MIN     1000
#define RANGE_BYTES_MAX 128

struct query_times {
    bool is_range;
    struct series_span span; /* instant: its start alone */
};

static bool bad_range(const char *text)
{
    cli_error("--range: '%s' is no START or START/END; each is a time, or how long ago: 1h", text);
    return false;
}

/* START/END, or START alone for "until now". */
static bool take_range(const char *text, int64_t now_ms, struct series_span *span)
{
    char copy[RANGE_BYTES_MAX];
    if (strlen(text) >= sizeof(copy))
        return bad_range(text);
    memcpy(copy, text, strlen(text) + 1);
    char *slash = strchr(copy, '/');
    if (slash)
        *slash = 0;
    span->end_ms = now_ms;
    return (arguments_time(copy, now_ms, &span->start_ms) == 0 &&
            (!slash || arguments_time(slash + 1, now_ms, &span->end_ms) == 0)) ||
           bad_range(text);
}

/* A round step that has about as many points as the terminal has room for. */
static int64_t default_step_ms(int64_t length_ms, const struct output *output)
{
    size_t steps =
        output->terminal ? MIN(MAX((size_t)output->plot_width, (size_t)STEPS_MIN), (size_t)STEPS_MAX) : STEPS_DEFAULT;
    return MAX(time_step_ms(length_ms, steps), STEP_MS_MIN);
}

static bool take_step(const char *text, const struct output *output, struct series_span *span)
{
    int64_t length_ms = span->end_ms - span->start_ms;
    if (!text)
        span->step_ms = default_step_ms(length_ms, output);
    else if (params_duration(str_from(text), &span->step_ms) < 0 || span->step_ms <= 0) {
        cli_error("--step: '%s' is no duration such as 30s", text);
        return false;
    }
    span->end_ms = span->start_ms + length_ms / span->step_ms * span->step_ms; /* the last step */
    return true;
}

static bool check_times(const struct cli_arguments *arguments, bool is_range)
{
    bool range = cli_flag(arguments, "range");
    bool start = cli_flag(arguments, "start");
    if ((cli_flag(arguments, "at") && is_range) || (range && (start || cli_flag(arguments, "end")))) {
        cli_error("query: --at, --range and --start/--end exclude each other");
        return false;
    }
    if (is_range && !range && !start) {
        cli_error("query: a range needs --range or --start");
        return false;
    }
    return true;
}

static bool take_times(const struct cli_arguments *arguments, const struct output *output,
                       struct query_times *ret_times)
{
    int64_t now_ms = clock_wall_ms(clock_real());
    const char *range = cli_value(arguments, "range");
    struct query_times times = {.is_range = range || cli_flag(arguments, "start") || cli_flag(arguments, "end") ||
                                            cli_flag(arguments, "step"),
                                .span = {.start_ms = now_ms, .end_ms = now_ms, .step_ms = 1}};
    if (!check_times(arguments, times.is_range) ||
        !arguments_take_time(arguments, "at", now_ms, &times.span.start_ms) ||
        !arguments_take_time(arguments, "start", now_ms, &times.span.start_ms) ||
        !arguments_take_time(arguments, "end", now_ms, &times.span.end_ms) ||
        (range && !take_range(range, now_ms, &times.span)))
        return false;
    if (times.is_range && times.span.end_ms < times.span.start_ms) {
        cli_error("query: the range ends before it starts");
        return false;
    }
    if (times.is_range && !take_step(cli_value(arguments, "step"), output, &times.span))
        return false;
    *ret_times = times;
    return true;
}

static void make_form(struct str expression, const struct query_times *times, const struct remote *remote,
                      struct buf *form)
{
    form_add(form, "query", expression);
    if (times->is_range) {
        form_add_time(form, "start", times->span.start_ms);
        form_add_time(form, "end", times->span.end_ms);
        form_add_time(form, "step", times->span.step_ms);
    } else {
        form_add_time(form, "time", times->span.start_ms);
    }
    form_add_time(form, "timeout", remote->timeout_ms);
}

/* What is asked, and how it is shown. */
struct question {
    struct output output;
    struct query_look look;
    struct query_times times;
    bool strict;
};

static enum cli_exit take_question(const struct cli_arguments *arguments, struct question *ret_question)
{
    struct question question = {.output = output_of_stdout(), .strict = cli_flag(arguments, "strict")};
    const char *format = cli_value(arguments, "output");
    if (format && query_format_parse(format, &question.look.format) < 0) {
        cli_error("--output: '%s' is none of " QUERY_FORMAT_NAMES, format);
        return CLI_USAGE;
    }
    if (!take_times(arguments, &question.output, &question.times))
        return CLI_USAGE;
    question.look.exact = cli_flag(arguments, "verbose");
    *ret_question = question;
    return CLI_OK;
}

static enum cli_exit show(const struct question *question, const struct query_result *result)
{
    struct query_look look = question->look;
    look.span = question->times.is_range ? &question->times.span : NULL;
    if (look.format == QUERY_FORMAT_JSON) {
        output_json(buf_view(&result->body), &question->output);
        return question->strict && notes_are_warnings(result->answer) ? CLI_FAILED : CLI_OK;
    }
    enum cli_exit exit_code = query_print(result, &look, &question->output);
    fflush(stdout);
    bool warned = notes_print(result->answer);
    return exit_code == CLI_OK && question->strict && warned ? CLI_FAILED : exit_code;
}

static enum cli_exit query(const struct cli_arguments *arguments)
{
    struct question question;
    CLEANUP(remote_done) struct remote remote = {0};
    CLEANUP(buf_done) struct buf expression = BUF_INIT(TEXT_BYTES_MAX);
    CLEANUP(buf_done) struct buf form = BUF_INIT(FORM_BYTES_MAX);
    CLEANUP(query_result_done) struct query_result result = {0};
    enum cli_exit exit_code = take_question(arguments, &question);
    if (exit_code == CLI_OK)
        exit_code = remote_init(&remote, arguments);
    if (exit_code == CLI_OK)
        exit_code = datacenter_narrow(arguments, arguments->words[0], DATACENTER_EXPRESSION, &expression);
    if (exit_code != CLI_OK)
        return exit_code;
    make_form(buf_view(&expression), &question.times, &remote, &form);
    if (form.full || expression.full) {
        cli_error("query: the expression is longer than a daemon takes");
        return CLI_USAGE;
    }
    exit_code = query_fetch(&remote, question.times.is_range ? "/api/v1/query_range" : "/api/v1/query", &form,
                            buf_view(&expression), &result);
    return exit_code == CLI_OK ? show(&question, &result) : exit_code;
}

const struct cli_command command_query = {
    .name = "query",
    .words = "EXPRESSION",
    .purpose = "asks the global view a PromQL expression, now, at a time or over a range",
    .help = "Times are RFC 3339 (2026-01-02T03:04:05Z), unix seconds, now, or how long ago (1h, -1h, now-1h).\n"
            "An expression that begins with - goes behind --.\n\n"
            "  tributary query 'count by (datacenter) (up == 1)'\n"
            "  tributary query --range 1h 'sum by (job) (rate(node_cpu_seconds_total[5m]))'\n"
            "  tributary query --datacenter dc1 --range 1d -o spark node_load1\n"
            "  tributary query --range 2026-01-02T00:00:00Z/2026-01-03T00:00:00Z --step 5m up -o csv\n\n"
            "FORM is one of\n"
            "  table  on a terminal: labels in columns; of a range the same as spark\n"
            "  spark  a line per series: shape, minimum, maximum, last\n"
            "  plot   of a range, as lines; on a terminal for up to 8 series\n"
            "  plain  elsewhere: labels value, a line each; of a range labels time value\n"
            "  csv    a column per label, then time and value\n"
            "  json   the daemon's answer as it is\n"
            "  prom   text of the exposition format, with timestamps\n\n"
            "Exit status: 0 answered (even with no series), 1 the answer is an error (or, with --strict, warns\n"
            "of missing data), 2 usage, 3 no answer.\n",
    .options =
        (const struct cli_option[]){
            {"at", 't', "TIME", "evaluate at TIME instead of now"},
            {"range", 'r', "START[/END]", "evaluate over a range; 1h is the last hour; END is now if not given"},
            {"start", 0, "TIME", "the same range, said apart"},
            {"end", 0, "TIME", "default now"},
            {"step", 's', "DURATION", "of a range; default: round, for about 100 points"},
            DATACENTER_OPTION,
            {"output", 'o', "FORM", "see below"},
            {"verbose", 'v', NULL, "numbers in full"},
            {"strict", 0, NULL, "exit 1 where the answer warns that data is missing"},
            REMOTE_OPTIONS,
            {0}},
    .words_min = 1,
    .words_max = 1,
    .run = query,
};
