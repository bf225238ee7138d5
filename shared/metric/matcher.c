#include "metric/matcher.h"
#include "base/fail.h"

static bool is_regex(enum matcher_type type)
{
    return type == MATCH_REGEX || type == MATCH_NOT_REGEX;
}

int matcher_init(struct matcher *matcher, enum matcher_type type, struct str name, struct str value,
                 char ret_error[static 256])
{
    CLEANUP(globs_freep) struct globs *globs = NULL;
    struct regex *regex = NULL;
    size_t count;
    if (is_regex(type) && (globs_new(value, &globs) < 0 || !globs_texts(globs, &count))) {
        int result = regex_new(value, ret_error, &regex);
        if (result < 0)
            return result;
    }
    *matcher = (struct matcher){.type = type, .name = name, .value = value, .regex = regex, .globs = STEAL(globs)};
    return 0;
}

void matcher_done(struct matcher *matcher)
{
    regex_free(matcher->regex);
    globs_free(matcher->globs);
    matcher->regex = NULL;
    matcher->globs = NULL;
}

bool matcher_is_negative(const struct matcher *matcher)
{
    return matcher->type == MATCH_NOT_EQUAL || matcher->type == MATCH_NOT_REGEX;
}

const struct str *matcher_texts(const struct matcher *matcher, size_t *ret_count)
{
    if (!is_regex(matcher->type)) {
        *ret_count = 1;
        return &matcher->value;
    }
    return matcher->globs ? globs_texts(matcher->globs, ret_count) : NULL;
}

bool matcher_names_all(const struct matcher *matcher)
{
    return matcher->globs && globs_take_all(matcher->globs);
}

void matcher_bounds(const struct matcher *matcher, struct str *ret_min, struct str *ret_max)
{
    if (matcher->globs)
        globs_bounds(matcher->globs, ret_min, ret_max);
    else if (matcher->regex)
        regex_bounds(matcher->regex, ret_min, ret_max);
    else
        *ret_min = *ret_max = matcher->value;
}

size_t matcher_bytes_max(const struct matcher *matcher)
{
    return (matcher->globs ? globs_bytes(matcher->globs) : 0) + (matcher->regex ? REGEX_BYTES_MAX : 0);
}

static bool is_within(const struct regex *regex, struct str value)
{
    struct str min, max;
    regex_bounds(regex, &min, &max);
    struct str start = str_of(value.ptr, MIN(value.len, max.len));
    return str_compare(value, min) >= 0 && str_compare(start, max) <= 0;
}

static bool pattern_takes(const struct matcher *matcher, struct str value)
{
    enum globs_answer answer = matcher->globs ? globs_match(matcher->globs, value) : GLOBS_ASK;
    if (answer != GLOBS_ASK)
        return answer == GLOBS_YES;
    return is_within(matcher->regex, value) && regex_matches(matcher->regex, value);
}

bool matcher_matches(const struct matcher *matcher, struct str value)
{
    switch (matcher->type) {
    case MATCH_EQUAL:
        return str_equal(matcher->value, value);
    case MATCH_NOT_EQUAL:
        return !str_equal(matcher->value, value);
    case MATCH_REGEX:
        return pattern_takes(matcher, value);
    case MATCH_NOT_REGEX:
        return !pattern_takes(matcher, value);
    }
    bug(__FILE__, __LINE__, "matcher type");
}

bool matcher_matches_labels(const struct matcher *matchers, size_t count, const struct labels *labels)
{
    for (size_t i = 0; i < count; i++)
        if (!matcher_matches(&matchers[i], labels_get(labels, matchers[i].name)))
            return false;
    return true;
}

bool matcher_matches_empty(const struct matcher *matcher)
{
    return matcher_matches(matcher, STR_NULL);
}

const char *matcher_operator(enum matcher_type type)
{
    static const char *const operators[] = {"=", "!=", "=~", "!~"};
    ASSERT((unsigned)type < ARRAY_LEN(operators));
    return operators[type];
}
