#include "target.h"

#include "base/conf.h"
#include "base/crc.h"
#include "base/fail.h"
#include "base/limits.h"

#include <errno.h>
#include <stdio.h>

#define RELABEL_BYTES_MAX (1 * MIB) /* of text made by one target's rules */
#define MARKS_BYTES_MAX   (2 * MIB + LABELS_MAX * (LABEL_NAME_BYTES_MAX + LABEL_VALUE_BYTES_MAX))

const char *const target_state_names[TARGET_STATE_COUNT] = {"unknown", "up", "down", "ended"};

void target_set_state(struct target *target, enum target_state state, struct target_counts *counts)
{
    ASSERT(target->state != TARGET_ENDED && state != TARGET_PENDING && state < TARGET_STATE_COUNT);
    if (target->state == state)
        return;
    ASSERT(counts->now[target->state] > 0);
    counts->now[target->state]--;
    counts->now[state]++;
    counts->changes_total++;
    target->state = state;
}

struct target *target_ref(struct target *target)
{
    atomic_fetch_add_explicit(&target->references, 1, memory_order_relaxed);
    return target;
}

void target_unref(struct target *target)
{
    if (!target || atomic_fetch_sub_explicit(&target->references, 1, memory_order_acq_rel) != 1)
        return;
    labels_unref(target->labels);
    job_unref(target->job);
    mem_free(target->url);
    mem_free(target->address);
    mem_free(target->last_error);
    mem_free(target);
}

bool target_equal(const struct target *a, const struct target *b)
{
    return a->key == b->key && a->interval_ms == b->interval_ms && a->timeout_ms == b->timeout_ms &&
           a->job->series_hash == b->job->series_hash && labels_equal(a->labels, b->labels) &&
           strcmp(a->url, b->url) == 0;
}

/* ---- labels before the rules ---- */

static void set_default(struct labels_builder *builder, struct str name, struct str value)
{
    if (labels_builder_get(builder, name).len == 0)
        labels_builder_set(builder, name, value);
}

static struct str duration_text(int64_t ms, struct arena *arena)
{
    char text[64];
    conf_format_duration(ms, text); /* as Prometheus writes it: rules may read it */
    return arena_str(arena, str_from(text));
}

static void set_defaults(struct labels_builder *builder, const struct scrape_config *config, struct arena *arena)
{
    set_default(builder, STR("job"), str_from(config->job_name));
    set_default(builder, STR("__scrape_interval__"), duration_text(config->scrape_interval_ms, arena));
    set_default(builder, STR("__scrape_timeout__"), duration_text(config->scrape_timeout_ms, arena));
    set_default(builder, STR("__metrics_path__"), str_from(config->metrics_path));
    set_default(builder, STR("__scheme__"), config->scheme == SCRAPE_HTTPS ? STR("https") : STR("http"));
    for (size_t i = 0; i < config->params.count; i++) {
        const struct scrape_param *param = &config->params.items[i];
        const char *name = arena_printf(arena, "__param_%s", param->name);
        if (name && param->values.count > 0) /* not only a default, in Prometheus 2.42 */
            labels_builder_set(builder, str_from(name), str_from(param->values.items[0]));
    }
}

/* ---- what the rules left ---- */

static int refuse(char ret_error[static 256], const char *text, struct str value)
{
    snprintf(ret_error, 256, "%s: \"%.*s\"", text, (int)MIN(value.len, (size_t)100), value.ptr ? value.ptr : "");
    return -EINVAL;
}

static bool has_port(struct str address)
{
    size_t end = address.len;
    while (end > 0 && address.ptr[end - 1] >= '0' && address.ptr[end - 1] <= '9')
        end--;
    if (end == address.len || end == 0 || address.ptr[end - 1] != ':')
        return false;
    /* A bare IPv6 address has colons, but no brackets around them. */
    return address.ptr[0] == '[' ? end >= 2 && address.ptr[end - 2] == ']'
                                 : str_find(str_of(address.ptr, end - 1), ':') == end - 1;
}

/* host:port, with the scheme's port where none is given. */
static int settle_address(struct labels_builder *builder, struct arena *arena, char ret_error[static 256],
                          struct str *ret_address)
{
    struct str address = labels_builder_get(builder, STR("__address__"));
    struct str scheme = labels_builder_get(builder, STR("__scheme__"));
    bool https = str_equal(scheme, STR("https"));
    if (address.len == 0)
        return refuse(ret_error, "no __address__", address);
    if (!https && !str_equal(scheme, STR("http")))
        return refuse(ret_error, "__scheme__ is neither http nor https", scheme);
    for (size_t i = 0; i < address.len; i++)
        if ((uint8_t)address.ptr[i] <= ' ' || strchr("/?#@\\\"<>", address.ptr[i]))
            return refuse(ret_error, "not an address, host:port", address);
    if (!has_port(address)) {
        bool bare_v6 = address.ptr[0] != '[' && str_find(address, ':') < address.len;
        address = str_from(
            arena_printf(arena, bare_v6 ? "[" STR_FMT "]:%d" : STR_FMT ":%d", STR_ARG(address), https ? 443 : 80));
    }
    if (address.len == 0)
        return refuse(ret_error, "relabel_configs made too much text", address);
    labels_builder_set(builder, STR("__address__"), address);
    set_default(builder, STR("instance"), address);
    *ret_address = address;
    return 0;
}

static int settle_times(struct target *target, const struct labels_builder *builder, int64_t interval_max_ms,
                        char ret_error[static 256])
{
    struct str interval = labels_builder_get(builder, STR("__scrape_interval__"));
    struct str timeout = labels_builder_get(builder, STR("__scrape_timeout__"));
    if (str_to_duration_ms(interval, &target->interval_ms) < 0 || target->interval_ms <= 0)
        return refuse(ret_error, "__scrape_interval__ is no duration above 0", interval);
    if (target->interval_ms > interval_max_ms)
        return refuse(ret_error, "__scrape_interval__ is longer than windows.resolution", interval);
    if (str_to_duration_ms(timeout, &target->timeout_ms) < 0 || target->timeout_ms <= 0)
        return refuse(ret_error, "__scrape_timeout__ is no duration above 0", timeout);
    if (target->timeout_ms > target->interval_ms)
        return refuse(ret_error, "__scrape_timeout__ is longer than the interval", timeout);
    return 0;
}

/* ---- URL ---- */

static void append_param(struct buf *url, bool *any, struct str name, struct str value)
{
    buf_append_byte(url, *any ? '&' : '?');
    buf_append_escaped(url, name, false);
    buf_append_byte(url, '=');
    buf_append_escaped(url, value, false);
    *any = true;
}

static bool is_configured(const struct scrape_config *config, struct str name)
{
    for (size_t i = 0; i < config->params.count; i++)
        if (str_equal(str_from(config->params.items[i].name), name))
            return true;
    return false;
}

/* A label __param_NAME is the first value of a parameter; what else there is comes from the configuration. */
static void append_params(struct buf *url, const struct labels_builder *builder, const struct scrape_config *config,
                          bool has_query)
{
    const struct str start = STR("__param_");
    bool any = has_query;
    for (size_t i = 0; i < config->params.count; i++) {
        const struct scrape_param *param = &config->params.items[i];
        CLEANUP_FREE char *label_name = mem_printf("__param_%s", param->name);
        struct str first = labels_builder_get(builder, str_from(label_name));
        for (size_t j = 0; j < param->values.count; j++)
            append_param(url, &any, str_from(param->name),
                         j == 0 && first.len > 0 ? first : str_from(param->values.items[j]));
    }
    for (size_t i = 0; i < builder->count; i++) {
        struct label label = builder->items[i];
        struct str name = str_starts_with(label.name, start)
                              ? str_of(label.name.ptr + start.len, label.name.len - start.len)
                              : STR_NULL;
        if (name.len > 0 && !is_configured(config, name))
            append_param(url, &any, name, label.value);
    }
}

static int make_url(struct target *target, const struct labels_builder *builder, const struct scrape_config *config,
                    char ret_error[static 256])
{
    CLEANUP(buf_done) struct buf url = BUF_INIT(URL_BYTES_MAX);
    struct str path = labels_builder_get(builder, STR("__metrics_path__"));
    buf_append_str(&url, labels_builder_get(builder, STR("__scheme__")));
    buf_append_text(&url, "://");
    buf_append_text(&url, target->address);
    if (path.len == 0 || path.ptr[0] != '/')
        buf_append_byte(&url, '/');
    for (size_t i = 0; i < path.len; i++) {
        bool strange = (uint8_t)path.ptr[i] <= ' ' || path.ptr[i] == '#' || path.ptr[i] == 0x7f;
        if (strange)
            buf_printf(&url, "%%%02X", (uint8_t)path.ptr[i]);
        else
            buf_append_byte(&url, (uint8_t)path.ptr[i]);
    }
    append_params(&url, builder, config, str_find(path, '?') < path.len);
    buf_append_byte(&url, 0);
    if (url.full)
        return refuse(ret_error, "the URL would be too long", path);
    target->url = (char *)buf_steal(&url, &(size_t){0});
    return 0;
}

/* ---- the target ---- */

/* Labels that begin with __ have done their work. */
static int keep_labels(struct target *target, const struct labels_builder *builder, char ret_error[static 256])
{
    struct labels_builder kept;
    labels_builder_init(&kept, NULL);
    for (size_t i = 0; i < builder->count; i++) {
        struct label label = builder->items[i];
        if (str_starts_with(label.name, STR("__")))
            continue;
        if (!str_is_utf8(label.value) || label.value.len > LABEL_VALUE_BYTES_MAX ||
            label.name.len > LABEL_NAME_BYTES_MAX)
            return refuse(ret_error, "a label's value is too long or not UTF-8", label.name);
        labels_builder_set(&kept, label.name, label.value);
    }
    target->labels = labels_builder_build(&kept);
    if (target->labels)
        return 0;
    return error_text(-EINVAL, ret_error, "more than %d labels are left by relabel_configs", LABELS_MAX);
}

static uint64_t key_of(const struct target *target)
{
    CLEANUP(buf_done) struct buf marks = BUF_INIT(MARKS_BYTES_MAX);
    buf_append_le64(&marks, (uint64_t)target->interval_ms);
    buf_append_le64(&marks, (uint64_t)target->timeout_ms);
    buf_append_le64(&marks, target->job->series_hash);
    labels_encode(target->labels, &marks);
    buf_append_text(&marks, target->url);
    return hash64(marks.data, marks.len, 0); /* the same after a restart: phases follow from it */
}

static int fill_target(struct target *target, const struct target_source *source, struct labels_builder *builder,
                       struct arena *arena, char ret_error[static 256])
{
    struct str address = STR_NULL;
    int r = settle_address(builder, arena, ret_error, &address);
    if (r == 0)
        r = settle_times(target, builder, source->interval_max_ms, ret_error);
    if (r < 0)
        return r;
    target->address = mem_strndup(address.ptr, address.len);
    r = make_url(target, builder, source->config, ret_error);
    if (r == 0)
        r = keep_labels(target, builder, ret_error);
    if (r == 0 && builder->overflow)
        r = refuse(ret_error, "too many labels", STR_NULL);
    if (r == 0)
        target->key = key_of(target);
    return r;
}

void target_labels_before(const struct scrape_config *config, const struct target_found *found, struct arena *arena,
                          struct labels_builder *ret_builder)
{
    size_t room = TARGET_LABELS_ROOM(found->label_count);
    struct label *items = arena_alloc(arena, room * sizeof(*items));
    ASSERT(items);
    labels_builder_init_room(ret_builder, items, room);
    for (size_t i = 0; i < found->label_count; i++)
        labels_builder_set(ret_builder, found->labels[i].name, found->labels[i].value);
    labels_builder_set(ret_builder, STR("__address__"), found->address);
    set_defaults(ret_builder, config, arena);
}

uint64_t target_found_hash(struct str address)
{
    return str_hash(address);
}

int target_make(const struct target_source *source, const struct target_found *found, char ret_error[static 256],
                struct target **ret_target, size_t *ret_rule)
{
    CLEANUP(arena_done) struct arena arena;
    struct labels_builder builder;
    arena_init(&arena, RELABEL_BYTES_MAX + TARGET_LABELS_ROOM(found->label_count) * sizeof(struct label));
    target_labels_before(source->config, found, &arena, &builder);
    if (source->relabel && !relabel_apply(source->relabel, &builder, &arena, ret_rule))
        return 0;
    if (builder.overflow)
        return refuse(ret_error, "too many labels, or relabel_configs made too much text", found->address);
    CLEANUP(target_unrefp) struct target *target = mem_zalloc(sizeof(*target));
    atomic_init(&target->references, 1);
    target->job = job_ref(source->job);
    target->found_hash = target_found_hash(found->address);
    int r = fill_target(target, source, &builder, &arena, ret_error);
    if (r < 0)
        return r;
    *ret_target = STEAL(target);
    return 1;
}
