/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/expose/expose_target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

/* "name=value name=value" of what is shown. */
static const char *shown(const struct snapshot_target *t)
{
	static char out[8192];
	static struct expose_target e;
	size_t at = 0;

	expose_target(&e, t);
	out[0] = '\0';
	for (size_t i = 0; i < e.n; i++)
		at += (size_t)snprintf(out + at, sizeof(out) - at, "%s%s=%s",
				       i ? " " : "", e.label[i].name,
				       e.label[i].value);
	return out;
}

static void leaves_out_what_is_not_known(void **state)
{
	struct snapshot_target t = { .job = "a", .instance = "i", .image = "" };

	(void)state;
	assert_string_equal(shown(&t), "job=a instance=i");
}

static void tells_a_pods_container_from_others(void **state)
{
	struct snapshot_target t = { .job = "a", .container_name = "web" };

	(void)state;
	t.labels = "team=blue";
	assert_string_equal(shown(&t), "job=a container_name=web "
				       "container_label_team=blue");
	t.pod = "p-1";
	assert_string_equal(shown(&t), "job=a k8s_pod_name=p-1 "
				       "k8s_container_name=web "
				       "k8s_pod_label_team=blue");
}

/* A name that is there twice would cost the whole scrape. */
static void gives_every_name_once(void **state)
{
	struct snapshot_target t = { .job = "a", .labels = "a.b=1,a/b=2,c=3" };

	(void)state;
	assert_string_equal(shown(&t), "job=a container_label_a_b=1 "
				       "container_label_c=3");
}

static void decodes_values_and_passes_over_rubbish(void **state)
{
	struct snapshot_target t = {
		.labels = "a=1%2C2%3D%25,%zz=4,noequals,=x,,b=%,c=%0"
	};

	(void)state;
	assert_string_equal(shown(&t), "container_label_a=1,2=% "
				       "container_label__zz=4 "
				       "container_label_=x container_label_b=% "
				       "container_label_c=%0");
}

static void stops_at_its_limits(void **state)
{
	static char many[16384], big[3 * EXPOSE_TARGET_BYTES];
	struct snapshot_target t = { .labels = many };
	static struct expose_target e;
	size_t at = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		at += (size_t)snprintf(many + at, sizeof(many) - at, "k%u=%u,",
				       i, i);
	expose_target(&e, &t);
	assert_int_equal(e.n, EXPOSE_TARGET_CHOSEN);
	assert_string_equal(e.label[15].name, "container_label_k15");
	memset(big, 'x', sizeof(big) - 1);
	memcpy(big, "big=", 4);
	strcpy(big + EXPOSE_TARGET_BYTES, ",z=1");
	t.labels = big;
	assert_string_equal(shown(&t), "container_label_z=1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_out_what_is_not_known),
		cmocka_unit_test(tells_a_pods_container_from_others),
		cmocka_unit_test(gives_every_name_once),
		cmocka_unit_test(decodes_values_and_passes_over_rubbish),
		cmocka_unit_test(stops_at_its_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
