#include "discovery/consul_instance.h"

#include "base/fail.h"
#include "discovery/meta_name.h"

#include <errno.h>

#define PREFIX           "__meta_consul_"
#define MAINTENANCE_NODE "_node_maintenance"
#define MAINTENANCE      "_service_maintenance:" /* and the service's id */

enum { CHECK_PASSING, CHECK_WARNING, CHECK_CRITICAL, CHECK_MAINTENANCE };
static const char *const check_states[] = {"passing", "warning", "critical", "maintenance"};

/* ---- health ---- */

/* Of one check; -1: none that Consul has. */
static int state_of(const struct json_node *check)
{
    struct str id = json_get_text(check, "CheckID"), status = json_get_text(check, "Status");
    if (str_equal(id, STR(MAINTENANCE_NODE)) || str_starts_with(id, STR(MAINTENANCE)))
        return CHECK_MAINTENANCE;
    for (int state = CHECK_PASSING; state < CHECK_MAINTENANCE; state++)
        if (str_equal(status, str_from(check_states[state])))
            return state;
    return -1;
}

/* The worst of all, as HealthChecks.AggregatedStatus of Consul's own client has it: without a check it is passing, with
 * one it does not know there is no telling. */
static struct str health_of(const struct json_node *checks)
{
    int worst = CHECK_PASSING;
    JSON_FOREACH(check, checks)
    {
        int state = state_of(check);
        if (state < 0)
            return STR_NULL;
        worst = MAX(worst, state);
    }
    return str_from(check_states[worst]);
}

/* ---- labels ---- */

struct label_list { /* of one target; room was made for all that can come */
    struct label *items;
    size_t count;
    struct arena *arena;
    bool full; /* the arena is */
};

static void add(struct label_list *list, struct str name, struct str value)
{
    struct str kept = arena_str(list->arena, value);
    list->full = list->full || !name.ptr || !kept.ptr;
    list->items[list->count++] = (struct label){name, kept};
}

static void add_all(struct label_list *list, struct str prefix, const struct json_node *map)
{
    JSON_FOREACH(member, map)
    if (member->kind == JSON_STRING)
        add(list, meta_name(list->arena, prefix, member->key), member->text);
}

/* With the separator at both ends, so that an expression need not care where a tag stands. */
static void add_tags(struct label_list *list, struct str separator, const struct json_node *tags)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(DISCOVERY_GROUP_BYTES_MAX);
    bool first = true;
    buf_append_str(&text, separator);
    JSON_FOREACH(tag, tags)
    {
        buf_append_str(&text, first ? STR("") : separator);
        buf_append_str(&text, tag->text);
        first = false;
    }
    buf_append_str(&text, separator);
    list->full = list->full || text.full;
    add(list, STR(PREFIX "tags"), buf_view(&text));
}

static struct str join_address(struct arena *arena, struct str host, struct str port)
{
    bool bracket = str_find(host, ':') < host.len || str_find(host, '%') < host.len;
    char *text =
        arena_printf(arena, bracket ? "[" STR_FMT "]:" STR_FMT : STR_FMT ":" STR_FMT, STR_ARG(host), STR_ARG(port));
    return str_from(text);
}

/* -EBADMSG: it is there and no number of a port's kind. Consul leaves it out, or says 0, where there is none. */
static int read_port(const struct json_node *service, struct str *ret_port)
{
    const struct json_node *node = json_get(service, "Port");
    int64_t port = 0;
    if (node && node->kind != JSON_NULL && (node->kind != JSON_NUMBER || str_to_i64(node->text, &port) < 0))
        return -EBADMSG;
    *ret_port = node && node->kind == JSON_NUMBER ? node->text : STR("0");
    return 0;
}

static size_t count_of(const struct json_node *node, const char *key)
{
    const struct json_node *value = json_get(node, key);
    return value ? value->count : 0;
}

static int refuse_large(const struct arena *arena, char ret_reason[static 256])
{
    return error_text(-EMSGSIZE, ret_reason, "the labels of all instances take more than %zu MiB",
                      arena->bytes_max / MIB);
}

int consul_instance_read(const struct json_node *item, const char *tag_separator, struct arena *arena,
                         struct discovery_target *ret_target, char ret_reason[static 256])
{
    const struct json_node *node = json_get(item, "Node"), *service = json_get(item, "Service");
    struct str port, address = json_get_text(service, "Address");
    if (!node || node->kind != JSON_OBJECT || !service || service->kind != JSON_OBJECT)
        return error_text(-EBADMSG, ret_reason, "an instance without Node and Service");
    if (read_port(service, &port) < 0)
        return error_text(-EBADMSG, ret_reason, "an instance whose Port is no number");
    const struct {
        struct str name, value;
    } plain[] = {
        {STR(PREFIX "address"), json_get_text(node, "Address")},
        {STR(PREFIX "node"), json_get_text(node, "Node")},
        {STR(PREFIX "namespace"), json_get_text(service, "Namespace")},
        {STR(PREFIX "partition"), json_get_text(service, "Partition")},
        {STR(PREFIX "service_address"), address},
        {STR(PREFIX "service_port"), port},
        {STR(PREFIX "service_id"), json_get_text(service, "ID")},
        {STR(PREFIX "health"), health_of(json_get(item, "Checks"))},
    };
    size_t most = ARRAY_LEN(plain) + 1 /* tags */ + count_of(node, "Meta") + count_of(service, "Meta") +
                  count_of(node, "TaggedAddresses");
    struct label_list list = {.items = arena_array(arena, most, sizeof(struct label)), .arena = arena};
    if (!list.items)
        return refuse_large(arena, ret_reason);
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        if (plain[i].value.len > 0)
            add(&list, plain[i].name, plain[i].value);
    add_tags(&list, str_from(tag_separator), json_get(service, "Tags"));
    add_all(&list, STR(PREFIX "metadata_"), json_get(node, "Meta"));
    add_all(&list, STR(PREFIX "service_metadata_"), json_get(service, "Meta"));
    add_all(&list, STR(PREFIX "tagged_address_"), json_get(node, "TaggedAddresses"));
    ASSERT(list.count <= most);
    /* The service's own address where it has one: it may be registered through another node. */
    struct str joined = join_address(arena, address.len > 0 ? address : json_get_text(node, "Address"), port);
    if (list.full || !joined.ptr)
        return refuse_large(arena, ret_reason);
    *ret_target = (struct discovery_target){joined, list.items, list.count};
    return 0;
}

uint64_t consul_instance_node(const struct json_node *item)
{
    return str_hash(json_get_text(json_get(item, "Node"), "Node"));
}

int consul_check_read(const struct json_node *item, struct consul_check *ret_check, char ret_reason[static 256])
{
    static const char *const keys[] = {"Node", "CheckID", "ServiceID", "Status"};
    if (!json_get(item, "CheckID") || !json_get(item, "Status"))
        return error_text(-EBADMSG, ret_reason, "a check without CheckID and Status");
    uint64_t state = 0;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        state = (state ^ str_hash(json_get_text(item, keys[i]))) * 0x9e3779b97f4a7c15u; /* odd: no bit is lost */
    *ret_check =
        (struct consul_check){json_get_text(item, "ServiceName"), str_hash(json_get_text(item, "Node")), state};
    return 0;
}
