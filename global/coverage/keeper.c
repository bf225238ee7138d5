#include "coverage/keeper.h"

#include "base/fail.h"

#include <errno.h>

#define FILE_NAME "coverage"

static int load(struct keeper *keeper, const struct keeper_found *found)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(COVERAGE_FILE_BYTES_MAX);
    int error = file_read_whole(keeper->fs, keeper->path, &bytes);
    if (error == 0)
        error = coverage_decode(keeper->coverage, buf_view(&bytes));
    if (error == 0)
        coverage_log_ends(keeper->coverage, found->log_end);
    else if (found->has_data)
        coverage_rebuild(keeper->coverage);
    return error;
}

int keeper_open(struct keeper *keeper, struct coverage *coverage, struct file_system *fs, const char *data_dir,
                const struct keeper_found *found)
{
    *keeper = (struct keeper){.coverage = coverage, .fs = fs, .path = mem_printf("%s/" FILE_NAME, data_dir)};
    buf_init(&keeper->bytes, COVERAGE_FILE_BYTES_MAX);
    int error = load(keeper, found);
    keeper->saved = coverage_position(coverage);
    if (error != -ENOENT || found->has_data)
        return error;
    /* From the first day on, so that one that is not there has been lost. */
    keeper_begin(keeper);
    return keeper_write(keeper);
}

void keeper_close(struct keeper *keeper)
{
    buf_done(&keeper->bytes);
    mem_free(keeper->path);
    *keeper = (struct keeper){0};
}

void keeper_begin(struct keeper *keeper)
{
    buf_done(&keeper->bytes);
    buf_init(&keeper->bytes, COVERAGE_FILE_BYTES_MAX);
    coverage_save(keeper->coverage, &keeper->bytes, &keeper->position);
}

int keeper_write(struct keeper *keeper)
{
    /* What no file can hold must not hold up the log for ever: it is lost with this process. */
    int error =
        keeper->bytes.full ? -EFBIG : file_write_whole(keeper->fs, keeper->path, keeper->bytes.data, keeper->bytes.len);
    if (error == 0 || error == -EFBIG)
        keeper->saved = keeper->position;
    return error;
}

uint64_t keeper_saved(const struct keeper *keeper)
{
    return keeper->saved;
}
