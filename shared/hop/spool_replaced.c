#include "hop/spool_internal.h"

#include "base/fail.h"
#include "base/log.h"

/* Of one batch, until it is on disk: before, those it replaces must not be taken for known. */
struct replaced_note {
    struct replaced_note *next;
    char *datacenter, *secondary; /* of its source */
    struct source_id source;
    uint64_t epoch;
    uint32_t offset;
    uint32_t count;
    uint64_t seqs[];
};

static void see(struct spool *spool, const struct source_id *source, uint64_t epoch, const uint64_t *seqs,
                uint32_t count)
{
    /* Where there is no room to remember one, it may come once more, and its records are known then. */
    for (uint32_t i = 0; i < count; i++)
        if (seqlog_add_range(spool->seen, source, epoch, seqs[i], seqs[i]) < 0)
            log_debug("spool %s: too many sources or holes to remember", spool->dir);
}

void replaced_see(struct spool *spool, const struct envelope *envelope)
{
    see(spool, &envelope->source, envelope->epoch, envelope->replaces, envelope->replaces_count);
}

static void free_note(struct replaced_note *note)
{
    mem_free(note->datacenter);
    mem_free(note->secondary);
    mem_free(note);
}

void replaced_note(struct spool *spool, const struct envelope *envelope, uint32_t offset)
{
    if (envelope->replaces_count == 0)
        return;
    const struct source_id *source = &envelope->source;
    size_t bytes = envelope->replaces_count * sizeof(uint64_t);
    struct replaced_note *note = mem_zalloc(sizeof(*note) + bytes);
    note->datacenter = mem_strndup(source->datacenter.ptr, source->datacenter.len);
    note->secondary = mem_strndup(source->secondary.ptr, source->secondary.len);
    note->source = (struct source_id){str_from(note->datacenter), str_from(note->secondary), source->incarnation};
    note->epoch = envelope->epoch;
    note->offset = offset;
    note->count = envelope->replaces_count;
    memcpy(note->seqs, envelope->replaces, bytes);
    note->next = spool->replaced;
    spool->replaced = note;
}

void replaced_synced(struct spool *spool, uint64_t upto)
{
    struct replaced_note **place = &spool->replaced;
    while (*place) {
        struct replaced_note *note = *place;
        if (note->offset >= upto) {
            place = &note->next;
            continue;
        }
        see(spool, &note->source, note->epoch, note->seqs, note->count);
        *place = note->next;
        free_note(note);
    }
}

void replaced_forget(struct spool *spool)
{
    while (spool->replaced) {
        struct replaced_note *note = spool->replaced;
        spool->replaced = note->next;
        free_note(note);
    }
}
