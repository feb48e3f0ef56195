/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "probe-agent/config/config.h"
#include "probe-agent/identity/filter.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* One flag's worth of configuration at a time, through the real parser. */
static struct filter_rules *rules(const char *const *flags, unsigned n)
{
	struct cli_settings parsed = { .n = 0 };
	struct filter_rules *s = NULL;
	struct agent_config *cfg;
	char *argv[16];
	int argc = 0;

	argv[argc++] = (char *)(uintptr_t) "test";
	for (unsigned i = 0; i < n; i++)
		argv[argc++] = (char *)(uintptr_t)flags[i];
	argv[argc] = NULL;
	assert_int_equal(
		argp_parse(&agent_config_argp, argc, argv, 0, NULL, &parsed),
		0);
	/* Refused as a configuration already, if not by the rules. */
	if (agent_config_load(&cfg, &parsed))
		return NULL;
	if (filter_new(&s, &cfg->select))
		s = NULL;
	agent_config_free(cfg);
	return s;
}

#define RULES(...)                                                             \
	rules((const char *const[]){ __VA_ARGS__ },                            \
	      sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static bool follows(struct filter_rules *s, uint16_t local, uint16_t remote,
		    const char *path, const char *container)
{
	const struct endpoint end = {
		.local_port = local,
		.remote_port = remote,
	};
	const struct identity id = {
		.executable = strrchr(path, '/') + 1,
		.path = path,
		.container = container,
		.self = !strcmp(path, "/x/redtap-agent"),
	};

	return filter_follows(s, &end, &id);
}

static void follows_all_but_itself_by_default(void **state)
{
	struct filter_rules *s = rules(NULL, 0);

	(void)state;
	assert_true(follows(s, 1, 2, "/bin/a", ""));
	assert_false(follows(s, 1, 2, "/x/redtap-agent", ""));
	filter_free(s);
	s = RULES("--report-self");
	assert_true(follows(s, 1, 2, "/x/redtap-agent", ""));
	filter_free(s);
}

static void takes_ports_of_either_end_and_ranges_with_their_ends(void **state)
{
	struct filter_rules *s =
		RULES("--include.port=80", "--include.port=8000-8002");

	(void)state;
	assert_true(follows(s, 80, 50000, "/bin/a", ""));
	assert_true(follows(s, 50000, 80, "/bin/a", ""));
	assert_false(follows(s, 81, 50000, "/bin/a", ""));
	assert_false(follows(s, 7999, 50000, "/bin/a", ""));
	assert_true(follows(s, 8000, 50000, "/bin/a", ""));
	assert_true(follows(s, 8002, 50000, "/bin/a", ""));
	assert_false(follows(s, 8003, 50000, "/bin/a", ""));
	filter_free(s);
}

static void requires_each_kind_of_include_and_lets_exclude_win(void **state)
{
	struct filter_rules *s =
		RULES("--include.port=80", "--include.executable=ng*",
		      "--exclude.executable=/opt/*/nginx");

	(void)state;
	assert_true(follows(s, 80, 1, "/usr/sbin/nginx", ""));
	assert_false(follows(s, 81, 1, "/usr/sbin/nginx", ""));
	assert_false(follows(s, 80, 1, "/usr/sbin/httpd", ""));
	assert_false(follows(s, 80, 1, "/opt/x/nginx", ""));
	filter_free(s);
}

static void matches_containers_by_glob_short_id_or_at_all(void **state)
{
	struct filter_rules *s = RULES("--include.container=*");

	(void)state;
	assert_true(follows(s, 1, 1, "/bin/a", ID));
	assert_false(follows(s, 1, 1, "/bin/a", ""));
	filter_free(s);
	s = RULES("--exclude.container=0123456789ab");
	assert_false(follows(s, 1, 1, "/bin/a", ID));
	assert_true(follows(s, 1, 1, "/bin/a", ""));
	filter_free(s);
	/* Eleven digits are no short id. */
	s = RULES("--exclude.container=0123456789a");
	assert_true(follows(s, 1, 1, "/bin/a", ID));
	filter_free(s);
}

static void refuses_what_is_no_port(void **state)
{
	static const char *const bad[] = {
		"--include.port=0",	"--include.port=65536",
		"--include.port=90-80", "--include.port=80-",
		"--include.port=-80",	"--include.port=http",
		"--include.port=80 ",	"--exclude.port=1-2-3",
		"--include.port=",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_null(rules(&bad[i], 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_all_but_itself_by_default),
		cmocka_unit_test(
			takes_ports_of_either_end_and_ranges_with_their_ends),
		cmocka_unit_test(
			requires_each_kind_of_include_and_lets_exclude_win),
		cmocka_unit_test(matches_containers_by_glob_short_id_or_at_all),
		cmocka_unit_test(refuses_what_is_no_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
