/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

#include "probe-agent/replay/import_text.h"
#include "proto/limits.h"

static void every_second_is_what_libc_says(void **state)
{
	(void)state;
	for (time_t t = 0; t < (time_t)9000000000; t += 86399 * 7 + 13) {
		char iso[64], clf[64];
		int64_t us;
		struct tm tm;

		assert_non_null(gmtime_r(&t, &tm));
		strftime(iso, sizeof(iso), "%Y-%m-%dT%H:%M:%SZ", &tm);
		strftime(clf, sizeof(clf), "%d/%b/%Y:%H:%M:%S +0000", &tm);
		assert_int_equal(import_time(iso, &us), 0);
		assert_true(us == (int64_t)t * 1000000);
		assert_int_equal(import_time(clf, &us), 0);
		assert_true(us == (int64_t)t * 1000000);
	}
}

static void times_have_many_forms(void **state)
{
	static const struct {
		const char *text;
		int64_t us; /* -1: refused */
	} all[] = {
		{ "2026-11-21T09:00:00Z", 1795251600000000 },
		{ "2026-11-21t09:00:00.123456789z", 1795251600123456 },
		{ "2026-11-21 10:00:00,5 +0100", 1795251600500000 },
		{ "2026/11/21 09:00", 1795251600000000 },
		{ "2026-11-20T23:30:00-09:30", 1795251600000000 },
		{ "[21/Nov/2026:09:00:00 +0000]", 1795251600000000 },
		{ "21/Nov/2026:09:00:00.25 Z", 1795251600250000 },
		{ "Sat, 21 Nov 2026 09:00:00 GMT", 1795251600000000 },
		{ "21 Nov 2026 09:00:00 UTC", 1795251600000000 },
		{ "1795251600", 1795251600000000 },
		{ "1795251600.25", 1795251600250000 },
		{ "1795251600250", 1795251600250000 },
		{ "1795251600250000", 1795251600250000 },
		{ "1795251600250000000", 1795251600250000 },
		{ "0", 0 },
		{ "", -1 },
		{ "-1", -1 },
		{ "inf", -1 },
		{ "nan", -1 },
		{ "0x10", -1 },
		{ " 1", -1 },
		{ "1 ", -1 },
		{ "1e99", -1 },
		{ "2026-11-21", -1 },
		{ "2026-11-21T09:00:00Zx", -1 },
		{ "2026-11-21/09:00:00", -1 },
		{ "2026-02-29T00:00:00Z", -1 },
		{ "2024-02-29T00:00:00Z", 1709164800000000 },
		{ "2026-13-01T00:00:00Z", -1 },
		{ "2026-11-31T00:00:00Z", -1 },
		{ "2026-11-21T24:00:00Z", -1 },
		{ "2026-11-21T09:60:00Z", -1 },
		{ "2026-11-21T09:00:60Z", 1795251660000000 },
		{ "2026-11-21T09:00:00+15:00", -1 },
		{ "1969-12-31T23:59:59Z", -1 },
		{ "1970-01-01T00:00:00+01:00", -1 },
		{ "9999-01-01T00:00:00Z", -1 },
		{ "21/Fob/2026:09:00:00 +0000", -1 },
	};
	int64_t us;

	(void)state;
	setenv("TZ", "UTC", 1);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		int err = import_time(all[i].text, &us);

		if (err != (all[i].us < 0 ? -EINVAL : 0) ||
		    (!err && us != all[i].us))
			fail_msg("%s: %d, %lld", all[i].text, err,
				 (long long)us);
	}
}

/* HAProxy writes none; its clock is that of its host. */
static void a_clf_time_without_a_zone_is_local(void **state)
{
	int64_t us;

	(void)state;
	setenv("TZ", "CET-1", 1);
	tzset();
	assert_int_equal(import_time("21/Nov/2026:10:00:00.5", &us), 0);
	assert_true(us == 1795251600500000);
	setenv("TZ", "UTC", 1);
	tzset();
	assert_int_equal(import_time("21/Nov/2026:09:00:00.5", &us), 0);
	assert_true(us == 1795251600500000);
}

static void durations_have_the_unit_that_they_name(void **state)
{
	static const struct {
		const char *text;
		int got;
		uint64_t us; /* in ms where there is no unit */
	} all[] = {
		{ "12", 1, 12000 },
		{ "0.5", 1, 500 },
		{ "12ms", 1, 12000 },
		{ "1.5s", 1, 1500000 },
		{ "900us", 1, 900 },
		{ "900\xc2\xb5s", 1, 900 },
		{ "900\xce\xbcs", 1, 900 },
		{ "1500ns", 1, 2 },
		{ "1m2.5s", 1, 62500000 },
		{ "1h", 1, 3600000000 },
		{ "12.5 ms", 1, 12500 },
		{ "0", 1, 0 },
		{ "", 0, 0 },
		{ "-", 0, 0 },
		{ "-1", 0, 0 },
		{ "-1ms", 0, 0 },
		{ "x", -EPROTO, 0 },
		{ "1x", -EPROTO, 0 },
		{ "1 2", -EPROTO, 0 },
		{ "--", -EPROTO, 0 },
		{ "1e300", -EPROTO, 0 },
		{ "9999999999s", -EPROTO, 0 },
		{ "0x1", -EPROTO, 0 },
		{ "nan", -EPROTO, 0 },
		{ "0000000000000000000000000000000000000000000000001", -EPROTO,
		  0 },
	};
	uint64_t us;

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		int got = import_duration(all[i].text, strlen(all[i].text),
					  1000, &us);

		if (got != all[i].got || (got > 0 && us != all[i].us))
			fail_msg("%s: %d, %llu", all[i].text, got,
				 (unsigned long long)us);
	}
}

/* Texts end at a page that must not be touched. */
static void nothing_is_read_behind_the_end(void **state)
{
	static const char *const texts[] = {
		"2026-11-21T09:00:00.5+01:00",
		"21/Nov/2026:09:00:00 +0100",
		"Sat, 21 Nov 2026 09:00:00 GMT",
		"1795251600.25e1",
		"HTTP/1.1",
		"1m2.5s",
	};
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t duration;
	int64_t us;

	(void)state;
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(mprotect(page + 4096, 4096, PROT_NONE), 0);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		for (size_t n = 0; n <= strlen(texts[i]); n++) {
			char *at = page + 4096 - n - 1;

			memcpy(at, texts[i], n);
			at[n] = '\0';
			import_time(at, &us);
			import_time_clf(at, &us);
			import_time_iso(at, &us);
			import_duration(at, n, 1, &duration);
			import_http_version(at);
			import_is_token(at, n);
		}
	}
	munmap(page, 8192);
}

static void versions_and_methods(void **state)
{
	(void)state;
	assert_int_equal(import_http_version("HTTP/1.1"), 11);
	assert_int_equal(import_http_version("http/1.0"), 10);
	assert_int_equal(import_http_version("h2"), 20);
	assert_int_equal(import_http_version("HTTP/2"), 20);
	assert_int_equal(import_http_version("3"), 30);
	assert_int_equal(import_http_version("unknown"), 0);
	assert_int_equal(import_http_version(""), 0);
	assert_true(import_is_token("M-SEARCH", 8));
	assert_true(import_is_token("patch", 5));
	assert_false(import_is_token("", 0));
	assert_false(import_is_token("G\\x00", 5));
	assert_false(import_is_token("G\0T", 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_second_is_what_libc_says),
		cmocka_unit_test(times_have_many_forms),
		cmocka_unit_test(a_clf_time_without_a_zone_is_local),
		cmocka_unit_test(durations_have_the_unit_that_they_name),
		cmocka_unit_test(nothing_is_read_behind_the_end),
		cmocka_unit_test(versions_and_methods),
	};

	return cmocka_run_group_tests_name("import_text", tests, NULL, NULL);
}
