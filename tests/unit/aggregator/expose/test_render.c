/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <unistd.h>

#include "aggregator/expose/render.h"
#include "common/clock.h"
#include "tests/unit/aggregator/sample_snapshot.h"

static atomic_uint taken;
static unsigned take_ms;
static bool no_memory;

static const struct snapshot *take(void *arg)
{
	(void)arg;
	atomic_fetch_add(&taken, 1);
	usleep(take_ms * 1000);
	return no_memory ? NULL : &sample;
}

static void rele(const struct snapshot *s)
{
	(void)s;
}

static struct render *make(size_t budget)
{
	struct render_options o = { .take = take,
				    .rele = rele,
				    .budget_bytes = budget };
	struct render *r;

	atomic_store(&taken, 0);
	take_ms = 0;
	no_memory = false;
	assert_int_equal(render_new(&r, &o), 0);
	return r;
}

static struct rendering *get(struct render *r, enum expose_format format,
			     bool gzip, uint64_t arrived_ns)
{
	struct rendering *g;

	assert_int_equal(render_get(r, format, gzip, arrived_ns, &g), 0);
	return g;
}

static void who_came_before_the_snapshot_shares_it(void **state)
{
	struct render *r = make(0);
	uint64_t before_ns = clock_mono_ns();
	struct rendering *first = get(r, EXPOSE_TEXT, false, before_ns);

	(void)state;
	for (int i = 0; i < 19; i++) {
		struct rendering *g = get(r, EXPOSE_TEXT, false, before_ns);

		assert_ptr_equal(g, first);
		rendering_rele(g);
	}
	assert_int_equal(atomic_load(&taken), 1);
	/* Who comes now must see what was committed in between. */
	rendering_rele(get(r, EXPOSE_TEXT, false, clock_mono_ns()));
	assert_int_equal(atomic_load(&taken), 2);
	rendering_rele(first);
	render_free(r);
}

static void gzip_is_made_of_the_same_rendering(void **state)
{
	struct render *r = make(0);
	uint64_t before_ns = clock_mono_ns();
	struct rendering *plain = get(r, EXPOSE_TEXT, false, before_ns);
	struct rendering *a = get(r, EXPOSE_TEXT, true, before_ns);
	struct rendering *b = get(r, EXPOSE_TEXT, true, before_ns);

	(void)state;
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, plain);
	assert_true(rendering_len(a) * 4 < rendering_len(plain));
	assert_int_equal(atomic_load(&taken), 1);
	rendering_rele(a);
	rendering_rele(b);
	rendering_rele(plain);
	render_free(r);
}

/* Each asks right after the other: without a bound, a core would be gone. */
static void a_flood_does_not_take_more_than_its_share(void **state)
{
	struct render *r = make(0);
	uint64_t end_ns, asked = 0;
	unsigned before;

	(void)state;
	take_ms = 100;
	/* The allowance for bursts goes first: 2 s, refilled by a third. */
	end_ns = clock_mono_ns() + 4 * CLOCK_NS_PER_S;
	while (clock_mono_ns() < end_ns)
		rendering_rele(get(r, EXPOSE_TEXT, false, clock_mono_ns()));
	before = atomic_load(&taken);
	end_ns = clock_mono_ns() + 3 * CLOCK_NS_PER_S;
	for (; clock_mono_ns() < end_ns; asked++) {
		rendering_rele(get(r, EXPOSE_TEXT, false, clock_mono_ns()));
		usleep(1000);
	}
	/* A third of 3 s is 10 renderings of 0.1 s; some slack for the ends. */
	assert_true(atomic_load(&taken) - before <= 15);
	assert_true(asked > 100);
	render_free(r);
}

static void beyond_the_budget_the_oldest_is_cut(void **state)
{
	struct render *r = make(1);
	struct rendering *g[13];
	char c;
	unsigned whole = 0;
	bool seen = false;

	(void)state;
	for (int i = 0; i < 13; i++)
		g[i] = get(r, EXPOSE_TEXT, false, clock_mono_ns());
	for (int i = 0; i < 13; i++) {
		ssize_t n = rendering_read(g[i], 0, &c, 1);

		assert_true(n == 1 || n == -ESTALE);
		/* The cut ones are the oldest. */
		assert_false(seen && n != 1);
		seen |= n == 1;
		whole += n == 1;
	}
	/* At least three of the largest always fit. */
	assert_true(whole >= 2 && whole <= 4);
	for (int i = 0; i < 13; i++)
		rendering_rele(g[i]);
	render_free(r);
}

static void reading_in_pieces_gives_the_whole(void **state)
{
	struct render *r = make(0);
	struct rendering *g = get(r, EXPOSE_OPENMETRICS, false, 0);
	size_t len = rendering_len(g), at = 0;
	char *all = malloc(len + 1), *pieces = malloc(len + 1);

	(void)state;
	assert_int_equal(rendering_read(g, 0, all, len + 1), len);
	while (at < len) {
		ssize_t n = rendering_read(g, at, pieces + at, 61);

		assert_true(n > 0);
		at += (size_t)n;
	}
	assert_int_equal(rendering_read(g, len, pieces, 61), 0);
	assert_int_equal(rendering_read(g, len + 1, pieces, 61), 0);
	assert_memory_equal(all, pieces, len);
	assert_memory_equal(all + len - 6, "# EOF\n", 6);
	free(all);
	free(pieces);
	rendering_rele(g);
	render_free(r);
}

static void no_memory_for_a_snapshot_is_an_error_that_passes(void **state)
{
	struct render *r = make(0);
	struct rendering *g;

	(void)state;
	no_memory = true;
	assert_int_equal(render_get(r, EXPOSE_TEXT, true, clock_mono_ns(), &g),
			 -ENOMEM);
	assert_null(g);
	no_memory = false;
	rendering_rele(get(r, EXPOSE_TEXT, true, clock_mono_ns()));
	render_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_came_before_the_snapshot_shares_it),
		cmocka_unit_test(gzip_is_made_of_the_same_rendering),
		cmocka_unit_test(a_flood_does_not_take_more_than_its_share),
		cmocka_unit_test(beyond_the_budget_the_oldest_is_cut),
		cmocka_unit_test(reading_in_pieces_gives_the_whole),
		cmocka_unit_test(
			no_memory_for_a_snapshot_is_an_error_that_passes),
	};

	return cmocka_run_group_tests_name("render", tests, NULL, NULL);
}
