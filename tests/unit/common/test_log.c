/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

/* stderr goes to a file between begin() and end(). */
struct capture {
	int saved, fd;
	char *text;
};

static void begin(struct capture *c)
{
	char path[] = "/tmp/redtap-log.XXXXXX";

	fflush(stderr);
	c->fd = mkstemp(path);
	assert_true(c->fd >= 0);
	unlink(path);
	c->saved = dup(STDERR_FILENO);
	/* Appending, so that a line is one write() or visibly torn. */
	fcntl(c->fd, F_SETFL, O_APPEND);
	dup2(c->fd, STDERR_FILENO);
}

static void end(struct capture *c)
{
	off_t n = lseek(c->fd, 0, SEEK_END);

	dup2(c->saved, STDERR_FILENO);
	close(c->saved);
	c->text = calloc(1, (size_t)n + 1);
	assert_non_null(c->text);
	assert_int_equal(pread(c->fd, c->text, (size_t)n, 0), n);
	close(c->fd);
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

static void writes_logfmt_with_quotes_escaped(void **state)
{
	struct capture c;
	const char *msg;

	(void)state;
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	begin(&c);
	log_warn("say \"%s\"\n\x01\\ %d", "hi", 5);
	end(&c);
	assert_memory_equal(c.text, "ts=20", 5);
	assert_non_null(strstr(c.text, " level=warn caller=test_log.c:"));
	msg = strstr(c.text, " msg=");
	assert_non_null(msg);
	assert_string_equal(msg, " msg=\"say \\\"hi\\\"\\n\\u0001\\\\ 5\"\n");
	free(c.text);
}

static void writes_json(void **state)
{
	struct capture c;
	const char *msg;

	(void)state;
	log_init(LOG_LEVEL_DEBUG, LOG_FORMAT_JSON);
	begin(&c);
	log_debug("a \"b\"");
	end(&c);
	assert_memory_equal(c.text, "{\"ts\":\"20", 9);
	assert_non_null(strstr(c.text, ",\"level\":\"debug\",\"caller\":"));
	msg = strstr(c.text, ",\"msg\":");
	assert_non_null(msg);
	assert_string_equal(msg, ",\"msg\":\"a \\\"b\\\"\"}\n");
	free(c.text);
}

static void keeps_quiet_below_its_level(void **state)
{
	struct capture c;

	(void)state;
	log_init(LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT);
	begin(&c);
	log_info("no");
	log_debug("no");
	log_warn("yes");
	log_error("yes");
	end(&c);
	assert_int_equal(count(c.text, "msg=\"no\""), 0);
	assert_int_equal(count(c.text, "msg=\"yes\""), 2);
	free(c.text);
}

/* Waits for a second to begin, so that a burst falls into one. */
static void wait_for_second(void)
{
	uint64_t now = clock_mono_ns(), s = CLOCK_NS_PER_S;

	usleep((useconds_t)((s - now % s) / 1000 + 1000));
}

static void limits_each_call_site_and_tells_what_it_kept_back(void **state)
{
	struct capture c;

	(void)state;
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	wait_for_second();
	begin(&c);
	for (unsigned i = 0; i < 1024; i++) {
		/* The last one comes in the next second, and reports. */
		if (i == 1023)
			wait_for_second();
		log_info("flood %u", i);
	}
	log_info("other site");
	end(&c);
	assert_int_equal(count(c.text, "msg=\"flood"), LOG_BURST + 1);
	assert_int_equal(count(c.text, "suppressed=1013\n"), 1);
	assert_int_equal(count(c.text, "suppressed="), 1);
	assert_int_equal(count(c.text, "other site"), 1);
	free(c.text);
}

static void cuts_what_is_too_long_but_ends_the_line(void **state)
{
	struct capture c;
	char *long_text = malloc(10001);

	(void)state;
	assert_non_null(long_text);
	memset(long_text, '"', 10000);
	long_text[10000] = '\0';
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	begin(&c);
	log_info("%s", long_text);
	end(&c);
	assert_in_range(strlen(c.text), 1000, 2048);
	assert_string_equal(c.text + strlen(c.text) - 3, "\"}\n");
	free(c.text);
	free(long_text);
}

static void keeps_errno(void **state)
{
	struct capture c;

	(void)state;
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	begin(&c);
	errno = ENOENT;
	log_info("%m");
	assert_int_equal(errno, ENOENT);
	end(&c);
	assert_non_null(strstr(c.text, "No such file"));
	free(c.text);
}

static void *talk(void *arg)
{
	(void)arg;
	for (int i = 0; i < 100; i++)
		log_info("line of a thread");
	return NULL;
}

static void does_not_tear_lines_of_threads(void **state)
{
	pthread_t threads[4];
	struct capture c;
	unsigned lines;

	(void)state;
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	begin(&c);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, talk, NULL),
				 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	end(&c);
	lines = count(c.text, "\n");
	assert_int_equal(count(c.text, "\nts=") + 1, lines);
	assert_int_equal(count(c.text, "msg=\"line of a thread\""), lines);
	free(c.text);
}

static void knows_its_names(void **state)
{
	enum log_format format;
	enum log_level level;

	(void)state;
	assert_int_equal(log_level_parse("error", &level), 0);
	assert_int_equal(level, LOG_LEVEL_ERROR);
	assert_int_equal(log_level_parse("Error", &level), -EINVAL);
	assert_int_equal(log_format_parse("json", &format), 0);
	assert_int_equal(format, LOG_FORMAT_JSON);
	assert_int_equal(log_format_parse("", &format), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_logfmt_with_quotes_escaped),
		cmocka_unit_test(writes_json),
		cmocka_unit_test(keeps_quiet_below_its_level),
		cmocka_unit_test(
			limits_each_call_site_and_tells_what_it_kept_back),
		cmocka_unit_test(cuts_what_is_too_long_but_ends_the_line),
		cmocka_unit_test(keeps_errno),
		cmocka_unit_test(does_not_tear_lines_of_threads),
		cmocka_unit_test(knows_its_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
