/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "proto/limits.h"
#include "proto/trace.h"

#define BATCHES 13u

static const struct trace_origin origin = {
	.created_by = "test 1.0",
	.source = "web-1",
	.service = "shop=eu",
	.from_us = 1700000000000000,
	.to_us = 1700000600000000,
};

static int to_buf(void *arg, const void *data, size_t len)
{
	return buf_append(arg, data, len);
}

/* Batch i: a length and bytes that only it has; flushed after each third. */
static size_t pattern(unsigned i, uint8_t *to)
{
	size_t len = 1 + (i * 37) % 100;
	uint32_t x = i * 2654435761u + 1;

	for (size_t k = 0; k < len; k++) {
		x = x * 1664525 + 1013904223;
		to[k] = (uint8_t)(x >> 24);
	}
	return len;
}

static void make(struct buf *file, unsigned batches)
{
	struct trace_writer *w;
	uint8_t data[128];

	assert_int_equal(trace_writer_new(&w, &origin, to_buf, file), 0);
	for (unsigned i = 0; i < batches; i++) {
		assert_int_equal(trace_write(w, data, pattern(i, data)), 0);
		if (i % 3 == 2)
			assert_int_equal(trace_flush(w), 0);
	}
	assert_int_equal(trace_written(w), batches);
	assert_int_equal(trace_end(w), 0);
	trace_writer_free(w);
}

/* Every batch that comes is the pattern's; returns how many, *end how. */
static unsigned read_all(const void *data, size_t len, int *end,
			 const char **damage)
{
	char copy[16384];
	struct trace_reader *r;
	const void *batch;
	uint8_t want[128];
	unsigned n = 0;
	size_t size;
	FILE *f;

	assert_true(len > 0 && len <= sizeof(copy));
	memcpy(copy, data, len);
	f = fmemopen(copy, len, "r");
	assert_non_null(f);
	*end = trace_reader_new(&r, f);
	*damage = NULL;
	if (*end == 0) {
		while ((*end = trace_read(r, &batch, &size)) == 1) {
			assert_int_equal(size, pattern(n, want));
			assert_memory_equal(batch, want, size);
			n++;
		}
		assert_int_equal(trace_batches(r), n);
		*damage = trace_damage(r);
		/* It stays as it is. */
		assert_int_equal(trace_read(r, &batch, &size), *end);
		trace_reader_free(r);
	}
	fclose(f);
	return n;
}

static void gives_back_batches_and_origin(void **state)
{
	struct buf file = { 0 };
	struct trace_reader *r;
	const char *damage;
	FILE *f;
	int end;

	(void)state;
	make(&file, BATCHES);
	assert_int_equal(read_all(file.data, file.len, &end, &damage), BATCHES);
	assert_int_equal(end, 0);
	assert_null(damage);
	f = fmemopen(file.data, file.len, "r");
	assert_int_equal(trace_reader_new(&r, f), 0);
	assert_string_equal(trace_origin(r)->created_by, "test 1.0");
	assert_string_equal(trace_origin(r)->source, "web-1");
	assert_string_equal(trace_origin(r)->service, "shop=eu");
	assert_int_equal(trace_origin(r)->from_us, origin.from_us);
	assert_int_equal(trace_origin(r)->to_us, origin.to_us);
	trace_reader_free(r);
	fclose(f);
	buf_fini(&file);
}

static void takes_an_empty_trace(void **state)
{
	struct buf file = { 0 };
	const char *damage;
	int end;

	(void)state;
	make(&file, 0);
	assert_int_equal(read_all(file.data, file.len, &end, &damage), 0);
	assert_int_equal(end, 0);
	buf_fini(&file);
}

static void reads_up_to_every_cut(void **state)
{
	struct buf file = { 0 };
	unsigned n, before = 0;
	const char *damage;
	uint32_t text;
	int end;

	(void)state;
	make(&file, BATCHES);
	memcpy(&text, file.data + 12, 4);
	for (size_t len = 1; len < file.len; len++) {
		n = read_all(file.data, len, &end, &damage);
		assert_int_equal(end, -EPROTO);
		/* Within the head it is no trace file at all. */
		assert_true((damage != NULL) == (len >= 16 + text));
		assert_true(n >= before);
		before = n;
	}
	assert_int_equal(before, BATCHES);
	buf_fini(&file);
}

/* What was flushed is there, without the end. */
static void keeps_what_was_flushed_before_a_crash(void **state)
{
	struct buf file = { 0 };
	struct trace_writer *w;
	uint8_t data[128];
	const char *damage;
	int end;

	(void)state;
	assert_int_equal(trace_writer_new(&w, &origin, to_buf, &file), 0);
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(trace_write(w, data, pattern(i, data)), 0);
	assert_int_equal(trace_flush(w), 0);
	trace_writer_free(w);
	assert_int_equal(read_all(file.data, file.len, &end, &damage), 7);
	assert_int_equal(end, -EPROTO);
	assert_string_equal(damage, "file ends early");
	buf_fini(&file);
}

static void never_gives_a_batch_that_was_not_written(void **state)
{
	struct buf file = { 0 };
	const char *damage;
	uint32_t text;
	int end;

	(void)state;
	make(&file, BATCHES);
	memcpy(&text, file.data + 12, 4);
	/* Behind the provenance every flipped bit is found (read_all checks
	 * what comes), or was one that does not matter. */
	for (size_t i = 16 + text; i < file.len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			unsigned n;

			file.data[i] ^= (char)(1u << bit);
			n = read_all(file.data, file.len, &end, &damage);
			assert_true(end == -EPROTO || n == BATCHES);
			file.data[i] ^= (char)(1u << bit);
		}
	}
	buf_fini(&file);
}

static void refuses_other_files_and_newer_versions(void **state)
{
	struct buf file = { 0 };
	const char *damage;
	int end;

	(void)state;
	make(&file, 1);
	file.data[8] = 2;
	read_all(file.data, file.len, &end, &damage);
	assert_int_equal(end, -ENOTSUP);
	read_all("127.0.0.1 - - [01/Jan/2026", 26, &end, &damage);
	assert_int_equal(end, -EPROTO);
	buf_fini(&file);
}

static void refuses_what_no_reader_would_take(void **state)
{
	struct trace_origin lines = { .source = "a\nservice=b" };
	struct buf file = { 0 };
	struct trace_writer *w;
	char *big = calloc(1, LIMIT_MESSAGE_BYTES + 1);

	(void)state;
	assert_int_equal(trace_writer_new(&w, &lines, to_buf, &file), -EINVAL);
	assert_int_equal(trace_writer_new(&w, &origin, to_buf, &file), 0);
	assert_int_equal(trace_write(w, big, 0), -EMSGSIZE);
	assert_int_equal(trace_write(w, big, LIMIT_MESSAGE_BYTES + 1),
			 -EMSGSIZE);
	trace_writer_free(w);
	buf_fini(&file);
	free(big);
}

static int full(void *arg, const void *data, size_t len)
{
	size_t *room = arg;

	(void)data;
	if (len > *room)
		return -ENOSPC;
	*room -= len;
	return 0;
}

static void says_that_the_disk_is_full(void **state)
{
	size_t room = 200;
	struct trace_writer *w;
	uint8_t data[128];

	(void)state;
	assert_int_equal(trace_writer_new(&w, &origin, full, &room), 0);
	for (unsigned i = 0; i < BATCHES; i++)
		assert_int_equal(trace_write(w, data, pattern(i, data)), 0);
	assert_int_equal(trace_flush(w), -ENOSPC);
	assert_int_equal(trace_write(w, data, 1), -ENOSPC);
	assert_int_equal(trace_end(w), -ENOSPC);
	trace_writer_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_back_batches_and_origin),
		cmocka_unit_test(takes_an_empty_trace),
		cmocka_unit_test(reads_up_to_every_cut),
		cmocka_unit_test(keeps_what_was_flushed_before_a_crash),
		cmocka_unit_test(never_gives_a_batch_that_was_not_written),
		cmocka_unit_test(refuses_other_files_and_newer_versions),
		cmocka_unit_test(refuses_what_no_reader_would_take),
		cmocka_unit_test(says_that_the_disk_is_full),
	};

	return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
