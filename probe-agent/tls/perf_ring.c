/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tls/perf_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/perf_event.h>

/*
 * A page with the positions, then the records: a header of 64 bits and the
 * rest, a multiple of 8 bytes in all. A record that does not fit before the end
 * wraps around. Positions only grow.
 */
struct perf_ring {
	struct perf_event_mmap_page *page;
	const uint8_t *records;
	size_t bytes, mapped;
	uint64_t at; /* our position */
	uint64_t lost;
	/* A record that wraps around, put together. */
	_Alignas(8) uint8_t whole[8192];
};

/* PERF_RECORD_MMAP2 */
struct mapped {
	struct perf_event_header head;
	uint32_t pid, tid;
	uint64_t addr, len, pgoff;
	uint32_t maj, min;
	uint64_t ino, ino_generation;
	uint32_t prot, flags;
	char path[]; /* NUL-terminated */
};

/* PERF_RECORD_LOST */
struct lost {
	struct perf_event_header head;
	uint64_t id, lost;
};

int perf_ring_open(struct perf_ring **out, int fd, size_t bytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct perf_ring *r = calloc(1, sizeof(*r));
	void *at;
	int err;

	*out = NULL;
	if (!r)
		return -ENOMEM;
	/* Writable: the kernel then reuses only what we have read. */
	at = mmap(NULL, page + bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		  0);
	if (at == MAP_FAILED) {
		err = -errno;
		free(r);
		return err;
	}
	r->page = at;
	r->records = (const uint8_t *)at + page;
	r->bytes = bytes;
	r->mapped = page + bytes;
	r->at = r->page->data_tail;
	*out = r;
	return 0;
}

void perf_ring_close(struct perf_ring *r)
{
	if (!r)
		return;
	munmap(r->page, r->mapped);
	free(r);
}

/* The record at r->at, in one piece; NULL: longer than any that we need. */
static const struct perf_event_header *
record(struct perf_ring *r, const struct perf_event_header *head)
{
	const size_t from = r->at & (r->bytes - 1);
	const size_t first = r->bytes - from;

	if (head->size <= first)
		return head;
	if (head->size > sizeof(r->whole))
		return NULL;
	memcpy(r->whole, r->records + from, first);
	memcpy(r->whole + first, r->records, head->size - first);
	return (const struct perf_event_header *)r->whole;
}

static void hand_out(struct perf_ring *r, const struct perf_event_header *head,
		     perf_ring_fn fn, void *arg)
{
	const struct mapped *m = (const struct mapped *)head;
	const struct lost *l = (const struct lost *)head;
	struct perf_mapping mapping;

	if (head->type == PERF_RECORD_LOST && head->size >= sizeof(*l))
		r->lost += l->lost;
	if (head->type != PERF_RECORD_MMAP2 || head->size <= sizeof(*m) ||
	    !memchr(m->path, '\0', head->size - sizeof(*m)))
		return;
	mapping = (struct perf_mapping){
		.pid = m->pid,
		.device = (uint64_t)m->maj << 20 | m->min,
		.inode = m->ino,
		.path = m->path,
	};
	fn(arg, &mapping);
}

void perf_ring_drain(struct perf_ring *r, perf_ring_fn fn, void *arg)
{
	const uint64_t end =
		__atomic_load_n(&r->page->data_head, __ATOMIC_ACQUIRE);
	const struct perf_event_header *head, *whole;

	if (r->at == end)
		return;
	while (r->at != end) {
		/* A header never wraps around: the ring is a multiple of 8. */
		head = (const struct perf_event_header *)(r->records +
							  (r->at &
							   (r->bytes - 1)));
		if (head->size < sizeof(*head) || head->size % 8 ||
		    head->size > end - r->at) {
			/* not a record, so what follows is useless */
			r->lost++;
			r->at = end;
			break;
		}
		whole = record(r, head);
		if (whole)
			hand_out(r, whole, fn, arg);
		r->at += head->size;
	}
	__atomic_store_n(&r->page->data_tail, end, __ATOMIC_RELEASE);
}

uint64_t perf_ring_lost(const struct perf_ring *r)
{
	return r->lost;
}
