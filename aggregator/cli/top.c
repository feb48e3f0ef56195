/* SPDX-License-Identifier: Apache-2.0 */

/* `redtap-aggregator top`: shows the busiest services and routes, refreshed. */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "aggregator/cli/report.h"
#include "common/cli.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/limits.h"

int cmd_top(int argc, char **argv);

#define HEAD_ROWS 3u
#define CLEAR "\033[H\033[2J"

enum {
	KEY_BY = CLI_KEY_COMMAND,
	KEY_INTERVAL,
	KEY_RANGE,
	KEY_ONCE,
	KEY_CA,
};

struct options {
	const char *where, *ca_file, *by;
	uint64_t interval_ms, range_ms;
	bool once;
};

static const struct argp_option options[] = {
	{ "by", KEY_BY, "LABEL,…", 0,
	  "Group by any of service, route, method, status, role, rpc, rpc_status "
	  "(service,role,route)",
	  0 },
	{ "interval", KEY_INTERVAL, "DURATION", 0,
	  "Time between refreshes, at least 100ms (2s)", 0 },
	{ "range", KEY_RANGE, "DURATION", 0,
	  "Show the last requests over this time, at least 10s (60s)", 0 },
	{ "once", KEY_ONCE, NULL, 0, "Print one table and exit", 0 },
	{ "ca-file", KEY_CA, "FILE", 0,
	  "CA certificates for an https:// URL (the system's)", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	int err = 0;

	switch (key) {
	case KEY_BY:
		o->by = arg;
		break;
	case KEY_INTERVAL:
		err = cli_parse_duration_ms(arg, &o->interval_ms);
		break;
	case KEY_RANGE:
		err = cli_parse_duration_ms(arg, &o->range_ms);
		break;
	case KEY_ONCE:
		o->once = true;
		break;
	case KEY_CA:
		o->ca_file = arg;
		break;
	case ARGP_KEY_ARG:
		o->where = arg;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	if (err || o->interval_ms < 100 || o->range_ms < WINDOW_SECONDS * 1000)
		argp_error(state, "bad value '%s'", arg);
	return 0;
}

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static struct report_layout layout_of(const struct options *o)
{
	struct report_layout l = { 0 };
	struct winsize size;

	if (o->once || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row)
		return l;
	l.columns = size.ws_col;
	l.rows = size.ws_row > HEAD_ROWS ? size.ws_row - HEAD_ROWS : 1;
	return l;
}

/*
 * Asks and prints once. The range includes the current window. Its requests of
 * the last few seconds may be missing, so a short range shows too low a rate.
 */
static int look(struct report_source *s, const struct options *o,
		struct buf *json)
{
	int64_t now_s = clock_real_us() / 1000000;
	char from[24], to[24];
	struct report_question q = {
		.from = from, .to = to, .by = o->by, .step = "all"
	};
	struct report_layout layout = layout_of(o);
	int err;

	snprintf(from, sizeof(from), "%" PRId64,
		 now_s - (int64_t)(o->range_ms / 1000) + WINDOW_SECONDS);
	snprintf(to, sizeof(to), "%" PRId64, now_s + 1);
	err = report_ask(s, &q, json);
	if (err)
		return err;
	if (!o->once) {
		time_t t = (time_t)now_s;
		struct tm tm;
		char when[16] = "";

		if (localtime_r(&t, &tm))
			strftime(when, sizeof(when), "%H:%M:%S", &tm);
		printf(CLEAR "redtap top  %s  last %" PRIu64 " s  %s\n\n",
		       o->where, o->range_ms / 1000, when);
	}
	err = report_print(stdout, json, &layout);
	fflush(stdout);
	return err;
}

static void wait_ms(uint64_t ms)
{
	struct timespec t = { .tv_sec = (time_t)(ms / 1000),
			      .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL); /* returns early on a signal */
}

int cmd_top(int argc, char **argv)
{
	struct argp_child children[] = { { &cli_log_argp, 0, NULL, 0 }, { 0 } };
	struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "[URL|STORE]",
		.doc = "Show the busiest services and routes, from the URL of "
		       "an aggregator (http://127.0.0.1:9470) or from a store "
		       "file or folder, refreshed until Ctrl-C.",
		.children = children,
	};
	struct options o = { .where = "http://127.0.0.1:9470",
			     .by = "service,role,route",
			     .interval_ms = 2000,
			     .range_ms = 60000 };
	struct sigaction sa = { .sa_handler = on_signal };
	struct report_source source;
	struct buf json = { 0 };
	int err;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	err = report_open(&source, o.where, o.ca_file);
	if (err) {
		log_error("cannot open source=%s error=\"%s\"", o.where,
			  strerror(-err));
		return EXIT_FAILURE;
	}
	if (!isatty(STDOUT_FILENO))
		o.once = true;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	do {
		err = look(&source, &o, &json);
		if (!o.once && err != -EINVAL)
			wait_ms(o.interval_ms);
	} while (!o.once && !interrupted && err != -EINVAL);
	if (err == -EPROTO)
		log_error("not an answer of an aggregator source=%s", o.where);
	buf_fini(&json);
	report_close(&source);
	return err && !interrupted ? EXIT_FAILURE : EXIT_SUCCESS;
}
