#include "promql/functions.h"

#include "base/fail.h"

/* Prometheus 2.42, promql/parser/functions.go; sorted by name. */
static const struct promql_function functions[FUNCTION_COUNT] = {
    {"abs", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_ABS},
    {"absent", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_ABSENT},
    {"absent_over_time", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_ABSENT_OVER_TIME},
    {"acos", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_ACOS},
    {"acosh", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_ACOSH},
    {"asin", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_ASIN},
    {"asinh", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_ASINH},
    {"atan", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_ATAN},
    {"atanh", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_ATANH},
    {"avg_over_time", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_AVG_OVER_TIME},
    {"ceil", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_CEIL},
    {"changes", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_CHANGES},
    {"clamp", {PROMQL_VECTOR, PROMQL_SCALAR, PROMQL_SCALAR}, 3, 0, PROMQL_VECTOR, FUNCTION_CLAMP},
    {"clamp_max", {PROMQL_VECTOR, PROMQL_SCALAR}, 2, 0, PROMQL_VECTOR, FUNCTION_CLAMP_MAX},
    {"clamp_min", {PROMQL_VECTOR, PROMQL_SCALAR}, 2, 0, PROMQL_VECTOR, FUNCTION_CLAMP_MIN},
    {"cos", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_COS},
    {"cosh", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_COSH},
    {"count_over_time", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_COUNT_OVER_TIME},
    {"day_of_month", {PROMQL_VECTOR}, 1, 1, PROMQL_VECTOR, FUNCTION_DAY_OF_MONTH},
    {"day_of_week", {PROMQL_VECTOR}, 1, 1, PROMQL_VECTOR, FUNCTION_DAY_OF_WEEK},
    {"day_of_year", {PROMQL_VECTOR}, 1, 1, PROMQL_VECTOR, FUNCTION_DAY_OF_YEAR},
    {"days_in_month", {PROMQL_VECTOR}, 1, 1, PROMQL_VECTOR, FUNCTION_DAYS_IN_MONTH},
    {"deg", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_DEG},
    {"delta", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_DELTA},
    {"deriv", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_DERIV},
    {"exp", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_EXP},
    {"floor", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_FLOOR},
    {"histogram_count", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_HISTOGRAM_COUNT},
    {"histogram_fraction",
     {PROMQL_SCALAR, PROMQL_SCALAR, PROMQL_VECTOR},
     3,
     0,
     PROMQL_VECTOR,
     FUNCTION_HISTOGRAM_FRACTION},
    {"histogram_quantile", {PROMQL_SCALAR, PROMQL_VECTOR}, 2, 0, PROMQL_VECTOR, FUNCTION_HISTOGRAM_QUANTILE},
    {"histogram_sum", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_HISTOGRAM_SUM},
    {"holt_winters", {PROMQL_MATRIX, PROMQL_SCALAR, PROMQL_SCALAR}, 3, 0, PROMQL_VECTOR, FUNCTION_HOLT_WINTERS},
    {"hour", {PROMQL_VECTOR}, 1, 1, PROMQL_VECTOR, FUNCTION_HOUR},
    {"idelta", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_IDELTA},
    {"increase", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_INCREASE},
    {"irate", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_IRATE},
    {"label_join",
     {PROMQL_VECTOR, PROMQL_STRING, PROMQL_STRING, PROMQL_STRING},
     4,
     -1,
     PROMQL_VECTOR,
     FUNCTION_LABEL_JOIN},
    {"label_replace",
     {PROMQL_VECTOR, PROMQL_STRING, PROMQL_STRING, PROMQL_STRING, PROMQL_STRING},
     5,
     0,
     PROMQL_VECTOR,
     FUNCTION_LABEL_REPLACE},
    {"last_over_time", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_LAST_OVER_TIME},
    {"ln", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_LN},
    {"log10", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_LOG10},
    {"log2", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_LOG2},
    {"max_over_time", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_MAX_OVER_TIME},
    {"min_over_time", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_MIN_OVER_TIME},
    {"minute", {PROMQL_VECTOR}, 1, 1, PROMQL_VECTOR, FUNCTION_MINUTE},
    {"month", {PROMQL_VECTOR}, 1, 1, PROMQL_VECTOR, FUNCTION_MONTH},
    {"pi", {PROMQL_NONE}, 0, 0, PROMQL_SCALAR, FUNCTION_PI},
    {"predict_linear", {PROMQL_MATRIX, PROMQL_SCALAR}, 2, 0, PROMQL_VECTOR, FUNCTION_PREDICT_LINEAR},
    {"present_over_time", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_PRESENT_OVER_TIME},
    {"quantile_over_time", {PROMQL_SCALAR, PROMQL_MATRIX}, 2, 0, PROMQL_VECTOR, FUNCTION_QUANTILE_OVER_TIME},
    {"rad", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_RAD},
    {"rate", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_RATE},
    {"resets", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_RESETS},
    {"round", {PROMQL_VECTOR, PROMQL_SCALAR}, 2, 1, PROMQL_VECTOR, FUNCTION_ROUND},
    {"scalar", {PROMQL_VECTOR}, 1, 0, PROMQL_SCALAR, FUNCTION_SCALAR},
    {"sgn", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_SGN},
    {"sin", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_SIN},
    {"sinh", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_SINH},
    {"sort", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_SORT},
    {"sort_desc", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_SORT_DESC},
    {"sqrt", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_SQRT},
    {"stddev_over_time", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_STDDEV_OVER_TIME},
    {"stdvar_over_time", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_STDVAR_OVER_TIME},
    {"sum_over_time", {PROMQL_MATRIX}, 1, 0, PROMQL_VECTOR, FUNCTION_SUM_OVER_TIME},
    {"tan", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_TAN},
    {"tanh", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_TANH},
    {"time", {PROMQL_NONE}, 0, 0, PROMQL_SCALAR, FUNCTION_TIME},
    {"timestamp", {PROMQL_VECTOR}, 1, 0, PROMQL_VECTOR, FUNCTION_TIMESTAMP},
    {"vector", {PROMQL_SCALAR}, 1, 0, PROMQL_VECTOR, FUNCTION_VECTOR},
    {"year", {PROMQL_VECTOR}, 1, 1, PROMQL_VECTOR, FUNCTION_YEAR},
};

const struct promql_function *promql_function_find(struct str name)
{
    size_t low = 0;
    size_t high = ARRAY_LEN(functions);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(name, str_from(functions[middle].name));
        if (order == 0)
            return &functions[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

size_t promql_function_count(void)
{
    return ARRAY_LEN(functions);
}

const struct promql_function *promql_function_at(size_t index)
{
    ASSERT(index < ARRAY_LEN(functions));
    return &functions[index];
}
