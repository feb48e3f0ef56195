/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/replay/replay.h"

/*
 * `redtap-agent replay`: sends stored batches, or requests that other programs
 * logged, to an aggregator. Its replies say which batches it has already; these
 * are skipped.
 */

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/cli.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/version.h"
#include "proto/limits.h"
#include "proto/trace.h"

int cmd_replay(int argc, char **argv);

#define REPLY_TIMEOUT_MS 3000 /* also the longest delay of an interrupt */
#define WAIT_MS 30000

enum {
	KEY_TO = CLI_KEY_COMMAND,
	KEY_SPEED,
	KEY_AS,
	KEY_SHIFT,
	KEY_WAIT,
	KEY_FORMAT,
	KEY_SERVICE,
	KEY_MAP,
	KEY_BACKFILL,
	KEY_CA,
	KEY_CERT,
	KEY_KEY,
	KEY_TOKEN,
};

static const struct argp_option options[] = {
	{ "to", KEY_TO, "URL", 0, "Aggregator (tcp://127.0.0.1:9471)", 1 },
	{ "speed", KEY_SPEED, "N|max", 0,
	  "1: at the original speed; N: N times as fast; max (default)", 1 },
	{ "as", KEY_AS, "ID", 0,
	  "Send as this agent, not as those in the file; if the file has "
	  "several, as ID-AGENT",
	  1 },
	{ "shift", KEY_SHIFT, "now", 0,
	  "Move all times by a multiple of 10 s, so that requests end now", 1 },
	{ "wait", KEY_WAIT, "DURATION", 0,
	  "Give up when the aggregator has not answered for this long (30s)",
	  1 },
	{ "tls.ca-file", KEY_CA, "FILE", 0, "CA of the aggregator", 1 },
	{ "tls.cert-file", KEY_CERT, "FILE", 0, "Client certificate", 1 },
	{ "tls.key-file", KEY_KEY, "FILE", 0, "Private key of the certificate",
	  1 },
	{ "token-file", KEY_TOKEN, "FILE", 0,
	  "A secret that the aggregator asks for (that of one on this host)",
	  1 },
	{ "format", KEY_FORMAT, "NAME", 0,
	  "Format of files that are not traces: auto (default), combined, "
	  "combined+time, apache-D, ingress-nginx, traefik, caddy, envoy, "
	  "alb, haproxy, w3c, json, har",
	  2 },
	{ "service", KEY_SERVICE, "NAME", 0,
	  "Service of imported requests that name none (imported)", 2 },
	{ "map", KEY_MAP, "OURS=THEIRS,…", 0,
	  "Names of the fields in JSON lines", 2 },
	{ "backfill", KEY_BACKFILL, "FILE", 0,
	  "Send nothing; write OpenMetrics for `promtool tsdb "
	  "create-blocks-from openmetrics`",
	  3 },
	{ 0 },
};

static int parse_speed(const char *arg, double *out)
{
	char *end;

	if (strcmp(arg, "max") == 0) {
		*out = 0;
		return 0;
	}
	*out = strtod(arg, &end);
	return *end == '\0' && end != arg && isfinite(*out) && *out > 0
		       ? 0
		       : -EINVAL;
}

static int parse_flag(struct replay *r, int key, const char *arg)
{
	switch (key) {
	case KEY_TO:
		r->uplink_options.url = arg;
		return 0;
	case KEY_SPEED:
		return parse_speed(arg, &r->speed);
	case KEY_AS:
		r->as = arg;
		return *arg ? 0 : -EINVAL;
	case KEY_SHIFT:
		r->shift = true;
		return strcmp(arg, "now") == 0 ? 0 : -EINVAL;
	case KEY_WAIT:
		return cli_parse_duration_ms(arg, &r->wait_ms);
	case KEY_FORMAT:
		return import_format_parse(arg, &r->import.format);
	case KEY_SERVICE:
		r->import.service = arg;
		return *arg ? 0 : -EINVAL;
	case KEY_MAP:
		r->import.map = arg;
		return 0;
	case KEY_BACKFILL:
		r->backfill_file = arg;
		return 0;
	case KEY_CA:
		r->uplink_options.ca_file = arg;
		return 0;
	case KEY_CERT:
		r->uplink_options.cert_file = arg;
		return 0;
	case KEY_KEY:
		r->uplink_options.key_file = arg;
		return 0;
	case KEY_TOKEN:
		r->uplink_options.token_file = arg;
		return 0;
	default:
		return -ENOENT;
	}
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct replay *r = state->input;
	int err;

	if (key == ARGP_KEY_ARG) {
		if (r->n_files == REPLAY_FILES_MAX)
			argp_error(state, "more than %d files",
				   REPLAY_FILES_MAX);
		r->file[r->n_files++] = arg;
		return 0;
	}
	if (key == ARGP_KEY_END && r->n_files == 0)
		argp_error(state, "no file given");
	if (key < CLI_KEY_COMMAND || key > KEY_TOKEN)
		return ARGP_ERR_UNKNOWN;
	err = parse_flag(r, key, arg);
	if (err == -EINVAL)
		argp_error(state, "bad value '%s'", arg);
	return err == -ENOENT ? ARGP_ERR_UNKNOWN : 0;
}

static void on_signal(int sig)
{
	(void)sig;
	replay_interrupted = 1;
}

/* An interrupt is waited for only while batches are sent; else it ends us. */
static void catch_interrupts(bool on)
{
	struct sigaction sa = { .sa_handler = on ? on_signal : SIG_DFL };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

/* --- one file --- */

static int each_batch(struct replay *r, struct trace_reader *reader)
{
	struct batch_arena *arena;
	const void *data;
	struct batch b;
	size_t len;
	int err = batch_arena_new(&arena);

	if (err)
		return err;
	while (!err && !replay_interrupted &&
	       trace_read(reader, &data, &len) == 1) {
		err = batch_decode(arena, data, len, &b, NULL);
		if (!err)
			err = r->backfill ? backfill_add(r->backfill, &b)
					  : replay_send(r, &b, data, len);
		else if (err == -EPROTO)
			err = 0; /* counted by replay_streams_make() */
		replay_draw(r, false);
	}
	batch_arena_free(arena);
	return !err && replay_interrupted ? -EINTR : err;
}

static uint64_t not_sent(const struct replay *r)
{
	return r->plan.requests - r->requests - r->known_requests -
	       r->refused_requests;
}

static void report_replay(const struct replay *r)
{
	if (r->plan.damage)
		log_warn(
			"damaged file=%s problem=\"%s\" whole_batches=%" PRIu64,
			r->name, r->plan.damage,
			r->plan.batches + r->plan.invalid);
	if (r->plan.invalid > 0)
		log_warn("invalid batches skipped file=%s batches=%" PRIu64,
			 r->name, r->plan.invalid);
	if (!r->backfill)
		log_info("replayed file=%s requests=%" PRIu64
			 " batches=%" PRIu64 " counted_before=%" PRIu64
			 " refused=%" PRIu64 " not_sent=%" PRIu64,
			 r->name, r->requests, r->batches, r->known_requests,
			 r->refused_requests, not_sent(r));
}

/* A file that was not counted whole must show in the exit status. */
static bool is_whole(const struct replay *r)
{
	return !r->plan.damage && r->plan.invalid == 0 &&
	       r->refused_requests == 0 && (r->backfill || not_sent(r) == 0);
}

static int replay_file(struct replay *r, const char *name)
{
	struct trace_reader *reader = NULL;
	FILE *f = NULL;
	int err;

	r->name = name;
	r->batches = r->requests = r->known_batches = r->known_requests = 0;
	r->refused_requests = 0;
	catch_interrupts(false);
	err = replay_open(r, &f);
	if (err)
		return err;
	err = replay_streams_make(&r->plan, f, r->as);
	rewind(f);
	if (!err)
		err = trace_reader_new(&reader, f);
	r->start_ns = clock_mono_ns();
	if (!err) {
		catch_interrupts(true);
		err = each_batch(r, reader);
	}
	if (reader) {
		replay_draw(r, true);
		report_replay(r);
	}
	if (!err && !is_whole(r))
		err = -EBADMSG;
	trace_reader_free(reader);
	replay_streams_fini(&r->plan);
	fclose(f);
	return err;
}

static const char *explain(const struct replay *r, int err)
{
	if (r->problem && (err == -EPROTO || err == -ENODATA))
		return r->problem;
	switch (err) {
	case -EINTR:
		return "interrupted; the same command continues from here";
	case -ETIMEDOUT:
		return "the aggregator does not reply: see --to and --wait; "
		       "the same command continues from here";
	case -EPROTO:
		return "neither a trace nor in a known format: see "
		       "--format";
	case -E2BIG:
		return "more than 10000 agents and starts in one file";
	case -EFBIG:
		return "the file decompresses to much more than its requests "
		       "need";
	case -ENOTSUP:
		return "the trace is of a newer version";
	case -EBADMSG:
		return "not all requests were counted: see above";
	default:
		return strerror(-err);
	}
}

static int replay_files(struct replay *r)
{
	int err, worst = 0;
	size_t i;

	for (i = 0; i < r->n_files && !replay_interrupted; i++) {
		err = replay_file(r, r->file[i]);
		if (err)
			log_error("replay failed file=%s problem=\"%s\"",
				  r->file[i], explain(r, err));
		if (err && worst == 0)
			worst = err;
		if (err == -ETIMEDOUT) {
			i++;
			break; /* the next file would fail, too */
		}
	}
	if (i < r->n_files && worst == 0)
		worst = -EINTR;
	for (; i < r->n_files; i++)
		log_error("left out file=%s", r->file[i]);
	return worst;
}

static int run_replay(struct replay *r)
{
	int err, end;

	if (!r->backfill_file) {
		err = uplink_open(&r->uplink, &r->uplink_options);
		if (err)
			return err;
		err = replay_files(r);
		uplink_close(r->uplink);
		return err;
	}
	err = backfill_new(&r->backfill);
	if (err)
		return err;
	err = replay_files(r);
	if (!err || err == -EBADMSG) {
		end = backfill_write(r->backfill, r->backfill_file);
		if (end)
			log_error("cannot write backfill file=%s error=\"%s\"",
				  r->backfill_file, strerror(-end));
		err = end ? end : err;
	}
	backfill_free(r->backfill);
	return err;
}

int cmd_replay(int argc, char **argv)
{
	struct argp_child children[] = { { &cli_log_argp, 0, NULL, 0 }, { 0 } };
	struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "FILE…",
		.doc = "Sends traces (from `redtap-aggregator export` or "
		       "`redtap-agent run --record`), access logs, JSON lines "
		       "or HAR files to an aggregator. A file that is sent again "
		       "as the same agent is counted once. FILE - is standard "
		       "input.",
		.children = children,
	};
	struct replay r = {
		.uplink_options = { .url = "tcp://127.0.0.1:9471",
				    .reply_timeout_ms = REPLY_TIMEOUT_MS },
		.wait_ms = WAIT_MS,
		.import = { .agent = "import", .service = "imported" },
	};

	argp_parse(&argp, argc, argv, 0, NULL, &r);
	if (r.wait_ms < r.uplink_options.reply_timeout_ms)
		r.uplink_options.reply_timeout_ms =
			r.wait_ms > 0 ? (uint32_t)r.wait_ms : 1;
	r.bar = isatty(STDERR_FILENO);
	return run_replay(&r) ? EXIT_FAILURE : EXIT_SUCCESS;
}
