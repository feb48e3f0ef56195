/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Breaks things at random moments while agents send a known number of
 * requests, and compares what the endpoint shows in the end with what was
 * sent, agent by agent. The aggregator is the real program; the agents are
 * processes with the real packer, outbox (on disk if they are killed) and
 * uplink. A scraped counter that goes down fails the run.
 *
 *	crash [--who=aggregator|agents|both] [--kills=N] [--agents=N]
 *	      [--port=N] [--seed=N]
 *
 * Batch number k of an agent holds requests_of(k) requests that depend on k
 * only, so the last number that an agent used says what it has sent.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/outbox.h"
#include "probe-agent/packer.h"
#include "probe-agent/uplink.h"

#define AGENTS_MAX 64u
#define TICK_US 4000u
#define DRAIN_MS 60000u

static void die(const char *what)
{
	fprintf(stderr, "crash: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void sleep_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

/* ---- the truth ---------------------------------------------------------- */

static unsigned requests_of(uint64_t sequence)
{
	return 1 + (unsigned)(sequence * 7919 % 211);
}

static uint64_t duration_of(uint64_t sequence, unsigned i)
{
	return (sequence * 31 + i * 977) % 1300000;
}

struct sums {
	uint64_t requests, duration_us;
};

static struct sums truth_of(uint64_t last_sequence)
{
	struct sums s = { 0, 0 };

	for (uint64_t k = 1; k <= last_sequence; k++)
		for (unsigned i = 0; i < requests_of(k); i++) {
			s.requests++;
			s.duration_us += duration_of(k, i);
		}
	return s;
}

/* ---- an agent ------------------------------------------------------------ */

static volatile sig_atomic_t agent_ends;

static void on_term(int sig)
{
	(void)sig;
	agent_ends = 1;
}

struct agent {
	const char *name;
	struct outbox *outbox;
	struct uplink *uplink;
	struct packer *packer;
	struct batch_losses before; /* of earlier lives */
	uint64_t epoch, sequence, captured;
};

static void add_batch(struct agent *a)
{
	uint64_t k = a->sequence + 1;
	unsigned n = requests_of(k);
	struct outbox_stats st;
	struct batch_losses l = a->before;
	void *data;
	size_t len;

	for (unsigned i = 0; i < n; i++) {
		struct event e = {
			.service = a->name,
			.namespace_ = "",
			.instance = "",
			.container = "",
			.executable = "",
			.method = i % 3 ? "GET" : "POST",
			.route = i % 2 ? "/a" : "/b/{id}",
			.scheme = "http",
			.address = "",
			.role = 1,
			.status = i % 5 ? 200 : 500,
			.version = 11,
			.duration_us = duration_of(k, i),
			.response_bytes = k % 1000,
		};

		e.start_us = clock_steady_us() - (int64_t)e.duration_us;
		e.ttfb_us = e.duration_us;
		if (packer_add(a->packer, &e) < 0)
			die("packer_add");
	}
	outbox_stats(a->outbox, &st);
	a->captured += n;
	l.captured = a->captured;
	l.dropped[LOSS_OUTBOX] += st.dropped_events;
	l.dropped[LOSS_REFUSED] += st.refused_events;
	l.rolled_up += st.rolled_up_events;
	if (packer_take(a->packer, &l, &data, &len, &a->sequence) < 0 ||
	    outbox_push(a->outbox, &data, len, a->epoch, a->sequence, n) < 0)
		die("outbox_push");
}

static unsigned number(const char *text, unsigned max);

static void sleep_us(unsigned us)
{
	struct timespec t = { us / 1000000, (long)(us % 1000000) * 1000 };

	nanosleep(&t, NULL);
}

/*
 * NAME URL OUTBOX DONE [CAP_BYTES TICK_US]. OUTBOX "": in memory. Writes the
 * last sequence to DONE when told to end, once all is acknowledged.
 */
static int run_agent(int argc, char **argv)
{
	const char *url = argv[1], *path = argv[2], *done = argv[3];
	struct outbox_options oo = { .path = *path ? path : NULL };
	unsigned tick_us = TICK_US;
	struct uplink_options uo = { .url = url, .reply_timeout_ms = 300 };
	struct agent a = { .name = argv[0] };
	sigset_t term;
	FILE *f;

	if (argc == 6) {
		oo.cap_bytes = number(argv[4], 1u << 31);
		tick_us = number(argv[5], 1u << 31);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_init(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
	/* Blocked by start_agent(), so that none is too early. */
	signal(SIGTERM, on_term);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_UNBLOCK, &term, NULL);
	if (outbox_open(&a.outbox, &oo) < 0)
		die("outbox_open");
	outbox_epoch(a.outbox, &a.epoch, &a.sequence);
	outbox_losses(a.outbox, &a.before);
	a.captured = a.before.captured;
	if (packer_new(&a.packer, a.name, a.epoch) < 0 ||
	    uplink_start(&a.uplink, &uo, a.outbox) < 0)
		die("agent");
	packer_resume(a.packer, a.sequence, a.before.packed);
	while (!agent_ends) {
		add_batch(&a);
		sleep_us(tick_us);
	}
	add_batch(&a); /* its losses are the last word */
	uplink_stop(a.uplink, DRAIN_MS);
	packer_free(a.packer);
	f = fopen(done, "w");
	if (!f || fprintf(f, "%llu\n", (unsigned long long)a.sequence) < 0 ||
	    fclose(f) != 0)
		die(done);
	outbox_close(a.outbox);
	return 0;
}

/* ---- a scrape ------------------------------------------------------------ */

/* The whole answer, or false: the aggregator was not there to the end. */
static bool scrape(unsigned port, struct buf *out)
{
	static const char ask[] = "GET /metrics HTTP/1.0\r\n"
				  "Accept: text/plain\r\n\r\n";
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *text, *length, *body;
	ssize_t n = 0;

	buf_reset(out);
	if (fd < 0)
		die("socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    send(fd, ask, sizeof(ask) - 1, MSG_NOSIGNAL) < 0) {
		close(fd);
		return false;
	}
	for (;;) {
		char *at = buf_reserve(out, 65536);

		if (!at)
			die("memory");
		n = read(fd, at, 65536);
		if (n <= 0)
			break;
		out->len += (size_t)n;
	}
	close(fd);
	text = buf_str(out);
	if (n < 0 || !text || strncmp(text, "HTTP/1.", 7) != 0 ||
	    strncmp(text + 8, " 200", 4) != 0)
		return false;
	body = strstr(text, "\r\n\r\n");
	length = strcasestr(text, "\r\nContent-Length:");
	return body && length && length < body &&
	       strtoull(length + 17, NULL, 10) == strlen(body + 4);
}

struct sample {
	char *name; /* with labels */
	double value;
};

struct samples {
	struct sample *row;
	size_t n, cap;
};

/* Counters that outlive the process. */
static bool lasts(const char *line)
{
	static const char *const prefix[] = {
		"http_",
		"redtap_http_",
		"redtap_agent_",
		"redtap_aggregator_batches_total",
		"redtap_aggregator_events_total",
		"redtap_aggregator_batches_duplicate_total",
	};
	static const char *const suffix[] = { "_total", "_count", "_sum",
					      "_bucket" };
	size_t name = strcspn(line, "{ ");

	for (size_t i = 0; i < sizeof(prefix) / sizeof(*prefix); i++) {
		if (strncmp(line, prefix[i], strlen(prefix[i])) != 0)
			continue;
		for (size_t k = 0; k < sizeof(suffix) / sizeof(*suffix); k++) {
			size_t len = strlen(suffix[k]);

			if (name > len &&
			    strncmp(line + name - len, suffix[k], len) == 0)
				return true;
		}
	}
	return false;
}

static void samples_free(struct samples *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->row[i].name);
	free(s->row);
	memset(s, 0, sizeof(*s));
}

static int by_name(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static void parse(struct samples *s, struct buf *text)
{
	char *body = strstr(text->data, "\r\n\r\n") + 4, *save = NULL;

	for (char *line = strtok_r(body, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *space = strrchr(line, ' ');

		if (*line == '#' || !space || !lasts(line))
			continue;
		if (s->n == s->cap) {
			s->cap = s->cap ? 2 * s->cap : 256;
			s->row = realloc(s->row, s->cap * sizeof(*s->row));
			if (!s->row)
				die("memory");
		}
		*space = 0;
		s->row[s->n].name = strdup(line);
		s->row[s->n++].value = strtod(space + 1, NULL);
	}
	if (s->n)
		qsort(s->row, s->n, sizeof(*s->row), by_name);
}

static const struct sample *find(const struct samples *s, const char *name)
{
	struct sample key = { .name = (char *)(uintptr_t)name, .value = 0 };

	if (!s->n)
		return NULL;
	return bsearch(&key, s->row, s->n, sizeof(*s->row), by_name);
}

/* How many counters of before are lower or missing in now; told on stderr. */
static unsigned went_back(const struct samples *before,
			  const struct samples *now)
{
	unsigned n = 0;

	for (size_t i = 0; i < before->n; i++) {
		const struct sample *b = &before->row[i];
		const struct sample *s = find(now, b->name);

		if (s && s->value >= b->value)
			continue;
		if (n++ < 5)
			fprintf(stderr, "crash: %s went from %.6f to %.6f\n",
				b->name, b->value, s ? s->value : -1);
	}
	return n;
}

/* Sum of a family's samples with that label; -1 if there is none. */
static double sum_of(const struct samples *s, const char *family,
		     const char *label, const char *value)
{
	double sum = -1;
	char want[128];

	snprintf(want, sizeof(want), "%s=\"%s\"", label, value);
	for (size_t i = 0; i < s->n; i++) {
		const char *name = s->row[i].name;

		if (strncmp(name, family, strlen(family)) != 0 ||
		    name[strlen(family)] != '{' || !strstr(name, want))
			continue;
		sum = (sum < 0 ? 0 : sum) + s->row[i].value;
	}
	return sum;
}

/* ---- processes ----------------------------------------------------------- */

struct run {
	const char *self, *aggregator, *who;
	unsigned kills, agents, port;
	uint64_t seed;
	char dir[64];
	pid_t server, agent[AGENTS_MAX];
	struct samples last;
	unsigned scrapes, back;
};

static uint64_t rnd(struct run *r)
{
	r->seed ^= r->seed << 13;
	r->seed ^= r->seed >> 7;
	r->seed ^= r->seed << 17;
	return r->seed >> 11;
}

static pid_t start_server(const struct run *r)
{
	char dir[96], web[64], ingest[64];
	pid_t pid;

	snprintf(dir, sizeof(dir), "--store.dir=%s/store", r->dir);
	snprintf(web, sizeof(web), "--web.listen-address=127.0.0.1:%u",
		 r->port);
	snprintf(ingest, sizeof(ingest), "--ingest.listen=tcp://127.0.0.1:%u",
		 r->port + 1);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(r->aggregator, "redtap-aggregator", "serve", dir, web,
		      ingest, "--store.checkpoint=1s", "--log.level=error",
		      (char *)NULL);
		_exit(127);
	}
	if (pid < 0)
		die("fork");
	return pid;
}

static pid_t start_agent(const struct run *r, unsigned i)
{
	bool killed = strcmp(r->who, "aggregator") != 0;
	char name[32], url[64], path[96], done[96];
	sigset_t term;
	pid_t pid;

	snprintf(name, sizeof(name), "crash-%u", i);
	snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", r->port + 1);
	snprintf(path, sizeof(path), "%s/outbox-%u", r->dir, i);
	snprintf(done, sizeof(done), "%s/done-%u", r->dir, i);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pid = fork();
	if (pid == 0) {
		pthread_sigmask(SIG_BLOCK, &term, NULL);
		execl(r->self, "crash", "agent", name, url, killed ? path : "",
		      done, (char *)NULL);
		_exit(127);
	}
	if (pid < 0)
		die("fork");
	return pid;
}

static void kill_hard(pid_t pid, const char *what)
{
	int status;

	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (!WIFSIGNALED(status)) {
		fprintf(stderr, "crash: %s had ended by itself: %d\n", what,
			WEXITSTATUS(status));
		exit(1);
	}
}

static void end_softly(pid_t pid, const char *what)
{
	int status;

	kill(pid, SIGTERM);
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "crash: %s did not end well: %#x\n", what,
			(unsigned)status);
		exit(1);
	}
}

/* One scrape, if the aggregator is there; counters must not have gone back. */
static bool look(struct run *r)
{
	struct samples now = { 0 };
	struct buf text = { 0 };
	bool whole = scrape(r->port, &text);

	if (whole) {
		parse(&now, &text);
		r->scrapes++;
		r->back += went_back(&r->last, &now);
		samples_free(&r->last);
		r->last = now;
	}
	buf_fini(&text);
	return whole;
}

static void look_until(struct run *r)
{
	for (int i = 0; i < 1000; i++) {
		if (look(r))
			return;
		sleep_ms(20);
	}
	die("no scrape");
}

static void break_things(struct run *r)
{
	bool server = strcmp(r->who, "agents") != 0;
	bool agents = strcmp(r->who, "aggregator") != 0;

	for (unsigned k = 0; k < r->kills; k++) {
		sleep_ms((unsigned)(rnd(r) % 250));
		look(r);
		sleep_ms((unsigned)(rnd(r) % 30));
		if (server && (!agents || k % 2 == 0)) {
			kill_hard(r->server, "the aggregator");
			r->server = start_server(r);
		} else {
			unsigned i = (unsigned)(rnd(r) % r->agents);

			kill_hard(r->agent[i], "an agent");
			r->agent[i] = start_agent(r, i);
		}
	}
}

/* ---- the end ------------------------------------------------------------- */

static uint64_t last_sequence(const struct run *r, unsigned i)
{
	unsigned long long n = 0;
	char done[96];
	FILE *f;

	snprintf(done, sizeof(done), "%s/done-%u", r->dir, i);
	f = fopen(done, "r");
	if (!f || fscanf(f, "%llu", &n) != 1)
		die(done);
	fclose(f);
	return n;
}

struct verdict {
	uint64_t sent, counted, lost, twice;
	unsigned wrong; /* anything else that does not add up */
};

static void expect(struct verdict *v, const char *node, const char *what,
		   double have, double want)
{
	if (have - want < 0.0000005 && want - have < 0.0000005)
		return;
	v->wrong++;
	fprintf(stderr, "crash: %s: %s is %.6f, should be %.6f\n", node, what,
		have, want);
}

static void judge(struct run *r, struct verdict *v)
{
	for (unsigned i = 0; i < r->agents; i++) {
		struct sums t = truth_of(last_sequence(r, i));
		char node[32];
		double n;

		snprintf(node, sizeof(node), "crash-%u", i);
		n = sum_of(&r->last, "redtap_http_requests_total", "job", node);
		v->sent += t.requests;
		v->counted += n > 0 ? (uint64_t)n : 0;
		if (n < (double)t.requests)
			v->lost += t.requests - (n > 0 ? (uint64_t)n : 0);
		else
			v->twice += (uint64_t)n - t.requests;
		expect(v, node, "the sum of durations",
		       sum_of(&r->last,
			      "http_server_request_duration_seconds_sum", "job",
			      node),
		       (double)t.duration_us / 1e6);
		expect(v, node, "captured",
		       sum_of(&r->last, "redtap_agent_events_captured_total",
			      "node", node),
		       (double)t.requests);
		expect(v, node, "counted",
		       sum_of(&r->last, "redtap_agent_events_counted_total",
			      "node", node),
		       (double)t.requests);
		n = sum_of(&r->last, "redtap_agent_events_dropped_total",
			   "node", node);
		expect(v, node, "dropped", n < 0 ? 0 : n, 0);
	}
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int run(struct run *r)
{
	struct verdict v = { 0 };
	bool good;

	strcpy(r->dir, "/tmp/redtap-crash-XXXXXX");
	if (!mkdtemp(r->dir))
		die("mkdtemp");
	r->server = start_server(r);
	for (unsigned i = 0; i < r->agents; i++)
		r->agent[i] = start_agent(r, i);
	look_until(r);
	break_things(r);
	look_until(r);
	for (unsigned i = 0; i < r->agents; i++)
		kill(r->agent[i], SIGTERM);
	for (unsigned i = 0; i < r->agents; i++)
		end_softly(r->agent[i], "an agent");
	look_until(r);
	/* And the same again after an orderly end. */
	end_softly(r->server, "the aggregator");
	r->server = start_server(r);
	look_until(r);
	judge(r, &v);
	end_softly(r->server, "the aggregator");
	good = !v.lost && !v.twice && !v.wrong && !r->back;
	if (good)
		nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	else
		fprintf(stderr, "crash: store and outboxes are in %s\n",
			r->dir);
	printf("# %s: %u scrapes, %u counters went back, %u other errors\n",
	       r->who, r->scrapes, r->back, v.wrong);
	printf("crash: kills=%u sent=%llu counted=%llu lost=%llu twice=%llu\n",
	       r->kills, (unsigned long long)v.sent,
	       (unsigned long long)v.counted, (unsigned long long)v.lost,
	       (unsigned long long)v.twice);
	samples_free(&r->last);
	return good ? 0 : 1;
}

static unsigned number(const char *text, unsigned max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || n == 0 || n > max) {
		fprintf(stderr, "crash: not a number from 1 to %u: %s\n", max,
			text);
		exit(2);
	}
	return (unsigned)n;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "who", required_argument, NULL, 'w' },
		{ "kills", required_argument, NULL, 'k' },
		{ "agents", required_argument, NULL, 'a' },
		{ "port", required_argument, NULL, 'p' },
		{ "seed", required_argument, NULL, 's' },
		{ "aggregator", required_argument, NULL, 'b' },
		{ NULL, 0, NULL, 0 },
	};
	struct run r = { .self = "/proc/self/exe",
			 .aggregator = "build/redtap-aggregator",
			 .who = "aggregator",
			 .kills = 50,
			 .agents = 8,
			 .port = 21150,
			 .seed = (uint64_t)clock_real_ns() };
	int c;

	if ((argc == 6 || argc == 8) && strcmp(argv[1], "agent") == 0)
		return run_agent(argc - 2, argv + 2);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'w':
			r.who = optarg;
			break;
		case 'k':
			r.kills = number(optarg, 100000);
			break;
		case 'a':
			r.agents = number(optarg, AGENTS_MAX);
			break;
		case 'p':
			r.port = number(optarg, 65000);
			break;
		case 's':
			r.seed = number(optarg, 1u << 31);
			break;
		case 'b':
			r.aggregator = optarg;
			break;
		default:
			return 2;
		}
	}
	printf("# seed %llu\n", (unsigned long long)r.seed);
	fflush(stdout);
	return run(&r);
}
