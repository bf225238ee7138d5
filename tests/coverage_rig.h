#pragma once
/* For tests of coverage: batches that say nothing but how complete they are, and what answers say of them then. Each
 * test is one program, so all of it is here. */
#include "base/fail.h"
#include "base/json_write.h"
#include "base/random.h"
#include "coverage/coverage.h"
#include "coverage/history.h"
#include "coverage/keeper.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define WINDOW_MS INT64_C(60000)
#define T0        INT64_C(1699999980000) /* a window begins */
#define NOW_MS    (T0 + 600 * WINDOW_MS)

struct rig {
    struct clock *clock;
    struct coverage *coverage;
    struct buf json, warnings;
    uint64_t id;
};

static inline int setup(void **state)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));
    rig->clock = clock_simulated_new(NOW_MS);
    rig->coverage = coverage_new(rig->clock);
    buf_init(&rig->json, 16 * MIB);
    buf_init(&rig->warnings, MIB);
    *state = rig;
    return 0;
}

static inline int teardown(void **state)
{
    struct rig *rig = *state;
    coverage_free(rig->coverage);
    clock_free(rig->clock);
    buf_done(&rig->json);
    buf_done(&rig->warnings);
    mem_free(rig);
    return 0;
}

/* A batch that says nothing but how complete it is. */
struct said {
    const char *datacenter, *secondary;
    uint64_t epoch, seq;
    int window; /* from T0 */
    int windows;
    uint64_t expected, answered;
    const char *failed, *dropped;
    uint64_t dropped_count;
    int closed; /* windows before this one are; 0: as if it closed its own */
    uint64_t replaces[5];
    int part;
    bool other; /* of another resolution than the one that counts targets */
};

static inline void encode(const struct said *said, struct buf *out)
{
    static const struct hash128 page = {{1}};
    struct reason_count failed = {str_from(said->failed ? said->failed : "timeout"), said->expected - said->answered};
    struct reason_count dropped = {str_from(said->dropped ? said->dropped : "samples"), said->dropped_count};
    int windows = MAX(said->windows, 1), closed = said->closed ? said->closed : said->window + windows;
    struct envelope envelope = {.source = {str_from(said->datacenter ? said->datacenter : "dc1"),
                                           str_from(said->secondary ? said->secondary : "rack-1"), 7},
                                .epoch = said->epoch ? said->epoch : 1,
                                .seq = said->seq,
                                .window_start_ms = T0 + said->window * WINDOW_MS,
                                .resolution_ms = said->other ? 15000 : WINDOW_MS,
                                .span_ms = said->other ? 15000 : windows * WINDOW_MS,
                                .part = (uint32_t)said->part,
                                .sealed_at_ms = T0 + MAX(said->window + windows, said->closed) * WINDOW_MS + 5000,
                                .closed_through_ms = T0 + closed * WINDOW_MS,
                                .pages = &page,
                                .page_count = said->expected > 0 || said->other,
                                .targets_expected = said->expected,
                                .targets_answered = said->answered,
                                .failed = &failed,
                                .failed_count = failed.count > 0,
                                .dropped = &dropped,
                                .dropped_count = said->dropped_count > 0,
                                .body_version = 1,
                                .body_bytes = 1,
                                .body_raw_bytes = 1,
                                .body_crc32c = crc32c(0, "x", 1),
                                .replaces = said->replaces};
    while (envelope.replaces_count < 5 && said->replaces[envelope.replaces_count] > 0)
        envelope.replaces_count++;
    assert_int_equal(envelope_encode(&envelope, out), 0);
    buf_append_text(out, "x");
}

static inline void take_as_of(struct rig *rig, const struct said *said, int64_t oldest_ms)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(ENVELOPE_BYTES_MAX);
    encode(said, &bytes);
    struct coverage_batch batch = {
        .id = ++rig->id, .bytes = buf_view(&bytes), .heard_ms = clock_wall_ms(rig->clock), .oldest_ms = oldest_ms};
    coverage_take(rig->coverage, &batch);
}

static inline void take(struct rig *rig, const struct said *said)
{
    take_as_of(rig, said, INT64_MIN);
}

/* One window a batch, all whole: windows first..last - 1 are seqs from seq on. */
static inline void take_whole(struct rig *rig, const char *secondary, uint64_t seq, int first, int last)
{
    for (int i = first; i < last; i++)
        take(rig, &(struct said){.secondary = secondary, .seq = seq++, .window = i, .expected = 10, .answered = 10});
}

static inline const char *look(struct rig *rig, int64_t start_ms, int64_t end_ms)
{
    struct coverage_range range = {start_ms, end_ms, NULL, NULL};
    struct json_writer json;
    buf_reset(&rig->json);
    buf_reset(&rig->warnings);
    json_begin(&json, &rig->json);
    coverage_write(rig->coverage, &range, &json, &rig->warnings);
    buf_append_byte(&rig->json, 0);
    buf_append_byte(&rig->warnings, 0);
    return (const char *)rig->json.data;
}

static inline const char *look_at_windows(struct rig *rig, int first, int last)
{
    return look(rig, T0 + first * WINDOW_MS, T0 + last * WINDOW_MS);
}

static inline const char *warnings(const struct rig *rig)
{
    return (const char *)rig->warnings.data;
}

static inline void expect_part(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("not in it: %s\n%s", part, text);
}

/* A gap of source rack-1, windows from first to before last. */
static inline void expect_gap(const char *text, int first, int last, const char *reason)
{
    char part[256];
    snprintf(part, sizeof(part), "{\"source\":\"rack-1\",\"start\":%lld,\"end\":%lld,\"reason\":\"%s\"}",
             (long long)(T0 + first * WINDOW_MS), (long long)(T0 + last * WINDOW_MS), reason);
    expect_part(text, part);
}
