#include "api/settings.h"

#include "base/fail.h"

#include <pthread.h>

struct settings {
    pthread_mutex_t lock;  /* guards all; leaf */
    struct buf yaml_json;  /* a string */
    struct buf flags_json; /* an object */
    struct buf retention;
    int64_t loaded_ms;
    bool failed;
};

struct settings *settings_new(void)
{
    struct settings *settings = mem_zalloc(sizeof(*settings));
    ASSERT(pthread_mutex_init(&settings->lock, NULL) == 0);
    settings_set(settings, &(struct api_settings){.yaml = STR(""), .retention = ""}, 0);
    return settings;
}

void settings_free(struct settings *settings)
{
    if (!settings)
        return;
    buf_done(&settings->yaml_json);
    buf_done(&settings->flags_json);
    buf_done(&settings->retention);
    pthread_mutex_destroy(&settings->lock);
    mem_free(settings);
}

static void replace(struct buf *text, struct buf *next)
{
    struct buf old = *text;
    *text = *next;
    *next = old;
}

void settings_set(struct settings *settings, const struct api_settings *given, int64_t now_ms)
{
    /* What is given has the ceiling of a configuration's file. */
    CLEANUP(buf_done) struct buf yaml = BUF_INIT(SIZE_MAX), flags = BUF_INIT(SIZE_MAX);
    CLEANUP(buf_done) struct buf retention = BUF_INIT(SIZE_MAX);
    struct json_writer json;
    json_begin(&json, &yaml);
    json_str(&json, given->yaml);
    json_begin(&json, &flags);
    json_object(&json);
    for (size_t i = 0; i < given->flag_count; i++)
        json_field_text(&json, given->flags[i].name, given->flags[i].value);
    json_object_end(&json);
    buf_append_text(&retention, given->retention);
    pthread_mutex_lock(&settings->lock);
    replace(&settings->yaml_json, &yaml);
    replace(&settings->flags_json, &flags);
    replace(&settings->retention, &retention);
    settings->loaded_ms = now_ms;
    settings->failed = false;
    pthread_mutex_unlock(&settings->lock);
}

void settings_fail(struct settings *settings)
{
    pthread_mutex_lock(&settings->lock);
    settings->failed = true;
    pthread_mutex_unlock(&settings->lock);
}

void settings_write_config(struct settings *settings, struct json_writer *json)
{
    pthread_mutex_lock(&settings->lock);
    json_object(json);
    json_key(json, "yaml");
    json_raw(json, buf_view(&settings->yaml_json));
    json_object_end(json);
    pthread_mutex_unlock(&settings->lock);
}

void settings_write_flags(struct settings *settings, struct json_writer *json)
{
    pthread_mutex_lock(&settings->lock);
    json_raw(json, buf_view(&settings->flags_json));
    pthread_mutex_unlock(&settings->lock);
}

void settings_write_reload(struct settings *settings, struct json_writer *json)
{
    char loaded[32];
    pthread_mutex_lock(&settings->lock);
    clock_format_rfc3339(settings->loaded_ms, loaded);
    json_field_bool(json, "reloadConfigSuccess", !settings->failed);
    pthread_mutex_unlock(&settings->lock);
    json_field_text(json, "lastConfigTime", loaded);
}

void settings_write_retention(struct settings *settings, struct json_writer *json)
{
    pthread_mutex_lock(&settings->lock);
    json_field_str(json, "storageRetention", buf_view(&settings->retention));
    pthread_mutex_unlock(&settings->lock);
}
