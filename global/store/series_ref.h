#pragma once
/* How the store names a series in memory. */
#include <stdint.h>

typedef uint32_t series_ref;
#define SERIES_REF_NONE UINT32_MAX
