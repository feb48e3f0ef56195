/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_TLS_H
#define AGGREGATOR_WEB_WEB_TLS_H

#include "aggregator/web/web_config.h"

/*
 * Certificates for the listeners. Read again for every handshake, as
 * exporter-toolkit does, so a renewed certificate needs no restart.
 */

/* Before the listeners start; c is borrowed for good. One program, one c. */
void web_tls_init(const struct web_config *c);

/* A gnutls_certificate_retrieve_function3 *, without gnutls' types here. */
void *web_tls_retrieve(void);

/* GnuTLS priorities that fit the configuration. Static. */
const char *web_tls_priorities(const struct web_config *c);

/* Is the peer of this gnutls_session_t as client_auth_type wants it? */
int web_tls_check_peer(const struct web_config *c, void *session);

/* Reads a file for the trust list; NUL-terminated, the caller's. */
char *web_tls_read(const char *path);

#endif /* AGGREGATOR_WEB_WEB_TLS_H */
