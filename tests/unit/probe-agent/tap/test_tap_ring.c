/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/bpf.h>

#include "probe-agent/tap/tap_ring.h"

/*
 * A file with the pages of a ring as the kernel lays them out, and a writer
 * that does what bpf_ringbuf_reserve(), _submit() and _discard() do.
 */
#define RING_BYTES 16384u

struct fake {
	int fd;
	size_t page;
	uint8_t *at; /* consumer, producer, records, and their first page again
		      */
	unsigned long end; /* as the producer's page has it */
};

static int set_up(void **state)
{
	struct fake *f = calloc(1, sizeof(*f));
	size_t len;

	f->page = (size_t)sysconf(_SC_PAGESIZE);
	len = 3 * f->page + RING_BYTES;
	f->fd = memfd_create("ring", MFD_CLOEXEC);
	if (f->fd < 0 || ftruncate(f->fd, (off_t)len))
		return -1;
	f->at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	*state = f;
	return f->at == MAP_FAILED ? -1 : 0;
}

static int tear_down(void **state)
{
	struct fake *f = *state;

	munmap(f->at, 3 * f->page + RING_BYTES);
	close(f->fd);
	free(f);
	return 0;
}

static unsigned long consumed(const struct fake *f)
{
	return *(const unsigned long *)f->at;
}

/* One byte of the ring; those of the first page are there twice. */
static void put(struct fake *f, unsigned long pos, uint8_t byte)
{
	size_t i = pos % RING_BYTES;

	f->at[2 * f->page + i] = byte;
	if (i < f->page)
		f->at[2 * f->page + RING_BYTES + i] = byte;
}

/* The position of its head. */
static unsigned long reserve(struct fake *f, uint32_t len, uint8_t fill)
{
	const uint32_t head[2] = { len | BPF_RINGBUF_BUSY_BIT, 0 };
	unsigned long at = f->end;

	f->end += (len + sizeof(head) + 7) / 8 * 8;
	assert_true(f->end - consumed(f) <= RING_BYTES);
	for (size_t i = 0; i < sizeof(head); i++)
		put(f, at + i, ((const uint8_t *)head)[i]);
	for (size_t i = 0; i < len; i++)
		put(f, at + sizeof(head) + i, fill);
	*(unsigned long *)(f->at + f->page) = f->end;
	return at;
}

static void finish(struct fake *f, unsigned long at, uint32_t head)
{
	for (size_t i = 0; i < sizeof(head); i++)
		put(f, at + i, ((const uint8_t *)&head)[i]);
}

static void submit(struct fake *f, uint32_t len, uint8_t fill)
{
	finish(f, reserve(f, len, fill), len);
}

/* What was handed out: lengths, and whether all bytes were as filled. */
struct got {
	unsigned n, bad;
	uint8_t first; /* fill of the first */
	uint64_t bytes;
};

static int on_record(void *arg, const void *record, size_t len)
{
	const uint8_t *p = record;
	struct got *g = arg;

	if (!g->n)
		g->first = len ? p[0] : 0;
	for (size_t i = 0; i < len; i++)
		g->bad += p[i] != (uint8_t)(g->first + g->n);
	g->n++;
	g->bytes += len;
	return 0;
}

static struct tap_ring *open_ring(const struct fake *f)
{
	struct tap_ring *r;

	assert_int_equal(tap_ring_open(&r, f->fd, RING_BYTES), 0);
	return r;
}

/* 1009 records of all lengths: 90 times around. */
static void records_come_whole_and_in_order_wherever_the_ring_ends(void **state)
{
	struct fake *f = *state;
	struct tap_ring *r = open_ring(f);
	unsigned long before;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < 1009; i++) {
		struct got g = { 0 };
		uint32_t len = 1 + i * 37 % 3001;

		submit(f, len, (uint8_t)i);
		submit(f, 5, (uint8_t)(i + 1));
		bytes += len + 5;
		before = consumed(f);
		assert_int_equal(tap_ring_drain(r, on_record, &g),
				 f->end - before);
		assert_int_equal(g.n, 2);
		assert_int_equal(g.bad, 0);
		assert_int_equal(g.bytes, len + 5);
		assert_int_equal(consumed(f), f->end);
	}
	assert_true(bytes > 80 * RING_BYTES);
	tap_ring_close(r);
}

static void a_record_that_is_being_filled_holds_up_those_behind_it(void **state)
{
	struct fake *f = *state;
	struct tap_ring *r = open_ring(f);
	struct got g = { 0 };
	unsigned long busy;

	submit(f, 24, 1);
	busy = reserve(f, 40, 2);
	submit(f, 16, 3);
	assert_int_equal(tap_ring_drain(r, on_record, &g), 8 + 24);
	assert_int_equal(g.n, 1);
	assert_int_equal(consumed(f), busy);
	assert_int_equal(tap_ring_drain(r, on_record, &g), 0);
	finish(f, busy, 40);
	assert_int_equal(tap_ring_drain(r, on_record, &g), 8 + 40 + 8 + 16);
	assert_int_equal(g.n, 3);
	assert_int_equal(g.bad, 0);
	assert_int_equal(g.bytes, 24 + 40 + 16);
	tap_ring_close(r);
}

static void discarded_records_are_passed_over(void **state)
{
	struct fake *f = *state;
	struct tap_ring *r = open_ring(f);
	struct got g = { 0 };

	submit(f, 8, 1);
	finish(f, reserve(f, 100, 9), 100 | BPF_RINGBUF_DISCARD_BIT);
	submit(f, 8, 2);
	assert_int_equal(tap_ring_drain(r, on_record, &g), 8 + 8 + 112 + 8 + 8);
	assert_int_equal(g.n, 2);
	assert_int_equal(g.bad, 0);
	assert_int_equal(g.bytes, 16);
	assert_int_equal(consumed(f), f->end);
	tap_ring_close(r);
}

/* A writer that goes on while the ring is read, and how much it could write. */
struct busy_writer {
	struct fake *f;
	unsigned long end; /* when reading began */
	unsigned n;
	unsigned long behind; /* most bytes that were read and still taken */
};

static int write_one_more(void *arg, const void *record, size_t len)
{
	struct busy_writer *w = arg;
	unsigned long read;

	(void)record;
	read = ++w->n * ((len + 8 + 7) / 8 * 8);
	if (read - consumed(w->f) > w->behind)
		w->behind = read - consumed(w->f);
	if (w->f->end + 264 - consumed(w->f) <= RING_BYTES)
		submit(w->f, 256, 1);
	return 0;
}

static void room_is_given_back_while_the_ring_is_read(void **state)
{
	struct fake *f = *state;
	struct tap_ring *r = open_ring(f);
	struct busy_writer w = { .f = f };

	while (f->end + 264 <= RING_BYTES)
		submit(f, 256, 1);
	w.end = f->end;
	/* What is written meanwhile has its turn the next time. */
	assert_int_equal(tap_ring_drain(r, write_one_more, &w), w.end);
	assert_int_equal(w.n, RING_BYTES / 264);
	assert_int_equal(consumed(f), w.end);
	assert_true(f->end > w.end + RING_BYTES / 2);
	assert_true(w.behind <= RING_BYTES / 16 + 2 * 264);
	tap_ring_close(r);
}

static void what_is_no_ring_is_refused(void **state)
{
	struct tap_ring *r;

	(void)state;
	assert_int_equal(tap_ring_open(&r, -1, RING_BYTES), -EBADF);
	assert_null(r);
	tap_ring_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			records_come_whole_and_in_order_wherever_the_ring_ends,
			set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_record_that_is_being_filled_holds_up_those_behind_it,
			set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			discarded_records_are_passed_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			room_is_given_back_while_the_ring_is_read, set_up,
			tear_down),
		cmocka_unit_test(what_is_no_ring_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
