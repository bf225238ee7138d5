#pragma once
/* Configuration: YAML into structs by a table of options. Strict: an unknown key, a wrong type, an impossible value, a
 * missing file or a bad regular expression is an error with file, line and column; all of them are collected and
 * reported at once. The tables are also what docs/configuration.md and its check are made from.
 *
 * A struct that a table fills is plain; strings and lists in it belong to the arena given to conf_load_text. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/defs.h"
#include "base/file.h"

#define CONF_FILE_BYTES_MAX (16 * MIB)
#define CONF_DEPTH_MAX      32
#define CONF_ERRORS_MAX     100
#define CONF_NODES_MAX      1000000 /* values and keys of one file: 60 MB while it is read */
#define CONF_LIST_MAX       100000  /* items of a list whose option has no max of its own */

enum conf_type {
    CONF_STRING,     /* const char *, min..max bytes */
    CONF_NAME,       /* const char *, [A-Za-z0-9_.-]{1,64}, no dot in front: for labels, files, log lines */
    CONF_BOOL,       /* bool */
    CONF_INT,        /* int64_t, min..max */
    CONF_DOUBLE,     /* double */
    CONF_BYTES,      /* uint64_t, "4GiB", min..max */
    CONF_DURATION,   /* int64_t milliseconds, "15s", min..max */
    CONF_ENUM,       /* int, by names[] */
    CONF_ADDRESS,    /* const char *, "host:port" or "[v6]:port" */
    CONF_URL,        /* const char *, http:// or https:// with a host */
    CONF_FILE,       /* const char *, a path that must be readable; relative to the file's directory */
    CONF_PATH,       /* const char *, a path that need not exist; relative to the file's directory */
    CONF_REGEX,      /* struct regex *; the pattern is checked and compiled; freed by conf_done */
    CONF_STRINGS,    /* struct conf_strings, min..max of them */
    CONF_URLS,       /* struct conf_strings, each as CONF_URL */
    CONF_STRING_MAP, /* struct conf_string_map, order kept */
    CONF_SECTION,    /* a struct inside, by `table` */
    CONF_LIST,       /* struct conf_list of structs, by `table`, min..max of them; item i is child i of the node */
    /* By `custom`, which gets the node (NULL: absent); names[0] is the type's word in the documentation. A name that
     * begins with * stands for all keys that end so and are of no other option: custom gets the map they are in. */
    CONF_CUSTOM,
    CONF_REFUSED /* a key of prometheus.yml that means nothing here: an error that gives `help` as the reason */
};

struct conf_strings {
    const char **items;
    size_t count;
};
struct conf_pair {
    const char *name;
    const char *value;
};
struct conf_string_map {
    struct conf_pair *items;
    size_t count;
};
struct conf_list {
    void *items; /* count structs of table->struct_bytes each */
    size_t count;
};

struct conf_place {
    const char *file;
    uint32_t line;   /* from 1 */
    uint32_t column; /* from 1 */
};

struct conf_node; /* one YAML value, with its place */
struct conf;      /* one file being read: its errors, arena, regexes */

struct conf_table;
typedef void conf_custom_fn(struct conf *conf, const struct conf_node *node, void *field);
typedef void conf_print_fn(const void *field, struct buf *text); /* appends the value as YAML, in one line */
/* Called when a struct has been filled: checks that need several fields; reports by conf_error. */
typedef void conf_check_fn(struct conf *conf, const struct conf_node *node, void *object);

struct conf_option {
    const char *name;
    enum conf_type type;
    size_t offset;        /* of the field in the struct */
    const char *fallback; /* default as it would be written; NULL: zero / absent */
    bool required;
    int64_t min, max;         /* for numbers, sizes, durations; both 0: no bounds */
    const char *const *names; /* CONF_ENUM, ends with NULL */
    const struct conf_table *table;
    conf_custom_fn *custom;
    conf_print_fn *print; /* of CONF_CUSTOM, for conf_print; NULL: it is not shown */
    const char *help;     /* one sentence; with the unit where it has one */
};

struct conf_table {
    const char *title; /* as in "scrape_config" */
    size_t struct_bytes;
    const struct conf_option *options; /* ends with name NULL */
    conf_check_fn *check;              /* may be NULL */
};

/* What is read: for a file that a daemon holds see conf_object.h. */
struct conf_source {
    struct file_system *fs; /* where CONF_FILE looks */
    struct str text;
    const char *name;     /* of the file, for errors */
    const char *base_dir; /* where relative paths start; NULL: the working directory */
    void *context;        /* for custom fields: conf_context */
};

/* Fills object (zeroed first, then defaults). Returns 0, or -EINVAL when there were errors; ret_conf is set in both
 * cases (see conf_errors). It owns regexes and errors; keep it as long as the object is used, and free it before the
 * arena. A key whose value is empty or null has its default. */
MUST_CHECK int conf_load_text(const struct conf_source *source, const struct conf_table *table, void *object,
                              struct arena *arena, struct conf **ret_conf);
/* The same for a file that is a list: option is a CONF_LIST, whose name stands in errors. ret_list is empty on failure.
 */
MUST_CHECK int conf_load_list(const struct conf_source *source, const struct conf_option *option,
                              struct conf_list *ret_list, struct arena *arena, struct conf **ret_conf);
void conf_free(struct conf *conf);
DEFINE_CLEANUP(struct conf *, conf_free)

/* One line per error, "FILE:LINE:COLUMN: text\n", in the order of the file. Empty when there were none. */
const char *conf_errors(const struct conf *conf);
/* For custom fields and checks. A scalar keeps its first error only; node NULL stands for the file's beginning. */
void conf_error(struct conf *conf, const struct conf_node *node, const char *format, ...) PRINTF_LIKE(3, 4);

struct conf_place conf_place_of(const struct conf *conf, const struct conf_node *node);
const struct conf_node *conf_child(const struct conf_node *node, const char *name); /* NULL: absent or no map */
size_t conf_child_count(const struct conf_node *node);                              /* of a list or map */
const struct conf_node *conf_child_at(const struct conf_node *node, size_t index);
const char *conf_child_name(const struct conf_node *node, size_t index); /* of a map */
const char *conf_text(const struct conf_node *node);                     /* a scalar's text, NULL: none */
bool conf_failed(const struct conf_node *node); /* an error was reported here: its field has the default. NULL: false */
void conf_format_duration(int64_t ms, char ret_text[static 64]);  /* as a person writes it: 1h30m */
void conf_format_bytes(uint64_t bytes, char ret_text[static 32]); /* 4GiB, in the largest unit that says it exactly */
struct arena *conf_arena(struct conf *conf);
void *conf_context(const struct conf *conf);
/* The path as CONF_PATH gives it, in the arena. */
const char *conf_path(struct conf *conf, const char *path);
/* Fills object from a node by a table, as conf_load_text does for the whole file. */
void conf_fill(struct conf *conf, const struct conf_node *node, const struct conf_table *table, void *object);

/* The same for a list of structs by option->table (a CONF_LIST). */
void conf_fill_list(struct conf *conf, const struct conf_option *option, const struct conf_node *node, void *field);
bool conf_name_fits(const char *option_name, const char *key); /* equal, or by the ending after a * */

/* A list of texts as CONF_STRINGS takes it; name is the key for messages. node NULL: none. */
void conf_fill_strings(struct conf *conf, const char *name, const struct conf_node *node,
                       struct conf_strings *ret_strings);

/* Appends the object that the table filled as YAML: what is in force, defaults too, as conf_load_text reads it. It has
 * no secrets: tables have paths of them, URLs with a password are refused; should a text's key say that it is one, it
 * is not shown, and a custom field is shown by its own printer only. */
void conf_print(const struct conf_table *table, const void *object, struct buf *text);

/* Appends a node as it was given, in one line that conf_load_text reads as the same: what is not in it is not there.
 * Paths are as they were written: of the directory conf_base_dir. */
void conf_print_node(const struct conf_node *node, struct buf *text);
const char *conf_base_dir(const struct conf *conf); /* "": the working directory */

/* Appends the table as Markdown rows (key | type | default | range | meaning), nested tables after it. */
void conf_describe(const struct conf_table *table, struct buf *text);
