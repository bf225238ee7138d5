#pragma once
/* Private to conf*.c: the values of a file as they were written, and the state of one reading.
 * conf_yaml.c makes nodes from text, conf_table.c and conf_value.c make structs from nodes, conf.c keeps the errors. */
#include "base/conf.h"

#define CONF_ERROR_BYTES_MAX 512 /* of one message: a line of a terminal or two, whatever the file holds */
#define CONF_SHOWN_BYTES_MAX 64  /* of a value quoted in a message */
#define CONF_NAME_BYTES_MAX  64

enum conf_node_kind { CONF_NODE_SCALAR, CONF_NODE_LIST, CONF_NODE_MAP };

struct conf_node {
    enum conf_node_kind kind;
    bool quoted; /* a scalar in quotes: never null */
    bool failed; /* an error was reported here */
    uint32_t line;
    uint32_t column;
    size_t count;
    const char *text;         /* of a scalar; no zero byte inside */
    struct conf_node **items; /* values of a list or map */
    struct conf_node **names; /* keys of a map, scalars */
};

struct conf_problem {
    struct conf_place place;
    char *text; /* owned */
};

struct conf {
    struct file_system *fs;
    char *name;
    char *base_dir;
    void *context;
    struct arena *arena; /* the caller's: what the filled struct points to */
    struct arena nodes;  /* dropped when the reading ends */
    /* The first errors in file order; of the rest only the number. */
    struct conf_problem problems[CONF_ERRORS_MAX];
    size_t problem_count;
    uint64_t problem_total;
    char *errors; /* all in one text, made when the reading ends */
    struct regex **regexes;
    size_t regex_count;
};

/* A text as nodes in conf->nodes. Errors are reported; NULL when there is nothing to go on with. */
struct conf_node *conf_yaml_read(struct conf *conf, struct str text);

/* Null, ~ or nothing: the same as leaving the key out. NULL is null too. */
bool conf_node_is_null(const struct conf_node *node);
const char *conf_node_kind_name(const struct conf_node *node); /* "a list" */
/* A name or value for a message: cut at CONF_SHOWN_BYTES_MAX, in the nodes' arena. */
const char *conf_shown(struct conf *conf, const char *text);
/* Reports at a place, for errors that several of one node may have. */
void conf_error_at(struct conf *conf, struct conf_place place, const char *format, ...) PRINTF_LIKE(3, 4);
/* True while another error would be kept with its text. */
bool conf_errors_wanted(const struct conf *conf);
/* Zeroed room in the caller's arena; reports and returns NULL past its ceiling. */
void *conf_take(struct conf *conf, const struct conf_node *node, size_t count, size_t size);
const char *conf_take_text(struct conf *conf, const struct conf_node *node, const char *text);

/* Fills a field of a type that is not made of others (not SECTION, LIST, CUSTOM, REFUSED). */
void conf_value_fill(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field);
const char *conf_type_name(enum conf_type type); /* "a size such as 4GiB" */
/* As a person writes it: 4GiB, 1h30m. */
/* A bound of the option's type as text. */
void conf_format_bound(enum conf_type type, int64_t bound, char ret_text[static 64]);

/* Of names[0..count) the one most like word, NULL when none is near: for "did you mean". */
const char *conf_nearest(const char *word, const char *const *names, size_t count);
