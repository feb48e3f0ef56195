/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_ELFSYM_H
#define PROBE_AGENT_TLS_ELFSYM_H

#include <stddef.h>
#include <stdint.h>

/*
 * Finds functions in an ELF file (64 bit, little endian) by name, in one pass
 * over its symbol tables. The file may come from any container: it is only
 * read, never mapped, and nothing in it is trusted. Stateless.
 */

/*
 * Sets offset[i] to the offset in the file of the function names[i], 0 if there
 * is none; 1 <= n <= 32. Returns the number found; -ENOEXEC: not an ELF file of
 * this kind; -E2BIG: tables over the limits; -EPROTO: broken; or the error of
 * reading it.
 */
int elfsym_find(int fd, const char *const *names, size_t n, uint64_t *offset);

#endif /* PROBE_AGENT_TLS_ELFSYM_H */
