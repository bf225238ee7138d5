/* Pages like node_exporter's: which families and series a host has. */
#include "page_kinds.h"

#include <stdio.h>
#include <string.h>

static void page_cpu(struct page_template *page, unsigned cpus)
{
    static const char *const modes[] = {"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"};
    static const double rates[] = {88, 0.5, 0, 0, 0.5, 0.5, 3, 8};
    char labels[128];
    page_template_family(page, "node_cpu_seconds_total", "counter");
    for (unsigned cpu = 0; cpu < cpus; cpu++)
        for (size_t mode = 0; mode < 8; mode++) {
            snprintf(labels, sizeof(labels), "cpu=\"%u\",mode=\"%s\"", cpu, modes[mode]);
            page_template_series(page, "node_cpu_seconds_total", labels, rates[mode] > 0 ? FORM_CENTI : FORM_IDLE,
                                 rates[mode]);
        }
    page_template_family(page, "node_softnet_processed_total", "counter");
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        snprintf(labels, sizeof(labels), "cpu=\"%u\"", cpu);
        page_template_series(page, "node_softnet_processed_total", labels, FORM_COUNT, 40);
    }
    page_template_family(page, "node_softnet_dropped_total", "counter");
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        snprintf(labels, sizeof(labels), "cpu=\"%u\"", cpu);
        page_template_series(page, "node_softnet_dropped_total", labels, FORM_IDLE, 0);
    }
    page_template_family(page, "node_cpu_guest_seconds_total", "counter");
    for (unsigned cpu = 0; cpu < cpus; cpu++)
        for (size_t mode = 0; mode < 2; mode++) {
            snprintf(labels, sizeof(labels), "cpu=\"%u\",mode=\"%s\"", cpu, mode ? "user" : "nice");
            page_template_series(page, "node_cpu_guest_seconds_total", labels, FORM_IDLE, 0);
        }
}

struct device_family {
    const char *name;
    const char *type;
    enum value_form form;
    double scale;
};

static void page_devices(struct page_template *page, const struct device_family *families, size_t count,
                         const char *const *devices)
{
    for (size_t i = 0; i < count; i++) {
        page_template_family(page, families[i].name, families[i].type);
        for (size_t device = 0; devices[device]; device++) {
            /* The third and later devices are idle. */
            bool idle = device > 1 && strcmp(families[i].type, "counter") == 0;
            char labels[160];
            snprintf(labels, sizeof(labels), "device=\"%s\"", devices[device]);
            page_template_series(page, families[i].name, labels, idle ? FORM_IDLE : families[i].form,
                                 families[i].scale);
        }
    }
}

static void page_disks(struct page_template *page, const char *const *devices)
{
    static const struct device_family families[] = {
        {"node_disk_reads_completed_total", "counter", FORM_COUNT, 3},
        {"node_disk_writes_completed_total", "counter", FORM_COUNT, 12},
        {"node_disk_read_bytes_total", "counter", FORM_SECTORS, 40960},
        {"node_disk_written_bytes_total", "counter", FORM_SECTORS, 163840},
        {"node_disk_read_time_seconds_total", "counter", FORM_MILLI, 4},
        {"node_disk_write_time_seconds_total", "counter", FORM_MILLI, 30},
        {"node_disk_io_time_seconds_total", "counter", FORM_MILLI, 20},
        {"node_disk_io_now", "gauge", FORM_CONSTANT, 0},
        {"node_disk_reads_merged_total", "counter", FORM_COUNT, 0.2},
        {"node_disk_writes_merged_total", "counter", FORM_COUNT, 5},
    };
    page_devices(page, families, sizeof(families) / sizeof(families[0]), devices);
}

static void page_network(struct page_template *page, const char *const *devices)
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
    page_devices(page, families, sizeof(families) / sizeof(families[0]), devices);
}

static void page_memory(struct page_template *page)
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
        page_template_family(page, name, "gauge");
        page_template_series(page, name, "", FORM_OWN_BYTES, 4096.0 * 262144);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(name, sizeof(name), "node_memory_%s_bytes", names[i]);
        page_template_family(page, name, "gauge");
        page_template_series(page, name, "", FORM_BYTES, 4096.0 * 16384);
    }
}

static void page_system(struct page_template *page)
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
        {"node_filefd_allocated", "gauge", FORM_LEVEL, 1500},
        {"node_entropy_available_bits", "gauge", FORM_CONSTANT, 256},
        {"node_vmstat_pgfault", "counter", FORM_COUNT, 900},
        {"node_vmstat_pgmajfault", "counter", FORM_COUNT, 0.1},
        {"node_netstat_Tcp_InSegs", "counter", FORM_COUNT, 280},
        {"node_netstat_Tcp_OutSegs", "counter", FORM_COUNT, 260},
        {"node_sockstat_sockets_used", "gauge", FORM_LEVEL, 300},
        {"node_sockstat_TCP_alloc", "gauge", FORM_LEVEL, 90},
        {"node_sockstat_TCP_inuse", "gauge", FORM_LEVEL, 40},
        {"node_sockstat_TCP_mem", "gauge", FORM_BYTES, 4096.0 * 30},
        {"node_pressure_cpu_waiting_seconds_total", "counter", FORM_PRESSURE, 9000},
        {"node_sockstat_TCP_tw", "gauge", FORM_LEVEL, 20},
        {"node_pressure_io_stalled_seconds_total", "counter", FORM_PRESSURE, 4000},
        {"node_pressure_io_waiting_seconds_total", "counter", FORM_PRESSURE, 5000},
        {"process_cpu_seconds_total", "counter", FORM_CENTI, 0.4},
    };
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        page_template_family(page, families[i].name, families[i].type);
        page_template_series(page, families[i].name, "", families[i].form, families[i].scale);
    }
}

static void page_collectors(struct page_template *page)
{
    static const char *const names[] = {"arp",     "cpu",     "diskstats", "filefd",  "filesystem",
                                        "loadavg", "meminfo", "netdev",    "netstat", "sockstat",
                                        "softnet", "stat",    "time",      "uname",   "vmstat"};
    char labels[96];
    page_template_family(page, "node_scrape_collector_duration_seconds", "gauge");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(labels, sizeof(labels), "collector=\"%s\"", names[i]);
        page_template_series(page, "node_scrape_collector_duration_seconds", labels, FORM_NANO, 0.002);
    }
    page_template_family(page, "node_scrape_collector_success", "gauge");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(labels, sizeof(labels), "collector=\"%s\"", names[i]);
        page_template_series(page, "node_scrape_collector_success", labels, FORM_CONSTANT, 1);
    }
}

static void page_filesystems(struct page_template *page, const char *mounts, unsigned count)
{
    static const struct device_family families[] = {
        {"node_filesystem_size_bytes", "gauge", FORM_OWN_BYTES, 4096.0 * 2.5e7},
        {"node_filesystem_free_bytes", "gauge", FORM_BYTES, 4096.0 * 1e7},
        {"node_filesystem_avail_bytes", "gauge", FORM_BYTES, 4096.0 * 9e6},
        {"node_filesystem_files", "gauge", FORM_OWN, 6e6},
        {"node_filesystem_files_free", "gauge", FORM_OWN, 5e6},
        {"node_filesystem_readonly", "gauge", FORM_CONSTANT, 0},
    };
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        page_template_family(page, families[i].name, families[i].type);
        for (unsigned mount = 0; mount < count; mount++) {
            char labels[160];
            snprintf(labels, sizeof(labels), "device=\"/dev/vda%u\",fstype=\"ext4\",mountpoint=\"%s%u\"", mount + 1,
                     mounts, mount);
            page_template_series(page, families[i].name, labels, mount > 4 ? FORM_OWN : families[i].form,
                                 families[i].scale);
        }
    }
}

/* A histogram as services have: its buckets fall behind each other by one fifth. */
static void page_histogram(struct page_template *page, const char *name)
{
    static const char *const bounds[] = {"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"};
    char text[160], labels[96];
    page_template_family(page, name, "histogram");
    snprintf(text, sizeof(text), "%s_bucket", name);
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        snprintf(labels, sizeof(labels), "le=\"%s\"", bounds[i]);
        page_template_series(page, text, labels, FORM_COUNT, 20 + (double)i);
    }
    snprintf(text, sizeof(text), "%s_sum", name);
    page_template_series(page, text, "", FORM_MILLI, 800);
    snprintf(text, sizeof(text), "%s_count", name);
    page_template_series(page, text, "", FORM_COUNT, 29);
}

struct page_template *page_node_full(void)
{
    static const char *const disks[] = {"vda", "vdb", "dm-0", "dm-1", NULL};
    static const char *const nets[] = {"eth0", "lo", "docker0", "veth12ab", NULL};
    struct page_template *page = page_template_new();
    page_cpu(page, 38);
    page_disks(page, disks);
    page_network(page, nets);
    page_filesystems(page, "/data", 8);
    page_histogram(page, "http_request_duration_seconds");
    page_histogram(page, "rpc_duration_seconds");
    page_collectors(page);
    page_memory(page);
    page_system(page);
    return page;
}

struct page_template *page_node_small(void)
{
    static const char *const disks[] = {"vda", NULL}, *const nets[] = {"eth0", NULL};
    struct page_template *page = page_template_new();
    page_cpu(page, 2);
    page_disks(page, disks);
    page_network(page, nets);
    page_memory(page);
    page_system(page);
    return page;
}

struct page_template *page_node_service(void)
{
    struct page_template *page = page_node_small();
    page_histogram(page, "http_request_duration_seconds");
    return page;
}

/* ---- No two alike ---- */

enum { DEVICES_MAX = 64, DEVICE_BYTES = 24 };

struct devices {
    char text[DEVICES_MAX][DEVICE_BYTES];
    const char *names[DEVICES_MAX + 1];
};

/* Disks are sda.., vda.. or nvme0n1.., by host. */
static void own_disks(struct devices *devices, uint32_t host, unsigned count)
{
    unsigned form = (unsigned)(3 * own_number(own_key(host, 3)));
    for (unsigned i = 0; i < count; i++) {
        if (form == 0)
            snprintf(devices->text[i], DEVICE_BYTES, "nvme%un1", i);
        else
            snprintf(devices->text[i], DEVICE_BYTES, "%cd%c", form == 1 ? 's' : 'v', (int)('a' + i));
        devices->names[i] = devices->text[i];
    }
    devices->names[count] = NULL;
}

/* eth0, lo, and veths that no other host has. */
static void own_nets(struct devices *devices, uint32_t host, unsigned count)
{
    snprintf(devices->text[0], DEVICE_BYTES, "eth0");
    snprintf(devices->text[1], DEVICE_BYTES, "lo");
    for (unsigned i = 2; i < count; i++)
        snprintf(devices->text[i], DEVICE_BYTES, "veth%08x", (unsigned)own_key(host, 1000 + i));
    for (unsigned i = 0; i < count; i++)
        devices->names[i] = devices->text[i];
    devices->names[count] = NULL;
}

struct page_template *page_node_different(uint32_t host)
{
    static const unsigned cpus[] = {4, 8, 12, 16, 24, 32, 40, 48, 56, 64};
    struct page_template *page = page_template_new();
    struct devices disks = {0}, nets = {0};
    char mounts[32], histogram[64];
    page_template_leave_out(page, own_key(host, 4), 0.08);
    own_disks(&disks, host, 2 + (unsigned)(9 * own_number(own_key(host, 5))));
    own_nets(&nets, host, 12 + (unsigned)(38 * own_number(own_key(host, 6))));
    snprintf(mounts, sizeof(mounts), "/srv/%04x/data", (unsigned)own_key(host, 7) & 0xffff);
    snprintf(histogram, sizeof(histogram), "service_%u_request_duration_seconds", host % 4);
    page_cpu(page, cpus[host % ARRAY_LEN(cpus)]);
    page_disks(page, disks.names);
    page_network(page, nets.names);
    page_filesystems(page, mounts, 3 + (unsigned)(12 * own_number(own_key(host, 8))));
    page_histogram(page, histogram);
    page_collectors(page);
    page_memory(page);
    page_system(page);
    return page;
}
