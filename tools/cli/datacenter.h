#pragma once
/* --datacenter: what is asked is confined to some datacenters. */
#include "base/buf.h"
#include "cli.h"

/* In the table of a command that has it. */
#define DATACENTER_OPTION                                                                                              \
    {                                                                                                                  \
        "datacenter", 'd', "DC", "only what is of this datacenter; may be given several times"                         \
    }

enum datacenter_text { DATACENTER_EXPRESSION, DATACENTER_SELECTOR };

/* Appends the text, with a matcher for the given datacenters in each of its selectors; as it is where none is given.
 * CLI_FAILED: it does not parse. CLI_USAGE: it asks for other datacenters already. Both are said. */
MUST_CHECK enum cli_exit datacenter_narrow(const struct cli_arguments *arguments, const char *text,
                                           enum datacenter_text kind, struct buf *ret_text);
/* A selector of all series of the given datacenters, of which there is one at least. */
MUST_CHECK enum cli_exit datacenter_selector(const struct cli_arguments *arguments, struct buf *ret_text);
