/* AWS' shared files. What was taken is one line a value; a file read twice says the same. */
#include "base/fail.h"
#include "net/aws_profile.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"default", "p"};
    for (int form = 0; form < 4; form++) {
        struct aws_profile profile = {0}, again = {0};
        size_t line = 0;
        int found = aws_profile_read(str_of(data, size), names[form & 1], form & 2, &profile, &line);
        ASSERT(found == 0 || found == 1 || (found == -EINVAL && line > 0));
        ASSERT(aws_profile_read(str_of(data, size), names[form & 1], form & 2, &again, &line) == found);
        for (size_t i = 0; i < AWS_PROFILE_KEYS; i++) {
            const char *value = profile.values[i];
            ASSERT(found || !value);
            ASSERT(!value == !again.values[i] && (!value || strcmp(value, again.values[i]) == 0));
            ASSERT(!value || (value[0] && !strchr(value, '\n') && strlen(value) <= AWS_PROFILE_VALUE_BYTES_MAX));
        }
        aws_profile_done(&profile);
        aws_profile_done(&again);
    }
    return 0;
}
