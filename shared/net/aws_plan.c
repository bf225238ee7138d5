#include "net/aws_plan.h"

#include "base/fail.h"
#include "base/limits.h"
#include "net/aws_keys.h"
#include "net/aws_profile.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CONTAINER_HOST "http://169.254.170.2" /* ECS' endpoint, for relative URIs */

struct search {
    const struct aws_credentials_options *options;
    struct aws_plan plan;
    struct buf passed;
    char *reason; /* AWS_CREDENTIALS_REASON_MAX bytes */
};

/* A step's answer: this place decides, this one is not set up, or a negative error with its reason. */
enum { NOT_HERE, HERE };

void aws_plan_done(struct aws_plan *plan)
{
    for (size_t i = 0; i < AWS_PLAN_TEXTS; i++)
        aws_secret_free(plan->texts[i]);
    mem_free(plan->where);
    mem_free(plan->passed);
    *plan = (struct aws_plan){0};
}

bool aws_plan_equal(const struct aws_plan *a, const struct aws_plan *b)
{
    bool equal = a->place == b->place;
    for (size_t i = 0; equal && i < AWS_PLAN_TEXTS; i++)
        equal = a->texts[i] && b->texts[i] ? strcmp(a->texts[i], b->texts[i]) == 0 : a->texts[i] == b->texts[i];
    return equal;
}

static PRINTF_LIKE(3, 4) int fail(struct search *search, int error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(search->reason, AWS_CREDENTIALS_REASON_MAX, format, arguments);
    va_end(arguments);
    return error;
}

static void set(struct search *search, enum aws_plan_text which, const char *text)
{
    aws_secret_free(search->plan.texts[which]);
    search->plan.texts[which] = text ? mem_strdup(text) : NULL;
}

static PRINTF_LIKE(3, 4) int decide(struct search *search, enum aws_place place, const char *format, ...)
{
    char where[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(where, sizeof(where), format, arguments);
    va_end(arguments);
    search->plan.place = place;
    search->plan.where = mem_strdup(where);
    return HERE;
}

static PRINTF_LIKE(2, 3) int pass(struct search *search, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    buf_printf(&search->passed, "%s%s", search->passed.len > 0 ? ", " : "", text);
    return NOT_HERE;
}

static const char *variable(const struct search *search, const char *name)
{
    return aws_environment_get(&search->options->environment, name);
}

/* ---- Keys that are at hand ---- */

static int take_keys(struct search *search, const char *access_key, const char *secret_key, const char *token,
                     const char *where)
{
    struct aws_keys keys;
    if (aws_keys_make(str_from(access_key), str_from(secret_key), str_from(token), AWS_KEYS_NEVER, &keys))
        return fail(search, -EINVAL, "%s: its keys are no keys: blanks, control characters or too long", where);
    aws_keys_done(&keys);
    set(search, AWS_PLAN_ACCESS_KEY, access_key);
    set(search, AWS_PLAN_SECRET_KEY, secret_key);
    set(search, AWS_PLAN_SESSION_TOKEN, token);
    return decide(search, AWS_PLACE_KEYS, "%s", where);
}

static int from_options(struct search *search)
{
    const struct aws_credentials_options *options = search->options;
    if (!options->access_key)
        return NOT_HERE;
    if (!options->secret_key_file)
        return fail(search, -EINVAL, "access_key without secret_key_file");
    CLEANUP(aws_secret_buf_done) struct buf text = BUF_INIT(AWS_PROFILE_VALUE_BYTES_MAX);
    int error = file_read_whole(options->fs, options->secret_key_file, &text);
    if (error)
        return fail(search, error, "%s: %s", options->secret_key_file, strerror(-error));
    buf_append_byte(&text, '\n');
    struct str line = str_trim(str_of(text.data, str_find(buf_view(&text), '\n')));
    if (str_ends_with(line, STR("\r")))
        line.len--;
    char *secret = mem_strndup(line.ptr, line.len);
    error = take_keys(search, options->access_key, secret, NULL, options->secret_key_file);
    aws_secret_free(secret);
    return error;
}

static int from_environment(struct search *search)
{
    const char *access_key = variable(search, "AWS_ACCESS_KEY_ID");
    const char *secret_key = variable(search, "AWS_SECRET_ACCESS_KEY");
    if (!access_key && !secret_key)
        return pass(search, "not in the environment (AWS_ACCESS_KEY_ID)");
    if (!access_key || !secret_key)
        return fail(search, -EINVAL, "of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY only one is set");
    return take_keys(search, access_key, secret_key, variable(search, "AWS_SESSION_TOKEN"), "the environment");
}

/* ---- Places that must be asked ---- */

static int web_identity(struct search *search, const char *token_file, const char *role, const char *session)
{
    set(search, AWS_PLAN_TOKEN_FILE, token_file);
    set(search, AWS_PLAN_TOKEN_ROLE, role);
    if (session)
        set(search, AWS_PLAN_SESSION_NAME, session);
    return decide(search, AWS_PLACE_WEB_IDENTITY, "web identity %s", token_file);
}

static int from_web_identity(struct search *search)
{
    const char *file = variable(search, "AWS_WEB_IDENTITY_TOKEN_FILE"), *role = variable(search, "AWS_ROLE_ARN");
    if (!file)
        return pass(search, "no web identity (AWS_WEB_IDENTITY_TOKEN_FILE)");
    if (!role)
        return fail(search, -EINVAL, "AWS_WEB_IDENTITY_TOKEN_FILE without AWS_ROLE_ARN");
    return web_identity(search, file, role, NULL);
}

/* Keys must not go over a wire in the clear: https, or a host that is this machine or the platform's own. */
static bool is_safe_endpoint(const char *url)
{
    static const char *const hosts[] = {"localhost", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "[::1]"};
    if (strncasecmp(url, "https://", 8) == 0)
        return true;
    if (strncasecmp(url, "http://", 7) != 0)
        return false;
    const char *host = url + 7, *end = host + (host[0] == '[' ? strcspn(host, "]/?#") : strcspn(host, ":/?#"));
    if (host[0] == '[' && *end == ']')
        end++;
    struct str name = str_of(host, (size_t)(end - host));
    if (*end && !strchr(":/?#", *end))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
        if (name.len == strlen(hosts[i]) && strncasecmp(name.ptr, hosts[i], name.len) == 0)
            return true;
    char text[INET_ADDRSTRLEN];
    struct in_addr address;
    if (name.len >= sizeof(text))
        return false;
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    return inet_pton(AF_INET, text, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

static int from_container(struct search *search)
{
    const char *relative = variable(search, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = variable(search, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (!relative && !full)
        return pass(search, "no container endpoint (AWS_CONTAINER_CREDENTIALS_FULL_URI)");
    if (relative && relative[0] != '/')
        return fail(search, -EINVAL, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI must begin with /");
    CLEANUP_FREE char *url = relative ? mem_printf("%s%s", CONTAINER_HOST, relative) : mem_strdup(full);
    if (strlen(url) > URL_BYTES_MAX || strchr(url, '@') || !is_safe_endpoint(url))
        return fail(search, -EINVAL,
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or http to this machine or a container's "
                    "own endpoint");
    set(search, AWS_PLAN_URL, url);
    set(search, AWS_PLAN_AUTHORIZATION_FILE, variable(search, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"));
    set(search, AWS_PLAN_AUTHORIZATION, variable(search, "AWS_CONTAINER_AUTHORIZATION_TOKEN"));
    return decide(search, AWS_PLACE_CONTAINER, "the container's endpoint");
}

static int from_instance(struct search *search)
{
    return decide(search, AWS_PLACE_INSTANCE, "the instance's metadata");
}

/* ---- The shared files ---- */

struct shared_files {
    char *credentials, *config; /* paths; NULL: unknown for want of HOME */
};

static void shared_files_done(struct shared_files *files)
{
    mem_free(files->credentials);
    mem_free(files->config);
}

static char *shared_file(const struct search *search, const char *name, const char *fallback)
{
    const char *path = variable(search, name), *home = variable(search, "HOME");
    return path ? mem_strdup(path) : home ? mem_printf("%s/.aws/%s", home, fallback) : NULL;
}

/* Adds what one file says. HERE, NOT_HERE (also without the file), or an error. */
static int read_shared_file(struct search *search, const char *path, bool config, const char *name,
                            struct aws_profile *profile)
{
    CLEANUP(aws_secret_buf_done) struct buf text = BUF_INIT(AWS_CREDENTIALS_FILE_MAX);
    int error = path ? file_read_whole(search->options->fs, path, &text) : -ENOENT;
    if (error == -ENOENT || error == -ENOTDIR)
        return NOT_HERE;
    if (error)
        return fail(search, error, "%s: %s", path, strerror(-error));
    size_t line = 0;
    int found = aws_profile_read(buf_view(&text), name, config, profile, &line);
    if (found < 0)
        return fail(search, found, "%s, line %zu: not a key = value", path, line);
    return found;
}

static int read_profile(struct search *search, const struct shared_files *files, const char *name,
                        struct aws_profile *profile)
{
    int in_credentials = read_shared_file(search, files->credentials, false, name, profile);
    if (in_credentials < 0)
        return in_credentials;
    int in_config = read_shared_file(search, files->config, true, name, profile);
    return in_config < 0 ? in_config : in_credentials || in_config ? HERE : NOT_HERE;
}

static int profile_keys(struct search *search, const struct aws_profile *profile, const char *name)
{
    const char *access_key = profile->values[AWS_PROFILE_ACCESS_KEY];
    const char *secret_key = profile->values[AWS_PROFILE_SECRET_KEY];
    char where[256];
    snprintf(where, sizeof(where), "profile %.200s", name);
    if (!access_key && !secret_key)
        return NOT_HERE;
    if (!access_key || !secret_key)
        return fail(search, -EINVAL, "%s has only one of aws_access_key_id and aws_secret_access_key", where);
    return take_keys(search, access_key, secret_key, profile->values[AWS_PROFILE_SESSION_TOKEN], where);
}

static int source_profile(struct search *search, const struct shared_files *files, const char *name)
{
    struct aws_profile source = {0};
    int here = read_profile(search, files, name, &source);
    if (here == HERE)
        here = profile_keys(search, &source, name);
    aws_profile_done(&source);
    if (here == NOT_HERE)
        return fail(search, -EINVAL, "source_profile %s has no keys", name);
    return here;
}

static int credential_source(struct search *search, const char *name)
{
    static const struct {
        const char *name;
        int (*step)(struct search *search);
    } sources[] = {
        {"Environment", from_environment}, {"EcsContainer", from_container}, {"Ec2InstanceMetadata", from_instance}};
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        if (strcasecmp(name, sources[i].name) != 0)
            continue;
        int here = sources[i].step(search);
        return here == NOT_HERE ? fail(search, -EINVAL, "credential_source %s is not set up", name) : here;
    }
    return fail(search, -EINVAL, "credential_source %s is unknown", name);
}

/* A profile with role_arn: whose keys take the role. */
static int role_profile(struct search *search, const struct shared_files *files, const struct aws_profile *profile)
{
    char *const *values = profile->values;
    const char *token_file = values[AWS_PROFILE_WEB_IDENTITY_TOKEN_FILE];
    if (values[AWS_PROFILE_MFA_SERIAL])
        return fail(search, -EINVAL, "mfa_serial needs a person to type a code");
    if (token_file)
        return web_identity(search, token_file, values[AWS_PROFILE_ROLE_ARN], values[AWS_PROFILE_ROLE_SESSION_NAME]);
    set(search, AWS_PLAN_PROFILE_ROLE, values[AWS_PROFILE_ROLE_ARN]);
    set(search, AWS_PLAN_PROFILE_EXTERNAL_ID, values[AWS_PROFILE_EXTERNAL_ID]);
    if (values[AWS_PROFILE_ROLE_SESSION_NAME])
        set(search, AWS_PLAN_SESSION_NAME, values[AWS_PROFILE_ROLE_SESSION_NAME]);
    if (values[AWS_PROFILE_SOURCE_PROFILE])
        return source_profile(search, files, values[AWS_PROFILE_SOURCE_PROFILE]);
    if (values[AWS_PROFILE_CREDENTIAL_SOURCE])
        return credential_source(search, values[AWS_PROFILE_CREDENTIAL_SOURCE]);
    return fail(search, -EINVAL, "role_arn needs source_profile, credential_source or web_identity_token_file");
}

static int use_profile(struct search *search, const struct shared_files *files, const struct aws_profile *profile,
                       const char *name)
{
    static const enum aws_profile_key strange[] = {AWS_PROFILE_CREDENTIAL_PROCESS, AWS_PROFILE_SSO_SESSION,
                                                   AWS_PROFILE_SSO_START_URL};
    int here = profile->values[AWS_PROFILE_ROLE_ARN] ? role_profile(search, files, profile)
                                                     : profile_keys(search, profile, name);
    for (size_t i = 0; here == NOT_HERE && i < ARRAY_LEN(strange); i++)
        if (profile->values[strange[i]])
            here = fail(search, -EINVAL, "%s is not supported", aws_profile_key_names[strange[i]]);
    if (here < 0) { /* which one, before why */
        char why[AWS_CREDENTIALS_REASON_MAX];
        memcpy(why, search->reason, sizeof(why));
        fail(search, here, "profile %.200s: %.700s", name, why);
    }
    return here;
}

static int from_profile(struct search *search, const char *name, bool asked_for)
{
    CLEANUP(shared_files_done)
    struct shared_files files = {
        .credentials = shared_file(search, "AWS_SHARED_CREDENTIALS_FILE", "credentials"),
        .config = shared_file(search, "AWS_CONFIG_FILE", "config"),
    };
    struct aws_profile profile = {0};
    int here = read_profile(search, &files, name, &profile);
    if (here == HERE)
        here = use_profile(search, &files, &profile, name);
    aws_profile_done(&profile);
    if (here != NOT_HERE)
        return here;
    const char *credentials = files.credentials ? files.credentials : "~/.aws/credentials (HOME is not set)";
    const char *config = files.config ? files.config : "~/.aws/config";
    if (asked_for)
        return fail(search, -ENOENT, "profile %.200s has no keys and no role in %s and %s", name, credentials, config);
    return pass(search, "not in profile %.100s of %.150s and %.150s", name, credentials, config);
}

static int from_named_profile(struct search *search)
{
    return search->options->profile ? from_profile(search, search->options->profile, true) : NOT_HERE;
}

static int from_default_profile(struct search *search)
{
    const char *name = variable(search, "AWS_PROFILE");
    return from_profile(search, name ? name : "default", name != NULL);
}

/* ---- The search ---- */

/* Where the services of a region are: the suffix of its partition, as discovery/ec2.c has them. */
static const struct {
    const char *region_start, *suffix;
} partitions[] = {
    {"cn-", "amazonaws.com.cn"}, {"eusc-", "amazonaws.eu"},      {"us-isob-", "sc2s.sgov.gov"},
    {"us-iso-", "c2s.ic.gov"},   {"us-isof-", "csp.hci.ic.gov"}, {"eu-isoe-", "cloud.adc-e.uk"},
    {"", "amazonaws.com"}, /* the last fits all */
};

static void set_sts(struct search *search)
{
    static const char *const regions[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};
    const char *region = search->options->region;
    for (size_t i = 0; !region && i < ARRAY_LEN(regions); i++)
        region = variable(search, regions[i]);
    if (!region)
        region = "us-east-1";
    const char *url = variable(search, "AWS_ENDPOINT_URL_STS");
    size_t partition = 0;
    while (strncmp(region, partitions[partition].region_start, strlen(partitions[partition].region_start)) != 0)
        partition++;
    CLEANUP_FREE char *own = mem_printf("https://sts.%s.%s", region, partitions[partition].suffix);
    set(search, AWS_PLAN_REGION, region);
    set(search, AWS_PLAN_STS_URL, url ? url : own);
}

int aws_plan_make(const struct aws_credentials_options *options, struct aws_plan *ret_plan,
                  char ret_reason[static AWS_CREDENTIALS_REASON_MAX])
{
    static int (*const steps[])(struct search * search) = {from_options,         from_named_profile, from_environment,
                                                           from_default_profile, from_web_identity,  from_container,
                                                           from_instance};
    struct search search = {.options = options, .passed = BUF_INIT(4 * KIB), .reason = ret_reason};
    const char *session = aws_environment_get(&options->environment, "AWS_ROLE_SESSION_NAME");
    set(&search, AWS_PLAN_SESSION_NAME, session ? session : "tributary");
    set(&search, AWS_PLAN_ROLE, options->role_arn);
    set_sts(&search);
    int here = NOT_HERE;
    for (size_t i = 0; here == NOT_HERE && i < ARRAY_LEN(steps); i++)
        here = steps[i](&search);
    if (here == HERE) {
        search.plan.passed = search.passed.len > 0 ? mem_strndup((char *)search.passed.data, search.passed.len) : NULL;
        *ret_plan = search.plan;
    } else {
        aws_plan_done(&search.plan);
    }
    buf_done(&search.passed);
    return MIN(here, 0);
}
