#include "write/metadata.h"

#include "base/fail.h"
#include "base/map.h"
#include "metric/layout.h"

/* Not said again for so long, what was said may be replaced by what another sender says. */
#define STANDS_MS (10 * 60 * INT64_C(1000))

struct entry {
    struct wire_metadata says; /* views of text */
    int64_t said_ms;
    char text[];
};

struct metadata {
    struct map entries;
    size_t bytes;
    uint64_t version;
};

struct metadata *metadata_new(void)
{
    struct metadata *metadata = mem_zalloc(sizeof(*metadata));
    map_init(&metadata->entries);
    return metadata;
}

void metadata_free(struct metadata *metadata)
{
    if (!metadata)
        return;
    size_t at = 0;
    for (struct entry *entry; (entry = map_next(&metadata->entries, &at));)
        mem_free(entry);
    map_done(&metadata->entries);
    mem_free(metadata);
}

uint64_t metadata_version(const struct metadata *metadata)
{
    return metadata->version;
}

static bool is_entry(const void *item, const void *key)
{
    return str_equal(((const struct entry *)item)->says.name, *(const struct str *)key);
}

static const struct entry *find(const struct metadata *metadata, struct str name)
{
    return map_get(&metadata->entries, str_hash(name), is_entry, &name);
}

static struct str add_text(struct entry *entry, size_t *at, struct str text)
{
    struct str copy = {entry->text + *at, text.len};
    if (text.len > 0)
        memcpy(entry->text + *at, text.ptr, text.len);
    *at += text.len;
    return copy;
}

static size_t text_bytes(const struct wire_metadata *says)
{
    return says->name.len + says->help.len + says->unit.len;
}

static void add(struct metadata *metadata, const struct wire_metadata *said, int64_t now_ms)
{
    size_t at = 0;
    struct entry *entry = mem_alloc(sizeof(*entry) + text_bytes(said));
    *entry = (struct entry){.says = {.type = said->type}, .said_ms = now_ms};
    entry->says.name = add_text(entry, &at, said->name);
    entry->says.help = add_text(entry, &at, said->help);
    entry->says.unit = add_text(entry, &at, said->unit);
    map_put(&metadata->entries, str_hash(said->name), entry);
    metadata->bytes += at;
    metadata->version++;
}

/* What a family layout would not take is left out. */
static struct str text_within(struct str text, size_t bytes_max)
{
    return text.len <= bytes_max && str_is_utf8(text) ? text : STR("");
}

void metadata_put(struct metadata *metadata, const struct wire_metadata *given, int64_t now_ms)
{
    if (given->name.len > LABEL_NAME_BYTES_MAX || !metric_name_is_valid(given->name))
        return;
    struct wire_metadata said = *given;
    said.help = text_within(said.help, LAYOUT_HELP_BYTES_MAX);
    said.unit = text_within(said.unit, METADATA_UNIT_BYTES_MAX);
    struct entry *entry = map_get(&metadata->entries, str_hash(said.name), is_entry, &said.name);
    if (!entry) {
        if (metadata->entries.count < METADATA_FAMILIES_MAX &&
            metadata->bytes + text_bytes(&said) <= METADATA_BYTES_MAX)
            add(metadata, &said, now_ms);
        return;
    }
    if (entry->says.type == said.type && str_equal(entry->says.help, said.help) &&
        str_equal(entry->says.unit, said.unit)) {
        entry->said_ms = now_ms;
    } else if (now_ms - entry->said_ms > STANDS_MS &&
               metadata->bytes - text_bytes(&entry->says) + text_bytes(&said) <= METADATA_BYTES_MAX) {
        map_remove(&metadata->entries, str_hash(said.name), is_entry, &said.name);
        metadata->bytes -= text_bytes(&entry->says);
        mem_free(entry);
        add(metadata, &said, now_ms);
    }
}

struct wire_metadata metadata_family(const struct metadata *metadata, struct str metric)
{
    static const struct suffix {
        struct str text;
        bool types[METRIC_TYPE_COUNT];
    } suffixes[] = {
        {{"_bucket", 7}, {[METRIC_HISTOGRAM] = true}},
        {{"_sum", 4}, {[METRIC_HISTOGRAM] = true, [METRIC_SUMMARY] = true}},
        {{"_count", 6}, {[METRIC_HISTOGRAM] = true, [METRIC_SUMMARY] = true}},
        {{"_total", 6}, {[METRIC_COUNTER] = true}}, /* OpenMetrics' counters are told without it */
    };
    const struct entry *entry = find(metadata, metric);
    for (size_t i = 0; !entry && i < ARRAY_LEN(suffixes); i++) {
        if (!str_ends_with(metric, suffixes[i].text))
            continue;
        entry = find(metadata, str_of(metric.ptr, metric.len - suffixes[i].text.len));
        if (entry && !suffixes[i].types[entry->says.type])
            entry = NULL;
    }
    return entry ? entry->says : (struct wire_metadata){.name = metric, .help = STR(""), .unit = STR("")};
}
