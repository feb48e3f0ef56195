/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/buf.h"
#include "probe-agent/batch/packer.h"
#include "probe-agent/replay/backfill.h"

#define T0 INT64_C(1700000000) /* a whole window, s */

static struct packer *packer;

static void put(uint32_t role, int64_t end_ms, uint64_t ms)
{
	struct packer_event e = { .service = "shop",
				  .namespace_ = "",
				  .instance = "n1",
				  .method = "GET",
				  .route = role == 1 ? "/a" : "",
				  .scheme = "http",
				  .address = role == 1 ? "" : "db",
				  .role = role,
				  .status = 200,
				  .version = 11,
				  .port = role == 1 ? 0 : 80,
				  .start_us = T0 * 1000000 +
					      (end_ms - (int64_t)ms) * 1000,
				  .duration_us = ms * 1000 };

	assert_int_equal(packer_add(packer, &e), 0);
}

/* What is written, all of it; the caller frees. */
static char *written(void)
{
	char path[] = "/tmp/redtap-backfill-XXXXXX";
	struct batch_losses none = { 0 };
	struct batch_arena *arena;
	struct buf text = { 0 };
	struct backfill *b;
	uint64_t sequence;
	char part[4096];
	struct batch batch;
	size_t len;
	void *data;
	FILE *f;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(packer_take(packer, &none, &data, &len, &sequence), 0);
	assert_int_equal(batch_arena_new(&arena), 0);
	assert_int_equal(batch_decode(arena, data, len, &batch, NULL), 0);
	assert_int_equal(backfill_new(&b), 0);
	assert_int_equal(backfill_add(b, &batch), 0);
	assert_int_equal(backfill_write(b, "/nonexistent/x"), -ENOENT);
	assert_int_equal(backfill_write(b, path), 0);
	backfill_free(b);
	batch_arena_free(arena);
	free(data);
	f = fopen(path, "r");
	assert_non_null(f);
	while ((len = fread(part, 1, sizeof(part), f)) > 0)
		buf_append(&text, part, len);
	fclose(f);
	unlink(path);
	assert_non_null(buf_str(&text)); /* ends it */
	return buf_take(&text, &len);
}

/* Value and second of each line of a sample, "1@10 …" from T0. */
static char *samples(const char *text, const char *start, const char *has)
{
	struct buf out = { 0 };
	size_t len;

	for (const char *line = text; *line;) {
		const char *end = strchr(line, '\n'), *at;
		char copy[1024], value[32];
		int64_t second;

		assert_true(end && (size_t)(end - line) < sizeof(copy));
		memcpy(copy, line, (size_t)(end - line));
		copy[end - line] = '\0';
		line = end + 1;
		if (strncmp(copy, start, strlen(start)) != 0 ||
		    !strstr(copy, has))
			continue;
		at = strstr(copy, "} ");
		assert_non_null(at);
		assert_int_equal(sscanf(at, "} %31s %" SCNd64, value, &second),
				 2);
		buf_printf(&out, "%s@%" PRId64 " ", value, second - T0);
	}
	assert_non_null(buf_str(&out));
	return buf_take(&out, &len);
}

static void assert_samples(const char *text, const char *start, const char *has,
			   const char *want)
{
	char *got = samples(text, start, has);

	assert_string_equal(got ? got : "", want);
	free(got);
}

static void each_window_is_a_scrape_that_begins_with_zero(void **state)
{
	const char *name = "http_server_request_duration_seconds";
	char start[80], *text;

	(void)state;
	assert_int_equal(packer_new(&packer, "n1", 1), 0);
	put(1, 1000, 3);
	put(1, 9999, 60);
	put(1, 12000, 60); /* the next window */
	put(2, 25000, 8000);
	text = written();
	snprintf(start, sizeof(start), "%s_count", name);
	assert_samples(text, start, "job=\"shop\"", "0@0 2@10 3@20 ");
	snprintf(start, sizeof(start), "%s_sum", name);
	assert_samples(text, start, "", "0.000000@0 0.063000@10 0.123000@20 ");
	snprintf(start, sizeof(start), "%s_bucket", name);
	assert_samples(text, start, "le=\"0.005\"", "0@0 1@10 1@20 ");
	assert_samples(text, start, "le=\"0.075\"", "0@0 2@10 3@20 ");
	assert_samples(text, start, "le=\"+Inf\"", "0@0 2@10 3@20 ");
	assert_samples(text, "http_client_request_duration_seconds_bucket",
		       "le=\"7.5\"", "0@20 0@30 ");
	assert_samples(text, "http_client_request_duration_seconds_count",
		       "server_address=\"db\"", "0@20 1@30 ");
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
	free(text);
	packer_free(packer);
}

static void an_empty_past_is_still_a_document(void **state)
{
	char *text;

	(void)state;
	assert_int_equal(packer_new(&packer, "n1", 1), 0);
	text = written();
	assert_string_equal(text, "# EOF\n");
	free(text);
	packer_free(packer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_window_is_a_scrape_that_begins_with_zero),
		cmocka_unit_test(an_empty_past_is_still_a_document),
	};

	return cmocka_run_group_tests_name("backfill", tests, NULL, NULL);
}
