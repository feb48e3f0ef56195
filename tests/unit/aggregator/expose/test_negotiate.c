/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "aggregator/expose/negotiate.h"

#define OM "application/openmetrics-text"
#define PB                                                                     \
	"application/vnd.google.protobuf;"                                     \
	"proto=io.prometheus.client.MetricFamily;encoding=delimited"

static void check(const char *accept, enum expose_format want)
{
	enum expose_format got = negotiate_format(accept);

	if (got != want)
		fail_msg("%s: %s, not %s", accept ? accept : "(none)",
			 expose_format_name(got), expose_format_name(want));
}

static void prometheus_2_42_gets_openmetrics(void **state)
{
	(void)state;
	check(OM ";version=1.0.0," OM ";version=0.0.1;q=0.75,"
		 "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
	      EXPOSE_OPENMETRICS);
}

static void prometheus_2_42_with_native_histograms_gets_protobuf(void **state)
{
	(void)state;
	check(PB "," OM ";version=1.0.0;q=0.8," OM ";version=0.0.1;q=0.75,"
		 "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
	      EXPOSE_PROTOBUF);
}

static void browsers_curl_and_nobody_get_text(void **state)
{
	(void)state;
	check(NULL, EXPOSE_TEXT);
	check("", EXPOSE_TEXT);
	check("*/*", EXPOSE_TEXT);
	check("text/html,application/xhtml+xml,application/xml;q=0.9,"
	      "image/avif,*/*;q=0.8",
	      EXPOSE_TEXT);
	check("application/json", EXPOSE_TEXT);
}

static void the_highest_q_wins_and_the_first_of_equals(void **state)
{
	(void)state;
	check("text/plain;q=0.5," OM ";q=0.6", EXPOSE_OPENMETRICS);
	check("text/plain;q=0.6," OM ";q=0.5", EXPOSE_TEXT);
	check("text/plain;q=0.501," OM ";q=0.5", EXPOSE_TEXT);
	check(OM "," PB, EXPOSE_OPENMETRICS);
	check(PB "," OM, EXPOSE_PROTOBUF);
	check(OM ";q=0.3,text/plain;q=0.3", EXPOSE_OPENMETRICS);
}

static void what_is_refused_is_not_sent(void **state)
{
	(void)state;
	check(OM ";q=0," PB ";q=0.1", EXPOSE_PROTOBUF);
	check(OM ";q=0", EXPOSE_TEXT);
	check(OM ";q=0.000", EXPOSE_TEXT);
}

static void malformed_weights_count_as_zero(void **state)
{
	(void)state;
	check(OM ";q=1.5", EXPOSE_TEXT);
	check(OM ";q=-1", EXPOSE_TEXT);
	check(OM ";q=0.1234", EXPOSE_TEXT);
	check(OM ";q=x", EXPOSE_TEXT);
	check(OM ";q=", EXPOSE_TEXT);
	check(OM ";q=1.", EXPOSE_OPENMETRICS);
}

static void parameters_decide_what_is_meant(void **state)
{
	(void)state;
	check(OM ";version=2.0.0", EXPOSE_TEXT);
	check(OM ";version=0.0.1", EXPOSE_OPENMETRICS);
	check(OM " ; Version = \"1.0.0\" ; charset=utf-8 ; q=1",
	      EXPOSE_OPENMETRICS);
	check("APPLICATION/OPENMETRICS-TEXT", EXPOSE_OPENMETRICS);
	check("application/vnd.google.protobuf", EXPOSE_TEXT);
	check("application/vnd.google.protobuf;proto=io.prometheus.client."
	      "MetricFamily;encoding=text",
	      EXPOSE_TEXT);
	check("text/plain;version=1.0.0;q=0.9," OM ";q=0.1",
	      EXPOSE_OPENMETRICS);
}

static void a_comma_in_quotes_does_not_end_an_element(void **state)
{
	(void)state;
	check("text/plain;x=\"," OM ",\";q=0.2," PB ";q=0.1", EXPOSE_TEXT);
	check("x/y;z=\"\\\"," OM "\"", EXPOSE_TEXT);
	check(",,;;,=," OM ",", EXPOSE_OPENMETRICS);
}

static void gzip_is_taken_when_offered(void **state)
{
	(void)state;
	assert_true(negotiate_gzip("gzip"));
	assert_true(negotiate_gzip("deflate, GZIP;q=0.1, br"));
	assert_true(negotiate_gzip("x-gzip"));
	assert_true(negotiate_gzip("*"));
	assert_true(negotiate_gzip("identity;q=0.5, *;q=0.1"));
	assert_false(negotiate_gzip(NULL));
	assert_false(negotiate_gzip(""));
	assert_false(negotiate_gzip("identity"));
	assert_false(negotiate_gzip("gzip;q=0"));
	assert_false(negotiate_gzip("gzip;q=0, *"));
	assert_false(negotiate_gzip("br, zstd"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prometheus_2_42_gets_openmetrics),
		cmocka_unit_test(
			prometheus_2_42_with_native_histograms_gets_protobuf),
		cmocka_unit_test(browsers_curl_and_nobody_get_text),
		cmocka_unit_test(the_highest_q_wins_and_the_first_of_equals),
		cmocka_unit_test(what_is_refused_is_not_sent),
		cmocka_unit_test(malformed_weights_count_as_zero),
		cmocka_unit_test(parameters_decide_what_is_meant),
		cmocka_unit_test(a_comma_in_quotes_does_not_end_an_element),
		cmocka_unit_test(gzip_is_taken_when_offered),
	};

	return cmocka_run_group_tests_name("negotiate", tests, NULL, NULL);
}
