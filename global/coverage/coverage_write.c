/* What an answer says of its completeness, as JSON and as warnings; and all that is known of each source. */
#include "base/fail.h"
#include "base/json_write.h"
#include "coverage/coverage_internal.h"

#include <inttypes.h>
#include <math.h>

#define GAPS_LISTED    20  /* of a datacenter in an answer; of the rest the number */
#define NAMES_LISTED   20  /* of missing sources, the same */
#define WARNING_NAMES  3   /* the same, in a warning */
#define GAPS_OF_SOURCE 256 /* in the list of sources */

/* One datacenter of an answer, while its sources are looked at. */
struct account {
    const char *datacenter;
    unsigned sources, restarts, with_gaps;
    const struct history *missing[NAMES_LISTED];
    unsigned missing_count;
    struct {
        struct gap gap;
        const struct history *history;
    } gaps[GAPS_LISTED];
    size_t gap_count;
    int64_t gap_start_ms, gap_end_ms; /* of all */
    double expected, answered, least_answered;
    double counts[COVERAGE_WORDS_MAX];
    int64_t complete_through_ms; /* INT64_MAX: no source is alive */
    int64_t known_from_ms;       /* INT64_MIN: all of the range is known */
};

struct report {
    const struct coverage *coverage;
    const struct coverage_range *range;
    struct json_writer *json;
    int64_t now_ms;
    double counts[COVERAGE_WORDS_MAX]; /* of one source */
};

/* ---- One source ---- */

static struct history_look look_at(struct report *report, struct history *history)
{
    memset(report->counts, 0, report->coverage->word_end * sizeof(report->counts[0]));
    struct history_look look = {.start_ms = report->range->start_ms,
                                .end_ms = report->range->end_ms,
                                .now_ms = report->now_ms,
                                .counts = report->counts,
                                .word_count = report->coverage->word_end};
    history_look(history, &look);
    return look;
}

/* What was forgotten although its data may be here. */
static int64_t known_from_ms(const struct report *report, const struct history *history)
{
    int64_t from_ms = MAX(history->lost_ms, report->coverage->lost_ms);
    return from_ms > MAX(report->range->start_ms, report->coverage->forgot_ms) ? from_ms : INT64_MIN;
}

/* ---- JSON ---- */

static void write_counts(const struct report *report, const char *key, const double *counts, bool dropped)
{
    json_key(report->json, key);
    json_object(report->json);
    for (size_t i = dropped; i < report->coverage->word_end; i += 2) {
        /* Of a mean of some hours even a thousandth is somebody; samples are whole. */
        double count = dropped ? ceil(counts[i]) : round(counts[i] * 1000) / 1000;
        if (count > 0)
            json_field_double(report->json, report->coverage->words[i], count);
    }
    json_object_end(report->json);
}

static void write_time(struct json_writer *json, const char *key, int64_t time_ms)
{
    json_key(json, key);
    if (time_ms == INT64_MIN || time_ms == INT64_MAX)
        json_null(json);
    else
        json_int(json, time_ms);
}

static void write_gap(struct json_writer *json, const struct gap *gap, const char *source)
{
    json_object(json);
    if (source)
        json_field_text(json, "source", source);
    json_field_int(json, "start", gap->start_ms);
    json_field_int(json, "end", gap->end_ms);
    json_field_text(json, "reason", gap_reason_name(gap->reason));
    json_object_end(json);
}

static void write_targets(struct json_writer *json, double expected, double answered, double least_answered)
{
    json_field_double(json, "targetsExpected", round(expected * 1000) / 1000);
    json_field_double(json, "targetsAnswered", round(answered * 1000) / 1000);
    json_field_double(json, "targetsAnsweredLeast", round(least_answered * 1000) / 1000);
}

/* ---- A datacenter ---- */

static double dropped_samples(const struct account *account)
{
    double sum = 0;
    for (size_t i = SPAN_DROPPED_OTHER; i < COVERAGE_WORDS_MAX; i += 2)
        sum += account->counts[i];
    return ceil(sum);
}

static bool is_complete(const struct account *account)
{
    return account->gap_count == 0 && account->missing_count == 0 && dropped_samples(account) == 0 &&
           account->known_from_ms == INT64_MIN;
}

static void add_gaps(struct account *account, const struct history *history, const struct history_look *look)
{
    for (size_t i = 0; i < look->gaps.count; i++) {
        const struct gap *gap = &look->gaps.items[i];
        account->gap_start_ms = MIN(account->gap_start_ms, gap->start_ms);
        account->gap_end_ms = MAX(account->gap_end_ms, gap->end_ms);
        if (account->gap_count < GAPS_LISTED) {
            account->gaps[account->gap_count].gap = *gap;
            account->gaps[account->gap_count].history = history;
        }
        account->gap_count++;
    }
    bool missing = !look->told && (look->is_behind || look->gaps.count > 0);
    account->with_gaps += !missing && look->gaps.count > 0;
    if (missing && account->missing_count < NAMES_LISTED)
        account->missing[account->missing_count] = history;
    account->missing_count += missing;
}

static void add_source(struct report *report, struct account *account, struct history *history)
{
    struct history_look look = look_at(report, history);
    if (look.there) {
        account->sources++;
        account->restarts += look.restarts;
        account->expected += look.expected;
        account->answered += look.answered;
        account->least_answered += look.least_answered;
        for (size_t i = 0; i < report->coverage->word_end; i++)
            account->counts[i] += report->counts[i];
        add_gaps(account, history, &look);
        account->known_from_ms = MAX(account->known_from_ms, known_from_ms(report, history));
    }
    if (history_ended_ms(history) > report->now_ms && history_ended_ms(history) != INT64_MAX)
        account->complete_through_ms = MIN(account->complete_through_ms, history->closed_ms);
    gaps_done(&look.gaps);
}

static void write_datacenter(const struct report *report, const struct account *account)
{
    struct json_writer *json = report->json;
    json_object(json);
    json_field_text(json, "datacenter", account->datacenter);
    json_field_bool(json, "complete", is_complete(account));
    write_time(json, "completeThrough", account->complete_through_ms);
    json_field_uint(json, "sources", account->sources);
    json_field_uint(json, "sourcesMissingCount", account->missing_count);
    json_key(json, "sourcesMissing");
    json_array(json);
    for (size_t i = 0; i < MIN(account->missing_count, NAMES_LISTED); i++)
        json_text(json, account->missing[i]->secondary);
    json_array_end(json);
    write_targets(json, account->expected, account->answered, account->least_answered);
    write_counts(report, "targetsFailed", account->counts, false);
    write_counts(report, "droppedSamples", account->counts, true);
    json_field_uint(json, "restarts", account->restarts);
    json_field_uint(json, "gapCount", account->gap_count);
    json_key(json, "gaps");
    json_array(json);
    for (size_t i = 0; i < MIN(account->gap_count, (size_t)GAPS_LISTED); i++)
        write_gap(json, &account->gaps[i].gap, account->gaps[i].history->secondary);
    json_array_end(json);
    if (account->known_from_ms != INT64_MIN)
        json_field_int(json, "knownFrom", account->known_from_ms);
    json_object_end(json);
}

/* ---- Its warning ---- */

static void warn_missing(const struct account *account, struct buf *out)
{
    buf_printf(out, "%u of %u sources told nothing in this range (", account->missing_count, account->sources);
    unsigned named = MIN(account->missing_count, WARNING_NAMES);
    for (unsigned i = 0; i < named; i++)
        buf_printf(out, "%s%s", i > 0 ? ", " : "", account->missing[i]->secondary);
    if (account->missing_count > named)
        buf_printf(out, " and %u more", account->missing_count - named);
    buf_append_text(out, ")");
}

static void warn_gaps(const struct account *account, struct buf *out)
{
    char start[32], end[32];
    clock_format_rfc3339(account->gap_start_ms, start);
    clock_format_rfc3339(account->gap_end_ms, end);
    const char *name = account->gaps[0].history->secondary;
    if (account->with_gaps == 1 && account->missing_count == 0)
        buf_printf(out, "parts are missing of %s, between %s and %s", name, start, end);
    else
        buf_printf(out, "parts are missing of %u sources, between %s and %s", account->with_gaps, start, end);
    bool seen[GAP_REASONS] = {false};
    const char *separator = " (";
    for (size_t i = 0; i < MIN(account->gap_count, (size_t)GAPS_LISTED); i++) {
        enum gap_reason reason = account->gaps[i].gap.reason;
        if (!seen[reason])
            buf_printf(out, "%s%s", separator, gap_reason_name(reason));
        seen[reason] = true;
        separator = ", ";
    }
    buf_append_text(out, ")");
}

static void warn(const struct account *account, struct buf *out)
{
    if (is_complete(account))
        return;
    const char *separator = "";
    buf_printf(out, "incomplete: %s: ", account->datacenter);
    if (account->missing_count > 0) {
        warn_missing(account, out);
        separator = "; ";
    }
    if (account->with_gaps > 0) {
        buf_append_text(out, separator);
        warn_gaps(account, out);
        separator = "; ";
    }
    if (dropped_samples(account) > 0) {
        buf_printf(out, "%s%.0f samples were dropped", separator, dropped_samples(account));
        separator = "; ";
    }
    if (account->known_from_ms != INT64_MIN) {
        char from[32];
        clock_format_rfc3339(account->known_from_ms, from);
        buf_printf(out, "%swhat is missing is not known before %s", separator, from);
    }
    buf_append_byte(out, '\n');
}

/* ---- All of them ---- */

static bool touches(const struct coverage_range *range, const char *datacenter)
{
    return !range->touches || range->touches(range->arg, str_from(datacenter));
}

/* Index of the first source of the next datacenter. */
static size_t datacenter_end(const struct coverage *coverage, size_t at)
{
    size_t end = at + 1;
    while (end < coverage->count && strcmp(coverage->sources[end]->datacenter, coverage->sources[at]->datacenter) == 0)
        end++;
    return end;
}

void coverage_write(void *arg, const struct coverage_range *range, struct json_writer *json, struct buf *warnings)
{
    struct coverage *coverage = arg;
    struct report report = {
        .coverage = coverage, .range = range, .json = json, .now_ms = clock_wall_ms(coverage->clock)};
    bool complete = true;
    json_object(json);
    json_key(json, "datacenters");
    json_array(json);
    pthread_mutex_lock(&coverage->lock);
    for (size_t at = 0, end; at < coverage->count; at = end) {
        end = datacenter_end(coverage, at);
        struct account account = {.datacenter = coverage->sources[at]->datacenter,
                                  .gap_start_ms = INT64_MAX,
                                  .gap_end_ms = INT64_MIN,
                                  .complete_through_ms = INT64_MAX,
                                  .known_from_ms = INT64_MIN};
        if (!touches(range, account.datacenter))
            continue;
        for (size_t i = at; i < end; i++)
            add_source(&report, &account, coverage->sources[i]);
        if (account.sources == 0)
            continue;
        write_datacenter(&report, &account);
        warn(&account, warnings);
        complete = complete && is_complete(&account);
    }
    pthread_mutex_unlock(&coverage->lock);
    json_array_end(json);
    json_field_bool(json, "complete", complete);
    json_object_end(json);
}

/* ---- Each source ---- */

static void write_source(struct report *report, struct history *history)
{
    struct json_writer *json = report->json;
    struct history_look look = look_at(report, history);
    if (look.there) {
        json_object(json);
        json_field_text(json, "datacenter", history->datacenter);
        json_field_text(json, "source", history->secondary);
        json_field_bool(json, "isBehind", look.is_behind);
        write_time(json, "firstTime", history->first_ms);
        write_time(json, "knownFrom", MAX(history->known_ms, MAX(history->lost_ms, report->coverage->lost_ms)));
        write_time(json, "closedThrough", history->closed_ms);
        json_field_int(json, "lastHeard", history->heard_ms);
        json_field_uint(json, "windowMs", history->window_ms);
        write_targets(json, look.expected, look.answered, look.least_answered);
        write_counts(report, "targetsFailed", report->counts, false);
        write_counts(report, "droppedSamples", report->counts, true);
        json_field_uint(json, "restarts", look.restarts);
        json_field_uint(json, "gapCount", look.gaps.count);
        json_key(json, "gaps");
        json_array(json);
        for (size_t i = 0; i < MIN(look.gaps.count, (size_t)GAPS_OF_SOURCE); i++)
            write_gap(json, &look.gaps.items[i], NULL);
        json_array_end(json);
        json_object_end(json);
    }
    gaps_done(&look.gaps);
}

void coverage_write_sources(void *arg, const struct coverage_range *range, struct json_writer *json)
{
    struct coverage *coverage = arg;
    struct report report = {
        .coverage = coverage, .range = range, .json = json, .now_ms = clock_wall_ms(coverage->clock)};
    json_array(json);
    pthread_mutex_lock(&coverage->lock);
    for (size_t i = 0; i < coverage->count; i++)
        if (touches(range, coverage->sources[i]->datacenter))
            write_source(&report, coverage->sources[i]);
    pthread_mutex_unlock(&coverage->lock);
    json_array_end(json);
}
