/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_ELFSYM_H
#define PROBE_AGENT_TLS_ELFSYM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Finds functions in an ELF file (64 bit, little endian) by name, in its symbol
 * tables. The file may come from any container: it is only read, never mapped,
 * and nothing in it is trusted. What it may cost is bounded, whatever its
 * headers claim: one table of each kind is read, in parts of 64 KiB, and no
 * more than the limits below. Stateless.
 */

#define ELFSYM_NAMES_MAX 32u
#define ELFSYM_SECTIONS_MAX 16384u
#define ELFSYM_BYTES_MAX (UINT64_C(256) << 20) /* read of one file */
#define ELFSYM_CPU_NS_MAX UINT64_C(500000000) /* spent on one file */

/*
 * Sets offset[i] to the offset in the file of the function names[i], 0 if there
 * is none; 1 <= n <= ELFSYM_NAMES_MAX. Returns the number found; -ENOEXEC: not
 * an ELF file of this kind; -E2BIG: over a limit; -EPROTO: broken; -ECANCELED:
 * *stop became true meanwhile; or the error of reading it. stop may be NULL,
 * and may be set by any thread.
 */
int elfsym_find(int fd, const char *const *names, size_t n, uint64_t *offset,
		const bool *stop);

#endif /* PROBE_AGENT_TLS_ELFSYM_H */
