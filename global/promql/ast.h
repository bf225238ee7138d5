#pragma once
/* The tree of a PromQL expression. Nodes live in the arena of their parse (parse.h); positions are byte offsets into
 * the text, so that every error can point at its place. */
#include "base/arena.h"
#include "base/str.h"
#include "metric/matcher.h"

enum promql_type { PROMQL_NONE, PROMQL_SCALAR, PROMQL_VECTOR, PROMQL_MATRIX, PROMQL_STRING };
const char *promql_type_name(enum promql_type type); /* "scalar", "instant vector", "range vector", "string", "none" */

enum ast_kind {
    AST_NUMBER,
    AST_STRING,
    AST_SELECTOR, /* instant vector selector; with range_ms > 0 a matrix selector */
    AST_SUBQUERY,
    AST_CALL,
    AST_AGGREGATE,
    AST_BINARY,
    AST_UNARY,
    AST_PAREN
};

enum ast_operator {
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_MOD,
    OP_POW,
    OP_ATAN2,
    OP_EQL,
    OP_NEQ,
    OP_GTR,
    OP_LSS,
    OP_GTE,
    OP_LTE,
    OP_AND,
    OP_OR,
    OP_UNLESS
};

enum ast_aggregation {
    AGG_SUM,
    AGG_AVG,
    AGG_COUNT,
    AGG_MIN,
    AGG_MAX,
    AGG_GROUP,
    AGG_STDDEV,
    AGG_STDVAR,
    AGG_TOPK,
    AGG_BOTTOMK,
    AGG_COUNT_VALUES,
    AGG_QUANTILE
};

enum ast_at { AT_NONE, AT_TIME, AT_START, AT_END };
enum ast_card { CARD_ONE_TO_ONE, CARD_MANY_TO_ONE, CARD_ONE_TO_MANY, CARD_MANY_TO_MANY };

struct ast_position {
    uint32_t start, end; /* byte offsets, end exclusive */
};

struct ast_names {
    struct str *items;
    size_t count;
};

struct promql_function; /* functions.h, the one table */

struct ast {
    enum ast_kind kind;
    enum promql_type type; /* set by promql_check */
    struct ast_position position;
    uint16_t height; /* nodes on the longest way down, this one included; at most PROMQL_DEPTH_MAX */
    union {
        double number;
        struct str string; /* unquoted */
        struct {
            struct str name;          /* metric name as written before the braces, empty if none */
            struct matcher *matchers; /* the name's among them, as the last */
            size_t matcher_count;
        } selector;
        struct {
            struct ast *inner;
            int64_t step_ms; /* 0: the default step */
        } subquery;
        struct {
            const struct promql_function *function;
            struct ast **args;
            size_t arg_count;
        } call;
        struct {
            enum ast_aggregation op;
            struct ast *inner;
            struct ast *param; /* k, phi, label name; or NULL */
            struct ast_names grouping;
            bool without;
        } aggregate;
        struct {
            enum ast_operator op;
            struct ast_position op_position;
            struct ast *left, *right;
            bool return_bool;
            enum ast_card card;
            bool on; /* on(...) was written; else ignoring(...) or nothing */
            struct ast_names matching;
            struct ast_names include; /* of group_left / group_right */
        } binary;
        struct {
            bool negative;
            struct ast *inner;
        } unary;
        struct ast *inner; /* AST_PAREN */
    };
    /* Selectors and subqueries. */
    int64_t range_ms;
    int64_t offset_ms; /* as written: positive = back in time */
    enum ast_at at;
    int64_t at_ms;
};

const char *ast_operator_text(enum ast_operator op); /* "+", "==", "unless", ... */
bool ast_operator_is_comparison(enum ast_operator op);
bool ast_operator_is_set(enum ast_operator op); /* and, or, unless */
const char *ast_aggregation_name(enum ast_aggregation op);
bool ast_aggregation_has_param(enum ast_aggregation op);
/* Prints as Prometheus' String() would; parsing the text gives an equal tree (matchers sorted by their text). Where
 * String() loses meaning this does not: ignoring () group_left (), {__name__="",...}. Returns what the buffer returned.
 */
int ast_print(const struct ast *ast, struct buf *text);
int ast_print_duration(int64_t duration_ms, struct buf *text); /* "1h30m" */
/* Calls visit for each node, parents first; stops early when it returns false. */
bool ast_walk(const struct ast *ast, bool (*visit)(const struct ast *ast, void *arg), void *arg);
