#include "page_template.h"
#include "base/fail.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

#define LINES_MAX   16384
#define LINE_BYTES  1024
#define BEGIN_S     1.7e9     /* when hosts with an uptime of 0 would have begun to count */
#define UPTIME_S    1728000.0 /* the median: 20 days */
#define CHURN_BYTES 64        /* of the label that a replaced series has more */

struct line {
    char *text; /* up to and with the space before the value; comments whole */
    size_t len;
    enum value_form form;
    double scale;
    bool comment;
};

struct page_template {
    struct line lines[LINES_MAX];
    size_t line_count;
    size_t series_count;
    uint64_t leave_out_key;
    double leave_out_share;
    bool leaving_out; /* the family at hand */
};

struct page_template *page_template_new(void)
{
    return mem_zalloc(sizeof(struct page_template));
}

void page_template_free(struct page_template *template)
{
    if (!template)
        return;
    for (size_t i = 0; i < template->line_count; i++)
        mem_free(template->lines[i].text);
    mem_free(template);
}

void page_template_leave_out(struct page_template *template, uint64_t key, double share)
{
    template->leave_out_key = key;
    template->leave_out_share = share;
}

static struct line *add_line(struct page_template *template, const char *text)
{
    ASSERT(template->line_count < LINES_MAX);
    struct line *line = &template->lines[template->line_count++];
    *line = (struct line){.text = mem_strdup(text), .len = strlen(text)};
    return line;
}

void page_template_family(struct page_template *template, const char *name, const char *type)
{
    char text[LINE_BYTES];
    uint64_t key = own_key(template->leave_out_key, str_hash(str_from(name)));
    template->leaving_out = own_number(key) < template->leave_out_share;
    if (template->leaving_out)
        return;
    snprintf(text, sizeof(text), "# HELP %s Simulated, as node_exporter has it.\n# TYPE %s %s\n", name, name, type);
    add_line(template, text)->comment = true;
}

void page_template_series(struct page_template *template, const char *name, const char *labels, enum value_form form,
                          double scale)
{
    char text[LINE_BYTES];
    if (template->leaving_out)
        return;
    snprintf(text, sizeof(text), labels[0] ? "%s{%s} " : "%s%s ", name, labels);
    struct line *line = add_line(template, text);
    line->form = form;
    line->scale = scale;
    template->series_count++;
}

size_t page_template_series_count(const struct page_template *template)
{
    return template->series_count;
}

/* Whether the nth series is one of those replaced: they are spread evenly. */
static bool is_replaced(const struct page_template *template, const struct page_churn *churn, size_t nth)
{
    return nth * churn->series / template->series_count != (nth + 1) * churn->series / template->series_count;
}

/* The line's text with one more label; its length. */
static size_t put_replaced(char *at, const struct line *line, uint32_t host, uint64_t generation)
{
    bool labelled = line->len > 2 && line->text[line->len - 2] == '}';
    size_t kept = line->len - (labelled ? 2 : 1);
    memcpy(at, line->text, kept);
    return kept + (size_t)snprintf(at + kept, CHURN_BYTES, "%csession=\"%u-%llu\"} ", labelled ? ',' : '{', host,
                                   (unsigned long long)generation);
}

size_t page_template_render(const struct page_template *template, const struct page_churn *churn, char *page,
                            uint32_t host, double now)
{
    struct value_of of = {.rate = own_factor(own_key(host, 1), 0.8),
                          .since = BEGIN_S - UPTIME_S * own_factor(own_key(host, 2), 1.2)};
    size_t len = 0, nth = 0;
    for (size_t i = 0; i < template->line_count; i++) {
        const struct line *line = &template->lines[i];
        if (len + line->len + CHURN_BYTES + VALUE_TEXT_BYTES > PAGE_BYTES_MAX)
            break;
        if (!line->comment && churn->series > 0 && is_replaced(template, churn, nth)) {
            len += put_replaced(page + len, line, host, (uint64_t)now / churn->interval_s);
        } else {
            memcpy(page + len, line->text, line->len);
            len += line->len;
        }
        if (line->comment)
            continue;
        nth++;
        of.form = line->form;
        of.scale = line->scale;
        of.own = own_number(own_key(host, i + 16));
        len += page_value_print(&of, now, page + len);
        page[len++] = '\n';
    }
    return len;
}
