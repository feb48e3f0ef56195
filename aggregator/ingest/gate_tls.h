/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_INGEST_GATE_TLS_H
#define AGGREGATOR_INGEST_GATE_TLS_H

#include <nng/nng.h>
#include <stdbool.h>
#include <stdint.h>

#include "aggregator/ingest/refusal.h"

/*
 * Mutual TLS for the gate: GnuTLS as nng's TLS engine, because the one of nng
 * 1.5 neither gives the names in a peer's certificate nor reads its files
 * again. One engine per process, servers only.
 */
struct gate_tls_files {
	const char *cert_file, *key_file;
	const char *ca_file; /* CAs that sign agents' certificates */
};

/*
 * Reads the files and makes nng use them for new connections; existing ones
 * keep the credentials they started with. Call it again to read renewed files.
 * -EINVAL: a file cannot be used, which is logged, and the old credentials stay
 * in force; -ENOMEM.
 */
int gate_tls_use(const struct gate_tls_files *files);

/* The peer's certificate has this name; false without TLS. Any thread. */
bool gate_tls_peer_is(nng_stream *stream, const char *name);
/* When the peer's certificate expires, unix time; 0: unknown. Any thread. */
int64_t gate_tls_peer_expires(nng_stream *stream);

/* Why a handshake failed. */
struct gate_tls_failure {
	enum refusal cause; /* REFUSALS: it did not fail */
	char text[160];
};
void gate_tls_why(nng_stream *stream, struct gate_tls_failure *out);

#endif /* AGGREGATOR_INGEST_GATE_TLS_H */
