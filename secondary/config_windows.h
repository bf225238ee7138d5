#pragma once
/* Private to config*.c: the section windows. */
#include "config.h"

extern const struct conf_table windows_table; /* fills a struct windows_config */
