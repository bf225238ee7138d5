/* A pattern, a newline that is not part of it, a text: what globs says of them RE2 says too; all that matches lies
 * within the bounds of both. */
#include "base/fail.h"
#include "base/globs.h"
#include "base/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_bounds(struct str min, struct str max, struct str text)
{
    ASSERT(str_compare(text, min) >= 0);
    ASSERT(str_compare(str_of(text.ptr, MIN(text.len, max.len)), max) <= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = str_of(data, size);
    struct str pattern = str_of(all.ptr, str_find(all, '\n'));
    size_t behind = MIN(pattern.len + 1, size);
    struct str text = str_of(all.ptr + behind, size - behind);
    CLEANUP(globs_freep) struct globs *globs = NULL;
    CLEANUP(regex_freep) struct regex *regex = NULL;
    struct str min, max;
    char error[256];
    bool is_glob = globs_new(pattern, &globs) == 0;
    if (regex_new(pattern, error, &regex) < 0) {
        size_t count; /* texts alone may be more than RE2 would take; nothing else may be what it refuses */
        ASSERT(!is_glob || (size > 4 * KIB && globs_texts(globs, &count)));
        return 0;
    }
    bool matches = regex_matches(regex, text);
    regex_bounds(regex, &min, &max);
    if (matches)
        check_bounds(min, max, text);
    if (!is_glob)
        return 0;
    enum globs_answer answer = globs_match(globs, text);
    ASSERT(answer == GLOBS_ASK || (answer == GLOBS_YES) == matches);
    globs_bounds(globs, &min, &max);
    if (matches)
        check_bounds(min, max, text);
    return 0;
}
