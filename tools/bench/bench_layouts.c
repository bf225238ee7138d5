/* What layouts under churn cost in time and memory: hosts of 3,000 container series, of which one pod in 30 is another
 * in each version.
 *
 *   bench_layouts [HOSTS [VERSIONS]] */
#include "base/clock.h"
#include "base/fail.h"
#include "base/random.h"
#include "hop/layout_packer.h"

#include <stdio.h>
#include <stdlib.h>

enum { PODS = 30, CONTAINERS = 2, FAMILIES = 50, SLOTS = PODS * CONTAINERS, LABELS = 6 };

struct host {
    char values[SLOTS][LABELS][160];
};

struct side {
    struct layout_table *table;
    struct layout_group *group;
    struct layout_packer *segment;
    int64_t taken_ns, packed_ns;
    struct buf *packs; /* of the segment */
    size_t pack_count, pack_capacity;
};

static bool knows_all(void *arg, struct hash128 hash)
{
    return layout_group_has(((struct side *)arg)->group, hash);
}

static void hex(struct random *random, char *out, unsigned digits)
{
    for (unsigned i = 0; i < digits; i++)
        out[i] = "0123456789abcdef"[random_below(random, 16)];
    out[digits] = 0;
}

static void new_pod(struct random *random, struct host *host, unsigned pod)
{
    char uid[33], id[65], name[65], hash[11];
    unsigned service = (unsigned)random_below(random, 40);
    hex(random, uid, 32);
    hex(random, hash, 10);
    for (unsigned c = 0; c < CONTAINERS; c++) {
        char(*values)[160] = host->values[pod * CONTAINERS + c];
        hex(random, id, 64);
        hex(random, name, 64);
        snprintf(values[0], 160, "app-%u", c);
        snprintf(values[1], 160, "/kubepods.slice/kubepods-pod%s.slice/cri-containerd-%s.scope", uid, id);
        snprintf(values[2], 160, "registry.example.com/service-%u@sha256:%064u", service, service * 7919);
        snprintf(values[3], 160, "%s", name);
        snprintf(values[4], 160, "team-%u", service % 7);
        snprintf(values[5], 160, "service-%u-%s", service, hash);
    }
}

static void change_pods(struct random *random, struct host *host, unsigned version)
{
    for (unsigned pod = 0; pod < PODS; pod++)
        if (version == 0 || pod == version % PODS)
            new_pod(random, host, pod);
}

static struct layout *page_of(const struct host *host)
{
    static const char *const names[LABELS] = {"container", "id", "image", "name", "namespace", "pod"};
    struct layout *families[FAMILIES];
    struct label labels[SLOTS][LABELS];
    struct layout_slot slots[SLOTS];
    for (unsigned i = 0; i < SLOTS; i++) {
        for (unsigned l = 0; l < LABELS; l++)
            labels[i][l] = (struct label){str_from(names[l]), str_from(host->values[i][l])};
        slots[i] = (struct layout_slot){.labels = labels[i], .label_count = LABELS};
    }
    for (unsigned f = 0; f < FAMILIES; f++) {
        char name[64];
        snprintf(name, sizeof(name), "container_metric_%u_total", f);
        struct layout_family_spec spec = {.name = str_from(name),
                                          .help = STR("What the kernel counts for the container."),
                                          .metric_type = METRIC_COUNTER,
                                          .slots = slots,
                                          .count = SLOTS};
        families[f] = layout_family_new(&spec);
    }
    struct layout *page = layout_page_new(families, FAMILIES);
    for (unsigned f = 0; f < FAMILIES; f++)
        layout_unref(families[f]);
    ASSERT(page);
    return page;
}

static void ignore(void *arg, struct hash128 hash)
{
    (void)arg;
    (void)hash;
}

static int64_t now_ns(void)
{
    return clock_thread_cpu_ns();
}

static void into_segment(struct side *side, struct hash128 hash)
{
    struct buf pack = BUF_INIT(LAYOUT_PACK_BYTES_MAX + MIB);
    int64_t from_ns = now_ns();
    ASSERT(layout_packer_add(side->segment, hash) == 0);
    ASSERT(layout_packer_finish(side->segment, &pack) == 0);
    layout_packer_commit(side->segment);
    side->packed_ns += now_ns() - from_ns;
    if (side->pack_count == side->pack_capacity) {
        side->pack_capacity = MAX(2 * side->pack_capacity, (size_t)64);
        side->packs = mem_resize(side->packs, side->pack_capacity, sizeof(*side->packs));
    }
    side->packs[side->pack_count++] = pack;
}

static void receive(struct side *upper, const struct buf *pack)
{
    struct layout_take take = {.missing = ignore};
    int64_t from_ns = now_ns();
    ASSERT(layout_table_take(upper->table, buf_view(pack), &take) == 0 && take.held_count == 1);
    upper->taken_ns += now_ns() - from_ns;
    into_segment(upper, take.held[0]);
    layout_table_release(upper->table, take.held[0]);
    layout_take_done(&take);
}

static void side_init(struct side *side)
{
    *side = (struct side){.table = layout_table_new(GIB, 4 * GIB)};
    side->group = layout_group_new(side->table);
    side->segment = layout_packer_new_group(side->table, side->group);
}

static void side_done(struct side *side)
{
    layout_packer_free(side->segment);
    layout_group_free(side->group);
    layout_table_free(side->table);
    for (size_t i = 0; i < side->pack_count; i++)
        buf_done(&side->packs[i]);
    mem_free(side->packs);
}

static void print(const char *what, int64_t ns, unsigned pages)
{
    printf("%-34s %8.3f ms a page\n", what, (double)ns / 1e6 / pages);
}

static void run(struct side *lower, struct side *upper, struct host *hosts, unsigned count, unsigned versions)
{
    struct random random;
    struct layout_packer *sender = layout_packer_new(lower->table, knows_all, upper);
    uint64_t bytes = 0;
    random_seed(&random, 1);
    for (unsigned version = 0; version < versions; version++) {
        for (unsigned h = 0; h < count; h++) {
            change_pods(&random, &hosts[h], version);
            CLEANUP(layout_unrefp) struct layout *page = page_of(&hosts[h]);
            CLEANUP(buf_done) struct buf pack = BUF_INIT(LAYOUT_PACK_BYTES_MAX + MIB);
            ASSERT(layout_table_hold(lower->table, page) == 0);
            into_segment(lower, page->hash);
            ASSERT(layout_packer_add(sender, page->hash) == 0 && layout_packer_finish(sender, &pack) == 0);
            layout_packer_commit(sender);
            receive(upper, &pack);
            layout_table_release(lower->table, page->hash);
            bytes += version > 0 ? pack.len : 0;
        }
        if (version == 0) {
            printf("a page is %.0f bytes expanded, %.0f packed whole\n",
                   (double)layout_table_cache_bytes(lower->table) / count,
                   (double)layout_table_packed_bytes(lower->table) / count);
            lower->packed_ns = upper->packed_ns = upper->taken_ns = 0;
        }
    }
    unsigned pages = count * (versions - 1);
    printf("a version of a page travels in %.0f bytes\n", (double)bytes / pages);
    print("segment, lower", lower->packed_ns, pages);
    print("taken in above", upper->taken_ns, pages);
    print("segment, upper", upper->packed_ns, pages);
    layout_packer_free(sender);
}

/* A restart: the segment is read, nothing is expanded before it is asked for. */
static void restart(const struct side *before, struct hash128 newest)
{
    struct side side;
    side_init(&side);
    int64_t from_ns = now_ns();
    for (size_t i = 0; i < before->pack_count; i++)
        ASSERT(layout_group_take(side.group, buf_view(&before->packs[i])) == 0);
    print("segment, read again", now_ns() - from_ns, (unsigned)before->pack_count);
    from_ns = now_ns();
    ASSERT(layout_table_get(side.table, newest));
    print("expanded along up to 32 bases", now_ns() - from_ns, 1);
    side_done(&side);
}

int main(int argc, char **argv)
{
    unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 20;
    unsigned versions = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 31;
    if (count == 0 || versions < 2)
        return 2;
    struct side lower, upper;
    struct host *hosts = mem_array(count, sizeof(*hosts));
    side_init(&lower);
    side_init(&upper);
    run(&lower, &upper, hosts, count, versions);
    CLEANUP(layout_unrefp) struct layout *newest = page_of(&hosts[0]);
    restart(&lower, newest->hash);
    side_done(&lower);
    side_done(&upper);
    mem_free(hosts);
    return 0;
}
