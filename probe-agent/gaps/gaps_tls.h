/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_GAPS_GAPS_TLS_H
#define PROBE_AGENT_GAPS_GAPS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which TLS code the files of a process hold, and whether the agent can attach
 * to it. TLS code is recognised by two labels that its standards make every
 * implementation hash, and which therefore stand in its file also without
 * symbols: "key expansion" up to TLS 1.2 (RFC 5246, 6.3) and "s ap traffic" of
 * TLS 1.3 (RFC 8446, 7.1). Files are read, never mapped, and remembered, so
 * that each is read once. Not locked.
 */
struct gaps_tls;

enum gaps_tls_code {
	GAPS_TLS_KNOWN = 1 << 0, /* the agent attaches to it */
	GAPS_TLS_PROGRAM = 1 << 1, /* in the executable, without symbols */
	GAPS_TLS_GO = 1 << 2, /* in an executable made by Go */
	GAPS_TLS_JAVA = 1 << 3, /* a Java machine, whose classes have TLS */
	GAPS_TLS_LIBRARY = 1 << 4, /* in another library */
};

#define GAPS_TLS_FILES_MAX 8192u
#define GAPS_TLS_FILE_BYTES_MAX (UINT64_C(512) << 20) /* read of one file */
#define GAPS_TLS_BYTES_MAX (UINT64_C(8) << 30) /* read of all files */

/* Sets *out, released by gaps_tls_free(). -ENOMEM. */
int gaps_tls_new(struct gaps_tls **out);
void gaps_tls_free(struct gaps_tls *t); /* NULL is fine */

/*
 * Returns the bits of enum gaps_tls_code. -ESRCH, -EACCES and others: the
 * process or its files can't be read.
 */
int gaps_tls_of(struct gaps_tls *t, uint32_t pid);

/* Files that were not inspected, or not to their end, because of a cap. */
uint64_t gaps_tls_left_out(const struct gaps_tls *t);

/* Is there TLS code in that open file? go: has Go made it? 0 or -errno. */
int gaps_tls_search(int fd, uint64_t max_bytes, bool *has_tls, bool *go);

#endif /* PROBE_AGENT_GAPS_GAPS_TLS_H */
