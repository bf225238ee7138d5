#pragma once
/* Lists of objects that a daemon answers, for people and for programs: as a table, as CSV, or as they came. */
#include "output.h"
#include "remote.h"

enum record_kind {
    RECORD_TEXT,
    RECORD_NUMBER,
    RECORD_BYTES,   /* 3.4 GiB; in CSV the number */
    RECORD_SECONDS, /* 30d00h; in CSV the number */
    RECORD_TIME,    /* of milliseconds since 1970: RFC 3339 */
    RECORD_FLAG     /* yes or nothing */
};

struct record_column {
    const char *title; /* of the table */
    const char *field; /* of the object; its title in CSV */
    enum record_kind kind;
    bool minor;       /* as in a table_column */
    const char *none; /* what a table shows for null; NULL: nothing */
    const char *bad;  /* a text that is to be seen: shown in capitals, and in red where there are colours */
};

enum record_format { RECORD_AS_TABLE, RECORD_AS_CSV, RECORD_AS_JSON };
/* -o of such a command; false: it is none of table, csv, json, and that is said. */
#define RECORD_OPTION                                                                                                  \
    {                                                                                                                  \
        "output", 'o', "FORM", "table, json or csv"                                                                    \
    }
MUST_CHECK bool record_format_take(const struct cli_arguments *arguments, enum record_format *ret_format);

/* The whole way to a daemon's answer of a success. Freed by json_decref. form NULL: a GET. */
MUST_CHECK enum cli_exit records_fetch(const struct remote *remote, const char *path, const struct buf *form,
                                       json_t **ret_answer);

/* A table without rows is not printed, CSV has its titles at least. */
void records_print(json_t *list, const struct record_column *columns, size_t count, enum record_format format);
/* The whole answer. */
void records_print_json(json_t *answer);
