/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_INGEST_GATE_TLS_H
#define AGGREGATOR_INGEST_GATE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "aggregator/ingest/refusal.h"

/*
 * Mutual TLS for the gate's connections, by GnuTLS over non-blocking sockets.
 * A session is for one thread at a time.
 */
struct gate_tls;

struct gate_tls_files {
	const char *cert_file, *key_file;
	const char *ca_file; /* CAs that sign agents' certificates */
};

/*
 * Reads the files for new connections; existing ones keep the credentials they
 * started with. Call it again to read renewed files. -EINVAL: a file cannot be
 * used, which is logged, and the old credentials stay in force; -ENOMEM. Any
 * thread.
 */
int gate_tls_use(const struct gate_tls_files *files);

/*
 * Begins a session on the socket, which stays the caller's. Sets *out, released
 * by gate_tls_close(). -ENOMEM.
 */
int gate_tls_open(struct gate_tls **out, int fd);
void gate_tls_close(struct gate_tls *t); /* NULL is fine */

/* Returns 0: complete; -EAGAIN: call again later; -EPROTO: failed. */
int gate_tls_handshake(struct gate_tls *t);
/* Returns the bytes read, 0 at the end; -EAGAIN, -EIO. */
ssize_t gate_tls_recv(struct gate_tls *t, void *to, size_t len);
/* Returns the bytes taken; -EAGAIN: call again with the same bytes; -EIO. */
ssize_t gate_tls_send(struct gate_tls *t, const void *from, size_t len);

/* The peer's certificate has this name. */
bool gate_tls_peer_is(const struct gate_tls *t, const char *name);
/* When the peer's certificate expires, unix time; 0: unknown. */
int64_t gate_tls_peer_expires(const struct gate_tls *t);

/* Why a handshake failed. */
struct gate_tls_failure {
	enum refusal cause; /* REFUSALS: it did not fail */
	char text[160];
};
const struct gate_tls_failure *gate_tls_why(const struct gate_tls *t);

#endif /* AGGREGATOR_INGEST_GATE_TLS_H */
