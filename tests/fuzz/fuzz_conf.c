/* Arbitrary bytes as a secondary's configuration: they load, or are refused with at least one error; no more errors are
 * told than are kept. */
#include "base/conf.h"
#include "base/fail.h"
#include "secondary/config.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct file_system *fs = file_system_memory_new(0);
    struct arena arena;
    arena_init(&arena, 0);
    struct secondary_config config;
    struct conf *conf = NULL;
    const struct conf_source source = {.fs = fs, .text = str_of(data, size), .name = "fuzz.yaml", .base_dir = "/etc"};
    int r = conf_load_text(&source, &secondary_config_table, &config, &arena, &conf);
    size_t lines = 0;
    for (const char *at = conf_errors(conf); *at; at++)
        lines += *at == '\n';
    ASSERT(r == 0 || r == -EINVAL);
    ASSERT((r == 0) == (lines == 0));
    ASSERT(lines <= CONF_ERRORS_MAX + 1);
    if (r == 0)
        ASSERT(config.datacenter && config.secondary && config.data_dir && config.primary.urls.count > 0);
    conf_free(conf);
    arena_done(&arena);
    file_system_free(fs);
    return 0;
}
