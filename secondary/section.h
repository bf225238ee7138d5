#pragma once
/* One section of *_sd_configs at work: an instance of its plugin, what that has asked for, and the groups that it says.
 * Here is what discovery_plugin.h promises a plugin: times, back-off, ceilings, and that what was known stays while the
 * other end is away. On discovery's loop. */
#include "groups.h"
#include "net/http_client.h"
#include "net/seams.h"

struct aws_metadata;
struct resolver;
struct section;

struct section_env {    /* what all sections share; must outlive them */
    struct seams seams; /* of discovery's loop */
    struct http_client *http;
    struct resolver *resolver; /* NULL: on a simulated loop, where names are not looked up */
    struct aws_metadata *aws_metadata;
    struct text_pool *texts;
};

struct section_options {
    const struct section_env *env;
    const struct discovery_plugin *plugin;
    void *plugin_state;          /* of its plugin_new */
    const char *text, *base_dir; /* as in struct sd_section */
    const char *job;             /* of the first that has it */
    size_t index;                /* among that job's sections of this plugin */
    loop_fn *changed; /* what it says has become another, or is known for the first time; never from section_new */
    void *arg;
};

/* What plugins may do: for their plugin_new. */
const struct discovery_api *section_api(void);
/* Never NULL: one that cannot start says so as its problem. */
struct section *section_new(const struct section_options *options);
void section_free(struct section *section);
DEFINE_CLEANUP(struct section *, section_free)
/* Whose it is called, from now on. */
void section_set_place(struct section *section, const char *job, size_t index);
/* One that did not start is like none: it is worth another try. */
bool section_is_of(const struct section *section, const struct discovery_plugin *plugin, const char *text);
const struct discovery_plugin *section_plugin(const struct section *section);
const struct groups *section_groups(const struct section *section);
bool section_is_complete(const struct section *section); /* it has said once what there is */

struct section_report {
    const char *plugin, *job;
    size_t index;
    const char *problem;      /* NULL: none */
    int64_t problem_since_ms; /* wall clock */
    int64_t last_good_ms;     /* wall clock, of the last good answer; 0: none */
    bool complete;
    size_t groups, targets;
    size_t calls, in_flight;
    uint64_t requests_total, failures_total, problems_total, bytes_total;
};
/* Views live until the loop turns. */
void section_report(const struct section *section, struct section_report *ret_report);
