/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_CALLS_H
#define PROBE_AGENT_TLS_TLS_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The functions through which TLS libraries move plain text, where they are in
 * a file, and the program that belongs on the entry of each. Nothing in the
 * file is trusted. Stateless.
 */

#define TLS_CALLS 10u

/* The name of the program on the entry of call i. Static. */
const char *tls_calls_program(size_t i);

/*
 * Sets offset[i] to the offset in the file of call i, 0: not there. Returns 0.
 * -ENOEXEC: none that moves plain text; or an error of elfsym_find().
 */
int tls_calls_find(int fd, uint64_t offset[TLS_CALLS], const bool *stop);

#endif /* PROBE_AGENT_TLS_TLS_CALLS_H */
