/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_CONFIG_RANGES_H
#define TESTS_UNIT_CONFIG_RANGES_H

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * What both programs' tests of ranges share: every number of the configuration
 * has a range, and is held to it. Include it behind cmocka, said, and the
 * config.c under test, whose schema says which numbers there are, in a file
 * that names CONFIG, CONFIG_LOAD, CONFIG_FREE and CONFIG_ARGP.
 */

struct range_case {
	const char *key;
	uint64_t min, max;
	/* Of a file: before and behind the value, which is at line:column. */
	const char *before, *behind;
	const char *place;
	const char *flag; /* with its value's unit below, or NULL */
	const char *unit;
};

/* Set by run_range_tests(). */
static const struct range_case *cases;
static size_t n_cases;
static const char *aliased;
#define RANGE_TEXTS_MAX 8

/* Values that are not in the range, as texts. */
static unsigned range_bad(const struct range_case *c,
			  char text[RANGE_TEXTS_MAX][40])
{
	unsigned n = 0;

	snprintf(text[n++], 40, "%" PRIu64, c->min - 1);
	snprintf(text[n++], 40, "%" PRIu64, c->max + 1);
	snprintf(text[n++], 40, "-5");
	snprintf(text[n++], 40, "soon");
	snprintf(text[n++], 40, "1e3");
	snprintf(text[n++], 40, "99999999999999999999");
	snprintf(text[n++], 40, "''");
	return n;
}

static const struct range_case *range_find(const char *key)
{
	for (size_t i = 0; i < n_cases; i++)
		if (strcmp(cases[i].key, key) == 0)
			return &cases[i];
	return NULL;
}

static size_t range_audit_fields(const cyaml_schema_field_t *field,
				 const char *path);

/* How many numbers there are; each must be among the cases. */
static size_t range_audit(const cyaml_schema_value_t *v, const char *path)
{
	switch (v->type) {
	case CYAML_MAPPING:
		return range_audit_fields(v->mapping.fields, path);
	case CYAML_SEQUENCE:
		return range_audit(v->sequence.entry, path);
	case CYAML_INT:
	case CYAML_UINT:
		if (!range_find(path))
			fail_msg("%s has no range", path);
		return 1;
	default:
		return 0;
	}
}

static size_t range_audit_fields(const cyaml_schema_field_t *field,
				 const char *path)
{
	size_t found = 0;
	char *key;

	for (; field->key; field++) {
		assert_true(asprintf(&key, "%s%s%s", path, *path ? "." : "",
				     field->key) > 0);
		found += range_audit(&field->value, key);
		free(key);
	}
	return found;
}

/* Loads a file with a flag; what was logged last is in said. */
static int try_load(const char *text, const char *flag)
{
	char path[] = "/tmp/redtap-ranges.XXXXXX", file[64], arg[128];
	char *argv[] = { file, file, arg, NULL };
	struct cli_settings flags = { .n = 0 };
	CONFIG *cfg = NULL;
	int fd = mkstemp(path), err;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	snprintf(file, sizeof(file), "--config.file=%s", path);
	snprintf(arg, sizeof(arg), "%s", flag ? flag : "");
	assert_int_equal(
		argp_parse(&CONFIG_ARGP, flag ? 3 : 2, argv, 0, NULL, &flags),
		0);
	*said = '\0';
	err = CONFIG_LOAD(&cfg, &flags);
	CONFIG_FREE(cfg);
	unlink(path);
	return err;
}

static void every_number_has_a_range(void **state)
{
	(void)state;
	assert_int_equal(range_audit(&schema, ""), n_cases);
	assert_int_equal(config_n_ranges, n_cases);
	for (size_t i = 0; i < config_n_ranges; i++)
		assert_non_null(range_find(config_ranges[i].key));
}

static void a_file_is_told_where_and_what_is_allowed(void **state)
{
	char bad[RANGE_TEXTS_MAX][40], text[512], want[256];

	(void)state;
	for (size_t i = 0; i < n_cases; i++) {
		const struct range_case *c = &cases[i];
		unsigned n = range_bad(c, bad);
		const uint64_t good[] = { c->min, c->max };

		for (unsigned k = 0; k < 2; k++) {
			snprintf(text, sizeof(text), "%s%" PRIu64 "%s\n",
				 c->before, good[k], c->behind);
			if (try_load(text, NULL) != 0)
				fail_msg("%s said: %s", text, said);
		}
		for (unsigned k = 0; k < n; k++) {
			snprintf(text, sizeof(text), "%s%s%s\n", c->before,
				 bad[k], c->behind);
			assert_int_equal(try_load(text, NULL), -EINVAL);
			snprintf(want, sizeof(want),
				 " from %" PRIu64 " to %" PRIu64, c->min,
				 c->max);
			if (!strstr(said, want) || !strstr(said, c->key) ||
			    !strstr(said, c->place))
				fail_msg("%s said: %s", text, said);
		}
	}
}

static void a_flag_is_held_to_the_same_range(void **state)
{
	char flag[128], want[64];

	(void)state;
	for (size_t i = 0; i < n_cases; i++) {
		const struct range_case *c = &cases[i];
		const uint64_t values[] = { c->min, c->max, c->min - 1,
					    c->max + 1 };

		for (unsigned k = 0; c->flag && k < 4; k++) {
			int err;

			snprintf(flag, sizeof(flag), "%s=%" PRIu64 "%s",
				 c->flag, values[k], c->unit);
			err = try_load("", flag);
			snprintf(want, sizeof(want),
				 " from %" PRIu64 " to %" PRIu64, c->min,
				 c->max);
			if (err != (k < 2 ? 0 : -EINVAL) ||
			    (k >= 2 && !strstr(said, want)))
				fail_msg("%s: %d, said: %s", flag, err, said);
		}
	}
}

static void an_alias_is_no_way_around(void **state)
{
	(void)state;
	assert_int_equal(try_load(aliased, NULL), -EINVAL);
	assert_non_null(strstr(said, "is out of "));
}
static int run_range_tests(const struct range_case *all, size_t n,
			   const char *with_alias)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_number_has_a_range),
		cmocka_unit_test(a_file_is_told_where_and_what_is_allowed),
		cmocka_unit_test(a_flag_is_held_to_the_same_range),
		cmocka_unit_test(an_alias_is_no_way_around),
	};

	cases = all;
	n_cases = n;
	aliased = with_alias;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif /* TESTS_UNIT_CONFIG_RANGES_H */
