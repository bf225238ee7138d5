/* tributary delete: asks a global to delete series. What it does cannot be undone, so it shows what it is about and
 * asks first. */
#include "base/fail.h"
#include "records.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORM_BYTES_MAX  MIB
#define SERIES_SHOWN    5
#define SERIES_MAX      10000 /* counted for the question; past it: at least so many */
#define NAME_BYTES      256
#define SERIES_TEXT_MAX (64 * KIB)

/* ---- The request ---- */

/* Which series and when. */
static bool add_scope(const struct cli_arguments *arguments, struct buf *form)
{
    const char *match = NULL;
    for (int i = 0; (match = cli_value_at(arguments, "match", i)); i++)
        form_add(form, "match[]", str_from(match));
    if (form->len == 0) {
        cli_error("delete: --match says which series");
        return false;
    }
    return form_add_time_option(form, arguments, "start") && form_add_time_option(form, arguments, "end");
}

static void who_am_i(char ret_name[static 2 * NAME_BYTES])
{
    const struct passwd *user = getpwuid(geteuid());
    const char *name = getenv("USER");
    char host[NAME_BYTES] = "";
    if (!name || !name[0])
        name = user ? user->pw_name : "unknown";
    if (gethostname(host, sizeof(host) - 1) < 0)
        host[0] = 0;
    snprintf(ret_name, 2 * NAME_BYTES, "%.*s@%s", NAME_BYTES - 1, name, host);
}

static void add_words(const struct cli_arguments *arguments, struct buf *form)
{
    char me[2 * NAME_BYTES];
    const char *who = cli_value(arguments, "who");
    if (!who)
        who_am_i(me);
    form_add(form, "who", str_from(who ? who : me));
    form_add(form, "why", str_from(cli_value(arguments, "why")));
}

/* ---- The question ---- */

static void print_series(const json_t *labels)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(SERIES_TEXT_MAX);
    CLEANUP(buf_done) struct buf safe = BUF_INIT(4 * SERIES_TEXT_MAX);
    const char *name;
    json_t *value;
    bool first = true;
    json_object_foreach((json_t *)labels, name, value)
    {
        const char *shown = json_string_value(value);
        buf_printf(&text, "%s%s=\"%s\"", first ? "{" : ",", name, shown ? shown : "");
        first = false;
    }
    output_safe(buf_view(&text), &safe);
    fprintf(stderr, "  " STR_FMT "}\n", STR_ARG(buf_view(&safe)));
}

static enum cli_exit show_series(const struct remote *remote, const struct buf *scope)
{
    CLEANUP(buf_done) struct buf form = BUF_INIT(FORM_BYTES_MAX);
    CLEANUP(json_freep) json_t *answer = NULL;
    char limit[32];
    snprintf(limit, sizeof(limit), "%d", SERIES_MAX);
    buf_append_str(&form, buf_view(scope));
    form_add(&form, "limit", str_from(limit));
    enum cli_exit exit_code = records_fetch(remote, "/api/v1/series", &form, &answer);
    if (exit_code != CLI_OK)
        return exit_code;
    const json_t *list = json_object_get(answer, "data");
    size_t count = json_array_size(list);
    fprintf(stderr, "%s%zu series match%s\n", count == SERIES_MAX ? "at least " : "", count, count > 0 ? ":" : ".");
    for (size_t i = 0; i < MIN(count, (size_t)SERIES_SHOWN); i++)
        print_series(json_array_get(list, i));
    if (count > SERIES_SHOWN)
        fprintf(stderr, "  ...\n");
    return CLI_OK;
}

/* CLI_OK: go on. */
static enum cli_exit ask(const struct cli_arguments *arguments, const struct remote *remote, const struct buf *scope)
{
    if (cli_flag(arguments, "yes"))
        return CLI_OK;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        cli_error("delete: there is no terminal to ask on: --yes says that it is meant");
        return CLI_USAGE;
    }
    enum cli_exit exit_code = show_series(remote, scope);
    if (exit_code != CLI_OK)
        return exit_code;
    const char *start = cli_value(arguments, "start"), *end = cli_value(arguments, "end");
    fprintf(stderr, "Delete their samples from %s to %s? It cannot be undone. [y/N] ", start ? start : "the beginning",
            end ? end : "now");
    char answer[16] = "";
    if (fgets(answer, sizeof(answer), stdin) && (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0))
        return CLI_OK;
    cli_error("delete: nothing was deleted");
    return CLI_FAILED;
}

/* ---- The command ---- */

static enum cli_exit delete_series(const struct cli_arguments *arguments)
{
    CLEANUP(remote_done) struct remote remote = {0};
    CLEANUP(buf_done) struct buf form = BUF_INIT(FORM_BYTES_MAX);
    CLEANUP(json_freep) json_t *answer = NULL;
    enum cli_exit exit_code = remote_init(&remote, arguments);
    if (exit_code != CLI_OK)
        return exit_code;
    if (!add_scope(arguments, &form))
        return CLI_USAGE;
    if (!cli_value(arguments, "why")) {
        cli_error("delete: --why is needed: it stays with the deletion as a record");
        return CLI_USAGE;
    }
    exit_code = ask(arguments, &remote, &form);
    if (exit_code != CLI_OK)
        return exit_code;
    add_words(arguments, &form);
    exit_code = records_fetch(&remote, "/api/v1/admin/tsdb/delete_series", &form, &answer);
    if (exit_code != CLI_OK)
        return exit_code;
    const json_t *ids = json_object_get(json_object_get(answer, "data"), "ids");
    for (size_t i = 0; i < json_array_size(ids); i++)
        printf("%lld\n", json_integer_value(json_array_get(ids, i)));
    fflush(stdout);
    fprintf(stderr, "hidden from now on; 'tributary deletions' says when it is done\n");
    return CLI_OK;
}

const struct cli_command command_delete = {
    .name = "delete",
    .words = "",
    .purpose = "deletes series of a global, or a range of their time",
    .help = "Prints the numbers of the deletions, one for each --match. From then on no answer has what they\n"
            "cover; blocks are written anew without it in the background. It cannot be undone.\n"
            "Times are as for query.\n\n"
            "  tributary delete --match '{job=\"test\"}' --why 'a test that went to production'\n"
            "  tributary delete --match 'secrets_total' --start 3d --end 1d --why 'ticket 4711' --yes\n\n"
            "Exit status: 0 accepted, 1 not accepted or the answer to the question was no, 2 usage, 3 no answer.\n",
    .options =
        (const struct cli_option[]){{"match", 'm', "SELECTOR", "which series; may be given several times"},
                                    {"start", 0, "TIME", "first time that goes; the beginning if not given"},
                                    {"end", 0, "TIME", "last time that goes; now if not given, and at the latest"},
                                    {"why", 0, "TEXT", "the reason, for the record; required"},
                                    {"who", 0, "TEXT", "who wants it, for the record; default $USER@host"},
                                    {"yes", 'y', NULL, "do not ask; needed where there is no terminal"},
                                    REMOTE_OPTIONS,
                                    {0}},
    .words_min = 0,
    .words_max = 0,
    .run = delete_series,
};
