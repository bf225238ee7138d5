/* Power cuts: at any operation on the disk the machine stops; what was not synced is lost, torn at 512 bytes, or kept.
 * Every batch whose sync said so is there once after the next open, whatever came before. */
#include "hop_world.h"

#include <errno.h>

#ifdef __SANITIZE_ADDRESS__
#define ROUNDS 50 /* what it can find shows in the first; the ten thousand are for builds without it */
#else
#define ROUNDS 210
#endif
#define CUTS_PER_ROUND 48 /* on one disk, one after the other */
#define OPERATIONS_MAX 40 /* until the cut, at most */
#define EPOCHS_MAX     (2 * CUTS_PER_ROUND + 2)
#define SEQS_MAX       256
#define NUMBERS_MAX    (EPOCHS_MAX * SEQS_MAX)

enum { PROMISED = 1, DELIVERED = 2 };

struct disk {
    struct hop_world world;
    struct file_system *memory;
    uint8_t marks[NUMBERS_MAX];
    uint8_t met[NUMBERS_MAX];
    unsigned promised_total;
};

static unsigned number_of(uint64_t epoch, uint64_t seq)
{
    assert_true(epoch < EPOCHS_MAX && seq < SEQS_MAX);
    return (unsigned)(epoch * SEQS_MAX + seq);
}

static int meet(void *arg, const struct spool_batch *batch, struct str bytes, struct layout_table *layouts)
{
    (void)bytes, (void)layouts;
    struct disk *disk = arg;
    assert_false(batch->is_gap);
    disk->met[number_of(batch->epoch, batch->seq)]++;
    return 0;
}

static const char *const consumers[] = {"up"};
static const struct spool_options options = {.dir = "/spool",
                                             .segment_bytes = 16 * KIB,
                                             .consumers = consumers,
                                             .consumer_count = 1,
                                             .layout_bytes_max = HOP_LAYOUT_BYTES};

struct promise {
    struct disk *disk;
    unsigned number;
};

static void kept(void *arg, int error)
{
    struct promise *promise = arg;
    if (error == 0 && !(promise->disk->marks[promise->number] & PROMISED)) {
        promise->disk->marks[promise->number] |= PROMISED;
        promise->disk->promised_total++;
    }
    mem_free(promise);
}

static void append_one(struct disk *disk, struct spool *spool, uint64_t seq)
{
    struct random *random = &disk->world.random;
    struct hop_batch batch = {{STR("dc1"), STR("rack-1"), 1},
                              spool_epoch(spool),
                              seq,
                              (unsigned)random_below(random, 3),
                              (size_t)random_below(random, 3000)};
    uint64_t id;
    if (hop_append(spool, &batch, &id) < 0)
        return;
    struct promise *promise = mem_alloc(sizeof(*promise));
    *promise = (struct promise){disk, number_of(batch.epoch, seq)};
    spool_sync(spool, kept, promise);
}

/* The oldest promised batch of the epoch is delivered, so that segments go. */
static void deliver_one(struct disk *disk, struct spool *spool)
{
    uint64_t id = spool_next_pending(spool, 0, false);
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(1 * MIB);
    struct spool_batch batch;
    if (id == 0 || spool_read(spool, id, &batch, &bytes) < 0)
        return;
    unsigned number = number_of(batch.epoch, batch.seq);
    struct source_id source = {STR("dc1"), STR("rack-1"), 1};
    spool_set_stored(spool, 0, id);
    spool_set_delivered(spool, 0, &(struct spool_mark){.source = source, .epoch = batch.epoch, .seq = batch.seq});
    disk->marks[number] |= DELIVERED;
}

static void work_until_cut(struct disk *disk)
{
    struct spool *spool = NULL;
    if (spool_open(&disk->world.seams, &options, NULL, NULL, &spool) < 0)
        return; /* cut while it opened */
    uint64_t seq = 0;
    for (int step = 0; step < OPERATIONS_MAX; step++) {
        uint64_t dice = random_below(&disk->world.random, 10);
        if (dice < 6)
            append_one(disk, spool, ++seq);
        else if (dice < 8)
            deliver_one(disk, spool);
        else
            loop_advance(disk->world.seams.loop, (int64_t)random_below(&disk->world.random, 1500));
    }
    file_system_memory_crash(disk->memory, &disk->world.random);
    spool_close(spool);
    loop_settle(disk->world.seams.loop);
}

static void check(struct disk *disk)
{
    memset(disk->met, 0, sizeof(disk->met));
    struct spool *spool = NULL;
    assert_int_equal(spool_open(&disk->world.seams, &options, meet, disk, &spool), 0);
    for (unsigned i = 0; i < NUMBERS_MAX; i++) {
        assert_true(disk->met[i] <= 1);
        if (disk->marks[i] == PROMISED && disk->met[i] != 1)
            fail_msg("batch %u of epoch %u is lost", i % SEQS_MAX, i / SEQS_MAX);
    }
    struct source_id source = {STR("dc1"), STR("rack-1"), 1};
    for (unsigned i = 0; i < NUMBERS_MAX; i++)
        if (disk->marks[i] & PROMISED)
            assert_true(seqlog_covers(spool_seen(spool), &source, i / SEQS_MAX, i % SEQS_MAX, i % SEQS_MAX));
    spool_close(spool);
}

static void test_power_cuts(void **state)
{
    (void)state;
    static struct disk disk;
    unsigned promised_total = 0;
    unsigned cuts = 0;
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        memset(&disk, 0, sizeof(disk));
        hop_world_init(&disk.world, round);
        disk.memory = disk.world.seams.fs;
        for (int cut = 0; cut < CUTS_PER_ROUND; cut++, cuts++) {
            disk.world.seams.fs = file_system_failing_new(disk.memory);
            uint64_t nth = 1 + random_below(&disk.world.random, 2 * OPERATIONS_MAX);
            file_system_failing_at(disk.world.seams.fs, nth, -EIO, false);
            work_until_cut(&disk);
            file_system_free(disk.world.seams.fs);
            disk.world.seams.fs = disk.memory;
            file_system_memory_crash(disk.memory, &disk.world.random);
            if (cut % 8 == 7)
                check(&disk);
        }
        promised_total += disk.promised_total;
        hop_world_done(&disk.world);
    }
    assert_true(cuts == ROUNDS * CUTS_PER_ROUND);
    assert_true(promised_total > 4 * cuts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
