#include "store/cut_marks.h"

#include "base/crc.h"
#include "base/fail.h"

#include <errno.h>
#include <pthread.h>

/* The file: magic, count, count of (partition, position), CRC32C of all before; 64 bits each, little endian, but the
 * checksum of 32. */
#define MAGIC      UINT64_C(0x314b52414d545543) /* "CUTMARK1" */
#define MARKS_FEW  64
#define MARKS_MAX  100000
#define MARK_BYTES 16
#define BYTES_MAX  (MARKS_MAX * MARK_BYTES + 32)

struct mark {
    int64_t partition_ms;
    uint64_t position;
};

struct cut_marks {
    struct file_system *fs;
    char *path;
    pthread_mutex_t lock; /* guards the list; leaf but for the file, which is written under it: marks are set seldom */
    struct mark *items;   /* ascending */
    size_t count, capacity;
};

static struct mark *at_or_after(struct cut_marks *marks, int64_t partition_ms)
{
    size_t low = 0, high = marks->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (marks->items[middle].partition_ms < partition_ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return marks->items + low;
}

static void put(struct cut_marks *marks, int64_t partition_ms, uint64_t position)
{
    if (marks->count == marks->capacity) {
        marks->capacity *= 2;
        marks->items = mem_resize(marks->items, marks->capacity, sizeof(*marks->items));
    }
    struct mark *at = at_or_after(marks, partition_ms), *end = marks->items + marks->count;
    if (at < end && at->partition_ms == partition_ms) {
        at->position = MAX(at->position, position);
        return;
    }
    memmove(at + 1, at, (size_t)(end - at) * sizeof(*at));
    *at = (struct mark){partition_ms, position};
    marks->count++;
}

static int parse(struct cut_marks *marks, const struct buf *bytes)
{
    if (bytes->len < 20 ||
        crc32c(0, bytes->data, bytes->len - 4) !=
            reader_le32(&(struct reader){bytes->data + bytes->len - 4, bytes->data + bytes->len, 0})) {
        return -EBADMSG;
    }
    struct reader reader = reader_of(bytes->data, bytes->len - 4);
    if (reader_le64(&reader) != MAGIC) {
        return -EBADMSG;
    }
    uint64_t count = reader_le64(&reader);
    if (count > MARKS_MAX || reader_left(&reader) != count * MARK_BYTES) {
        return -EBADMSG;
    }
    for (uint64_t i = 0; i < count; i++) {
        int64_t partition_ms = (int64_t)reader_le64(&reader);
        put(marks, partition_ms, reader_le64(&reader));
    }
    return 0;
}

int cut_marks_open(struct file_system *fs, const char *dir, bool *ret_damaged, struct cut_marks **ret_marks)
{
    struct cut_marks *marks = mem_zalloc(sizeof(*marks));
    pthread_mutex_init(&marks->lock, NULL);
    marks->capacity = MARKS_FEW;
    marks->items = mem_array(MARKS_FEW, sizeof(*marks->items));
    int result = 0;
    if (fs) {
        marks->fs = fs;
        marks->path = mem_printf("%s/marks", dir);
        CLEANUP(buf_done) struct buf bytes = BUF_INIT(BYTES_MAX);
        result = file_read_whole(fs, marks->path, &bytes);
        result = result == -ENOENT ? 0 : result < 0 ? result : parse(marks, &bytes);
    }
    *ret_damaged = result == -EBADMSG || result == -EFBIG;
    if (result < 0 && !*ret_damaged) {
        cut_marks_free(marks);
        return result;
    }
    marks->count = *ret_damaged ? 0 : marks->count;
    *ret_marks = marks;
    return 0;
}

void cut_marks_free(struct cut_marks *marks)
{
    if (!marks) {
        return;
    }
    pthread_mutex_destroy(&marks->lock);
    mem_free(marks->items);
    mem_free(marks->path);
    mem_free(marks);
}

static int save(const struct cut_marks *marks)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BYTES_MAX);
    buf_append_le64(&bytes, MAGIC);
    buf_append_le64(&bytes, marks->count);
    for (size_t i = 0; i < marks->count; i++) {
        buf_append_le64(&bytes, (uint64_t)marks->items[i].partition_ms);
        buf_append_le64(&bytes, marks->items[i].position);
    }
    int result = buf_append_le32(&bytes, crc32c(0, bytes.data, bytes.len));
    return result < 0 ? result : file_write_whole(marks->fs, marks->path, bytes.data, bytes.len);
}

int cut_marks_set(struct cut_marks *marks, int64_t partition_ms, uint64_t position)
{
    pthread_mutex_lock(&marks->lock);
    put(marks, partition_ms, position);
    int result = marks->fs ? save(marks) : 0;
    pthread_mutex_unlock(&marks->lock);
    return result;
}

int cut_marks_clear(struct cut_marks *marks)
{
    pthread_mutex_lock(&marks->lock);
    marks->count = 0;
    int result = marks->fs ? save(marks) : 0;
    pthread_mutex_unlock(&marks->lock);
    return result;
}

void cut_marks_forget(struct cut_marks *marks, int64_t before_ms)
{
    pthread_mutex_lock(&marks->lock);
    struct mark *at = at_or_after(marks, before_ms);
    size_t gone = (size_t)(at - marks->items);
    if (gone > 0) {
        memmove(marks->items, at, (marks->count - gone) * sizeof(*at));
        marks->count -= gone;
    }
    pthread_mutex_unlock(&marks->lock);
}

uint64_t cut_marks_get(struct cut_marks *marks, int64_t partition_ms)
{
    pthread_mutex_lock(&marks->lock);
    const struct mark *at = at_or_after(marks, partition_ms);
    bool found = at < marks->items + marks->count && at->partition_ms == partition_ms;
    uint64_t position = found ? at->position : 0;
    pthread_mutex_unlock(&marks->lock);
    return position;
}

uint64_t cut_marks_newest(struct cut_marks *marks)
{
    uint64_t newest = 0;
    pthread_mutex_lock(&marks->lock);
    for (size_t i = 0; i < marks->count; i++) {
        newest = MAX(newest, marks->items[i].position);
    }
    pthread_mutex_unlock(&marks->lock);
    return newest;
}
