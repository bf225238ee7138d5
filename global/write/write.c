#include "base/fail.h"
#include "base/log.h"
#include "net/auth.h"
#include "write/write_internal.h"

#include <errno.h>
#include <stdio.h>

#define QUEUE_MAX     1024 /* requests that wait for the thread */
#define RETRY_AFTER_S "1"

struct write_request {
    struct write *write;                    /* NULL: gone meanwhile */
    struct write_request *next, **previous; /* among write->requests */
    struct http_exchange *exchange;         /* NULL: answered */
    char sender[SOURCE_NAME_BYTES_MAX + 1], datacenter[SOURCE_NAME_BYTES_MAX + 1];
    struct convert *convert;
    struct convert_request work;
    struct convert_result result;
    int error; /* of the conversion, or of the log */
    uint64_t bytes;
    uint64_t *ids; /* where the batches stand in the log */
    size_t appended;
};

struct write *write_new(const struct seams *seams, struct spool *log, const struct write_options *options)
{
    struct write *write = mem_zalloc(sizeof(*write));
    write->seams = *seams;
    write->log = log;
    write->options = *options;
    write->datacenter = mem_strdup(options->datacenter);
    write->options.datacenter = write->datacenter;
    struct convert_options convert = {.incarnation = spool_incarnation(log),
                                      .epoch = spool_epoch(log),
                                      .age_max_ms = options->age_max_ms,
                                      .ahead_max_ms = options->ahead_max_ms};
    write->convert = convert_new(&convert);
    write->executor = loop_is_simulated(seams->loop) ? executor_inline_new() : executor_pool_new(1, QUEUE_MAX);
    return write;
}

/* ---- Senders ---- */

static struct sender *find_sender(const struct write *write, struct str name)
{
    for (size_t i = 0; i < write->sender_count; i++)
        if (str_equal(str_from(write->senders[i].name), name))
            return &write->senders[i];
    return NULL;
}

static int make_auth(struct write *write, const struct write_sender *senders, size_t count, char ret_error[static 256],
                     struct auth **ret_auth)
{
    CLEANUP_FREE struct auth_entry *entries = mem_array(count, sizeof(*entries));
    size_t named = 0;
    for (size_t i = 0; i < count; i++)
        if (!senders[i].anonymous)
            entries[named++] = (struct auth_entry){senders[i].name, senders[i].bearer_token_file};
    if (named == 0) /* auth without entries lets everybody in */
        return 0;
    return auth_new(write->seams.fs, entries, named, ret_error, ret_auth);
}

int write_set_senders(struct write *write, const struct write_sender *senders, size_t count, char ret_error[static 256])
{
    ASSERT(count <= WRITE_SENDERS_MAX);
    struct auth *auth = NULL;
    int error = make_auth(write, senders, count, ret_error, &auth);
    if (error < 0)
        return error;
    struct sender *next = mem_array(count, sizeof(*next));
    for (size_t i = 0; i < count; i++) {
        const struct sender *old = find_sender(write, str_from(senders[i].name));
        if (old)
            next[i] = *old;
        snprintf(next[i].name, sizeof(next[i].name), "%s", senders[i].name);
        snprintf(next[i].datacenter, sizeof(next[i].datacenter), "%s",
                 senders[i].datacenter ? senders[i].datacenter : write->datacenter);
        next[i].honor_datacenter = senders[i].honor_datacenter;
        next[i].anonymous = senders[i].anonymous;
    }
    auth_free(write->auth);
    mem_free(write->senders);
    write->auth = auth;
    write->senders = next;
    write->sender_count = count;
    return 0;
}

static const struct sender *sender_of(const struct write *write, const struct http_exchange *exchange)
{
    struct str identity;
    if (write->auth && auth_check(write->auth, exchange, &identity) == 0)
        return find_sender(write, identity);
    if (http_exchange_header(exchange, "Authorization").ptr)
        return NULL; /* a wrong token is no mistake to be lenient with */
    for (size_t i = 0; i < write->sender_count; i++)
        if (write->senders[i].anonymous)
            return &write->senders[i];
    return NULL;
}

/* ---- A request's life ---- */

static struct write_request *request_new(struct write *write, struct http_exchange *exchange,
                                         const struct sender *sender)
{
    struct write_request *request = mem_zalloc(sizeof(*request));
    request->write = write;
    request->exchange = exchange;
    request->convert = write->convert;
    request->bytes = http_exchange_body(exchange).len;
    memcpy(request->sender, sender->name, sizeof(request->sender));
    memcpy(request->datacenter, sender->datacenter, sizeof(request->datacenter));
    request->work = (struct convert_request){.body = http_exchange_body(exchange),
                                             .source = request->sender,
                                             .datacenter = request->datacenter,
                                             .honor_datacenter = sender->honor_datacenter,
                                             .now_ms = clock_wall_ms(loop_clock(write->seams.loop))};
    write->in_flight_bytes += request->bytes;
    request->next = write->requests;
    request->previous = &write->requests;
    if (request->next)
        request->next->previous = &request->next;
    write->requests = request;
    return request;
}

static void request_leave(struct write_request *request)
{
    if (!request->write)
        return;
    request->write->in_flight_bytes -= request->bytes;
    *request->previous = request->next;
    if (request->next)
        request->next->previous = request->previous;
    request->write = NULL;
}

static void request_free(struct write_request *request)
{
    request_leave(request);
    convert_result_done(&request->result);
    mem_free(request->ids);
    mem_free(request);
}

void write_free(struct write *write)
{
    if (!write)
        return;
    write->stopping = true;
    executor_free(write->executor);
    loop_settle(write->seams.loop); /* what the thread finished is answered there */
    while (write->requests) {       /* these wait for the disk */
        struct write_request *request = write->requests;
        http_exchange_answer_text(STEAL(request->exchange), 503, "stopping\n");
        request_leave(request);
    }
    convert_free(write->convert);
    auth_free(write->auth);
    mem_free(write->senders);
    mem_free(write->datacenter);
    mem_free(write);
}

/* ---- Answers ---- */

static void tell_refusal(struct write *write, struct str sender, const char *reason)
{
    if (write->options.on_refused)
        write->options.on_refused(write->options.on_refused_arg, sender, reason);
}

static void answer_again(struct http_exchange *exchange, const char *reason)
{
    http_exchange_header_add(exchange, "Retry-After", RETRY_AFTER_S);
    http_exchange_answer_text(exchange, 503, "%s: come again\n", reason);
}

/* It is over: what its sender is told, once. */
static void finish(struct write_request *request)
{
    struct write *write = request->write;
    struct http_exchange *exchange = STEAL(request->exchange);
    struct convert_result *result = &request->result;
    uint64_t refused = convert_refused(&result->counts);
    enum outcome outcome = OUTCOME_STORED;
    char reason[CONVERT_TEXT_BYTES + 128] = "";
    if (request->error < 0) {
        outcome = OUTCOME_FAILED;
        snprintf(reason, sizeof(reason), "the log cannot be written: %s", strerror(-request->error));
        answer_again(exchange, reason);
    } else if (refused > 0) {
        outcome = OUTCOME_PARTIAL;
        snprintf(reason, sizeof(reason), "%llu samples were stored, %llu refused; the first: %s",
                 (unsigned long long)result->counts.samples, (unsigned long long)refused, result->text);
        http_exchange_answer_text(exchange, 400, "%s\n", reason);
    } else {
        CLEANUP(buf_done) struct buf empty = BUF_INIT(0);
        http_exchange_answer(exchange, 204, NULL, &empty);
    }
    write->outcomes[outcome]++;
    if (reason[0])
        tell_refusal(write, str_from(request->sender), reason);
    request_free(request);
}

static void add_counts(struct convert_counts *sum, const struct convert_counts *counts)
{
    sum->raw_bytes += counts->raw_bytes;
    sum->series += counts->series;
    sum->samples += counts->samples;
    sum->exemplars += counts->exemplars;
    sum->histograms += counts->histograms;
    sum->metadata += counts->metadata;
    for (int i = 0; i < REFUSAL_COUNT; i++)
        sum->refused[i] += counts->refused[i];
}

/* What is counted is what is in the log: a request that comes again is counted once. */
static void count(struct write_request *request)
{
    struct write *write = request->write;
    struct sender *sender = find_sender(write, str_from(request->sender));
    add_counts(&write->counts, &request->result.counts);
    write->batches += request->result.batch_count;
    write->body_bytes += request->bytes;
    if (!sender)
        return; /* a reload took it away */
    struct str peer = http_exchange_peer(request->exchange);
    snprintf(sender->peer, sizeof(sender->peer), STR_FMT, STR_ARG(peer));
    sender->last_received_ms = request->work.now_ms;
    sender->requests++;
    sender->samples += request->result.counts.samples;
    sender->refused += convert_refused(&request->result.counts);
}

/* ---- The way into the log ---- */

static struct spool_batch batch_at(const struct write_request *request, size_t index)
{
    const struct convert_batch *batch = &request->result.batches[index];
    const struct envelope *envelope = &batch->envelope;
    return (struct spool_batch){.id = request->ids[index],
                                .is_remote_write = true,
                                .source = envelope->source,
                                .epoch = envelope->epoch,
                                .seq = envelope->seq,
                                .seq_end = envelope->seq,
                                .window_start_ms = envelope->window_start_ms,
                                .window_end_ms = envelope->window_start_ms + envelope->span_ms,
                                .bytes = batch->bytes.len};
}

/* A number that names nothing in the log is never used again: as seen, it leaves no hole in what is remembered. */
static void close_number(struct write *write, const struct envelope *envelope)
{
    if (seqlog_add_range(spool_seen(write->log), &envelope->source, envelope->epoch, envelope->seq, envelope->seq) < 0)
        log_debug("remote write: too many holes to remember");
}

static void synced(void *arg, int error)
{
    struct write_request *request = arg;
    struct write *write = request->write;
    if (!write) {
        request_free(request);
        return;
    }
    for (size_t i = 0; i < request->appended; i++) {
        struct spool_batch batch = batch_at(request, i);
        /* As with batches: what the log kept all the same is taken in now, it would come out of its replay. */
        if (error == 0 || spool_has(write->log, batch.id))
            (void)write->options.accept(write->options.accept_arg, &batch, buf_view(&request->result.batches[i].bytes));
        else
            close_number(write, &request->result.batches[i].envelope);
    }
    if (request->error == 0)
        request->error = error;
    if (request->error == 0)
        count(request);
    finish(request);
}

static int append(struct write *write, struct convert_batch *batch, uint64_t *ret_id)
{
    struct layout_table *table = spool_layouts(write->log);
    uint32_t held = 0, count = envelope_layout_count(&batch->envelope);
    int error = 0;
    while (held < count && error == 0) {
        error = layout_table_hold(table, batch->layouts[held]);
        held += error == 0;
    }
    if (error == 0)
        error = spool_append(write->log, &batch->envelope, buf_view(&batch->bytes), ret_id);
    while (held > 0)
        layout_table_release(table, envelope_layout_at(&batch->envelope, --held));
    return error;
}

/* All batches, or those before the first that fails: what was stored comes again with the rest, and is the same. */
static void append_all(struct write_request *request)
{
    struct write *write = request->write;
    struct convert_result *result = &request->result;
    request->ids = mem_array(result->batch_count, sizeof(*request->ids));
    while (request->appended < result->batch_count && request->error == 0) {
        size_t index = request->appended;
        request->error = append(write, &result->batches[index], &request->ids[index]);
        request->appended += request->error == 0;
    }
    for (size_t i = request->appended; i < result->batch_count; i++)
        close_number(write, &result->batches[i].envelope);
}

static void answer_unconverted(struct write_request *request)
{
    struct write *write = request->write;
    bool too_large = request->error == -EMSGSIZE;
    const char *reason = too_large ? "the request is past a limit: fewer series or samples at once"
                                   : "the body is no snappy block of a prometheus.WriteRequest";
    write->outcomes[too_large ? OUTCOME_TOO_LARGE : OUTCOME_MALFORMED]++;
    http_exchange_answer_text(STEAL(request->exchange), too_large ? 413 : 400, "%s\n", reason);
    tell_refusal(write, str_from(request->sender), reason);
    request_free(request);
}

/* Back on the loop. */
static void converted(void *arg)
{
    struct write_request *request = arg;
    struct write *write = request->write;
    if (write->stopping) {
        http_exchange_answer_text(STEAL(request->exchange), 503, "stopping\n");
        request_free(request);
        return;
    }
    if (request->error < 0) {
        answer_unconverted(request);
        return;
    }
    append_all(request);
    if (request->appended > 0) {
        spool_sync(write->log, synced, request);
        return;
    }
    if (request->error == 0)
        count(request);
    finish(request);
}

/* In the thread. */
static void convert(void *arg)
{
    struct write_request *request = arg;
    request->error = convert_run(request->convert, &request->work, &request->result);
}

/* ---- The handler ---- */

static bool is_write_request(struct str content_type)
{
    size_t end = str_find(content_type, ';');
    if (!str_equal(str_trim(str_of(content_type.ptr, end)), STR("application/x-protobuf")))
        return false;
    if (end == content_type.len)
        return true;
    struct str parameter = str_trim(str_of(content_type.ptr + end + 1, content_type.len - end - 1));
    return !str_starts_with(parameter, STR("proto=")) || str_equal(parameter, STR("proto=prometheus.WriteRequest"));
}

/* NULL: remote write 1.0, as far as headers tell. */
static const char *why_unsupported(const struct http_exchange *exchange)
{
    struct str encoding = http_exchange_header(exchange, "Content-Encoding");
    struct str type = http_exchange_header(exchange, "Content-Type");
    struct str version = http_exchange_header(exchange, "X-Prometheus-Remote-Write-Version");
    if (encoding.ptr && !str_equal(encoding, STR("snappy")))
        return "only Content-Encoding: snappy is taken";
    if (type.ptr && !is_write_request(type))
        return "only Content-Type: application/x-protobuf is taken, proto=prometheus.WriteRequest";
    if (version.ptr && !str_starts_with(version, STR("0.")) && !str_starts_with(version, STR("1.")))
        return "only remote write 1.0 is taken";
    return NULL;
}

static const char *why_busy(const struct write *write, const struct http_exchange *exchange)
{
    if (write->in_flight_bytes + http_exchange_body(exchange).len > write->options.in_flight_bytes_max)
        return "busy";
    return write->options.why_busy ? write->options.why_busy(write->options.why_busy_arg) : NULL;
}

void write_handle(struct write *write, struct http_exchange *exchange)
{
    if (write->sender_count == 0) {
        http_exchange_answer_text(exchange, 404, "remote write is off: name its senders in remote_write.senders\n");
        return;
    }
    const struct sender *sender = sender_of(write, exchange);
    if (!sender) {
        write->outcomes[OUTCOME_UNAUTHORISED]++;
        tell_refusal(write, http_exchange_peer(exchange), "its token or certificate is not known here");
        http_exchange_answer_text(exchange, 401, "the token or certificate is not known here\n");
        return;
    }
    const char *reason = why_unsupported(exchange);
    if (reason) {
        write->outcomes[OUTCOME_UNSUPPORTED]++;
        tell_refusal(write, str_from(sender->name), reason);
        http_exchange_answer_text(exchange, 415, "%s\n", reason);
        return;
    }
    reason = why_busy(write, exchange);
    struct write_request *request = reason ? NULL : request_new(write, exchange, sender);
    if (request && executor_submit(write->executor, write->seams.loop, convert, converted, request) == 0)
        return;
    write->outcomes[OUTCOME_BUSY]++;
    answer_again(exchange, reason ? reason : "busy");
    if (request)
        request_free(request);
}
