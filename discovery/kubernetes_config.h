#pragma once
/* A section of kubernetes_sd_configs. */
#include "discovery/kubernetes_object.h"
#include "target/access.h"

struct kubernetes_selector {
    int role; /* enum kubernetes_kind */
    const char *label, *field;
};

struct kubernetes_config {
    int role; /* enum kubernetes_kind */
    struct access_kubernetes server;
    struct access access;
    struct {
        bool own;
        struct conf_strings names;
    } namespaces;
    struct conf_list selectors; /* of struct kubernetes_selector */
    struct {
        bool node, name_space;
    } attach_metadata;
};

extern const struct conf_table kubernetes_config_table;

/* The kinds that the section reads, as bits 1 << kind. */
unsigned kubernetes_config_kinds(const struct kubernetes_config *config);
/* The selector of a kind's objects, or NULL. */
const struct kubernetes_selector *kubernetes_config_selector(const struct kubernetes_config *config,
                                                             enum kubernetes_kind kind);
