/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/gaps/gaps_watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe-agent/gaps/gaps.h"
#include "probe-agent/gaps/gaps_tls.h"

#define FIRST_MS 10000
#define INTERVAL_MS 300000

struct gaps_watch {
	char front[32];
	struct gaps_options find;
	struct filter_rules *filter;
	struct identity_table *identity;
	struct gaps_tls *tls;
	uint32_t first_ms;
	pthread_t thread;
	bool started;
	bool stop; /* read without the lock, too */
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	uint64_t searches, services[GAP_REASONS];
};

static void search_once(struct gaps_watch *w)
{
	uint64_t services[GAP_REASONS] = { 0 };
	struct gaps *g;
	int err = gaps_find(&g, &w->find);

	if (err == -ECANCELED)
		return;
	if (err) {
		log_warn("cannot look for services that are not seen "
			 "error=\"%s\"",
			 strerror(-err));
		return;
	}
	for (size_t i = 0; i < UNSEEN_REASONS; i++)
		if (unseen_table[i].gap >= 0)
			services[unseen_table[i].gap] =
				gaps_services(g, (enum unseen_reason)i);
	gaps_free(g);
	pthread_mutex_lock(&w->lock);
	memcpy(w->services, services, sizeof(services));
	w->searches++;
	pthread_mutex_unlock(&w->lock);
}

/* Returns false when the thread must end. */
static bool wait_for_next(struct gaps_watch *w, uint32_t ms)
{
	struct timespec until;
	bool on;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&w->lock);
	while (!w->stop && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&w->wake, &w->lock, &until);
	on = !w->stop;
	pthread_mutex_unlock(&w->lock);
	return on;
}

static void *watch_gaps(void *arg)
{
	struct gaps_watch *w = arg;

	pthread_setname_np(pthread_self(), "gaps");
	/* On Linux, 0 is this thread. */
	setpriority(PRIO_PROCESS, 0, 19);
	for (uint32_t ms = w->first_ms; wait_for_next(w, ms); ms = INTERVAL_MS)
		search_once(w);
	return NULL;
}

static int init_lock(struct gaps_watch *w)
{
	pthread_condattr_t attr;
	int err = pthread_condattr_init(&attr);

	if (err)
		return -err;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&w->lock, NULL);
	return 0;
}

int gaps_watch_start(struct gaps_watch **out,
		     const struct gaps_watch_options *opt)
{
	struct gaps_watch *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	err = init_lock(w);
	if (err) {
		free(w);
		return err;
	}
	snprintf(w->front, sizeof(w->front), "%s", opt->front);
	w->first_ms = opt->first_ms ? opt->first_ms : FIRST_MS;
	err = filter_new(&w->filter, opt->select);
	if (!err)
		err = identity_new(&w->identity, opt->identity);
	if (!err)
		err = gaps_tls_new(&w->tls);
	w->find = (struct gaps_options){ .front = w->front,
					 .tls_off = opt->tls_off,
					 .filter = w->filter,
					 .identity = w->identity,
					 .tls = w->tls,
					 .max_bytes = GAPS_WATCH_BYTES_MAX,
					 .stop = &w->stop };
	if (!err) {
		err = -pthread_create(&w->thread, NULL, watch_gaps, w);
		w->started = !err;
	}
	if (err) {
		gaps_watch_stop(w);
		return err;
	}
	*out = w;
	return 0;
}

void gaps_watch_stop(struct gaps_watch *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	__atomic_store_n(&w->stop, true, __ATOMIC_RELAXED);
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	if (w->started)
		pthread_join(w->thread, NULL);
	gaps_tls_free(w->tls);
	identity_free(w->identity);
	filter_free(w->filter);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

uint64_t gaps_watch_read(struct gaps_watch *w, uint64_t out[GAP_REASONS])
{
	uint64_t n;

	pthread_mutex_lock(&w->lock);
	memcpy(out, w->services, sizeof(w->services));
	n = w->searches;
	pthread_mutex_unlock(&w->lock);
	return n;
}
