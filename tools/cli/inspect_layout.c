#include "inspect.h"

#include "output.h"

static void print_safe(struct str text)
{
    CLEANUP(buf_done) struct buf safe = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    output_safe(text, &safe);
    printf(STR_FMT, STR_ARG(buf_view(&safe)));
}

static void print_hash(struct hash128 hash)
{
    char text[33];
    hash128_hex(hash, text);
    fputs(text, stdout);
}

void inspect_layout_line(const struct layout *layout)
{
    switch (layout->type) {
    case LAYOUT_FAMILY:
        printf("family ");
        print_safe(layout->name);
        printf(" %s, %u series", metric_type_name(layout->metric_type), layout->count);
        break;
    case LAYOUT_PAGE:
        printf("page of %u families", layout->count);
        break;
    case LAYOUT_TARGETS:
        printf("list of %u targets", layout->count);
        break;
    }
    printf(", ");
    print_hash(layout->hash);
}

static void print_slot(const struct layout_slot *slot)
{
    printf("  {");
    for (uint32_t i = 0; i < slot->label_count; i++) {
        printf("%s", i > 0 ? ", " : "");
        print_safe(slot->labels[i].name);
        printf("=\"");
        print_safe(slot->labels[i].value);
        putchar('"');
    }
    static const char *const kinds[] = {"gauge", "counter", "last value"};
    printf("} %s\n", kinds[slot->kind]);
}

static void print_target(const struct labels *labels)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    labels_print(labels, &text);
    printf("  " STR_FMT "\n", STR_ARG(buf_view(&text)));
}

void inspect_layout(const struct layout *layout)
{
    inspect_layout_line(layout);
    printf("\n");
    if (layout->type == LAYOUT_FAMILY && layout->help.len > 0) {
        printf("  help: ");
        print_safe(layout->help);
        printf("\n");
    }
    for (uint32_t i = 0; i < layout->count; i++) {
        if (layout->type == LAYOUT_FAMILY) {
            print_slot(&layout->slots[i]);
        } else if (layout->type == LAYOUT_TARGETS) {
            print_target(layout->targets[i]);
        } else {
            printf("  ");
            inspect_layout_line(layout->families[i]);
            printf("\n");
        }
    }
}
