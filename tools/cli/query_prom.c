#include "query_prom.h"

#include "base/fail.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

/* A result's series in the order of their names: lines of one name stand together. */
struct place {
    struct str name;
    const struct query_series *series;
};

static int compare(const void *a, const void *b)
{
    const struct place *left = a;
    const struct place *right = b;
    int order = str_compare(left->name, right->name);
    return order != 0 ? order : (left->series > right->series) - (left->series < right->series);
}

/* label_replace can make names that the format has no form for. */
static void print_name(struct str name, FILE *out)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char byte = (unsigned char)name.ptr[i];
        bool valid = isalpha(byte) || byte == ':' || (i > 0 && isdigit(byte));
        putc(valid ? byte : '_', out);
    }
}

static void print_value(struct str value, const struct output *output, FILE *out)
{
    CLEANUP(buf_done) struct buf safe = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    if (output->terminal) {
        output_safe(value, &safe);
        value = buf_view(&safe);
    }
    for (size_t i = 0; i < value.len; i++) {
        char byte = value.ptr[i];
        if (byte == '\n')
            fputs("\\n", out);
        else if (byte == '\\' || byte == '"')
            fprintf(out, "\\%c", byte);
        else
            putc(byte, out);
    }
}

static void print_labels(const struct labels *labels, const struct output *output, FILE *out)
{
    bool any = false;
    for (size_t i = 0; i < labels_count(labels); i++) {
        struct label label = labels_at(labels, i);
        if (str_equal(label.name, STR(LABEL_NAME)))
            continue;
        putc(any ? ',' : '{', out);
        print_name(label.name, out);
        fputs("=\"", out);
        print_value(label.value, output, out);
        putc('"', out);
        any = true;
    }
    if (any)
        putc('}', out);
}

static void print_series(const struct place *place, const struct output *output, FILE *out)
{
    for (size_t i = 0; i < place->series->count; i++) {
        const struct query_point *point = &place->series->points[i];
        print_name(place->name, out);
        print_labels(place->series->labels, output, out);
        fprintf(out, " %s %" PRId64 "\n", point->text, point->time_ms);
    }
}

void query_prom_print(const struct query_result *result, const struct output *output, FILE *out)
{
    ASSERT(result->type != QUERY_STRING);
    CLEANUP_FREE struct place *places = mem_array(result->count, sizeof(*places));
    for (size_t i = 0; i < result->count; i++) {
        struct str name = labels_get(result->series[i].labels, STR(LABEL_NAME));
        places[i] = (struct place){name.len > 0 ? name : STR(QUERY_PROM_NAME), &result->series[i]};
    }
    qsort(places, result->count, sizeof(*places), compare);
    for (size_t i = 0; i < result->count; i++) {
        if (i == 0 || !str_equal(places[i].name, places[i - 1].name)) {
            fputs("# TYPE ", out);
            print_name(places[i].name, out);
            fputs(" untyped\n", out);
        }
        print_series(&places[i], output, out);
    }
}
