/* tributary targets: which targets there are, and whether they answer. Asks a global or a secondary for its list; with
 * matchers a global by queries for `up` and its companions. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/map.h"
#include "notes.h"
#include "query_result.h"
#include "table.h"

#include <errno.h>
#include <string.h>

#define FORM_BYTES_MAX (256 * KIB)
#define NUMBER_BYTES   32

struct targets_view {
    const struct output *output;
    bool down_only;
    struct table *table, *ended; /* ended: NULL: not asked for */
    size_t total, down;
};

static const struct table_column columns[] = {
    {.title = "STATE"},
    {.title = "DATACENTER"},
    {.title = "JOB"},
    {.title = "INSTANCE"},
    {.title = "SECONDS", .right = true, .minor = true},
    {.title = "SAMPLES", .right = true, .minor = true},
    {.title = "ERROR"},
};

#define SECONDS_CELL 3 /* of those behind STATE */

static const struct table_column ended_columns[] = {
    {.title = "ENDED"}, {.title = "DATACENTER"}, {.title = "JOB"}, {.title = "INSTANCE"}, {.title = "REASON"}};

static void add_row(struct targets_view *view, bool up, const struct str cells[static ARRAY_LEN(columns) - 1])
{
    view->total++;
    view->down += !up;
    if (up && view->down_only)
        return;
    char room[OUTPUT_NUMBER_BYTES];
    table_cell_style(view->table, up ? STR("up") : STR("DOWN"), up ? STYLE_GOOD : STYLE_BAD);
    for (size_t i = 0; i < ARRAY_LEN(columns) - 1; i++)
        table_cell(view->table, i == SECONDS_CELL ? output_number(cells[i], room) : cells[i]);
}

/* ---- By queries ---- */

/* The value of the series with the same labels but for the name. Both results are in order of these labels where the
 * server sorts them; nothing is taken for granted, so each is looked up. */
struct companion {
    struct query_result result;
    struct map by_labels;
};

static struct labels *without_name(const struct labels *labels)
{
    struct labels_builder builder;
    labels_builder_init(&builder, labels);
    labels_builder_delete(&builder, STR(LABEL_NAME));
    return labels_builder_build(&builder);
}

static bool same_labels(const void *item, const void *key)
{
    return labels_equal(((const struct query_series *)item)->labels, key);
}

static enum cli_exit fetch(const struct remote *remote, const char *name, const char *matchers,
                           struct query_result *ret_result)
{
    CLEANUP(buf_done) struct buf form = BUF_INIT(FORM_BYTES_MAX);
    CLEANUP_FREE char *expression = mem_printf("%s%s", name, matchers);
    form_add(&form, "query", str_from(expression));
    return query_fetch(remote, "/api/v1/query", &form, str_from(expression), ret_result);
}

static enum cli_exit companion_fetch(const struct remote *remote, const char *name, const char *matchers,
                                     struct companion *companion)
{
    map_init(&companion->by_labels);
    enum cli_exit exit_code = fetch(remote, name, matchers, &companion->result);
    if (exit_code != CLI_OK)
        return exit_code;
    for (size_t i = 0; i < companion->result.count; i++) {
        struct query_series *series = &companion->result.series[i];
        struct labels *key = without_name(series->labels);
        labels_unref(series->labels);
        series->labels = key;
        if (!map_get(&companion->by_labels, labels_hash(key), same_labels, key))
            map_put(&companion->by_labels, labels_hash(key), series);
    }
    return CLI_OK;
}

static struct str companion_text(const struct companion *companion, const struct labels *key)
{
    const struct query_series *series = map_get(&companion->by_labels, labels_hash(key), same_labels, key);
    return series ? str_from(series->points[0].text) : STR_NULL;
}

static void companion_done(struct companion *companion)
{
    map_done(&companion->by_labels);
    query_result_done(&companion->result);
}

static enum cli_exit from_queries(const struct remote *remote, const char *matchers, struct targets_view *view)
{
    CLEANUP(query_result_done) struct query_result up = {0};
    CLEANUP(companion_done) struct companion seconds = {0};
    CLEANUP(companion_done) struct companion samples = {0};
    enum cli_exit exit_code = fetch(remote, "up", matchers, &up);
    if (exit_code == CLI_OK)
        exit_code = companion_fetch(remote, "scrape_duration_seconds", matchers, &seconds);
    if (exit_code == CLI_OK)
        exit_code = companion_fetch(remote, "scrape_samples_scraped", matchers, &samples);
    if (exit_code != CLI_OK)
        return exit_code;
    for (size_t i = 0; i < up.count; i++) {
        const struct query_series *series = &up.series[i];
        CLEANUP(labels_unrefp) struct labels *key = without_name(series->labels);
        add_row(view, series->points[0].value == 1,
                (const struct str[]){labels_get(key, STR("datacenter")), labels_get(key, STR("job")),
                                     labels_get(key, STR("instance")), companion_text(&seconds, key),
                                     companion_text(&samples, key), STR_NULL});
    }
    notes_print(up.answer);
    return CLI_OK;
}

/* ---- From a list ---- */

static struct str text_of(const json_t *object, const char *name)
{
    return str_from(json_string_value(json_object_get(object, name)));
}

static void number_of(const json_t *object, const char *name, char ret_text[static NUMBER_BYTES])
{
    const json_t *value = json_object_get(object, name);
    snprintf(ret_text, NUMBER_BYTES, "%.9g", json_number_value(value));
    if (!json_is_number(value))
        ret_text[0] = 0;
}

static enum cli_exit ends_from_list(json_t *json, const char *url, struct targets_view *view)
{
    json_t *list = json_object_get(json_object_get(json, "data"), "endedTargets");
    if (!json_is_array(list)) {
        cli_error("%s does not tell of targets that have ended: a global does", url);
        return CLI_FAILED;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *target = json_array_get(list, i);
        const json_t *labels = json_object_get(target, "labels");
        table_cell(view->ended, text_of(target, "ended"));
        table_cell(view->ended, text_of(labels, "datacenter"));
        table_cell(view->ended, text_of(labels, "job"));
        table_cell(view->ended, text_of(labels, "instance"));
        table_cell(view->ended, text_of(target, "reason"));
    }
    return CLI_OK;
}

static int from_list(json_t *json, struct targets_view *view)
{
    json_t *list = json_object_get(json_object_get(json, "data"), "activeTargets");
    if (!json_is_array(list))
        return -EBADMSG;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *target = json_array_get(list, i);
        const json_t *labels = json_object_get(target, "labels");
        char seconds[NUMBER_BYTES], samples[NUMBER_BYTES];
        number_of(target, "lastScrapeDuration", seconds);
        number_of(target, "lastSamples", samples);
        add_row(view, str_equal(text_of(target, "health"), STR("up")),
                (const struct str[]){text_of(labels, "datacenter"), text_of(labels, "job"), text_of(labels, "instance"),
                                     str_from(seconds), str_from(samples), text_of(target, "lastError")});
    }
    return 0;
}

/* ---- The command ---- */

/* A list takes no matchers: queries do. They are asked, too, where a list cannot be had. */
static enum cli_exit collect(const struct remote *remote, const char *matchers, struct targets_view *view)
{
    CLEANUP(remote_answer_done) struct remote_answer answer = {0};
    enum cli_exit exit_code = matchers[0] ? CLI_OK : remote_call(remote, "/api/v1/targets", NULL, &answer);
    if (exit_code != CLI_OK)
        return exit_code;
    if (answer.status != 200)
        return from_queries(remote, matchers, view);
    CLEANUP(json_freep) json_t *json = remote_json(remote, &answer);
    if (!json)
        return CLI_FAILED;
    notes_print(json);
    if (from_list(json, view) == 0)
        return view->ended ? ends_from_list(json, remote->url, view) : CLI_OK;
    cli_error("the answer of %s is no list of targets", remote->url);
    return CLI_FAILED;
}

static void print_ended(const struct targets_view *view)
{
    printf("%sEnded within the last hour: %zu\n", table_rows(view->table) > 0 ? "\n" : "", table_rows(view->ended));
    if (table_rows(view->ended) > 0)
        table_print(view->ended, view->output, "  ");
}

static enum cli_exit targets(const struct cli_arguments *arguments)
{
    struct output output = output_of_stdout();
    CLEANUP(remote_done) struct remote remote = {0};
    enum cli_exit exit_code = remote_init(&remote, arguments);
    if (exit_code != CLI_OK)
        return exit_code;
    CLEANUP(table_freep) struct table *table = table_new(columns, ARRAY_LEN(columns));
    CLEANUP(table_freep) struct table *ended = table_new(ended_columns, ARRAY_LEN(ended_columns));
    const char *matchers = arguments->word_count > 0 ? arguments->words[0] : "";
    struct targets_view view = {.output = &output,
                                .down_only = cli_flag(arguments, "down"),
                                .table = table,
                                .ended = cli_flag(arguments, "ended") ? ended : NULL};
    if (view.ended && matchers[0]) {
        cli_error("--ended takes no matchers: query last_over_time(scrape_target_ended%s[1h])", matchers);
        return CLI_USAGE;
    }
    exit_code = collect(&remote, matchers, &view);
    if (exit_code != CLI_OK)
        return exit_code;
    if (table_rows(table) > 0)
        table_print(table, &output, "");
    if (view.ended)
        print_ended(&view);
    fflush(stdout);
    fprintf(stderr, "%zu targets, %zu down\n", view.total, view.down);
    return view.down > 0 && cli_flag(arguments, "fail") ? CLI_FAILED : CLI_OK;
}

const struct cli_command command_targets = {
    .name = "targets",
    .words = "[{MATCHERS}]",
    .purpose = "lists the targets of the global view, or of a secondary, and whether they answer",
    .help = "A global or a secondary (--url) is asked for its list, which has the reason why a target\n"
            "is down; with matchers a global for up, scrape_duration_seconds and\n"
            "scrape_samples_scraped.\n\n"
            "  tributary targets --down\n"
            "  tributary targets --ended\n"
            "  tributary targets '{datacenter=\"dc1\",job=\"node\"}'\n"
            "  tributary targets --url 127.0.0.1:9410\n\n"
            "Exit status: 0 answered, 1 the answer is an error (or, with --fail, a target is down),\n"
            "2 usage, 3 no answer.\n",
    .options = (const struct cli_option[]){{"down", 'd', NULL, "only those that do not answer"},
                                           {"ended", 'e', NULL, "also those that ended within the last hour, and why"},
                                           {"fail", 0, NULL, "exit 1 when a target is down"},
                                           REMOTE_OPTIONS,
                                           {0}},
    .words_min = 0,
    .words_max = 1,
    .run = targets,
};
