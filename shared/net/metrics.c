#include "net/metrics.h"

#include "base/clock.h"
#include "base/file.h"

#include <math.h>
#include <sys/resource.h>
#include <unistd.h>

#define PROC_BYTES_MAX ((size_t)64 * KIB) /* /proc/stat grows with the number of interrupts */

/* HELP text: backslash and newline escaped (exposition format 0.0.4). */
static void append_help(struct buf *out, const char *help)
{
    for (; *help; help++) {
        if (*help == '\\')
            buf_append_text(out, "\\\\");
        else if (*help == '\n')
            buf_append_text(out, "\\n");
        else
            buf_append_byte(out, (uint8_t)*help);
    }
}

void metrics_family(struct buf *out, const char *name, enum metrics_type type, const char *help)
{
    buf_printf(out, "# HELP %s ", name);
    append_help(out, help);
    buf_printf(out, "\n# TYPE %s %s\n", name, type == METRICS_COUNTER ? "counter" : "gauge");
}

static void append_value(struct buf *out, double value)
{
    if (isnan(value))
        buf_append_text(out, "NaN");
    else if (isinf(value))
        buf_append_text(out, value > 0 ? "+Inf" : "-Inf");
    else if (value == floor(value) && fabs(value) < 9007199254740992.)
        buf_printf(out, "%.0f", value);
    else
        buf_printf(out, "%.17g", value);
}

void metrics_sample(struct buf *out, const char *name, const char *labels, double value)
{
    buf_append_text(out, name);
    if (labels && labels[0])
        buf_printf(out, "{%s}", labels);
    buf_append_byte(out, ' ');
    append_value(out, value);
    buf_append_byte(out, '\n');
}

void metrics_quote(struct buf *out, struct str value)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < value.len; i++) {
        char byte = value.ptr[i];
        if (byte == '\\')
            buf_append_text(out, "\\\\");
        else if (byte == '"')
            buf_append_text(out, "\\\"");
        else if (byte == '\n')
            buf_append_text(out, "\\n");
        else
            buf_append_byte(out, (uint8_t)byte);
    }
    buf_append_byte(out, '"');
}

void metrics_one(struct buf *out, const char *name, enum metrics_type type, const char *help, double value)
{
    metrics_family(out, name, type, help);
    metrics_sample(out, name, NULL, value);
}

/* A file of /proc, whose size nobody knows before it is read. */
static struct str read_proc(const char *path, struct buf *buf)
{
    struct file *file;
    buf_reset(buf);
    uint8_t *room = buf_reserve(buf, PROC_BYTES_MAX);
    if (!room || file_open(file_system_real(), path, FILE_READ, &file))
        return STR_NULL;
    int64_t len = file_read_at(file, room, PROC_BYTES_MAX, 0);
    file_close(file);
    buf_added(buf, len > 0 ? (size_t)len : 0);
    return buf_view(buf);
}

/* nth word (from 0) of text, separated by spaces. */
static double word_at(struct str text, size_t nth)
{
    double value = NAN;
    for (; text.len > 0; nth--) {
        size_t space = str_find(text, ' ');
        if (nth == 0)
            return str_to_double(str_trim(str_of(text.ptr, MIN(space, str_find(text, '\n')))), &value) ? NAN : value;
        size_t used = MIN(space + 1, text.len);
        text = str_of(text.ptr + used, text.len - used);
    }
    return value;
}

/* A field of /proc/self/stat behind the name; its number as proc(5) has it, from 3 on. */
static double stat_field(struct buf *buf, size_t number)
{
    struct str stat = read_proc("/proc/self/stat", buf);
    size_t name_end = stat.len;
    while (name_end > 0 && stat.ptr[name_end - 1] != ')') /* the name may hold spaces */
        name_end--;
    if (name_end + 1 >= stat.len)
        return NAN;
    return word_at(str_of(stat.ptr + name_end + 1, stat.len - name_end - 1), number - 3);
}

uint64_t metrics_process_threads(void)
{
    CLEANUP(buf_done) struct buf buf = BUF_INIT(PROC_BYTES_MAX);
    double threads = stat_field(&buf, 20);
    return threads > 0 ? (uint64_t)threads : 0;
}

/* Boot time plus ticks since then: the same at every call, unlike now minus age. */
static double start_time_s(struct buf *buf)
{
    double ticks = stat_field(buf, 22);
    struct str system = read_proc("/proc/stat", buf);
    for (size_t at = 0; at < system.len;) {
        struct str line = str_of(system.ptr + at, str_find(str_of(system.ptr + at, system.len - at), '\n'));
        if (str_starts_with(line, STR("btime ")))
            return word_at(line, 1) + ticks / (double)sysconf(_SC_CLK_TCK);
        at += line.len + 1;
    }
    return NAN;
}

static double open_descriptors(void)
{
    char **names;
    size_t count;
    if (file_list(file_system_real(), "/proc/self/fd", &names, &count))
        return NAN;
    file_names_free(names, count);
    return (double)count - 1; /* the directory itself */
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void metrics_process(struct buf *out, const char *daemon)
{
    struct rusage usage = {0};
    struct rlimit files = {0};
    CLEANUP(buf_done) struct buf buf = BUF_INIT(PROC_BYTES_MAX);
    double page_bytes = (double)sysconf(_SC_PAGESIZE);
    getrusage(RUSAGE_SELF, &usage);
    getrlimit(RLIMIT_NOFILE, &files);
    struct str memory = read_proc("/proc/self/statm", &buf);
    double virtual_bytes = word_at(memory, 0) * page_bytes, resident_bytes = word_at(memory, 1) * page_bytes;
    metrics_one(out, "process_cpu_seconds_total", METRICS_COUNTER, "User and system CPU time in seconds.",
                seconds(usage.ru_utime) + seconds(usage.ru_stime));
    metrics_one(out, "process_resident_memory_bytes", METRICS_GAUGE, "Resident memory.", resident_bytes);
    metrics_one(out, "process_virtual_memory_bytes", METRICS_GAUGE, "Virtual memory.", virtual_bytes);
    metrics_one(out, "process_open_fds", METRICS_GAUGE, "Open descriptors.", open_descriptors());
    metrics_one(out, "process_max_fds", METRICS_GAUGE, "Most descriptors that may be open.", (double)files.rlim_cur);
    metrics_one(out, "process_start_time_seconds", METRICS_GAUGE, "Start of the process, seconds since 1970.",
                start_time_s(&buf));
    metrics_family(out, "tributary_build_info", METRICS_GAUGE, "Always 1; the labels say what runs.");
    CLEANUP(buf_done) struct buf labels = BUF_INIT(KIB);
    buf_append_text(&labels, "daemon=");
    metrics_quote(&labels, str_from(daemon));
    buf_append_text(&labels, ",version=\"" TRIBUTARY_VERSION "\"");
    buf_append_byte(&labels, '\0');
    metrics_sample(out, "tributary_build_info", labels.full ? NULL : (const char *)labels.data, 1);
}
