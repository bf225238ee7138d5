#include "net/aws_sts.h"

#include "base/fail.h"

#include <errno.h>
#include <expat.h>
#include <stdio.h>

/* ---- Questions ---- */

static void add_field(struct buf *body, const char *name, struct str value)
{
    buf_printf(body, "&%s=", name);
    buf_append_escaped(body, value, false);
}

static int begin(const char *action, const struct aws_role *role, struct buf *body)
{
    buf_printf(body, "Action=%s&Version=2011-06-15", action);
    add_field(body, "RoleArn", str_from(role->arn));
    add_field(body, "RoleSessionName", str_from(role->session_name));
    return body->full ? -E2BIG : 0;
}

int aws_sts_assume_role(const struct aws_role *role, struct buf *body)
{
    int error = begin("AssumeRole", role, body);
    if (error == 0 && role->external_id)
        add_field(body, "ExternalId", str_from(role->external_id));
    return body->full ? -E2BIG : error;
}

int aws_sts_assume_role_with_web_identity(const struct aws_role *role, struct str token, struct buf *body)
{
    int error = begin("AssumeRoleWithWebIdentity", role, body);
    if (error == 0)
        add_field(body, "WebIdentityToken", token);
    return body->full ? -E2BIG : error;
}

/* ---- Answers ---- */

/* Where in the document a text stands; its names from the root on, without namespaces. */
enum { ACCESS_KEY, SECRET_KEY, TOKEN, EXPIRATION, CODE, MESSAGE, FIELDS };
#define KEYS_OF(action) action "Response/" action "Result/Credentials/"
static const struct {
    const char *path;
    int field;
} places[] = {
    {KEYS_OF("AssumeRole") "AccessKeyId", ACCESS_KEY},
    {KEYS_OF("AssumeRole") "SecretAccessKey", SECRET_KEY},
    {KEYS_OF("AssumeRole") "SessionToken", TOKEN},
    {KEYS_OF("AssumeRole") "Expiration", EXPIRATION},
    {KEYS_OF("AssumeRoleWithWebIdentity") "AccessKeyId", ACCESS_KEY},
    {KEYS_OF("AssumeRoleWithWebIdentity") "SecretAccessKey", SECRET_KEY},
    {KEYS_OF("AssumeRoleWithWebIdentity") "SessionToken", TOKEN},
    {KEYS_OF("AssumeRoleWithWebIdentity") "Expiration", EXPIRATION},
    {"ErrorResponse/Error/Code", CODE},
    {"ErrorResponse/Error/Message", MESSAGE},
};

#define PATH_BYTES_MAX  256
#define FIELD_BYTES_MAX (16 * KIB)

struct answer {
    XML_Parser parser;
    struct buf path; /* of the element that is open, "a/b/c" */
    unsigned depth;
    struct buf fields[FIELDS];
    struct buf *field; /* that is being read */
};

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct answer *answer = arg;
    (void)attributes;
    if (++answer->depth > AWS_STS_DEPTH_MAX ||
        buf_printf(&answer->path, "%s%s", answer->path.len > 0 ? "/" : "", name)) {
        XML_StopParser(answer->parser, XML_FALSE);
        return;
    }
    answer->field = NULL;
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (str_equal(buf_view(&answer->path), str_from(places[i].path)))
            answer->field = &answer->fields[places[i].field];
    if (answer->field && (answer->field->len > 0 || answer->field->full))
        answer->field = NULL; /* of several the first counts */
}

static void on_end(void *arg, const XML_Char *name)
{
    struct answer *answer = arg;
    size_t len = strlen(name);
    answer->depth--;
    answer->field = NULL;
    answer->path.len -= MIN(answer->path.len, len + 1); /* with its slash, which the root has not */
}

static void on_text(void *arg, const XML_Char *text, int len)
{
    struct answer *answer = arg;
    if (answer->field)
        buf_append(answer->field, text, (size_t)len);
}

/* Nothing here declares entities. */
static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal)
{
    struct answer *answer = arg;
    (void)name, (void)system, (void)public, (void)internal;
    XML_StopParser(answer->parser, XML_FALSE);
}

static bool read_answer(struct answer *answer, struct str xml)
{
    answer->path = BUF_INIT(PATH_BYTES_MAX);
    for (size_t i = 0; i < FIELDS; i++)
        answer->fields[i] = BUF_INIT(FIELD_BYTES_MAX);
    answer->parser = XML_ParserCreate("UTF-8");
    if (!answer->parser)
        fatal("expat does not start");
    XML_SetUserData(answer->parser, answer);
    XML_SetElementHandler(answer->parser, on_start, on_end);
    XML_SetCharacterDataHandler(answer->parser, on_text);
    XML_SetStartDoctypeDeclHandler(answer->parser, on_doctype);
    bool sound =
        xml.len <= INT32_MAX && XML_Parse(answer->parser, xml.ptr ? xml.ptr : "", (int)xml.len, 1) == XML_STATUS_OK;
    for (size_t i = 0; i < FIELDS; i++)
        sound = sound && !answer->fields[i].full;
    return sound;
}

static void answer_done(struct answer *answer)
{
    XML_ParserFree(answer->parser);
    buf_done(&answer->path);
    for (size_t i = 0; i < FIELDS; i++)
        aws_secret_buf_done(&answer->fields[i]);
}

static struct str field(const struct answer *answer, int which)
{
    return buf_view(&answer->fields[which]);
}

int aws_sts_read_keys(struct str xml, struct aws_keys *ret_keys, char ret_reason[static 256])
{
    CLEANUP(answer_done) struct answer answer = {0};
    char until[64];
    int64_t expires_ms = 0;
    if (!read_answer(&answer, xml))
        return error_text(-EBADMSG, ret_reason, "the answer is no XML of its kind");
    snprintf(until, sizeof(until), STR_FMT, STR_ARG(field(&answer, EXPIRATION)));
    if (clock_parse_rfc3339(until, &expires_ms) != 0)
        return error_text(-EBADMSG, ret_reason, "the answer has no sound Expiration");
    if (field(&answer, TOKEN).len == 0 || aws_keys_make(field(&answer, ACCESS_KEY), field(&answer, SECRET_KEY),
                                                        field(&answer, TOKEN), expires_ms, ret_keys) != 0)
        return error_text(-EBADMSG, ret_reason, "the answer has no sound credentials");
    return 0;
}

void aws_sts_read_error(struct str xml, char ret_text[static 512])
{
    CLEANUP(answer_done) struct answer answer = {0};
    char code[128], message[320];
    read_answer(&answer, xml); /* of a broken one, what came before it broke */
    aws_plain_text(field(&answer, CODE), code, sizeof(code));
    /* Its first line. What follows it, where signatures do not match, repeats the request, with its session token. */
    aws_plain_text(field(&answer, MESSAGE), message, sizeof(message));
    snprintf(ret_text, 512, "%s%s%s", code, code[0] && message[0] ? ": " : "", message);
}
