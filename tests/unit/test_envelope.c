/* The envelope: what every tier reads of a batch comes back as it was, newer fields are passed over, damage is told. */
#include "base/fail.h"
#include "base/random.h"
#include "hop/envelope.h"
#include "hop/pack.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define HASHES_MAX 40

struct sample_envelope {
    struct envelope envelope;
    struct hash128 pages[HASHES_MAX];
    struct reason_count failed[8], dropped[8];
    uint64_t replaces[8];
};

static const char body[] = "any bytes at all";
#define BODY_BYTES (sizeof(body) - 1)

static void fill_hashes(struct random *random, struct hash128 *hashes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t number = random_next(random);
        hashes[i] = hash128_of(&number, sizeof(number));
    }
}

static uint32_t fill_reasons(struct random *random, struct reason_count *reasons)
{
    static const char *const words[] = {"timeout", "connect", "sample_limit", "x"};
    uint32_t count = (uint32_t)random_below(random, 8);
    for (uint32_t i = 0; i < count; i++)
        reasons[i] = (struct reason_count){str_from(words[i % 4]), random_next(random) >> random_below(random, 64)};
    return count;
}

/* In place: the envelope points into itself. */
static void fill(struct sample_envelope *sample, uint64_t seed)
{
    struct random random;
    random_seed(&random, seed);
    *sample = (struct sample_envelope){0};
    struct envelope *envelope = &sample->envelope;
    envelope->source = (struct source_id){STR("dc-1.eu"), STR("rack_7"), random_next(&random)};
    envelope->epoch = 1 + random_below(&random, 1000);
    envelope->seq = 1 + (random_next(&random) >> 1);
    envelope->resolution_ms = seed % 5 ? (int64_t)(1000 * (1 + random_below(&random, 300))) : 0;
    envelope->span_ms = seed % 5 ? envelope->resolution_ms * (int64_t)(1 + random_below(&random, 5)) : 60000;
    envelope->window_start_ms = (int64_t)random_below(&random, 2000000) * MAX(envelope->resolution_ms, 1);
    envelope->part = (uint32_t)random_below(&random, 65536);
    envelope->sealed_at_ms = (int64_t)random_below(&random, INT64_C(9223372036854));
    envelope->closed_through_ms = (int64_t)random_below(&random, INT64_C(9223372036854));
    fill_hashes(&random, &envelope->targets, 1);
    envelope->pages = sample->pages;
    envelope->page_count = (uint32_t)random_below(&random, HASHES_MAX);
    fill_hashes(&random, sample->pages, envelope->page_count);
    envelope->targets_expected = random_below(&random, UINT32_MAX);
    envelope->targets_answered = random_below(&random, 100);
    envelope->failed = sample->failed;
    envelope->failed_count = fill_reasons(&random, sample->failed);
    envelope->dropped = sample->dropped;
    envelope->dropped_count = fill_reasons(&random, sample->dropped);
    envelope->body_version = 1 + (uint32_t)random_below(&random, 3);
    envelope->body_bytes = BODY_BYTES;
    envelope->body_raw_bytes = random_below(&random, UINT32_MAX);
    envelope->body_crc32c = crc32c(0, body, BODY_BYTES);
    envelope->replaces = sample->replaces;
    envelope->replaces_count = (uint32_t)random_below(&random, 8);
    for (uint32_t i = 0; i < envelope->replaces_count; i++)
        sample->replaces[i] = 1 + (random_next(&random) >> 2);
    envelope->is_remote_write = random_below(&random, 2);
}

static void encode(const struct envelope *envelope, struct buf *out)
{
    assert_int_equal(envelope_encode(envelope, out), 0);
    assert_int_equal(buf_append(out, body, BODY_BYTES), 0);
}

static int decode(const void *bytes, size_t len, struct envelope *envelope)
{
    CLEANUP(arena_done) struct arena arena;
    arena_init(&arena, 4 * MIB);
    uint8_t *copy = mem_alloc(len ? len : 1);
    memcpy(copy, bytes, len);
    struct str rest = STR_NULL;
    int error = envelope_decode(copy, len, &arena, envelope, &rest);
    if (error == 0)
        assert_true(str_equal(rest, STR("any bytes at all")));
    mem_free(copy);
    return error;
}

static void assert_reasons(const struct reason_count *got, uint32_t got_count, const struct reason_count *wanted,
                           uint32_t count)
{
    assert_int_equal(got_count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(str_equal(got[i].reason, wanted[i].reason));
        assert_int_equal(got[i].count, wanted[i].count);
    }
}

static void assert_hashes(const struct hash128 *got, uint32_t got_count, const struct hash128 *wanted, uint32_t count)
{
    assert_int_equal(got_count, count);
    for (uint32_t i = 0; i < count; i++)
        assert_true(hash128_equal(got[i], wanted[i]));
}

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        CLEANUP(buf_done) struct buf batch = BUF_INIT(1 * MIB);
        CLEANUP(arena_done) struct arena arena;
        arena_init(&arena, 1 * MIB);
        struct sample_envelope sample;
        struct envelope got;
        struct str rest;
        fill(&sample, seed);
        const struct envelope *wanted = &sample.envelope;
        encode(wanted, &batch);
        assert_int_equal(envelope_decode(batch.data, batch.len, &arena, &got, &rest), 0);
        assert_true(str_equal(rest, str_of(body, BODY_BYTES)));
        assert_true(str_equal(got.source.datacenter, wanted->source.datacenter));
        assert_true(str_equal(got.source.secondary, wanted->source.secondary));
        assert_int_equal(got.source.incarnation, wanted->source.incarnation);
        assert_int_equal(got.span_ms, wanted->span_ms);
        assert_int_equal(got.replaces_count, wanted->replaces_count);
        for (uint32_t i = 0; i < got.replaces_count; i++)
            assert_int_equal(got.replaces[i], wanted->replaces[i]);
        assert_int_equal(got.is_remote_write, wanted->is_remote_write);
        assert_int_equal(got.epoch, wanted->epoch);
        assert_int_equal(got.seq, wanted->seq);
        assert_int_equal(got.window_start_ms, wanted->window_start_ms);
        assert_int_equal(got.resolution_ms, wanted->resolution_ms);
        assert_int_equal(got.part, wanted->part);
        assert_int_equal(got.sealed_at_ms, wanted->sealed_at_ms);
        assert_int_equal(got.closed_through_ms, wanted->closed_through_ms);
        assert_true(hash128_equal(got.targets, wanted->targets));
        assert_hashes(got.pages, got.page_count, wanted->pages, wanted->page_count);
        assert_int_equal(got.targets_expected, wanted->targets_expected);
        assert_int_equal(got.targets_answered, wanted->targets_answered);
        assert_reasons(got.failed, got.failed_count, wanted->failed, wanted->failed_count);
        assert_reasons(got.dropped, got.dropped_count, wanted->dropped, wanted->dropped_count);
        assert_int_equal(got.body_version, wanted->body_version);
        assert_int_equal(got.body_raw_bytes, wanted->body_raw_bytes);
    }
}

static void every_truncation_is_an_error(void **state)
{
    (void)state;
    struct sample_envelope sample;
    struct envelope got;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(1 * MIB);
    fill(&sample, 3);
    encode(&sample.envelope, &batch);
    for (size_t len = 0; len < batch.len; len++)
        assert_int_equal(decode(batch.data, len, &got), -EBADMSG);
    buf_append_byte(&batch, 0);
    assert_int_equal(decode(batch.data, batch.len, &got), -EBADMSG);
}

static void flips_harm_nothing(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 1);
    unsigned refused = 0;
    for (int i = 0; i < 20000; i++) {
        struct sample_envelope sample;
        struct envelope got;
        CLEANUP(buf_done) struct buf batch = BUF_INIT(1 * MIB);
        fill(&sample, 1 + random_below(&random, 10));
        encode(&sample.envelope, &batch);
        batch.data[random_below(&random, batch.len - BODY_BYTES)] = (uint8_t)random_next(&random);
        int error = decode(batch.data, batch.len, &got);
        assert_true(error == 0 || error == -EBADMSG || error == -EPROTO || error == -EMSGSIZE);
        refused += error < 0;
    }
    assert_true(refused > 2000);
}

/* The head of the batch around a payload of the test's own. */
static void wrap(const struct buf *fields, struct buf *out)
{
    buf_append(out, "TRB\x01", 4);
    buf_append_le32(out, (uint32_t)fields->len);
    buf_append(out, fields->data, fields->len);
    buf_append(out, body, BODY_BYTES);
}

static void newer_fields_are_passed_over(void **state)
{
    (void)state;
    struct sample_envelope sample;
    struct envelope got;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(1 * MIB), fields = BUF_INIT(1 * MIB), out = BUF_INIT(1 * MIB);
    fill(&sample, 7);
    encode(&sample.envelope, &batch);
    size_t len = batch.len - BODY_BYTES - 8;
    assert_int_equal(batch.data[8], 0xdc); /* an array of 23 */
    pack_array(&fields, 23 + 2);
    buf_append(&fields, batch.data + 8 + 3, len - 3);
    pack_uint(&fields, 7);
    pack_array(&fields, 1);
    pack_str(&fields, STR("new"));
    wrap(&fields, &out);
    assert_int_equal(decode(out.data, out.len, &got), 0);
    assert_int_equal(got.seq, sample.envelope.seq);
    /* But not a field less, nor something behind the last. */
    buf_reset(&fields);
    buf_reset(&out);
    pack_array(&fields, 22);
    buf_append(&fields, batch.data + 8 + 3, len - 3);
    wrap(&fields, &out);
    assert_int_equal(decode(out.data, out.len, &got), -EBADMSG);
    buf_reset(&fields);
    buf_reset(&out);
    buf_append(&fields, batch.data + 8, len);
    pack_nil(&fields);
    wrap(&fields, &out);
    assert_int_equal(decode(out.data, out.len, &got), -EBADMSG);
}

static void other_versions_are_told_apart(void **state)
{
    (void)state;
    struct sample_envelope sample;
    struct envelope got;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(1 * MIB);
    fill(&sample, 7);
    encode(&sample.envelope, &batch);
    batch.data[3] = 2;
    assert_int_equal(decode(batch.data, batch.len, &got), -EPROTO);
    batch.data[3] = 1;
    batch.data[8 + 3] = 2; /* the version in the array */
    assert_int_equal(decode(batch.data, batch.len, &got), -EPROTO);
    batch.data[8 + 3] = 1;
    batch.data[0] = 'X';
    assert_int_equal(decode(batch.data, batch.len, &got), -EBADMSG);
    batch.data[0] = 'T';
    memset(batch.data + 4, 0xff, 4);
    assert_int_equal(decode(batch.data, batch.len, &got), -EMSGSIZE);
}

static void a_body_that_is_not_the_one_is_refused(void **state)
{
    (void)state;
    struct sample_envelope sample;
    struct envelope got;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(1 * MIB);
    fill(&sample, 7);
    encode(&sample.envelope, &batch);
    for (size_t i = 0; i < BODY_BYTES; i++) {
        batch.data[batch.len - 1 - i] ^= 1;
        assert_int_equal(decode(batch.data, batch.len, &got), -EBADMSG);
        batch.data[batch.len - 1 - i] ^= 1;
    }
    assert_int_equal(decode(batch.data, batch.len, &got), 0);
}

/* Windows side by side, as many as a batch has rounds; samples as they came may be of any time. */
static void a_span_is_of_so_many_windows(void **state)
{
    (void)state;
    static const struct {
        int64_t resolution_ms, span_ms;
        int result;
    } cases[] = {
        {1000, 0, -EBADMSG},
        {1000, 1000, 0},
        {1000, 1500, -EBADMSG},
        {1000, 64000, 0},
        {1000, 65000, -EBADMSG},
        {86400000, INT64_C(64) * 86400000, 0},
        {86400000, INT64_C(65) * 86400000, -EBADMSG},
        {1, 64, 0},
        {1, 65, -EBADMSG},
        {0, 0, 0},
        {0, 1, 0},
        {0, INT64_C(64) * 86400000, 0},
        {0, INT64_C(64) * 86400000 + 1, -EBADMSG},
        {0, -1, -EBADMSG},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sample_envelope sample;
        struct envelope got;
        CLEANUP(buf_done) struct buf batch = BUF_INIT(4 * MIB);
        fill(&sample, 7);
        sample.envelope.window_start_ms = 0;
        sample.envelope.resolution_ms = cases[i].resolution_ms;
        sample.envelope.span_ms = cases[i].span_ms;
        encode(&sample.envelope, &batch);
        assert_int_equal(decode(batch.data, batch.len, &got), cases[i].result);
    }
}

static void impossible_claims_are_refused(void **state)
{
    (void)state;
    for (int c = -1; c < 12; c++) {
        struct sample_envelope sample;
        struct envelope got, *envelope = &sample.envelope;
        CLEANUP(buf_done) struct buf batch = BUF_INIT(4 * MIB);
        fill(&sample, 7);
        envelope->resolution_ms = envelope->span_ms = 60000;
        envelope->window_start_ms = 120000;
        switch (c) {
        case -1: /* nothing is wrong */
            break;
        case 0:
            envelope->epoch = 0;
            break;
        case 1:
            envelope->seq = 0;
            break;
        case 2:
            envelope->window_start_ms = 120001; /* no place for a window */
            break;
        case 3:
            envelope->window_start_ms = -60000;
            break;
        case 4:
            envelope->resolution_ms = -1;
            break;
        case 5:
            envelope->resolution_ms = 25 * 3600000;
            envelope->window_start_ms = 0;
            break;
        case 6:
            envelope->sealed_at_ms = INT64_MAX;
            break;
        case 7:
            envelope->closed_through_ms = -1;
            break;
        case 8:
            envelope->part = 65536;
            break;
        case 9:
            envelope->targets_expected = UINT64_MAX;
            break;
        case 10:
            envelope->body_raw_bytes = UINT64_MAX;
            break;
        default: /* a reason that is no text */
            sample.failed[0] = (struct reason_count){STR("\xff"), 1};
            envelope->failed_count = 1;
        }
        encode(envelope, &batch);
        assert_int_equal(decode(batch.data, batch.len, &got), c < 0 ? 0 : -EBADMSG);
    }
}

static void too_many_hashes_or_reasons_are_refused(void **state)
{
    (void)state;
    struct sample_envelope sample;
    struct envelope got;
    struct hash128 *many = mem_array(ENVELOPE_PAGES_MAX, sizeof(*many));
    struct reason_count *reasons = mem_array(ENVELOPE_REASONS_MAX + 1, sizeof(*reasons));
    for (int c = 0; c < 3; c++) {
        CLEANUP(buf_done) struct buf batch = BUF_INIT(4 * MIB);
        fill(&sample, 7);
        sample.envelope.pages = many;
        sample.envelope.page_count = c == 0 ? ENVELOPE_PAGES_MAX : 0;
        sample.envelope.failed = reasons;
        sample.envelope.failed_count = c == 1 ? ENVELOPE_REASONS_MAX : c == 2 ? ENVELOPE_REASONS_MAX + 1 : 0;
        encode(&sample.envelope, &batch);
        assert_int_equal(decode(batch.data, batch.len, &got), c == 2 ? -EBADMSG : 0);
        /* Without memory for them neither. */
        CLEANUP(arena_done) struct arena arena;
        arena_init(&arena, 100);
        struct str rest;
        assert_int_equal(envelope_decode(batch.data, batch.len, &arena, &got, &rest), -EBADMSG);
    }
    mem_free(many);
    mem_free(reasons);
}

static void names_of_sources_are_plain(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "dc1", "rack-7", "A_b.c-9",
                                       "0123456789012345678901234567890123456789012345678901234567890123"};
    static const char *const bad[] = {
        "",         ".",   "..",
        ".hidden",  "a/b", "a b",
        "\xc3\xa9", "a\n", "01234567890123456789012345678901234567890123456789012345678901234"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(source_name_is_valid(str_from(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(source_name_is_valid(str_from(bad[i])));
    assert_false(source_name_is_valid(STR("a\0b")));
    /* And those of others are refused. */
    struct sample_envelope sample;
    struct envelope got;
    CLEANUP(buf_done) struct buf batch = BUF_INIT(1 * MIB);
    fill(&sample, 7);
    encode(&sample.envelope, &batch);
    uint8_t *name = memmem(batch.data, batch.len, "dc-1.eu", 7);
    assert_non_null(name);
    name[2] = '/';
    assert_int_equal(decode(batch.data, batch.len, &got), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(every_truncation_is_an_error),
        cmocka_unit_test(flips_harm_nothing),
        cmocka_unit_test(newer_fields_are_passed_over),
        cmocka_unit_test(other_versions_are_told_apart),
        cmocka_unit_test(a_body_that_is_not_the_one_is_refused),
        cmocka_unit_test(a_span_is_of_so_many_windows),
        cmocka_unit_test(impossible_claims_are_refused),
        cmocka_unit_test(too_many_hashes_or_reasons_are_refused),
        cmocka_unit_test(names_of_sources_are_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
