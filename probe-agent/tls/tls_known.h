/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_KNOWN_H
#define PROBE_AGENT_TLS_TLS_KNOWN_H

#include <stdint.h>
#include <sys/stat.h>

/*
 * Files that were inspected and left alone, so that they are not inspected
 * again at each start of a program: those without TLS calls for as long as they
 * are not written to, those without a place for a time. A table without a list:
 * a file takes the place of another one with the same hash. Not locked.
 */
struct tls_known;

/* Sets *out, released by tls_known_free(). -ENOMEM. */
int tls_known_new(struct tls_known **out);
void tls_known_free(struct tls_known *k); /* NULL is fine */

/* Remembers a file; retry_ns: until then, 0: as long as it does not change. */
void tls_known_add(struct tls_known *k, const struct stat *st, int why,
		   uint64_t retry_ns);
/* Returns the file's why, or 0 if it is not known. */
int tls_known_why(const struct tls_known *k, const struct stat *st,
		  uint64_t now_ns);

#endif /* PROBE_AGENT_TLS_TLS_KNOWN_H */
