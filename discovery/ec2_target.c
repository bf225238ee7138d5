#include "discovery/ec2_target.h"

#include "discovery/meta_name.h"

#define PREFIX "__meta_ec2_"

struct ec2_label { /* a label that is a text of the instance */
    struct str name;
    size_t offset;
};
#define LABEL(text, member)                                                                                            \
    {                                                                                                                  \
        STR(PREFIX text), offsetof(struct ec2_instance, member)                                                        \
    }

static const struct ec2_label always[] = {
    LABEL("ami", image_id),
    LABEL("architecture", architecture),
    LABEL("availability_zone", zone),
    LABEL("default_ipv6_address", ipv6_address),
    LABEL("instance_id", instance_id),
    LABEL("instance_lifecycle", lifecycle),
    LABEL("instance_state", state),
    LABEL("instance_type", type),
    LABEL("owner_id", owner_id),
    LABEL("platform", platform),
    LABEL("private_dns_name", private_dns),
    LABEL("private_ip", private_ip),
};
static const struct ec2_label with_public_ip[] = {
    LABEL("public_dns_name", public_dns),
    LABEL("public_ip", public_ip),
};
static const struct ec2_label with_vpc[] = {
    LABEL("primary_subnet_id", subnet_id),
    LABEL("vpc_id", vpc_id),
};
/* Region, zone id, subnets, two lists of addresses. */
#define MADE_LABELS 5

struct ec2_label_list {
    struct label *items;
    size_t count;
};

static void add(struct ec2_label_list *list, struct str name, struct str value)
{
    list->items[list->count++] = (struct label){name, value};
}

static void add_texts(struct ec2_label_list *list, const struct ec2_instance *instance, const struct ec2_label *labels,
                      size_t count)
{
    for (size_t i = 0; i < count; i++)
        add(list, labels[i].name, *(const struct str *)(const void *)((const char *)instance + labels[i].offset));
}

/* Commas between the texts and at both ends, so that ",x," finds x in any place; of no texts ",,", as in Prometheus. */
static struct str comma_list(struct arena *arena, const struct str *texts, size_t count)
{
    size_t len = count > 0 ? 1 : 2;
    for (size_t i = 0; i < count; i++)
        len += texts[i].len + 1;
    char *list = arena_alloc(arena, len), *at = list;
    memset(list, ',', len);
    at++;
    for (size_t i = 0; i < count; i++) {
        if (texts[i].len > 0)
            memcpy(at, texts[i].ptr, texts[i].len);
        at += texts[i].len + 1;
    }
    return str_of(list, len);
}

/* Of the interfaces that have one, each subnet once. */
static struct str subnet_list(const struct ec2_instance *instance, struct arena *arena)
{
    struct str subnets[EC2_INTERFACES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < instance->interface_count; i++) {
        struct str subnet = instance->interfaces[i].subnet_id;
        bool known = subnet.len == 0;
        for (size_t j = 0; j < count && !known; j++)
            known = str_equal(subnets[j], subnet);
        if (!known)
            subnets[count++] = subnet;
    }
    return comma_list(arena, subnets, count);
}

/* All IPv6 addresses of interfaces in a subnet, in EC2's order. Empty: none. */
static struct str address_list(const struct ec2_instance *instance, struct arena *arena)
{
    struct str addresses[EC2_ADDRESSES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < instance->address_count; i++)
        if (instance->interfaces[instance->addresses[i].interface].subnet_id.len > 0)
            addresses[count++] = instance->addresses[i].text;
    return count > 0 ? comma_list(arena, addresses, count) : STR_NULL;
}

/* The primary ones alone, each at the place of its interface's device index: ",,x," is that of the second. Empty: none.
 */
static struct str primary_list(const struct ec2_instance *instance, struct arena *arena)
{
    struct str devices[EC2_DEVICE_MAX + 1] = {0};
    size_t count = 0;
    for (size_t i = 0; i < instance->address_count; i++) {
        const struct ec2_address *address = &instance->addresses[i];
        const struct ec2_interface *interface = &instance->interfaces[address->interface];
        if (!address->primary || interface->subnet_id.len == 0 || interface->device_index > EC2_DEVICE_MAX)
            continue;
        devices[interface->device_index] = address->text;
        count = MAX(count, interface->device_index + 1);
    }
    return count > 0 ? comma_list(arena, devices, count) : STR_NULL;
}

/* Of two tags whose keys make one name the later wins, as in Prometheus. */
static void add_tags(struct ec2_label_list *list, const struct ec2_instance *instance, struct arena *arena)
{
    size_t first = list->count;
    for (size_t i = 0; i < instance->tag_count; i++) {
        struct str name = meta_name(arena, STR(PREFIX "tag_"), instance->tags[i].name);
        size_t at = first;
        while (at < list->count && !str_equal(list->items[at].name, name))
            at++;
        list->items[at] = (struct label){name, instance->tags[i].value};
        list->count = MAX(list->count, at + 1);
    }
}

/* host:port; an IPv6 address (of a server that is not AWS') in brackets. */
static struct str host_port(struct arena *arena, struct str host, uint16_t port)
{
    bool brackets = str_find(host, ':') < host.len;
    return str_from(arena_printf(arena, brackets ? "[" STR_FMT "]:%u" : STR_FMT ":%u", STR_ARG(host), port));
}

bool ec2_target_group(const struct ec2_instance *instance, const struct ec2_target_place *place, struct arena *arena,
                      struct discovery_group *ret_group)
{
    if (instance->private_ip.len == 0)
        return false;
    size_t count_max = ARRAY_LEN(always) + ARRAY_LEN(with_public_ip) + ARRAY_LEN(with_vpc) + MADE_LABELS;
    struct ec2_label_list list = {arena_array(arena, count_max + instance->tag_count, sizeof(struct label)), 0};
    struct discovery_target *target = arena_array(arena, 1, sizeof(*target));
    add_texts(&list, instance, always, ARRAY_LEN(always));
    add(&list, STR(PREFIX "region"), place->region);
    add(&list, STR(PREFIX "availability_zone_id"), place->zone_id);
    if (instance->public_ip.len > 0)
        add_texts(&list, instance, with_public_ip, ARRAY_LEN(with_public_ip));
    if (instance->vpc_id.len > 0) {
        add_texts(&list, instance, with_vpc, ARRAY_LEN(with_vpc));
        add(&list, STR(PREFIX "subnet_id"), subnet_list(instance, arena));
        add(&list, STR(PREFIX "ipv6_addresses"), address_list(instance, arena));
        add(&list, STR(PREFIX "primary_ipv6_addresses"), primary_list(instance, arena));
    }
    add_tags(&list, instance, arena);
    target->address = host_port(arena, instance->private_ip, place->port);
    *ret_group = (struct discovery_group){.source = instance->instance_id,
                                          .labels = list.items,
                                          .label_count = list.count,
                                          .targets = target,
                                          .target_count = 1};
    return true;
}
