/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/tap/tap_ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/bpf.h>

/*
 * As the kernel lays it out (kernel/bpf/ringbuf.c, since 5.8):
 *
 *	page 0	position of the consumer; the only one we may write
 *	page 1	position of the producer
 *	then	the records, and the same pages again
 *
 * A record: 32 bits of length with two flags, 32 bits for the kernel's own use,
 * and its bytes, padded to a multiple of 8.
 */
struct tap_ring {
	unsigned long *consumer;
	const unsigned long *producer;
	const uint8_t *records;
	size_t page, mapped; /* bytes */
	uint64_t mask;
};

int tap_ring_open(struct tap_ring **out, int fd, uint32_t bytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct tap_ring *r = calloc(1, sizeof(*r));
	void *at;
	int err;

	*out = NULL;
	if (!r)
		return -ENOMEM;
	r->page = page;
	r->mask = bytes - 1;
	at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		goto failed;
	r->consumer = at;
	at = mmap(NULL, page + bytes + page, PROT_READ, MAP_SHARED, fd,
		  (off_t)page);
	if (at == MAP_FAILED)
		goto failed;
	r->producer = at;
	r->records = (const uint8_t *)at + page;
	r->mapped = page + bytes + page;
	*out = r;
	return 0;
failed:
	err = -errno;
	tap_ring_close(r);
	return err;
}

void tap_ring_close(struct tap_ring *r)
{
	if (!r)
		return;
	if (r->mapped)
		munmap((void *)(uintptr_t)r->producer, r->mapped);
	if (r->consumer)
		munmap(r->consumer, r->page);
	free(r);
}

#define LINE_BYTES 64u
#define AHEAD_BYTES 512u /* a record or two */

/* Prefetches records: other CPUs wrote them. */
static void fetch(const struct tap_ring *r, unsigned long at, size_t bytes)
{
	const uint8_t *p = r->records + (at & r->mask);

	for (size_t i = 0; i < bytes; i += LINE_BYTES)
		__builtin_prefetch(p + i);
}

/*
 * Both positions are in cache lines that every writer of a record needs: so the
 * producer's is read once, and the consumer's is written only now and then.
 */
uint64_t tap_ring_drain(struct tap_ring *r, tap_record_fn fn, void *arg)
{
	const unsigned long begin = *r->consumer;
	const unsigned long end =
		__atomic_load_n(r->producer, __ATOMIC_ACQUIRE);
	unsigned long at = begin, told = begin;

	while (at != end) {
		const uint8_t *head = r->records + (at & r->mask);
		uint32_t len = __atomic_load_n((const uint32_t *)head,
					       __ATOMIC_ACQUIRE);
		uint32_t size = len & ~BPF_RINGBUF_DISCARD_BIT;

		if (len & BPF_RINGBUF_BUSY_BIT)
			break; /* being filled: left for the next time */
		size = (size + BPF_RINGBUF_HDR_SZ + 7) / 8 * 8;
		fetch(r, at + AHEAD_BYTES, size);
		if (!(len & BPF_RINGBUF_DISCARD_BIT)) {
			assert(len <= TAP_RING_RECORD_MAX);
			fn(arg, head + BPF_RINGBUF_HDR_SZ, len);
		}
		at += size;
		if (at - told > r->mask / 16) {
			__atomic_store_n(r->consumer, at, __ATOMIC_RELEASE);
			told = at;
		}
	}
	if (at != told)
		__atomic_store_n(r->consumer, at, __ATOMIC_RELEASE);
	return at - begin;
}
