#pragma once
/* What an answer says beside its data: warnings, notes of the evaluation, and whose data is missing. */
#include "cli.h"

#include <jansson.h>

/* Says them on stderr, a line each. What does not have the form of such notes is passed over. Returns whether data may
 * be missing: there are warnings, or a datacenter that is not complete. */
bool notes_print(const json_t *answer);
/* The same without saying it. */
bool notes_are_warnings(const json_t *answer);
