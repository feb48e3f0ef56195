/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_TLS_H
#define AGGREGATOR_WEB_WEB_TLS_H

#include "aggregator/web/web_config.h"

/*
 * Certificates for the listeners. They are read for every handshake, as in
 * Prometheus' exporter-toolkit, so a renewed certificate needs no restart.
 */

/*
 * Call before the listeners start. Borrows c until the program ends; there is
 * one configuration per process.
 */
void web_tls_init(const struct web_config *c);

/* Returns a gnutls_certificate_retrieve_function3 *, without its type. */
void *web_tls_retrieve(void);

/* Returns the GnuTLS priority string for the configuration. Static. */
const char *web_tls_priorities(const struct web_config *c);

/*
 * Checks the peer of a gnutls_session_t against client_auth_type. -EACCES: its
 * certificate is missing or invalid.
 */
int web_tls_check_peer(const struct web_config *c, void *session);

/*
 * Reads a file as a NUL-terminated string, released by free(). NULL on error.
 */
char *web_tls_read(const char *path);

#endif /* AGGREGATOR_WEB_WEB_TLS_H */
