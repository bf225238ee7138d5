#pragma once
/* Matchers of all kinds, of labels that many, some and no series have: what selects by an index is held against looking
 * at each series. */
#include "metric/matcher.h"

static const struct {
    enum matcher_type type;
    const char *name, *value;
} pool[] = {
    {MATCH_EQUAL, "__name__", "_1"},
    {MATCH_EQUAL, "job", "j2"},
    {MATCH_EQUAL, "job", ""},
    {MATCH_EQUAL, "job", "nobody"},
    {MATCH_EQUAL, "job", "a"},
    {MATCH_EQUAL, "absent", ""},
    {MATCH_EQUAL, "absent", "x"},
    {MATCH_EQUAL, "zabsent", "x"},
    {MATCH_EQUAL, "", ""},
    {MATCH_NOT_EQUAL, "", ""},
    {MATCH_REGEX, "", ".*"},
    {MATCH_NOT_EQUAL, "job", "j1"},
    {MATCH_NOT_EQUAL, "job", ""},
    {MATCH_NOT_EQUAL, "absent", "x"},
    {MATCH_NOT_EQUAL, "absent", ""},
    {MATCH_REGEX, "mode", "m1|m2"},
    {MATCH_REGEX, "mode", "m1|"},
    {MATCH_REGEX, "mode", ".*"},
    {MATCH_REGEX, "mode", ".+"},
    {MATCH_REGEX, "instance", "host-1.*"},
    {MATCH_REGEX, "absent", ".*"},
    {MATCH_REGEX, "absent", ".+"},
    {MATCH_NOT_REGEX, "mode", "m1|m2"},
    {MATCH_NOT_REGEX, "mode", "m1|"},
    {MATCH_NOT_REGEX, "cpu", ".*"},
    {MATCH_NOT_REGEX, "cpu", ".+"},
    {MATCH_NOT_REGEX, "instance", ".*[0-4]"},
    {MATCH_EQUAL, "instance", "host-7"},
    {MATCH_EQUAL, "instance", "host-0"},
    {MATCH_EQUAL, "instance", "host-99"},
    {MATCH_NOT_EQUAL, "instance", "host-8"},
    /* Texts alone, with and without the empty one. */
    {MATCH_REGEX, "instance", "host-(1|2|7|999)"},
    {MATCH_REGEX, "instance", "h[0-9]|h1[0-9]|"},
    {MATCH_NOT_REGEX, "instance", "host-[0-9]|host-1[0-9]|h[0-9]"},
    {MATCH_NOT_REGEX, "job", "|j1"},
    {MATCH_REGEX, "job", "|"},
    {MATCH_NOT_REGEX, "job", ""},
    /* Beginnings, ends, parts: with bounds and without. */
    {MATCH_REGEX, "instance", "h(ost-)?1[0-9]*"},
    {MATCH_REGEX, "instance", "h(ost-)?[2-4]+"},
    {MATCH_REGEX, "instance", ".*3.*"},
    {MATCH_REGEX, "instance", "a|h.*5"},
    {MATCH_REGEX, "instance", "z.*"},
    {MATCH_REGEX, "instance", "A.*"},
    {MATCH_NOT_REGEX, "instance", "h(ost-)?2.+"},
    {MATCH_NOT_REGEX, "instance", "(h.*1)?"},
    {MATCH_REGEX, "instance", "(?i)H.*4"},
    /* Values that wildcards refuse, or only RE2 can tell about. */
    {MATCH_REGEX, "odd", ".*"},
    {MATCH_REGEX, "odd", ".+"},
    {MATCH_NOT_REGEX, "odd", ".*"},
    {MATCH_NOT_REGEX, "odd", ".+"},
    {MATCH_REGEX, "odd", "(?s).+"},
    {MATCH_REGEX, "odd", "o.*b|o.?"},
    {MATCH_NOT_EQUAL, "odd", ""},
    {MATCH_EQUAL, "odd", ""},
};
