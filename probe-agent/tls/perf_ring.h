/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_PERF_RING_H
#define PROBE_AGENT_TLS_PERF_RING_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reads what perf tells of processes that map code: the records of one event
 * with attr.mmap and attr.mmap2, as linux/perf_event.h lays them out (the
 * layout with maj, min and ino: no build ids, no sample_id_all). The others
 * that such an event gives, of forks and ends, are passed over. One thread.
 */
struct perf_ring;

/* The path is the process's own name for the file; "[vdso]" is none. */
struct perf_mapping {
	uint32_t pid; /* as the thread sees it that opened the event */
	uint64_t device; /* as the kernel has it: major << 20 | minor */
	uint64_t inode;
	const char *path; /* lent */
};

typedef void (*perf_ring_fn)(void *arg, const struct perf_mapping *m);

/*
 * fd: of the event, borrowed; bytes: of records, a power of two, of pages.
 * Released by perf_ring_close(). -ENOMEM; -EPERM: more memory than
 * kernel.perf_event_mlock_kb allows; …
 */
int perf_ring_open(struct perf_ring **out, int fd, size_t bytes);
void perf_ring_close(struct perf_ring *r); /* NULL is fine */

/*
 * Hands out the mappings that were there when it was called. A load and a
 * comparison if there are none.
 */
void perf_ring_drain(struct perf_ring *r, perf_ring_fn fn, void *arg);

/*
 * Records that the kernel had no room for, as far as it has told: it does so
 * with the next one that it has room for.
 */
uint64_t perf_ring_lost(const struct perf_ring *r);

#endif /* PROBE_AGENT_TLS_PERF_RING_H */
