/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/perf_event.h>

#include "probe-agent/tls/perf_ring.h"

/*
 * A file with the pages of a ring as the kernel lays them out, and a writer
 * that does what kernel/events/ring_buffer.c does: what there is no room for
 * is counted, and told of before the next record that there is room for.
 */
#define RING_BYTES 16384u

struct fake {
	int fd;
	size_t mapped;
	struct perf_event_mmap_page *page;
	uint8_t *records;
	uint64_t unsaid; /* records without room */
};

static int set_up(void **state)
{
	struct fake *f = calloc(1, sizeof(*f));
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *at;

	f->mapped = page + RING_BYTES;
	f->fd = memfd_create("ring", MFD_CLOEXEC);
	if (f->fd < 0 || ftruncate(f->fd, (off_t)f->mapped))
		return -1;
	at = mmap(NULL, f->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd,
		  0);
	if (at == MAP_FAILED)
		return -1;
	f->page = at;
	f->records = (uint8_t *)at + page;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fake *f = *state;

	munmap(f->page, f->mapped);
	close(f->fd);
	free(f);
	return 0;
}

static void put(struct fake *f, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i++)
		f->records[f->page->data_head++ % RING_BYTES] = p[i];
}

/* Whether there was room. */
static bool record(struct fake *f, uint32_t type, const void *body, size_t n)
{
	const struct perf_event_header head = {
		.type = type,
		.misc = PERF_RECORD_MISC_USER,
		.size = (uint16_t)(sizeof(head) + n),
	};
	const size_t lost = f->unsaid ? sizeof(head) + 16 : 0;
	const uint64_t used = f->page->data_head - f->page->data_tail;

	assert_int_equal(head.size % 8, 0);
	if (used + lost + head.size > RING_BYTES) {
		f->unsaid++;
		return false;
	}
	if (lost) {
		const uint64_t said[2] = { 7, f->unsaid };

		f->unsaid = 0;
		record(f, PERF_RECORD_LOST, said, sizeof(said));
	}
	put(f, &head, sizeof(head));
	put(f, body, n);
	return true;
}

/* PERF_RECORD_MMAP2, filled as perf_event_mmap_event() does. */
static bool mapping(struct fake *f, uint32_t pid, const char *path)
{
	uint8_t body[64 + 4096] = { 0 };
	const uint32_t who[2] = { pid, pid + 1 }, device[2] = { 8, 3 };
	const uint64_t place[3] = { 0x7f0000001000, 0x2000, 0x1000 };
	const uint64_t inode[2] = { 1000 + pid, 77 };
	const uint32_t prot[2] = { 5, 2 };

	memcpy(body, who, 8);
	memcpy(body + 8, place, 24);
	memcpy(body + 32, device, 8);
	memcpy(body + 40, inode, 16);
	memcpy(body + 56, prot, 8);
	strcpy((char *)body + 64, path);
	return record(f, PERF_RECORD_MMAP2, body,
		      64 + (strlen(path) / 8 + 1) * 8);
}

/* What was handed out. */
struct got {
	unsigned n;
	uint32_t pid; /* of the last */
	uint64_t device, inode;
	char path[4096];
};

static void on_mapping(void *arg, const struct perf_mapping *m)
{
	struct got *g = arg;

	g->n++;
	g->pid = m->pid;
	g->device = m->device;
	g->inode = m->inode;
	snprintf(g->path, sizeof(g->path), "%s", m->path);
}

static struct perf_ring *open_ring(const struct fake *f)
{
	struct perf_ring *r;

	assert_int_equal(perf_ring_open(&r, f->fd, RING_BYTES), 0);
	return r;
}

/* 1009 mappings, names of all lengths: each place where the ring can end. */
static void mappings_come_whole_wherever_the_ring_ends(void **state)
{
	struct fake *f = *state;
	struct perf_ring *r = open_ring(f);
	struct got g = { 0 };
	unsigned torn = 0;
	char path[4096];

	for (unsigned i = 1; i <= 1009; i++) {
		const size_t len = 8 + i * 37 % 4000;
		const uint64_t from = f->page->data_head % RING_BYTES;

		memset(path, 'a' + (int)(i % 26), len);
		memcpy(path, "/lib", 4);
		path[len] = '\0';
		assert_true(mapping(f, i, path));
		torn += f->page->data_head % RING_BYTES < from;
		perf_ring_drain(r, on_mapping, &g);
		assert_int_equal(g.n, i);
		assert_int_equal(g.pid, i);
		assert_int_equal(g.device, 8 << 20 | 3);
		assert_int_equal(g.inode, 1000 + i);
		assert_string_equal(g.path, path);
		assert_int_equal(f->page->data_tail, f->page->data_head);
	}
	assert_true(torn > 100);
	assert_int_equal(perf_ring_lost(r), 0);
	perf_ring_close(r);
}

static void what_else_perf_tells_is_passed_over(void **state)
{
	struct fake *f = *state;
	struct perf_ring *r = open_ring(f);
	struct got g = { 0 };
	const uint64_t fork[3] = { 0 };

	record(f, PERF_RECORD_FORK, fork, sizeof(fork));
	mapping(f, 1, "/usr/lib/libssl.so.3");
	record(f, PERF_RECORD_EXIT, fork, sizeof(fork));
	mapping(f, 2, "[vdso]");
	record(f, 0x7fff, fork, 8);
	perf_ring_drain(r, on_mapping, &g);
	assert_int_equal(g.n, 2);
	assert_int_equal(g.pid, 2);
	assert_int_equal(perf_ring_lost(r), 0);
	perf_ring_drain(r, on_mapping, &g);
	assert_int_equal(g.n, 2);
	perf_ring_close(r);
}

/* Written + lost = all, however often the ring is full. */
static void mappings_without_room_are_counted(void **state)
{
	struct fake *f = *state;
	struct perf_ring *r = open_ring(f);
	struct got g = { 0 };
	unsigned all = 0, lost = 0;

	for (unsigned round = 0; round < 11; round++) {
		for (unsigned i = 0; i < 307; i++, all++)
			lost += !mapping(f, 1 + i, "/usr/lib/libc.so.6");
		perf_ring_drain(r, on_mapping, &g);
	}
	assert_true(lost > 1000);
	/* The next record reports the last ones lost. */
	assert_true(perf_ring_lost(r) < lost);
	mapping(f, 1, "/usr/lib/libc.so.6");
	perf_ring_drain(r, on_mapping, &g);
	assert_int_equal(perf_ring_lost(r), lost);
	assert_int_equal(g.n, all - lost + 1);
	perf_ring_close(r);
}

/* A ring that some other reader has read before. */
static void reading_goes_on_where_it_ended(void **state)
{
	struct fake *f = *state;
	struct perf_ring *r = open_ring(f);
	struct got g = { 0 };

	mapping(f, 1, "/lib/a");
	perf_ring_drain(r, on_mapping, &g);
	perf_ring_close(r);
	mapping(f, 2, "/lib/b");
	r = open_ring(f);
	perf_ring_drain(r, on_mapping, &g);
	assert_int_equal(g.n, 2);
	assert_string_equal(g.path, "/lib/b");
	perf_ring_close(r);
}

/* Sizes that can't be: what was in the ring is given up, and counted. */
static void what_is_no_record_is_given_up(void **state)
{
	static const uint16_t sizes[] = { 0, 7, 12, 4096 };
	struct fake *f = *state;
	struct perf_ring *r = open_ring(f);
	struct got g = { 0 };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct perf_event_header head = { .type = PERF_RECORD_MMAP2,
						  .size = sizes[i] };

		mapping(f, 1, "/lib/good");
		put(f, &head, sizeof(head));
		mapping(f, 2, "/lib/behind");
		perf_ring_drain(r, on_mapping, &g);
		assert_int_equal(g.n, i + 1);
		assert_int_equal(g.pid, 1);
		assert_int_equal(perf_ring_lost(r), i + 1);
		assert_int_equal(f->page->data_tail, f->page->data_head);
	}
	perf_ring_close(r);
}

/* Too short to have a name, a name without its end, and one without bytes. */
static void mappings_without_a_name_are_passed_over(void **state)
{
	struct fake *f = *state;
	struct perf_ring *r = open_ring(f);
	struct got g = { 0 };
	uint8_t body[72];

	memset(body, 'x', sizeof(body));
	record(f, PERF_RECORD_MMAP2, body, 8);
	record(f, PERF_RECORD_MMAP2, body, 64);
	record(f, PERF_RECORD_MMAP2, body, 72);
	record(f, PERF_RECORD_LOST, body, 8);
	mapping(f, 3, "");
	perf_ring_drain(r, on_mapping, &g);
	assert_int_equal(g.n, 1);
	assert_string_equal(g.path, "");
	assert_int_equal(perf_ring_lost(r), 0);
	perf_ring_close(r);
}

static void what_is_no_ring_is_refused(void **state)
{
	struct perf_ring *r;

	(void)state;
	assert_int_equal(perf_ring_open(&r, -1, RING_BYTES), -EBADF);
	assert_null(r);
	perf_ring_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			mappings_come_whole_wherever_the_ring_ends, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			what_else_perf_tells_is_passed_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			mappings_without_room_are_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(reading_goes_on_where_it_ended,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_record_is_given_up,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			mappings_without_a_name_are_passed_over, set_up,
			tear_down),
		cmocka_unit_test(what_is_no_ring_is_refused),
	};

	return cmocka_run_group_tests_name("perf_ring", tests, NULL, NULL);
}
