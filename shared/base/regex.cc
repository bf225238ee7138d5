// C++ for RE2 alone, behind the functions of base/regex.h. RE2 throws nothing of its own; without memory nobody
// catches std::bad_alloc and the process ends, as it does by fatal() elsewhere.
#include "base/regex.h"

#include <cerrno>
#include <cstdio>
#include <re2/re2.h>

// A pattern that needs more than REGEX_BYTES_MAX is refused; a text that needs more states is matched without the
// cache, in the same linear time.

static const int BOUND_BYTES = 64; // of the least and the greatest text; longer ones tell hardly more

struct regex {
    regex(const re2::StringPiece &pattern, const RE2::Options &options) : compiled(pattern, options)
    {
        if (!compiled.ok() || !compiled.PossibleMatchRange(&min, &max, BOUND_BYTES)) {
            min.clear();
            max.clear();
        }
    }
    RE2 compiled;
    std::string min, max; // both empty: any text may match
};

// An empty view must not be NULL: RE2 could not tell "matched nothing" from "did not match".
static re2::StringPiece piece_of(struct str text)
{
    return re2::StringPiece(text.ptr ? text.ptr : "", text.len);
}

extern "C" int regex_new(struct str pattern, char ret_error[256], struct regex **ret_regex)
{
    if (pattern.len > REGEX_PATTERN_BYTES_MAX) {
        snprintf(ret_error, 256, "pattern of %zu bytes is longer than %d", pattern.len, REGEX_PATTERN_BYTES_MAX);
        return -EINVAL;
    }
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(REGEX_BYTES_MAX);
    struct regex *made = new regex(piece_of(pattern), options);
    if (!made->compiled.ok()) {
        snprintf(ret_error, 256, "%s", made->compiled.error().c_str());
        delete made;
        return -EINVAL;
    }
    *ret_regex = made;
    return 0;
}

extern "C" void regex_free(struct regex *regex)
{
    delete regex;
}

extern "C" struct str regex_pattern(const struct regex *regex)
{
    return str_of(regex->compiled.pattern().data(), regex->compiled.pattern().size());
}

extern "C" bool regex_matches(const struct regex *regex, struct str text)
{
    return regex->compiled.Match(piece_of(text), 0, text.len, RE2::ANCHOR_BOTH, nullptr, 0);
}

extern "C" void regex_bounds(const struct regex *regex, struct str *ret_min, struct str *ret_max)
{
    *ret_min = str_of(regex->min.data(), regex->min.size());
    *ret_max = str_of(regex->max.data(), regex->max.size());
}

extern "C" bool regex_groups(const struct regex *regex, struct str text, struct str ret_groups[REGEX_GROUPS_MAX],
                             size_t *ret_count)
{
    re2::StringPiece groups[REGEX_GROUPS_MAX];
    int count = MIN(regex->compiled.NumberOfCapturingGroups() + 1, REGEX_GROUPS_MAX);
    if (!regex->compiled.Match(piece_of(text), 0, text.len, RE2::ANCHOR_BOTH, groups, count)) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        ret_groups[i] = str_of(groups[i].data(), groups[i].size());
    }
    *ret_count = (size_t)count;
    return true;
}

extern "C" int regex_group_index(const struct regex *regex, struct str name)
{
    const auto &groups = regex->compiled.NamedCapturingGroups();
    const auto found = groups.find(std::string(name.ptr ? name.ptr : "", name.len));
    return found == groups.end() ? -ENOENT : found->second;
}
