#include "metric/relabel.h"
#include "base/fail.h"
#include "base/md5.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <wctype.h>

/* Literals and groups of one replacement text. More is no replacement that anybody means. */
#define EXPANSION_PARTS_MAX 64
/* Labels that one rule joins; a set has no more. */
#define SOURCES_MAX LABELS_MAX

const char *const relabel_action_names[] = {"replace",  "keep",      "drop",      "keepequal", "dropequal", "hashmod",
                                            "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase", NULL};

/* A replacement taken apart once, by the rules of Go's Regexp.Expand: "a${1}b" is 'a', group 1, 'b'. */
struct expansion_part {
    struct str literal;
    int group; /* -1: the literal */
};

struct expansion {
    struct expansion_part *parts;
    size_t count;
};

struct rule {
    enum relabel_action action;
    struct str *sources;
    size_t source_count;
    struct str separator;
    struct str target;
    struct regex *regex;
    struct expansion replacement;
    struct expansion target_expansion; /* of replace, whose target label may name groups too */
    uint64_t modulus;
};

struct relabel {
    locale_t letters; /* C.UTF-8: what a letter is, its upper and lower case; 0 where a system has none: ASCII then */
    size_t count;
    struct rule *rules;
};

/* ---- Expansions ---- */

static bool is_letter(const struct relabel *relabel, uint32_t rune)
{
    if (rune < 0x80)
        return (rune >= 'a' && rune <= 'z') || (rune >= 'A' && rune <= 'Z');
    return relabel->letters && iswalpha_l((wint_t)rune, relabel->letters);
}

static bool is_digit(uint32_t rune)
{
    return rune >= '0' && rune <= '9';
}

/* Bytes of the group's name at the beginning: letters, digits, _. */
static size_t name_bytes(const struct relabel *relabel, struct str text)
{
    size_t at = 0;
    while (at < text.len) {
        uint32_t rune = 0;
        size_t len = utf8_decode(text, at, &rune);
        if (len == 0 || !(is_letter(relabel, rune) || is_digit(rune) || rune == '_'))
            break;
        at += len;
    }
    return at;
}

/* Index of the group called `name`, -ENOENT when there is none (it expands to nothing). */
static int group_of(const struct regex *regex, struct str name)
{
    int number = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (!is_digit((uint8_t)name.ptr[i]) || number >= 100000000 || (name.ptr[0] == '0' && name.len > 1))
            return regex_group_index(regex, name);
        number = number * 10 + (name.ptr[i] - '0');
    }
    return number;
}

/* Takes `text`, which stands behind a $, as the name of a group. Returns how many bytes, 0 when it is none. */
static size_t read_group(const struct relabel *relabel, struct str text, struct str *ret_name)
{
    bool brace = text.len > 0 && text.ptr[0] == '{';
    struct str name = str_of(text.ptr + brace, text.len - brace);
    name.len = name_bytes(relabel, name);
    size_t used = name.len + brace;
    if (name.len == 0 || (brace && (used == text.len || text.ptr[used] != '}')))
        return 0;
    *ret_name = name;
    return used + brace;
}

static int expansion_init(struct expansion *expansion, const struct relabel *relabel, const struct regex *regex,
                          struct str text)
{
    struct expansion_part parts[EXPANSION_PARTS_MAX];
    size_t count = 0;
    while (text.len > 0) {
        if (count + 2 > EXPANSION_PARTS_MAX)
            return -E2BIG;
        struct str literal = str_of(text.ptr, str_find(text, '$'));
        struct str rest = str_of(text.ptr + literal.len, text.len - literal.len);
        struct str name = STR_NULL;
        if (rest.len > 0) {
            struct str behind = str_of(rest.ptr + 1, rest.len - 1);
            size_t used = read_group(relabel, behind, &name);
            bool doubled = behind.len > 0 && behind.ptr[0] == '$';
            literal.len += used == 0; /* the $ itself: of $$, or one that names nothing */
            rest = str_of(behind.ptr + used + doubled, behind.len - used - doubled);
        }
        if (literal.len > 0)
            parts[count++] = (struct expansion_part){literal, -1};
        int group = name.len > 0 ? group_of(regex, name) : -ENOENT;
        if (group >= REGEX_GROUPS_MAX)
            return -ERANGE;
        if (group >= 0)
            parts[count++] = (struct expansion_part){STR_NULL, group};
        text = rest;
    }
    expansion->parts = mem_array(count, sizeof(*expansion->parts));
    if (count > 0)
        memcpy(expansion->parts, parts, count * sizeof(*parts));
    expansion->count = count;
    return 0;
}

static struct str part_text(const struct expansion_part *part, const struct str *groups, size_t group_count)
{
    if (part->group < 0)
        return part->literal;
    return (size_t)part->group < group_count ? groups[part->group] : STR_NULL;
}

/* False when the arena is full. A single part is not copied. */
static bool expand(const struct expansion *expansion, const struct str *groups, size_t group_count, struct arena *arena,
                   struct str *ret_text)
{
    if (expansion->count <= 1) {
        *ret_text = expansion->count == 1 ? part_text(&expansion->parts[0], groups, group_count) : STR_NULL;
        return true;
    }
    size_t len = 0;
    for (size_t i = 0; i < expansion->count; i++)
        len += part_text(&expansion->parts[i], groups, group_count).len;
    char *text = arena_alloc(arena, len);
    if (!text)
        return false;
    *ret_text = str_of(text, len);
    for (size_t i = 0; i < expansion->count; i++) {
        struct str part = part_text(&expansion->parts[i], groups, group_count);
        if (part.len > 0)
            memcpy(text, part.ptr, part.len);
        text += part.len;
    }
    return true;
}

/* ---- Compiling ---- */

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit((uint8_t)c) || c == '_';
}

/* ^(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+$ : a label name that may have $1, ${1}, ${name} in it. */
static bool is_target_pattern(struct str text)
{
    for (size_t at = 0; at < text.len;) {
        if (text.ptr[at] != '$') {
            if (!is_word(text.ptr[at]) || (at == 0 && is_digit((uint8_t)text.ptr[at])))
                return false;
            at++;
            continue;
        }
        bool brace = ++at < text.len && text.ptr[at] == '{';
        at += brace;
        size_t start = at;
        while (at < text.len && is_word(text.ptr[at]))
            at++;
        if (at == start || (brace && (at == text.len || text.ptr[at] != '}')))
            return false;
        at += brace;
    }
    return text.len > 0;
}

/* A configuration with the defaults in place of what was not written. */
struct filled {
    struct str separator, regex, replacement, target;
};

static struct filled fill(const struct relabel_config *config)
{
    return (struct filled){
        .separator = config->separator ? str_from(config->separator) : STR(RELABEL_SEPARATOR),
        .regex = config->regex ? str_from(config->regex) : STR(RELABEL_REGEX),
        .replacement = config->replacement ? str_from(config->replacement) : STR(RELABEL_REPLACEMENT),
        .target = str_from(config->target_label),
    };
}

/* What Prometheus 2.42 checks of one rule (relabel.go, UnmarshalYAML). NULL, or what is wrong. */
static const char *check_config(const struct relabel_config *config, const struct filled *filled)
{
    bool plain_separator = str_equal(filled->separator, STR(RELABEL_SEPARATOR));
    bool plain_regex = str_equal(filled->regex, STR(RELABEL_REGEX));
    bool plain_replacement = str_equal(filled->replacement, STR(RELABEL_REPLACEMENT));
    if (config->modulus < 0)
        return "modulus: must not be negative";
    switch ((enum relabel_action)config->action) {
    case RELABEL_KEEP:
    case RELABEL_DROP:
        return NULL;
    case RELABEL_LABELMAP:
        return is_target_pattern(filled->replacement) ? NULL : "replacement: must make a label name";
    case RELABEL_LABELDROP:
    case RELABEL_LABELKEEP:
        if (config->source_label_count > 0 || filled->target.len > 0 || config->modulus != 0 || !plain_separator ||
            !plain_replacement)
            return "action: needs only regex, and no other field";
        return NULL;
    case RELABEL_HASHMOD:
        if (config->modulus == 0)
            return "modulus: required, and not zero";
        if (filled->target.len == 0)
            return "target_label: required";
        return label_name_is_valid(filled->target) ? NULL : "target_label: not a label name";
    case RELABEL_KEEPEQUAL:
    case RELABEL_DROPEQUAL:
        if (!plain_separator || !plain_regex || !plain_replacement || config->modulus != 0)
            return "action: needs only source_labels and target_label, and no other field";
        break;
    case RELABEL_LOWERCASE:
    case RELABEL_UPPERCASE:
        if (!plain_replacement)
            return "replacement: has no meaning with this action";
        break;
    case RELABEL_REPLACE:
        break;
    default:
        return "action: unknown";
    }
    if (filled->target.len == 0)
        return "target_label: required";
    return is_target_pattern(filled->target) ? NULL : "target_label: not a label name";
}

static const char *expansion_error(int result)
{
    return result == -ERANGE ? "groups past 15 are not kept" : "too many groups in one text";
}

static int fail(char ret_error[static 256], const char *action, const char *text)
{
    snprintf(ret_error, 256, "%s: %s", action, text);
    return -EINVAL;
}

static int rule_init(struct rule *rule, const struct relabel *relabel, const struct relabel_config *config,
                     char ret_error[static 256])
{
    struct filled filled = fill(config);
    const char *wrong = check_config(config, &filled);
    bool known = config->action >= RELABEL_REPLACE && config->action <= RELABEL_UPPERCASE;
    const char *action = known ? relabel_action_names[config->action] : "relabel_config";
    if (!wrong && config->source_label_count > SOURCES_MAX)
        wrong = "source_labels: too many";
    if (wrong)
        return fail(ret_error, action, wrong);

    rule->action = (enum relabel_action)config->action;
    rule->separator = filled.separator;
    rule->target = filled.target;
    rule->modulus = (uint64_t)config->modulus;
    char message[256] = "";
    int result = regex_new(filled.regex, message, &rule->regex);
    if (result < 0) {
        snprintf(ret_error, 256, "regex: %.240s", message);
        return result;
    }
    result = expansion_init(&rule->replacement, relabel, rule->regex, filled.replacement);
    if (result == 0)
        result = expansion_init(&rule->target_expansion, relabel, rule->regex, filled.target);
    if (result < 0)
        return fail(ret_error, action, expansion_error(result));

    rule->sources = mem_array(config->source_label_count, sizeof(*rule->sources));
    rule->source_count = config->source_label_count;
    for (size_t i = 0; i < rule->source_count; i++) {
        rule->sources[i] = str_from(config->source_labels[i]);
        if (!label_name_is_valid(rule->sources[i]))
            return fail(ret_error, action, "source_labels: not a label name");
    }
    return 0;
}

int relabel_new(const struct relabel_config *configs, size_t count, char ret_error[static 256], size_t *ret_index,
                struct relabel **ret_relabel)
{
    CLEANUP(relabel_freep) struct relabel *relabel = mem_zalloc(sizeof(*relabel));
    relabel->letters = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    relabel->rules = mem_array(count, sizeof(*relabel->rules));
    relabel->count = count;
    for (size_t i = 0; i < count; i++) {
        int result = rule_init(&relabel->rules[i], relabel, &configs[i], ret_error);
        if (result < 0) {
            *ret_index = i;
            return result;
        }
    }
    *ret_relabel = STEAL(relabel);
    return 0;
}

void relabel_free(struct relabel *relabel)
{
    if (!relabel)
        return;
    for (size_t i = 0; i < relabel->count; i++) {
        struct rule *rule = &relabel->rules[i];
        regex_free(rule->regex);
        mem_free(rule->sources);
        mem_free(rule->replacement.parts);
        mem_free(rule->target_expansion.parts);
    }
    if (relabel->letters)
        freelocale(relabel->letters);
    mem_free(relabel->rules);
    mem_free(relabel);
}

size_t relabel_count(const struct relabel *relabel)
{
    return relabel->count;
}

/* ---- Applying: each step is false when the arena is full ---- */

static bool join_sources(const struct rule *rule, const struct labels_builder *builder, struct arena *arena,
                         struct str *ret_text)
{
    struct str values[SOURCES_MAX];
    size_t len = 0;
    for (size_t i = 0; i < rule->source_count; i++) {
        values[i] = labels_builder_get(builder, rule->sources[i]);
        len += values[i].len + (i > 0 ? rule->separator.len : 0);
    }
    if (rule->source_count <= 1) {
        *ret_text = rule->source_count == 1 ? values[0] : STR_NULL;
        return true;
    }
    char *text = arena_alloc(arena, len);
    if (!text)
        return false;
    *ret_text = str_of(text, len);
    for (size_t i = 0; i < rule->source_count; i++) {
        if (i > 0 && rule->separator.len > 0)
            text = mempcpy(text, rule->separator.ptr, rule->separator.len);
        if (values[i].len > 0)
            text = mempcpy(text, values[i].ptr, values[i].len);
    }
    return true;
}

static bool apply_replace(const struct rule *rule, struct labels_builder *builder, struct str text, struct arena *arena)
{
    struct str groups[REGEX_GROUPS_MAX];
    size_t group_count = 0;
    if (!regex_groups(rule->regex, text, groups, &group_count))
        return true;
    struct str target = STR_NULL;
    struct str value = STR_NULL;
    if (!expand(&rule->target_expansion, groups, group_count, arena, &target) ||
        !expand(&rule->replacement, groups, group_count, arena, &value))
        return false;
    if (value.len == 0)
        labels_builder_delete(builder, rule->target); /* as it is written: Prometheus expands no groups here */
    else if (label_name_is_valid(target))
        labels_builder_set(builder, target, value);
    return true;
}

static bool apply_case(const struct relabel *relabel, const struct rule *rule, struct labels_builder *builder,
                       struct str text, struct arena *arena)
{
    bool upper = rule->action == RELABEL_UPPERCASE;
    /* No letter of C.UTF-8 takes more than three bytes where its other case takes one. */
    char *changed = arena_alloc(arena, text.len * 3);
    if (!changed)
        return false;
    size_t len = 0;
    for (size_t at = 0; at < text.len;) {
        uint32_t rune = 0;
        size_t used = utf8_decode(text, at, &rune);
        if (used == 0) {
            changed[len++] = text.ptr[at++];
            continue;
        }
        if (rune < 0x80 && !upper && rune >= 'A' && rune <= 'Z')
            rune += 'a' - 'A';
        else if (rune < 0x80 && upper && rune >= 'a' && rune <= 'z')
            rune -= 'a' - 'A';
        else if (rune >= 0x80 && relabel->letters)
            rune = upper ? towupper_l((wint_t)rune, relabel->letters) : towlower_l((wint_t)rune, relabel->letters);
        len += utf8_encode(rune, changed + len);
        at += used;
    }
    if (label_name_is_valid(rule->target))
        labels_builder_set(builder, rule->target, str_of(changed, len));
    return true;
}

static bool apply_hashmod(const struct rule *rule, struct labels_builder *builder, struct str text, struct arena *arena)
{
    uint8_t digest[16];
    md5_of(text, digest);
    uint64_t hash = 0;
    for (size_t i = 8; i < 16; i++)
        hash = hash << 8 | digest[i];
    const char *number = arena_printf(arena, "%" PRIu64, hash % rule->modulus);
    if (!number)
        return false;
    labels_builder_set(builder, rule->target, str_from(number));
    return true;
}

static bool apply_labelmap(const struct rule *rule, struct labels_builder *builder, struct arena *arena)
{
    /* Over the labels as they are before the rule; of two that get one name the later by its own name stays. */
    struct label few[LABELS_MAX];
    size_t count = builder->count;
    struct label *before = count <= LABELS_MAX ? few : arena_alloc(arena, count * sizeof(*before));
    if (!before)
        return false;
    memcpy(before, builder->items, count * sizeof(*before));
    for (size_t i = 0; i < count; i++) {
        struct str groups[REGEX_GROUPS_MAX];
        size_t group_count = 0;
        if (!regex_groups(rule->regex, before[i].name, groups, &group_count))
            continue;
        struct str name = STR_NULL;
        if (!expand(&rule->replacement, groups, group_count, arena, &name))
            return false;
        if (label_name_is_valid(name))
            labels_builder_set(builder, name, before[i].value);
    }
    return true;
}

static void apply_label_filter(const struct rule *rule, struct labels_builder *builder)
{
    bool drop = rule->action == RELABEL_LABELDROP;
    size_t kept = 0;
    for (size_t i = 0; i < builder->count; i++)
        if (regex_matches(rule->regex, builder->items[i].name) != drop)
            builder->items[kept++] = builder->items[i];
    builder->count = kept;
}

/* Does what the rule does; *ret_keep is false when it drops. False when the arena is full. */
static bool apply_rule(const struct relabel *relabel, const struct rule *rule, struct labels_builder *builder,
                       struct arena *arena, bool *ret_keep)
{
    struct str text = STR_NULL;
    if (!join_sources(rule, builder, arena, &text))
        return false;
    switch (rule->action) {
    case RELABEL_REPLACE:
        return apply_replace(rule, builder, text, arena);
    case RELABEL_KEEP:
    case RELABEL_DROP:
        *ret_keep = regex_matches(rule->regex, text) == (rule->action == RELABEL_KEEP);
        return true;
    case RELABEL_KEEPEQUAL:
    case RELABEL_DROPEQUAL:
        *ret_keep = str_equal(labels_builder_get(builder, rule->target), text) == (rule->action == RELABEL_KEEPEQUAL);
        return true;
    case RELABEL_HASHMOD:
        return apply_hashmod(rule, builder, text, arena);
    case RELABEL_LABELMAP:
        return apply_labelmap(rule, builder, arena);
    case RELABEL_LABELDROP:
    case RELABEL_LABELKEEP:
        apply_label_filter(rule, builder);
        return true;
    case RELABEL_LOWERCASE:
    case RELABEL_UPPERCASE:
        return apply_case(relabel, rule, builder, text, arena);
    }
    bug(__FILE__, __LINE__, "relabel action");
}

bool relabel_apply_rule(const struct relabel *relabel, size_t index, struct labels_builder *builder,
                        struct arena *arena)
{
    bool keep = true;
    ASSERT(index < relabel->count);
    if (!apply_rule(relabel, &relabel->rules[index], builder, arena, &keep))
        builder->overflow = true;
    return keep;
}

bool relabel_apply(const struct relabel *relabel, struct labels_builder *builder, struct arena *arena, size_t *ret_rule)
{
    for (size_t i = 0; i < relabel->count && !builder->overflow; i++) {
        if (relabel_apply_rule(relabel, i, builder, arena))
            continue;
        if (ret_rule)
            *ret_rule = i;
        return false;
    }
    return true;
}
