/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls: calls functions that uprobes look at, as it is told on standard
 * input, and says on standard output how often.
 *
 *	take FROM TO	take(FROM) … take(TO - 1)
 *	add FIRST N TIMES THREADS	add(FIRST, N), by threads at once
 *	spin SECONDS	take(0) without a pause; prints how often, ns a call
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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
	char line[256];

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
		} else {
			printf("what?\n");
		}
	}
	return 0;
}
