#pragma once
/* The objects of one watch: their names and a hash of what labels are made of, and packed themselves where the watch
 * keeps them. It finds out what a list no longer has, and which objects really changed. */
#include "base/map.h"
#include "discovery/kubernetes_object.h"

#define KUBERNETES_OBJECTS_MAX    500000 /* of one watch; Kubernetes is made for 150,000 pods a cluster */
#define KUBERNETES_KEPT_BYTES_MAX GIB    /* of one watch, packed: 150,000 pods take some 300 MiB */

struct kubernetes_watch;

struct kubernetes_dependency { /* a group was made with what this watch knew under a key of this hash */
    struct kubernetes_watch *watch;
    uint64_t key_hash;
};

struct kubernetes_record {
    struct kubernetes_watch *watch;
    uint64_t content;    /* hash of the packed object */
    uint32_t generation; /* of the list that had it last */
    bool dirty;          /* on the list of those whose groups are to be said */
    bool gone;           /* to be taken out when that has been said */
    uint32_t byte_count, dependency_count, key_len;
    uint8_t *bytes; /* packed; NULL: it is not kept */
    struct kubernetes_dependency *dependencies;
    char key[]; /* "namespace/name" or "name" */
};

struct kubernetes_store {
    struct kubernetes_watch *watch;
    enum kubernetes_kind kind;
    struct map records;
    uint64_t kept_bytes;
    uint32_t generation;
    bool listing;
    /* What the page of a list that is being read has had: should it break, it was not seen. */
    struct kubernetes_record **page;
    size_t page_count, page_capacity;
    struct buf packed;
};

void kubernetes_store_init(struct kubernetes_store *store, struct kubernetes_watch *watch, enum kubernetes_kind kind);
void kubernetes_store_done(struct kubernetes_store *store);

uint64_t kubernetes_key_hash(struct str key);
struct str kubernetes_record_key(const struct kubernetes_record *record);
struct str kubernetes_record_bytes(const struct kubernetes_record *record);

struct kubernetes_record *kubernetes_store_find(const struct kubernetes_store *store, struct str key); /* or NULL */
/* Takes an object over, with its bytes. 1: it is new or its content is another one; 0: it is as it was, or has no name
 * (NULL). -E2BIG past a ceiling. */
MUST_CHECK int kubernetes_store_put(struct kubernetes_store *store, const struct json_node *object,
                                    struct kubernetes_record **ret_record);
/* The record of an object by its metadata, or NULL. */
struct kubernetes_record *kubernetes_store_find_object(const struct kubernetes_store *store,
                                                       const struct json_node *object);
void kubernetes_store_drop_bytes(struct kubernetes_store *store, struct kubernetes_record *record);
void kubernetes_store_remove(struct kubernetes_store *store, struct kubernetes_record *record); /* and frees it */

void kubernetes_store_list_begins(struct kubernetes_store *store);
void kubernetes_store_page_begins(struct kubernetes_store *store); /* once more, where one broke */
void kubernetes_store_page_ends(struct kubernetes_store *store);
void kubernetes_store_list_ends(struct kubernetes_store *store);
/* Of a list that is over: walks what it did not have. size_t at = 0; while ((record = ...(store, &at))). */
struct kubernetes_record *kubernetes_store_next_unlisted(const struct kubernetes_store *store, size_t *at);
