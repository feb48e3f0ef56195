/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_SCAN_H
#define PROBE_AGENT_TLS_TLS_SCAN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Which files with TLS calls does a process use? Looks at /proc only: the
 * executable, and what is mapped and called like a TLS library. Files are
 * opened as the process has them, in whatever container, deleted or not.
 * Stateless; any thread.
 */

/* fd is lent; path is the process's own name for it. */
typedef void (*tls_scan_fn)(void *arg, uint32_t pid, int fd, const char *path);

/* Is the file called like a TLS library? */
bool tls_scan_is_library(const char *path);

/*
 * Calls found() for the libraries where the host keeps them, pid 0. Their
 * number: 0 also if the folders can't be read.
 */
int tls_scan_host(tls_scan_fn found, void *arg);
/* … for the executable of a process. 0, or -ESRCH, -EACCES … */
int tls_scan_executable(uint32_t pid, tls_scan_fn found, void *arg);
/* … for each mapped library. Their number, or negative errno. */
int tls_scan_libraries(uint32_t pid, tls_scan_fn found, void *arg);
/* … for both, of all processes. 0, or negative errno. */
int tls_scan_all(tls_scan_fn found, void *arg);

#endif /* PROBE_AGENT_TLS_TLS_SCAN_H */
