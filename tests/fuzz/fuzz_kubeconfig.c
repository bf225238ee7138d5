/* Arbitrary bytes as a kubeconfig: it is read, with a server at least, or refused with a reason. */
#include "base/fail.h"
#include "net/kubeconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct file_system *fs = file_system_memory_new(0);
    struct kubeconfig config = {0};
    char error[256] = "";
    int r = file_write_whole(fs, "/config", data, size);
    ASSERT(r == 0);
    r = kubeconfig_load(fs, "/config", error, &config);
    ASSERT((r == 0) == (config.server != NULL));
    ASSERT((r < 0) == (error[0] != '\0'));
    ASSERT(!config.cert_pem == !config.key_pem && !config.username == !config.password);
    kubeconfig_done(&config);
    file_system_free(fs);
    return 0;
}
