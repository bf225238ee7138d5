#include "notes.h"

#include "base/buf.h"
#include "output.h"

#define NOTES_MAX      100 /* lines of each kind; of the rest the number */
#define NOTE_BYTES_MAX (64 * KIB)

static void say(const char *kind, struct str text)
{
    CLEANUP(buf_done) struct buf safe = BUF_INIT(NOTE_BYTES_MAX);
    output_safe(text, &safe);
    fprintf(stderr, "%s: " STR_FMT "\n", kind, STR_ARG(buf_view(&safe)));
}

static void say_all(const char *kind, const json_t *texts)
{
    size_t count = json_array_size(texts);
    for (size_t i = 0; i < MIN(count, (size_t)NOTES_MAX); i++) {
        const json_t *text = json_array_get(texts, i);
        if (json_is_string(text))
            say(kind, str_of(json_string_value(text), json_string_length(text)));
    }
    if (count > NOTES_MAX)
        fprintf(stderr, "%s: and %zu more\n", kind, count - NOTES_MAX);
}

/* ---- Coverage: {"datacenters": [{"datacenter": "dc1", "complete": false, ...}]} ---- */

static const json_t *datacenters_of(const json_t *answer)
{
    return json_object_get(json_object_get(answer, "coverage"), "datacenters");
}

/* The server warns of most that is incomplete, in words of its own: "incomplete: dc1: ...", "incomplete: dc1/rack-7
 * ...".
 */
static bool is_warned(const json_t *warnings, struct str name)
{
    static const struct str start = {"incomplete: ", 12};
    for (size_t i = 0; i < json_array_size(warnings); i++) {
        struct str text = str_from(json_string_value(json_array_get(warnings, i)));
        if (!text.ptr || !str_starts_with(text, start))
            continue;
        text = str_of(text.ptr + start.len, text.len - start.len);
        if (str_starts_with(text, name) && text.len > name.len && strchr(":/ ", text.ptr[name.len]))
            return true;
    }
    return false;
}

/* "FIRST of SECOND WHAT", where both are numbers. */
static void add_share(const json_t *coverage, const char *first, const char *second, const char *what, struct buf *out)
{
    const json_t *part = json_object_get(coverage, first);
    const json_t *whole = json_object_get(coverage, second);
    if (json_is_number(part) && json_is_number(whole) && json_number_value(part) != json_number_value(whole))
        buf_printf(out, ", %.6g of %.6g %s", json_number_value(part), json_number_value(whole), what);
}

static void add_count(const json_t *coverage, const char *name, const char *what, struct buf *out)
{
    double count = json_number_value(json_object_get(coverage, name));
    if (count > 0)
        buf_printf(out, ", %.6g %s", count, what);
}

static bool is_incomplete(const json_t *datacenter)
{
    return json_is_false(json_object_get(datacenter, "complete"));
}

static void say_coverage(const json_t *coverage, const json_t *warnings)
{
    struct str name = str_from(json_string_value(json_object_get(coverage, "datacenter")));
    if (!is_incomplete(coverage) || name.len == 0 || is_warned(warnings, name))
        return;
    CLEANUP(buf_done) struct buf text = BUF_INIT(NOTE_BYTES_MAX);
    buf_printf(&text, "datacenter " STR_FMT " is not complete", STR_ARG(name));
    add_share(coverage, "targetsAnswered", "targetsExpected", "targets answered", &text);
    add_count(coverage, "sourcesMissingCount", "sources missing", &text);
    add_count(coverage, "gapCount", "gaps", &text);
    say("warning", buf_view(&text));
}

bool notes_are_warnings(const json_t *answer)
{
    bool incomplete = json_array_size(json_object_get(answer, "warnings")) > 0;
    const json_t *datacenters = datacenters_of(answer);
    for (size_t i = 0; i < json_array_size(datacenters); i++)
        incomplete = incomplete || is_incomplete(json_array_get(datacenters, i));
    return incomplete;
}

bool notes_print(const json_t *answer)
{
    const json_t *warnings = json_object_get(answer, "warnings");
    say_all("warning", warnings);
    say_all("note", json_object_get(answer, "infos"));
    const json_t *datacenters = datacenters_of(answer);
    for (size_t i = 0; i < json_array_size(datacenters); i++)
        say_coverage(json_array_get(datacenters, i), warnings);
    return notes_are_warnings(answer);
}
