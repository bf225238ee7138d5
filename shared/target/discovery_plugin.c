#include "target/discovery_plugin.h"

const char *const discovery_dns_type_names[] = {"A", "AAAA", "SRV", "MX", NULL};
