/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aggregator/ledger/ledger_info.h"

static struct batch_info info_of(const char *version, size_t n,
				 const char *const *probes,
				 const uint32_t *attached)
{
	return (struct batch_info){ .version = version,
				    .kernel = "6.1",
				    .capture = "fentry",
				    .n_probes = n,
				    .probes = probes,
				    .probe_attached = attached };
}

static void agents_that_say_the_same_share_it(void **state)
{
	static const char *const probes[] = { "read", "write" };
	static const uint32_t both[] = { 1, 1 }, one[] = { 1, 0 };
	struct ledger_info *a, *b, *c, *d;
	struct ledger_infos *t;
	struct batch_info in = info_of("1.0", 2, probes, both);
	size_t bytes;

	(void)state;
	assert_int_equal(ledger_infos_new(&t), 0);
	assert_int_equal(ledger_infos_get(t, &in, &a), 0);
	bytes = ledger_infos_bytes(t);
	assert_int_equal(ledger_infos_get(t, &in, &b), 0);
	assert_ptr_equal(a, b);
	assert_int_equal(ledger_infos_bytes(t), bytes);
	in.probe_attached = one;
	assert_int_equal(ledger_infos_get(t, &in, &c), 0);
	assert_ptr_not_equal(a, c);
	in.probe_attached = both;
	in.version = "1.1";
	assert_int_equal(ledger_infos_get(t, &in, &d), 0);
	assert_ptr_not_equal(a, d);
	assert_string_equal(d->said.version, "1.1");
	assert_string_equal(d->said.probes[1], "write");
	/* The last one takes it out of the table. */
	ledger_infos_drop(t, a);
	ledger_infos_drop(t, c);
	ledger_infos_drop(t, d);
	assert_int_equal(ledger_infos_bytes(t), bytes);
	ledger_infos_drop(t, b);
	assert_int_equal(ledger_infos_bytes(t), 0);
	ledger_infos_free(t);
}

static void what_a_snapshot_holds_outlives_its_agent(void **state)
{
	struct batch_info in = info_of("1.0", 0, NULL, NULL);
	struct ledger_info *a;
	const struct ledger_info *held;
	struct ledger_infos *t;

	(void)state;
	assert_int_equal(ledger_infos_new(&t), 0);
	assert_int_equal(ledger_infos_get(t, &in, &a), 0);
	held = ledger_info_hold(a);
	ledger_infos_drop(t, a);
	ledger_infos_free(t);
	assert_string_equal(held->said.kernel, "6.1");
	ledger_info_rele(held);
	ledger_info_rele(NULL);
}

static void what_is_too_long_is_cut_and_no_name_is_there_twice(void **state)
{
	char text[400];
	const char *probes[300];
	static uint32_t attached[300];
	char name[300][8];
	struct batch_info in = info_of(text, 300, probes, attached);
	struct ledger_info *a;
	struct ledger_infos *t;

	(void)state;
	memset(text, 'v', sizeof(text));
	text[399] = '\0';
	/* The cut must not be inside a character: "é" are two bytes. */
	memcpy(text + LEDGER_INFO_LABEL_BYTES - 1, "\xc3\xa9", 2);
	for (size_t i = 0; i < 300; i++) {
		snprintf(name[i], sizeof(name[i]), "p%zu", i / 2);
		probes[i] = name[i];
		attached[i] = i % 2 == 0;
	}
	probes[0] = text;
	assert_int_equal(ledger_infos_new(&t), 0);
	assert_int_equal(ledger_infos_get(t, &in, &a), 0);
	assert_int_equal(strlen(a->said.version), LEDGER_INFO_LABEL_BYTES - 1);
	assert_int_equal(a->said.n_probes, LEDGER_INFO_PROBES);
	assert_int_equal(strlen(a->said.probes[0]), LEDGER_INFO_PROBE_BYTES);
	for (size_t i = 0; i < a->said.n_probes; i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(a->said.probes[i],
						a->said.probes[k]);
	/* Of two with one name, the first counts. */
	assert_string_equal(a->said.probes[2], "p1");
	assert_int_equal(a->said.probe_attached[2], 1);
	ledger_infos_drop(t, a);
	ledger_infos_free(t);
}

static void beyond_its_room_probes_are_left_out_and_counted(void **state)
{
	enum { AGENTS = 4000 };
	char name[LEDGER_INFO_PROBES][LEDGER_INFO_PROBE_BYTES + 1];
	const char *probes[LEDGER_INFO_PROBES];
	static uint32_t attached[LEDGER_INFO_PROBES];
	static struct ledger_info *a[AGENTS];
	struct ledger_infos *t;
	size_t with = 0;

	(void)state;
	assert_int_equal(ledger_infos_new(&t), 0);
	for (size_t i = 0; i < AGENTS; i++) {
		struct batch_info in =
			info_of("1", LEDGER_INFO_PROBES, probes, attached);

		for (size_t k = 0; k < LEDGER_INFO_PROBES; k++) {
			snprintf(name[k], sizeof(name[k]), "%04zu-%03zu-%086d",
				 i, k, 0);
			probes[k] = name[k];
		}
		assert_int_equal(ledger_infos_get(t, &in, &a[i]), 0);
		with += a[i]->said.n_probes > 0;
	}
	assert_true(ledger_infos_bytes(t) <= LEDGER_INFO_TABLE_BYTES + 4096);
	assert_true(with > 1000 && with < AGENTS);
	assert_int_equal(ledger_infos_cut(t), AGENTS - with);
	/* All without probes say the same. */
	assert_ptr_equal(a[AGENTS - 1], a[AGENTS - 2]);
	for (size_t i = 0; i < AGENTS; i++)
		ledger_infos_drop(t, a[i]);
	assert_int_equal(ledger_infos_bytes(t), 0);
	ledger_infos_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agents_that_say_the_same_share_it),
		cmocka_unit_test(what_a_snapshot_holds_outlives_its_agent),
		cmocka_unit_test(
			what_is_too_long_is_cut_and_no_name_is_there_twice),
		cmocka_unit_test(
			beyond_its_room_probes_are_left_out_and_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
