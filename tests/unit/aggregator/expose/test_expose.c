/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "aggregator/expose/expose.h"
#include "aggregator/expose/expose_writer.h"
#include "common/version.h"
#include "tests/unit/aggregator/read_proto.h"
#include "tests/unit/aggregator/read_text.h"
#include "tests/unit/aggregator/sample_snapshot.h"

static struct buf render(enum expose_format format, const struct snapshot *s)
{
	struct metrics_self self = sample_self();
	struct buf out = { 0 };

	assert_int_equal(expose_render(&out, format, s, &self), 0);
	assert_non_null(buf_str(&out));
	return out;
}

/* What a build changes is no part of the format. */
static char *without_build(const char *text)
{
	const char *at = strstr(text, "redtap_build_info");
	const char *line, *end;
	char *out;

	assert_non_null(at);
	line = strstr(at, version_revision());
	assert_non_null(line);
	while (line[-1] != '\n')
		line--;
	end = strchr(line, '\n');
	assert_true(asprintf(&out, "%.*sBUILD%s", (int)(line - text), text,
			     end) > 0);
	return out;
}

/* REDTAP_GOLDEN=write makes them anew; then look at the diff. */
static void check_golden(const char *name, const char *text)
{
	const char *mode = getenv("REDTAP_GOLDEN");
	char path[256], *want, *got = without_build(text);
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "tests/golden/%s", name);
	if (mode && !strcmp(mode, "write")) {
		f = fopen(path, "w");
		assert_non_null(f);
		fputs(got, f);
		fclose(f);
	}
	f = fopen(path, "r");
	if (!f)
		fail_msg("%s is missing: run from the root of the repo", path);
	want = calloc(1, 1 << 20);
	len = fread(want, 1, (1 << 20) - 1, f);
	fclose(f);
	assert_true(len > 0);
	assert_string_equal(got, want);
	free(want);
	free(got);
}

static void text_is_as_agreed(void **state)
{
	struct buf b = render(EXPOSE_TEXT, &sample);

	(void)state;
	check_golden("metrics.txt", b.data);
	buf_fini(&b);
}

static void openmetrics_is_as_agreed(void **state)
{
	struct buf b = render(EXPOSE_OPENMETRICS, &sample);

	(void)state;
	assert_true(b.len > 6 && !strcmp(b.data + b.len - 6, "# EOF\n"));
	check_golden("metrics.openmetrics", b.data);
	buf_fini(&b);
}

static void protobuf_is_as_agreed(void **state)
{
	struct buf b = render(EXPOSE_PROTOBUF, &sample), text = { 0 };

	(void)state;
	assert_true(read_proto(&text, b.data, b.len));
	assert_non_null(buf_str(&text));
	check_golden("metrics.protobuf.txt", text.data);
	buf_fini(&text);
	buf_fini(&b);
}

/* Buckets ascend to +Inf, which is _count. */
static void check_histograms(const struct read_text *t)
{
	for (size_t i = 0; i < t->n_families; i++) {
		const struct read_family *f = &t->family[i];
		char bucket[160], count[160];
		double bound = -1;
		uint64_t last = 0;

		if (strcmp(f->type, "histogram"))
			continue;
		snprintf(bucket, sizeof(bucket), "%s_bucket", f->name);
		snprintf(count, sizeof(count), "%s_count", f->name);
		for (size_t k = 0; k < t->n; k++) {
			const struct read_sample *s = &t->sample[k];
			const char *le = read_label(s, "le");
			uint64_t v = strtoull(s->value, NULL, 10);

			if (!strcmp(s->name, bucket)) {
				assert_non_null(le);
				assert_true(!strcmp(le, "+Inf") ||
					    strchr(le, '.'));
				assert_true(strtod(le, NULL) > bound);
				assert_true(v >= last);
				bound = strtod(le, NULL);
				last = v;
			} else if (!strcmp(s->name, count)) {
				assert_true(bound > 1e300);
				assert_int_equal(v, last);
				bound = -1;
				last = 0;
			}
		}
	}
}

static void a_strict_reader_accepts_both_texts(void **state)
{
	(void)state;
	for (int f = EXPOSE_TEXT; f <= EXPOSE_OPENMETRICS; f++) {
		struct buf b = render((enum expose_format)f, &sample);
		struct read_text t;

		if (!read_text(&t, b.data, b.len))
			fail_msg("%s", t.problem);
		assert_int_equal(t.eof, f == EXPOSE_OPENMETRICS);
		check_histograms(&t);
		for (size_t i = 0; i < t.n_families; i++)
			assert_true(*t.family[i].type && *t.family[i].help);
		free(t.sample);
		buf_fini(&b);
	}
}

static void labels_come_back_as_they_went_in(void **state)
{
	struct buf b = render(EXPOSE_TEXT, &sample);
	struct read_text t;

	(void)state;
	assert_true(read_text(&t, b.data, b.len));
	assert_string_equal(
		read_value(&t, "sample_http_requests_total", "job", NASTY),
		"41");
	assert_string_equal(read_value(&t, "sample_http_requests_total",
				       "otel_metric_overflow", "true"),
			    "43");
	assert_string_equal(
		read_value(&t, "sample_http_requests_total", "role", "server"),
		"18446744073709551615");
	free(t.sample);
	buf_fini(&b);
}

static void sums_are_exact_decimals(void **state)
{
	struct buf b = render(EXPOSE_TEXT, &sample);
	struct read_text t;

	(void)state;
	assert_true(read_text(&t, b.data, b.len));
	assert_string_equal(
		read_value(&t, "sample_server_request_duration_seconds_sum",
			   "http_response_status_code", "200"),
		"24.012003");
	/* 2^53 + 1 µs: a double would say …0992 */
	assert_string_equal(
		read_value(&t, "sample_server_request_duration_seconds_sum",
			   "otel_metric_overflow", "true"),
		"9007199254.740993");
	assert_string_equal(read_value(&t,
				       "sample_server_response_body_size_bytes"
				       "_sum",
				       NULL, NULL),
			    "9001");
	assert_string_equal(read_value(&t, "redtap_agent_clock_skew_seconds",
				       "node", "node-a"),
			    "-0.00125");
	free(t.sample);
	buf_fini(&b);
}

/* The same by the C library: digits, then the zeros taken off. */
static void check_number(uint64_t v, unsigned scale)
{
	char want[64], got[EXPOSE_NUMBER_MAX + 1];
	uint64_t one = 1;
	size_t n;

	for (unsigned i = 0; i < scale; i++)
		one *= 10;
	n = (size_t)snprintf(want, sizeof(want), "%llu",
			     (unsigned long long)(v / one));
	if (scale) {
		snprintf(want + n, sizeof(want) - n, ".%0*llu", (int)scale,
			 (unsigned long long)(v % one));
		n = strlen(want);
		while (want[n - 1] == '0')
			want[--n] = '\0';
		if (want[n - 1] == '.')
			want[--n] = '\0';
	}
	*expose_put_number(
		got, (struct expose_number){ .mantissa = v, .scale = scale },
		false) = '\0';
	assert_string_equal(got, want);
	if (!strchr(want, '.'))
		strcat(want, ".0");
	*expose_put_number(
		got, (struct expose_number){ .mantissa = v, .scale = scale },
		true) = '\0';
	assert_string_equal(got, want);
}

static void numbers_are_written_as_the_library_writes_them(void **state)
{
	uint64_t x = 88172645463325252u;

	(void)state;
	for (unsigned scale = 0; scale <= 9; scale++) {
		check_number(0, scale);
		check_number(UINT64_MAX, scale);
		for (uint64_t p = 1; p < UINT64_MAX / 10; p *= 10) {
			check_number(p, scale);
			check_number(p - 1, scale);
			check_number(p + 1, scale);
		}
		for (int i = 0; i < 20000; i++) {
			x ^= x << 13; /* xorshift64 */
			x ^= x >> 7;
			x ^= x << 17;
			check_number(x >> (i % 64), scale);
		}
	}
}

/* Of a family with more labels: a sample of the node that has its value. */
static bool has_part(const struct buf *b, unsigned value)
{
	char line[64], seconds[64];

	snprintf(line, sizeof(line), "\"} %u\n", value);
	snprintf(seconds, sizeof(seconds), "\"} 0.%06u\n", value);
	for (const char *at = b->data; at && *at; at = strchr(at, '\n') + 1) {
		size_t n = strcspn(at, "\n") + 1;

		if (!memmem(at, n, "{node=\"node-a\",", 15))
			continue;
		if (memmem(at, n, line, strlen(line)) ||
		    (memmem(at, n, "_seconds_total", 14) &&
		     memmem(at, n, seconds, strlen(seconds))))
			return true;
	}
	return false;
}

static void every_agent_counter_has_its_metric(void **state)
{
	static const bool part[AGENT_COUNTERS] = {
#define KERNEL_COUNTER(NAME, ...)
#define AGENT_COUNTER(NAME, ...)
#define AGENT_PART(NAME, ...) [AGENT_##NAME] = true,
#include "proto/agent_counters.def"
	};

	struct buf b = render(EXPOSE_TEXT, &sample);
	struct read_text t;

	(void)state;
	assert_true(read_text(&t, b.data, b.len));
	for (unsigned i = 0; i < AGENT_COUNTERS; i++) {
		char name[128], want[16];
		const char *got;

		if (part[i]) {
			if (!has_part(&b, 101 + i))
				fail_msg("%s is in no family",
					 agent_counter_name(i));
			continue;
		}
		snprintf(name, sizeof(name), "redtap_agent_%s_total",
			 agent_counter_name(i));
		snprintf(want, sizeof(want), "%u", 101 + i);
		got = read_value(&t, name, "node", "node-a");
		if (!got)
			fail_msg("%s is not in metrics.def", name);
		assert_string_equal(got, want);
	}
	for (unsigned i = 0; i < LOSS_STAGES; i++) {
		char want[16];

		snprintf(want, sizeof(want), "%u", 1 + i);
		assert_string_equal(
			read_value(&t, "redtap_agent_events_dropped_total",
				   "stage", loss_stage_name(i)),
			want);
	}
	assert_string_equal(read_value(&t, "redtap_agent_events_dropped_total",
				       "stage", "sequence_gap"),
			    "79");
	free(t.sample);
	buf_fini(&b);
}

static void exemplars_fit_and_belong_to_their_bucket(void **state)
{
	struct buf b = render(EXPOSE_OPENMETRICS, &sample);
	struct read_text t;
	size_t seen = 0;

	(void)state;
	assert_true(read_text(&t, b.data, b.len));
	for (size_t i = 0; i < t.n; i++) {
		const struct read_sample *s = &t.sample[i];
		char labels[256];
		double value;
		size_t characters = 0;

		if (!*s->exemplar)
			continue;
		seen++;
		assert_int_equal(
			sscanf(s->exemplar, "{%255[^}]} %lf", labels, &value),
			2);
		for (const char *c = labels; *c; c++)
			characters += !strchr("=\",", *c);
		assert_true(characters <= 128);
		assert_true(value <= strtod(read_label(s, "le"), NULL));
	}
	assert_int_equal(seen, 2);
	free(t.sample);
	buf_fini(&b);
}

static void nothing_to_show_leaves_no_family(void **state)
{
	struct snapshot none = { .ready = false };

	(void)state;
	for (int f = 0; f < EXPOSE_FORMATS; f++) {
		struct buf b = render((enum expose_format)f, &none);

		assert_null(memmem(b.data, b.len, "redtap_agent_up", 15));
		assert_null(memmem(b.data, b.len, "target_info", 11));
		assert_non_null(
			memmem(b.data, b.len, "redtap_aggregator_ready", 23));
		buf_fini(&b);
	}
}

static void a_cap_is_an_error_and_not_half_a_scrape(void **state)
{
	struct metrics_self self = sample_self();
	struct buf all = render(EXPOSE_TEXT, &sample);

	(void)state;
	for (int f = 0; f < EXPOSE_FORMATS; f++)
		for (size_t max = 1; max < all.len / 2; max += 97) {
			struct buf b = { .max = max };

			assert_int_equal(expose_render(&b,
						       (enum expose_format)f,
						       &sample, &self),
					 -EMSGSIZE);
			assert_true(b.len <= max);
			buf_fini(&b);
		}
	buf_fini(&all);
}

static void pieces_are_the_whole(void **state)
{
	struct metrics_self self = sample_self();

	(void)state;
	for (int f = 0; f < EXPOSE_FORMATS; f++) {
		struct buf want = render((enum expose_format)f, &sample);

		for (size_t enough = 1; enough < want.len; enough += 1009) {
			struct buf all = { 0 };
			struct expose *x;
			int more = 1;

			assert_int_equal(expose_new(&x, (enum expose_format)f,
						    &sample, &self),
					 0);
			while (more == 1) {
				struct buf piece = { 0 };

				more = expose_next(x, &piece, enough);
				buf_append(&all, piece.data, piece.len);
				buf_fini(&piece);
			}
			assert_int_equal(more, 0);
			assert_int_equal(all.len, want.len);
			assert_memory_equal(all.data, want.data, want.len);
			expose_free(x);
			buf_fini(&all);
		}
		buf_fini(&want);
	}
}

static void promtool_has_nothing_to_say(void **state)
{
	struct buf b = render(EXPOSE_TEXT, &sample);
	char line[256], said[2048] = "";
	char path[] = "/tmp/redtap-expose-XXXXXX", command[128];
	int fd, status;
	FILE *f;

	(void)state;
	if (access("/usr/bin/promtool", X_OK)) {
		buf_fini(&b);
		print_message("skip - promtool_has_nothing_to_say: no "
			      "promtool here\n");
		skip();
	}
	fd = mkstemp(path);
	assert_true(fd >= 0 && write(fd, b.data, b.len) == (ssize_t)b.len);
	close(fd);
	snprintf(command, sizeof(command), "promtool check metrics <%s 2>&1",
		 path);
	f = popen(command, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		strncat(said, line, sizeof(said) - strlen(said) - 1);
	status = pclose(f);
	unlink(path);
	assert_string_equal(said, "");
	assert_int_equal(status, 0);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_as_agreed),
		cmocka_unit_test(openmetrics_is_as_agreed),
		cmocka_unit_test(protobuf_is_as_agreed),
		cmocka_unit_test(a_strict_reader_accepts_both_texts),
		cmocka_unit_test(labels_come_back_as_they_went_in),
		cmocka_unit_test(sums_are_exact_decimals),
		cmocka_unit_test(
			numbers_are_written_as_the_library_writes_them),
		cmocka_unit_test(every_agent_counter_has_its_metric),
		cmocka_unit_test(exemplars_fit_and_belong_to_their_bucket),
		cmocka_unit_test(nothing_to_show_leaves_no_family),
		cmocka_unit_test(a_cap_is_an_error_and_not_half_a_scrape),
		cmocka_unit_test(pieces_are_the_whole),
		cmocka_unit_test(promtool_has_nothing_to_say),
	};

	return cmocka_run_group_tests_name("expose", tests, NULL, NULL);
}
