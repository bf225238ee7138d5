/*   message WriteRequest   { repeated TimeSeries timeseries = 1; repeated MetricMetadata metadata = 3; }
 *   message TimeSeries     { repeated Label labels = 1; repeated Sample samples = 2; repeated Exemplar exemplars = 3;
 *                            repeated Histogram histograms = 4; }
 *   message Label          { string name = 1; string value = 2; }
 *   message Sample         { double value = 1; int64 timestamp = 2; }
 *   message MetricMetadata { MetricType type = 1; string metric_family_name = 2; string help = 4; string unit = 5; } */
#include "write/wire.h"

#include <errno.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct field {
    uint64_t number;
    unsigned type;
    uint64_t value;   /* of numbers */
    struct str bytes; /* of WIRE_BYTES */
};

/* Nearly all numbers are of one byte: keys, and lengths of labels. */
static inline uint64_t read_number(struct reader *reader)
{
    return reader->at < reader->end && *reader->at < 0x80 ? *reader->at++ : reader_uvarint(reader);
}

/* 1 and the next field, 0 at the end, -EBADMSG. */
static inline int next_field(struct reader *reader, struct field *field)
{
    if (reader->at == reader->end)
        return 0;
    uint64_t key = read_number(reader), len;
    *field = (struct field){.number = key >> 3, .type = key & 7};
    switch (field->type) {
    case WIRE_VARINT:
        field->value = read_number(reader);
        break;
    case WIRE_FIXED64:
        field->value = reader_le64(reader);
        break;
    case WIRE_BYTES:
        len = read_number(reader);
        if (len > (size_t)(reader->end - reader->at))
            return -EBADMSG;
        field->bytes = str_of(reader->at, len);
        reader->at += len;
        break;
    case WIRE_FIXED32:
        field->value = reader_le32(reader);
        break;
    default: /* groups went out of use before remote write was made */
        return -EBADMSG;
    }
    return reader->bad || field->number == 0 ? -EBADMSG : 1;
}

/* Of the fields that are known by their numbers from 1 on: the wire type of each, plus one; 0: not known. */
static bool is_of_type(const struct field *field, const uint8_t *types, size_t count)
{
    return field->number > count || types[field->number - 1] == 0 || types[field->number - 1] == field->type + 1;
}

static int read_label(struct str message, struct label *label)
{
    static const uint8_t types[] = {WIRE_BYTES + 1, WIRE_BYTES + 1};
    struct reader reader = reader_of(message.ptr, message.len);
    struct field field;
    int more;
    *label = (struct label){STR(""), STR("")};
    while ((more = next_field(&reader, &field)) > 0) {
        if (!is_of_type(&field, types, ARRAY_LEN(types)))
            return -EBADMSG;
        if (field.number == 1)
            label->name = field.bytes;
        else if (field.number == 2)
            label->value = field.bytes;
    }
    return more;
}

static int read_sample(struct str message, struct sample *sample)
{
    static const uint8_t types[] = {WIRE_FIXED64 + 1, WIRE_VARINT + 1};
    struct reader reader = reader_of(message.ptr, message.len);
    struct field field;
    int more;
    *sample = (struct sample){0};
    while ((more = next_field(&reader, &field)) > 0) {
        if (!is_of_type(&field, types, ARRAY_LEN(types)))
            return -EBADMSG;
        if (field.number == 1)
            sample->value = double_from_bits(field.value);
        else if (field.number == 2)
            sample->time_ms = (int64_t)field.value;
    }
    return more;
}

/* As the exposition's types are taken (metric/exposition). */
static enum metric_type type_of(uint64_t number)
{
    static const enum metric_type types[] = {
        METRIC_UNKNOWN, METRIC_COUNTER,          METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_GAUGE /* gauge histogram */,
        METRIC_SUMMARY, METRIC_GAUGE /* info */, METRIC_GAUGE /* state set */};
    return number < ARRAY_LEN(types) ? types[number] : METRIC_UNKNOWN;
}

static int read_metadata(struct str message, struct wire_metadata *metadata)
{
    static const uint8_t types[] = {WIRE_VARINT + 1, WIRE_BYTES + 1, 0, WIRE_BYTES + 1, WIRE_BYTES + 1};
    struct reader reader = reader_of(message.ptr, message.len);
    struct field field;
    int more;
    *metadata = (struct wire_metadata){.name = STR(""), .help = STR(""), .unit = STR("")};
    while ((more = next_field(&reader, &field)) > 0) {
        if (!is_of_type(&field, types, ARRAY_LEN(types)))
            return -EBADMSG;
        switch (field.number) {
        case 1:
            metadata->type = type_of(field.value);
            break;
        case 2:
            metadata->name = field.bytes;
            break;
        case 4:
            metadata->help = field.bytes;
            break;
        case 5:
            metadata->unit = field.bytes;
            break;
        default:
            break;
        }
    }
    return more;
}

int wire_request_next(struct reader *request, struct wire_item *ret_item)
{
    static const uint8_t types[] = {WIRE_BYTES + 1, 0, WIRE_BYTES + 1};
    struct field field;
    int more;
    while ((more = next_field(request, &field)) > 0) {
        if (!is_of_type(&field, types, ARRAY_LEN(types)))
            return -EBADMSG;
        if (field.number == 1) {
            *ret_item = (struct wire_item){.part = WIRE_SERIES, .series = field.bytes};
            return 0;
        }
        if (field.number == 3) {
            ret_item->part = WIRE_METADATA;
            return read_metadata(field.bytes, &ret_item->metadata);
        }
    }
    ret_item->part = WIRE_END;
    return more;
}

int wire_series_next(struct reader *series, struct wire_item *ret_item)
{
    static const uint8_t types[] = {WIRE_BYTES + 1, WIRE_BYTES + 1, WIRE_BYTES + 1, WIRE_BYTES + 1};
    static const enum wire_part parts[] = {WIRE_LABEL, WIRE_SAMPLE, WIRE_EXEMPLAR, WIRE_HISTOGRAM};
    struct field field;
    int more;
    while ((more = next_field(series, &field)) > 0) {
        if (!is_of_type(&field, types, ARRAY_LEN(types)))
            return -EBADMSG;
        if (field.number > ARRAY_LEN(parts))
            continue;
        ret_item->part = parts[field.number - 1];
        if (ret_item->part == WIRE_LABEL)
            return read_label(field.bytes, &ret_item->label);
        if (ret_item->part == WIRE_SAMPLE)
            return read_sample(field.bytes, &ret_item->sample);
        return 0;
    }
    ret_item->part = WIRE_END;
    return more;
}
