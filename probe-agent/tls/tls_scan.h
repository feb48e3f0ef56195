/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_SCAN_H
#define PROBE_AGENT_TLS_TLS_SCAN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Finds the files of processes that may have TLS calls: the executable, and
 * mapped files that are named like a TLS library. Reads /proc only. Files are
 * opened as the process has them, in any container, deleted or not. Stateless;
 * any thread.
 */

/* fd is lent; path is the file's name as the process sees it. */
typedef void (*tls_scan_fn)(void *arg, uint32_t pid, int fd, const char *path);
/* Returns false to end the list of processes. */
typedef bool (*tls_scan_pid_fn)(void *arg, uint32_t pid);

/* Read of one process's maps; what is behind is not seen. */
#define TLS_SCAN_MAPS_BYTES (32u << 20)

/* Is the file named like a TLS library? */
bool tls_scan_is_library(const char *path);

/*
 * Calls found() for the TLS libraries that are installed on the host, with pid
 * 0. Returns their number; 0 also if the folders can't be read.
 */
int tls_scan_host(tls_scan_fn found, void *arg);
/* Calls found() for the executable of a process. 0, or -ESRCH, -EACCES … */
int tls_scan_executable(uint32_t pid, tls_scan_fn found, void *arg);
/*
 * Calls found() for each TLS library that a process maps. Returns their number,
 * or negative errno.
 */
int tls_scan_libraries(uint32_t pid, tls_scan_fn found, void *arg);
/* The same for every file whose code a process maps: at most 512. */
int tls_scan_code(uint32_t pid, tls_scan_fn found, void *arg);
/* Calls each() for all processes. 0 or negative errno. */
int tls_scan_processes(tls_scan_pid_fn each, void *arg);

#endif /* PROBE_AGENT_TLS_TLS_SCAN_H */
