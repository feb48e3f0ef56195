/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `redtap-agent synth`: sends synthetic load from a simulated fleet over real
 * connections. At the end, prints the truth about what was counted.
 */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cli.h"
#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/synth/fleet.h"
#include "probe-agent/synth/readings.h"
#include "probe-agent/synth/traffic.h"
#include "proto/limits.h"

int cmd_synth(int argc, char **argv);

#define SETTLE_MS_DEFAULT 30000u
#define SETTLE_MS_INTERRUPTED 1000u /* longest --settle after a signal */
#define SILENCE_MS 5000u /* without any reply, then a warning */

enum {
	KEY_TO = CLI_KEY_COMMAND,
	KEY_AGENTS,
	KEY_RATE,
	KEY_EVENTS,
	KEY_SERVICES,
	KEY_ROUTES,
	KEY_SEED,
	KEY_DURATION,
	KEY_SPEED,
	KEY_BATCH,
	KEY_ID,
	KEY_TIMEOUT,
	KEY_SETTLE,
	KEY_FAULT,
	KEY_TRUTH,
	KEY_SAMPLES,
};

struct synth {
	/* From the flags. */
	const char *url, *id, *truth;
	uint64_t agents, rate, events, services, routes, seed, batch, samples;
	uint64_t duration_ms, timeout_ms, settle_ms;
	bool max;
	enum fleet_fault fault;
	/* Derived from them. */
	uint64_t whole_batches; /* of all agents; UINT64_MAX: no limit */
	struct traffic *traffic;
	struct readings *readings; /* NULL: requests are sent */
	atomic_uint_fast64_t *times; /* how often each template was counted */
};

static const struct argp_option options[] = {
	{ "to", KEY_TO, "URL", 0, "Aggregator (tcp://127.0.0.1:9471)", 0 },
	{ "agents", KEY_AGENTS, "N", 0,
	  "Number of agents, each with a connection (8)", 0 },
	{ "rate", KEY_RATE, "R", 0,
	  "Events per second, over all agents (10000)", 0 },
	{ "speed", KEY_SPEED, "max", 0,
	  "Send as fast as possible, not at a rate", 0 },
	{ "events", KEY_EVENTS, "E", 0, "Events in total (100000)", 0 },
	{ "duration", KEY_DURATION, "TIME", 0, "Stop after this time", 0 },
	{ "services", KEY_SERVICES, "S", 0, "Number of services (10)", 0 },
	{ "routes", KEY_ROUTES, "K", 0, "Routes per service (20)", 0 },
	{ "seed", KEY_SEED, "X", 0, "The same seed gives the same events (1)",
	  0 },
	{ "batch", KEY_BATCH, "N", 0, "Events per batch (chosen by the rate)",
	  0 },
	{ "id", KEY_ID, "PREFIX", 0,
	  "Agents have the ids PREFIX-00001 … (synth)", 0 },
	{ "reply-timeout", KEY_TIMEOUT, "TIME", 0,
	  "Send a batch again without a reply after this time (10s)", 0 },
	{ "settle", KEY_SETTLE, "TIME", 0,
	  "At the end, wait up to this long for replies (30s)", 0 },
	{ "fault", KEY_FAULT, "dup|reorder|rubbish", 0,
	  "Inject faults: send each batch twice, swap pairs of batches, or "
	  "send random bytes before each batch",
	  0 },
	{ "samples", KEY_SAMPLES, "N", 0,
	  "Send readings of user programs, N series each, not requests; "
	  "--events are increments then",
	  0 },
	{ "truth", KEY_TRUTH, "FILE", 0,
	  "Write the truth to this file (stdout)", 0 },
	{ 0 },
};

static int parse_fault(const char *arg, enum fleet_fault *out)
{
	static const char *const names[] = { "none", "dup", "reorder",
					     "rubbish" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(arg, names[i]) == 0) {
			*out = (enum fleet_fault)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_value(int key, const char *arg, struct synth *s)
{
	switch (key) {
	case KEY_AGENTS:
		return cli_parse_u64(arg, 1, 1000000, &s->agents);
	case KEY_RATE:
		return cli_parse_u64(arg, 1, UINT32_MAX, &s->rate);
	case KEY_EVENTS:
		return cli_parse_u64(arg, 1, UINT64_C(1) << 50, &s->events);
	case KEY_SERVICES:
		return cli_parse_u64(arg, 1, 1000000, &s->services);
	case KEY_ROUTES:
		return cli_parse_u64(arg, 1, 1000000, &s->routes);
	case KEY_SEED:
		return cli_parse_u64(arg, 0, UINT64_MAX, &s->seed);
	case KEY_BATCH:
		return cli_parse_u64(arg, 1, BATCH_EVENTS, &s->batch);
	case KEY_SAMPLES:
		return cli_parse_u64(arg, 1, LIMIT_SAMPLE_SERIES, &s->samples);
	case KEY_DURATION:
		return cli_parse_duration_ms(arg, &s->duration_ms);
	case KEY_TIMEOUT:
		return cli_parse_duration_ms(arg, &s->timeout_ms);
	case KEY_SETTLE:
		return cli_parse_duration_ms(arg, &s->settle_ms);
	case KEY_SPEED:
		s->max = strcmp(arg, "max") == 0;
		return s->max ? 0 : -EINVAL;
	case KEY_FAULT:
		return parse_fault(arg, &s->fault);
	default:
		return -EINVAL;
	}
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct synth *s = state->input;

	if (key == KEY_TO)
		s->url = arg;
	else if (key == KEY_ID)
		s->id = arg;
	else if (key == KEY_TRUTH)
		s->truth = arg;
	else if (key < CLI_KEY_COMMAND || key > KEY_SAMPLES)
		return ARGP_ERR_UNKNOWN;
	else if (parse_value(key, arg, s) != 0)
		argp_error(state, "bad value '%s'", arg);
	return 0;
}

/* --- what is sent --- */

/* Sets defaults. A batch has half a second of an agent's events, at least 1. */
static void choose(struct synth *s)
{
	uint64_t by_rate = s->rate / s->agents / 2;

	if (s->events == 0)
		s->events = s->duration_ms == 0 ? 100000 : UINT64_MAX;
	if (s->batch == 0)
		s->batch = s->max || by_rate > BATCH_EVENTS ? BATCH_EVENTS
			   : by_rate > 0		    ? by_rate
							    : 1;
	if (s->readings)
		s->batch = readings_increments(s->readings);
	else if (s->batch > s->events)
		s->batch = s->events;
	s->whole_batches =
		s->events == UINT64_MAX ? UINT64_MAX : s->events / s->batch;
}

static uint64_t interval_us(const struct synth *s)
{
	return s->max ? 0 : s->batch * s->agents * 1000000 / s->rate;
}

/* Intervals that one batch may cover, besides 1; ascending. */
static const unsigned multiples[] = { 2, 3,  4,	 5,  6,	 7,  8,
				      9, 10, 16, 32, 64, 128 };

/* Which kind of template covers most of the intervals; 0: the plain one. */
static unsigned kind_for(const struct synth *s, uint64_t intervals)
{
	unsigned kind = 0;

	while (kind < traffic_multiples(s->traffic) &&
	       multiples[kind] <= intervals)
		kind++;
	return kind;
}

/*
 * Agents take whole batches in turn; the rest is one more batch at the end. If
 * the number of events is open, a batch covers several intervals that are due.
 */
static bool next(void *arg, unsigned agent, uint64_t k, uint64_t intervals,
		 struct fleet_batch *out)
{
	const struct synth *s = arg;
	unsigned n = traffic_plain(s->traffic), kind = kind_for(s, intervals);
	struct traffic_template t;
	uint64_t number = k * s->agents + agent;
	unsigned i = (unsigned)(number % n) + kind * n;

	if (number > s->whole_batches ||
	    (number == s->whole_batches && s->events % s->batch == 0))
		return false;
	if (number == s->whole_batches)
		i = traffic_templates(s->traffic); /* that with the rest */
	traffic_template(s->traffic, i, &t);
	*out = (struct fleet_batch){
		.body = t.body,
		.len = t.len,
		.events = t.events,
		.span_us = t.span_us,
		.intervals = kind > 0 ? multiples[kind - 1] : 1,
		.tag = i,
	};
	return true;
}

/* Only whole batches: the truth says what that comes to. */
static bool next_reading(void *arg, unsigned agent, uint64_t k,
			 uint64_t intervals, struct fleet_batch *out)
{
	const struct synth *s = arg;
	uint64_t number = k * s->agents + agent;
	unsigned i = (unsigned)(number % readings_templates(s->readings));

	(void)intervals;
	if (number >= s->whole_batches)
		return false;
	*out = (struct fleet_batch){
		.increments = readings_increments(s->readings),
		.intervals = 1,
		.tag = i,
	};
	out->body = readings_body(s->readings, i, &out->len);
	return true;
}

static void counted(void *arg, const struct fleet_batch *b)
{
	struct synth *s = arg;

	atomic_fetch_add(&s->times[b->tag], 1);
}

/* --- running --- */

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static void pause_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000L }, NULL);
}

static uint64_t since_ms(uint64_t ns)
{
	return (clock_mono_ns() - ns) / CLOCK_NS_PER_MS;
}

static bool over(const struct synth *s, const struct fleet_stats *fs,
		 uint64_t start_ns)
{
	return fs->active == 0 || interrupted ||
	       (s->duration_ms > 0 && since_ms(start_ns) >= s->duration_ms);
}

static bool any_answer(const struct fleet_stats *fs)
{
	return fs->batches + fs->refused + fs->busy + fs->conflicts +
		       fs->duplicates + fs->late + fs->rubbish >
	       0;
}

static uint64_t settle_ms(const struct synth *s)
{
	return interrupted && s->settle_ms > SETTLE_MS_INTERRUPTED
		       ? SETTLE_MS_INTERRUPTED
		       : s->settle_ms;
}

/* Runs the fleet. Returns the seconds until the last reply. */
static double go(const struct synth *s, struct fleet *f, struct fleet_stats *fs)
{
	uint64_t start_ns = clock_mono_ns(), stop_ns;
	bool said = false;

	do {
		pause_ms(5);
		fleet_stats(f, fs);
		if (!said && since_ms(start_ns) >= SILENCE_MS) {
			said = true;
			if (!any_answer(fs))
				log_warn("no reply yet to=%s", s->url);
		}
	} while (!over(s, fs, start_ns));
	fleet_stop(f);
	stop_ns = clock_mono_ns();
	while (fs->outstanding > 0 && since_ms(stop_ns) < settle_ms(s)) {
		pause_ms(5);
		fleet_stats(f, fs);
	}
	return (double)(clock_mono_ns() - start_ns) / 1e9;
}

static unsigned templates(const struct synth *s)
{
	return s->readings ? readings_templates(s->readings)
			   : traffic_templates(s->traffic) + 1;
}

static int print_truth(const struct synth *s, const uint64_t *times, FILE *f)
{
	if (!s->readings) {
		fputs(",\n\"series\":", f);
		return traffic_truth(s->traffic, times, f);
	}
	fputs(",\n\"samples\":", f);
	readings_truth(s->readings, times, f);
	return 0;
}

static int print(const struct synth *s, struct fleet *fleet,
		 const struct fleet_stats *fs, double seconds)
{
	uint64_t events = s->readings ? fs->batches * s->batch : fs->events;
	unsigned n = templates(s);
	uint64_t *times = calloc(n, sizeof(*times));
	FILE *f = s->truth ? fopen(s->truth, "w") : stdout;
	int err;

	if (!f || !times) {
		err = !f ? -errno : -ENOMEM;
		free(times);
		return err;
	}
	for (unsigned i = 0; i < n; i++)
		times[i] = atomic_load(&s->times[i]);
	fprintf(f,
		"{\"agents\":%" PRIu64 ",\"seed\":%" PRIu64
		",\"events\":%" PRIu64 ",\"batches\":%" PRIu64
		",\"bytes\":%" PRIu64 ",\"seconds\":%.3f"
		",\"events_per_second\":%.0f,\"outstanding\":%u",
		s->agents, s->seed, events, fs->batches, fs->bytes, seconds,
		(double)events / seconds, fs->outstanding);
	fprintf(f,
		",\"resent\":%" PRIu64 ",\"refused\":%" PRIu64
		",\"busy\":%" PRIu64 ",\"conflicts\":%" PRIu64
		",\"duplicates\":%" PRIu64 ",\"late\":%" PRIu64
		",\"rubbish\":%" PRIu64 ",\"dials\":%" PRIu64
		",\"gather_ms\":%u",
		fs->resent, fs->refused, fs->busy, fs->conflicts,
		fs->duplicates, fs->late, fs->rubbish, fs->dials,
		fs->gather_ms);
	fprintf(f,
		",\"start_us\":%" PRId64 ",\"interval_us\":%" PRIu64
		",\"batch\":%" PRIu64 ",\"reply_ms_p50\":%u,\"reply_ms_p99\":%u"
		",\"reply_ms_max\":%u",
		fs->start_us, interval_us(s), s->batch,
		fleet_reply_ms(fleet, 500), fleet_reply_ms(fleet, 990),
		fleet_reply_ms(fleet, 1000));
	err = print_truth(s, times, f);
	fputs("}\n", f);
	if (fflush(f) != 0 || ferror(f))
		err = -EIO;
	if (f != stdout)
		fclose(f);
	free(times);
	return err;
}

/* Makes the batches, and the count of each. -EINVAL, -ENOMEM. */
static int prepare(struct synth *s)
{
	struct readings_options ro = {
		.seed = s->seed,
		.series = (unsigned)s->samples,
	};
	struct traffic_options to = {
		.seed = s->seed,
		.services = (unsigned)s->services,
		.routes = (unsigned)s->routes,
		.multiples = multiples,
	};
	int err = s->samples > 0 ? readings_new(&s->readings, &ro) : 0;

	if (err)
		return err;
	choose(s);
	to.events = (unsigned)s->batch;
	if (s->events == UINT64_MAX && !s->max)
		to.n_multiples = sizeof(multiples) / sizeof(*multiples);
	if (s->events != UINT64_MAX)
		to.rest = (unsigned)(s->events % s->batch);
	to.gap_us = s->max ? 10 : 1000000 * s->agents / s->rate;
	if (!s->readings)
		err = traffic_new(&s->traffic, &to);
	if (err)
		return err;
	s->times = calloc(templates(s), sizeof(*s->times));
	return s->times ? 0 : -ENOMEM;
}

static int run_fleet(struct synth *s)
{
	struct fleet_options fo = {
		.url = s->url,
		.agents = (unsigned)s->agents,
		.id_prefix = s->id,
		.epoch = (uint64_t)clock_real_ns(),
		.interval_us = interval_us(s),
		.reply_timeout_ms = (uint32_t)s->timeout_ms,
		.fault = s->fault,
		.next = s->readings ? next_reading : next,
		.counted = counted,
		.arg = s,
	};
	struct fleet_stats fs;
	struct fleet *fleet;
	double seconds;
	int err = fleet_start(&fleet, &fo);

	if (err)
		return err;
	seconds = go(s, fleet, &fs);
	err = print(s, fleet, &fs, seconds);
	if (fs.outstanding > 0)
		log_warn("batches without a reply batches=%u", fs.outstanding);
	fleet_free(fleet);
	return err;
}

int cmd_synth(int argc, char **argv)
{
	struct argp_child children[] = { { &cli_log_argp, 0, NULL, 0 }, { 0 } };
	struct argp argp = {
		.options = options,
		.parser = parse_option,
		.doc = "Sends synthetic load from a simulated fleet of agents, "
		       "and prints the truth about it as JSON.",
		.children = children,
	};
	struct synth s = {
		.url = "tcp://127.0.0.1:9471",
		.id = "synth",
		.agents = 8,
		.rate = 10000,
		.services = 10,
		.routes = 20,
		.seed = 1,
		.timeout_ms = 10000,
		.settle_ms = SETTLE_MS_DEFAULT,
	};
	int err;

	argp_parse(&argp, argc, argv, ARGP_NO_ARGS, NULL, &s);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	err = prepare(&s);
	if (!err)
		err = run_fleet(&s);
	traffic_free(s.traffic);
	readings_free(s.readings);
	free(s.times);
	if (err)
		log_error("synth failed error=\"%s\"", strerror(-err));
	return err ? 1 : 0;
}
