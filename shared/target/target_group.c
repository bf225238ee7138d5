#include "target/target_group.h"

#include "base/conf.h"
#include "base/fail.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

/* jansson makes some 150 bytes of each bracket pair of 3 bytes: a file of nothing else must not become gigabytes. */
#define JSON_CONTAINERS_MAX (3 * (size_t)TARGET_GROUPS_MAX + 1)

enum target_format target_format_of(const char *path)
{
    struct str name = str_from(path);
    return str_ends_with(name, STR(".json")) || str_ends_with(name, STR(".JSON")) ? TARGET_JSON : TARGET_YAML;
}

/* ---- what both forms must keep ---- */

static int check_address(struct str address, size_t group, char ret_error[static 256])
{
    if (address.len == 0 || address.len > TARGET_ADDRESS_BYTES_MAX)
        return error_text(-EINVAL, ret_error, "group %zu: 1 to %d bytes are an address", group,
                          TARGET_ADDRESS_BYTES_MAX);
    return 0;
}

static int check_label(struct label label, size_t group, char ret_error[static 256])
{
    if (!label_name_is_valid(label.name) || label.name.len > LABEL_NAME_BYTES_MAX)
        return error_text(-EINVAL, ret_error, "group %zu: \"%.64s\" is not a label name", group, label.name.ptr);
    if (label.value.len > LABEL_VALUE_BYTES_MAX)
        return error_text(-EINVAL, ret_error, "group %zu: the value of %.64s is longer than %zu bytes", group,
                          label.name.ptr, LABEL_VALUE_BYTES_MAX);
    return 0;
}

static int check_group(const struct target_group *group, size_t index, char ret_error[static 256])
{
    int r = 0;
    if (group->label_count >= LABELS_MAX)
        return error_text(-EINVAL, ret_error, "group %zu: more than %d labels", index, LABELS_MAX - 1);
    for (size_t i = 0; r == 0 && i < group->address_count; i++)
        r = check_address(group->addresses[i], index, ret_error);
    for (size_t i = 0; r == 0 && i < group->label_count; i++)
        r = check_label(group->labels[i], index, ret_error);
    return r;
}

/* ---- YAML ---- */

struct yaml_group {
    struct conf_strings targets;
    struct conf_string_map labels;
};

static const struct conf_table group_table = {
    .title = "a target group",
    .struct_bytes = sizeof(struct yaml_group),
    .options =
        (const struct conf_option[]){
            {.name = "targets",
             .type = CONF_STRINGS,
             .offset = offsetof(struct yaml_group, targets),
             .max = TARGET_GROUP_TARGETS_MAX,
             .help = "host:port each."},
            {.name = "labels",
             .type = CONF_STRING_MAP,
             .offset = offsetof(struct yaml_group, labels),
             .help = "Labels of all of them."},
            {0},
        },
};
static const struct conf_option groups_option = {
    .name = "target groups", .type = CONF_LIST, .max = TARGET_GROUPS_MAX, .table = &group_table};

static struct target_group group_of_yaml(struct arena *arena, const struct yaml_group *from)
{
    struct str *addresses = arena_array(arena, from->targets.count, sizeof(*addresses));
    struct label *labels = arena_array(arena, from->labels.count, sizeof(*labels));
    for (size_t i = 0; i < from->targets.count; i++)
        addresses[i] = str_from(from->targets.items[i]);
    for (size_t i = 0; i < from->labels.count; i++)
        labels[i] = (struct label){str_from(from->labels.items[i].name), str_from(from->labels.items[i].value)};
    return (struct target_group){addresses, from->targets.count, labels, from->labels.count};
}

static int decode_yaml(struct target_groups *groups, struct str text, char ret_error[static 256])
{
    CLEANUP(conf_freep) struct conf *conf = NULL;
    const struct conf_source source = {.fs = file_system_real(), .text = text, .name = "line"};
    struct conf_list list;
    int r = conf_load_list(&source, &groups_option, &list, &groups->arena, &conf);
    if (r < 0) {
        const char *errors = conf_errors(conf);
        return error_text(-EINVAL, ret_error, "%.*s", (int)str_find(str_from(errors), '\n'), errors);
    }
    const struct yaml_group *from = list.items;
    struct target_group *items = arena_array(&groups->arena, list.count, sizeof(*items));
    for (size_t i = 0; i < list.count; i++)
        items[i] = group_of_yaml(&groups->arena, &from[i]);
    groups->items = items;
    groups->count = list.count;
    return 0;
}

/* ---- JSON ---- */

static struct str json_view(const json_t *value)
{
    return str_of(json_string_value(value), json_string_length(value));
}

static int addresses_of_json(struct arena *arena, json_t *array, size_t index, struct target_group *group,
                             char ret_error[static 256])
{
    size_t count = json_array_size(array);
    if (!json_is_array(array) || count > TARGET_GROUP_TARGETS_MAX)
        return error_text(-EINVAL, ret_error, "group %zu: targets: expected a list of at most %d texts", index,
                          TARGET_GROUP_TARGETS_MAX);
    struct str *addresses = arena_array(arena, count, sizeof(*addresses));
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array_get(array, i);
        if (!json_is_string(item))
            return error_text(-EINVAL, ret_error, "group %zu: targets: expected texts", index);
        addresses[i] = arena_str(arena, json_view(item));
    }
    group->addresses = addresses;
    group->address_count = count;
    return 0;
}

static int labels_of_json(struct arena *arena, json_t *object, size_t index, struct target_group *group,
                          char ret_error[static 256])
{
    const char *name;
    json_t *value;
    if (!json_is_object(object))
        return error_text(-EINVAL, ret_error, "group %zu: labels: expected an object", index);
    struct label *labels = arena_array(arena, json_object_size(object), sizeof(*labels));
    json_object_foreach(object, name, value)
    {
        if (!json_is_string(value))
            return error_text(-EINVAL, ret_error, "group %zu: the value of label \"%.64s\" is not a text", index, name);
        labels[group->label_count++] =
            (struct label){arena_str(arena, str_from(name)), arena_str(arena, json_view(value))};
    }
    group->labels = labels;
    return 0;
}

static int group_of_json(struct arena *arena, json_t *object, size_t index, struct target_group *group,
                         char ret_error[static 256])
{
    const char *name;
    json_t *value;
    int r = 0;
    if (!json_is_object(object))
        return error_text(-EINVAL, ret_error, "group %zu is not an object", index);
    json_object_foreach(object, name, value)
    {
        if (strcmp(name, "targets") == 0)
            r = addresses_of_json(arena, value, index, group, ret_error);
        else if (strcmp(name, "labels") == 0)
            r = labels_of_json(arena, value, index, group, ret_error);
        else
            r = error_text(-EINVAL, ret_error, "group %zu: unknown key \"%.64s\"", index, name);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool is_too_nested(struct str text)
{
    size_t containers = 0;
    for (size_t i = 0; i < text.len; i++)
        containers += text.ptr[i] == '[' || text.ptr[i] == '{';
    /* Brackets inside of texts count too: no label has a hundred thousand. */
    return containers > JSON_CONTAINERS_MAX;
}

static void json_free(json_t **json)
{
    json_decref(*json);
}

static int decode_json(struct target_groups *groups, struct str text, char ret_error[static 256])
{
    json_error_t error;
    if (is_too_nested(text))
        return error_text(-EINVAL, ret_error, "more than %d groups", TARGET_GROUPS_MAX);
    CLEANUP(json_free) json_t *root = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return error_text(-EINVAL, ret_error, "line %d:%d: %s", error.line, error.column, error.text);
    size_t count = json_array_size(root);
    if (!json_is_array(root) || count > TARGET_GROUPS_MAX)
        return error_text(-EINVAL, ret_error, "expected a list of at most %d target groups", TARGET_GROUPS_MAX);
    struct target_group *items = arena_array(&groups->arena, count, sizeof(*items));
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = group_of_json(&groups->arena, json_array_get(root, i), i, &items[i], ret_error);
    groups->items = items;
    groups->count = r == 0 ? count : 0;
    return r;
}

/* ---- both ---- */

int target_groups_decode(struct str text, enum target_format format, char ret_error[static 256],
                         struct target_groups **ret_groups)
{
    if (text.len > TARGET_FILE_BYTES_MAX) {
        error_text(-EINVAL, ret_error, "larger than %zu MiB", TARGET_FILE_BYTES_MAX / MIB);
        return -EFBIG;
    }
    CLEANUP(target_groups_freep) struct target_groups *groups = mem_zalloc(sizeof(*groups));
    arena_init(&groups->arena, 0);
    int r = format == TARGET_JSON ? decode_json(groups, text, ret_error) : decode_yaml(groups, text, ret_error);
    for (size_t i = 0; r == 0 && i < groups->count; i++) {
        r = check_group(&groups->items[i], i, ret_error);
        groups->address_total += groups->items[i].address_count;
    }
    if (r < 0)
        return r;
    *ret_groups = STEAL(groups);
    return 0;
}

void target_groups_free(struct target_groups *groups)
{
    if (!groups)
        return;
    arena_done(&groups->arena);
    mem_free(groups);
}
