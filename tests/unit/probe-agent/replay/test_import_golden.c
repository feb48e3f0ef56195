/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/probe-agent/replay/imported.h"

/*
 * Logs that programs wrote, and what becomes of them. Those of nginx, Apache,
 * HAProxy, lighttpd, Varnish and Caddy were written by the programs of Debian
 * 12; the others follow their makers' manuals.
 */

#define DIR "tests/golden/imports/"

static const struct {
	const char *file;
	enum import_format asked; /* IMPORT_AUTO: it is recognised */
	enum import_format want;
} files[] = {
	{ "nginx-combined.log", IMPORT_AUTO, IMPORT_COMBINED },
	{ "nginx-timed.log", IMPORT_AUTO, IMPORT_COMBINED_TIME },
	{ "nginx-named.log", IMPORT_AUTO, IMPORT_COMBINED_TIME },
	{ "nginx-ingress.log", IMPORT_AUTO, IMPORT_INGRESS_NGINX },
	{ "nginx-json.log", IMPORT_AUTO, IMPORT_JSON },
	{ "apache-combined.log", IMPORT_AUTO, IMPORT_COMBINED },
	{ "apache-vhost.log", IMPORT_AUTO, IMPORT_COMBINED },
	{ "apache-common.log", IMPORT_AUTO, IMPORT_COMBINED },
	{ "apache-micros.log", IMPORT_APACHE_D, IMPORT_APACHE_D },
	{ "apache-millis.log", IMPORT_AUTO, IMPORT_COMBINED_TIME },
	{ "haproxy.log", IMPORT_AUTO, IMPORT_HAPROXY },
	{ "lighttpd.log", IMPORT_AUTO, IMPORT_COMBINED },
	{ "varnishncsa.log", IMPORT_AUTO, IMPORT_COMBINED },
	{ "caddy.log", IMPORT_AUTO, IMPORT_CADDY },
	{ "traefik.log", IMPORT_AUTO, IMPORT_TRAEFIK },
	{ "traefik-json.log", IMPORT_AUTO, IMPORT_TRAEFIK },
	{ "envoy.log", IMPORT_AUTO, IMPORT_ENVOY },
	{ "istio.log", IMPORT_AUTO, IMPORT_ENVOY },
	{ "alb.log", IMPORT_AUTO, IMPORT_ALB },
	{ "elb.log", IMPORT_AUTO, IMPORT_ALB },
	{ "iis.log", IMPORT_AUTO, IMPORT_W3C },
	{ "cloudfront.log", IMPORT_AUTO, IMPORT_W3C },
	{ "containers.log", IMPORT_AUTO, IMPORT_COMBINED },
};
#define N_FILES (sizeof(files) / sizeof(*files))

static char *slurp(const char *path, size_t *len)
{
	FILE *f = fopen(path, "r");
	struct buf b = { 0 };
	char part[4096];
	size_t n;

	if (!f)
		fail_msg("%s: not there", path);
	while ((n = fread(part, 1, sizeof(part), f)) > 0)
		buf_append(&b, part, n);
	fclose(f);
	assert_non_null(buf_str(&b));
	return buf_take(&b, len);
}

static void describe(struct buf *out, size_t i, struct imported *im)
{
	const struct import_stats *st = &im->stats;

	buf_printf(out, "== %s: %s, %llu of %llu lines, %llu other, %llu bad\n",
		   files[i].file, import_format_name(st->format),
		   (unsigned long long)st->events,
		   (unsigned long long)st->lines, (unsigned long long)st->other,
		   (unsigned long long)st->bad);
	buf_puts(out, im->said);
	buf_puts(out, imported_requests(im));
}

/* REDTAP_GOLDEN=write makes it anew; then look at the diff. */
static void real_logs_become_these_requests(void **state)
{
	const char *mode = getenv("REDTAP_GOLDEN");
	struct imported im = { 0 };
	struct buf got = { 0 };
	char path[128], *text;
	size_t len;

	(void)state;
	setenv("TZ", "UTC", 1);
	for (size_t i = 0; i < N_FILES; i++) {
		snprintf(path, sizeof(path), DIR "%s", files[i].file);
		text = slurp(path, &len);
		assert_int_equal(
			import_bytes_of(&im, text, len, files[i].asked, NULL),
			0);
		assert_string_equal(import_format_name(im.stats.format),
				    import_format_name(files[i].want));
		assert_int_equal(im.stats.lines, im.stats.events +
							 im.stats.other +
							 im.stats.bad);
		describe(&got, i, &im);
		free(text);
	}
	imported_fini(&im);
	if (mode && strcmp(mode, "write") == 0) {
		FILE *f = fopen(DIR "requests.txt", "w");

		assert_non_null(f);
		fputs(buf_str(&got), f);
		fclose(f);
	}
	text = slurp(DIR "requests.txt", &len);
	assert_string_equal(buf_str(&got), text);
	free(text);
	buf_fini(&got);
}

/* A format that is asked for reads what it would have been recognised by. */
static void asking_for_the_format_changes_nothing(void **state)
{
	struct imported found = { 0 }, asked = { 0 };
	char path[128], *text;
	size_t len;

	(void)state;
	for (size_t i = 0; i < N_FILES; i++) {
		if (files[i].asked != IMPORT_AUTO)
			continue;
		snprintf(path, sizeof(path), DIR "%s", files[i].file);
		text = slurp(path, &len);
		import_bytes_of(&found, text, len, IMPORT_AUTO, NULL);
		import_bytes_of(&asked, text, len, files[i].want, NULL);
		assert_string_equal(imported_requests(&found),
				    imported_requests(&asked));
		assert_int_equal(found.stats.bad, asked.stats.bad);
		free(text);
	}
	imported_fini(&found);
	imported_fini(&asked);
}

/* Whatever a file is cut to: every line counts as one of the three. */
static void every_prefix_adds_up(void **state)
{
	struct imported im = { 0 };
	char path[128], *text;
	size_t len;

	(void)state;
	for (size_t i = 0; i < N_FILES; i++) {
		snprintf(path, sizeof(path), DIR "%s", files[i].file);
		text = slurp(path, &len);
		for (size_t n = 0; n < len; n += 7) {
			int err = import_bytes_of(&im, text, n, files[i].want,
						  NULL);

			assert_true(!err || err == -ENODATA);
			assert_int_equal(im.stats.lines,
					 im.stats.events + im.stats.other +
						 im.stats.bad);
			assert_int_equal(!err, im.stats.events > 0);
		}
		free(text);
	}
	imported_fini(&im);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_logs_become_these_requests),
		cmocka_unit_test(asking_for_the_format_changes_nothing),
		cmocka_unit_test(every_prefix_adds_up),
	};

	return cmocka_run_group_tests_name("import_golden", tests, NULL, NULL);
}
