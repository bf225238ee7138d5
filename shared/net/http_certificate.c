#include "net/http_certificate.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>

static int verify_chain(gnutls_session_t session)
{
    gnutls_typed_vdata_st purpose = {
        .type = GNUTLS_DT_KEY_PURPOSE_OID,
        .data = (void *)GNUTLS_KP_TLS_WWW_CLIENT,
    };
    unsigned status = 0;
    if (gnutls_certificate_type_get(session) != GNUTLS_CRT_X509)
        return -EACCES;
    if (gnutls_certificate_verify_peers(session, &purpose, 1, &status) != GNUTLS_E_SUCCESS || status != 0)
        return -EACCES;
    return 0;
}

int http_certificate_verify(void *gnutls_session, char ret_name[static HTTP_COMMON_NAME_BYTES_MAX])
{
    unsigned count = 0;
    if (verify_chain(gnutls_session))
        return -EACCES;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(gnutls_session, &count);
    gnutls_x509_crt_t leaf;
    if (!chain || count == 0 || gnutls_x509_crt_init(&leaf) != GNUTLS_E_SUCCESS)
        return -EACCES;
    char name[HTTP_COMMON_NAME_BYTES_MAX];
    size_t len = sizeof(name);
    bool named = gnutls_x509_crt_import(leaf, &chain[0], GNUTLS_X509_FMT_DER) == GNUTLS_E_SUCCESS &&
                 gnutls_x509_crt_get_dn_by_oid(leaf, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &len) == GNUTLS_E_SUCCESS;
    gnutls_x509_crt_deinit(leaf);
    /* A NUL inside would make the name read as another one. */
    if (!named || len == 0 || len >= sizeof(name) || memchr(name, '\0', len))
        return -EACCES;
    memcpy(ret_name, name, len);
    ret_name[len] = '\0';
    return 0;
}

bool http_certificates_sound(const char *pem, size_t len)
{
    gnutls_datum_t text = {(unsigned char *)pem, (unsigned)len};
    gnutls_x509_crt_t *certificates = NULL;
    unsigned count = 0;
    if (gnutls_x509_crt_list_import2(&certificates, &count, &text, GNUTLS_X509_FMT_PEM, 0) < 0)
        return false;
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crt_deinit(certificates[i]);
    gnutls_free(certificates);
    return count > 0;
}
