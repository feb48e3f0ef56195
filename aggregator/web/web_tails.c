/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/web_tails.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aggregator/store/store.h"
#include "common/clock.h"

struct web_tails {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct web_tail *first;
	unsigned n;
	bool stopping;
	bool started;
	char *store_path;
	struct store_reader *reader; /* of the thread; NULL: not open yet */
	pthread_t thread;
};

/* The id of the log's newest batch; 0 if it cannot be read. */
static uint64_t log_end(struct web_tails *s)
{
	struct store_log_bounds log;

	if (!s->reader && store_reader_open(&s->reader, s->store_path) < 0)
		return 0;
	return store_reader_log_bounds(s->reader, &log) < 0 ? 0 : log.last;
}

/* Takes the tails to wake out of the list. Under the lock. */
static struct web_tail *take_due(struct web_tails *s, uint64_t end, bool all)
{
	uint64_t now_ns = clock_mono_ns();
	struct web_tail *due = NULL;

	for (struct web_tail **at = &s->first; *at;) {
		struct web_tail *t = *at;

		if (!all && now_ns < t->deadline_ns && end <= t->seen) {
			at = &t->next;
			continue;
		}
		*at = t->next;
		t->next = due;
		due = t;
		s->n--;
	}
	return due;
}

static void wake_tails(struct web_tails *s, struct web_tail *due, bool stopping)
{
	while (due) {
		struct web_tail *t = due;
		bool last = stopping || clock_mono_ns() >= t->deadline_ns;

		due = t->next;
		if (t->wake(t, last, stopping))
			continue;
		pthread_mutex_lock(&s->lock);
		t->next = s->first;
		s->first = t;
		s->n++;
		pthread_mutex_unlock(&s->lock);
	}
}

static void wait_tick(struct web_tails *s)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += WEB_TAILS_TICK_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_cond_timedwait(&s->wake, &s->lock, &until);
}

static void *run_tails(void *arg)
{
	struct web_tails *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		struct web_tail *due;
		uint64_t end;

		if (!s->first) {
			pthread_cond_wait(&s->wake, &s->lock);
			continue;
		}
		pthread_mutex_unlock(&s->lock);
		end = log_end(s);
		pthread_mutex_lock(&s->lock);
		due = take_due(s, end, false);
		pthread_mutex_unlock(&s->lock);
		wake_tails(s, due, false);
		pthread_mutex_lock(&s->lock);
		if (!s->stopping)
			wait_tick(s);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int web_tails_start(struct web_tails **out, const char *store_path)
{
	struct web_tails *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;
	int err;

	if (!s)
		return -ENOMEM;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&s->lock, NULL);
	s->store_path = strdup(store_path ? store_path : "");
	err = s->store_path ? -pthread_create(&s->thread, NULL, run_tails, s)
			    : -ENOMEM;
	if (err) {
		web_tails_free(s);
		return err;
	}
	s->started = true;
	pthread_setname_np(s->thread, "web-tails");
	*out = s;
	return 0;
}

void web_tails_stop(struct web_tails *s)
{
	struct web_tail *due;

	if (!s || !s->started)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	s->started = false;
	pthread_mutex_lock(&s->lock);
	due = take_due(s, 0, true);
	pthread_mutex_unlock(&s->lock);
	wake_tails(s, due, true);
}

void web_tails_free(struct web_tails *s)
{
	if (!s)
		return;
	web_tails_stop(s);
	store_reader_close(s->reader);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s->store_path);
	free(s);
}

int web_tails_park(struct web_tails *s, struct web_tail *t)
{
	int err = 0;

	pthread_mutex_lock(&s->lock);
	if (s->stopping)
		err = -ESHUTDOWN;
	else if (s->n >= WEB_TAILS_MAX)
		err = -EBUSY;
	if (!err) {
		t->next = s->first;
		s->first = t;
		s->n++;
		pthread_cond_signal(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}
