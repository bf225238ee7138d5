#include "metric/matcher.h"
#include "base/fail.h"

static bool is_regex(enum matcher_type type)
{
    return type == MATCH_REGEX || type == MATCH_NOT_REGEX;
}

int matcher_init(struct matcher *matcher, enum matcher_type type, struct str name, struct str value,
                 char ret_error[static 256])
{
    struct regex *regex = NULL;
    if (is_regex(type)) {
        int result = regex_new(value, ret_error, &regex);
        if (result < 0)
            return result;
    }
    *matcher = (struct matcher){.type = type, .name = name, .value = value, .regex = regex};
    return 0;
}

void matcher_done(struct matcher *matcher)
{
    regex_free(matcher->regex);
    matcher->regex = NULL;
}

bool matcher_matches(const struct matcher *matcher, struct str value)
{
    switch (matcher->type) {
    case MATCH_EQUAL:
        return str_equal(matcher->value, value);
    case MATCH_NOT_EQUAL:
        return !str_equal(matcher->value, value);
    case MATCH_REGEX:
        return regex_matches(matcher->regex, value);
    case MATCH_NOT_REGEX:
        return !regex_matches(matcher->regex, value);
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
