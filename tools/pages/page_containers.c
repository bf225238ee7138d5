/* Pages like cAdvisor's: a node's pods, each with two containers and a network, under labels that no other node has. */
#include "base/fail.h"
#include "page_kinds.h"

#include <math.h>
#include <string.h>

enum { PODS = 25, CONTAINERS = 2, VARIANTS_MAX = 6, LABELS_BYTES = 640, ID_BYTES = 33 };

#define MINUTE_S       60
#define BEGIN_S        1.7e9    /* pods are older than that, where none are replaced */
#define AGE_S          864000.0 /* their median age by then */
#define HOUSEKEEPING_S 10       /* each so often a container is looked at; its samples are of that time */
#define STAMP_BYTES    32

struct container_family {
    const char *name, *type;
    enum value_form form;
    double scale;
    const char *variants[VARIANTS_MAX]; /* further labels, a series each; none: one series without */
    bool of_pod;                        /* a series of each pod, not of each container */
};

#define DEVICE                                                                                                         \
    {                                                                                                                  \
        "device=\"/dev/sda1\""                                                                                         \
    }
#define NETWORK                                                                                                        \
    {                                                                                                                  \
        "interface=\"eth0\""                                                                                           \
    }

static const struct container_family families[] = {
    {"container_blkio_device_usage_total",
     "counter",
     FORM_SECTORS,
     2000,
     {"device=\"/dev/sda\",major=\"8\",minor=\"0\",operation=\"Read\"",
      "device=\"/dev/sda\",major=\"8\",minor=\"0\",operation=\"Write\""},
     false},
    {"container_cpu_cfs_periods_total", "counter", FORM_COUNT, 8, {0}, false},
    {"container_cpu_cfs_throttled_periods_total", "counter", FORM_IDLE, 0, {0}, false},
    {"container_cpu_cfs_throttled_seconds_total", "counter", FORM_IDLE, 0, {0}, false},
    {"container_cpu_load_average_10s", "gauge", FORM_CONSTANT, 0, {0}, false},
    {"container_cpu_system_seconds_total", "counter", FORM_MICRO, 20000, {0}, false},
    {"container_cpu_usage_seconds_total", "counter", FORM_MICRO, 80000, {"cpu=\"total\""}, false},
    {"container_cpu_user_seconds_total", "counter", FORM_MICRO, 60000, {0}, false},
    {"container_file_descriptors", "gauge", FORM_LEVEL, 30, {0}, false},
    {"container_fs_inodes_free", "gauge", FORM_LEVEL, 4e6, DEVICE, false},
    {"container_fs_inodes_total", "gauge", FORM_CONSTANT, 6.5536e6, DEVICE, false},
    {"container_fs_io_current", "gauge", FORM_CONSTANT, 0, DEVICE, false},
    {"container_fs_io_time_seconds_total", "counter", FORM_IDLE, 0, DEVICE, false},
    {"container_fs_io_time_weighted_seconds_total", "counter", FORM_IDLE, 0, DEVICE, false},
    {"container_fs_limit_bytes", "gauge", FORM_CONSTANT, 1.05089430528e11, DEVICE, false},
    {"container_fs_read_seconds_total", "counter", FORM_IDLE, 0, DEVICE, false},
    {"container_fs_reads_bytes_total", "counter", FORM_SECTORS, 1500, DEVICE, false},
    {"container_fs_reads_merged_total", "counter", FORM_IDLE, 0, DEVICE, false},
    {"container_fs_reads_total", "counter", FORM_COUNT, 0.1, DEVICE, false},
    {"container_fs_sector_reads_total", "counter", FORM_IDLE, 0, DEVICE, false},
    {"container_fs_sector_writes_total", "counter", FORM_IDLE, 0, DEVICE, false},
    {"container_fs_usage_bytes", "gauge", FORM_BYTES, 4096.0 * 20, DEVICE, false},
    {"container_fs_write_seconds_total", "counter", FORM_IDLE, 0, DEVICE, false},
    {"container_fs_writes_bytes_total", "counter", FORM_SECTORS, 4000, DEVICE, false},
    {"container_fs_writes_merged_total", "counter", FORM_IDLE, 0, DEVICE, false},
    {"container_fs_writes_total", "counter", FORM_COUNT, 0.4, DEVICE, false},
    {"container_last_seen", "gauge", FORM_SECOND, 0, {0}, false},
    {"container_memory_cache", "gauge", FORM_BYTES, 4096.0 * 3000, {0}, false},
    {"container_memory_failcnt", "counter", FORM_IDLE, 0, {0}, false},
    {"container_memory_failures_total",
     "counter",
     FORM_COUNT,
     3,
     {"failure_type=\"pgfault\",scope=\"container\"", "failure_type=\"pgfault\",scope=\"hierarchy\"",
      "failure_type=\"pgmajfault\",scope=\"container\"", "failure_type=\"pgmajfault\",scope=\"hierarchy\""},
     false},
    {"container_memory_mapped_file", "gauge", FORM_OWN_BYTES, 4096.0 * 500, {0}, false},
    {"container_memory_max_usage_bytes", "gauge", FORM_OWN_BYTES, 4096.0 * 30000, {0}, false},
    {"container_memory_rss", "gauge", FORM_BYTES, 4096.0 * 8000, {0}, false},
    {"container_memory_swap", "gauge", FORM_CONSTANT, 0, {0}, false},
    {"container_memory_usage_bytes", "gauge", FORM_BYTES, 4096.0 * 12000, {0}, false},
    {"container_memory_working_set_bytes", "gauge", FORM_BYTES, 4096.0 * 10000, {0}, false},
    {"container_network_receive_bytes_total", "counter", FORM_COUNT, 9000, NETWORK, true},
    {"container_network_receive_errors_total", "counter", FORM_IDLE, 0, NETWORK, true},
    {"container_network_receive_packets_dropped_total", "counter", FORM_IDLE, 0, NETWORK, true},
    {"container_network_receive_packets_total", "counter", FORM_COUNT, 20, NETWORK, true},
    {"container_network_transmit_bytes_total", "counter", FORM_COUNT, 7000, NETWORK, true},
    {"container_network_transmit_errors_total", "counter", FORM_IDLE, 0, NETWORK, true},
    {"container_network_transmit_packets_dropped_total", "counter", FORM_IDLE, 0, NETWORK, true},
    {"container_network_transmit_packets_total", "counter", FORM_COUNT, 18, NETWORK, true},
    {"container_oom_events_total", "counter", FORM_IDLE, 0, {0}, false},
    {"container_processes", "gauge", FORM_OWN, 3, {0}, false},
    {"container_sockets", "gauge", FORM_LEVEL, 12, {0}, false},
    {"container_spec_cpu_period", "gauge", FORM_CONSTANT, 100000, {0}, false},
    {"container_spec_cpu_shares", "gauge", FORM_OWN, 256, {0}, false},
    {"container_spec_memory_limit_bytes", "gauge", FORM_CONSTANT, 536870912, {0}, false},
    {"container_spec_memory_reservation_limit_bytes", "gauge", FORM_CONSTANT, 0, {0}, false},
    {"container_spec_memory_swap_limit_bytes", "gauge", FORM_CONSTANT, 536870912, {0}, false},
    {"container_start_time_seconds", "gauge", FORM_START, 0, {0}, false},
    {"container_tasks_state",
     "gauge",
     FORM_CONSTANT,
     0,
     {"state=\"iowaiting\"", "state=\"running\"", "state=\"sleeping\"", "state=\"stopped\"",
      "state=\"uninterruptible\""},
     false},
    {"container_threads", "gauge", FORM_LEVEL, 15, {0}, false},
    {"container_ulimits_soft", "gauge", FORM_CONSTANT, 1048576, {"ulimit=\"max_open_files\""}, false},
};

struct pod {
    uint64_t key; /* of node, place and the minute that made it */
    double since;
    char labels[CONTAINERS + 1][LABELS_BYTES]; /* of its containers, then of the pod itself */
    size_t labels_len[CONTAINERS + 1];
    char line_ends[CONTAINERS + 1][STAMP_BYTES]; /* with the samples' time, where they have one */
};

static void hex(char text[static ID_BYTES], uint64_t key)
{
    snprintf(text, ID_BYTES, "%016llx%016llx", (unsigned long long)own_key(key, 1),
             (unsigned long long)own_key(key, 2));
}

/* When a minute's pod of a node is replaced, and since when the pod at a place is there. */
static double replaced_at(uint32_t node, int64_t minute)
{
    return (double)(minute * MINUTE_S) + floor(MINUTE_S * own_number(own_key(node, (uint64_t)minute)));
}

static int64_t minute_of(uint32_t node, unsigned place, double now)
{
    int64_t minute = (int64_t)floor(now / MINUTE_S);
    minute -= (minute + PODS - place) % PODS; /* each minute is one place's turn */
    return replaced_at(node, minute) <= now ? minute : minute - PODS;
}

static void make_labels(struct pod *pod, unsigned place, int container)
{
    char id[2 * ID_BYTES], uid[ID_BYTES], image[ID_BYTES], name[2 * ID_BYTES];
    uint64_t kind = own_key(place, 11); /* the same deployments on all nodes */
    hex(uid, pod->key);
    hex(id, own_key(pod->key, 100 + (uint64_t)container));
    hex(id + ID_BYTES - 1, own_key(pod->key, 200 + (uint64_t)container));
    hex(image, own_key(kind, (uint64_t)container));
    hex(name, own_key(pod->key, 300 + (uint64_t)container));
    hex(name + ID_BYTES - 1, own_key(pod->key, 400 + (uint64_t)container));
    bool whole = container == CONTAINERS;
    pod->labels_len[container] = (size_t)snprintf(
        pod->labels[container], LABELS_BYTES,
        "container=\"%s\",id=\"/kubepods.slice/kubepods-burstable.slice/"
        "kubepods-burstable-pod%.8s_%.4s_%.4s_%.4s_%.12s.slice/"
        "cri-containerd-%s.scope\",image=\"registry.example/team-%u/service-%u%s@sha256:%s%s\",name=\"%s\","
        "namespace=\"team-%u\",pod=\"service-%u-%.10s-%.5s\"",
        whole       ? ""
        : container ? "proxy"
                    : "service",
        uid, uid + 8, uid + 12, uid + 16, uid + 20, id, (unsigned)(kind % 8), place, container ? "-proxy" : "", image,
        image, name, (unsigned)(kind % 8), place, image + 3, uid + 5);
}

/* When the container was looked at last: at a phase of its own, and some milliseconds late. */
static void make_line_end(struct pod *pod, int container, bool stamped, double now)
{
    uint64_t key = own_key(pod->key, 500 + (uint64_t)container);
    double phase = HOUSEKEEPING_S * own_number(key), turn = floor((now - phase) / HOUSEKEEPING_S);
    double late = 0.2 * own_number(own_key(key, (uint64_t)turn));
    double at = MIN(turn * HOUSEKEEPING_S + phase + late, now);
    if (stamped)
        snprintf(pod->line_ends[container], STAMP_BYTES, " %.0f\n", floor(at * 1000));
    else
        snprintf(pod->line_ends[container], STAMP_BYTES, "\n");
}

static void make_pod(const struct page_churn *churn, uint32_t node, unsigned place, double now, struct pod *ret_pod)
{
    int64_t minute = churn->pods ? minute_of(node, place, now) : 0;
    ret_pod->key = own_key(own_key(node, place), (uint64_t)minute);
    ret_pod->since = churn->pods ? replaced_at(node, minute) : BEGIN_S - AGE_S * own_factor(ret_pod->key, 1.2);
    for (int i = 0; i <= CONTAINERS; i++)
        make_labels(ret_pod, place, i);
}

static size_t put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return len;
}

static size_t put_text(char *at, const char *text)
{
    return put(at, text, strlen(text));
}

/* One family's series of a container, or of a pod. */
static size_t put_series(char *at, const struct container_family *family, const struct pod *pod, int container,
                         double now)
{
    size_t len = 0;
    for (unsigned i = 0; i == 0 || (i < VARIANTS_MAX && family->variants[i]); i++) {
        uint64_t key = own_key(pod->key, (uint64_t)(family - families) * 64 + i * 8 + (unsigned)container);
        const struct value_of of = {.form = family->form,
                                    .scale = family->scale,
                                    .own = own_number(key),
                                    .rate = own_factor(own_key(pod->key, 7), 0.8),
                                    .since = pod->since};
        len += put_text(at + len, family->name);
        len += put(at + len, "{", 1);
        len += put(at + len, pod->labels[container], pod->labels_len[container]);
        if (family->variants[i]) {
            len += put(at + len, ",", 1);
            len += put_text(at + len, family->variants[i]);
        }
        len += put(at + len, "} ", 2);
        len += page_value_print(&of, now, at + len);
        len += put_text(at + len, pod->line_ends[container]);
    }
    return len;
}

size_t page_containers_render(const struct page_churn *churn, bool stamped, char *page, uint32_t node, double now)
{
    static struct pod pods[PODS]; /* one thread renders */
    size_t len = 0;
    for (unsigned i = 0; i < PODS; i++) {
        make_pod(churn, node, i, now, &pods[i]);
        for (int container = 0; container <= CONTAINERS; container++)
            make_line_end(&pods[i], container, stamped, now);
    }
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        const struct container_family *family = &families[f];
        len += (size_t)snprintf(page + len, 256, "# HELP %s Simulated, as cAdvisor has it.\n# TYPE %s %s\n",
                                family->name, family->name, family->type);
        for (unsigned i = 0; i < PODS; i++) {
            if (family->of_pod)
                len += put_series(page + len, family, &pods[i], CONTAINERS, now);
            for (int container = 0; !family->of_pod && container < CONTAINERS; container++)
                len += put_series(page + len, family, &pods[i], container, now);
        }
    }
    ASSERT(len < PAGE_BYTES_MAX);
    return len;
}
