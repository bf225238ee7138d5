/* example_sd_configs: a small plugin that is whole, to read and to start from (docs/discovery-plugins.md). It asks a
 * URL for lines, each a target with labels of its own: "10.0.0.1:9100 rack=a7 team=web" has __meta_example_rack="a7".
 */
#include "base/fail.h"
#include "target/discovery_plugin.h"

#include <errno.h>
#include <stdio.h>

#define LINE_BYTES_MAX  4096 /* whatever the other end chooses has a ceiling */
#define LINE_LABELS_MAX 32   /* of a line */

/* The configuration of a section: a plain struct, and the table that fills it from YAML. */
struct example_config {
    const char *url;
    int64_t refresh_interval_ms;
};
static const struct conf_option options[] = {
    {.name = "url",
     .type = CONF_URL,
     .offset = offsetof(struct example_config, url),
     .required = true,
     .help = "Where."},
    {.name = "refresh_interval",
     .type = CONF_DURATION,
     .offset = offsetof(struct example_config, refresh_interval_ms),
     .fallback = "60s",
     .min = 1000,
     .max = 86400000,
     .help = "How often."},
    {0},
};
static const struct conf_table config_table = {"example_sd_config", sizeof(struct example_config), options, NULL};

struct example { /* the state of a section */
    const struct discovery_api *api;
    struct discovery_host *host;
    const struct example_config *config; /* lives as long as this */
    struct buf line;                     /* the beginning of one that has not ended */
    size_t number;                       /* of that line */
    const char *wrong;                   /* with it; NULL: nothing */
};

/* A whole line becomes a group of one target. The names of labels are made; all else are views into the line. */
static int take_line(struct example *example, struct str line)
{
    char names[LINE_LABELS_MAX][128], source[32];
    struct label labels[LINE_LABELS_MAX];
    struct discovery_target target = {.address = str_of(line.ptr, str_find(line, ' ')), .labels = labels};
    for (size_t at = target.address.len; at < line.len; target.label_count++) {
        struct str word = str_of(line.ptr + at + 1, line.len - at - 1);
        word.len = str_find(word, ' ');
        at += 1 + word.len;
        size_t equals = str_find(word, '=');
        if (equals == word.len || equals > 100 || target.label_count == LINE_LABELS_MAX)
            return -EBADMSG;
        char *name = names[target.label_count];
        snprintf(name, sizeof(names[0]), "__meta_example_" STR_FMT, STR_ARG(str_of(word.ptr, equals)));
        labels[target.label_count] =
            (struct label){str_from(name), str_of(word.ptr + equals + 1, word.len - equals - 1)};
    }
    /* The group's name within the section: the same once more replaces it. */
    snprintf(source, sizeof(source), "line %zu", example->number);
    example->api->put(example->host, &(struct discovery_group){str_from(source), NULL, 0, &target, 1});
    return 0;
}

/* An answer begins, maybe not the first: what one before has left is forgotten. */
static void example_head(void *arg, const struct discovery_answer_head *head)
{
    struct example *example = arg;
    (void)head;
    buf_reset(&example->line);
    example->number = 1;
    example->wrong = NULL;
    example->api->begin(example->host);
}

/* The next bytes, cut anywhere. A line is kept of them, never the body. Negative ends the exchange. */
static int example_data(void *arg, struct str bytes)
{
    struct example *example = arg;
    for (size_t at = 0; at < bytes.len && !example->wrong; at++) {
        if (bytes.ptr[at] != '\n') {
            if (buf_append_byte(&example->line, (uint8_t)bytes.ptr[at]) < 0)
                example->wrong = "too long";
            continue;
        }
        if (example->line.len > 0 && take_line(example, buf_view(&example->line)) < 0)
            example->wrong = "expected host:port name=value ...";
        example->number += !example->wrong;
        buf_reset(&example->line);
    }
    return example->wrong ? -EBADMSG : 0;
}

static void example_ask(struct example *example, int64_t after_ms);

static enum discovery_verdict example_end(void *arg, const struct discovery_end *end)
{
    struct example *example = arg;
    if (end->failure == DISCOVERY_OK && end->status == 200 && !example->wrong && example->line.len == 0) {
        example->api->commit(example->host); /* now, not sooner: half an answer must not remove targets */
        example_ask(example, example->config->refresh_interval_ms);
        return DISCOVERY_DONE;
    }
    if (example->wrong || (end->failure == DISCOVERY_OK && end->status == 200))
        example->api->problem(example->host, "%s: line %zu: %s", example->config->url, example->number,
                              example->wrong ? example->wrong : "it has no end");
    else if (end->failure != DISCOVERY_OK)
        example->api->problem(example->host, "%s: %s", example->config->url, end->reason);
    else
        example->api->problem(example->host, "%s: answered %d", example->config->url, end->status);
    example->wrong = NULL;
    example->api->abort(example->host);
    return DISCOVERY_RETRY; /* the host asks the same again, after a pause that grows */
}

static const struct discovery_reader reader = {example_head, example_data, example_end};

static void example_ask(struct example *example, int64_t after_ms)
{
    const struct discovery_request request = {.url = str_from(example->config->url), .after_ms = after_ms};
    example->api->request(example->host, &request, &reader, example);
}

static void *example_start(void *plugin, const struct discovery_api *api, struct discovery_host *host,
                           const void *config, char ret_error[static 256])
{
    (void)plugin, (void)ret_error; /* nothing is shared by sections, and nothing can fail here */
    struct example *example = mem_alloc(sizeof(*example));
    *example = (struct example){.api = api, .host = host, .config = config, .line = BUF_INIT(LINE_BYTES_MAX)};
    example_ask(example, 0);
    return example;
}

static void example_stop(void *instance)
{
    struct example *example = instance;
    buf_done(&example->line);
    mem_free(example);
}

const struct discovery_plugin discovery_example = {
    .magic = DISCOVERY_MAGIC,
    .abi = DISCOVERY_ABI,
    .name = "example", /* reads example_sd_configs; the file is example.so */
    .version = "1",
    .about = "Lines from a URL, to show how a plugin is written.",
    .config = &config_table,
    .start = example_start,
    .stop = example_stop,
};
