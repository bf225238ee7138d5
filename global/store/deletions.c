#include "store/deletions.h"

#include "base/fail.h"
#include "store/deletion_filter.h"
#include "store/deletions_document.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

struct item {
    struct deletion deletion;   /* texts owned */
    struct deletion_rule *rule; /* NULL: done */
};

struct deletions {
    struct file_system *fs;
    struct clock *clock;
    char *path;
    pthread_mutex_t change; /* one change at a time: held during its I/O, taken before `lock` */
    pthread_mutex_t lock;   /* guards all below; who holds `change` may read without it */
    struct item *items;     /* ascending by id */
    size_t count, capacity;
    size_t active_count;
    uint64_t newest;                /* accepted */
    uint64_t last_id;               /* used, also by a request that could not be written */
    struct deletion_filter *filter; /* of what is active; NULL: nothing is */
};

/* ---- items ---- */

static void item_done(struct item *item)
{
    mem_free(item->deletion.match);
    mem_free(item->deletion.who);
    mem_free(item->deletion.why);
    deletion_rule_unref(item->rule);
    *item = (struct item){0};
}

static int check_text(const char *name, const char *text, size_t bytes_max, char ret_error[static 256])
{
    if (!text || !*text) {
        return error_text(-EINVAL, ret_error, "%s is empty", name);
    }
    if (strlen(text) > bytes_max) {
        return error_text(-EINVAL, ret_error, "%s is longer than %zu bytes", name, bytes_max);
    }
    return str_is_utf8(str_from(text)) ? 0 : error_text(-EINVAL, ret_error, "%s is not UTF-8", name);
}

/* Checks all and makes an item of it, with its rule unless it is done. */
static int item_new(const struct deletion *deletion, char ret_error[static 256], struct item *ret_item)
{
    CLEANUP(selector_freep) struct selector *selector = NULL;
    int r = check_text("match", deletion->match, DELETION_MATCH_BYTES_MAX, ret_error);
    r = r < 0 ? r : check_text("who", deletion->who, DELETION_WHO_BYTES_MAX, ret_error);
    r = r < 0 ? r : check_text("why", deletion->why, DELETION_WHY_BYTES_MAX, ret_error);
    if (r < 0) {
        return r;
    }
    if (deletion->start_ms > deletion->end_ms) {
        return error_text(-EINVAL, ret_error, "the range is empty: its start is after its end");
    }
    char error[256];
    size_t at = 0;
    if (selector_new(str_from(deletion->match), error, &at, &selector) < 0) {
        return error_text(-EINVAL, ret_error, "match, at byte %zu: %.200s", at, error);
    }
    struct item item = {.deletion = *deletion};
    item.deletion.match = mem_strdup(deletion->match);
    item.deletion.who = mem_strdup(deletion->who);
    item.deletion.why = mem_strdup(deletion->why);
    if (deletion->done_ms == 0) {
        struct time_range range = {deletion->start_ms, deletion->end_ms};
        item.rule = deletion_rule_new(deletion->id, range, STEAL(selector));
    }
    *ret_item = item;
    return 0;
}

static void add_item(struct deletions *deletions, const struct item *item)
{
    if (deletions->count == deletions->capacity) {
        deletions->capacity = MAX(deletions->capacity * 2, (size_t)16);
        deletions->items = mem_resize(deletions->items, deletions->capacity, sizeof(*item));
    }
    deletions->items[deletions->count++] = *item;
    deletions->active_count += item->rule ? 1 : 0;
}

/* The oldest records of what is done go past the ceiling. */
static void drop_old(struct deletions *deletions)
{
    size_t done = deletions->count - deletions->active_count, kept = 0;
    for (size_t i = 0; i < deletions->count; i++) {
        if (!deletions->items[i].rule && done > DELETIONS_DONE_MAX) {
            item_done(&deletions->items[i]);
            done--;
        } else {
            deletions->items[kept++] = deletions->items[i];
        }
    }
    deletions->count = kept;
}

/* Readers that come from here on see what is active now. `newest` rises with it, never before: a block that is written
 * with that number must have been cut by that filter. */
static void make_filter(struct deletions *deletions)
{
    struct deletion_filter *filter = NULL;
    if (deletions->active_count > 0) {
        struct deletion_rule **rules = mem_array(deletions->active_count, sizeof(*rules));
        size_t count = 0;
        for (size_t i = 0; i < deletions->count; i++) {
            if (deletions->items[i].rule) {
                rules[count++] = deletions->items[i].rule;
            }
        }
        filter = deletion_filter_new(rules, count);
        mem_free(rules);
    }
    deletion_filter_unref(deletions->filter);
    deletions->filter = filter;
}

/* ---- the file ---- */

static int write_file(struct deletions *deletions, uint64_t newest)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(DELETIONS_DOCUMENT_BYTES_MAX);
    struct deletions_document document = {mem_array(deletions->count, sizeof(struct deletion)), deletions->count,
                                          newest};
    for (size_t i = 0; i < deletions->count; i++) {
        document.items[i] = deletions->items[i].deletion; /* texts stay the items' */
    }
    deletions_document_print(&document, &text);
    mem_free(document.items);
    return text.full ? -EFBIG : file_write_whole(deletions->fs, deletions->path, text.data, text.len);
}

static int add_all(struct deletions *deletions, const struct deletions_document *document, char ret_reason[static 256])
{
    for (size_t i = 0; i < document->count; i++) {
        struct item item = {0};
        int r = item_new(&document->items[i], ret_reason, &item);
        if (r < 0) {
            return r;
        }
        add_item(deletions, &item);
    }
    deletions->newest = deletions->last_id = document->newest;
    return deletions->active_count <= DELETIONS_MAX
               ? 0
               : error_text(-EINVAL, ret_reason, "too many deletions are not done");
}

static int load(struct deletions *deletions, char ret_reason[static 256])
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(DELETIONS_DOCUMENT_BYTES_MAX);
    CLEANUP(deletions_document_done) struct deletions_document document = {0};
    char reason[256];
    int r = file_read_whole(deletions->fs, deletions->path, &text);
    if (r == -ENOENT) {
        return 0;
    }
    if (r < 0) {
        error_text(-EINVAL, ret_reason, "%s: %s", deletions->path, strerror(-r));
        return r;
    }
    r = deletions_document_parse(buf_view(&text), reason, &document);
    r = r < 0 ? r : add_all(deletions, &document, reason);
    if (r < 0) {
        error_text(-EINVAL, ret_reason, "%s is damaged: %.150s", deletions->path, reason);
        return -EBADMSG;
    }
    return 0;
}

/* ---- the face ---- */

int deletions_open(struct file_system *fs, struct clock *clock, const char *data_dir, char ret_reason[static 256],
                   struct deletions **ret_deletions)
{
    CLEANUP(deletions_freep) struct deletions *deletions = mem_zalloc(sizeof(*deletions));
    deletions->fs = fs;
    deletions->clock = clock;
    deletions->path = mem_printf("%s/deletions.json", data_dir);
    pthread_mutex_init(&deletions->change, NULL);
    pthread_mutex_init(&deletions->lock, NULL);
    int r = load(deletions, ret_reason);
    if (r < 0) {
        return r;
    }
    make_filter(deletions);
    *ret_deletions = STEAL(deletions);
    return 0;
}

void deletions_free(struct deletions *deletions)
{
    if (!deletions) {
        return;
    }
    for (size_t i = 0; i < deletions->count; i++) {
        item_done(&deletions->items[i]);
    }
    mem_free(deletions->items);
    deletion_filter_unref(deletions->filter);
    pthread_mutex_destroy(&deletions->lock);
    pthread_mutex_destroy(&deletions->change);
    mem_free(deletions->path);
    mem_free(deletions);
}

/* With `change` held. */
static int request_locked(struct deletions *deletions, const struct deletion *request, char ret_error[static 256],
                          uint64_t *ret_id)
{
    if (deletions->active_count == DELETIONS_MAX) {
        error_text(-EINVAL, ret_error, "%d deletions are not done yet", DELETIONS_MAX);
        return -EMFILE;
    }
    struct deletion deletion = *request;
    deletion.id = deletions->last_id + 1;
    deletion.requested_ms = clock_wall_ms(deletions->clock);
    deletion.done_ms = 0;
    struct item item = {0};
    int r = item_new(&deletion, ret_error, &item);
    if (r < 0) {
        return r;
    }
    pthread_mutex_lock(&deletions->lock);
    add_item(deletions, &item);
    pthread_mutex_unlock(&deletions->lock);
    deletions->last_id = deletion.id; /* also after a failure: the file may have been replaced all the same */
    r = write_file(deletions, deletion.id);
    pthread_mutex_lock(&deletions->lock);
    if (r < 0) {
        error_text(-EINVAL, ret_error, "%s cannot be written: %s", deletions->path, strerror(-r));
        deletions->count--;
        deletions->active_count--;
        item_done(&deletions->items[deletions->count]);
    } else {
        deletions->newest = deletion.id;
        make_filter(deletions);
        *ret_id = deletion.id;
    }
    pthread_mutex_unlock(&deletions->lock);
    return r;
}

int deletions_request(struct deletions *deletions, const struct deletion *request, char ret_error[static 256],
                      uint64_t *ret_id)
{
    pthread_mutex_lock(&deletions->change);
    int r = request_locked(deletions, request, ret_error, ret_id);
    pthread_mutex_unlock(&deletions->change);
    return r;
}

static struct item *find_active(const struct deletions *deletions, uint64_t id)
{
    for (size_t i = 0; i < deletions->count; i++) {
        if (deletions->items[i].deletion.id == id) {
            return deletions->items[i].rule ? &deletions->items[i] : NULL;
        }
    }
    return NULL;
}

static void set_done(struct deletions *deletions, struct item *item, int64_t done_ms)
{
    pthread_mutex_lock(&deletions->lock);
    item->deletion.done_ms = done_ms;
    pthread_mutex_unlock(&deletions->lock);
}

/* With `change` held. */
static int done_locked(struct deletions *deletions, uint64_t id)
{
    struct item *item = find_active(deletions, id);
    if (!item) {
        return -ENOENT;
    }
    set_done(deletions, item, MAX(clock_wall_ms(deletions->clock), (int64_t)1));
    int r = write_file(deletions, deletions->newest);
    if (r < 0) {
        set_done(deletions, item, 0);
        return r;
    }
    pthread_mutex_lock(&deletions->lock);
    deletion_rule_unref(STEAL(item->rule));
    deletions->active_count--;
    drop_old(deletions);
    make_filter(deletions);
    pthread_mutex_unlock(&deletions->lock);
    return 0;
}

int deletions_done(struct deletions *deletions, uint64_t id)
{
    pthread_mutex_lock(&deletions->change);
    int r = done_locked(deletions, id);
    pthread_mutex_unlock(&deletions->change);
    return r;
}

void deletions_list(struct deletions *deletions, struct deletion **ret_items, size_t *ret_count)
{
    pthread_mutex_lock(&deletions->lock);
    struct deletion *items = mem_array(deletions->count, sizeof(*items));
    for (size_t i = 0; i < deletions->count; i++) {
        items[i] = deletions->items[i].deletion;
        items[i].match = mem_strdup(items[i].match);
        items[i].who = mem_strdup(items[i].who);
        items[i].why = mem_strdup(items[i].why);
    }
    *ret_items = items;
    *ret_count = deletions->count;
    pthread_mutex_unlock(&deletions->lock);
}

void deletions_list_free(struct deletion *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free(items[i].match);
        mem_free(items[i].who);
        mem_free(items[i].why);
    }
    mem_free(items);
}

uint64_t deletions_newest(struct deletions *deletions)
{
    pthread_mutex_lock(&deletions->lock);
    uint64_t newest = deletions->newest;
    pthread_mutex_unlock(&deletions->lock);
    return newest;
}

struct deletion_filter *deletions_filter(struct deletions *deletions)
{
    pthread_mutex_lock(&deletions->lock);
    struct deletion_filter *filter = deletions->filter ? deletion_filter_ref(deletions->filter) : NULL;
    pthread_mutex_unlock(&deletions->lock);
    return filter;
}
