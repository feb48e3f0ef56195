/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder of this processor and the portable one, both against the values
 * that were written. protobuf-c is the truth in test_batch_columns.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/varints_decode.h"

#define MAX 1500

struct column_of {
	uint64_t value[MAX];
	size_t n, len;
	uint8_t bytes[10 * MAX];
};

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void add(struct column_of *c, uint64_t v)
{
	c->value[c->n++] = v;
	for (; v >= 0x80; v >>= 7)
		c->bytes[c->len++] = (uint8_t)(v | 0x80);
	c->bytes[c->len++] = (uint8_t)v;
}

/* At most so many bits, in runs of one width or mixed. */
static void make(struct column_of *c, size_t n, unsigned bits, uint64_t *x)
{
	unsigned width = bits;

	c->n = c->len = 0;
	while (c->n < n) {
		uint64_t r = next_random(x);

		if (r % 50 == 0 || width > bits)
			width = 1 + (unsigned)(r >> 32) % bits;
		add(c, next_random(x) >>
			       (64 - (r & 256 ? width : 1 + (r >> 16) % bits)));
	}
}

/* Of the exact length, so that reading past it is seen. */
static uint8_t *exactly(const struct column_of *c)
{
	uint8_t *p = malloc(c->len);

	assert_non_null(p);
	memcpy(p, c->bytes, c->len);
	return p;
}

static void check(const struct column_of *c, enum varints_kind kind)
{
	size_t width = kind == U32 ? 4 : 8;
	uint8_t *p = exactly(c);
	void *ours = malloc((c->n + VARINTS_SLACK) * width);
	void *portable = malloc((c->n + VARINTS_SLACK) * width);

	assert_int_equal(varints_count(p, c->len), c->n);
	assert_int_equal(decode(p, c->len, portable, c->n, kind), c->n);
	if (kind == U64)
		assert_int_equal(varints_u64(p, c->len, ours, c->n), c->n);
	else if (kind == S64)
		assert_int_equal(varints_s64(p, c->len, ours, c->n), c->n);
	else
		assert_int_equal(varints_u32(p, c->len, ours, c->n), c->n);
	for (size_t i = 0; i < c->n; i++) {
		uint64_t v = c->value[i];

		if (kind == S64)
			v = v & 1 ? ~(v >> 1) : v >> 1;
		if (kind == U32)
			assert_int_equal(((uint32_t *)ours)[i], v);
		else
			assert_int_equal(((uint64_t *)ours)[i], v);
	}
	assert_memory_equal(ours, portable, c->n * width);
	free(ours);
	free(portable);
	free(p);
}

static void both_decoders_read_what_was_written(void **state)
{
	struct column_of *c = calloc(1, sizeof(*c));
	uint64_t x = 88172645463325252u;

	(void)state;
	for (unsigned round = 0; round < 600; round++) {
		size_t n = 1 + next_random(&x) % (round % 4 ? 90 : MAX);

		make(c, n, 1 + round % 64, &x);
		check(c, U64);
		check(c, S64);
		if (round % 64 < 32)
			check(c, U32);
	}
	free(c);
}

/* A value too long for its type, at every place of a long column. */
static void too_long_a_value_is_refused_wherever_it_is(void **state)
{
	struct column_of *c = calloc(1, sizeof(*c));
	uint32_t *out = malloc((MAX + VARINTS_SLACK) * 8);
	uint64_t x = 12345;

	(void)state;
	for (size_t at = 0; at < 300; at++) {
		uint8_t *p;

		make(c, at, 20, &x);
		add(c, UINT64_C(1) << 32);
		for (size_t i = at; i < 300; i++)
			add(c, i);
		p = exactly(c);
		assert_int_equal(varints_u32(p, c->len, out, MAX), -ENOTSUP);
		assert_int_equal(decode(p, c->len, out, MAX, U32), -ENOTSUP);
		free(p);
		c->len = 0;
		for (size_t i = 0; i < 300; i++)
			c->bytes[c->len++] = (uint8_t)(i & 0x7f);
		memset(c->bytes + at, 0x80, 10); /* eleven bytes or more */
		c->bytes[c->len = at < 280 ? 300 : at + 10] = 1;
		c->len++;
		p = exactly(c);
		assert_int_equal(varints_u64(p, c->len, (uint64_t *)out, MAX),
				 -ENOTSUP);
		assert_int_equal(decode(p, c->len, out, MAX, U64), -ENOTSUP);
		free(p);
	}
	free(out);
	free(c);
}

/* Never more than VARINTS_SLACK places beyond the room are touched. */
static void more_values_than_there_is_room_for_are_refused(void **state)
{
	struct column_of *c = calloc(1, sizeof(*c));
	uint64_t x = 777;

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		size_t room, n = 1 + next_random(&x) % MAX;
		uint64_t *out;
		uint8_t *p;

		make(c, n, 1 + round % 30, &x);
		room = next_random(&x) % n;
		p = exactly(c);
		out = malloc((room + VARINTS_SLACK) * sizeof(*out));
		assert_int_equal(varints_u64(p, c->len, out, room), -ENOTSUP);
		assert_int_equal(decode(p, c->len, out, room, U64), -ENOTSUP);
		assert_int_equal(varints_u32(p, c->len, (uint32_t *)out, room),
				 -ENOTSUP);
		free(out);
		free(p);
	}
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_decoders_read_what_was_written),
		cmocka_unit_test(too_long_a_value_is_refused_wherever_it_is),
		cmocka_unit_test(
			more_values_than_there_is_room_for_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
