/* The slow road of the page cache: a body whose page is not the target's last one. */
#include "base/arena.h"
#include "base/fail.h"
#include "base/limits.h"
#include "page_plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Text made while a page is relabelled; past it the scrape fails by label limit. */
#define PARSE_ARENA_BYTES_MAX (256 * MIB)

/* A page in the making. */
struct draft {
    const struct pipeline_job *job;
    const struct labels *target;
    struct arena arena;
    struct page_plan plan;
    struct scrape_report *report;
};

/* What pass one reads: lines, and their values by line. */
struct reading {
    struct page_text text;
    uint64_t metadata; /* hash of all TYPE and HELP lines: pages that differ in them are not the same */
    uint32_t line_capacity;
    double *values;
    int64_t *times; /* INT64_MIN: none */
};

static void reading_done(struct reading *reading)
{
    buf_done(&reading->text.text);
    mem_free(reading->text.lines);
    mem_free(reading->values);
    mem_free(reading->times);
}

static enum scrape_failure fail_with(struct scrape_report *report, enum scrape_failure failure, uint32_t line,
                                     const char *text)
{
    report->failure = failure;
    if (line > 0)
        snprintf(report->reason, sizeof(report->reason), "line %u: %s", line, text);
    else
        snprintf(report->reason, sizeof(report->reason), "%s", text);
    return failure;
}

static void add_line(struct reading *reading, const struct exposition *exposition, bool honor_timestamps)
{
    struct page_text *text = &reading->text;
    if (text->line_count == reading->line_capacity) {
        reading->line_capacity = MAX(2 * reading->line_capacity, 256U);
        text->lines = mem_resize(text->lines, reading->line_capacity, sizeof(*text->lines));
        reading->values = mem_resize(reading->values, reading->line_capacity, sizeof(*reading->values));
        reading->times = mem_resize(reading->times, reading->line_capacity, sizeof(*reading->times));
    }
    text->lines[text->line_count] = (struct page_line){
        .text_offset = (uint32_t)text->text.len, .text_len = (uint32_t)exposition->series.len, .slot = PAGE_SLOT_NONE};
    buf_append_str(&text->text, exposition->series);
    buf_append_byte(&text->text, '\n'); /* so that equal texts have equal lines: quotes tell other newlines apart */
    reading->values[text->line_count] = exposition->value;
    bool timed = honor_timestamps && exposition->has_time;
    reading->times[text->line_count++] = timed ? exposition->time_ms : INT64_MIN;
}

static void add_metadata(struct reading *reading, const struct exposition *exposition, enum exposition_event event)
{
    uint64_t seed = hash64(exposition->name.ptr, exposition->name.len, reading->metadata);
    if (event == EXPOSITION_TYPE)
        reading->metadata = hash64(&exposition->type, sizeof(exposition->type), seed);
    else
        reading->metadata = hash64(exposition->text.ptr, exposition->text.len, seed);
}

/* The job's limits are checked when the page is made; here only what no page may have. */
static const struct exposition_limits hard_limits = {
    .labels_max = LABELS_MAX - 1, .name_bytes_max = UINT32_MAX, .value_bytes_max = UINT32_MAX};

static enum scrape_failure read_lines(const struct pipeline_job *job, struct str body, struct reading *reading,
                                      struct scrape_report *report)
{
    CLEANUP(exposition_done) struct exposition exposition;
    exposition_init(&exposition, body, hard_limits);
    buf_init(&reading->text.text, UINT32_MAX);
    /* Rules may drop samples, so only without them is the line count the answer already. */
    uint64_t lines_max = job->metric_relabel ? SCRAPE_SAMPLES_MAX : job->sample_limit;
    for (;;) {
        enum exposition_event event = exposition_next(&exposition);
        if (event == EXPOSITION_END)
            return SCRAPE_OK;
        if (event == EXPOSITION_ERROR)
            return fail_with(report, SCRAPE_PARSE, exposition.line, exposition.error);
        if (event == EXPOSITION_TYPE || event == EXPOSITION_HELP)
            add_metadata(reading, &exposition, event);
        if (event != EXPOSITION_SAMPLE)
            continue;
        add_line(reading, &exposition, job->honor_timestamps);
        if (reading->text.line_count > lines_max)
            return fail_with(report, SCRAPE_SAMPLE_LIMIT, exposition.line, "more samples than sample_limit");
    }
}

/* ---- Pass two: the page of these lines ---- */

static struct str without_suffix(struct str name, const char *suffix)
{
    struct str end = str_from(suffix);
    return str_ends_with(name, end) ? str_of(name.ptr, name.len - end.len) : STR_NULL;
}

/* The family a sample belongs to: x_bucket, x_sum and x_count to a histogram or summary x that was declared. */
static struct plan_family *family_of(struct draft *draft, struct str name)
{
    struct plan_family *family = page_plan_find(&draft->plan, name);
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes) && !family; i++) {
        struct str base = without_suffix(name, suffixes[i]);
        struct plan_family *found = base.len > 0 ? page_plan_find(&draft->plan, base) : NULL;
        if (found && (found->type == METRIC_HISTOGRAM || (found->type == METRIC_SUMMARY && i > 0)))
            family = found;
    }
    return family ? family : page_plan_family(&draft->plan, name);
}

static bool has_name(const struct label *labels, uint32_t count, struct str name)
{
    for (uint32_t i = 0; i < count; i++)
        if (str_equal(labels[i].name, name))
            return true;
    return false;
}

/* A scraped label that the target has too becomes exported_<name>, as often as it takes. `settled` are the labels that
 * have their names already. */
static struct str exported_name(struct draft *draft, const struct exposition *exposition, const struct label *settled,
                                uint32_t settled_count, struct str name)
{
    do {
        char *longer = arena_printf(&draft->arena, "exported_" STR_FMT, STR_ARG(name));
        name = str_from(longer);
    } while (name.ptr && name.len < SCRAPE_LABEL_NAME_BYTES_MAX &&
             (labels_get(draft->target, name).ptr || has_name(exposition->labels, exposition->label_count, name) ||
              has_name(settled, settled_count, name)));
    return name;
}

/* Sorts by the length of the name, which is the order in which Prometheus gives them new ones; few, nearly sorted. */
static void sort_by_length(struct label *labels, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct label label = labels[i];
        uint32_t at = i;
        for (; at > 0 && labels[at - 1].name.len > label.name.len; at--)
            labels[at] = labels[at - 1];
        labels[at] = label;
    }
}

/* The sample's own labels with conflicts settled, the name first. */
static bool own_labels(struct draft *draft, const struct exposition *exposition, struct label *ret_labels,
                       uint32_t *ret_count)
{
    struct label conflicts[LABELS_MAX];
    uint32_t count = 0, conflict_count = 0;
    ret_labels[count++] = (struct label){STR(LABEL_NAME), exposition->name};
    for (uint32_t i = 0; i < exposition->label_count; i++) {
        struct label label = exposition->labels[i];
        bool conflict = labels_get(draft->target, label.name).ptr != NULL;
        /* An empty value is no label, but where scraped labels win it deletes the target's. */
        if (label.value.len == 0 && !(draft->job->honor_labels && conflict))
            continue;
        if (conflict && !draft->job->honor_labels)
            conflicts[conflict_count++] = label;
        else
            ret_labels[count++] = label;
    }
    sort_by_length(conflicts, conflict_count);
    for (uint32_t i = 0; i < conflict_count; i++) {
        conflicts[i].name = exported_name(draft, exposition, ret_labels, count, conflicts[i].name);
        if (!conflicts[i].name.ptr)
            return false;
        ret_labels[count++] = conflicts[i];
    }
    *ret_count = count;
    return true;
}

/* After metric_relabel_configs: what the slot must say so that the target's labels and it give the result. 0: dropped
 * by a rule, -EMSGSIZE: the rules made too much. */
static int relabelled(struct draft *draft, struct label *labels, uint32_t *count)
{
    static const struct str gone = {"", 0};
    struct labels_builder builder;
    labels_builder_init(&builder, draft->target);
    for (uint32_t i = 0; i < *count; i++)
        labels_builder_set(&builder, labels[i].name, labels[i].value);
    bool kept_by_rules = relabel_apply(draft->job->metric_relabel, &builder, &draft->arena, NULL);
    if (builder.overflow)
        return -EMSGSIZE;
    if (!kept_by_rules || labels_builder_get(&builder, STR(LABEL_NAME)).len == 0)
        return 0;
    uint32_t kept = 0;
    for (size_t i = 0; i < builder.count && kept < LABELS_MAX; i++)
        if (!str_equal(labels_get(draft->target, builder.items[i].name), builder.items[i].value))
            labels[kept++] = builder.items[i];
    for (size_t i = 0; i < labels_count(draft->target) && kept < LABELS_MAX; i++) {
        struct str name = labels_at(draft->target, i).name;
        if (labels_builder_get(&builder, name).len == 0)
            labels[kept++] = (struct label){name, gone};
    }
    *count = kept;
    return 1;
}

static const char *limit_passed(const struct draft *draft, const struct label *labels, uint32_t count)
{
    const struct pipeline_job *job = draft->job;
    size_t total = labels_count(draft->target);
    for (uint32_t i = 0; i < count; i++) {
        if (labels[i].name.len > job->label_name_bytes_max)
            return "a label name is longer than label_name_length_limit";
        if (labels[i].value.len > job->label_value_bytes_max)
            return "a label value is longer than label_value_length_limit";
        bool of_target = labels_get(draft->target, labels[i].name).ptr != NULL;
        if (labels[i].value.len == 0)
            total -= of_target; /* deleted */
        else
            total += !of_target;
    }
    return total > job->label_limit || total > LABELS_MAX ? "a series has more labels than label_limit" : NULL;
}

static bool add_series(struct draft *draft, const struct label *labels, uint32_t count, struct plan_place *ret_place)
{
    struct str name = STR_NULL;
    for (uint32_t i = 0; i < count; i++)
        if (str_equal(labels[i].name, STR(LABEL_NAME)))
            name = labels[i].value;
    struct plan_family *family = family_of(draft, name);
    return family && page_plan_add(&draft->plan, family, labels, count, ret_place);
}

static enum scrape_failure draft_sample(struct draft *draft, const struct exposition *exposition,
                                        struct plan_place *ret_place)
{
    struct label labels[LABELS_MAX];
    uint32_t count = 0;
    ret_place->index = PAGE_SLOT_NONE;
    const char *limit = "the page's labels take too much memory";
    if (!own_labels(draft, exposition, labels, &count))
        return fail_with(draft->report, SCRAPE_LABEL_LIMIT, exposition->line, limit);
    int kept = draft->job->metric_relabel ? relabelled(draft, labels, &count) : 1;
    if (kept == 0)
        return SCRAPE_OK;
    limit = kept < 0 ? "the rules make more labels than a series can have" : limit_passed(draft, labels, count);
    if (limit)
        return fail_with(draft->report, SCRAPE_LABEL_LIMIT, exposition->line, limit);
    if (draft->plan.kept + draft->plan.dropped >= draft->job->sample_limit)
        return fail_with(draft->report, SCRAPE_SAMPLE_LIMIT, exposition->line, "more samples than sample_limit");
    /* Relabelling may leave the name to the target's labels only in theory; it is always among these. */
    if (!add_series(draft, labels, count, ret_place))
        return fail_with(draft->report, SCRAPE_LABEL_LIMIT, exposition->line, "the page's labels take too much memory");
    return SCRAPE_OK;
}

static void draft_metadata(struct draft *draft, const struct exposition *exposition, enum exposition_event event)
{
    struct plan_family *family = page_plan_family(&draft->plan, exposition->name);
    if (!family)
        return;
    if (event == EXPOSITION_TYPE) {
        family->type = exposition->type;
    } else if (exposition->text.len <= LAYOUT_HELP_BYTES_MAX && str_is_utf8(exposition->text)) {
        char help[LAYOUT_HELP_BYTES_MAX];
        size_t len = exposition_unescape_help(exposition->text, help);
        family->help = arena_str(&draft->arena, str_of(help, len));
    }
}

static enum scrape_failure draft_lines(struct draft *draft, struct str body, struct plan_place *places)
{
    CLEANUP(exposition_done) struct exposition exposition;
    exposition_init(&exposition, body, hard_limits);
    for (uint32_t line = 0;;) {
        enum exposition_event event = exposition_next(&exposition);
        enum scrape_failure failure = SCRAPE_OK;
        if (event == EXPOSITION_END || event == EXPOSITION_ERROR)
            return SCRAPE_OK;
        if (event == EXPOSITION_TYPE || event == EXPOSITION_HELP)
            draft_metadata(draft, &exposition, event);
        else if (event == EXPOSITION_SAMPLE)
            failure = draft_sample(draft, &exposition, &places[line++]);
        if (failure != SCRAPE_OK)
            return failure;
    }
}

static void draft_done(struct draft *draft)
{
    page_plan_done(&draft->plan);
    arena_done(&draft->arena);
}

static enum scrape_failure make_page(struct page_cache *cache, struct draft *draft, struct str body,
                                     struct page_text *text, struct page **ret_page)
{
    CLEANUP_FREE struct plan_place *places = mem_array(text->line_count, sizeof(*places));
    enum scrape_failure failure = draft_lines(draft, body, places);
    if (failure != SCRAPE_OK)
        return failure;
    struct page *page = page_plan_make(&draft->plan, cache);
    if (!page)
        return fail_with(draft->report, SCRAPE_LABEL_LIMIT, 0,
                         "the page has more or longer series than a layout holds");
    for (uint32_t i = 0; i < text->line_count; i++)
        text->lines[i].slot = page_plan_slot(&draft->plan, places[i]);
    *ret_page = page;
    return SCRAPE_OK;
}

/* Which pages may be shared: same job, and the same target labels as far as they matter. */
static uint64_t key_of(const struct page_source *source, uint64_t metadata)
{
    uint64_t key = hash64(&source->job, sizeof(source->job), metadata);
    key = hash64(&(uint64_t){window_rules_key(source->rules, source->target)}, sizeof(uint64_t), key);
    if (source->job->metric_relabel)
        return hash64(&(uint64_t){labels_hash(source->target)}, sizeof(uint64_t), key);
    for (size_t i = 0; i < labels_count(source->target); i++) {
        struct str name = labels_at(source->target, i).name;
        key = hash64(name.ptr, name.len, key);
    }
    return key;
}

static void take_values(const struct page *page, const struct page_line *lines, const struct reading *reading,
                        struct page_values *values)
{
    page_values_reserve(values, page->value_count);
    values->any_time = false;
    for (uint32_t i = 0; i < page->line_count; i++) {
        uint32_t slot = lines[i].slot;
        if (slot == PAGE_SLOT_NONE)
            continue;
        values->values[slot] = reading->values[i];
        if (reading->times[i] != INT64_MIN)
            page_values_set_time(values, page->value_count, slot, reading->times[i]);
    }
}

enum scrape_failure page_parse(struct page_cache *cache, const struct page_source *source, struct str body,
                               struct page_values *values, struct page **ret_page, struct scrape_report *report)
{
    CLEANUP(reading_done) struct reading reading = {0};
    enum scrape_failure failure = read_lines(source->job, body, &reading, report);
    if (failure != SCRAPE_OK)
        return failure;
    uint64_t key = key_of(source, reading.metadata);
    struct page *page = page_cache_find(cache, key, buf_view(&reading.text.text));
    if (page) {
        take_values(page, page->lines, &reading, values);
        *ret_page = page;
        return SCRAPE_OK;
    }
    CLEANUP(draft_done) struct draft draft = {.job = source->job, .target = source->target, .report = report};
    arena_init(&draft.arena, PARSE_ARENA_BYTES_MAX);
    page_plan_init(&draft.plan, source->rules, source->target, &draft.arena);
    failure = make_page(cache, &draft, body, &reading.text, &page);
    if (failure != SCRAPE_OK)
        return failure;
    page->line_count = reading.text.line_count;
    take_values(page, reading.text.lines, &reading, values);
    page_cache_keep_text(cache, page, key, &reading.text);
    *ret_page = page;
    return SCRAPE_OK;
}
