/* A fleet made of one captured machine. Its values become integers of their digits (k), each host goes through the
 * trace from a second of its own, its counters rise faster or slower than the captured ones and have risen for longer:
 * values differ from host to host, stay monotone and keep their digits. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/file.h"
#include "page_kinds.h"

#include <errno.h>
#include <libdeflate.h>
#include <math.h>
#include <string.h>

#define FILE_BYTES_MAX (64 * MIB)
#define TEXT_BYTES_MAX (256 * MIB)
#define SERIES_MAX     16384
#define STEPS_MAX      3600
#define K_MAX          2251799813685248.0 /* 2^51: above, integers of digits would not come back */
#define FIRST_LINE     "# tributary capture 1"
#define BEGIN_S        1.7e9
#define UPTIME_S       1728000.0 /* the median: 20 days */
#define SLOW_STEP_S    15        /* of what rises with each scrape, not with time */
#define LARGE          1000      /* a moving gauge above this differs by host */

/* How a value follows from an integer; the first that fits all values of a series is taken. */
static const struct scale {
    double factor;
    double divisor, divisor_2;
} scales[] = {{1, 1, 1}, {1, 100, 1}, {0.001, 1, 1}, {1, 1000, 1000}, {1, 1e3, 1}, {1, 1e6, 1}, {1, 1e9, 1}};

struct trace {
    struct str text;           /* comments before it, then the series up to and with the space */
    double *values;            /* of each step */
    const struct scale *scale; /* NULL: none fits */
    double unit;               /* the k of all values are multiples of it */
    uint64_t family;           /* hash of its name */
    bool counter;              /* never falls */
    bool moves;                /* in the capture */
    bool slow;                 /* goes by scrapes, not by time */
    bool clock;                /* tells a time */
    bool size;                 /* a size of the machine */
};

struct page_capture {
    struct arena arena;
    struct buf text; /* of the file */
    struct trace traces[SERIES_MAX];
    size_t trace_count;
    double *times; /* unix time of each step */
    size_t step_count;
};

static double value_of(const struct scale *scale, double k)
{
    return scale ? k * scale->factor / scale->divisor / scale->divisor_2 : k;
}

static double k_of(const struct scale *scale, double value)
{
    return scale ? nearbyint(value / scale->factor * scale->divisor * scale->divisor_2) : value;
}

/* ---- Loading ---- */

static void choose_scale(struct trace *trace, size_t step_count)
{
    for (size_t i = 0; i < ARRAY_LEN(scales) && !trace->scale; i++) {
        size_t fits = 0;
        while (fits < step_count && fabs(k_of(&scales[i], trace->values[fits])) < K_MAX &&
               value_of(&scales[i], k_of(&scales[i], trace->values[fits])) == trace->values[fits])
            fits++;
        if (fits == step_count)
            trace->scale = &scales[i];
    }
    trace->unit = trace->scale ? 4096 : 0;
    for (size_t i = 0; trace->scale && i < step_count; i++)
        while (fmod(k_of(trace->scale, trace->values[i]), trace->unit) != 0)
            trace->unit /= 2;
}

/* What kind of series it is, by its name, type and values. */
static void classify(struct trace *trace, struct str name, struct str type, size_t step_count)
{
    static const char *const slow[] = {"go_", "process_", "promhttp_", "node_scrape_"};
    bool summary = str_equal(type, STR("histogram")) || str_equal(type, STR("summary"));
    trace->counter = str_equal(type, STR("counter")) ||
                     (summary && (str_ends_with(name, STR("_sum")) || str_ends_with(name, STR("_count")) ||
                                  str_ends_with(name, STR("_bucket")))) ||
                     str_equal(type, STR("untyped")); /* node_netstat_*, node_vmstat_*: those that never fell */
    for (size_t i = 1; i < step_count; i++) {
        trace->moves |= trace->values[i] != trace->values[i - 1];
        trace->counter &= trace->values[i] >= trace->values[i - 1];
    }
    trace->clock = !trace->counter && str_ends_with(name, STR("time_seconds")) && trace->values[0] > 1e9;
    trace->size = !trace->counter && !trace->moves && str_ends_with(name, STR("_bytes")) &&
                  !str_starts_with(name, STR("node_memory_Vmalloc"));
    for (size_t i = 0; i < ARRAY_LEN(slow); i++)
        trace->slow |= str_starts_with(name, str_from(slow[i]));
    trace->family = str_hash(name);
    choose_scale(trace, step_count);
}

static int read_file(const char *path, struct buf *out)
{
    CLEANUP(buf_done) struct buf packed = BUF_INIT(FILE_BYTES_MAX);
    int error = file_read_whole(file_system_real(), path, &packed);
    if (error < 0)
        return error;
    struct libdeflate_decompressor *decompressor = libdeflate_alloc_decompressor();
    size_t len = 0;
    uint8_t *room = buf_reserve(out, TEXT_BYTES_MAX);
    enum libdeflate_result result =
        !decompressor || !room
            ? LIBDEFLATE_BAD_DATA
            : libdeflate_gzip_decompress(decompressor, packed.data, packed.len, room, TEXT_BYTES_MAX, &len);
    libdeflate_free_decompressor(decompressor);
    if (result != LIBDEFLATE_SUCCESS)
        return -EBADMSG;
    buf_added(out, len);
    return 0;
}

static bool next_line(struct str *text, struct str *ret_line)
{
    if (text->len == 0)
        return false;
    size_t end = str_find(*text, '\n');
    *ret_line = str_of(text->ptr, end);
    size_t passed = MIN(end + 1, text->len);
    *text = str_of(text->ptr + passed, text->len - passed);
    return true;
}

/* Splits at the last space; false without one or without a number behind it. */
static bool split(struct str line, struct str *ret_front, double *ret_value)
{
    size_t at = line.len;
    while (at > 0 && line.ptr[at - 1] != ' ')
        at--;
    *ret_front = str_of(line.ptr, at);
    return at > 0 && str_to_double(str_of(line.ptr + at, line.len - at), ret_value) == 0;
}

/* The first page: a trace per series, in `first` their values; stops before the first time line. */
static int read_page(struct page_capture *capture, struct str *text, struct str *types, double *first)
{
    const char *from = text->ptr;
    struct str type = STR("untyped"), line, front, rest;
    for (rest = *text; next_line(&rest, &line) && !str_starts_with(line, STR("@ ")); *text = rest) {
        if (str_starts_with(line, STR("# TYPE "))) {
            size_t at = line.len;
            while (line.ptr[at - 1] != ' ')
                at--;
            type = str_of(line.ptr + at, line.len - at);
        }
        if (str_starts_with(line, STR("#")))
            continue;
        if (capture->trace_count == SERIES_MAX || !split(line, &front, &first[capture->trace_count]))
            return -EBADMSG;
        types[capture->trace_count] = type;
        capture->traces[capture->trace_count++].text = str_of(from, (size_t)(front.ptr + front.len - from));
        from = rest.ptr;
    }
    return 0;
}

/* Time lines, and behind each what changed since the one before. */
static int read_steps(struct page_capture *capture, struct str text, double *now)
{
    struct str line, front;
    double value;
    uint64_t number;
    while (next_line(&text, &line)) {
        if (!split(line, &front, &value) || capture->step_count == STEPS_MAX)
            return -EBADMSG;
        if (str_equal(front, STR("@ "))) {
            capture->times[capture->step_count++] = value;
            for (size_t i = 0; i < capture->trace_count; i++)
                capture->traces[i].values[capture->step_count - 1] = now[i];
        } else if (str_to_u64(str_trim(front), &number) == 0 && number < capture->trace_count) {
            now[number] = capture->traces[number].values[capture->step_count - 1] = value;
        } else {
            return -EBADMSG;
        }
    }
    return capture->step_count > SLOW_STEP_S ? 0 : -EBADMSG;
}

/* The name of a series' own line, behind its comments. */
static struct str name_of(const struct trace *trace)
{
    size_t at = trace->text.len;
    while (at > 0 && trace->text.ptr[at - 1] != '\n')
        at--;
    struct str series = str_of(trace->text.ptr + at, trace->text.len - at);
    return str_of(series.ptr, MIN(str_find(series, '{'), str_find(series, ' ')));
}

static int read_all(struct page_capture *capture, const char *path)
{
    struct str line, text;
    int error = read_file(path, &capture->text);
    if (error < 0)
        return error;
    text = buf_view(&capture->text);
    if (!next_line(&text, &line) || !str_equal(line, STR(FIRST_LINE)))
        return -EBADMSG;
    double *now = arena_array(&capture->arena, SERIES_MAX, sizeof(double));
    struct str *types = arena_array(&capture->arena, SERIES_MAX, sizeof(struct str));
    error = read_page(capture, &text, types, now);
    if (error < 0)
        return error;
    capture->times = arena_array(&capture->arena, STEPS_MAX, sizeof(double));
    for (size_t i = 0; i < capture->trace_count; i++)
        capture->traces[i].values = arena_array(&capture->arena, STEPS_MAX, sizeof(double));
    error = read_steps(capture, text, now);
    for (size_t i = 0; error == 0 && i < capture->trace_count; i++)
        classify(&capture->traces[i], name_of(&capture->traces[i]), types[i], capture->step_count);
    return error;
}

int page_capture_load(const char *path, char ret_error[static PAGE_ERROR_BYTES], struct page_capture **ret_capture)
{
    if (!path) {
        snprintf(ret_error, PAGE_ERROR_BYTES, "which capture? (a file of tools/bench/capture)");
        return -EINVAL;
    }
    CLEANUP(page_capture_freep) struct page_capture *capture = mem_zalloc(sizeof(*capture));
    arena_init(&capture->arena, 0);
    buf_init(&capture->text, TEXT_BYTES_MAX);
    int error = read_all(capture, path);
    if (error < 0) {
        snprintf(ret_error, PAGE_ERROR_BYTES, "%s: %s", path,
                 error == -EBADMSG ? "not a capture" : strerrordesc_np(-error));
        return error;
    }
    *ret_capture = STEAL(capture);
    return 0;
}

void page_capture_free(struct page_capture *capture)
{
    if (!capture)
        return;
    arena_done(&capture->arena);
    buf_done(&capture->text);
    mem_free(capture);
}

/* ---- Rendering ---- */

struct place { /* of a host in the trace */
    uint32_t host;
    double step, slow_step; /* since its counters were zero; the trace repeats, its last step being the first again */
    double rate, size;
    double uptime;
};

static struct place place_of(uint32_t host, double now)
{
    static const double sizes[] = {0.5, 1, 2, 4};
    double uptime = floor(UPTIME_S * own_factor(own_key(host, 2), 1.2));
    double step = floor(now - BEGIN_S + uptime);
    return (struct place){.host = host,
                          .step = step,
                          .slow_step = floor(step / SLOW_STEP_S),
                          .rate = own_factor(own_key(host, 1), 0.8),
                          .size = sizes[own_key(host, 3) % ARRAY_LEN(sizes)],
                          .uptime = uptime};
}

static double to_unit(const struct trace *trace, double k)
{
    return trace->scale ? floor(k / trace->unit) * trace->unit : k;
}

static double counter_at(const struct trace *trace, const struct place *place, size_t at, double repeats, size_t last)
{
    double first = k_of(trace->scale, trace->values[0]);
    if (!trace->moves)
        return to_unit(trace, first * own_factor(own_key(place->host, trace->family), 1.2));
    double risen =
        repeats * (k_of(trace->scale, trace->values[last]) - first) + k_of(trace->scale, trace->values[at]) - first;
    return to_unit(trace, risen * place->rate * own_factor(own_key(place->host, trace->family), 0.4));
}

static double trace_value(const struct page_capture *capture, const struct trace *trace, const struct place *place)
{
    double step = trace->slow ? place->slow_step : place->step;
    size_t last = capture->step_count - 1;
    double repeats = floor(step / (double)last);
    size_t at = (size_t)(step - repeats * (double)last);
    double value = trace->values[at];
    if (trace->counter)
        return value_of(trace->scale, counter_at(trace, place, at, repeats, last));
    if (trace->clock) /* since the host's counters were zero, or since the trace began again */
        value += BEGIN_S - place->uptime - capture->times[0] +
                 (trace->moves ? repeats * (double)last * (trace->slow ? SLOW_STEP_S : 1) : 0);
    double k = k_of(trace->scale, value);
    if (trace->size)
        k = to_unit(trace, k * place->size);
    else if (trace->moves && !trace->clock && trace->scale && fabs(k) > LARGE)
        k = to_unit(trace, k * own_factor(own_key(place->host, trace->family), 0.3));
    return trace->clock && trace->moves ? value : value_of(trace->scale, k);
}

size_t page_capture_render(const struct page_capture *capture, char *page, uint32_t host, double now)
{
    const struct place place = place_of(host, now);
    size_t len = 0;
    for (size_t i = 0; i < capture->trace_count; i++) {
        const struct trace *trace = &capture->traces[i];
        if (len + trace->text.len + VALUE_TEXT_BYTES > PAGE_BYTES_MAX)
            break;
        memcpy(page + len, trace->text.ptr, trace->text.len);
        len += trace->text.len;
        len += value_print(trace_value(capture, trace, &place), page + len);
        page[len++] = '\n';
    }
    return len;
}
