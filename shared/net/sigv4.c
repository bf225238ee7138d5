#include "net/sigv4.h"

#include "base/arena.h"
#include "base/fail.h"
#include "base/limits.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define ALGORITHM           "AWS4-HMAC-SHA256"
#define HASH_BYTES          32
#define SECRET_BYTES_MAX    512         /* AWS' have 40 characters */
#define TOKEN_BYTES_MAX     (16 * KIB)  /* session tokens; AWS names no limit, and sends some 2 KiB at most */
#define CANONICAL_BYTES_MAX (256 * KIB) /* headers at their ceilings and a URL that is encoded twice */

/* ---- Text ---- */

static void to_hex(const uint8_t *bytes, size_t len, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        ret_text[2 * i] = digits[bytes[i] >> 4];
        ret_text[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret_text[2 * len] = '\0';
}

void sigv4_hash(struct str payload, char ret_hash[static SIGV4_HASH_BYTES])
{
    uint8_t hash[HASH_BYTES];
    if (!EVP_Digest(payload.ptr, payload.len, hash, NULL, EVP_sha256(), NULL))
        fatal("OpenSSL has no SHA-256");
    to_hex(hash, sizeof(hash), ret_hash);
}

/* Undoes %XX; a percent sign that begins none stays. In a query a plus sign is a space. */
static struct str decode(struct arena *arena, struct str text, bool query)
{
    char *plain = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];
        int high = -1, low = -1;
        if (byte == '%' && text.len - i > 2) {
            high = str_hex_value(text.ptr[i + 1]);
            low = str_hex_value(text.ptr[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            byte = (char)(high << 4 | low);
            i += 2;
        } else if (query && byte == '+') {
            byte = ' ';
        }
        plain[len++] = byte;
    }
    return str_of(plain, len);
}

static bool has_control(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((uint8_t)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
            return true;
    return false;
}

/* ---- The URL ---- */

struct url_parts {
    struct str host; /* with a port that is not its scheme's */
    struct str path, query;
};

static struct str cut_before(struct str *left, const char *ends)
{
    size_t len = 0;
    while (len < left->len && !strchr(ends, left->ptr[len]))
        len++;
    struct str part = str_of(left->ptr, len);
    *left = str_of(left->ptr + len, left->len - len);
    return part;
}

static int split_url(const char *text, struct url_parts *ret_parts)
{
    static const struct {
        struct str start, port;
    } schemes[] = {{{"http://", 7}, {":80", 3}}, {{"https://", 8}, {":443", 4}}};
    struct str left = str_from(text);
    if (left.len > URL_BYTES_MAX)
        return -E2BIG;
    if (has_control(left))
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        struct str start = schemes[i].start, port = schemes[i].port;
        if (left.len < start.len || strncasecmp(left.ptr, start.ptr, start.len) != 0)
            continue;
        left = str_of(left.ptr + start.len, left.len - start.len);
        struct url_parts parts = {.host = cut_before(&left, "/?#")};
        if (parts.host.len == 0 || str_find(parts.host, '@') < parts.host.len)
            return -EINVAL;
        if (str_ends_with(parts.host, port))
            parts.host.len -= port.len;
        parts.path = cut_before(&left, "?#");
        if (left.len > 0 && left.ptr[0] == '?') {
            left = str_of(left.ptr + 1, left.len - 1);
            parts.query = cut_before(&left, "#");
        }
        *ret_parts = parts;
        return 0;
    }
    return -EINVAL;
}

/* Without ".", ".." and empty segments, as RFC 3986 removes them; each byte encoded once more than it came. */
static void add_plain_path(struct arena *arena, struct str path, struct buf *out)
{
    struct str *segments = arena_array(arena, path.len + 1, sizeof(*segments));
    size_t count = 0;
    bool ends_open = true; /* with a slash */
    while (path.len > 0) {
        path = str_of(path.ptr + 1, path.len - 1); /* the slash */
        struct str segment = cut_before(&path, "/");
        bool stays = str_equal(segment, STR(".")) || segment.len == 0, up = str_equal(segment, STR(".."));
        ends_open = stays || up;
        if (up && count > 0)
            count--;
        else if (!ends_open)
            segments[count++] = segment;
    }
    for (size_t i = 0; i < count; i++) {
        buf_append_byte(out, '/');
        buf_append_escaped(out, segments[i], false);
    }
    if (ends_open)
        buf_append_byte(out, '/');
}

static void add_path(struct arena *arena, struct str path, bool s3, struct buf *out)
{
    if (path.len == 0)
        buf_append_byte(out, '/');
    else if (s3)
        buf_append_escaped(out, decode(arena, path, false), true);
    else
        add_plain_path(arena, path, out);
    buf_append_byte(out, '\n');
}

struct pair {
    struct str name, value;
    size_t order;
};

static int compare_parameters(const void *a, const void *b)
{
    const struct pair *left = a, *right = b;
    int order = str_compare(left->name, right->name);
    return order ? order : str_compare(left->value, right->value);
}

static struct str encoded(struct arena *arena, struct str text)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(CANONICAL_BYTES_MAX);
    buf_append_escaped(&out, text, false);
    return arena_str(arena, buf_view(&out));
}

static int add_query(struct arena *arena, struct str query, struct buf *out)
{
    struct pair *pairs = arena_array(arena, SIGV4_PARAMETERS_MAX, sizeof(*pairs));
    size_t count = 0;
    while (query.len > 0) {
        struct str value = cut_before(&query, "&");
        if (query.len > 0)
            query = str_of(query.ptr + 1, query.len - 1);
        if (value.len == 0)
            continue;
        if (count == SIGV4_PARAMETERS_MAX)
            return -E2BIG;
        struct str name = cut_before(&value, "=");
        if (value.len > 0)
            value = str_of(value.ptr + 1, value.len - 1);
        pairs[count++] = (struct pair){.name = encoded(arena, decode(arena, name, true)),
                                       .value = encoded(arena, decode(arena, value, true))};
    }
    qsort(pairs, count, sizeof(*pairs), compare_parameters);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s" STR_FMT "=" STR_FMT, i > 0 ? "&" : "", STR_ARG(pairs[i].name), STR_ARG(pairs[i].value));
    buf_append_byte(out, '\n');
    return 0;
}

/* ---- Headers ---- */

/* What hops on the way, or the client itself, may change. */
static bool is_signed(const char *name)
{
    static const char *const changing[] = {"connection", "user-agent",        "expect",          "te",
                                           "trailer",    "transfer-encoding", "accept-encoding", "x-amzn-trace-id"};
    for (size_t i = 0; i < ARRAY_LEN(changing); i++)
        if (strcasecmp(name, changing[i]) == 0)
            return false;
    return true;
}

/* Those that the signature brings along. */
static bool is_ours(const char *name)
{
    static const char *const ours[] = {"authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (strcasecmp(name, ours[i]) == 0)
            return true;
    return false;
}

static struct str lower(struct arena *arena, const char *name)
{
    struct str copy = arena_str(arena, str_from(name));
    char *at = (char *)(uintptr_t)copy.ptr; /* the arena's own */
    for (size_t i = 0; i < copy.len; i++)
        if (at[i] >= 'A' && at[i] <= 'Z')
            at[i] = (char)(at[i] | 0x20);
    return copy;
}

/* Without spaces at its ends; several in a row are one. */
static struct str squeeze(struct arena *arena, struct str value)
{
    value = str_trim(value);
    char *text = arena_alloc(arena, value.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] != ' ' || value.ptr[i - 1] != ' ') /* trimmed: the first is no space */
            text[len++] = value.ptr[i];
    return str_of(text, len);
}

static int compare_headers(const void *a, const void *b)
{
    const struct pair *left = a, *right = b;
    int order = str_compare(left->name, right->name);
    return order ? order : left->order < right->order ? -1 : 1;
}

struct header_list {
    struct arena *arena;
    struct pair pairs[SIGV4_REQUEST_HEADERS_MAX + 5]; /* ours and Host */
    size_t count;
};

static void add_header(struct header_list *list, const char *name, struct str value)
{
    ASSERT(list->count < ARRAY_LEN(list->pairs));
    list->pairs[list->count] = (struct pair){lower(list->arena, name), squeeze(list->arena, value), list->count};
    list->count++;
}

static int list_headers(struct header_list *list, const struct sigv4_request *request,
                        const struct sigv4_headers *added, struct str host)
{
    bool has_host = false;
    if (request->header_count > SIGV4_REQUEST_HEADERS_MAX)
        return -E2BIG;
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (!header->name[0] || is_ours(header->name) || has_control(str_from(header->name)) ||
            has_control(str_from(header->value)))
            return -EINVAL;
        has_host |= strcasecmp(header->name, "host") == 0;
        if (is_signed(header->name))
            add_header(list, header->name, str_from(header->value));
    }
    if (!has_host)
        add_header(list, "host", host);
    for (size_t i = 0; i < added->count; i++)
        add_header(list, added->headers[i].name, str_from(added->headers[i].value));
    qsort(list->pairs, list->count, sizeof(struct pair), compare_headers);
    return 0;
}

/* Each name once, with its values in their order; then the names. */
static void add_headers(const struct header_list *list, struct buf *names, struct buf *out)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct pair *pair = &list->pairs[i];
        bool again = i > 0 && str_equal(pair->name, list->pairs[i - 1].name);
        bool last = i + 1 == list->count || !str_equal(pair->name, list->pairs[i + 1].name);
        if (again)
            buf_append_byte(out, ',');
        else
            buf_printf(out, STR_FMT ":", STR_ARG(pair->name));
        buf_append_str(out, pair->value);
        if (last)
            buf_append_byte(out, '\n');
        if (!again)
            buf_printf(names, "%s" STR_FMT, i > 0 ? ";" : "", STR_ARG(pair->name));
    }
    buf_append_byte(out, '\n');
    buf_append_str(out, buf_view(names));
    buf_append_byte(out, '\n');
}

/* ---- The signature ---- */

static void hmac(const void *key, size_t key_len, struct str text, uint8_t ret_hash[static HASH_BYTES])
{
    if (!HMAC(EVP_sha256(), key, (int)key_len, (const uint8_t *)text.ptr, text.len, ret_hash, NULL))
        fatal("OpenSSL has no HMAC-SHA-256");
}

/* The secret, narrowed down to a day, a region and a service. */
static void derive_key(const struct sigv4_request *request, const char *secret, struct str day,
                       uint8_t ret_key[static HASH_BYTES])
{
    char start[4 + SECRET_BYTES_MAX + 1];
    const struct str steps[] = {day, str_from(request->region), str_from(request->service), STR("aws4_request")};
    snprintf(start, sizeof(start), "AWS4%s", secret);
    hmac(start, strlen(start), steps[0], ret_key);
    explicit_bzero(start, sizeof(start));
    for (size_t i = 1; i < ARRAY_LEN(steps); i++) {
        uint8_t key[HASH_BYTES];
        memcpy(key, ret_key, sizeof(key));
        hmac(key, sizeof(key), steps[i], ret_key);
        explicit_bzero(key, sizeof(key));
    }
}

/* "20150830T123600Z" */
static void format_date(int64_t time_ms, char ret_date[static 32])
{
    char text[32];
    size_t len = 0;
    clock_format_rfc3339(time_ms, text);
    for (const char *at = text; *at && *at != '.'; at++)
        if (*at != '-' && *at != ':')
            ret_date[len++] = *at;
    ret_date[len++] = 'Z';
    ret_date[len] = '\0';
}

static int check(const struct sigv4_request *request, const struct sigv4_credentials *credentials)
{
    const char *const needed[] = {request->method, request->region, request->service, credentials->access_key,
                                  credentials->secret_key};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (!needed[i] || !needed[i][0] || has_control(str_from(needed[i])) || strchr(needed[i], ' '))
            return -EINVAL;
    const char *token = credentials->session_token;
    if (token && (!token[0] || has_control(str_from(token))))
        return -EINVAL;
    if (strlen(credentials->secret_key) > SECRET_BYTES_MAX || (token && strlen(token) > TOKEN_BYTES_MAX))
        return -E2BIG;
    const char *hash = request->payload_hash;
    return hash && (!hash[0] || strlen(hash) >= SIGV4_HASH_BYTES || has_control(str_from(hash))) ? -EINVAL : 0;
}

/* What is to be signed, as the other end will put it together too. */
static int make_canonical(struct arena *arena, const struct sigv4_request *request, const struct sigv4_headers *added,
                          struct buf *names, struct buf *out)
{
    struct url_parts url = {0};
    struct header_list *list = arena_alloc(arena, sizeof(*list));
    *list = (struct header_list){.arena = arena};
    int error = split_url(request->url, &url);
    if (error == 0)
        error = list_headers(list, request, added, url.host);
    if (error)
        return error;
    buf_printf(out, "%s\n", request->method);
    add_path(arena, url.path, request->s3, out);
    error = add_query(arena, url.query, out);
    if (error)
        return error;
    add_headers(list, names, out);
    buf_append_text(out, added->hash);
    return out->full || names->full ? -E2BIG : 0;
}

static int sign(const struct sigv4_request *request, const struct sigv4_credentials *credentials,
                struct sigv4_headers *headers)
{
    struct str day = str_of(headers->date, 8);
    CLEANUP(arena_done) struct arena arena;
    CLEANUP(buf_done) struct buf names = BUF_INIT(CANONICAL_BYTES_MAX), canonical = BUF_INIT(CANONICAL_BYTES_MAX);
    CLEANUP(buf_done) struct buf scope = BUF_INIT(KIB), text = BUF_INIT(2 * KIB);
    arena_init(&arena, 0); /* url and headers have their ceilings */
    int error = make_canonical(&arena, request, headers, &names, &canonical);
    if (error)
        return error;
    char hash[SIGV4_HASH_BYTES], signature[SIGV4_HASH_BYTES];
    sigv4_hash(buf_view(&canonical), hash);
    buf_printf(&scope, STR_FMT "/%s/%s/aws4_request", STR_ARG(day), request->region, request->service);
    buf_printf(&text, ALGORITHM "\n%s\n" STR_FMT "\n%s", headers->date, STR_ARG(buf_view(&scope)), hash);
    if (scope.full || text.full)
        return -E2BIG;
    uint8_t key[HASH_BYTES], bytes[HASH_BYTES];
    derive_key(request, credentials->secret_key, day, key);
    hmac(key, sizeof(key), buf_view(&text), bytes);
    explicit_bzero(key, sizeof(key));
    to_hex(bytes, sizeof(bytes), signature);
    buf_printf(&headers->authorization, ALGORITHM " Credential=%s/" STR_FMT ", SignedHeaders=" STR_FMT ", Signature=%s",
               credentials->access_key, STR_ARG(buf_view(&scope)), STR_ARG(buf_view(&names)), signature);
    buf_append_byte(&headers->authorization, '\0');
    return headers->authorization.full ? -E2BIG : 0;
}

/* Points at the texts inside; Authorization, which signs the others, last. */
static void list_ours(struct sigv4_headers *headers, bool s3)
{
    headers->count = 0;
    headers->headers[headers->count++] = (struct http_header){"X-Amz-Date", headers->date};
    if (s3)
        headers->headers[headers->count++] = (struct http_header){"X-Amz-Content-Sha256", headers->hash};
    if (headers->token.len > 0)
        headers->headers[headers->count++] =
            (struct http_header){"X-Amz-Security-Token", (const char *)headers->token.data};
    if (headers->authorization.len > 0)
        headers->headers[headers->count++] =
            (struct http_header){"Authorization", (const char *)headers->authorization.data};
}

int sigv4_sign(const struct sigv4_request *request, const struct sigv4_credentials *credentials,
               struct sigv4_headers *ret_headers)
{
    int error = check(request, credentials);
    if (error)
        return error;
    struct sigv4_headers headers = {.authorization = BUF_INIT(CANONICAL_BYTES_MAX),
                                    .token = BUF_INIT(TOKEN_BYTES_MAX + 1)};
    format_date(request->time_ms, headers.date);
    if (request->payload_hash)
        memcpy(headers.hash, request->payload_hash, strlen(request->payload_hash) + 1);
    else
        sigv4_hash(request->payload, headers.hash);
    if (credentials->session_token)
        buf_append(&headers.token, credentials->session_token, strlen(credentials->session_token) + 1);
    list_ours(&headers, request->s3);
    error = sign(request, credentials, &headers);
    if (error) {
        sigv4_headers_done(&headers);
        return error;
    }
    *ret_headers = headers;
    list_ours(ret_headers, request->s3);
    return 0;
}

void sigv4_headers_done(struct sigv4_headers *headers)
{
    if (headers->token.data)
        explicit_bzero(headers->token.data, headers->token.len);
    buf_done(&headers->token);
    buf_done(&headers->authorization);
    headers->count = 0;
}
