/* What STS, container endpoints and instance metadata answer. Keys that were taken can be sent in headers; errors are
 * one printable line. */
#include "base/fail.h"
#include "net/aws_sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_keys(int error, struct aws_keys *keys, const char *reason)
{
    if (error) {
        ASSERT(!keys->access_key && reason[0]);
        return;
    }
    const char *const texts[] = {keys->access_key, keys->secret_key, keys->session_token ? keys->session_token : "x"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        ASSERT(texts[i][0]);
        for (const char *at = texts[i]; *at; at++)
            ASSERT(*at > ' ' && *at <= '~');
    }
    aws_keys_done(keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_of(data, size);
    struct aws_keys keys = {0};
    char reason[256] = "", line[512];
    check_keys(aws_sts_read_keys(text, &keys, reason), &keys, reason);
    keys = (struct aws_keys){0};
    check_keys(aws_keys_read_json(text, &keys, reason), &keys, reason);
    aws_sts_read_error(text, line);
    ASSERT(memchr(line, '\0', sizeof(line)));
    for (const char *at = line; *at; at++)
        ASSERT(*at >= ' ' && *at <= '~');
    return 0;
}
