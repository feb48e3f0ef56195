/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_TLS_MMAP_H
#define PROBE_AGENT_TLS_TLS_MMAP_H

#include <stdint.h>

#include "bpf/tls.h"

/*
 * Who maps a TLS library? perf tells of each mapping of code by any process,
 * into a small ring for each CPU, once the mapping is there. That costs who
 * maps, and nobody else: a tracepoint of the system call mmap would make the
 * kernel take the slow way into and out of every system call of every process
 * while it is attached (70 ns each, measured on 6.18).
 *
 * Nobody is woken by a mapping. The rings are read by a timer; what is called
 * like a TLS library goes through a pipe to who looks into such processes. So
 * tls_mmap_poll() and tls_mmap_lost() are one thread's, tls_mmap_fd() and
 * tls_mmap_take() another one's.
 */
struct tls_mmap;

/*
 * Watches all CPUs that are there. -EACCES: needs CAP_PERFMON; -EPERM: more
 * memory than kernel.perf_event_mlock_kb allows; -ENOSYS: a kernel without
 * perf; … Sets *out, released by tls_mmap_close().
 */
int tls_mmap_open(struct tls_mmap **out);
void tls_mmap_close(struct tls_mmap *m); /* no thread uses it; NULL is fine */

/*
 * Reads the rings. Call it every 20 ms at least: a ring has room for some
 * 500 mappings. Once a minute it looks for CPUs that have come, or come back.
 */
void tls_mmap_poll(struct tls_mmap *m);
/* Mappings of any code that did not reach the other thread. */
uint64_t tls_mmap_lost(const struct tls_mmap *m);

/* To wait at until there is something to take. */
int tls_mmap_fd(const struct tls_mmap *m);
/*
 * The next mapping of a TLS library; its size is not known: 0. tgid 0: some
 * were lost, or may have been. -EAGAIN: none is there.
 */
int tls_mmap_take(struct tls_mmap *m, struct tls_event *out);

#endif /* PROBE_AGENT_TLS_TLS_MMAP_H */
