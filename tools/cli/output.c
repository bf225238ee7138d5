#include "output.h"

#include "base/fail.h"
#include "base/utf8.h"

#include <langinfo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define WIDTH_DEFAULT      80
#define HEIGHT_DEFAULT     24
#define PLACES_MAX         1000 /* columns or lines that are believed */
#define SIGNIFICANT_DIGITS 9

/* What the environment says of the terminal (watch(1) tells it so), 0: nothing. */
static int places_of(const char *name)
{
    const char *text = getenv(name);
    uint64_t places;
    return text && str_to_u64(str_from(text), &places) == 0 && places <= PLACES_MAX ? (int)places : 0;
}

/* 0: not known. */
static struct winsize size_of(int fd)
{
    struct winsize size = {0};
    if (!isatty(fd) || ioctl(fd, TIOCGWINSZ, &size) != 0)
        size = (struct winsize){0};
    return size;
}

static int first_known(int first, int second)
{
    return first > 0 ? MIN(first, PLACES_MAX) : second;
}

struct output output_of_stdout(void)
{
    struct output output = {.terminal = isatty(STDOUT_FILENO)};
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    output.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    output.colour =
        output.terminal && !(no_colour && no_colour[0]) && terminal && terminal[0] && strcmp(terminal, "dumb") != 0;
    struct winsize size = size_of(STDOUT_FILENO);
    int width = first_known(size.ws_col, places_of("COLUMNS"));
    output.plot_width = first_known(width, WIDTH_DEFAULT);
    output.plot_height = first_known(first_known(size.ws_row, places_of("LINES")), HEIGHT_DEFAULT);
    output.width = width > 0 || output.terminal ? output.plot_width : INT32_MAX;
    return output;
}

int output_error_width(void)
{
    return first_known(first_known(size_of(STDERR_FILENO).ws_col, places_of("COLUMNS")), WIDTH_DEFAULT);
}

const char *output_on(const struct output *output, enum output_style style)
{
    static const char *const codes[] = {
        [STYLE_PLAIN] = "",        [STYLE_BOLD] = "\033[1m",   [STYLE_DIM] = "\033[2m",
        [STYLE_GOOD] = "\033[32m", [STYLE_BAD] = "\033[1;31m",
    };
    /* Of series, in their order: such that stand apart on black and on white, neighbours most. */
    static const char *const series_codes[] = {"\033[36m", "\033[33m", "\033[35m", "\033[32m",
                                               "\033[34m", "\033[31m", "\033[96m", "\033[95m"};
    if (!output->colour)
        return "";
    return style < STYLE_SERIES ? codes[style] : series_codes[(size_t)(style - STYLE_SERIES) % ARRAY_LEN(series_codes)];
}

const char *output_off(const struct output *output, enum output_style style)
{
    return output->colour && style != STYLE_PLAIN ? "\033[0m" : "";
}

/* Control characters of ASCII and of Latin 1, which terminals obey too, the ones that turn the writing around, and
 * what cannot be seen. */
static bool steers(uint32_t rune)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0, 0x1f},        {0x7f, 0x9f},     {0xad, 0xad},      {0x61c, 0x61c},
                  {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e},  {0x2060, 0x206f},
                  {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
        if (rune >= ranges[i].first && rune <= ranges[i].last)
            return true;
    return false;
}

void output_safe(struct str text, struct buf *out)
{
    for (size_t at = 0; at < text.len;) {
        uint32_t rune = 0;
        size_t len = utf8_decode(text, at, &rune);
        if (len > 0 && !steers(rune)) {
            buf_append(out, text.ptr + at, len);
        } else {
            len = MAX(len, (size_t)1);
            for (size_t i = 0; i < len; i++)
                buf_printf(out, "\\x%02x", (uint8_t)text.ptr[at + i]);
        }
        at += len;
    }
}

/* Places of a code point: two of Chinese and the like, none of accents that go on what stands before them. Outside of a
 * UTF-8 locale the C library knows none of them, then one is a guess as good as any. */
static size_t rune_columns(uint32_t rune)
{
    int columns = rune < 0x80 ? 1 : wcwidth((wchar_t)rune);
    return columns < 0 ? 1 : (size_t)columns;
}

size_t output_fit(struct str text, size_t columns_max, size_t *ret_bytes)
{
    size_t columns = 0;
    size_t at = 0;
    while (at < text.len) {
        uint32_t rune = 0;
        size_t len = utf8_decode(text, at, &rune);
        size_t more = len > 0 ? rune_columns(rune) : 1;
        if (columns + more > columns_max)
            break;
        columns += more;
        at += MAX(len, (size_t)1);
    }
    *ret_bytes = at;
    return columns;
}

size_t output_columns(struct str text)
{
    size_t bytes;
    return output_fit(text, SIZE_MAX, &bytes);
}

struct str output_number(struct str text, char ret_room[static OUTPUT_NUMBER_BYTES])
{
    double value;
    if (str_to_double(text, &value) < 0 || !isfinite(value) || value == rint(value) || text.len <= SIGNIFICANT_DIGITS)
        return text;
    int len = snprintf(ret_room, OUTPUT_NUMBER_BYTES, "%.*g", SIGNIFICANT_DIGITS, value);
    return str_of(ret_room, (size_t)len);
}

void output_duration(double seconds, struct buf *out)
{
    double size = fabs(seconds);
    const char *sign = seconds < 0 ? "-" : "";
    if (size < 60)
        buf_printf(out, "%s%.3gs", sign, size);
    else if (size < 3600)
        buf_printf(out, "%s%dm%02ds", sign, (int)size / 60, (int)size % 60);
    else if (size < 86400)
        buf_printf(out, "%s%dh%02dm", sign, (int)size / 3600, (int)size / 60 % 60);
    else
        buf_printf(out, "%s%.0fd%02dh", sign, floor(size / 86400), (int)fmod(size / 3600, 24));
}

void output_bytes(double bytes, struct buf *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t unit = 0;
    for (; fabs(bytes) >= 1024 && unit + 1 < ARRAY_LEN(units); unit++)
        bytes /= 1024;
    buf_printf(out, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

void output_csv(struct str text)
{
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++)
        quoted = quoted || strchr(",\"\r\n", text.ptr[i]);
    if (!quoted) {
        printf(STR_FMT, STR_ARG(text));
        return;
    }
    putchar('"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"')
            putchar('"');
        putchar(text.ptr[i]);
    }
    putchar('"');
}

/* Outside of its strings JSON has ASCII alone, and inside no control characters of ASCII: what is written otherwise
 * here is inside a string and stays the same JSON. */
static void json_safe(struct str json, struct buf *out)
{
    for (size_t at = 0; at < json.len;) {
        uint32_t rune = 0;
        size_t len = utf8_decode(json, at, &rune);
        bool space = rune == '\n' || rune == '\t' || rune == '\r';
        if (len > 0 && (space || !steers(rune)))
            buf_append(out, json.ptr + at, len);
        else if (len == 0 || rune < 0x10000)
            buf_printf(out, "\\u%04x", len == 0 ? 0xfffd : rune);
        else
            buf_printf(out, "\\u%04x\\u%04x", 0xd800 + ((rune - 0x10000) >> 10), 0xdc00 + (rune & 0x3ff));
        at += MAX(len, (size_t)1);
    }
}

void output_json(struct str json, const struct output *output)
{
    CLEANUP(buf_done) struct buf safe = BUF_INIT(OUTPUT_TEXT_BYTES_MAX);
    while (str_ends_with(json, STR("\n")))
        json.len--;
    if (output->terminal) {
        json_safe(json, &safe);
        json = buf_view(&safe);
    }
    fwrite(json.ptr, 1, json.len, stdout);
    putchar('\n');
}
