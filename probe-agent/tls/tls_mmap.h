/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_MMAP_H
#define PROBE_AGENT_TLS_TLS_MMAP_H

#include <stdint.h>

#include "bpf/tls.h"

/*
 * Reports the processes that map a TLS library. perf writes a record of each
 * mapping of code, by any process, into a small ring per CPU, once the mapping
 * is there. That costs only processes that map code: a tracepoint of the system
 * call mmap would make the kernel take the slow way into and out of every
 * system call of every process while it is attached (70 ns each, measured on
 * 6.18).
 *
 * A mapping wakes no thread. The rings are read by a timer; a file that is
 * named like a TLS library goes through a pipe to the thread that scans such
 * processes. So one thread owns tls_mmap_poll() and tls_mmap_lost(), another
 * one tls_mmap_fd() and tls_mmap_take().
 */
struct tls_mmap;

/*
 * Watches all CPUs that are online. Sets *out, released by tls_mmap_close().
 * -EACCES: needs CAP_PERFMON; -EPERM: more memory than
 * kernel.perf_event_mlock_kb allows; -ENOSYS: a kernel without perf; …
 */
int tls_mmap_open(struct tls_mmap **out);
/* no thread may use it; NULL is fine */
void tls_mmap_close(struct tls_mmap *m);

/*
 * Reads the rings. Call it at least every 20 ms: a ring has room for some 500
 * mappings. Once a minute this opens CPUs that have come online.
 */
void tls_mmap_poll(struct tls_mmap *m);
/* Mappings of any code that did not reach the other thread. */
uint64_t tls_mmap_lost(const struct tls_mmap *m);

/* Readable when there is something to take. */
int tls_mmap_fd(const struct tls_mmap *m);
/*
 * Takes the next mapping of a TLS library; its size is not known and 0. tgid 0:
 * some mappings were lost, or may have been. -EAGAIN: none is there.
 */
int tls_mmap_take(struct tls_mmap *m, struct tls_event *out);

#endif /* PROBE_AGENT_TLS_TLS_MMAP_H */
