#include "base/globs.h"

#include "base/arena.h"
#include "base/fail.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define PATTERN_MAX (64 * KIB)
#define DEPTH_MAX   16         /* of groups within groups */
#define PRODUCT_MAX 4096       /* texts that (a|b)(c|d)... may multiply to; an alternation alone may have more */
#define WILD_MAX    16         /* with wildcards: each is tried, one after the other */
#define PARSE_MAX   (16 * MIB) /* bytes, while one pattern is taken apart */
#define KEPT_MAX    MIB        /* bytes of what is kept of it, as much as RE2 may take */

/* One way to match: a text; or prefix .* suffix; or prefix .* middle .* suffix. */
struct glob {
    struct str prefix; /* without stars it is the text */
    struct str middle;
    struct str suffix;
    uint32_t any_min; /* of one star: so many characters at least */
    uint8_t stars;
};

struct list {
    struct glob *items;
    size_t count, capacity;
};

struct globs {
    struct arena arena;
    struct str *texts; /* in order, each once */
    size_t text_count;
    struct glob wild[WILD_MAX];
    size_t wild_count;
};

/* ---- Lists of ways ---- */

static int list_add(struct arena *arena, struct list *list, const struct glob *glob)
{
    if (list->count == list->capacity) {
        size_t capacity = MAX(list->capacity * 2, (size_t)1);
        struct glob *items = arena_array(arena, capacity, sizeof(*items));
        if (!items) {
            return -ENOTSUP;
        }
        if (list->count > 0) {
            memcpy(items, list->items, list->count * sizeof(*items));
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *glob;
    return 0;
}

/* a and b in one piece; without either it is the other. */
static int join_texts(struct arena *arena, struct str a, struct str b, struct str *ret_text)
{
    if (a.len == 0 || b.len == 0) {
        *ret_text = a.len == 0 ? b : a;
        return 0;
    }
    char *text = arena_alloc(arena, a.len + b.len);
    if (!text) {
        return -ENOTSUP;
    }
    memcpy(text, a.ptr, a.len);
    memcpy(text + a.len, b.ptr, b.len);
    *ret_text = str_of(text, a.len + b.len);
    return 0;
}

/* One way, then another one. */
static int glob_join(struct arena *arena, const struct glob *a, const struct glob *b, struct glob *ret_glob)
{
    struct str between;
    if (join_texts(arena, a->stars ? a->suffix : a->prefix, b->prefix, &between) < 0) {
        return -ENOTSUP;
    }
    if (a->stars == 0) {
        *ret_glob = *b;
        ret_glob->prefix = between;
        return 0;
    }
    *ret_glob = *a;
    if (b->stars == 0) {
        ret_glob->suffix = between;
        return 0;
    }
    if (a->stars > 1 || b->stars > 1 || (between.len > 0 && a->any_min + b->any_min > 0)) {
        return -ENOTSUP;
    }
    ret_glob->suffix = b->suffix;
    if (between.len == 0) {
        ret_glob->any_min += b->any_min;
        return 0;
    }
    ret_glob->stars = 2;
    ret_glob->middle = between;
    return 0;
}

/* Each of left, then each of right; into left. */
static int list_join(struct arena *arena, struct list *left, const struct list *right)
{
    struct list joined = {0};
    if (left->count > 1 && right->count > 1 && left->count > PRODUCT_MAX / right->count) {
        return -ENOTSUP;
    }
    for (size_t i = 0; i < left->count; i++) {
        for (size_t j = 0; j < right->count; j++) {
            struct glob glob;
            int error = glob_join(arena, &left->items[i], &right->items[j], &glob);
            error = error ? error : list_add(arena, &joined, &glob);
            if (error) {
                return error;
            }
        }
    }
    *left = joined;
    return 0;
}

/* ---- Taking a pattern apart ---- */

struct parser {
    struct arena *arena;
    char *at, *end; /* a copy of its own, which it may change behind itself */
    unsigned depth;
};

static int peek(const struct parser *parser)
{
    return parser->at < parser->end ? (unsigned char)*parser->at : -1;
}

/* -1 at the end. */
static int take(struct parser *parser)
{
    int byte = peek(parser);
    parser->at += byte >= 0;
    return byte;
}

static bool accept(struct parser *parser, char byte)
{
    bool is = peek(parser) == (unsigned char)byte;
    parser->at += is;
    return is;
}

static bool is_repetition(int byte)
{
    return byte == '*' || byte == '+' || byte == '?' || byte == '{';
}

/* Stands for itself. Control characters and braces without a partner are left to RE2. */
static bool is_literal(int byte)
{
    return byte >= ' ' && byte != 0x7f && !strchr("\\.+*?()|[]{}^$", byte);
}

/* A run of literals, and of punctuation that is escaped, which is undone in place. */
static int parse_text(struct parser *parser, struct list *into)
{
    char *text = parser->at;
    size_t len = 0;
    for (;;) {
        int byte = peek(parser);
        if (byte == '\\' && parser->end - parser->at > 1) {
            byte = (unsigned char)*++parser->at;
            if (byte >= 0x80 || !ispunct(byte) || byte == '_') {
                return -ENOTSUP;
            }
        } else if (!is_literal(byte)) {
            break;
        }
        text[len++] = (char)byte;
        parser->at++;
    }
    return len > 0 ? list_add(parser->arena, into, &(struct glob){.prefix = str_of(text, len)}) : -ENOTSUP;
}

/* .* or .+; lazy ones take the same whole texts. */
static int parse_any(struct parser *parser, struct list *into)
{
    struct glob any = {.stars = 1};
    if (accept(parser, '+')) {
        any.any_min = 1;
    } else if (!accept(parser, '*')) {
        return -ENOTSUP;
    }
    accept(parser, '?');
    return list_add(parser->arena, into, &any);
}

static bool is_class_byte(int byte)
{
    return byte > 0 && byte < 0x80 && (isalnum(byte) || byte == '_' || byte == '.' || byte == ':');
}

/* first to last as texts of one character. */
static int add_range(struct parser *parser, int first, int last, struct list *into)
{
    for (int byte = first; byte <= last; byte++) {
        char *text = arena_alloc(parser->arena, 1);
        if (!text) {
            return -ENOTSUP;
        }
        *text = (char)byte;
        int error = list_add(parser->arena, into, &(struct glob){.prefix = str_of(text, 1)});
        if (error) {
            return error;
        }
    }
    return 0;
}

/* [0-9ab]: ASCII alone, of which nothing needs an escape. */
static int parse_class(struct parser *parser, struct list *into)
{
    while (!accept(parser, ']')) {
        int first = take(parser);
        int last = accept(parser, '-') ? take(parser) : first;
        if (!is_class_byte(first) || !is_class_byte(last) || first > last || add_range(parser, first, last, into) < 0) {
            return -ENOTSUP;
        }
    }
    return into->count > 0 ? 0 : -ENOTSUP;
}

static int parse_alternation(struct parser *parser, struct list *into);

/* Behind the opening parenthesis. */
static int parse_group(struct parser *parser, struct list *into)
{
    if (accept(parser, '?') && !accept(parser, ':')) {
        return -ENOTSUP; /* flags and names */
    }
    if (++parser->depth > DEPTH_MAX) {
        return -ENOTSUP;
    }
    int result = parse_alternation(parser, into);
    parser->depth--;
    if (result < 0 || !accept(parser, ')')) {
        return -ENOTSUP;
    }
    return accept(parser, '?') ? list_add(parser->arena, into, &(struct glob){0}) : 0;
}

static int parse_factor(struct parser *parser, struct list *into)
{
    if (accept(parser, '(')) {
        return parse_group(parser, into);
    }
    if (accept(parser, '[')) {
        return parse_class(parser, into);
    }
    return accept(parser, '.') ? parse_any(parser, into) : parse_text(parser, into);
}

static bool ends_branch(int byte)
{
    return byte < 0 || byte == '|' || byte == ')';
}

/* ^ and $ say nothing where a branch of the whole pattern begins and ends. */
static int parse_branch(struct parser *parser, struct list *into)
{
    bool outermost = parser->depth == 0;
    struct list branch = {0};
    int result = list_add(parser->arena, &branch, &(struct glob){0});
    if (outermost && accept(parser, '^') && is_repetition(peek(parser))) {
        return -ENOTSUP;
    }
    while (result == 0 && !ends_branch(peek(parser))) {
        if (outermost && accept(parser, '$')) {
            result = ends_branch(peek(parser)) ? 0 : -ENOTSUP;
            break;
        }
        struct list factor = {0};
        result = parse_factor(parser, &factor);
        if (result == 0) {
            result = is_repetition(peek(parser)) ? -ENOTSUP : list_join(parser->arena, &branch, &factor);
        }
    }
    for (size_t i = 0; i < branch.count && result == 0; i++) {
        result = list_add(parser->arena, into, &branch.items[i]);
    }
    return result;
}

static int parse_alternation(struct parser *parser, struct list *into)
{
    int result;
    do {
        result = parse_branch(parser, into);
    } while (result == 0 && accept(parser, '|'));
    return result;
}

/* ---- The whole ---- */

/* Texts first, in order. */
static int glob_order(const void *a, const void *b)
{
    const struct glob *left = a, *right = b;
    bool wild = left->stars > 0;
    if (wild != (right->stars > 0)) {
        return wild ? 1 : -1;
    }
    return str_compare(left->prefix, right->prefix);
}

/* Those without stars, in order and each once, at the front of items; returns how many. */
static size_t sort_texts(struct list *list)
{
    size_t count = 0, kept = 0;
    ASSERT(list->items); /* the empty pattern is one text */
    qsort(list->items, list->count, sizeof(*list->items), glob_order);
    while (count < list->count && list->items[count].stars == 0) {
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !str_equal(list->items[kept - 1].prefix, list->items[i].prefix)) {
            list->items[kept++] = list->items[i];
        }
    }
    memmove(list->items + kept, list->items + count, (list->count - count) * sizeof(*list->items));
    list->count -= count - kept;
    return kept;
}

static int keep_texts(struct globs *globs, const struct glob *items, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += items[i].prefix.len;
    }
    char *at = arena_alloc(&globs->arena, bytes);
    globs->texts = arena_array(&globs->arena, count, sizeof(struct str));
    if (!at || !globs->texts) {
        return -ENOTSUP;
    }
    for (size_t i = 0; i < count; i++) {
        globs->texts[i] = str_of(at, items[i].prefix.len);
        if (items[i].prefix.len > 0) {
            memcpy(at, items[i].prefix.ptr, items[i].prefix.len);
        }
        at += items[i].prefix.len;
    }
    globs->text_count = count;
    return 0;
}

static int keep_wild(struct globs *globs, const struct glob *items, size_t count)
{
    if (count > WILD_MAX) {
        return -ENOTSUP;
    }
    for (size_t i = 0; i < count; i++) {
        struct glob *wild = &globs->wild[globs->wild_count++];
        *wild = items[i];
        wild->prefix = arena_str(&globs->arena, items[i].prefix);
        wild->middle = arena_str(&globs->arena, items[i].middle);
        wild->suffix = arena_str(&globs->arena, items[i].suffix);
        if (!wild->prefix.ptr || !wild->middle.ptr || !wild->suffix.ptr) {
            return -ENOTSUP;
        }
    }
    return 0;
}

static int globs_fill(struct globs *globs, struct arena *arena, struct str pattern)
{
    struct str copy = arena_str(arena, pattern);
    char *at = (char *)(uintptr_t)copy.ptr;
    struct parser parser = {.arena = arena, .at = at, .end = at + copy.len};
    struct list list = {0};
    int result = parse_alternation(&parser, &list);
    if (result < 0 || parser.at != parser.end) {
        return -ENOTSUP;
    }
    size_t texts = sort_texts(&list);
    result = keep_texts(globs, list.items, texts);
    return result ? result : keep_wild(globs, list.items + texts, list.count - texts);
}

int globs_new(struct str pattern, struct globs **ret_globs)
{
    if (pattern.len > PATTERN_MAX || !str_is_utf8(pattern)) {
        return -ENOTSUP;
    }
    CLEANUP(globs_freep) struct globs *globs = mem_zalloc(sizeof(*globs));
    CLEANUP(arena_done) struct arena parsing;
    arena_init(&parsing, PARSE_MAX);
    arena_init(&globs->arena, KEPT_MAX);
    int result = globs_fill(globs, &parsing, pattern);
    if (result == 0) {
        *ret_globs = STEAL(globs);
    }
    return result;
}

void globs_free(struct globs *globs)
{
    if (!globs) {
        return;
    }
    arena_done(&globs->arena);
    mem_free(globs);
}

bool globs_is_plain(struct str text)
{
    bool odd = false;
    ASSERT(text.ptr || text.len == 0);
    for (size_t i = 0; i < text.len; i++) {
        odd |= (unsigned char)text.ptr[i] >= 0x80 || text.ptr[i] == '\n';
    }
    return !odd;
}

static enum globs_answer glob_match(const struct glob *glob, struct str text)
{
    size_t fixed = glob->prefix.len + glob->suffix.len;
    if (text.len < fixed || !str_starts_with(text, glob->prefix) || !str_ends_with(text, glob->suffix)) {
        return GLOBS_NO;
    }
    struct str rest = str_of(text.ptr ? text.ptr + glob->prefix.len : NULL, text.len - fixed);
    if (rest.len < glob->any_min) {
        return GLOBS_NO;
    }
    if (glob->stars == 2 && (!rest.ptr || !memmem(rest.ptr, rest.len, glob->middle.ptr, glob->middle.len))) {
        return GLOBS_NO;
    }
    return globs_is_plain(rest) ? GLOBS_YES : GLOBS_ASK;
}

static bool has_text(const struct globs *globs, struct str text)
{
    size_t low = 0, high = globs->text_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(globs->texts[middle], text);
        if (order == 0) {
            return true;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return false;
}

enum globs_answer globs_match(const struct globs *globs, struct str text)
{
    if (has_text(globs, text)) {
        return GLOBS_YES;
    }
    enum globs_answer answer = GLOBS_NO;
    for (size_t i = 0; i < globs->wild_count && answer != GLOBS_YES; i++) {
        enum globs_answer one = glob_match(&globs->wild[i], text);
        answer = one == GLOBS_NO ? answer : one;
    }
    return answer;
}

const struct str *globs_texts(const struct globs *globs, size_t *ret_count)
{
    if (globs->wild_count > 0) {
        return NULL;
    }
    *ret_count = globs->text_count;
    return globs->texts;
}

bool globs_take_all(const struct globs *globs)
{
    const struct glob *glob = &globs->wild[0];
    return globs->text_count == 0 && globs->wild_count == 1 && glob->stars == 1 && glob->any_min <= 1 &&
           glob->prefix.len + glob->suffix.len == 0;
}

void globs_bounds(const struct globs *globs, struct str *ret_min, struct str *ret_max)
{
    bool any = globs->text_count > 0;
    struct str min = any ? globs->texts[0] : STR_NULL;
    struct str max = any ? globs->texts[globs->text_count - 1] : STR_NULL;
    for (size_t i = 0; i < globs->wild_count; i++) {
        struct str prefix = globs->wild[i].prefix;
        min = any && str_compare(min, prefix) <= 0 ? min : prefix;
        /* What begins with max is within: of two, one the beginning of the other, the shorter reaches further. */
        bool further =
            !any || (str_compare(max, prefix) < 0 ? !str_starts_with(prefix, max) : str_starts_with(max, prefix));
        max = further ? prefix : max;
        any = true;
    }
    *ret_min = min;
    *ret_max = max;
}

size_t globs_bytes(const struct globs *globs)
{
    return sizeof(*globs) + globs->arena.used_bytes;
}
