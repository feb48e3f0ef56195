/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls: calls functions that uprobes watch, as standard input says, and prints
 * how often.
 *
 *	take FROM TO	take(FROM) … take(TO - 1)
 *	add FIRST N TIMES THREADS	add(FIRST, N), by threads at once
 *	spin SECONDS	take(0) without a pause; prints how often, ns a call
 *	pace US	take(0) every US microseconds from now on; 0: without a pause
 *	stop FILE	ends that; FILE gets the wall clock of each call, in us
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile uint64_t sink;

void take(uint64_t v);
void add(uint32_t first, uint32_t n);

void __attribute__((noinline, noclone)) take(uint64_t v)
{
	sink += v;
}

void __attribute__((noinline, noclone)) add(uint32_t first, uint32_t n)
{
	sink += first + n;
}

struct job {
	uint32_t first, n, times;
};

static void *add_many(void *arg)
{
	const struct job *j = arg;

	for (uint32_t i = 0; i < j->times; i++)
		add(j->first, j->n);
	return NULL;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void spin(double seconds)
{
	uint64_t start = now_ns(), n = 0, end;

	end = start + (uint64_t)(seconds * 1e9);
	while (now_ns() < end)
		for (unsigned i = 0; i < 100; i++, n++)
			take(0);
	printf("%llu %.1f\n", (unsigned long long)n,
	       (double)(now_ns() - start) / (double)n);
}

/* --- calls in the background --- */

#define CALLS_MAX 20000000u

static struct {
	pthread_t thread;
	volatile int ended;
	unsigned pause_us;
	uint32_t *us; /* of each call, since start_us */
	size_t n;
	uint64_t start_us;
} paced;

static uint64_t real_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static void *call_on(void *arg)
{
	(void)arg;
	while (!paced.ended && paced.n < CALLS_MAX) {
		paced.us[paced.n++] = (uint32_t)(real_us() - paced.start_us);
		take(0);
		if (paced.pause_us > 0)
			usleep(paced.pause_us);
	}
	return NULL;
}

static void start_pace(unsigned pause_us)
{
	paced.us = calloc(CALLS_MAX, sizeof(*paced.us));
	paced.n = 0;
	paced.ended = 0;
	paced.pause_us = pause_us;
	paced.start_us = real_us();
	if (paced.us && !pthread_create(&paced.thread, NULL, call_on, NULL))
		printf("paced\n");
	else
		printf("no thread\n");
}

static void stop_pace(const char *path)
{
	FILE *f = fopen(path, "w");

	paced.ended = 1;
	pthread_join(paced.thread, NULL);
	for (size_t i = 0; f && i < paced.n; i++)
		fprintf(f, "%llu\n",
			(unsigned long long)(paced.start_us + paced.us[i]));
	if (f)
		fclose(f);
	free(paced.us);
	printf("%zu\n", paced.n);
}

static void add_by_threads(struct job *j, unsigned threads)
{
	pthread_t thread[16];

	for (unsigned i = 0; i < threads && i < 16; i++)
		pthread_create(&thread[i], NULL, add_many, j);
	for (unsigned i = 0; i < threads && i < 16; i++)
		pthread_join(thread[i], NULL);
	printf("%llu\n",
	       (unsigned long long)j->n * j->times * (threads ? threads : 1));
}

int main(void)
{
	char line[256], path[200];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		unsigned long long from, to;
		unsigned threads;
		struct job j;
		double seconds;

		if (sscanf(line, "take %llu %llu", &from, &to) == 2) {
			for (unsigned long long i = from; i < to; i++)
				take(i);
			printf("%llu\n", to - from);
		} else if (sscanf(line, "add %u %u %u %u", &j.first, &j.n,
				  &j.times, &threads) == 4) {
			add_by_threads(&j, threads);
		} else if (sscanf(line, "spin %lf", &seconds) == 1) {
			spin(seconds);
		} else if (sscanf(line, "pace %u", &threads) == 1) {
			start_pace(threads);
		} else if (sscanf(line, "stop %199s", path) == 1) {
			stop_pace(path);
		} else {
			printf("what?\n");
		}
	}
	return 0;
}
