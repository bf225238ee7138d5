#include "metric/exposition.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

/* A number's text; Go prints at most 326 digits and signs of a double. More is no number that anybody means. */
#define NUMBER_BYTES_MAX 512

/* ---- Characters ---- */

enum { LABEL_FIRST = 1, LABEL_MORE = 2, METRIC_FIRST = 4, METRIC_MORE = 8, QUOTE_STOP = 16 };

static const uint8_t classes[256] = {
    ['a' ... 'z'] = LABEL_FIRST | LABEL_MORE | METRIC_FIRST | METRIC_MORE,
    ['A' ... 'Z'] = LABEL_FIRST | LABEL_MORE | METRIC_FIRST | METRIC_MORE,
    ['_'] = LABEL_FIRST | LABEL_MORE | METRIC_FIRST | METRIC_MORE,
    ['0' ... '9'] = LABEL_MORE | METRIC_MORE,
    [':'] = METRIC_FIRST | METRIC_MORE,
    ['"'] = QUOTE_STOP,
    ['\\'] = QUOTE_STOP,
};

static bool is_a(char c, uint8_t class)
{
    return classes[(uint8_t)c] & class;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && is_blank(*at))
        at++;
    return at;
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && is_digit(*at))
        at++;
    return at;
}

static const char *line_end(const char *at, const char *end)
{
    const char *found = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    return found ? found : end;
}

/* ---- Values ---- */

/* Digits of at most 2^53 times or over a power of ten of at most 10^22: both doubles are exact, so the one operation
 * rounds once and the result is the right one (W. Clinger, 1990). NULL: too long for this, or no decimal at all. */
static const char *read_short_decimal(const char *at, const char *end, double *ret_value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    bool negative = at < end && *at == '-';
    at += negative || (at < end && *at == '+');

    uint64_t mantissa = 0;
    const char *start = at;
    for (; at < end && is_digit(*at); at++)
        mantissa = mantissa * 10 + (uint64_t)(*at - '0');
    ptrdiff_t digits = at - start;
    int exponent = 0;
    if (at < end && *at == '.') {
        start = ++at;
        for (; at < end && is_digit(*at); at++)
            mantissa = mantissa * 10 + (uint64_t)(*at - '0');
        digits += at - start;
        exponent = -(int)(at - start);
    }
    if (digits == 0 || digits > 19) /* 19 digits always fit in 64 bits */
        return NULL;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        bool down = at < end && *at == '-';
        at += down || (at < end && *at == '+');
        int written = 0;
        start = at;
        for (; at < end && is_digit(*at) && at - start < 4; at++)
            written = written * 10 + (*at - '0');
        if (at == start)
            return NULL;
        exponent += down ? -written : written;
    }
    if (mantissa > UINT64_C(1) << 53 || exponent < -22 || exponent > 22)
        return NULL;
    double value = (double)mantissa;
    if (exponent < 0)
        value /= powers[-exponent];
    else if (exponent > 0)
        value *= powers[exponent];
    *ret_value = negative ? -value : value;
    return at;
}

/* [+-] digits [. digits] [e [+-] digits], a digit before or behind the point. */
static bool is_decimal(const char *at, const char *end)
{
    at += at < end && (*at == '-' || *at == '+');
    const char *whole = at;
    at = skip_digits(at, end);
    ptrdiff_t digits = at - whole;
    if (at < end && *at == '.') {
        const char *places = ++at;
        at = skip_digits(at, end);
        digits += at - places;
    }
    if (digits > 0 && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '-' || *at == '+');
        const char *exponent = at;
        at = skip_digits(at, end);
        digits = at - exponent;
    }
    return digits > 0 && at == end;
}

static bool text_is_word(const char *at, const char *end, const char *word)
{
    size_t len = strlen(word);
    return (size_t)(end - at) == len && strncasecmp(at, word, len) == 0;
}

/* What Go's ParseFloat takes besides decimals: inf and infinity with a sign or without, nan without, in any case. */
static bool read_special(const char *at, const char *end, double *ret_value)
{
    if (text_is_word(at, end, "nan")) {
        *ret_value = double_from_bits(NORMAL_NAN_BITS);
        return true;
    }
    bool negative = at < end && *at == '-';
    at += negative || (at < end && *at == '+');
    if (!text_is_word(at, end, "inf") && !text_is_word(at, end, "infinity"))
        return false;
    *ret_value = negative ? -INFINITY : INFINITY;
    return true;
}

/* Any number that Prometheus 2.42 takes: no hexadecimal floats, no underscores, nothing that overflows. */
static const char *read_any_number(const char *at, const char *end, double *ret_value)
{
    const char *stop = at;
    while (stop < end && !is_blank(*stop) && *stop != '\n' && stop - at <= NUMBER_BYTES_MAX)
        stop++;
    if (read_special(at, stop, ret_value))
        return stop;
    if (stop - at > NUMBER_BYTES_MAX || !is_decimal(at, stop))
        return NULL;
    char text[NUMBER_BYTES_MAX + 1];
    memcpy(text, at, (size_t)(stop - at));
    text[stop - at] = '\0';
    double value = strtod(text, NULL); /* no part of tributary calls setlocale: this is the C locale */
    if (isinf(value))
        return NULL;
    *ret_value = value;
    return stop;
}

/* What follows the series part of a line. */
struct line_rest {
    double value;
    bool has_time;
    int64_t time_ms;
};

/* The timestamp, if there is one, and the end of the line. Returns the place behind it. */
static const char *read_time(const char *at, const char *end, struct line_rest *rest, const char **ret_error)
{
    rest->has_time = at < end && *at != '\n';
    if (rest->has_time) {
        const char *stop = skip_digits(at, end);
        if (stop == at || str_to_i64(str_of(at, (size_t)(stop - at)), &rest->time_ms) < 0) {
            *ret_error = "expected a timestamp in milliseconds or the end of the line";
            return NULL;
        }
        at = skip_blanks(stop, end);
    }
    if (at < end && *at != '\n') {
        *ret_error = "expected the end of the line after the timestamp";
        return NULL;
    }
    return at < end ? at + 1 : at;
}

static inline const char *read_rest(const char *at, const char *end, struct line_rest *rest, const char **ret_error)
{
    at = skip_blanks(at, end);
    const char *behind = read_short_decimal(at, end, &rest->value);
    if (!behind || (behind < end && !is_blank(*behind) && *behind != '\n'))
        behind = read_any_number(at, end, &rest->value);
    if (!behind) {
        *ret_error = "expected a number as value";
        return NULL;
    }
    at = behind;
    if (at < end && *at == '\n') {
        rest->has_time = false;
        return at + 1;
    }
    return read_time(skip_blanks(at, end), end, rest, ret_error);
}

const char *exposition_value(const char *at, const char *end, double *ret_value, bool *ret_has_time,
                             int64_t *ret_time_ms)
{
    /* Without a blank the known bytes may be the beginning of a longer name: `a` known, `a1 5` there. */
    if (at == end || !is_blank(*at))
        return NULL;
    struct line_rest rest = {0};
    const char *error;
    const char *next = read_rest(at, end, &rest, &error);
    if (!next)
        return NULL;
    *ret_value = rest.value;
    *ret_has_time = rest.has_time;
    *ret_time_ms = rest.time_ms;
    return next;
}

/* ---- Labels ---- */

/* From behind the opening quote; returns the closing one, NULL when there is none or the text is not UTF-8. */
static const char *read_quoted(const char *at, const char *end, bool *ret_escapes)
{
    const char *start = at;
    bool escapes = false;
    uint8_t bits = 0;
    for (; at < end && *at != '"'; at++) {
        if (*at == '\\') {
            escapes = true;
            if (++at == end || *at == '\n')
                return NULL;
        }
        bits |= (uint8_t)*at;
    }
    if (at == end || (bits >= 0x80 && !str_is_utf8(str_of(start, (size_t)(at - start)))))
        return NULL;
    *ret_escapes = escapes;
    return at;
}

/* \\ \" \n; a backslash before anything else stands for itself, as Prometheus has it. */
static struct str unescape(struct buf *buf, struct str raw)
{
    size_t start = buf->len;
    for (size_t i = 0; i < raw.len; i++) {
        char next = i + 1 < raw.len ? raw.ptr[i + 1] : 0;
        if (raw.ptr[i] == '\\' && (next == '\\' || next == '"' || next == 'n')) {
            buf_append_byte(buf, next == 'n' ? '\n' : (uint8_t)next);
            i++;
        } else {
            buf_append_byte(buf, (uint8_t)raw.ptr[i]);
        }
    }
    return str_of(buf->data + start, buf->len - start);
}

/* Undoes the escapes of the values marked. All in one stretch of memory that is made first, so that views stay. */
static const char *unescape_values(struct exposition *exposition, const bool *escaped)
{
    size_t bytes = 0;
    for (size_t i = 0; i < exposition->label_count; i++)
        bytes += escaped[i] ? exposition->labels[i].value.len : 0;
    buf_reset(&exposition->unescaped);
    if (bytes > 0 && !buf_reserve(&exposition->unescaped, bytes))
        return "label values are too long";
    for (size_t i = 0; i < exposition->label_count; i++) {
        struct label *label = &exposition->labels[i];
        if (escaped[i])
            label->value = unescape(&exposition->unescaped, label->value);
        if (label->value.len > exposition->limits.value_bytes_max)
            return "a label value is too long";
    }
    return NULL;
}

static const char *check_label_name(const struct exposition *exposition, struct str name)
{
    if (name.len > exposition->limits.name_bytes_max)
        return "a label name is too long";
    if (exposition->label_count >= MIN(exposition->limits.labels_max, (uint32_t)LABELS_MAX))
        return "too many labels";
    if (str_equal(name, STR(LABEL_NAME)))
        return "__name__ among the labels";
    for (size_t i = 0; i < exposition->label_count; i++)
        if (str_equal(exposition->labels[i].name, name))
            return "a label twice";
    return NULL;
}

/* name="value": returns the place behind it, NULL with the error set. */
static const char *read_label(struct exposition *exposition, const char *at, bool *ret_escapes)
{
    const char *end = exposition->end;
    struct str name = {.ptr = at};
    if (at == end || !is_a(*at, LABEL_FIRST)) {
        exposition->error = "expected a label name";
        return NULL;
    }
    while (at < end && is_a(*at, LABEL_MORE))
        at++;
    name.len = (size_t)(at - name.ptr);
    exposition->error = check_label_name(exposition, name);
    if (exposition->error)
        return NULL;
    at = skip_blanks(at, end);
    if (at == end || *at != '=') {
        exposition->error = "expected = after a label name";
        return NULL;
    }
    at = skip_blanks(at + 1, end);
    const char *quote = at < end && *at == '"' ? read_quoted(at + 1, end, ret_escapes) : NULL;
    if (!quote) {
        exposition->error = "expected a label value: UTF-8 in quotes";
        return NULL;
    }
    struct str value = str_of(at + 1, (size_t)(quote - at - 1));
    exposition->labels[exposition->label_count++] = (struct label){name, value};
    return quote + 1;
}

/* From behind {; returns the place behind }. Commas are taken as Prometheus takes them: one may end the list, and one
 * may be missing. */
static const char *read_labels(struct exposition *exposition, const char *at)
{
    const char *end = exposition->end;
    bool escaped[LABELS_MAX];
    bool any = false;
    for (;;) {
        at = skip_blanks(at, end);
        if (at < end && *at == '}')
            break;
        bool escapes = false;
        at = read_label(exposition, at, &escapes);
        if (!at)
            return NULL;
        size_t last = exposition->label_count - 1;
        escaped[last] = escapes;
        any |= escapes;
        if (!escapes && exposition->labels[last].value.len > exposition->limits.value_bytes_max) {
            exposition->error = "a label value is too long";
            return NULL;
        }
        at = skip_blanks(at, end);
        at += at < end && *at == ',';
    }
    exposition->error = any ? unescape_values(exposition, escaped) : NULL;
    return exposition->error ? NULL : at + 1;
}

/* ---- Lines ---- */

static enum exposition_event fail(struct exposition *exposition, const char *error)
{
    exposition->error = error;
    return EXPOSITION_ERROR;
}

static const char *read_metric_name(struct exposition *exposition, const char *at)
{
    const char *start = at;
    if (at < exposition->end && is_a(*at, METRIC_FIRST))
        while (at < exposition->end && is_a(*at, METRIC_MORE))
            at++;
    exposition->name = str_of(start, (size_t)(at - start));
    return at;
}

/* Prometheus takes label values that go over the end of a line. */
static uint32_t count_newlines(struct str text)
{
    uint32_t count = 0;
    const char *end = text.ptr + text.len;
    for (const char *at = line_end(text.ptr, end); at < end; at = line_end(at + 1, end))
        count++;
    return count;
}

static enum exposition_event read_sample(struct exposition *exposition, const char *at)
{
    const char *start = at;
    at = read_metric_name(exposition, at);
    if (exposition->name.len == 0)
        return fail(exposition, "expected a metric name or a comment");
    if (exposition->name.len > exposition->limits.name_bytes_max)
        return fail(exposition, "a metric name is too long");
    exposition->label_count = 0;
    const char *brace = skip_blanks(at, exposition->end);
    if (brace < exposition->end && *brace == '{') {
        at = read_labels(exposition, brace + 1);
        if (!at)
            return EXPOSITION_ERROR;
    }
    exposition->series = str_of(start, (size_t)(at - start));
    exposition->next_line += count_newlines(exposition->series);
    struct line_rest rest = {0};
    const char *error = NULL;
    at = read_rest(at, exposition->end, &rest, &error);
    if (!at)
        return fail(exposition, error);
    exposition->value = rest.value;
    exposition->has_time = rest.has_time;
    exposition->time_ms = rest.time_ms;
    exposition->at = at;
    return EXPOSITION_SAMPLE;
}

/* Prometheus 2.42 refuses a page with a type it does not know; here the family has none then: its samples are good. */
static enum metric_type type_of(struct str word)
{
    static const struct {
        const char *word;
        enum metric_type type;
    } types[] = {
        {"counter", METRIC_COUNTER}, {"gauge", METRIC_GAUGE},          {"histogram", METRIC_HISTOGRAM},
        {"summary", METRIC_SUMMARY}, {"gaugehistogram", METRIC_GAUGE}, /* its buckets and counts go down too */
        {"info", METRIC_GAUGE},      {"stateset", METRIC_GAUGE},
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_equal(word, str_from(types[i].word)))
            return types[i].type;
    return METRIC_UNKNOWN;
}

size_t exposition_unescape_help(struct str text, char *ret_text)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char next = text.ptr[i] == '\\' && i + 1 < text.len ? text.ptr[i + 1] : 0;
        bool is_escape = next == '\\' || next == 'n';
        ret_text[len++] = is_escape && next == 'n' ? '\n' : text.ptr[i];
        i += is_escape;
    }
    return len;
}

/* HELP or TYPE, from behind that word. */
static enum exposition_event read_metadata(struct exposition *exposition, const char *at, bool is_type)
{
    at = read_metric_name(exposition, skip_blanks(at, exposition->end));
    if (exposition->name.len == 0)
        return fail(exposition, "expected a metric name after HELP or TYPE");
    if (exposition->name.len > exposition->limits.name_bytes_max)
        return fail(exposition, "a metric name is too long");
    const char *stop = line_end(at, exposition->end);
    at += at < stop; /* whatever stands between name and text */
    struct str text = str_of(at, (size_t)(stop - at));
    exposition->at = stop < exposition->end ? stop + 1 : stop;
    if (!is_type) {
        exposition->text = text;
        return str_is_utf8(text) ? EXPOSITION_HELP : fail(exposition, "a help text is not UTF-8");
    }
    text = str_trim(text);
    if (text.len == 0)
        return fail(exposition, "expected a type after TYPE and a name");
    exposition->type = type_of(text);
    return EXPOSITION_TYPE;
}

/* From behind #. */
static enum exposition_event read_comment(struct exposition *exposition, const char *at)
{
    const char *end = exposition->end;
    const char *word = skip_blanks(at, end);
    bool keyword = word > at && end - word > 4 && is_blank(word[4]);
    if (keyword && memcmp(word, "TYPE", 4) == 0)
        return read_metadata(exposition, word + 4, true);
    if (keyword && memcmp(word, "HELP", 4) == 0)
        return read_metadata(exposition, word + 4, false);
    const char *stop = line_end(at, end);
    exposition->at = stop < end ? stop + 1 : stop;
    return EXPOSITION_COMMENT;
}

void exposition_init(struct exposition *exposition, struct str body, struct exposition_limits limits)
{
    exposition->at = body.ptr ? body.ptr : "";
    exposition->end = exposition->at + body.len;
    exposition->line = 0;
    exposition->next_line = 1;
    exposition->limits = limits;
    exposition->name = exposition->text = exposition->series = STR_NULL;
    exposition->type = METRIC_UNKNOWN;
    exposition->value = 0;
    exposition->has_time = false;
    exposition->time_ms = 0;
    exposition->label_count = 0;
    exposition->error = NULL;
    /* An escape is two bytes for one. */
    buf_init(&exposition->unescaped, 2 * (size_t)LABELS_MAX * limits.value_bytes_max);
}

void exposition_done(struct exposition *exposition)
{
    buf_done(&exposition->unescaped);
}

enum exposition_event exposition_next(struct exposition *exposition)
{
    if (exposition->error)
        return EXPOSITION_ERROR;
    for (;;) {
        const char *at = skip_blanks(exposition->at, exposition->end);
        exposition->at = at;
        if (at == exposition->end)
            return EXPOSITION_END;
        exposition->line = exposition->next_line++;
        if (*at == '#')
            return read_comment(exposition, at + 1);
        if (*at != '\n')
            return read_sample(exposition, at);
        exposition->at = at + 1;
    }
}
