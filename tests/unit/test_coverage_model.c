/* Coverage at random, against a table of windows: whatever order batches come in, and whatever is lost of them. */
#include "coverage_rig.h"

#define MODEL_WINDOWS 560

struct model {
    struct said said[4 * MODEL_WINDOWS];
    size_t count;
    bool lost[MODEL_WINDOWS]; /* a batch of it never comes, or there was none */
    double expected[MODEL_WINDOWS], answered[MODEL_WINDOWS];
};

static void make_model(struct model *model, struct random *random)
{
    *model = (struct model){0};
    uint64_t epoch = 1, seq = 0;
    for (int w = 0; w < MODEL_WINDOWS; w++) {
        if (w > 0 && random_below(random, 50) == 0) { /* killed, and back some windows later */
            int away = (int)random_below(random, 4);
            for (int i = 0; i < away && w + i < MODEL_WINDOWS; i++)
                model->lost[w + i] = true;
            w += away;
            epoch++;
            seq = 0;
        }
        int parts = 1 + (int)random_below(random, 3);
        for (int p = 0; p < parts && w < MODEL_WINDOWS; p++) {
            uint64_t expected = 5, answered = random_below(random, 10) == 0 ? 3 : 5;
            model->said[model->count++] = (struct said){.epoch = epoch,
                                                        .seq = ++seq,
                                                        .window = w,
                                                        .part = p,
                                                        .closed = p + 1 < parts ? w : w + 1,
                                                        .expected = expected,
                                                        .answered = answered};
            model->expected[w] += (double)expected;
            model->answered[w] += (double)answered;
        }
    }
}

static void shuffle(struct model *model, struct random *random)
{
    for (size_t i = model->count; i > 1; i--) {
        size_t j = random_below(random, i);
        struct said swap = model->said[i - 1];
        model->said[i - 1] = model->said[j];
        model->said[j] = swap;
    }
}

/* Every window by itself, as the model has it. */
static void compare_windows(struct rig *rig, const struct model *model)
{
    for (int w = 0; w < MODEL_WINDOWS; w++) {
        const char *text = look_at_windows(rig, w, w + 1);
        char part[128];
        snprintf(part, sizeof(part), "\"complete\":%s,\"completeThrough\"", model->lost[w] ? "false" : "true");
        if (!strstr(text, part))
            fail_msg("window %d: %s: %s", w, part, text);
        snprintf(part, sizeof(part), "\"targetsExpected\":%g,\"targetsAnswered\":%g,", model->expected[w],
                 model->answered[w]);
        if (!model->lost[w])
            expect_part(text, part);
    }
}

/* Ranges without a lost window: what stands together is what its windows come to. */
static int compare_ranges(struct rig *rig, const struct model *model, struct random *random)
{
    int compared = 0;
    for (int i = 0; i < 300; i++) {
        int first = (int)random_below(random, MODEL_WINDOWS), last = first;
        double expected = 0, answered = 0, least = INFINITY;
        for (; last < MODEL_WINDOWS && !model->lost[last] && random_below(random, 100) > 0; last++) {
            expected += model->expected[last];
            answered += model->answered[last];
            least = MIN(least, model->answered[last]);
        }
        int windows = last - first;
        if (windows == 0)
            continue;
        double got[3];
        const char *at = strstr(look_at_windows(rig, first, last), "\"targetsExpected\":");
        assert_int_equal(sscanf(at, "\"targetsExpected\":%lf,\"targetsAnswered\":%lf,\"targetsAnsweredLeast\":%lf",
                                &got[0], &got[1], &got[2]),
                         3);
        if (fabs(got[0] - expected / windows) > 0.0006 || fabs(got[1] - answered / windows) > 0.0006 || got[2] != least)
            fail_msg("windows %d to %d: %s", first, last, at);
        compared += windows > 3 * SPANS_BLOCK;
    }
    return compared;
}

static void any_order_tells_the_same(void **state)
{
    (void)state;
    static struct model model;
    int compared = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct random random;
        struct rig *rig;
        random_seed(&random, seed);
        make_model(&model, &random);
        setup((void **)&rig);
        /* Some way out of order, as two lanes and many connections make it; the rest of the order is time's. */
        if (seed % 3 == 0)
            shuffle(&model, &random);
        for (size_t i = 0; i < model.count; i++)
            take(rig, &model.said[i]);
        if (seed % 3 != 0)
            compare_windows(rig, &model);
        /* Again, and through the file. */
        CLEANUP(buf_done) struct buf bytes = BUF_INIT(COVERAGE_FILE_BYTES_MAX);
        CLEANUP(buf_done) struct buf again = BUF_INIT(COVERAGE_FILE_BYTES_MAX);
        uint64_t position;
        for (size_t i = 0; i < model.count; i++)
            take(rig, &model.said[i]);
        coverage_save(rig->coverage, &bytes, &position);
        assert_int_equal(position, rig->id);
        assert_int_equal(coverage_decode(rig->coverage, buf_view(&bytes)), 0);
        compare_windows(rig, &model);
        coverage_save(rig->coverage, &again, &position);
        assert_int_equal(again.len, bytes.len);
        assert_memory_equal(again.data, bytes.data, bytes.len);
        compared += compare_ranges(rig, &model, &random);
        teardown((void **)&rig);
    }
    assert_true(compared > 100);
}

/* What never comes is a gap of the windows it may be of, no whole window is called whole, no other is called lost. */
static void lost_batches_are_gaps_of_their_windows(void **state)
{
    (void)state;
    static struct model model;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct random random;
        struct rig *rig;
        random_seed(&random, 100 + seed);
        make_model(&model, &random);
        setup((void **)&rig);
        for (size_t i = 0; i < model.count; i++) {
            /* Not the last number of an epoch: nobody can know that there was one. */
            bool last = i + 1 == model.count || model.said[i + 1].epoch != model.said[i].epoch;
            if (!last && random_below(&random, 25) == 0)
                model.lost[model.said[i].window] = true;
            else
                take(rig, &model.said[i]);
        }
        compare_windows(rig, &model);
        teardown((void **)&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_tells_the_same),
        cmocka_unit_test(lost_batches_are_gaps_of_their_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
