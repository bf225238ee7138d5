/* tributary series, labels, values: which series there are, and what labels they have. */
#include "base/fail.h"
#include "datacenter.h"
#include "notes.h"
#include "output.h"
#include "records.h"
#include "remote.h"

#include "metric/labels.h"
#include "net/http_form.h"

#define FORM_BYTES_MAX  MIB
#define PATH_BYTES_MAX  (2 * MIB)
#define MATCH_BYTES_MAX (256 * KIB)

struct listing {
    struct output output;
    bool json;
    struct buf form;
};

static bool take_format(const struct cli_arguments *arguments, bool *ret_json)
{
    const char *format = cli_value(arguments, "output");
    *ret_json = format && strcmp(format, "json") == 0;
    if (!format || *ret_json || strcmp(format, "plain") == 0)
        return true;
    cli_error("--output: '%s' is none of plain, json", format);
    return false;
}

/* Each MATCH, confined to --datacenter; where there is no MATCH all series of that. */
static enum cli_exit add_matches(const struct cli_arguments *arguments, int first, struct buf *form)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(MATCH_BYTES_MAX);
    enum cli_exit exit_code = CLI_OK;
    for (int i = first; i < arguments->word_count && exit_code == CLI_OK; i++) {
        buf_reset(&text);
        exit_code = datacenter_narrow(arguments, arguments->words[i], DATACENTER_SELECTOR, &text);
        form_add(form, "match[]", buf_view(&text));
    }
    if (exit_code == CLI_OK && arguments->word_count <= first && cli_flag(arguments, "datacenter")) {
        exit_code = datacenter_selector(arguments, &text);
        form_add(form, "match[]", buf_view(&text));
    }
    if (exit_code == CLI_OK && (text.full || form->full)) {
        cli_error("what is matched is longer than a daemon takes");
        return CLI_USAGE;
    }
    return exit_code;
}

/* first: which word is the first MATCH. */
static enum cli_exit take_listing(const struct cli_arguments *arguments, int first, const struct remote *remote,
                                  struct listing *listing)
{
    uint64_t limit;
    const char *text = cli_value(arguments, "limit");
    listing->output = output_of_stdout();
    if (!take_format(arguments, &listing->json))
        return CLI_USAGE;
    if (text && str_to_u64(str_from(text), &limit) < 0) {
        cli_error("--limit: '%s' is no number", text);
        return CLI_USAGE;
    }
    if (!form_add_time_option(&listing->form, arguments, "start") ||
        !form_add_time_option(&listing->form, arguments, "end"))
        return CLI_USAGE;
    if (text)
        form_add(&listing->form, "limit", str_from(text));
    form_add_time(&listing->form, "timeout", remote->timeout_ms);
    return add_matches(arguments, first, &listing->form);
}

static struct str text_of(const json_t *json)
{
    return str_of(json_string_value(json), json_string_length(json));
}

/* A series: an object of texts. */
static bool append_series(const json_t *json, struct buf *out)
{
    struct label items[LABELS_MAX];
    size_t count = 0;
    const char *name;
    json_t *value;
    if (json_object_size(json) > LABELS_MAX)
        return false;
    json_object_foreach((json_t *)json, name, value)
    {
        if (!json_is_string(value))
            return false;
        items[count++] = (struct label){str_from(name), text_of(value)};
    }
    CLEANUP(labels_unrefp) struct labels *labels = labels_new(items, count);
    return labels_print(labels, out) == 0;
}

/* A line per item. Control characters are escaped everywhere, so that a line is an item. */
static bool print_list(const json_t *data)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    CLEANUP(buf_done) struct buf safe = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    if (!json_is_array(data))
        return false;
    for (size_t i = 0; i < json_array_size(data); i++) {
        const json_t *item = json_array_get(data, i);
        buf_reset(&text);
        buf_reset(&safe);
        if (json_is_string(item))
            buf_append_str(&text, text_of(item));
        else if (!json_is_object(item) || !append_series(item, &text))
            return false;
        output_safe(buf_view(&text), &safe);
        printf(STR_FMT "\n", STR_ARG(buf_view(&safe)));
    }
    return true;
}

/* get: by GET, for what has no other method. */
static enum cli_exit run_listing(const struct cli_arguments *arguments, int first, const char *path, bool get)
{
    CLEANUP(remote_done) struct remote remote = {0};
    struct listing listing = {.form = BUF_INIT(FORM_BYTES_MAX)};
    CLEANUP(buf_done) struct buf target = BUF_INIT(PATH_BYTES_MAX);
    CLEANUP(json_freep) json_t *answer = NULL;
    enum cli_exit exit_code = remote_init(&remote, arguments);
    if (exit_code == CLI_OK)
        exit_code = take_listing(arguments, first, &remote, &listing);
    if (exit_code == CLI_OK) {
        buf_printf(&target, get ? "%s?" : "%s", path);
        buf_append(&target, listing.form.data, get ? listing.form.len : 0);
        buf_append_byte(&target, 0);
        exit_code = records_fetch(&remote, (const char *)target.data, get ? NULL : &listing.form, &answer);
    }
    buf_done(&listing.form);
    if (exit_code != CLI_OK)
        return exit_code;
    if (listing.json)
        records_print_json(answer);
    else if (!print_list(json_object_get(answer, "data"))) {
        cli_error("the answer of %s is no list of series or labels", remote.url);
        return CLI_FAILED;
    }
    fflush(stdout);
    if (!listing.json)
        notes_print(answer);
    return CLI_OK;
}

static enum cli_exit series(const struct cli_arguments *arguments)
{
    if (arguments->word_count == 0 && !cli_flag(arguments, "datacenter")) {
        cli_error("series: MATCH or --datacenter says which");
        return CLI_USAGE;
    }
    return run_listing(arguments, 0, "/api/v1/series", false);
}

static enum cli_exit labels(const struct cli_arguments *arguments)
{
    return run_listing(arguments, 0, "/api/v1/labels", false);
}

static enum cli_exit values(const struct cli_arguments *arguments)
{
    CLEANUP(buf_done) struct buf path = BUF_INIT(PATH_BYTES_MAX);
    buf_append_text(&path, "/api/v1/label/");
    http_percent_encode(&path, str_from(arguments->words[0]));
    buf_append_text(&path, "/values");
    buf_append_byte(&path, 0);
    return run_listing(arguments, 1, (const char *)path.data, true);
}

#define LISTING_OPTIONS                                                                                                \
    DATACENTER_OPTION, {"start", 0, "TIME", "only of series that may have samples from TIME on"},                      \
        {"end", 0, "TIME", "and up to TIME"}, {"limit", 'n', "COUNT", "at most so many lines"},                        \
        {"output", 'o', "FORM", "plain (a line each) or json"}, REMOTE_OPTIONS,                                        \
    {                                                                                                                  \
        0                                                                                                              \
    }
#define LISTING_HELP                                                                                                   \
    "MATCH is a selector; of several each is listed. Times are as for query. In lines control characters\n"            \
    "are written as \\xNN.\n\n"
#define LISTING_EXIT "\nExit status: 0 answered (even with nothing), 1 the answer is an error, 2 usage, 3 no answer.\n"

const struct cli_command command_series = {
    .name = "series",
    .words = "MATCH...",
    .purpose = "lists the series that match",
    .help = LISTING_HELP "  tributary series up\n"
                         "  tributary series --datacenter dc1 --start 1h '{job=\"node\"}'\n" LISTING_EXIT,
    .options = (const struct cli_option[]){LISTING_OPTIONS},
    .words_min = 0,
    .words_max = CLI_WORDS_MAX,
    .run = series,
};

const struct cli_command command_labels = {
    .name = "labels",
    .words = "[MATCH...]",
    .purpose = "lists the names of labels, of all series or of those that match",
    .help = LISTING_HELP "  tributary labels node_load1\n" LISTING_EXIT,
    .options = (const struct cli_option[]){LISTING_OPTIONS},
    .words_min = 0,
    .words_max = CLI_WORDS_MAX,
    .run = labels,
};

const struct cli_command command_values = {
    .name = "values",
    .words = "LABEL [MATCH...]",
    .purpose = "lists the values of a label, of all series or of those that match",
    .help = LISTING_HELP "  tributary values datacenter\n"
                         "  tributary values __name__ '{job=\"node\"}'\n" LISTING_EXIT,
    .options = (const struct cli_option[]){LISTING_OPTIONS},
    .words_min = 1,
    .words_max = CLI_WORDS_MAX,
    .run = values,
};
