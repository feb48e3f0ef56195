/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "probe-agent/tap/recording.h"
#include "tests/unit/probe-agent/tap_script.h"

static char dir[] = "/tmp/redtap-recording-XXXXXX";
static char path[sizeof(dir) + 16];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/tap", dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void write_pattern(unsigned records)
{
	struct recording_writer *w;
	char data[64];

	unlink(path);
	assert_int_equal(recording_create(&w, path), 0);
	for (unsigned i = 1; i <= records; i++) {
		memset(data, (int)i, sizeof(data));
		assert_int_equal(recording_write(w, data, 1 + i % 60), 0);
	}
	assert_int_equal(recording_close(w), 0);
}

/* Reads records of write_pattern() until the end or damage; how many. */
static unsigned read_pattern(int *end)
{
	struct recording_reader *r;
	const void *rec;
	unsigned n = 0;
	size_t len;

	assert_int_equal(recording_open(&r, path), 0);
	while ((*end = recording_read(r, &rec, &len)) == 1) {
		n++;
		assert_int_equal((uintptr_t)rec % 8, 0);
		assert_int_equal(len, 1 + n % 60);
		for (size_t i = 0; i < len; i++)
			assert_int_equal(((const uint8_t *)rec)[i], n & 0xff);
	}
	/* Damage stays damage. */
	assert_int_equal(recording_read(r, &rec, &len), *end);
	recording_reader_free(r);
	return n;
}

static void gives_back_what_was_written(void **state)
{
	int end;

	(void)state;
	write_pattern(10007);
	assert_int_equal(read_pattern(&end), 10007);
	assert_int_equal(end, 0);
	write_pattern(0);
	assert_int_equal(read_pattern(&end), 0);
	assert_int_equal(end, 0);
}

static void reads_up_to_the_damage(void **state)
{
	/* 16 bytes of header, records of 2, 3 and 4 bytes: 8 each. */
	unsigned end_of;
	int end;

	(void)state;
	for (unsigned size = 16; size <= 40; size++) {
		write_pattern(3);
		assert_int_equal(truncate(path, size), 0);
		end_of = (size - 16) / 8;
		assert_int_equal(read_pattern(&end), end_of);
		assert_int_equal(end, size % 8 ? -EPROTO : 0);
	}
}

static void refuses_what_is_no_recording(void **state)
{
	struct recording_reader *r;
	struct recording_writer *w;
	FILE *f;

	(void)state;
	assert_int_equal(recording_open(&r, "/nonexistent"), -ENOENT);
	for (int i = 0; i < 16; i++) {
		write_pattern(1);
		f = fopen(path, "r+");
		assert_non_null(f);
		assert_int_equal(fseek(f, i, SEEK_SET), 0);
		fputc(0x7f, f);
		fclose(f);
		assert_int_equal(recording_open(&r, path),
				 i < 8 ? -EPROTO : -ENOTSUP);
		assert_int_equal(truncate(path, i), 0);
		assert_int_equal(recording_open(&r, path), -EPROTO);
	}
	/* A file of another format is left alone. */
	assert_int_equal(recording_create(&w, path), -EEXIST);
}

static void ends_with_a_whole_record_if_the_disk_is_full(void **state)
{
	struct rlimit old, small = { 300000, RLIM_INFINITY };
	struct recording_writer *w;
	char data[64];
	int err = 0, end;

	(void)state;
	unlink(path);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(recording_create(&w, path), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (unsigned i = 1; i <= 100000 && !err; i++) {
		memset(data, (int)i, sizeof(data));
		err = recording_write(w, data, 1 + i % 60);
	}
	assert_int_equal(err, -EFBIG);
	assert_int_equal(recording_write(w, data, 1), -EFBIG);
	assert_int_equal(recording_close(w), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_true(read_pattern(&end) > 1000);
	assert_int_equal(end, 0);
}

static void refuses_records_of_silly_sizes(void **state)
{
	static char data[RECORDING_RECORD_MAX + 1];
	struct recording_reader *r;
	struct recording_writer *w;
	const void *rec;
	size_t len;

	(void)state;
	unlink(path);
	assert_int_equal(recording_create(&w, path), 0);
	assert_int_equal(recording_write(w, data, 0), -EMSGSIZE);
	assert_int_equal(recording_write(w, data, sizeof(data)), -EMSGSIZE);
	assert_int_equal(recording_write(w, data, sizeof(data) - 1), 0);
	assert_int_equal(recording_write(w, data, sizeof(data) - 1), 0);
	assert_int_equal(recording_write(w, data, sizeof(data) - 1), 0);
	assert_int_equal(recording_close(w), 0);
	assert_int_equal(recording_close(NULL), 0);
	assert_int_equal(recording_open(&r, path), 0);
	assert_int_equal(recording_offset(r), 16);
	assert_int_equal(recording_read(r, &rec, &len), 1);
	assert_int_equal(len, RECORDING_RECORD_MAX);
	assert_int_equal(recording_offset(r), 16 + RECORDING_RECORD_MAX + 8);
	recording_reader_free(r);
}

static void record(void *arg, const void *rec, size_t len)
{
	assert_int_equal(recording_write(arg, rec, len), 0);
}

static void feeds_the_engine_as_the_kernel_would(void **state)
{
	struct recording_reader *r;
	struct recording_writer *w;
	struct script live, again;
	struct script_conn k;
	const void *rec;
	char *want;
	size_t len;

	(void)state;
	unlink(path);
	assert_int_equal(recording_create(&w, path), 0);
	script_init(&live, NULL);
	live.times = true;
	live.tee = record;
	live.tee_arg = w;
	script_open(&live, &k, 0x1000);
	READ(&k, "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
	WRITE(&k, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
	script_write_quietly(&k, 100);
	WRITE(&k, "HTTP/1.1 404 No\r\n\r\n");
	script_end(&k, TAP_TX);
	script_close(&k, 0);
	script_open(&live, &k, 0x2000);
	SEND(&k, "GET /c HTTP/1.1\r\n\r\n");
	script_close(&k, ETIMEDOUT);
	want = strdup(script_take(&live));
	script_fini(&live);
	assert_int_equal(recording_close(w), 0);

	script_init(&again, NULL);
	again.times = true;
	assert_int_equal(recording_open(&r, path), 0);
	while (recording_read(r, &rec, &len) == 1)
		assert_int_equal(conn_feed(again.table, rec, len), 0);
	recording_reader_free(r);
	assert_string_equal(script_take(&again), want);
	assert_int_equal(script_stats(&again).exchanges, 3);
	script_fini(&again);
	free(want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_back_what_was_written),
		cmocka_unit_test(reads_up_to_the_damage),
		cmocka_unit_test(refuses_what_is_no_recording),
		cmocka_unit_test(ends_with_a_whole_record_if_the_disk_is_full),
		cmocka_unit_test(refuses_records_of_silly_sizes),
		cmocka_unit_test(feeds_the_engine_as_the_kernel_would),
	};

	return cmocka_run_group_tests_name("recording", tests, set_up,
					   tear_down);
}
