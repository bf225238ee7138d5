#include "fleet_page.h"
#include "base/fail.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 4096

/* How the value of a line comes about. */
enum value_form {
    FORM_CONSTANT, /* the same on every host */
    FORM_OWN,      /* a number of the host, never moves */
    FORM_COUNT,    /* integer counter */
    FORM_CENTI,    /* counter in 1/100, as CPU seconds */
    FORM_MILLI,    /* counter in 1/1000, as disk seconds */
    FORM_IDLE,     /* counter that stands still */
    FORM_BYTES,    /* gauge, multiple of 4096 */
    FORM_SMALL,    /* gauge with 2 decimals, as load */
    FORM_NANO,     /* gauge with 9 decimals, as durations */
    FORM_TIME      /* unix time */
};

struct line {
    char *text; /* up to and with the space before the value; comments whole */
    size_t len;
    enum value_form form;
    double scale;
    bool comment;
};

static struct line lines[LINES_MAX];
static size_t line_count;
static size_t series_count;

static void add_text(const char *text, bool comment, enum value_form form, double scale)
{
    if (line_count == LINES_MAX) {
        fprintf(stderr, "fleet: more than %d lines\n", LINES_MAX);
        exit(2);
    }
    struct line *line = &lines[line_count++];
    *line =
        (struct line){.text = mem_strdup(text), .len = strlen(text), .form = form, .scale = scale, .comment = comment};
    series_count += !comment;
}

static void family(const char *name, const char *type)
{
    char text[512];
    snprintf(text, sizeof(text), "# HELP %s Simulated, as node_exporter has it.\n# TYPE %s %s\n", name, name, type);
    add_text(text, true, FORM_CONSTANT, 0);
}

static void series(const char *name, const char *labels, enum value_form form, double scale)
{
    char text[512];
    snprintf(text, sizeof(text), labels[0] ? "%s{%s} " : "%s%s ", name, labels);
    add_text(text, false, form, scale);
}

static void page_cpu(unsigned cpus)
{
    static const char *const modes[] = {"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"};
    static const double rates[] = {88, 0.5, 0, 0, 0.5, 0.5, 3, 8};
    char labels[128];
    family("node_cpu_seconds_total", "counter");
    for (unsigned cpu = 0; cpu < cpus; cpu++)
        for (size_t mode = 0; mode < 8; mode++) {
            snprintf(labels, sizeof(labels), "cpu=\"%u\",mode=\"%s\"", cpu, modes[mode]);
            series("node_cpu_seconds_total", labels, rates[mode] > 0 ? FORM_CENTI : FORM_IDLE, rates[mode]);
        }
    family("node_softnet_processed_total", "counter");
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        snprintf(labels, sizeof(labels), "cpu=\"%u\"", cpu);
        series("node_softnet_processed_total", labels, FORM_COUNT, 40);
    }
    family("node_softnet_dropped_total", "counter");
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        snprintf(labels, sizeof(labels), "cpu=\"%u\"", cpu);
        series("node_softnet_dropped_total", labels, FORM_IDLE, 0);
    }
    family("node_cpu_guest_seconds_total", "counter");
    for (unsigned cpu = 0; cpu < cpus; cpu++)
        for (size_t mode = 0; mode < 2; mode++) {
            snprintf(labels, sizeof(labels), "cpu=\"%u\",mode=\"%s\"", cpu, mode ? "user" : "nice");
            series("node_cpu_guest_seconds_total", labels, FORM_IDLE, 0);
        }
}

struct device_family {
    const char *name;
    const char *type;
    enum value_form form;
    double scale;
};

static void page_devices(const struct device_family *families, size_t count, const char *const *devices)
{
    for (size_t i = 0; i < count; i++) {
        family(families[i].name, families[i].type);
        for (size_t device = 0; devices[device]; device++) {
            /* The third and later devices are idle. */
            bool idle = device > 1 && strcmp(families[i].type, "counter") == 0;
            char labels[160];
            snprintf(labels, sizeof(labels), "device=\"%s\"", devices[device]);
            series(families[i].name, labels, idle ? FORM_IDLE : families[i].form, families[i].scale);
        }
    }
}

static void page_disks(const char *const *devices)
{
    static const struct device_family families[] = {
        {"node_disk_reads_completed_total", "counter", FORM_COUNT, 3},
        {"node_disk_writes_completed_total", "counter", FORM_COUNT, 12},
        {"node_disk_read_bytes_total", "counter", FORM_COUNT, 40960},
        {"node_disk_written_bytes_total", "counter", FORM_COUNT, 163840},
        {"node_disk_read_time_seconds_total", "counter", FORM_MILLI, 4},
        {"node_disk_write_time_seconds_total", "counter", FORM_MILLI, 30},
        {"node_disk_io_time_seconds_total", "counter", FORM_MILLI, 20},
        {"node_disk_io_now", "gauge", FORM_CONSTANT, 0},
        {"node_disk_reads_merged_total", "counter", FORM_COUNT, 0.2},
        {"node_disk_writes_merged_total", "counter", FORM_COUNT, 5},
    };
    page_devices(families, sizeof(families) / sizeof(families[0]), devices);
}

static void page_network(const char *const *devices)
{
    static const struct device_family families[] = {
        {"node_network_receive_bytes_total", "counter", FORM_COUNT, 120000},
        {"node_network_receive_packets_total", "counter", FORM_COUNT, 300},
        {"node_network_receive_drop_total", "counter", FORM_IDLE, 0},
        {"node_network_receive_errs_total", "counter", FORM_IDLE, 0},
        {"node_network_transmit_bytes_total", "counter", FORM_COUNT, 90000},
        {"node_network_transmit_packets_total", "counter", FORM_COUNT, 250},
        {"node_network_transmit_drop_total", "counter", FORM_IDLE, 0},
        {"node_network_transmit_errs_total", "counter", FORM_IDLE, 0},
        {"node_network_up", "gauge", FORM_CONSTANT, 1},
        {"node_network_mtu_bytes", "gauge", FORM_CONSTANT, 1500},
    };
    page_devices(families, sizeof(families) / sizeof(families[0]), devices);
}

static void page_memory(void)
{
    static const char *const names[] = {
        "MemFree",     "MemAvailable", "Buffers",      "Cached",      "Active",        "Inactive",     "Dirty",
        "Writeback",   "AnonPages",    "Mapped",       "Shmem",       "Slab",          "SReclaimable", "SUnreclaim",
        "KernelStack", "PageTables",   "Committed_AS", "Active_anon", "Inactive_anon", "Active_file",  "Inactive_file"};
    static const char *const sizes[] = {"MemTotal",     "SwapTotal",    "SwapFree",    "CommitLimit",
                                        "VmallocTotal", "Hugepagesize", "DirectMap4k", "DirectMap2M"};
    char name[128];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        snprintf(name, sizeof(name), "node_memory_%s_bytes", sizes[i]);
        family(name, "gauge");
        series(name, "", FORM_OWN, 4096.0 * 262144);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(name, sizeof(name), "node_memory_%s_bytes", names[i]);
        family(name, "gauge");
        series(name, "", FORM_BYTES, 4096.0 * 16384);
    }
}

static void page_system(void)
{
    static const struct device_family families[] = {
        {"node_load1", "gauge", FORM_SMALL, 4},
        {"node_load5", "gauge", FORM_SMALL, 3},
        {"node_load15", "gauge", FORM_SMALL, 2},
        {"node_boot_time_seconds", "gauge", FORM_OWN, 1e7},
        {"node_time_seconds", "gauge", FORM_TIME, 0},
        {"node_context_switches_total", "counter", FORM_COUNT, 4000},
        {"node_forks_total", "counter", FORM_COUNT, 6},
        {"node_intr_total", "counter", FORM_COUNT, 2500},
        {"node_procs_running", "gauge", FORM_CONSTANT, 2},
        {"node_procs_blocked", "gauge", FORM_CONSTANT, 0},
        {"node_filefd_allocated", "gauge", FORM_BYTES, 100000},
        {"node_entropy_available_bits", "gauge", FORM_CONSTANT, 256},
        {"node_vmstat_pgfault", "counter", FORM_COUNT, 900},
        {"node_vmstat_pgmajfault", "counter", FORM_COUNT, 0.1},
        {"node_netstat_Tcp_InSegs", "counter", FORM_COUNT, 280},
        {"node_netstat_Tcp_OutSegs", "counter", FORM_COUNT, 260},
        {"node_sockstat_sockets_used", "gauge", FORM_SMALL, 300},
        {"node_sockstat_TCP_alloc", "gauge", FORM_CONSTANT, 90},
        {"node_sockstat_TCP_inuse", "gauge", FORM_CONSTANT, 40},
        {"node_sockstat_TCP_mem", "gauge", FORM_BYTES, 4096.0 * 30},
        {"node_sockstat_TCP_orphan", "gauge", FORM_CONSTANT, 0},
        {"node_sockstat_TCP_tw", "gauge", FORM_CONSTANT, 3},
        {"node_sockstat_UDP_inuse", "gauge", FORM_CONSTANT, 5},
        {"node_sockstat_UDP_mem", "gauge", FORM_CONSTANT, 2},
        {"process_cpu_seconds_total", "counter", FORM_CENTI, 0.4},
    };
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        family(families[i].name, families[i].type);
        series(families[i].name, "", families[i].form, families[i].scale);
    }
}

static void page_collectors(void)
{
    static const char *const names[] = {"arp",     "cpu",     "diskstats", "filefd",  "filesystem",
                                        "loadavg", "meminfo", "netdev",    "netstat", "sockstat",
                                        "softnet", "stat",    "time",      "uname",   "vmstat"};
    char labels[96];
    family("node_scrape_collector_duration_seconds", "gauge");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(labels, sizeof(labels), "collector=\"%s\"", names[i]);
        series("node_scrape_collector_duration_seconds", labels, FORM_NANO, 0.002);
    }
    family("node_scrape_collector_success", "gauge");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(labels, sizeof(labels), "collector=\"%s\"", names[i]);
        series("node_scrape_collector_success", labels, FORM_CONSTANT, 1);
    }
}

static void page_filesystems(unsigned count)
{
    static const struct device_family families[] = {
        {"node_filesystem_size_bytes", "gauge", FORM_OWN, 4096.0 * 2.5e7},
        {"node_filesystem_free_bytes", "gauge", FORM_BYTES, 4096.0 * 1e7},
        {"node_filesystem_avail_bytes", "gauge", FORM_BYTES, 4096.0 * 9e6},
        {"node_filesystem_files", "gauge", FORM_OWN, 6e6},
        {"node_filesystem_files_free", "gauge", FORM_OWN, 5e6},
        {"node_filesystem_readonly", "gauge", FORM_CONSTANT, 0},
    };
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        family(families[i].name, families[i].type);
        for (unsigned mount = 0; mount < count; mount++) {
            char labels[160];
            snprintf(labels, sizeof(labels), "device=\"/dev/vda%u\",fstype=\"ext4\",mountpoint=\"/data%u\"", mount + 1,
                     mount);
            series(families[i].name, labels, mount > 4 ? FORM_OWN : families[i].form, families[i].scale);
        }
    }
}

/* A histogram as services have: its buckets fall behind each other by one fifth. */
static void page_histogram(const char *name)
{
    static const char *const bounds[] = {"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"};
    char text[160], labels[96];
    family(name, "histogram");
    snprintf(text, sizeof(text), "%s_bucket", name);
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        snprintf(labels, sizeof(labels), "le=\"%s\"", bounds[i]);
        series(text, labels, FORM_COUNT, 20 + (double)i);
    }
    snprintf(text, sizeof(text), "%s_sum", name);
    series(text, "", FORM_MILLI, 800);
    snprintf(text, sizeof(text), "%s_count", name);
    series(text, "", FORM_COUNT, 29);
}

size_t fleet_page_make(int full)
{
    static const char *const one_disk[] = {"vda", NULL}, *const one_net[] = {"eth0", NULL};
    static const char *const disks[] = {"vda", "vdb", "dm-0", "dm-1", NULL};
    static const char *const nets[] = {"eth0", "lo", "docker0", "veth12ab", NULL};
    if (full) {
        page_cpu(38);
        page_disks(disks);
        page_network(nets);
        page_filesystems(8);
        page_histogram("http_request_duration_seconds");
        page_histogram("rpc_duration_seconds");
        page_collectors();
    } else {
        page_cpu(2);
        page_disks(one_disk);
        page_network(one_net);
    }
    page_memory();
    page_system();
    return series_count;
}

/* A fixed number in [0, 1) for (host, line): splitmix64. */
static double own_number(uint32_t host, size_t line)
{
    uint64_t z = ((uint64_t)host << 32 | line) + UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return (double)(z >> 11) / 9007199254740992.0;
}

/* Value of a line at a time in seconds. Counters start at a number of their host's and rise by a rate of its own. */
static int print_value(char *at, size_t room, const struct line *line, uint32_t host, size_t index, double now)
{
    double own = own_number(host, index);
    double since = now - 1.7e9 + 1e5 * own; /* seconds it has counted: since November 2023 */
    double wave = sin(now / (20 + 100 * own) + 6.28 * own);
    switch (line->form) {
    case FORM_CONSTANT:
        return snprintf(at, room, "%.0f\n", line->scale);
    case FORM_OWN:
        return snprintf(at, room, "%.0f\n", floor(line->scale * (1 + own)));
    case FORM_COUNT:
        return snprintf(at, room, "%.0f\n", floor(line->scale * (0.5 + own) * since));
    case FORM_CENTI:
        return snprintf(at, room, "%.2f\n", floor(line->scale * (0.5 + own) * since) / 100);
    case FORM_MILLI:
        return snprintf(at, room, "%.3f\n", floor(line->scale * (0.5 + own) * since) / 1000);
    case FORM_IDLE:
        return snprintf(at, room, "%d\n", own < 0.03 ? (int)(own * 30000) : 0);
    case FORM_BYTES:
        return snprintf(at, room, "%.0f\n", floor(line->scale * (2 + own + 0.3 * wave) / 4096) * 4096);
    case FORM_SMALL:
        return snprintf(at, room, "%.2f\n", line->scale * (1.1 + own + wave));
    case FORM_NANO:
        return snprintf(at, room, "%.9g\n", line->scale * (1.1 + own + wave));
    case FORM_TIME:
        return snprintf(at, room, "%.7e\n", now);
    }
    return 0;
}

size_t fleet_page_render(char *page, uint32_t host, double now)
{
    size_t len = 0;
    for (size_t i = 0; i < line_count; i++) {
        const struct line *line = &lines[i];
        if (len + line->len + 64 > FLEET_PAGE_BYTES_MAX)
            break;
        memcpy(page + len, line->text, line->len);
        len += line->len;
        if (!line->comment)
            len += (size_t)print_value(page + len, 64, line, host, i, now);
    }
    return len;
}
