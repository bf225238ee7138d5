#pragma once
/* What all sections of kubernetes_sd_configs share: watches of a kind's objects, each there once per API server,
 * identity and selector however many sections use it, and gone with the last of them. What a watch asks for goes
 * through the host of one of its sections, the asker; when that one stops another takes over from where it was.
 *
 * What is known is kept in the watches only, and changes in this order: an answer's bytes change records, those and
 * the records whose groups were made with them are dirty, and when the bytes are read the groups of what is dirty are
 * made anew and said. */
#include "discovery/kubernetes_config.h"
#include "target/discovery_plugin.h"

struct kubernetes_hub;
struct kubernetes_section;

struct kubernetes_hub *kubernetes_hub_new(const struct discovery_api *api);
void kubernetes_hub_free(struct kubernetes_hub *hub); /* after its last section */

/* config must live as long as the section. */
struct kubernetes_section *kubernetes_section_new(struct kubernetes_hub *hub, struct discovery_host *host,
                                                  const struct kubernetes_config *config);
/* What it had asked for is over. */
void kubernetes_section_free(struct kubernetes_section *section);
/* Once: joins its watches of these namespaces, none: of all. */
void kubernetes_section_watch(struct kubernetes_section *section, const char *const *namespaces, size_t count);
