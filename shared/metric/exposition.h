#pragma once
/* Prometheus text format 0.0.4, one pass over the body, views into it, no allocation.
 *
 * Grammar as Prometheus 2.42's own parser takes it (model/textparse/promparse): HELP, TYPE, comments, samples with
 * optional timestamps in ms. Two lines that it refuses are taken: a TYPE word that it does not know (a family without a
 * type then), and blanks before a metric name. A last line needs no newline. A label name twice, and __name__ among the
 * labels, are errors here already. OpenMetrics bodies (content type application/openmetrics-text) come later. */
#include "base/str.h"
#include "metric/labels.h"
#include "metric/sample.h"

enum exposition_event {
    EXPOSITION_END,
    EXPOSITION_SAMPLE,
    EXPOSITION_TYPE,
    EXPOSITION_HELP,
    EXPOSITION_COMMENT,
    EXPOSITION_ERROR
};

struct exposition_limits {
    uint32_t labels_max;      /* per sample, the name not counted */
    uint32_t name_bytes_max;  /* of a label or metric name */
    uint32_t value_bytes_max; /* of a label value, unescaped */
};

struct exposition {
    const char *at;
    const char *end;
    uint32_t line;      /* of the event last returned, from 1 */
    uint32_t next_line; /* of the event to come (a label value may hold newlines) */
    struct exposition_limits limits;

    /* Of the event last returned. */
    struct str name; /* metric name, or of HELP / TYPE */
    struct str text; /* HELP text as written (escapes kept) */
    enum metric_type type;
    struct str series; /* SAMPLE: the line's part before the value, as written: name and {...} */
    double value;
    bool has_time;
    int64_t time_ms;
    struct label labels[LABELS_MAX]; /* as written, in order; values with escapes undone are in `unescaped` */
    uint32_t label_count;            /* __name__ not among them */
    const char *error;               /* ERROR: a static text */
    struct buf unescaped;            /* holds values that had escapes; reused from sample to sample */
};

void exposition_init(struct exposition *exposition, struct str body, struct exposition_limits limits);
void exposition_done(struct exposition *exposition);
/* The next event. After EXPOSITION_ERROR and EXPOSITION_END the same is returned for ever. */
enum exposition_event exposition_next(struct exposition *exposition);

/* A HELP's text without its escapes, \\ and \n, as Prometheus has it. Returns the length, never more than that of text.
 */
size_t exposition_unescape_help(struct str text, char *ret_text);

/* The fast road of the page cache: reads the value and the optional timestamp that follow a series part whose bytes are
 * known, up to and with the end of line. `at` points behind the series part, where a blank must stand. Returns the
 * place behind the line, NULL when it is not a valid rest of a sample line (then the slow road gives the error). Short
 * decimals are converted exactly without strtod. */
const char *exposition_value(const char *at, const char *end, double *ret_value, bool *ret_has_time,
                             int64_t *ret_time_ms);
