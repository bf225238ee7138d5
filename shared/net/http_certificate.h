#pragma once
/* Inside net: who is at the other end of a TLS session? MHD_OPTION_HTTPS_MEM_TRUST only asks for a certificate; a
 * client without one, or with one of a foreign authority, gets through the handshake and must be found out here. */
#include "base/defs.h"

#define HTTP_COMMON_NAME_BYTES_MAX 256

/* 0 and the subject's common name of a certificate that the trusted authorities signed for use by clients; -EACCES. */
MUST_CHECK int http_certificate_verify(void *gnutls_session, char ret_name[static HTTP_COMMON_NAME_BYTES_MAX]);
/* Does a PEM text hold at least one certificate, and nothing broken among them? MHD takes a file with none in silence.
 */
bool http_certificates_sound(const char *pem, size_t len);
