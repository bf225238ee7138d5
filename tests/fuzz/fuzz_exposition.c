/* Any bytes as a page: the parser ends, its views lie in the body, a sample's labels make a set, and the fast road
 * reads behind each series what the slow one read. The first byte picks the limits. */
#include "base/fail.h"
#include "metric/exposition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lies_in(struct str part, const struct exposition *page, struct str body)
{
    const struct str kept = buf_view(&page->unescaped);
    return part.len == 0 || (part.ptr >= body.ptr && part.ptr + part.len <= body.ptr + body.len) ||
           (kept.len > 0 && part.ptr >= kept.ptr && part.ptr + part.len <= kept.ptr + kept.len);
}

static void check_sample(const struct exposition *page, struct str body)
{
    struct label labels[LABELS_MAX];
    ASSERT(metric_name_is_valid(page->name) && page->name.len <= page->limits.name_bytes_max);
    ASSERT(page->label_count <= page->limits.labels_max && page->label_count < LABELS_MAX);
    labels[0] = (struct label){STR(LABEL_NAME), page->name};
    size_t empty = 0;
    for (size_t i = 0; i < page->label_count; i++) {
        const struct label *label = &page->labels[i];
        ASSERT(label_name_is_valid(label->name) && lies_in(label->name, page, body));
        ASSERT(str_is_utf8(label->value) && lies_in(label->value, page, body));
        ASSERT(label->value.len <= page->limits.value_bytes_max);
        empty += label->value.len == 0;
        labels[i + 1] = *label;
    }
    CLEANUP(labels_unrefp) struct labels *set = labels_new(labels, page->label_count + 1);
    ASSERT(labels_count(set) == page->label_count + 1 - empty);

    double value = 0;
    bool has_time = false;
    int64_t time_ms = 0;
    const char *behind = page->series.ptr + page->series.len;
    const char *next = exposition_value(behind, page->end, &value, &has_time, &time_ms);
    if (!next) { /* it wants a blank; the slow road does not */
        ASSERT(*behind != ' ' && *behind != '\t');
        return;
    }
    ASSERT(next == page->at && double_bits(value) == double_bits(page->value));
    ASSERT(has_time == page->has_time && (!has_time || time_ms == page->time_ms));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str body = str_of(data + 1, size - 1);
    struct exposition_limits limits = {
        .labels_max = data[0] % 8 * 8 + 4, .name_bytes_max = 1000, .value_bytes_max = 1000};
    CLEANUP(exposition_done) struct exposition page;
    exposition_init(&page, body, limits);
    uint32_t line = 0;
    for (;;) {
        enum exposition_event event = exposition_next(&page);
        if (event == EXPOSITION_END || event == EXPOSITION_ERROR) {
            ASSERT((event == EXPOSITION_ERROR) == (page.error != NULL) && exposition_next(&page) == event);
            return 0;
        }
        ASSERT(page.line > line);
        line = page.line;
        if (event == EXPOSITION_SAMPLE)
            check_sample(&page, body);
        else if (event == EXPOSITION_HELP)
            ASSERT(str_is_utf8(page.text) && lies_in(page.text, &page, body));
    }
}
