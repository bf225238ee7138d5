#pragma once
/* TLS settings that must live as long as the HTTP clients that were given them: each distinct one is kept once, for
 * good. There are as many as an operator has written into the files of one process' life. */
#include "net/http_client.h"
#include "target/access.h"

struct tls_store;

struct tls_store *tls_store_new(void);
void tls_store_free(struct tls_store *store); /* after the clients */
DEFINE_CLEANUP(struct tls_store *, tls_store_free)
/* A copy that lives as long as the store; NULL when nothing is set. */
const struct http_tls *tls_store_keep(struct tls_store *store, const struct access_tls *tls);
