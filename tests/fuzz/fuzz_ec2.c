/* Answers of EC2: the first byte says of which kind and in what pieces they come. What is read does not depend on the
 * pieces, and is within its ceilings. */
#include "base/fail.h"
#include "discovery/ec2_answer.h"
#include "discovery/ec2_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen { /* all that was told, as text */
    struct buf text;
    struct arena arena;
};

static void on_instance(void *arg, const struct ec2_instance *instance)
{
    struct seen *seen = arg;
    const struct ec2_target_place place = {.region = STR("r"), .zone_id = STR("z"), .port = 80};
    struct discovery_group group;
    ASSERT(instance->instance_id.len > 0 && instance->instance_id.len <= EC2_TEXT_BYTES_MAX);
    ASSERT(instance->tag_count <= EC2_TAGS_MAX && instance->interface_count <= EC2_INTERFACES_MAX);
    for (size_t i = 0; i < instance->address_count; i++)
        ASSERT(instance->addresses[i].interface < instance->interface_count);
    if (!ec2_target_group(instance, &place, &seen->arena, &group))
        return;
    ASSERT(group.target_count == 1 && group.targets[0].address.len > 0 && group.targets[0].label_count == 0);
    buf_printf(&seen->text, STR_FMT, STR_ARG(group.targets[0].address));
    for (size_t i = 0; i < group.label_count; i++) {
        ASSERT(label_name_is_valid(group.labels[i].name) && str_is_utf8(group.labels[i].value));
        for (size_t j = 0; j < i; j++)
            ASSERT(!str_equal(group.labels[i].name, group.labels[j].name));
        buf_printf(&seen->text, " " STR_FMT "=" STR_FMT, STR_ARG(group.labels[i].name), STR_ARG(group.labels[i].value));
    }
    arena_reset(&seen->arena);
}

static void on_zone(void *arg, struct str name, struct str id)
{
    struct seen *seen = arg;
    ASSERT(name.len > 0 && str_is_utf8(name) && str_is_utf8(id));
    buf_printf(&seen->text, " " STR_FMT "=" STR_FMT, STR_ARG(name), STR_ARG(id));
}

static int read_answer(struct ec2_answer *answer, struct str body, size_t piece)
{
    int r = 0;
    for (size_t at = 0; r == 0 && at < body.len; at += piece)
        r = ec2_answer_feed(answer, str_of(body.ptr + at, MIN(piece, body.len - at)));
    if (r == 0)
        r = ec2_answer_end(answer);
    ASSERT(r == 0 || ec2_answer_error(answer)[0]);
    return r;
}

static void check_kind(enum ec2_answer_kind kind, struct str body, size_t piece)
{
    struct seen whole = {.text = BUF_INIT(64 * MIB)}, pieces = {.text = BUF_INIT(64 * MIB)};
    struct ec2_answer_options options = {.kind = kind, .instance = on_instance, .zone = on_zone, .arg = &whole};
    CLEANUP(ec2_answer_freep) struct ec2_answer *a = ec2_answer_new(&options);
    options.arg = &pieces;
    CLEANUP(ec2_answer_freep) struct ec2_answer *b = ec2_answer_new(&options);
    arena_init(&whole.arena, 0);
    arena_init(&pieces.arena, 0);
    int r = read_answer(a, body, MAX(body.len, 1));
    ASSERT(read_answer(b, body, piece) == r);
    ASSERT(str_equal(buf_view(&whole.text), buf_view(&pieces.text)));
    ASSERT(str_equal(ec2_answer_next_token(a), ec2_answer_next_token(b)));
    /* After a reset it is as new. */
    buf_reset(&pieces.text);
    ec2_answer_reset(b);
    ASSERT(read_answer(b, body, piece + 1) == r);
    ASSERT(str_equal(buf_view(&whole.text), buf_view(&pieces.text)));
    buf_done(&whole.text);
    buf_done(&pieces.text);
    arena_done(&whole.arena);
    arena_done(&pieces.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str body = str_of(data + 1, size - 1);
    if (data[0] % 3 != EC2_ERROR) {
        check_kind(data[0] % 3, body, (size_t)data[0] / 3 + 1);
        return 0;
    }
    char code[EC2_ERROR_CODE_BYTES], text[256];
    ec2_answer_error_text(body, code, text);
    ASSERT(text[0] && str_starts_with(str_from(text), str_from(code)));
    for (const char *at = text; *at; at++)
        ASSERT(*at >= ' ' && *at <= '~');
    return 0;
}
