#include "discovery/ec2_answer.h"

#include "base/arena.h"
#include "base/fail.h"

#include <errno.h>
#include <expat.h>
#include <stdio.h>

#define SLICE_BYTES                                                                                                    \
    (64 * KIB) /* fed to expat at a time: what it holds of an unfinished token is looked at in between */

struct ec2_field { /* an element that is read */
    enum ec2_answer_kind kind;
    struct str path;                 /* names from the outermost on, each after a / */
    size_t offset;                   /* of a struct str of struct ec2_answer that gets its text; 0: none */
    bool kept;                       /* the text outlives the instance */
    int (*end)(struct ec2_answer *); /* it is complete, with all in it; NULL: nothing to do */
};

struct ec2_answer {
    XML_Parser xml;
    struct ec2_answer_options options;
    struct buf path;
    size_t depth, path_bytes[EC2_DEPTH_MAX]; /* of the path before each open element */
    const struct ec2_field *field;           /* the innermost open element, where its text is wanted */
    struct buf text;
    uint64_t fed_bytes;
    struct arena item_arena, kept_arena;
    struct str owner_id, next_token, code, message; /* kept */
    /* What is being read, in item_arena. */
    struct ec2_instance instance;
    struct ec2_interface interfaces[EC2_INTERFACES_MAX], interface;
    struct ec2_address addresses[EC2_ADDRESSES_MAX], address;
    struct label tags[EC2_TAGS_MAX], tag;
    struct str device_index, is_primary, zone_name, zone_id;
    bool listed; /* the list was there, be it empty: an answer without one is not an answer that there is nothing */
    int result;  /* negative: refused, the error is told */
    char error[256];
};

/* One line for people: of what a server sent, the printable ASCII, a space for runs of all else. */
static void print_line(struct str bytes, size_t len_max, char *ret_line)
{
    size_t len = 0;
    for (size_t i = 0; i < bytes.len && len < len_max; i++) {
        bool printable = bytes.ptr[i] > ' ' && bytes.ptr[i] <= '~';
        if (printable)
            ret_line[len++] = bytes.ptr[i];
        else if (len > 0 && ret_line[len - 1] != ' ')
            ret_line[len++] = ' ';
    }
    ret_line[len] = '\0';
}

/* ---- Elements that are complete ---- */

static int fail_count(struct ec2_answer *answer, const char *what, size_t max)
{
    char id[32];
    print_line(answer->instance.instance_id, sizeof(id) - 1, id);
    return error_text(-EMSGSIZE, answer->error, "instance %s has more than %zu %s", id, max, what);
}

static int tag_end(struct ec2_answer *answer)
{
    struct ec2_instance *instance = &answer->instance;
    if (instance->tag_count == EC2_TAGS_MAX)
        return fail_count(answer, "tags", EC2_TAGS_MAX);
    answer->tags[instance->tag_count++] = answer->tag;
    answer->tag = (struct label){0};
    return 0;
}

static int address_end(struct ec2_answer *answer)
{
    struct ec2_instance *instance = &answer->instance;
    if (instance->address_count == EC2_ADDRESSES_MAX)
        return fail_count(answer, "IPv6 addresses", EC2_ADDRESSES_MAX);
    answer->address.interface = instance->interface_count; /* the one that is not complete yet */
    answer->address.primary = str_equal(answer->is_primary, STR("true"));
    answer->addresses[instance->address_count++] = answer->address;
    answer->address = (struct ec2_address){0};
    answer->is_primary = STR_NULL;
    return 0;
}

static int interface_end(struct ec2_answer *answer)
{
    struct ec2_instance *instance = &answer->instance;
    uint64_t index;
    if (instance->interface_count == EC2_INTERFACES_MAX)
        return fail_count(answer, "network interfaces", EC2_INTERFACES_MAX);
    if (str_to_u64(answer->device_index, &index) < 0 || index > EC2_DEVICE_MAX)
        index = SIZE_MAX;
    answer->interface.device_index = index;
    answer->interfaces[instance->interface_count++] = answer->interface;
    answer->interface = (struct ec2_interface){0};
    answer->device_index = STR_NULL;
    return 0;
}

static int instance_end(struct ec2_answer *answer)
{
    struct ec2_instance *instance = &answer->instance;
    if (instance->instance_id.len == 0)
        return error_text(-EBADMSG, answer->error, "an instance has no instanceId");
    instance->owner_id = answer->owner_id; /* told before the instances, as the API's schema orders it */
    instance->interfaces = answer->interfaces;
    instance->addresses = answer->addresses;
    instance->tags = answer->tags;
    answer->options.instance(answer->options.arg, instance);
    *instance = (struct ec2_instance){0};
    arena_reset(&answer->item_arena);
    return 0;
}

static int list_end(struct ec2_answer *answer)
{
    answer->listed = true;
    return 0;
}

static int reservation_end(struct ec2_answer *answer)
{
    answer->owner_id = STR_NULL;
    return 0;
}

static int zone_end(struct ec2_answer *answer)
{
    if (answer->zone_name.len > 0)
        answer->options.zone(answer->options.arg, answer->zone_name, answer->zone_id);
    answer->zone_name = answer->zone_id = STR_NULL;
    arena_reset(&answer->item_arena);
    return 0;
}

/* ---- What is read ---- */

#define ANSWER      "/DescribeInstancesResponse"
#define RESERVATION ANSWER "/reservationSet/item"
#define INSTANCE    RESERVATION "/instancesSet/item"
#define INTERFACE   INSTANCE "/networkInterfaceSet/item"
#define ADDRESS     INTERFACE "/ipv6AddressesSet/item"
#define ZONES       "/DescribeAvailabilityZonesResponse/availabilityZoneInfo"
#define ZONE        ZONES "/item"
/* A text of an instance or one that outlives it; the end of an item. */
#define TEXT(kind, path, member)                                                                                       \
    {                                                                                                                  \
        kind, STR(path), offsetof(struct ec2_answer, member), false, NULL                                              \
    }
#define KEPT(kind, path, member)                                                                                       \
    {                                                                                                                  \
        kind, STR(path), offsetof(struct ec2_answer, member), true, NULL                                               \
    }
#define ITEM(kind, path, end)                                                                                          \
    {                                                                                                                  \
        kind, STR(path), 0, false, end                                                                                 \
    }

static const struct ec2_field fields[] = {
    TEXT(EC2_INSTANCES, INSTANCE "/instanceId", instance.instance_id),
    TEXT(EC2_INSTANCES, INSTANCE "/imageId", instance.image_id),
    TEXT(EC2_INSTANCES, INSTANCE "/instanceState/name", instance.state),
    TEXT(EC2_INSTANCES, INSTANCE "/privateDnsName", instance.private_dns),
    TEXT(EC2_INSTANCES, INSTANCE "/dnsName", instance.public_dns),
    TEXT(EC2_INSTANCES, INSTANCE "/instanceType", instance.type),
    TEXT(EC2_INSTANCES, INSTANCE "/placement/availabilityZone", instance.zone),
    TEXT(EC2_INSTANCES, INSTANCE "/platform", instance.platform),
    TEXT(EC2_INSTANCES, INSTANCE "/subnetId", instance.subnet_id),
    TEXT(EC2_INSTANCES, INSTANCE "/vpcId", instance.vpc_id),
    TEXT(EC2_INSTANCES, INSTANCE "/privateIpAddress", instance.private_ip),
    TEXT(EC2_INSTANCES, INSTANCE "/ipAddress", instance.public_ip),
    TEXT(EC2_INSTANCES, INSTANCE "/ipv6Address", instance.ipv6_address),
    TEXT(EC2_INSTANCES, INSTANCE "/architecture", instance.architecture),
    TEXT(EC2_INSTANCES, INSTANCE "/instanceLifecycle", instance.lifecycle),
    TEXT(EC2_INSTANCES, INSTANCE "/tagSet/item/key", tag.name),
    TEXT(EC2_INSTANCES, INSTANCE "/tagSet/item/value", tag.value),
    ITEM(EC2_INSTANCES, INSTANCE "/tagSet/item", tag_end),
    TEXT(EC2_INSTANCES, INTERFACE "/subnetId", interface.subnet_id),
    TEXT(EC2_INSTANCES, INTERFACE "/attachment/deviceIndex", device_index),
    TEXT(EC2_INSTANCES, ADDRESS "/ipv6Address", address.text),
    TEXT(EC2_INSTANCES, ADDRESS "/isPrimaryIpv6", is_primary),
    ITEM(EC2_INSTANCES, ADDRESS, address_end),
    ITEM(EC2_INSTANCES, INTERFACE, interface_end),
    ITEM(EC2_INSTANCES, INSTANCE, instance_end),
    KEPT(EC2_INSTANCES, RESERVATION "/ownerId", owner_id),
    ITEM(EC2_INSTANCES, RESERVATION, reservation_end),
    ITEM(EC2_INSTANCES, ANSWER "/reservationSet", list_end),
    KEPT(EC2_INSTANCES, ANSWER "/nextToken", next_token),
    TEXT(EC2_ZONES, ZONE "/zoneName", zone_name),
    TEXT(EC2_ZONES, ZONE "/zoneId", zone_id),
    ITEM(EC2_ZONES, ZONE, zone_end),
    ITEM(EC2_ZONES, ZONES, list_end),
    KEPT(EC2_ERROR, "/Response/Errors/Error/Code", code),
    KEPT(EC2_ERROR, "/Response/Errors/Error/Message", message),
    KEPT(EC2_ERROR, "/ErrorResponse/Error/Code", code), /* as AWS' other services write it */
    KEPT(EC2_ERROR, "/ErrorResponse/Error/Message", message),
};

static const struct ec2_field *field_find(const struct ec2_answer *answer)
{
    struct str path = buf_view(&answer->path);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].kind == answer->options.kind && str_equal(fields[i].path, path))
            return &fields[i];
    return NULL;
}

/* The path is that of an outermost element of some field. */
static bool root_is_known(const struct ec2_answer *answer)
{
    struct str path = buf_view(&answer->path);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].kind == answer->options.kind && str_starts_with(fields[i].path, path) &&
            fields[i].path.ptr[path.len] == '/')
            return true;
    return false;
}

/* ---- What expat calls. It may go on for a little after it was told to stop. ---- */

static void refuse(struct ec2_answer *answer, int result)
{
    answer->result = result;
    XML_StopParser(answer->xml, XML_FALSE);
}

static void refuse_foreign(struct ec2_answer *answer, const char *opening, const char *name)
{
    char shown[65];
    print_line(str_from(name), sizeof(shown) - 1, shown);
    refuse(answer, error_text(-EBADMSG, answer->error, "not an answer of EC2: it begins with %s%s>", opening, shown));
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal)
{
    struct ec2_answer *answer = arg;
    (void)system, (void)public, (void)internal;
    if (answer->result == 0)
        refuse_foreign(answer, "<!DOCTYPE ", name);
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct ec2_answer *answer = arg;
    (void)attributes;
    if (answer->result < 0)
        return;
    if (answer->depth == EC2_DEPTH_MAX) {
        refuse(answer, error_text(-EMSGSIZE, answer->error, "more than %d elements in one another", EC2_DEPTH_MAX));
        return;
    }
    answer->path_bytes[answer->depth++] = answer->path.len;
    buf_append_byte(&answer->path, '/');
    if (buf_append_text(&answer->path, name) < 0) {
        refuse(answer, error_text(-EMSGSIZE, answer->error, "elements with names of more than %d bytes together",
                                  EC2_PATH_BYTES_MAX));
        return;
    }
    if (answer->depth == 1 && !root_is_known(answer)) {
        refuse_foreign(answer, "<", name);
        return;
    }
    const struct ec2_field *field = field_find(answer);
    answer->field = field && field->offset > 0 ? field : NULL;
    buf_reset(&answer->text);
}

static void on_text(void *arg, const XML_Char *text, int len)
{
    struct ec2_answer *answer = arg;
    if (answer->result < 0 || !answer->field)
        return;
    if (buf_append(&answer->text, text, (size_t)len) < 0)
        refuse(answer, error_text(-EMSGSIZE, answer->error, "a text of more than %zu bytes in " STR_FMT,
                                  EC2_TEXT_BYTES_MAX, STR_ARG(answer->field->path)));
}

static int keep_text(struct ec2_answer *answer, const struct ec2_field *field)
{
    struct arena *arena = field->kept ? &answer->kept_arena : &answer->item_arena;
    struct str text = arena_str(arena, buf_view(&answer->text));
    if (!text.ptr)
        return error_text(-EMSGSIZE, answer->error, "more than %zu bytes of one instance, or of a page beside them",
                          EC2_KEPT_BYTES_MAX);
    *(struct str *)(void *)((char *)answer + field->offset) = text;
    return 0;
}

static void on_end(void *arg, const XML_Char *name)
{
    struct ec2_answer *answer = arg;
    (void)name;
    if (answer->result < 0)
        return;
    int r = 0;
    if (answer->field) {
        r = keep_text(answer, answer->field);
    } else {
        const struct ec2_field *field = field_find(answer);
        if (field && field->end)
            r = field->end(answer);
    }
    answer->field = NULL;
    if (r < 0) {
        refuse(answer, r);
        return;
    }
    answer->path.len = answer->path_bytes[--answer->depth];
}

/* ---- The face ---- */

struct ec2_answer *ec2_answer_new(const struct ec2_answer_options *options)
{
    struct ec2_answer *answer = mem_zalloc(sizeof(*answer));
    answer->options = *options;
    answer->xml = XML_ParserCreate(NULL);
    if (!answer->xml)
        fatal("no memory for an XML parser");
    buf_init(&answer->path, EC2_PATH_BYTES_MAX);
    buf_init(&answer->text, EC2_TEXT_BYTES_MAX);
    arena_init(&answer->item_arena, EC2_KEPT_BYTES_MAX);
    arena_init(&answer->kept_arena, EC2_KEPT_BYTES_MAX);
    ec2_answer_reset(answer);
    return answer;
}

void ec2_answer_free(struct ec2_answer *answer)
{
    if (!answer)
        return;
    XML_ParserFree(answer->xml);
    buf_done(&answer->path);
    buf_done(&answer->text);
    arena_done(&answer->item_arena);
    arena_done(&answer->kept_arena);
    mem_free(answer);
}

void ec2_answer_reset(struct ec2_answer *answer)
{
    XML_ParserReset(answer->xml, NULL);
    XML_SetUserData(answer->xml, answer);
    XML_SetElementHandler(answer->xml, on_start, on_end);
    XML_SetCharacterDataHandler(answer->xml, on_text);
    XML_SetStartDoctypeDeclHandler(answer->xml, on_doctype);
    buf_reset(&answer->path);
    buf_reset(&answer->text);
    arena_reset(&answer->item_arena);
    arena_reset(&answer->kept_arena);
    answer->depth = 0;
    answer->field = NULL;
    answer->fed_bytes = 0;
    answer->owner_id = answer->next_token = answer->code = answer->message = STR_NULL;
    answer->instance = (struct ec2_instance){0};
    answer->interface = (struct ec2_interface){0};
    answer->address = (struct ec2_address){0};
    answer->tag = (struct label){0};
    answer->device_index = answer->is_primary = answer->zone_name = answer->zone_id = STR_NULL;
    answer->listed = false;
    answer->result = 0;
    answer->error[0] = '\0';
}

static int feed_slice(struct ec2_answer *answer, struct str bytes, bool last)
{
    ASSERT(answer->result == 0 && bytes.len <= SLICE_BYTES);
    enum XML_Status status = XML_Parse(answer->xml, bytes.ptr, (int)bytes.len, last);
    if (answer->result == 0 && status != XML_STATUS_OK)
        answer->result =
            error_text(-EBADMSG, answer->error, "not XML, or half of it: %s in line %lu",
                       XML_ErrorString(XML_GetErrorCode(answer->xml)), XML_GetCurrentLineNumber(answer->xml));
    if (answer->result < 0)
        return answer->result;
    answer->fed_bytes += bytes.len;
    XML_Index seen = XML_GetCurrentByteIndex(answer->xml); /* where the unfinished token begins; -1: nothing came yet */
    if (!last && answer->fed_bytes - (uint64_t)MAX(seen, 0) > EC2_TOKEN_MAX)
        answer->result =
            error_text(-EMSGSIZE, answer->error, "an element's beginning of more than %zu bytes", EC2_TOKEN_MAX);
    return answer->result;
}

int ec2_answer_feed(struct ec2_answer *answer, struct str bytes)
{
    for (size_t at = 0; at < bytes.len; at += SLICE_BYTES) {
        int r = feed_slice(answer, str_of(bytes.ptr + at, MIN(SLICE_BYTES, bytes.len - at)), false);
        if (r < 0)
            return r;
    }
    return 0;
}

int ec2_answer_end(struct ec2_answer *answer)
{
    int r = feed_slice(answer, STR(""), true);
    if (r == 0 && !answer->listed)
        r = error_text(-EBADMSG, answer->error, "not an answer of EC2: no list stands in it");
    return r;
}

const char *ec2_answer_error(const struct ec2_answer *answer)
{
    return answer->error;
}

struct str ec2_answer_next_token(const struct ec2_answer *answer)
{
    return answer->next_token;
}

void ec2_answer_error_text(struct str body, char ret_code[static EC2_ERROR_CODE_BYTES], char ret_text[static 256])
{
    const struct ec2_answer_options options = {.kind = EC2_ERROR};
    CLEANUP(ec2_answer_freep) struct ec2_answer *answer = ec2_answer_new(&options);
    char line[200];
    ret_code[0] = '\0';
    ec2_answer_feed(answer, body); /* only the beginning may be there: what was read until then counts */
    if (answer->code.len > 0) {
        struct str message = answer->field ? buf_view(&answer->text) : answer->message;
        print_line(answer->code, EC2_ERROR_CODE_BYTES - 1, ret_code);
        print_line(message, sizeof(line) - 1, line);
        snprintf(ret_text, 256, "%s%s%s", ret_code, line[0] ? ": " : "", line);
        return;
    }
    print_line(body, 80, line);
    if (line[0])
        snprintf(ret_text, 256, "not an answer of EC2: it begins with %s", line);
    else
        snprintf(ret_text, 256, "an answer without text");
}
