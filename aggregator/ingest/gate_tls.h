/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_INGEST_GATE_TLS_H
#define AGGREGATOR_INGEST_GATE_TLS_H

#include <nng/nng.h>
#include <stdbool.h>

/*
 * Mutual TLS for the gate: GnuTLS as nng's TLS engine, since the one that comes
 * with nng 1.5 neither tells the names of a peer's certificate nor reads its
 * files again. One for the process; servers only.
 */
struct gate_tls_files {
	const char *cert_file, *key_file;
	const char *ca_file; /* who vouches for agents */
};

/*
 * Reads the files and makes nng use them for all connections from now on;
 * those that are there go on with what they began with. Call again to read
 * files that were renewed. -EINVAL: a file, said in the log, and what was in
 * force stays; -ENOMEM.
 */
int gate_tls_use(const struct gate_tls_files *files);

/* The peer's certificate is of this name. False without TLS. Any thread. */
bool gate_tls_peer_is(nng_stream *stream, const char *name);

#endif /* AGGREGATOR_INGEST_GATE_TLS_H */
