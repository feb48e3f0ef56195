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
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/crash/crash.h"

#define AGENTS_MAX 64u

void crash_die(const char *what)
{
	fprintf(stderr, "crash: %s: %s\n", what, strerror(errno));
	exit(1);
}

void crash_sleep_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

unsigned crash_number(const char *text, unsigned max)
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
		crash_die("fork");
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
	/* Before the fork: the end may come before the child's first step. */
	pthread_sigmask(SIG_BLOCK, &term, NULL);
	pid = fork();
	if (pid == 0) {
		execl(r->self, "crash", "agent", name, url, killed ? path : "",
		      done, (char *)NULL);
		_exit(127);
	}
	pthread_sigmask(SIG_UNBLOCK, &term, NULL);
	if (pid < 0)
		crash_die("fork");
	return pid;
}

static void kill_hard(pid_t pid, const char *what)
{
	int status;

	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		crash_die("waitpid");
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
		crash_die("waitpid");
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
	bool whole = crash_scrape(r->port, &text);

	if (whole) {
		crash_parse(&now, &text);
		r->scrapes++;
		r->back += crash_went_back(&r->last, &now);
		crash_samples_free(&r->last);
		r->last = now;
	}
	buf_fini(&text);
	return whole;
}

static void look_until(struct run *r)
{
	for (int i = 0; i < 6000; i++) {
		if (look(r))
			return;
		crash_sleep_ms(20);
	}
	crash_die("no scrape");
}

static void break_things(struct run *r)
{
	bool server = strcmp(r->who, "agents") != 0;
	bool agents = strcmp(r->who, "aggregator") != 0;

	for (unsigned k = 0; k < r->kills; k++) {
		crash_sleep_ms((unsigned)(rnd(r) % 250));
		look(r);
		crash_sleep_ms((unsigned)(rnd(r) % 30));
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

/* --- the end --- */

static uint64_t last_sequence(const struct run *r, unsigned i)
{
	unsigned long long n = 0;
	char done[96];
	FILE *f;

	snprintf(done, sizeof(done), "%s/done-%u", r->dir, i);
	f = fopen(done, "r");
	if (!f || fscanf(f, "%llu", &n) != 1)
		crash_die(done);
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
		struct sums t = crash_truth_of(last_sequence(r, i));
		char node[32];
		double n;

		snprintf(node, sizeof(node), "crash-%u", i);
		n = crash_sum_of(&r->last, "redtap_http_requests_total", "job",
				 node);
		v->sent += t.requests;
		v->counted += n > 0 ? (uint64_t)n : 0;
		if (n < (double)t.requests)
			v->lost += t.requests - (n > 0 ? (uint64_t)n : 0);
		else
			v->twice += (uint64_t)n - t.requests;
		expect(v, node, "the sum of durations",
		       crash_sum_of(&r->last,
				    "http_server_request_duration_seconds_sum",
				    "job", node),
		       (double)t.duration_us / 1e6);
		expect(v, node, "captured",
		       crash_sum_of(&r->last,
				    "redtap_agent_events_captured_total",
				    "node", node),
		       (double)t.requests);
		expect(v, node, "counted",
		       crash_sum_of(&r->last,
				    "redtap_agent_events_counted_total", "node",
				    node),
		       (double)t.requests);
		n = crash_sum_of(&r->last, "redtap_agent_events_dropped_total",
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
		crash_die("mkdtemp");
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
	crash_samples_free(&r->last);
	return good ? 0 : 1;
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
		return crash_agent(argc - 2, argv + 2);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'w':
			r.who = optarg;
			break;
		case 'k':
			r.kills = crash_number(optarg, 100000);
			break;
		case 'a':
			r.agents = crash_number(optarg, AGENTS_MAX);
			break;
		case 'p':
			r.port = crash_number(optarg, 65000);
			break;
		case 's':
			r.seed = crash_number(optarg, 1u << 31);
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
