#pragma once
/* The discovery plugins of a directory: which there are, and why one cannot be used. */
#include "cli.h"

/* dir NULL: the installation's. CLI_FAILED where one cannot be used. */
enum cli_exit discover_plugins(const char *dir);
