/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bpf/tap.h"
#include "tests/unit/probe-agent/http/h2_kernel.h"

/*
 * Bytes that resemble frames, on connections that were joined late: none of
 * them may be taken for a request. REDTAP_CHANCE=N makes N calls of each kind;
 * the proof is one with 100000000.
 */

#define CALLS_DEFAULT 500000ull
#define CALLS_PER_CONNECTION 100
#define CALL_MAX 640

static uint64_t events, pairs;

static void on_exchange(void *owner, const struct h2_exchange *x)
{
	(void)owner;
	(void)x;
	events++;
}

static bool refused;

static void on_piece(void *arg, const struct h2_piece *p)
{
	if (!refused && h2_data(arg, p))
		refused = true;
}

static uint64_t seed = 88172645463325252ull;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull >> 16;
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)(next_random() % n);
}

static void put_random(uint8_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)next_random();
}

/* --- kinds of calls; each returns its length --- */

static size_t random_bytes(uint8_t *out)
{
	size_t n = 1 + below(CALL_MAX - 1);

	put_random(out, n);
	return n;
}

static size_t put_head(uint8_t *out, size_t len, uint8_t type, uint8_t flags,
		       uint32_t stream)
{
	out[0] = (uint8_t)(len >> 16);
	out[1] = (uint8_t)(len >> 8);
	out[2] = (uint8_t)len;
	out[3] = type;
	out[4] = flags;
	for (int i = 0; i < 4; i++)
		out[5 + i] = (uint8_t)(stream >> (24 - 8 * i));
	return 9;
}

/* A number that is easy to hit again, or one that is not. */
static uint32_t some_stream(void)
{
	return below(4) ? 1 + 2 * below(16) : 1 | (below(INT32_MAX));
}

/* A frame of each type with length, flags and stream as they should be. */
static size_t put_frame(uint8_t *out, uint8_t type, size_t len)
{
	static const uint8_t flags[] = { 0x01, 0x05, 0, 0, 0,
					 0x04, 0,    0, 0, 0x04 };
	static const uint8_t sizes[] = { 0, 0, 5, 4, 6, 0, 8, 8, 4, 0 };
	static const uint8_t of_none[] = { 0, 0, 0, 0, 1, 0, 1, 1, 0, 0 };
	uint8_t f = flags[type];

	if (sizes[type])
		len = sizes[type];
	if (f & 0x04)
		f = below(8) ? f : f & 1;
	put_head(out, len, type, (uint8_t)(f & (below(2) ? 0xff : 0xfe)),
		 of_none[type] ? 0 : some_stream());
	put_random(out + 9, len);
	if (type == 5)
		memset(out + 9, 0, 3);
	return 9 + len;
}

static size_t frames_of_all_types(uint8_t *out)
{
	size_t n = 0;

	for (uint32_t i = below(4) + 1; i; i--)
		n += put_frame(out + n, (uint8_t)below(10), 4 + below(100));
	return n;
}

static size_t frames_of_headers(uint8_t *out)
{
	size_t n = 0;

	for (uint32_t i = below(4) + 1; i; i--)
		n += put_frame(out + n, 1, 1 + below(below(2) ? 6 : 60));
	return n;
}

/* --- playing them --- */

static uint64_t calls_wanted(void)
{
	const char *n = getenv("REDTAP_CHANCE");

	return n ? strtoull(n, NULL, 10) : CALLS_DEFAULT;
}

/* A connection, until it is refused. Returns the number of its calls. */
static uint64_t play(struct h2_env *env, size_t (*make)(uint8_t *out))
{
	static const uint32_t pos[2];
	struct h2_kernel k = { .piece_max = TAP_PIECE_MAX, .sink = on_piece };
	uint8_t call[2 * CALL_MAX];
	struct h2 *h;
	int i;

	refused = false;
	assert_int_equal(h2_new(&h, env, H2_START_JOINED, 0, NULL), 0);
	k.arg = h;
	h2_kernel_connect(&k, H2_START_JOINED, TAP_RX, pos);
	for (i = 0; i < CALLS_PER_CONNECTION && !refused; i++)
		h2_kernel_call(&k, below(2) ? TAP_RX : TAP_TX, call, make(call),
			       1, 2);
	h2_close(h, OUTCOME_ABORTED, 3);
	h2_free(h);
	return (uint64_t)i;
}

static void assert_none(size_t (*make)(uint8_t *out))
{
	const struct h2_options opt = { .exchange = on_exchange };
	struct h2_stats stats;
	struct h2_env *env;

	events = 0;
	assert_int_equal(h2_env_new(&env, &opt), 0);
	for (uint64_t n = 0; n < calls_wanted();)
		n += play(env, make);
	h2_env_stats(env, &stats);
	h2_env_free(env);
	assert_int_equal(events, 0);
	assert_int_equal(stats.connections, 0);
	pairs += stats.lost_gap;
}

static void random_bytes_are_no_requests(void **state)
{
	(void)state;
	assert_none(random_bytes);
}

static void frames_with_random_content_are_no_requests(void **state)
{
	(void)state;
	assert_none(frames_of_all_types);
}

static void headers_with_random_blocks_are_no_requests(void **state)
{
	(void)state;
	assert_none(frames_of_headers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_bytes_are_no_requests),
		cmocka_unit_test(frames_with_random_content_are_no_requests),
		cmocka_unit_test(headers_with_random_blocks_are_no_requests),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	print_message("# %llu requests would be lost, for want of proof\n",
		      (unsigned long long)pairs);
	return failed;
}
