/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_PERF_RING_H
#define PROBE_AGENT_TLS_PERF_RING_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reads perf's records of processes that map code: those of one event with
 * attr.mmap and attr.mmap2, as linux/perf_event.h lays them out (the layout
 * with maj, min and ino: no build ids, no sample_id_all). Other records of such
 * an event, of forks and exits, are skipped. One thread.
 */
struct perf_ring;

/* The path is the file's name as the process sees it; "[vdso]" is no file. */
struct perf_mapping {
	uint32_t pid; /* in the PID namespace of the event's opener */
	uint64_t device; /* the kernel's number: major << 20 | minor */
	uint64_t inode;
	const char *path; /* lent */
};

typedef void (*perf_ring_fn)(void *arg, const struct perf_mapping *m);

/*
 * fd: the event's, borrowed; bytes: room for records, a power of two, at least
 * one page. Released by perf_ring_close(). -ENOMEM; -EPERM: more memory than
 * kernel.perf_event_mlock_kb allows; …
 */
int perf_ring_open(struct perf_ring **out, int fd, size_t bytes);
void perf_ring_close(struct perf_ring *r); /* NULL is fine */

/*
 * Calls fn for the mappings that are there when this is called. Costs a load
 * and a comparison if there are none.
 */
void perf_ring_drain(struct perf_ring *r, perf_ring_fn fn, void *arg);

/*
 * Records that the kernel had no room for, as far as it has reported them: it
 * does so with the next record that finds room.
 */
uint64_t perf_ring_lost(const struct perf_ring *r);

#endif /* PROBE_AGENT_TLS_PERF_RING_H */
