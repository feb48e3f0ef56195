/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_INGEST_GATE_CREDENTIALS_H
#define AGGREGATOR_INGEST_GATE_CREDENTIALS_H

#include <gnutls/gnutls.h>

#include "aggregator/ingest/gate.h"
#include "aggregator/ingest/gate_tls.h"

/*
 * The content of the TLS files: one set in force per process, shared by the
 * connections that started with it. Any thread.
 */
struct gate_credentials;

/* As gate_tls_use(). */
int gate_credentials_use(const struct gate_tls_files *files);

/* Returns the set in force, released by _rele(); NULL: there is none yet. */
struct gate_credentials *gate_credentials_hold(void);
void gate_credentials_rele(struct gate_credentials *c); /* NULL is fine */
gnutls_certificate_credentials_t
gate_credentials_cert(const struct gate_credentials *c);

#endif /* AGGREGATOR_INGEST_GATE_CREDENTIALS_H */
