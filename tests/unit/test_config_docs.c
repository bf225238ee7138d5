/* docs/configuration.md says what the tables say. After a change of a table:
 *     TRIBUTARY_REWRITE_DOCS=1 build/tests/test_config_docs */
#include "base/conf.h"
#include "base/fail.h"
#include "global/config.h"
#include "primary/config.h"
#include "secondary/config.h"
#include "target/discovery_plugin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PAGE           SOURCE_DIR "/docs/configuration.md"
#define PAGE_BYTES_MAX MIB
#define END_MARK       "<!-- end -->"

extern const struct discovery_plugin discovery_file, discovery_http, discovery_dns, discovery_ec2, discovery_kubernetes,
    discovery_consul;

static const struct {
    const char *mark;
    const struct conf_table *table;
    const struct discovery_plugin *plugin; /* or a plugin's */
} chapters[] = {
    {"<!-- table: secondary -->\n", &secondary_config_table, NULL},
    {"<!-- table: file -->\n", NULL, &discovery_file},
    {"<!-- table: dns -->\n", NULL, &discovery_dns},
    {"<!-- table: http -->\n", NULL, &discovery_http},
    {"<!-- table: ec2 -->\n", NULL, &discovery_ec2},
    {"<!-- table: kubernetes -->\n", NULL, &discovery_kubernetes},
    {"<!-- table: consul -->\n", NULL, &discovery_consul},
    {"<!-- table: primary -->\n", &primary_config_table, NULL},
    {"<!-- table: global -->\n", &global_config_table, NULL},
};

static const struct conf_table *table_of(size_t chapter)
{
    return chapters[chapter].table ? chapters[chapter].table : chapters[chapter].plugin->config;
}

/* The page with the table between mark and END_MARK. */
static void replace_chapter(struct buf *page, const char *mark, const struct conf_table *table)
{
    buf_append_byte(page, 0);
    const char *text = (const char *)page->data;
    const char *start = strstr(text, mark);
    if (!start)
        fail_msg("%s has no line %s", PAGE, mark);
    start += strlen(mark);
    const char *end = strstr(start, END_MARK);
    if (!end)
        fail_msg("%s has no line " END_MARK " behind %s", PAGE, mark);
    struct buf made = BUF_INIT(PAGE_BYTES_MAX);
    buf_append(&made, text, (size_t)(start - text));
    buf_append_byte(&made, '\n');
    conf_describe(table, &made);
    buf_append_byte(&made, '\n');
    buf_append_text(&made, end);
    assert_false(made.full);
    buf_done(page);
    *page = made;
}

static void the_page_is_what_the_tables_say(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf page = BUF_INIT(PAGE_BYTES_MAX);
    CLEANUP(buf_done) struct buf made = BUF_INIT(PAGE_BYTES_MAX);
    assert_int_equal(file_read_whole(file_system_real(), PAGE, &page), 0);
    assert_int_equal(buf_append_str(&made, buf_view(&page)), 0);
    for (size_t i = 0; i < ARRAY_LEN(chapters); i++)
        replace_chapter(&made, chapters[i].mark, table_of(i));
    if (getenv("TRIBUTARY_REWRITE_DOCS")) {
        assert_int_equal(file_write_whole(file_system_real(), PAGE, made.data, made.len), 0);
        return;
    }
    size_t line = 1;
    for (size_t i = 0; i < MIN(page.len, made.len) && page.data[i] == made.data[i]; i++)
        line += page.data[i] == '\n';
    if (!str_equal(buf_view(&page), buf_view(&made)))
        fail_msg("%s:%zu differs from the tables: run TRIBUTARY_REWRITE_DOCS=1 with this test", PAGE, line);
}

static void expect_help(const struct conf_table *table)
{
    for (const struct conf_option *option = table->options; option->name; option++) {
        if (!option->help || strlen(option->help) < 5)
            fail_msg("%s of %s has no help", option->name, table->title);
        if (option->table)
            expect_help(option->table);
    }
}

static void every_key_says_what_it_means(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(chapters); i++)
        expect_help(table_of(i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_is_what_the_tables_say),
        cmocka_unit_test(every_key_says_what_it_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
