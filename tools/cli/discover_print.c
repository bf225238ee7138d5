/* As text: a block per target, or a line each. */
#include "base/fail.h"
#include "base/quote.h"
#include "discover_view.h"

struct printing {
    const struct output *output;
    struct buf line;
};

static void print_line(struct printing *printing, const char *indent)
{
    printf("%s" STR_FMT "\n", indent, STR_ARG(buf_view(&printing->line)));
    buf_reset(&printing->line);
}

static void print_label(struct printing *printing, const char *title, const struct label *label)
{
    buf_printf(&printing->line, "%-8s " STR_FMT "=", title, STR_ARG(label->name));
    quote_print(label->value, &printing->line);
    print_line(printing, "    ");
}

/* Each change in words that tell a new label from another value. */
static void print_change(struct printing *printing, const char *title, const struct relabel_change *change)
{
    struct buf *line = &printing->line;
    buf_printf(line, "%-8s " STR_FMT, title, STR_ARG(change->name));
    buf_append_text(line, change->before.len == 0 ? "=" : ": ");
    if (change->before.len > 0) {
        quote_print(change->before, line);
        buf_append_text(line, " -> ");
    }
    if (change->after.len > 0)
        quote_print(change->after, line);
    else
        buf_append_text(line, "none");
    print_line(printing, "    ");
}

static void print_step(void *arg, const struct relabel_step *step)
{
    struct printing *printing = arg;
    char title[32];
    snprintf(title, sizeof(title), "rule %zu", step->rule);
    for (size_t i = 0; i < step->change_count; i++)
        print_change(printing, i == 0 ? title : "", &step->changes[i]);
    if (!step->dropped)
        return;
    buf_printf(&printing->line, "%-8s drops it", title);
    print_line(printing, "    ");
}

static void print_head(struct printing *printing, const struct discover_job *job, size_t index)
{
    const struct output *output = printing->output;
    const struct listing_item *item = &job->items[index];
    struct str address = STR_NULL;
    for (size_t i = 0; i < item->before_count; i++)
        if (str_equal(item->before[i].name, STR("__address__")))
            address = item->before[i].value;
    output_safe(item->target ? str_from(item->target->url) : address, &printing->line);
    if (!item->target)
        buf_printf(&printing->line, "  %s%s%s", output_on(output, STYLE_BAD), item->error ? "INVALID: " : "DROPPED",
                   output_off(output, STYLE_BAD));
    if (item->error)
        output_safe(str_from(item->error), &printing->line);
    if (discover_is_repeated(job, index))
        buf_append_text(&printing->line, "  the same target once more");
    putchar('\n');
    print_line(printing, "  ");
}

static void print_item(struct printing *printing, const struct discover_job *job, size_t index)
{
    const struct listing_item *item = &job->items[index];
    print_head(printing, job, index);
    for (size_t i = 0; i < item->before_count; i++)
        print_label(printing, i == 0 ? "found" : "", &item->before[i]);
    discover_trace(job, item, print_step, printing);
    for (size_t i = 0; item->target && i < labels_count(item->target->labels); i++) {
        struct label label = labels_at(item->target->labels, i);
        print_label(printing, i == 0 ? "labels" : "", &label);
    }
}

static void print_target_line(struct printing *printing, const struct discover_job *job, size_t index)
{
    const struct target *target = job->items[index].target;
    if (!target || discover_is_repeated(job, index))
        return;
    output_safe(str_from(target->url), &printing->line);
    buf_append_text(&printing->line, "  ");
    labels_print(target->labels, &printing->line);
    print_line(printing, "  ");
}

static void print_job(struct printing *printing, const struct discover_job *job, bool targets_only)
{
    const struct output *output = printing->output;
    const struct relabel_config *rules = job->config->relabel_configs.items;
    size_t targets = job->targets - job->repeated;
    buf_printf(&printing->line, "%sjob ", output_on(output, STYLE_BOLD));
    output_safe(str_from(job->config->job_name), &printing->line);
    buf_printf(&printing->line, "%s: %zu targets, %zu dropped, %zu invalid, %zu repeated",
               output_off(output, STYLE_BOLD), targets, job->dropped, job->invalid, job->repeated);
    if (targets > (size_t)job->config->targets_max)
        buf_printf(&printing->line, "; target_limit leaves out %zu", targets - (size_t)job->config->targets_max);
    print_line(printing, "");
    for (size_t i = 0; i < job->config->relabel_configs.count && !targets_only; i++) {
        buf_printf(&printing->line, "rule %zu: ", i);
        relabel_config_print(&rules[i], &printing->line);
        print_line(printing, "  ");
    }
    for (size_t i = 0; i < job->count; i++) {
        if (targets_only)
            print_target_line(printing, job, i);
        else
            print_item(printing, job, i);
    }
}

void discover_print(const struct discover_view *view, const struct output *output, bool targets_only)
{
    struct printing printing = {.output = output, .line = BUF_INIT(OUTPUT_TEXT_BYTES_MAX)};
    for (size_t i = 0; i < view->job_count; i++) {
        if (i > 0)
            putchar('\n');
        print_job(&printing, &view->jobs[i], targets_only);
    }
    buf_done(&printing.line);
}
